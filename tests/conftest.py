"""Fixtures that many test folders share."""

import gc
import os
from pathlib import Path

import pytest

from tfxfer.cache import key_of

ROOT = Path(__file__).parent.parent
BUILDERS = ROOT / "tfxfer" / "data" / "builders"
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as the commands do: a test and its child round alike

gc.set_threshold(
    50_000, 20, 50
)  # graphs of TensorFlow are many small objects; collecting them took a tenth of the time


@pytest.fixture(autouse=True, scope="module")
def settled_objects():
    """What a file of tests leaves, such as imported packages and traced functions, is not looked through again."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def data_dir(request):
    """Folder of prepared data, kept between test runs until a builder changes; `$TFXFER_TEST_DATA` overrides it."""
    if os.environ.get("TFXFER_TEST_DATA"):
        return Path(os.environ["TFXFER_TEST_DATA"])
    sources = [path.read_text("utf-8") for path in sorted(BUILDERS.glob("*.py"))]
    return request.config.cache.mkdir(f"tfxfer-data-{key_of(sources)}")


@pytest.fixture(scope="session")
def samples():
    """Folder of the tiny samples that come with the project."""
    return ROOT / "data" / "samples"


@pytest.fixture(scope="session")
def shared_data():
    """Folder of real data beside the repository; a test that wants it is skipped where there is none."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs the real data in ../shared/data")
    return folder


def pytest_ignore_collect(collection_path, config):
    """`make quick` does not import a file that it leaves out as a whole: TensorFlow takes seconds."""
    if collection_path.suffix != ".py" or "not tensorflow" not in config.option.markexpr:
        return None
    source = collection_path.read_text("utf-8")
    return any(f"\npytestmark = pytest.mark.{mark}\n" in source for mark in ("tensorflow", "drawing")) or None
