"""The lessons: notebooks match their sources, were run, render as they were written, and their code runs anywhere."""

import ast
import json
import re
import socket
from html.parser import HTMLParser

import jupytext
import pytest
from markdown_it import MarkdownIt

from notebooks import __main__ as command
from notebooks.lessons import HERE, cells, empty_notebook, filled, notebook_of, smoke, sources
from tfxfer import teach
from tfxfer.teach import course

SOURCES = sources()
each_lesson = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
LARGEST = 600_000  # bytes of a notebook with its figures


def text_of(source):
    return "\n".join(text for kind, text in cells(source) if kind == "markdown")


def outputs_of(source):
    notebook = jupytext.read(notebook_of(source))
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def test_there_are_lessons():
    assert SOURCES
    assert [source.stem for source in SOURCES] == sorted(file.stem for file in HERE.glob("*.ipynb"))


@each_lesson
def test_the_notebook_has_the_cells_of_its_source(source):
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
        data = json.dumps({k: v for k, v in output.get("data", {}).items() if not k.startswith("image/")})
        assert not re.search(r"(/home/|/root/|/Users/|/usr/|site-packages)", data + output.get("text", ""))


SHOWN = re.compile(r"`(tfxfer/[\w/]+\.py)`, from line \d+:\n\n```python\n(.*?)\n```", re.DOTALL)


def definitions(code):
    """What Python reads in each function and class of some code, without docstrings."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if ast.get_docstring(node):
                node.body = node.body[1:]
            found.append(node)
    return {ast.dump(node) for node in found}


def is_in(shown, text):
    """Whether the functions and classes of shown code are in a file; its lines may be broken at other places."""
    ours = definitions(shown)
    return bool(ours) and ours <= definitions(text)


@each_lesson
def test_the_code_that_is_shown_is_the_code_of_today(source):
    for output in outputs_of(source):
        for file, shown in SHOWN.findall(output.get("data", {}).get("text/markdown", "")):
            text = (HERE.parent / file).read_text(encoding="utf-8")
            assert is_in(shown, text), f"{file} has changed: python -m notebooks {source.stem[:2]}"


def test_changed_code_would_be_found():
    text = 'def f(x, z=1):\n    """Add.\n\n    More.\n    """\n    y = x + 1\n    return y\n'
    assert is_in('def f(\n    x,\n    z=1,\n):\n    """Add."""\n    y = x + 1\n    return y', text)
    for other in ("y = x + 2\n    return y", "return y"):
        assert not is_in(f'def f(x, z=1):\n    """Add."""\n    {other}', text)


MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])
NUMBER = re.compile(r"\d(?:[\d.,]*\d)?")


class Reader(HTMLParser):
    """The text of a page as a reader sees it, with the numbers of ordered lists; links and images are left out."""

    def __init__(self):
        super().__init__()
        self.text, self.lists = "", []

    def handle_starttag(self, tag, attributes):
        if tag in ("ol", "ul"):
            self.lists.append(int(dict(attributes).get("start", 1)) if tag == "ol" else None)
        if tag == "li" and self.lists[-1] is not None:
            self.text += f" {self.lists[-1]}. "
            self.lists[-1] += 1

    def handle_endtag(self, tag):
        if tag in ("ol", "ul"):
            self.lists.pop()

    def handle_data(self, data):
        self.text += data


def numbers_rendered(markdown):
    """The numbers that a reader sees in rendered Markdown."""
    reader = Reader()
    reader.feed(MARKDOWN.render(markdown))
    return NUMBER.findall(reader.text)


def numbers_written(markdown):
    """The numbers in the source of Markdown, without the addresses of links and images."""
    return NUMBER.findall(re.sub(r"\]\([^)\s]+\)|<https?://[^>]*>", "] ", markdown))


def markdown_of(source):
    """Every Markdown output of a lesson."""
    return [output.data["text/markdown"] for output in outputs_of(source) if "text/markdown" in output.get("data", {})]


@each_lesson
def test_the_rendered_numbers_are_those_of_the_text(source):
    outputs = markdown_of(source)
    assert outputs or source.stem.startswith("00")
    for text in [*outputs, *(text for kind, text in cells(notebook_of(source)) if kind == "markdown")]:
        assert numbers_rendered(text) == numbers_written(text), text


@each_lesson
def test_no_line_of_a_paragraph_begins_with_a_number_and_a_point(source):
    """CommonMark and JupyterLab disagree on which of these begin a list, so none may."""
    for text in markdown_of(source):
        prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        assert not re.search(r"[^\n]\n *\d+[.)] ", prose), f"run it again: python -m notebooks {source.stem[:2]}"


def test_a_number_that_becomes_a_list_would_be_found():
    text = "its median place is\n1. After learning from shuffled pairs it is\n108."
    assert numbers_written(text) == ["1", "108"]
    assert numbers_rendered(text) == ["1", "2"]
    assert numbers_rendered(teach.markdown.tidy(text)) == ["1", "108"]


@each_lesson
def test_shown_code_is_at_most_88_columns_wide(source):
    """Cells, and what `teach.show` shows of the library; a lesson is read beside a notebook's margin."""
    code = [text for kind, text in cells(source) if kind == "code"]
    code += [block for text in markdown_of(source) for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)]
    assert not [line for text in code for line in text.splitlines() if len(line) > 88]


