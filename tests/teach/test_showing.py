"""The source that a lesson shows is the source that runs; sentences come out as they are."""

import inspect

from tfxfer import teach
from tfxfer.evaluate import Verdict, verdict


def test_the_whole_code_is_shown_with_its_place():
    shown = teach.show(verdict, docstring=True).markdown
    _, line = inspect.getsourcelines(verdict)
    assert shown.startswith(f"`tfxfer/evaluate/verdict.py`, from line {line}:\n\n```python\ndef verdict(")
    assert inspect.getsource(verdict).rstrip() in shown


def test_a_docstring_is_cut_to_its_first_line_and_nothing_else_is():
    shown = teach.show(verdict).markdown
    code = inspect.getsource(verdict)
    start = code.index('"""')
    after = code[code.index('"""', start + 3) + 3 :]
    assert shown.split("```python\n")[1] == f'{code[:start]}{code[start:].splitlines()[0]}"""{after.rstrip()}\n```'


def test_classes_keep_their_methods():
    shown = teach.show(Verdict).markdown
    assert "def sentence(" in shown and "Attributes:" not in shown and ">>>" not in shown


def test_a_method_is_moved_to_the_left():
    assert "```python\ndef sentence(self" in teach.show(Verdict.sentence).markdown


def test_several_come_one_after_the_other():
    assert teach.show(verdict, Verdict).markdown.count("```python") == 2


def test_sentences_are_printed_outside_a_notebook(capsys):
    teach.say("""
        **12 %** of phrases.
          - indented
    """)
    assert capsys.readouterr().out == "**12 %** of phrases.\n  - indented\n"
