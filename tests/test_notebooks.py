"""The lessons: notebooks say what their sources say, were run, read well, and their code runs from any folder."""

import json
import re
import socket

import jupytext
import pytest

from notebooks import __main__ as command
from notebooks.lessons import HERE, cells, empty_notebook, notebook_of, smoke, sources

SOURCES = sources()
each_lesson = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
LARGEST = 600_000  # bytes of a notebook with its pictures


def text_of(source):
    return "\n".join(text for kind, text in cells(source) if kind == "markdown")


def outputs_of(source):
    notebook = jupytext.read(notebook_of(source))
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def test_there_are_lessons():
    assert SOURCES
    assert [source.stem for source in SOURCES] == sorted(file.stem for file in HERE.glob("*.ipynb"))


@each_lesson
def test_the_notebook_says_what_its_source_says(source):
    assert cells(notebook_of(source)) == cells(source), f"make it again: python -m notebooks {source.stem[:2]}"


@each_lesson
def test_the_notebook_was_run_from_top_to_bottom(source):
    code = [cell for cell in jupytext.read(notebook_of(source)).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))


@each_lesson
def test_the_notebook_shows_no_error_no_warning_and_no_machine(source):
    for output in outputs_of(source):
        assert output.output_type != "error", output
        assert output.get("name") != "stderr", output
        told = json.dumps({k: v for k, v in output.get("data", {}).items() if not k.startswith("image/")})
        assert not re.search(r"(/home/|/root/|/Users/|/usr/|site-packages)", told + output.get("text", ""))


SHOWN = re.compile(r"`(tfxfer/[\w/]+\.py)`, from line \d+:\n\n```python\n(.*?)\n```", re.DOTALL)


def is_in(shown, text):
    """Whether the lines of shown code stand in a file's text; docstrings, which are cut, do not count."""
    bare = (re.sub(r'""".*?"""( *#.*?$)?', "", code, flags=re.DOTALL | re.MULTILINE) for code in (shown, text))
    ours, theirs = ("\n".join(line.strip() for line in code.splitlines() if line.strip()) for code in bare)
    return f"\n{ours}\n" in f"\n{theirs}\n"


@each_lesson
def test_the_code_that_is_shown_is_the_code_of_today(source):
    for output in outputs_of(source):
        for file, shown in SHOWN.findall(output.get("data", {}).get("text/markdown", "")):
            text = (HERE.parent / file).read_text(encoding="utf-8")
            assert is_in(shown, text), f"{file} has changed: python -m notebooks {source.stem[:2]}"


def test_changed_code_would_be_seen():
    text = 'def f(x):\n    """Add.\n\n    More.\n    """\n    y = x + 1\n    return y\n'
    assert is_in('def f(x):\n    """Add."""\n    y = x + 1\n    return y', text)
    for other in ("y = x + 2\n    return y", "return y"):
        assert not is_in(f'def f(x):\n    """Add."""\n    {other}', text)


@each_lesson
def test_the_notebook_has_pictures_and_is_small(source):
    pictures = [output for output in outputs_of(source) if "image/png" in output.get("data", {})]
    assert pictures
    assert notebook_of(source).stat().st_size < LARGEST


@each_lesson
def test_the_lesson_has_its_parts(source):
    text = text_of(source)
    number = source.stem[:2]
    assert text.startswith(f"# {number} · ")
    for part in ("**After this lesson you can**", "**Time to run:**", "## Exercises", "## Read next"):
        assert text.count(part) == 1, part
    assert re.findall(r"(19|20)\d\d", text.partition("## Read next")[2]), "sources have a year"
    assert f'teach.start("{number}"' in source.read_text("utf-8")


@each_lesson
def test_no_measured_number_is_typed_into_the_prose(source):
    """Shares and decimals come from `teach.say`, out of cells above; 95 % is a convention, exercises make theirs."""
    prose = text_of(source).partition("## Exercises")[0].replace("95 %", "")
    typed = re.findall(r"(?<![\w/.])\d[\d.,]* ?%|(?<![\w/.v])0?\.\d+\b", prose)
    assert not typed


