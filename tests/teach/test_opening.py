"""The first cell: Python and packages in their bounds, quiet, and errors in plain words."""

import os
import stat
import subprocess
import sys
import textwrap
import types
from typing import ClassVar

import pytest

from tfxfer import teach
from tfxfer.teach import opening


def error_of(code, names=None):
    try:
        exec(code, names if names is not None else {})
    except Exception as error:
        return error
    raise AssertionError("the code did not fail")


@pytest.mark.parametrize(("python", "fits"), [("3.10.9", False), ("3.11.0", True), ("3.13.9", True), ("3.14.0", False)])
def test_python_outside_the_bounds_is_said_with_a_remedy(python, fits):
    found = opening.problems(python=python, installed={})
    assert bool(found) != fits
    if not fits:
        assert found[0].startswith(f"Python {python}: tfxfer") and "make setup PYTHON=" in found[0]


@pytest.mark.parametrize(
    ("package", "version", "words"),
    [
        ("keras", "2.15.0", "keras 2.15.0: needed is <3.16,>=3.15. Type: python -m pip install 'keras"),
        ("tensorflow", "2.30.1", "tensorflow 2.30.1: needed is"),
        ("matplotlib", None, "matplotlib is missing. Type: python -m pip install 'matplotlib"),
    ],
)
def test_packages_outside_the_bounds_are_said_with_a_command(package, version, words):
    (found,) = opening.problems(installed={package: version})
    assert words in found


def test_here_nothing_is_wrong():
    assert opening.problems() == []


def test_all_that_is_wrong_is_said_at_once(monkeypatch):
    monkeypatch.setattr(opening, "problems", lambda: ["first fault", "second fault"])
    with pytest.raises(opening.LessonError, match=r"(?s)Lesson 05 cannot start here:.*first fault.*second fault"):
        teach.start("05")


def test_a_lesson_that_cannot_start_shows_words_and_no_traceback():
    assert opening.LessonError("Type this.")._render_traceback_() == ["Type this."]


def test_a_name_of_an_earlier_cell_is_explained():
    words = opening.explained(error_of("probe.W"), {"phi": 1})
    assert words.startswith("`probe` is not defined yet: an earlier cell defines it.")
    assert "did you mean" not in words


def test_a_similar_name_is_suggested():
    assert words_of("prob.W", {"probe": 1}).endswith("Or did you mean `probe`?")


def words_of(code, names):
    return opening.explained(error_of(code, dict(names)), names)


def test_an_optional_package_names_its_extra():
    missing = ModuleNotFoundError("No module named 'pycocoevalcap.cider'", name="pycocoevalcap.cider")
    words = opening.explained(missing, {})
    assert "python -m pip install 'tfxfer[oracle]'" in words and "still run" in words


@pytest.mark.parametrize("code", ["1 / 0", "import nothing_of_ours", "def f():\n    x += 1\nf()"])
def test_other_errors_are_left_alone(code):
    assert words_of(code, {}) is None


@pytest.mark.parametrize(("value", "smoke"), [("1", True), ("yes", True), ("0", False), ("", False)])
def test_smoke_is_an_environment_variable(monkeypatch, value, smoke):
    monkeypatch.setenv("TFXFER_SMOKE", value)
    assert teach.smoke() is smoke
    assert teach.size(2000, 64) == (64 if smoke else 2000)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere; the next test shows the same for root")
def test_a_read_only_data_folder_is_said_and_worked_around(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    worked_around(folder, monkeypatch, capsys)


def test_a_data_folder_that_cannot_be_made_is_said_and_worked_around(monkeypatch, capsys):
    worked_around("/proc/tfxfer", monkeypatch, capsys)


def worked_around(folder, monkeypatch, capsys):
    monkeypatch.setenv("TFXFER_DATA", str(folder))
    teach.start("02", tensorflow=False)
    assert f"{folder} cannot be written" in capsys.readouterr().out
    assert os.environ["TFXFER_DATA"] != str(folder)
    assert os.access(os.environ["TFXFER_DATA"], os.W_OK)


def test_an_import_that_fails_shows_what_was_said(tmp_path):
    (tmp_path / "talkative.py").write_text("import os\nos.write(2, b'no such card')\n")
    (tmp_path / "failing.py").write_text("import os\nos.write(2, b'no such library')\nraise ImportError('x')\n")
    code = """
    from tfxfer.teach.opening import _import_quietly
    _import_quietly("talkative")
    try: _import_quietly("failing")
    except ImportError: pass
    """
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b"no such library"


def test_teaching_starts_no_tensorflow():
    code = (
        "import sys, tfxfer.teach; tfxfer.teach.start('00', tensorflow=False); assert 'tensorflow' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Lesson 00 · tfxfer")


class Shell:
    """What the first cell needs of IPython's shell."""

    user_ns: ClassVar = {}
    handler = None

    def set_custom_exc(self, kinds, handler):
        self.kinds, self.handler = kinds, handler

    def showtraceback(self, told, tb_offset=None):
        self.shown = told[1]

    def run(self, code):
        """Run a cell; show its error as IPython does."""
        try:
            exec(code, self.user_ns)
        except Exception as error:
            if isinstance(error, self.kinds):
                self.handler(self, type(error), error, error.__traceback__)
            else:
                self.shown = error


@pytest.fixture
def shell(monkeypatch):
    shell = Shell()
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    opening._plain_errors()
    return shell


def test_in_a_notebook_cells_out_of_order_are_explained(shell):
    shell.run("probe.W")
    assert isinstance(shell.shown, opening.LessonError)
    assert str(shell.shown).startswith("`probe` is not defined yet")


def test_in_a_notebook_it_goes_on_explaining(shell):
    shell.run("probe.W")
    shell.run("phi.output")
    assert str(shell.shown).startswith("`phi` is not defined yet")


@pytest.mark.parametrize("code", ["1 / 0", "import nothing_of_ours"])
def test_in_a_notebook_other_errors_are_shown_as_they_are(shell, code):
    shell.run(code)
    assert isinstance(shell.shown, ZeroDivisionError | ModuleNotFoundError)


def test_in_a_real_notebook_cells_out_of_order_are_explained(tmp_path):
    pytest.importorskip("nbclient", reason="comes with the extra `notebooks`")
    import nbclient
    import nbformat

    code = ("from tfxfer import teach\nteach.start('02', tensorflow=False)", "probe.W")
    cells = [nbformat.v4.new_code_cell(one) for one in code]
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="`probe` is not defined yet: an earlier cell"):
        nbclient.NotebookClient(nbformat.v4.new_notebook(cells=cells), kernel_name="python3").execute(cwd=str(tmp_path))
