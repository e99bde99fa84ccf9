import fake
import pytest
from reading import Page

from tfxfer import report


@pytest.fixture(scope="session")
def comparison():
    return fake.make(examples=500)


def make_run(comparison, parent):
    folder = parent / "runs" / "feature-20261123-101500"
    folder.mkdir(parents=True)
    comparison.save(folder)
    fake.write_side_files(folder)
    return folder


@pytest.fixture
def run_folder(comparison, tmp_path):
    """A finished run that a test may change."""
    return make_run(comparison, tmp_path)


@pytest.fixture(scope="session")
def page(comparison, tmp_path_factory):
    """The report of a finished run, read; the same for all tests."""
    folder = make_run(comparison, tmp_path_factory.mktemp("report"))
    return Page(report.write(folder).read_text(encoding="utf-8"))
