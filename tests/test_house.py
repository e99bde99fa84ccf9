"""The house rules: which way imports run, and what start-up costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "tfxfer"
GROUND = {"errors", "cache", "streams", "config", "version", "records"}  # known to all
KNOWS = {  # part -> the parts it may import, besides the ground
    "errors": set(),
    "version": set(),
    "cache": set(),
    "streams": set(),
    "config": set(),
    "records": set(),
    "data": {"data"},
    "models": {"models"},
    "fit": set(),
    "generate": {"generate"},
    "transfer": {"transfer", "models", "data", "generate"},
    "teach": {"teach", "report", "evaluate"},
    "evaluate": {"evaluate"},
    "choose": {"choose", "evaluate"},
    "report": {"report", "evaluate"},
    "experiment": {"evaluate"},
    "runs": set(),
    "cli": set(),
}
TOP = {"recipes", "train", "predict", "__init__"}  # where all of the above meet
COMMANDS = {"evaluate/__main__.py"}  # `python -m tfxfer.evaluate` stands in the package it is named after


def imported(path: Path) -> set[str]:
    """Return the parts of tfxfer that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").split(".")[0] == "tfxfer":
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        if isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("tfxfer.")}
    return found


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_one_way(path):
    part, place = part_of(path), path.relative_to(PACKAGE).as_posix()
    if part in TOP or place in COMMANDS:
        return
    assert part in KNOWS, f"{place}: give '{part}' a row in KNOWS"
    wrong = imported(path) - KNOWS[part] - (GROUND if part not in GROUND else {"errors", "cache", "version"})
    assert not wrong, f"{place} must not import {sorted(wrong)}"


def test_a_wrong_import_is_seen(tmp_path):
    file = tmp_path / "x.py"
    file.write_text("def f():\n    from tfxfer.models.cnn import glyph_cnn\n    import tfxfer.data.spec\n")
    assert imported(file) == {"models", "data"}


HEAVY = "('tensorflow', 'keras', 'keras_hub', 'tensorflow_datasets', 'sklearn', 'scipy', 'matplotlib', 'numpy')"


@pytest.mark.parametrize(
    "code",
    [
        "import tfxfer",
        "import tfxfer.data, tfxfer.models, tfxfer.recipes",
        "from tfxfer import cli, train\ntry: cli.main(train.work, ['--help'])\nexcept SystemExit: pass",
        "from tfxfer import cli, train\nassert cli.main(train.work, ['--sorce', 'x']) == 2",
        "from tfxfer import cli, train\nassert cli.main(train.work, ['--target', 'csv:missing.csv']) == 2",
    ],
)
def test_nothing_heavy_is_imported(code):
    check = f"\nimport sys\nfound = [m for m in {HEAVY} if m in sys.modules]\nassert not found, found"
    done = subprocess.run([sys.executable, "-c", code + check], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_there():
    import tfxfer

    for name in tfxfer.__all__:
        assert getattr(tfxfer, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        tfxfer.lod  # noqa: B018
    from tfxfer.transfer import structure

    for name in structure.__all__:
        assert getattr(structure, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'widne'"):
        structure.widne  # noqa: B018


def test_test_files_have_names_of_their_own():
    """Two of one name stop pytest before its first test, and only where both are collected."""
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))


def test_tensorflow_is_seeded_once():
    """Seeding between two trainings makes every step start anew; `models.randomness.seeded` leaves TensorFlow alone."""
    found = [path.name for path in PACKAGE.rglob("*.py") if ".set_random_seed(" in path.read_text("utf-8")]
    assert found == ["runtime.py"]
