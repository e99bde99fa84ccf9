"""The course: every lesson has its neighbours, links that exist, and a way to open it."""

import re
from pathlib import Path

import pytest

from tfxfer import teach
from tfxfer.errors import UserError
from tfxfer.teach import course

ROOT = Path(__file__).parent.parent.parent
ADDRESS = "https://github.com/me/tfxfer"
each_lesson = pytest.mark.parametrize("number", course.LESSONS)


def links(markdown):
    return re.findall(r"\]\(([^)\s]+)\)", markdown)


def test_the_lessons_are_the_sources():
    sources = sorted(path.stem for path in (ROOT / "notebooks" / "src").glob("[0-9][0-9]_*.py"))
    assert [lesson.file for lesson in course.LESSONS.values()] == sources


@each_lesson
def test_links_into_the_repository_lead_somewhere(number):
    for link in links(teach.navigation(number).markdown) + links(teach.header(number).markdown):
        if not link.startswith("https://"):
            assert (ROOT / "notebooks" / link).resolve().exists(), link


@each_lesson
def test_the_lessons_before_and_after_are_linked(number):
    place = list(course.LESSONS).index(number)
    files = [f"{lesson.file}.ipynb" for lesson in course.LESSONS.values()]
    for shown in (teach.navigation(number).markdown, teach.header(number).markdown):
        linked = [link for link in links(shown) if link.endswith(".ipynb")]
        assert linked[-1] == files[min(place + 1, len(files) - 1)] or place == len(files) - 1
        assert files[place] not in linked
        if place:
            assert linked[0] == files[place - 1]


@each_lesson
def test_each_paper_of_the_navigation_is_in_read_next(number):
    (source,) = (ROOT / "notebooks" / "src").glob(f"{number}_*.py")
    read_next = source.read_text("utf-8").partition("## Read next")[2]
    for name, address in course.lesson_of(number).papers:
        author, year = re.match(r"(\w+)", name)[1], re.search(r"\d{4}", name)[0]
        assert author in read_next and year in read_next, name
        assert address.startswith("https://")


def test_the_badge_opens_the_notebook_in_colab():
    shown = teach.badge("04", ADDRESS)
    assert shown.startswith("[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](")
    assert shown.endswith("/github/me/tfxfer/blob/main/notebooks/04_retrieval_and_zero_shot.ipynb)")
    assert f"git+{ADDRESS}" in teach.header("04", ADDRESS).markdown


@pytest.mark.parametrize(
    ("lines", "address"),
    [
        (["Source, https://github.com/me/tfxfer/"], ADDRESS),
        (["Documentation, https://example.org"], None),
        (["Source, https://example.org/tfxfer"], None),
        (None, None),
    ],
)
def test_the_repository_is_that_of_the_package(monkeypatch, lines, address):
    class About:
        def get_all(self, name):
            return lines

    monkeypatch.setattr(course.metadata, "metadata", lambda package: About())
    assert course.repository() == address
    assert bool(teach.badge("02")) == bool(address)


def test_only_lesson_00_says_how_to_open_and_that_numbers_differ():
    assert course.HOW_TO_OPEN in teach.header("00").markdown
    assert course.NUMBERS_DIFFER in teach.header("00").markdown
    for number in list(course.LESSONS)[1:]:
        assert "differ" not in teach.header(number).markdown + teach.navigation(number).markdown


def test_the_commands_to_open_are_those_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    (command,) = re.findall(r"-m (jupyterlab \S+)", makefile)
    assert command in course.HOW_TO_OPEN
    assert "-c constraints.txt" in course.HOW_TO_OPEN and (ROOT / "constraints.txt").exists()


def test_an_unknown_lesson_is_named():
    with pytest.raises(UserError, match="there is no lesson '77'"):
        teach.navigation("77")
