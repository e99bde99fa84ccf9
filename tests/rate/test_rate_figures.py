"""What a report says of raters whose opinion is known."""

import numpy as np
import pytest
import rated

from tfxfer.rate import show
from tfxfer.rate.figures import figures
from tfxfer.rate.ratings import passed


def wrong(candidate, item):
    return not rated.honest(candidate, item)


@pytest.fixture
def folder(tmp_path):
    return rated.run(tmp_path / "one")


def texts_of(session):
    return [item for item in session.items if item.kind == "item"]


def test_honest_raters_prefer_the_better_system_on_both_designs(folder):
    for ask in ("scales", "choice"):
        session = rated.session(folder, ask, items=24, name=ask)
        for name in ("Ada", "Bo"):
            rated.rate_all(session, name)
        found = figures(session)
        row = found["preference"][0]
        assert row["word"] == "preferred" and row["low"] > 0.5 and (row["a"], row["b"]) == ("transfer", "neighbour")
        assert row["wins"] + row["ties"] + row["losses"] == 2 * row["items"] == 2 * len(texts_of(session))
        assert all(one["passed"] == one["checks"] > 0 for one in found["raters"])
        assert all(one["alpha"] in (None, 1) for one in found["agreement"])
        assert {one["kappa"] for row in found["agreement"] for one in row["kappas"]} <= {1, None}
        assert found["automatic"][0]["same"] == 1
        lines = show.sentences(found)
        assert lines[0].startswith("People prefer transfer to neighbour: transfer has")
        session.close()


def test_means_are_those_of_the_texts(folder):
    session = rated.session(folder, items=24)
    rated.rate_all(session, "Ada")
    found = figures(session)
    right = {
        label: np.mean([any(rated.honest(c, i) and s in c.systems for c in i.candidates) for i in texts_of(session)])
        for s, label in enumerate(("transfer", "neighbour"))
    }
    for row in found["means"]:
        assert row["mean"] == pytest.approx(2 + 3 * right[row["system"]])
        assert 1 <= row["low"] <= row["mean"] <= row["high"] <= 5
    difference = found["differences"][0]["difference"]
    assert difference == pytest.approx(3 * (right["transfer"] - right["neighbour"]))
    assert found["automatic"][1]["measure"] == "exact_match"
    assert found["automatic"][1]["correlation"] == pytest.approx(1)
    session.close()


def test_a_choice_speaks_of_the_whole_test_set(folder):
    session = rated.session(folder, "choice", items=24)
    rated.rate_all(session, "Ada")
    row = figures(session)["preference"][0]
    part = row["different"] / row["examples"]
    assert part < 1 and row["whole"]["share"] == pytest.approx(0.5 + part * (row["share"] - 0.5))
    assert any("answers differ on" in line for line in show.sentences(figures(session)))
    session.close()


def test_raters_who_fail_checks_are_named_and_can_be_left_out(folder):
    session = rated.session(folder, items=20)
    rated.rate_all(session, "Ada")
    rated.rate_all(session, "Mallory", wrong)
    given = {answer["item"]: answer for answer in session.answers("Mallory")}
    assert not any(passed(given[item.id], item) for item in session.items if item.kind == "check")
    everybody, some = figures(session), figures(session, only_attentive=True)
    assert {row["rater"]: row["attentive"] for row in everybody["raters"]} == {"Ada": True, "Mallory": False}
    assert "Mallory (0 of 2 right)" in " ".join(show.cautions(everybody))
    assert everybody["agreement"][0]["alpha"] < 0 and some["agreement"] == []
    assert some["preference"][0]["wins"] < everybody["preference"][0]["wins"] + everybody["preference"][0]["losses"]
    assert "raters differ by 3" in everybody["disagreements"][0]["why"]
    session.close()


def test_three_systems_have_strengths(folder):
    session = rated.session(folder, "choice", ("transfer", "random", "neighbour"), items=24)
    for name in ("Ada", "Bo"):
        rated.rate_all(session, name)
    found = figures(session)
    assert [row["system"] for row in found["strengths"]] == ["transfer", "random", "neighbour"]
    assert all(row["low"] <= row["strength"] <= row["high"] for row in found["strengths"])
    assert sum(row["strength"] for row in found["strengths"]) == pytest.approx(0)
    assert len(found["preference"]) == 3
    session.close()


def test_a_rater_who_always_takes_the_first_is_seen(folder):
    session = rated.session(folder, "choice", items=20)
    session.add("Bot", [rated.rating(session, i, lambda c, i: c == i.candidates[0]) for i in session.items])
    found = figures(session)
    assert found["first_shown"]["share"] == 1
    assert any("stands first is preferred in 100%" in line for line in show.cautions(found))
    session.close()


@pytest.mark.drawing
def test_the_page_and_the_terminal_say_the_same_in_80_columns(folder, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    session = rated.session(folder, arms=("transfer", "random", "neighbour"), items=12)
    rated.rate_all(session, "Ada <b>")
    rated.rate_all(session, "Bo", wrong, count=9)
    found = figures(session)
    show.terminal(found)
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    text = show.write(session, found, folder / "ratings.html").read_text("utf-8")
    for panel in show.panels(found):
        assert panel.title in text
        assert all(one["caption"] in text and one["caption"] in printed for one in panel.tables)
    assert "Ada &lt;b&gt;" in text and "<b>x" not in text and "<svg" in text and "data:image/png" in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    session.close()


def test_nobody_has_rated_yet(folder):
    session = rated.session(folder)
    found = figures(session)
    assert show.sentences(found) == ["Nobody has rated anything yet."] and show.panels(found) == ()
    rated.rate_all(session, "Ada", count=1)
    assert figures(session)["preference"][0]["word"] == "no evidence"  # one item decides nothing
    session.close()
