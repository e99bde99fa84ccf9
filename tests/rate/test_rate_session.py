"""What is asked, what is kept, and what is refused."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import rated

from tfxfer.errors import DamagedFile, UserError
from tfxfer.rate.database import Moved, Session, check_belongs, session_path
from tfxfer.rate.items import draw
from tfxfer.rate.systems import RatedRun, systems_of


@pytest.fixture
def folder(tmp_path):
    return rated.run(tmp_path / "runs" / "one")


def drawn(folder, arms=("transfer", "neighbour"), **options):
    systems = systems_of([RatedRun.load(folder)], arms, None, None)
    given = {"items": 12, "checks": None, "ask": "scales", "seed": 0} | options
    return systems, *draw(systems, rated.test_set(), **given)


def test_equal_answers_share_a_text_and_a_choice_asks_for_different_ones(folder):
    systems, scales, _ = drawn(folder, items=24)
    for item in scales:
        if item.kind == "item":
            texts = [systems[s].texts[item.row] for s in (0, 1)]
            assert len(item.candidates) == len(set(texts)) and set(item.scores) == {0, 1}
    assert any(one.systems == (0, 1) for item in scales for one in item.candidates)
    _, choices, counts = drawn(folder, items=24, ask="choice")
    asked = [item for item in choices if item.kind == "item"]
    assert len(asked) == counts["different"]["0-1"] < counts["examples"] == 24
    assert all(len(item.candidates) == 2 for item in choices)


def test_pairs_of_three_systems_take_turns(folder):
    _, items, _ = drawn(folder, arms=("transfer", "random", "neighbour"), ask="choice", items=9)
    pairs = [tuple(s for one in item.candidates for s in one.systems) for item in items if item.kind == "item"]
    assert {pairs.count(pair) for pair in set(pairs)} == {3} and len(set(pairs)) == 3


def test_attention_checks_set_the_truth_beside_what_fits_least(folder):
    _, items, _ = drawn(folder, items=20)
    checks = [item for item in items if item.kind == "check"]
    assert len(checks) == 2 and items[0].kind == "item"
    for check in checks:
        true, foreign = (next(one.text for one in check.candidates if one.role == role) for role in ("true", "foreign"))
        assert true == check.references[0] and set(true.split()) & set(foreign.split()) == {"a"}
    again = [(item.row, item.kind) for item in drawn(folder, items=20)[1]]
    assert again == [(item.row, item.kind) for item in items]


def test_other_runs_are_refused_and_the_difference_is_named(folder, tmp_path):
    def refused(message, *arms, **changes):
        other = rated.run(tmp_path / "runs" / "other", **changes)
        with pytest.raises(UserError, match=message):
            systems_of([RatedRun.load(folder), RatedRun.load(other)], arms or ["transfer"], None, None)

    short = rated.comparison(true=rated.TRUE[:20])
    refused("other test sets: 24 and 20 examples", labels=short.labels, records=short.records, examples=())
    refused("one has captions of images, the other answers to questions", recipe="vqa")
    refused("is the same as one")
    with pytest.raises(UserError, match="no answers of an arm 'neighbor'; did you mean 'neighbour'"):
        systems_of([RatedRun.load(folder)], ["neighbor"], None, None)
    with pytest.raises(UserError, match="--budget 7: 'transfer' has 50"):
        systems_of([RatedRun.load(folder)], ["transfer"], 7, None)
    figures = rated.run(tmp_path / "runs" / "figures", recipe="retrieval")
    with pytest.raises(UserError, match="a run of 'retrieval', whose answers are no texts"):
        RatedRun.load(figures)
    (folder / "report.html").unlink()
    with pytest.raises(UserError, match="not finished"):
        RatedRun.load(folder)


def test_test_sets_differ_in_words():
    one = rated.test_set()
    assert one.differs(rated.test_set()) == ""
    assert one.differs(rated.test_set(rated.TRUE[:3])) == "24 and 3 examples"
    assert "example 2 is 'a blue square' in the first and 'a dog'" in one.differs(
        replace(one, references=[*one.references[:2], ["a dog"], *one.references[3:]])
    )
    assert (
        one.differs(replace(one, digests=one.digests + (np.arange(24) == 5))) == "example 5 has another image or text"
    )


def test_a_rating_replaces_an_earlier_one_and_undo_takes_it_back(folder):
    session = rated.session(folder)
    item = session.items[0]
    first, second = rated.rating(session, item, lambda *_: True), rated.rating(session, item, rated.honest)
    assert session.add("Ada", [first]) == 1 and session.add("Ada", [first, second]) == 1
    assert session.answers("Ada") == [second]
    session.add("Ada", [{"key": "0" * 16, "item": item.id, "milliseconds": 0, "undo": True}])
    assert session.current() == {}
    session.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"item": "../../etc/passwd"}, "there is no item"),
        ({"key": "x"}, "16 to 64 hexadecimal digits"),
        ({"milliseconds": -1}, "milliseconds must be"),
        ({"shown": []}, "name each of its"),
        ({"scores": {}}, "scores for each of its"),
        ({"more": 1}, "a rating has no 'more'"),
    ],
)
def test_a_rating_that_is_not_valid_is_refused(folder, change, message):
    session = rated.session(folder)
    good = rated.rating(session, session.items[0], rated.honest)
    with pytest.raises(UserError, match=message):
        session.add("Ada", [rated.rating(session, session.items[1], rated.honest), good | change])
    for value in (0, 6, 2.5, True, "3", None):
        scores = {key: own | {"detail": value} for key, own in good["scores"].items()}
        with pytest.raises(UserError, match="a whole number from 1 to 5"):
            session.add("Ada", [good | {"scores": scores}])
    for name in ("", " ", "x" * 41, "a\x1bb", None, 7):
        with pytest.raises(UserError, match="rater's name"):
            session.add(name, [good])
    assert session.current() == {}
    session.close()


def test_nothing_is_lost_when_the_process_is_killed(folder):
    session = rated.session(folder)
    session.close()
    code = f"""
