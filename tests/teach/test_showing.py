"""The source that a lesson shows is the source that runs; sentences are shown as they are."""

import ast
import inspect
import re
import textwrap

import pytest
from browser import CHROMIUM, Browser

from tfxfer import teach
from tfxfer.evaluate import Verdict, verdict
from tfxfer.teach import formatting
from tfxfer.teach.formatting import narrow


def code_of(shown):
    return shown.markdown.split("```python\n")[1].removesuffix("\n```")


def meaning(source, docstrings=True):
    """What Python reads in a source, whatever its lines look like."""
    tree = ast.parse(textwrap.dedent(source))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and (text := ast.get_docstring(node)):
            words = " ".join(text.split()) if docstrings else ""
            node.body[0] = ast.Expr(ast.Constant(words))
    return ast.dump(tree)


def test_the_whole_code_is_shown_with_its_place():
    shown = teach.show(verdict, docstring=True)
    _, line = inspect.getsourcelines(verdict)
    assert shown.markdown.startswith(f"`tfxfer/evaluate/verdict.py`, from line {line}:\n\n```python\ndef verdict(")
    assert meaning(code_of(shown)) == meaning(inspect.getsource(verdict))


def test_a_docstring_is_cut_to_its_first_line_and_nothing_else_is():
    shown = code_of(teach.show(verdict))
    assert meaning(shown, docstrings=False) == meaning(inspect.getsource(verdict), docstrings=False)
    first = " ".join(inspect.getdoc(verdict).split("\n\n")[0].split())
    assert " ".join(ast.get_docstring(ast.parse(shown).body[0]).split()) == first


@pytest.mark.parametrize("docstring", [False, True])
def test_shown_code_is_at_most_88_columns_wide(docstring):
    shown = teach.show(verdict, Verdict, docstring=docstring).markdown
    wide = [line for line in shown.splitlines() if len(line) > 88 and ">>>" not in line]
    assert not wide


LONG = '''
class Shown:
    def f(self, first_argument, second_argument=12):  # a comment that makes this line longer than 88 columns, [B, D]
        """Return one docstring that is longer than eighty-eight columns, which is possible in this library.

        Args:
            first_argument: An array whose description is so long that it needs more than eighty-eight columns here.
            second_argument: Short.
        """
        # a comment on a line of its own that is longer than the eighty-eight columns that a lesson has in a row
        raise ValueError(f"a message with {first_argument} and {second_argument} that is longer than 88 columns")

    def g(self, value):
        return f"{value} is {'the first' if value else 'the second'} of all values, and this is a long text about it"
'''


def test_long_lines_are_broken_and_mean_the_same():
    short = narrow(LONG)
    assert max(map(len, short.splitlines())) <= 88
    assert meaning(short) == meaning(LONG)
    assert "needs more\n                than eighty-eight columns here.\n            second_argument" in short
    words = " ".join(short.replace("#", " ").split())
    for comment in (
        "a comment that makes this line longer than 88 columns, [B, D]",
        "columns that a lesson has in a row",
    ):
        assert comment in words


def test_without_ruff_code_is_shown_as_it_is(monkeypatch):
    monkeypatch.setattr(formatting.shutil, "which", lambda *names, **options: None)
    assert narrow("x = [1,\n  2]") == "x = [1,\n  2]"


def test_code_that_ruff_cannot_read_is_no_crash():
    assert narrow("x = 1  \ny =  2") == "x = 1\ny = 2"


def test_classes_keep_their_methods():
    shown = teach.show(Verdict).markdown
    assert "def sentence(" in shown and "Attributes:" not in shown and ">>>" not in shown


def test_a_method_is_moved_to_the_left():
    assert "```python\ndef sentence(" in teach.show(Verdict.sentence).markdown


def test_several_come_one_after_the_other():
    assert teach.show(verdict, Verdict).markdown.count("```python") == 2


def test_a_signature_is_shown_with_its_docstring_and_without_body():
    shown = teach.show_signature(verdict).markdown
    assert shown.startswith("`tfxfer.evaluate.verdict`:\n\n```python\ndef verdict(")
    assert "Args:" in shown and "Returns:" in shown
    assert "Example" not in shown and "return Verdict(" not in shown
    assert shown.endswith("\n    ...\n```")
    assert max(map(len, shown.splitlines())) <= 88


def test_only_a_function_has_a_signature_to_show():
    with pytest.raises(TypeError, match="is not a function"):
        teach.show_signature(Verdict)


def test_sentences_are_printed_outside_a_notebook(capsys):
    teach.say("""
        **12 %** of phrases.

          - indented
    """)
    assert capsys.readouterr().out == "**12 %** of phrases.\n\n  - indented\n"


def test_in_a_notebook_lines_of_a_paragraph_are_joined(outputs, capsys):
    teach.say("its median place is\n1. After learning from shuffled pairs\n108.")
    ((data, _),) = outputs
    assert data["text/markdown"] == "its median place is 1. After learning from shuffled pairs 108."
    assert capsys.readouterr().out == ""


# === A slider ===


def frames():
    from matplotlib.figure import Figure

    figures = [Figure(figsize=(1 + i, 1)) for i in range(3)]
    return [(f"{i} <seeds>", figure, f'Figure "{i}"  of </script> three.') for i, figure in enumerate(figures)]


def test_a_slider_shows_its_first_figure_where_scripts_do_not_run(outputs):
    teach.show_slider("number & kind", frames(), start=1)
    ((data, metadata),) = outputs
    without = re.sub("<script>.*</script>", "", data["text/html"], flags=re.DOTALL)
    assert f"data:image/png;base64,{data['image/png']}" in without
    assert "number &amp; kind: <b>1 &lt;seeds&gt;</b>" in without
    assert without.count("<img") == 1 and metadata["image/png"]["alt"] == 'Figure "1" of </script> three.'
    assert data["text/html"].count("</script>") == 1


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_slider_changes_figure_value_and_alt_text(outputs, tmp_path):
    teach.show_slider("seeds", frames(), start=1)
    page = tmp_path / "page.html"
    page.write_text("<!doctype html><meta charset='utf-8'>" + outputs[0][0]["text/html"], "utf-8")
    move = "const i = document.querySelector('input'); i.value = {}; i.dispatchEvent(new Event('input'));"
    state = "[document.querySelector('b').textContent, document.querySelector('img').alt]"
    with Browser() as browser:
        tab = browser.tab(page.as_uri())
        before = tab.run("document.querySelector('img').src")
        tab.run(f"(() => {{ {move.format(2)} }})()")
        assert tab.run(state) == ["2 <seeds>", 'Figure "2" of </script> three.']
        assert tab.run("document.querySelector('img').src") != before
        tab.run(f"(() => {{ {move.format(1)} }})()")
        assert tab.run("document.querySelector('img').src") == before


def test_outside_a_notebook_a_slider_shows_nothing(capsys):
    teach.show_slider("seeds", frames())
    assert capsys.readouterr().out == ""
