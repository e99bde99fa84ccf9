"""`tfxfer rate`: what it refuses, who serves, what is left after a kill, and the report."""

import json
import os
import re
import signal
import subprocess
import sys
from urllib.request import Request, urlopen

import pytest
import rated

from tfxfer import __main__ as front
from tfxfer import cli
from tfxfer.commands import rate
from tfxfer.rate import server
from tfxfer.rate.database import Session, session_path


@pytest.fixture
def folder(tmp_path):
    return rated.run(tmp_path / "runs" / "one")


def run(*words):
    return cli.main(front.work, ["rate", *map(str, words)])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--items", "0"], "--items 0: must be 1 or more"),
        (["--port", "70000"], "--port 70000: must be 65535 or less"),
        (["--scales", "beauty"], "--scales beauty: known: correctness, detail, fluency"),
        (["--scales", "detail", "--ask", "choice"], "a choice has none"),
        (["--format", "pages"], "--format pages: did you mean 'page'"),
        (["--edited"], "--edited: belongs to --import"),
        (["--itmes", "5"], "unknown option --itmes; did you mean '--items'"),
        (["--report"], "nobody has rated this run yet"),
        (["--session", "../x", "--report"], "use letters, digits"),
        (["--ask", "choice", "--arms", "transfer"], "takes two systems"),
        (["--arms", "transfr"], "there are no answers of an arm 'transfr'; did you mean 'transfer'"),
    ],
)
def test_a_wrong_request_is_refused_at_once(folder, words, message, capsys):
    assert run(folder, *words) == 2
    assert message in capsys.readouterr().err


def test_what_is_no_finished_run_is_refused(folder, tmp_path, capsys):
    assert run(folder.parent / "ome") == 2
    assert f"is not the folder of a run; did you mean '{folder}'" in capsys.readouterr().err
    (folder / "report.html").unlink()
    assert run(folder) == 2 and "not finished" in capsys.readouterr().err


def test_a_session_goes_on_with_its_own_options_and_runs_only(folder, tmp_path, capsys):
    rated.session(folder).close()
    other = rated.run(tmp_path / "runs" / "two", seed=1)
    for words, message in (
        (
            [folder, "--items", "30"],
            r"--items: .*ratings.sqlite3 began with --items 10; leave it out, or begin another",
        ),
        ([folder, "--ask", "choice"], "began with --ask scales"),
        ([folder, "--arms", "random"], "began with --arms transfer neighbour"),
        ([folder, other], "two: is not in .*ratings.sqlite3, which compares one; give those"),
    ):
        assert run(*words, "--report") == 2
        assert re.search(message, capsys.readouterr().err)
    assert run(folder, "--items", "10", "--report") == 0


def test_the_packages_of_the_page_are_named_where_they_are_missing(folder, monkeypatch, capsys):
    rated.session(folder).close()
    monkeypatch.setattr(rate, "find_spec", lambda name: None)
    assert run(folder) == 2
    assert "pip install 'tfxfer[rate]', or give raters one file without a server" in capsys.readouterr().err
    assert run(folder, "--export", folder / "page.html") == 0  # which needs neither


def test_a_folder_that_cannot_be_written_is_refused_before_long_work(folder, monkeypatch, capsys):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert run(folder) == 2
    assert "cannot be written, and ratings are kept there" in capsys.readouterr().err


def test_a_second_server_is_refused(folder, capsys):
    session = rated.session(folder)
    session.note("served", server.holder() | {"at": "http://127.0.0.1:8017/"})
    with server.alone(session):
        assert run(folder) == 2
    assert f"is served already by process {os.getpid()} on" in capsys.readouterr().err
    session.close()


def test_files_come_in_and_the_report_comes_out(folder, tmp_path, capsys):
    from test_rate_exports import written

    session = rated.session(folder)
    written(session, tmp_path / "zoe.json")
    session.close()
    assert run(folder, "--import", tmp_path / "zoe.json", "--report") == 0
    out, errors = capsys.readouterr()
    assert "12 new ratings of Zoë" in errors and "One rater only" in out
    assert (folder / "ratings.html").is_file()
    assert run(folder, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rated"] == 10 and [one["label"] for one in found["systems"]] == ["transfer", "neighbour"]
    assert run(folder, "--import", tmp_path / "none.json") == 2


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_a_server_that_ends_has_lost_nothing(folder, stop):
    session = rated.session(folder)
    words = [sys.executable, "-m", "tfxfer", "rate", str(folder), "--port", "0", "--no-browser"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        page = re.search(r"http://127\.0\.0\.1:\d+/[\w-]{22}/", process.stdout.readline())[0]
        for item in session.items[:3]:
            rating = rated.rating(session, item, rated.honest)
            body = json.dumps({"rater": "Ada", "answers": [rating]}).encode()
            request = Request(f"{page}answers", body, {"Content-Type": "application/json"})
            with urlopen(request, timeout=30) as answer:
                assert json.load(answer) == {"new": 1}
        process.send_signal(stop)
        out, _ = process.communicate(timeout=30)
    finally:
        process.kill()  # where something above failed
    assert process.returncode == (-stop if stop == signal.SIGKILL else 0)
    assert ("3 ratings of 1 raters" in out) == (stop == signal.SIGINT)
    session.close()
    again = Session(session_path(folder))
    assert len(again.answers("Ada")) == 3
    again.close()