import os, signal, sys
sys.path[:0] = {sys.path!r}
import rated
from tfxfer.rate.database import Session
from pathlib import Path
session = Session(Path({str(session.path)!r}))
rated.rate_all(session, "Ada", count=4)
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    again = Session(session.path)
    assert len(again.answers("Ada")) == 4
    again.close()


def test_a_session_of_another_run_or_a_damaged_one_is_refused(folder, tmp_path):
    session = rated.session(folder)
    session.close()
    other = rated.run(tmp_path / "runs" / "two", seed=1)
    moved = Session(shutil.copy(session.path, session_path(other)))
    with pytest.raises(UserError, match="holds ratings of the run 'one'"):
        check_belongs(moved, other)
    moved.close()
    folder.rename(tmp_path / "renamed")  # the run is the same
    renamed = Session(session_path(tmp_path / "renamed"))
    check_belongs(renamed, tmp_path / "renamed")
    renamed.close()
    renamed.path.write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    with pytest.raises(DamagedFile, match="no rating session, or is damaged"):
        Session(renamed.path)
    with pytest.raises(UserError, match="use letters"):
        session_path(folder, "../x")


def test_a_folder_that_moves_stops_the_writing(folder, tmp_path):
    session = rated.session(folder)
    rated.rate_all(session, "Ada", count=2)
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(Moved, match="moved or removed"):
        rated.rate_all(session, "Ada", count=3)
    session.close()
    there = Session(session_path(tmp_path / "elsewhere"))
    assert len(there.answers("Ada")) == 2
    there.close()


def test_a_folder_that_cannot_be_written_is_named(folder, monkeypatch):
    session = rated.session(folder)
    session.close()
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(UserError, match="cannot be written; copy the run's folder"):
        Session(session.path)
