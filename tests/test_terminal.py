"""What reaches a terminal or a page: no control characters, and no encoding in which a command ends in an error."""

import io
import json
import logging
import os
import re
import subprocess
import sys
import warnings
from dataclasses import replace

import fake
import pytest

from tfxfer import cli, predict, report
from tfxfer.__main__ import work
from tfxfer.commands import COMMANDS
from tfxfer.config import RunConfig
from tfxfer.errors import UserError
from tfxfer.recipes import predictors_by_class
from tfxfer.report.console import terminal
from tfxfer.runs import write_config
from tfxfer.terminal import UNPRINTABLE, bars_of_libraries, console, json_text, printable_streams

HOSTILE = "cat\x1b]0;owned\x07\x1b[2J\x9b31m\r\u202egod"
SHOWN = r"cat\x1b]0;owned\x07\x1b[2J\x9b31m\r\u202egod"

SCRIPT = """
import sys
from tfxfer import cli
from tfxfer.__main__ import work
for words in (
    ["train", "feature", "--help"],
    ["train", "feature", "--target", "csv:φ→\\udcff.csv"],
    ["predict", "φ→"],
    ["predict", "φ→", "--text", "→"],
    ["evaluate", "φ→", "--data", "csv:→"],
    ["score", "--target", "csv:φ→.csv"],
    ["advise", "--target", "csv:φ→.csv"],
    ["doctor", "csv:φ→.csv"],
    ["compare", "φ→", "→"],
    ["merge", "φ→", "→"],
    ["distill", "φ→", "--student", "→"],
    ["compress", "φ→", "--to", "→"],
    ["rate", "φ→", "--report"],
    ["list", "recipes"],
    ["list", "recipes", "--json"],
    ["list", "φ→"],
    ["clean", "--data-dir", "φ→"],
    ["clean", "→"],
):
    try:
        print("===", words[0], cli.main(work, words))
    except SystemExit as stop:
        print("===", words[0], stop.code)
"""


@pytest.mark.parametrize("encoding", ["cp1252", "ascii:surrogateescape", "latin-1:strict", "utf-8:surrogateescape"])
def test_every_command_writes_in_any_encoding(encoding, tmp_path):
    env = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, env=env, cwd=tmp_path)
    name = encoding.partition(":")[0]
    out, errors = done.stdout.decode(name), done.stderr.decode(name)
    assert "Traceback" not in errors and done.returncode == 0, errors
    codes = re.findall(r"^=== (\w+) (\d)$", out, re.MULTILINE)
    assert [code for _, code in codes] == list("022222222222200202") and {name for name, _ in codes} == set(COMMANDS)
    rows = json.loads(re.search(r"^\[$.*?^\]$", out, re.MULTILINE | re.DOTALL)[0])
    assert any("φ(x)" in row["summary"] for row in rows)
    assert ("φ" in out) == name.startswith("utf")


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_the_table_of_a_run_is_printed_in_any_encoding(encoding):
    """As a Python program has it, whose standard output is no terminal."""
    raw = io.BytesIO()
    out = console(file=io.TextIOWrapper(raw, encoding=encoding), width=100)
    terminal(fake.make(examples=10, seeds=1), out)
    out.file.flush()
    text = raw.getvalue().decode(encoding)
    assert ("glyphs → languages" in text) == (encoding == "utf-8") and "glyphs" in text


@pytest.mark.drawing
def test_control_characters_of_a_class_reach_neither_terminal_nor_page(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    comparison = fake.make(examples=20, seeds=1, class_names=(HOSTILE, "b", "c", "d"))
    few = tuple(record for record in comparison.records if record.arm in ("transfer", "native") and record.budget == 20)
    comparison = replace(comparison, title=HOSTILE, records=few)
    comparison.save(tmp_path)
    write_config(tmp_path / "config.yaml", RunConfig(data_dir=HOSTILE), "feature")
    page = report.write(tmp_path).read_text("utf-8")
    terminal(comparison)
    predictor = predictors_by_class()["Classifier"]
    predict.show([{"input": HOSTILE, "top": [[HOSTILE, 0.5]], "note": HOSTILE}], predictor)
    printed = capsys.readouterr().out
    for text in (page, printed):
        assert UNPRINTABLE.findall(text) == [] and SHOWN in text


def test_what_a_command_prints_itself_warns_and_logs_is_printable(capsys, monkeypatch):
    monkeypatch.setattr(logging.getLogger("tfxfer"), "propagate", False)

    def says(argv):
        print(HOSTILE)
        print(json_text({"input": HOSTILE}))
        cli.note(HOSTILE)
        print(warnings.formatwarning(HOSTILE, UserWarning, "a.py", 1), file=sys.stderr)  # as `warnings.warn` does
        logging.getLogger("tfxfer").warning("%s", HOSTILE)
        raise UserError(HOSTILE)

    assert cli.main(says, []) == 2
    out, errors = capsys.readouterr()
    assert UNPRINTABLE.findall(out + errors) == [] and SHOWN in out
    assert json.loads(out.splitlines()[1]) == {"input": HOSTILE}
    assert errors.count(SHOWN) >= 3


def test_rich_still_colours_and_libraries_still_move_the_cursor(capsys):
    with printable_streams():
        console(force_terminal=True, color_system="standard").print("[bold]a[/bold]")
        with bars_of_libraries():
            print("\r50 %", end="")
        print("\r")
    assert capsys.readouterr().out == "\x1b[1ma\x1b[0m\n\r50 %\\r\n"


def test_an_option_with_control_characters_is_shown(capsys):
    assert cli.main(work, ["list", HOSTILE]) == 2
    assert f"there is no list of '{SHOWN}'" in capsys.readouterr().err
