"""Pages without a server, the files that come back, and forms of other tools."""

import hashlib
import html
import json
import xml.etree.ElementTree as ElementTree

import pytest
import rated
import yaml

from tfxfer.errors import UserError
from tfxfer.rate.answers import canonical
from tfxfer.rate.exports import EXPORTS, add_file, export
from tfxfer.rate.page import FILE_FORMAT


@pytest.fixture(params=["scales", "choice"])
def session(request, tmp_path):
    found = rated.session(rated.run(tmp_path / "one"), request.param)
    yield found
    found.close()


def written(session, path, /, **changes):
    """A file as the page saves it."""
    answers = [rated.rating(session, item, rated.honest) for item in session.items]
    content = {"format": FILE_FORMAT, "session": session.about["id"], "items": session.about["items"]}
    content |= {"rater": "Zoë", "answers": answers}
    content["digest"] = hashlib.sha256(canonical(content).encode()).hexdigest()
    path.write_text(json.dumps(content | changes, ensure_ascii=False), "utf-8")
    return content


def test_a_page_is_one_file_that_asks_nothing_of_the_network(session, tmp_path):
    (path,) = export(session, tmp_path / "page.html", "page")
    text = html.unescape(path.read_text("utf-8"))
    assert "default-src 'none'" in text and "connect-src" not in text and "data:image/png;base64," in text
    for word in ("http://", "https://", "transfer", "neighbour", "foreign", str(tmp_path)):
        assert word not in text
    with pytest.raises(UserError, match="is there already, and is kept"):
        export(session, path, "page")


def test_a_file_comes_back_once(session, tmp_path):
    content = written(session, tmp_path / "a.json")
    assert add_file(tmp_path / "a.json", session) == ("Zoë", 12, 12)
    assert add_file(tmp_path / "a.json", session) == ("Zoë", 0, 12)
    assert session.answers("Zoë") == content["answers"]


def test_a_file_that_was_edited_is_refused_unless_it_is_wanted(session, tmp_path):
    path = tmp_path / "a.json"
    written(session, path, rater="Ada")
    with pytest.raises(UserError, match=r"a.json: was changed after the page saved it .* --edited"):
        add_file(path, session)
    assert session.current() == {}
    assert add_file(path, session, edited=True)[0] == "Ada"


def test_a_file_that_was_forged_still_has_to_be_valid(session, tmp_path):
    """Whoever has the page can make a digest: every rating is checked all the same."""
    path = tmp_path / "a.json"
    content = written(session, path)
    answers = content["answers"]
    first = answers[0] | ({"choice": "x"} if "choice" in answers[0] else {"scores": {}})
    for changed, message in (
        ([*answers, answers[0]], "is rated twice"),
        ([first], "nothing of this file was taken"),
        (["x"], "is no list of ratings"),
        ([answers[0] | {"item": "0"}], "there is no item"),
    ):
        forged = {key: value for key, value in content.items() if key != "digest"} | {"answers": changed}
        forged["digest"] = hashlib.sha256(canonical(forged).encode()).hexdigest()
        path.write_text(json.dumps(forged), "utf-8")
        with pytest.raises(UserError, match=message):
            add_file(path, session)
    for changes, message in (
        ({"session": "other"}, "of another session"),
        ({"items": "other"}, "of another session"),
        ({"format": "x"}, "holds no ratings of this page"),
        ({"rater": ""}, "rater's name"),
    ):
        written(session, path, **changes)
        with pytest.raises(UserError, match=message):
            add_file(path, session, edited=True)
    path.write_text("{", "utf-8")
    with pytest.raises(UserError, match="is not JSON"):
        add_file(path, session)
    assert session.current() == {}


def test_label_studio_gets_tasks_that_its_interface_names(session, tmp_path):
    tasks, config = export(session, tmp_path / "tasks.json", "label-studio")
    rows = json.loads(tasks.read_text("utf-8"))
    names = {node.get("value")[1:] for node in ElementTree.parse(config).iter() if (node.get("value") or "")[:1] == "$"}
    assert len(rows) == 12 and all(names <= set(row["data"]) for row in rows)
    controls = [node for node in ElementTree.parse(config).iter() if node.get("toName")]
    assert len(controls) == (1 if session.about["ask"] == "choice" else 6)
    shown = [[one for key, one in row["data"].items() if key.startswith("text_")] for row in rows]
    wanted = [sorted(one.text for one in item.candidates) for item in session.items]
    assert [sorted(filter(None, one)) for one in shown] == wanted


def test_potato_gets_lines_and_a_configuration(session, tmp_path):
    data, config = export(session, tmp_path / "items.jsonl", "potato")
    rows = [json.loads(line) for line in data.read_text("utf-8").splitlines()]
    found = yaml.safe_load(config.read_text("utf-8"))
    assert found["data_files"] == ["items.jsonl"] and [row["id"] for row in rows] == [one.id for one in session.items]
    assert len(found["annotation_schemes"]) == (1 if session.about["ask"] == "choice" else 6)
    assert set(EXPORTS) == {"page", "label-studio", "potato"}
