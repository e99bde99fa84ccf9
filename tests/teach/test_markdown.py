"""Paragraphs with computed numbers: what Markdown shows is what was said, wherever a line breaks."""

import re
import textwrap

import pytest
from markdown_it import MarkdownIt

from tfxfer.teach.markdown import plain, tidy

COMMONMARK = MarkdownIt("commonmark").enable(["table", "strikethrough"])
NUMBERS = re.compile(r"\d[\d.,]*\d|\d")


def html_of(text):
    return COMMONMARK.render(tidy(text))


def words_of(text):
    return (
        re.sub(r"<[^>]*>", " ", html_of(text)).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").split()
    )


def test_a_number_at_the_start_of_a_line_is_no_list():
    said = "its median place is\n1. After learning from shuffled pairs it is\n4% and place\n108."
    assert html_of(said) == f"<p>{' '.join(said.split())}</p>\n"


@pytest.mark.parametrize(
    "start", ["1.", "108.", "7)", "#", "##", ">", "+", "-", "*", "---", "***", "===", "~~~", "|", "_x_"]
)
@pytest.mark.parametrize("width", [5, 20, 60])
def test_data_starts_no_block_inside_a_paragraph(start, width):
    said = f"The value is {start} and then {start} or {start} as the last one."
    wrapped = textwrap.fill(said, width)
    html = html_of(wrapped)
    assert html.count("<") == 2 and html.startswith("<p>"), html
    assert words_of(wrapped) == said.split()


@pytest.mark.parametrize("start", ["108. of", "7) of", "# of", "1. of", "=== of", "~~~ of", "+5 of", "-0.5 of"])
def test_data_starts_no_block_at_the_start_of_a_paragraph_or_item(start):
    assert html_of(f"{start} it").startswith("<p>")
    assert words_of(f"{start} it") == f"{start} it".split()
    assert words_of(f"- {start} it") == f"{start} it".split()
    assert html_of(f"- {start} it").count("<li>") == 1


@pytest.mark.parametrize(
    "data", ["my_file_name", "_x_", "__init__", "<begin>", "<b>", "a ~~b~~ c", "2*3*4", "&amp;", "a * b * c"]
)
def test_data_is_shown_as_it_is(data):
    assert words_of(f"It is {data} here.") == f"It is {data} here.".split()


@pytest.mark.parametrize("data", ["*.csv", "a|b", "`x`", "[a](b)", "$x$", "**", "#1", "~", "\\", "<a>", "a\nb"])
def test_plain_shows_anything_as_it_is(data):
    shown = words_of(f"It is {plain(data)} here.")
    assert " ".join(shown).replace("\\$", "$") == f"It is {' '.join(data.split())} here."  # \$ is for MathJax


def test_a_table_keeps_its_columns_with_plain_data():
    html = html_of(f"| a | b |\n|---|---|\n| {plain('x|y_z')} | 1 |")
    assert html.count("<td>") == 2 and "x|y_z" in html


def test_what_the_author_wrote_on_purpose_works():
    said = """
    **Bold** and *emphasis*, `code_with_underscores`, [a link](some_file_name.md) and $x_1 + x_2$:

    - one item that goes
      on in a second line
    - a second, **bold**
      - under it

    1. first
    2. second

    > a quote
    > of two lines

    ```python
    a_b = 1

    # a comment
    ```
    """
    html = html_of(textwrap.dedent(said).strip())
    for part in (
        "<strong>Bold</strong>",
        "<em>emphasis</em>",
        "<code>code_with_underscores</code>",
        'href="some_file_name.md"',
        "$x_1 + x_2$",
        "<li>one item that goes on in a second line</li>",
        "<li>a second, <strong>bold</strong>\n<ul>\n<li>under it</li>",
        "<ol>\n<li>first</li>\n<li>second</li>\n</ol>",
        "<blockquote>\n<p>a quote of two lines</p>\n</blockquote>",
        "a_b = 1\n\n# a comment\n</code>",
    ):
        assert part in html, part


def test_tidying_twice_changes_nothing():
    said = "a_b <c>\n108. d\n\n- 3. e\n- f\n\n> g\n1. h"
    assert tidy(tidy(said)) == tidy(said)