@each_lesson
def test_each_figure_has_an_alt_text_and_the_notebook_is_small(source):
    images = [output for output in outputs_of(source) if "image/png" in output.get("data", {})]
    assert images
    for output in images:
        alt = output.metadata.get("image/png", {}).get("alt", "")
        assert len(alt) > 40, f"show it with teach.show_figure: {output.data.get('text/plain')}"
        assert re.search(r'<img alt="[^"]{40,}"', output.data["text/html"])
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
def test_the_lesson_begins_and_ends_with_its_links(source):
    number = source.stem[:2]
    texts = [text for kind, text in cells(source) if kind == "markdown"]
    assert teach.header(number).markdown in texts[0], "write {{ header }} under the title"
    assert texts[-1].endswith(teach.navigation(number).markdown), "end the last cell with {{ navigation }}"


def test_one_lesson_explains_that_numbers_differ():
    lessons = [source.stem for source in SOURCES if course.NUMBERS_DIFFER in text_of(source)]
    assert lessons == ["00_map"]


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
    ("lesson", "sentence"),
    [
        ("03", "**The conclusion changes.**"),
        ("03", "No evidence of a difference between the lower learning rate and the higher learning rate: "),
        ("03", "> Training on letters is better than training on dots by "),
        ("06", "> The model uses its images: accuracy"),
        ("06", "> The model reacts to its images and does worse with them: accuracy"),
        ("06", "- The image helped: "),
        ("06", "the accuracy on biased questions rises"),
        ("06", "after the most biased training: There is no evidence that the model uses its images"),
        ("07", "The target computes what the source computes"),
    ],
)
def test_the_saved_results_support_the_text(lesson, sentence):
    (source,) = sources([lesson])
    data = [output.get("data", {}) | {"text": output.get("text", "")} for output in outputs_of(source)]
    texts = [one.get("text/markdown", one["text"]) for one in data]
    assert sentence in " ".join(" ".join(texts).split())


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


def test_header_and_navigation_are_put_into_a_cell_of_text():
    text = filled("# 02 · A title\n\n{{ header }}\n\nWords.\n\n{{ navigation }}", "02")
    assert text.startswith("# 02 · A title\n\n←") and "02_feature_transfer.ipynb" not in text
    assert text.endswith(teach.navigation("02").markdown)


def test_only_the_notebook_has_the_links(lesson, monkeypatch):
    source = lesson.with_name("03_lesson.py")
    source.write_text(SOURCE.replace("# Words.", "# {{ header }}"))
    assert "{{ header }}" in source.read_text("utf-8")
    assert cells(source)[0] == ("markdown", f"# 42 · A lesson\n\n{teach.header('03').markdown}")
    jupytext.write(empty_notebook(source), notebook_of(source))
    assert cells(notebook_of(source)) == cells(source)


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


def test_without_the_extra_the_error_names_it(lesson, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "nbclient", None)
    with pytest.raises(SystemExit, match=r"nbclient is missing: python -m pip install 'tfxfer\[notebooks\]'"):
        command.main(["42"])


def test_an_unknown_lesson_is_an_error(lesson):
    with pytest.raises(SystemExit, match="no lesson begins with 77; there are 42_lesson"):
        command.main(["77"])


def test_smoke_names_the_line_of_the_lesson(lesson, monkeypatch):
    monkeypatch.setenv("TFXFER_SMOKE", "0")
    lesson.write_text(SOURCE.replace("answer = 41", "answer = 41 / 0"))
    with pytest.raises(ZeroDivisionError) as raised:
        smoke(lesson)
    assert (raised.traceback[-1].path, raised.traceback[-1].lineno) == (lesson, 6)