@each_lesson
@pytest.mark.tensorflow
def test_the_code_runs_on_little_data_from_another_folder(source, data_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFXFER_DATA", str(data_dir))
    monkeypatch.setenv("TFXFER_SMOKE", "0")  # smoke() sets it; this puts it back afterwards
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    smoke(source)


def no_network(*address, **options):
    raise AssertionError(f"a lesson asked for {address}")


@pytest.mark.parametrize(
    ("lesson", "said"),
    [
        ("03", "**The verdict turns.**"),
        ("03", "Knowledge of letters: helped. Knowledge of dots: no evidence."),
        ("06", "> The model looks: accuracy"),
        ("06", "> The model does not look at its pictures, as far as can be shown: accuracy"),
        ("06", "- Seeing the picture helped: "),
        ("06", "the score that would be published rises"),
        ("06", "after the most lopsided training: The model does not look"),
        ("07", "The target computes what the source computes"),
    ],
)
def test_what_a_lesson_builds_on_came_out(lesson, said):
    (source,) = sources([lesson])
    told = [str(output.get("data", {}).get("text/markdown", output.get("text", ""))) for output in outputs_of(source)]
    assert said in " ".join(" ".join(told).split())


def test_links_between_lessons_and_documents_lead_somewhere():
    for source in SOURCES:
        for path in re.findall(r"`((?:docs|data|tfxfer)/[\w./-]+)`", text_of(source)):
            assert (HERE.parent / path).exists(), f"{source.name} names {path}"


SOURCE = """# %% [markdown]
# # 42 · A lesson
#
# Words.

# %%
answer = 41

# %%
answer + 1
"""


@pytest.fixture
def lesson(tmp_path, monkeypatch):
    """A lesson of its own in a folder of its own."""
    (tmp_path / "src").mkdir()
    source = tmp_path / "src" / "42_lesson.py"
    source.write_text(SOURCE)
    monkeypatch.setattr("notebooks.lessons.HERE", tmp_path)
    return source


def test_a_source_becomes_cells(lesson):
    assert cells(lesson) == [
        ("markdown", "# 42 · A lesson\n\nWords."),
        ("code", "answer = 41"),
        ("code", "answer + 1"),
    ]


def test_the_same_source_gives_the_same_notebook(lesson):
    assert empty_notebook(lesson) == empty_notebook(lesson)


def test_a_notebook_that_differs_is_named(lesson, capsys):
    assert command.main(["--check"]) == 1
    assert "42_lesson.ipynb differs from src/42_lesson.py: python -m notebooks 42" in capsys.readouterr().out
    jupytext.write(empty_notebook(lesson), notebook_of(lesson))
    assert command.main(["--check"]) == 0
    lesson.write_text(SOURCE.replace("41", "43"))
    assert command.main(["--check"]) == 1


def test_running_keeps_outputs_and_leaves_the_machine_out(lesson):
    pytest.importorskip("nbclient", reason="comes with the extra `notebooks`")
    assert command.main([]) == 0
    notebook = jupytext.read(notebook_of(lesson))
    assert notebook.cells[2].outputs[0].data["text/plain"] == "42"
    assert notebook.metadata.language_info == {"name": "python"}
    assert command.main(["--check"]) == 0


def test_without_the_extra_running_says_which_to_install(lesson, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "nbclient", None)
    with pytest.raises(SystemExit, match=r"nbclient is missing: python -m pip install 'tfxfer\[notebooks\]'"):
        command.main(["42"])


def test_an_unknown_lesson_is_said(lesson):
    with pytest.raises(SystemExit, match="no lesson begins with 77; there are 42_lesson"):
        command.main(["77"])


def test_smoke_names_the_line_of_the_lesson(lesson, monkeypatch):
    monkeypatch.setenv("TFXFER_SMOKE", "0")
    lesson.write_text(SOURCE.replace("answer = 41", "answer = 41 / 0"))
    with pytest.raises(ZeroDivisionError) as raised:
        smoke(lesson)
    assert (raised.traceback[-1].path, raised.traceback[-1].lineno) == (lesson, 6)
