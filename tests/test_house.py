"""The house rules: which way imports run, no circles, and what start-up costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "tfxfer"
GROUND = {  # known to all
    *("errors", "cache", "streams", "config", "version", "records", "terminal", "own_files", "given_files"),
    *("run_folder", "in_use"),
}
FIRST = {"errors", "cache", "version", "terminal", "own_files"}  # those of them that the others may import
KNOWS = {  # part -> the parts it may import, besides the ground; sub-packages of transfer have rows of their own
    "errors": set(),
    "version": set(),
    "config": set(),
    "cache": set(),
    "streams": set(),
    "records": set(),
    "terminal": set(),
    "own_files": set(),
    "given_files": set(),
    "run_folder": set(),
    "in_use": set(),
    "runs": set(),
    "fit": set(),
    "data": set(),
    "models": set(),
    "generate": set(),
    "evaluate": set(),
    "report": {"evaluate"},
    "experiment": {"evaluate"},
    "teach": {"report", "evaluate"},
    "choose": {"evaluate"},
    "rate": {"report", "evaluate", "tasks", "data"},
    "transfer": {"models", "data", "evaluate", "fit", "generate"},
    "doctor": {"data", "transfer"},
    "saved": {"models", "transfer"},
    "sources": {"data", "models", "fit", "transfer", "runs"},
    "tasks": {"data", "models", "evaluate", "experiment", "transfer", "runs"},
    "baselines": {"tasks", "models", "evaluate", "experiment", "transfer"},
    "arms": {"baselines", "tasks", "data", "models", "evaluate", "experiment", "fit", "transfer", "runs"},
}
# each knows those before it
WITHIN_TRANSFER = ["graph", "classifier", "feature", "bridges", "structure", "knowledge", "distill"]
TOP = {"recipes", "commands", "cli", "train", "predict", "__init__", "__main__"}  # where all of the above meet
COMMANDS = {"evaluate/__main__.py"}  # `python -m tfxfer.evaluate` stands in the package it is named after


def modules():
    """Return the name of each module of the package -> its file."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(("tfxfer", *path.relative_to(PACKAGE).with_suffix("").parts))
        found[name.removesuffix(".__init__")] = path
    return found


def imported(path, known):
    """Return the modules that a file imports anywhere in it: in functions and under TYPE_CHECKING too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").split(".")[0] == "tfxfer":
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in known else node.module for name in names}
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "tfxfer"}
    return found - {"tfxfer"}


def part_of(module):
    return [*module.split("."), "__init__"][1]


def wrong_imports(found):
    """Return 'file imports module' for each import that runs the other way."""
    wrong = []
    for name, path in found.items():
        part, place = part_of(name), name.removeprefix("tfxfer.").replace(".", "/") + ".py"
        if part in TOP or place in COMMANDS:
            continue
        if part not in KNOWS:
            wrong.append(f"{place}: give '{part}' a row in KNOWS")
            continue
        allowed = KNOWS[part] | (GROUND if part not in GROUND else FIRST) | {part}
        for module in imported(path, found):
            if part_of(module) not in allowed:
                wrong.append(f"{place} must not import {module}")
            elif part == part_of(module) == "transfer":
                above, below = ([*one.split("."), "", "graph"][2] or "graph" for one in (name, module))
                if WITHIN_TRANSFER.index(below) > WITHIN_TRANSFER.index(above):
                    wrong.append(f"{place} must not import {module}")
    return wrong


def circles(edges):
    """Return the groups of files that import one another, by Tarjan's strongly connected components."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in edges.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in edges:
        if node not in index:
            visit(node)
    return found


def test_imports_run_one_way():
    assert wrong_imports(modules()) == []


def test_no_files_import_one_another_in_a_circle():
    found = modules()
    edges = {name: imported(path, found) & set(found) for name, path in found.items()}
    assert circles(edges) == []


def test_a_wrong_import_and_a_circle_are_seen(tmp_path):
    file = tmp_path / "x.py"
    file.write_text("def f():\n    from tfxfer.models.cnn import glyph_cnn\n    import tfxfer.data.spec\n")
    assert imported(file, {}) == {"tfxfer.models.cnn", "tfxfer.data.spec"}
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    expected = {"report/x.py must not import tfxfer.models.cnn", "report/x.py must not import tfxfer.data.spec"}
    assert set(wrong_imports({"tfxfer.report.x": file})) == expected
    assert wrong_imports({"tfxfer.transfer.bridges.x": file}) == []


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


@pytest.mark.tensorflow
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


def test_files_are_found_by_the_words_of_the_field():
    """A stranger who looks for a word of the field finds a file by its name."""
    names = " ".join(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
    words = "captioning beam_search probe contrastive checkpoints vqa retrieval tokenizer dual_encoder image_ablation"
    missing = [word for word in words.split() if word not in names]
    assert not missing


def test_the_private_words_are_gone():
    """Names that docs and code had of their own, where the field has a word."""
    import re

    classes = r"Writer|Teller|Told|Lessons|Speaker|Way|Regrown|Towers|Asked\w*|TwoRates|Watch"
    own = rf"^\s*(class|def) ({classes}|tell|looks|numbers)\b"
    found = [
        f"{path.relative_to(PACKAGE)}: {line.strip()}"
        for path in PACKAGE.rglob("*.py")
        for line in path.read_text("utf-8").splitlines()
        if re.search(own, line)
    ]
    assert not found


def test_test_files_have_names_of_their_own():
    """Two of one name stop pytest before its first test, and only where both are collected."""
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))


def test_tensorflow_is_seeded_once():
    """Seeding between two trainings makes every step start anew; `models.randomness` leaves TensorFlow's seed alone."""
    found = [path.name for path in PACKAGE.rglob("*.py") if ".set_random_seed(" in path.read_text("utf-8")]
    assert found == ["device.py"]
