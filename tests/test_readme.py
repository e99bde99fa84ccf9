"""What the documents promise: their commands parse, their make targets and links exist, their examples run."""

import importlib
import json
import re
import shlex
from contextlib import nullcontext
from functools import partialmethod
from itertools import pairwise
from pathlib import Path

import pytest
from format_samples import SAMPLES, write_sample
from PIL import Image

from benchmarks import results
from tfxfer import cli, train
from tfxfer.commands import COMMANDS as PROGRAMS
from tfxfer.recipes.feature import FeatureConfig
from tfxfer.runs import write_config

ROOT = Path(__file__).parent.parent
COMMANDED = [ROOT / "README.md", ROOT / "README.zh-CN.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
LINKED = [*COMMANDED, ROOT / "CHANGELOG.md", *sorted(ROOT.glob("data/**/README.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
OWN_SAMPLES = set(SAMPLES) - {"reviews.csv", "captions.csv", "questions.csv"}  # these stand for a table of one's own
COLUMN_OPTIONS = re.compile(
    r"--(?:target-|source-|language-model-|image-encoder-)?(?:text|label|image|question|answer|caption)$"
)


def name_of(document):
    return document.relative_to(ROOT).as_posix()


def code_lines(document):
    """Yield every line of a code fence, and every piece of inline code."""
    text = document.read_text("utf-8")
    for _, block in FENCE.findall(text):
        yield from block.replace("\\\n", " ").splitlines()
    for inline in re.findall(r"`([^`]+)`", FENCE.sub("", text)):
        yield " ".join(inline.split())


def shown(beginning):
    """Return (document, words of a command) for each that begins so; a comment after it is left out."""
    found = {}
    for document in COMMANDED:
        for line in map(str.strip, code_lines(document)):
            if line.startswith(beginning):
                found[name_of(document), line] = shlex.split(line, comments=True)
    return found


COMMANDS = (
    shown("python -m tfxfer.")
    | {  # the console script, as the module that it starts
        shown_as: ["python", "-m", PROGRAMS[words[1]].module, *words[2:]]
        for shown_as, words in shown("tfxfer ").items()
    }
)


@pytest.fixture
def somewhere(tmp_path, monkeypatch):
    """An empty working folder with a data folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFXFER_DATA", str(tmp_path / "prepared"))
    return tmp_path


def table(file, columns):
    """Write six rows of x0 to x5, and files of these names, which are the images where a column has images."""
    rows = [[f"x{i}"] * len(columns) for i in range(6)]
    for name, *_ in rows:
        (file.parent / name).touch()
    if file.suffix == ".jsonl":
        file.write_text("\n".join(json.dumps(dict(zip(columns, row))) for row in rows))
    else:
        file.write_text("\n".join(map(",".join, [columns, *rows])) + "\n")


def stand_in(word, before, columns):
    """Make the tiny file or folder that a word of a command names, so that the cheap checks find one."""
    kind, _, name = word.partition(":")
    path = Path(name or word)
    if path.name in OWN_SAMPLES and kind != "folder":
        write_sample(path)
    elif kind in ("csv", "captions", "jsonl") and name:
        path.parent.mkdir(parents=True, exist_ok=True)
        table(path, columns)
    elif kind == "text" and name:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a red circle\na blue square\n")
    elif kind == "folder" and name:
        (path / "a").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(path / "a" / "1.png")
    elif kind == "preset" and "/" in name:
        path.mkdir(parents=True, exist_ok=True)
        (path / "config.json").write_text("{}")
    elif kind == "tfds" and name:
        Path("prepared/tfds", name.partition(":")[0].partition("/")[0]).mkdir(parents=True, exist_ok=True)
    elif kind in ("file", "run") and name:
        (path if kind == "run" else path.parent).mkdir(parents=True, exist_ok=True)
        (path / "model.keras" if kind == "run" else path).touch()
    elif before == "--config":
        path.parent.mkdir(parents=True, exist_ok=True)
        write_config(path, FeatureConfig())


COLUMNS = {
    "vqa": ["image", "question", "answer"],
    "captioning": ["image", "caption"],
    "retrieval": ["image", "caption"],
    "multitask": ["image", "caption", "question", "answer", "shape", "colour"],
}


@pytest.mark.parametrize(("document", "line"), COMMANDS, ids=map(": ".join, COMMANDS))
def test_every_command_that_is_shown_is_accepted(document, line, somewhere, monkeypatch, capsys):
    """Also by the names of today: an old name would give a note."""
    words = COMMANDS[document, line]
    module, argv = words[2], words[3:]
    given = [value for option, value in pairwise(argv) if COLUMN_OPTIONS.match(option)]
    columns = list(dict.fromkeys([*(c for value in given for c in re.split("[+,]", value)), "text", "label"]))
    columns += COLUMNS.get("".join(argv[:1]), [])
    for before, word in zip(["", *argv], argv):
        stand_in(word, before, columns)
    if {"--help", "--help-all"} & set(argv):
        with pytest.raises(SystemExit) as ended:
            parse(module, argv, monkeypatch)
        assert ended.value.code == 0
    else:
        parse(module, argv, monkeypatch)
    assert "is now called" not in "".join(capsys.readouterr())


def parse(module, argv, monkeypatch):
    """Do all that a command does before it starts TensorFlow; raises for what it would refuse."""
    if module == "tfxfer.train":
        started = []
        monkeypatch.setattr(train, "run", lambda recipe, config: started.append((recipe.name, config)))
        monkeypatch.setattr(train, "prepare_in_background", lambda specs, folder: nullcontext())
        train.work(argv)
        (name, config), recipe = started[0], train.RECIPES[train.recipe_named(argv)[0]]
        assert len(started) == 1 and name == recipe.name and type(config) is recipe.config
        return
    try:
        commanded = importlib.import_module(f"{module}.__main__")
    except ModuleNotFoundError:
        commanded = importlib.import_module(module)
    if hasattr(commanded, "requested"):
        commanded.requested(argv)
    else:
        commanded.parser().parse_args(argv)


def test_the_documents_show_commands_at_all():
    """So that a change of the documents' form cannot empty the test above."""
    assert {"README.md", "docs/results.md"} <= {document for document, _ in COMMANDS}
    assert {"tfxfer.train", "tfxfer.predict", "tfxfer.evaluate"} <= {words[2] for words in COMMANDS.values()}
    trained = {"".join(words[3:4]) for words in COMMANDS.values() if words[2] == "tfxfer.train"}
    assert set(train.RECIPES) - {train.DEFAULT} <= trained
    assert set(PROGRAMS) == {line.split()[1] for _, line in COMMANDS if line.startswith("tfxfer ")}


@pytest.mark.parametrize("argv", [["--sorce", "glyphs"], ["--source", "folder:nowhere"], ["featre"]])
def test_a_command_that_cannot_run_would_be_seen(argv, somewhere, monkeypatch):
    with pytest.raises(cli.UserError):
        parse("tfxfer.train", argv, monkeypatch)


@pytest.mark.parametrize(("document", "line"), shown("make "), ids=map(": ".join, shown("make ")))
def test_every_make_target_exists(document, line):
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = [word for word in shlex.split(line, comments=True)[1:] if "=" not in word]
    assert set(named) <= targets, f"{document}: {line}"


@pytest.mark.parametrize("document", LINKED, ids=name_of)
def test_every_relative_link_leads_somewhere(document):
    text = FENCE.sub("", document.read_text("utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:|#", target):
            assert (document.parent / target.partition("#")[0]).exists(), f"{name_of(document)} links to {target}"


@pytest.mark.parametrize("document", COMMANDED, ids=name_of)
def test_every_path_that_is_named_exists(document):
    """Inline code such as `tfxfer/fit.py`; a path with a part in capitals is a pattern."""
    for inline in re.findall(r"`([\w./-]+)`", FENCE.sub("", document.read_text("utf-8"))):
        top, slash, rest = inline.partition("/")
        if slash and (ROOT / top).is_dir() and not re.search(r"\b[A-Z]{2,}\b(?!\.md)", rest):
            assert (ROOT / inline).exists(), f"{name_of(document)} names {inline}"


EXAMPLES = [block for language, block in FENCE.findall((ROOT / "README.md").read_text("utf-8")) if language == "python"]


@pytest.mark.tensorflow
@pytest.mark.parametrize("example", EXAMPLES, ids=[f"example {i + 1}" for i in range(len(EXAMPLES))])
def test_the_example_runs(example, data_dir, tmp_path, monkeypatch):
    """On an untrained source: the words are the README's, the answers are probabilities of its classes or texts."""
    import keras
    import numpy as np

    import tfxfer
    from tfxfer.config import CaptionTrainingConfig
    from tfxfer.transfer.knowledge import Captioner

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFXFER_DATA", str(data_dir))
    few = CaptionTrainingConfig(steps=2, learning_rates=(1e-3,))
    monkeypatch.setattr(Captioner, "fit", partialmethod(Captioner.fit, training=few, jit=False))
    if "preset:./my-bert" in example:
        pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmno"]
        tfxfer.source("fresh:bert", num_classes=len(pieces), seed=0).save_to_preset("my-bert")
        Path("my-bert", "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    for file in re.findall(r"file:([\w./-]+\.keras)", example):
        tfxfer.source("fresh:bert" if "bert" in file else "fresh:cnn", num_classes=20, seed=0).save(file)
    names = {}
    exec(compile(example, "README.md", "exec"), names)
    if "captions" in names:
        assert np.shape(names["captions"]) == (8, 1) and all(isinstance(each[0], str) for each in names["captions"])
        return
    if "phrases" in names:
        given, classes = np.array(["Österreich", ""], object), len(names["phrases"].class_names)
    else:
        given, classes = np.zeros((2, 32, 32, 1), "float32"), 10
    if "classifier" in names:
        answers = names["probabilities"]
        assert 0 <= names["accuracy"] <= 1
        np.testing.assert_allclose(names["again"], answers, atol=1e-5)
        opened = keras.models.load_model(Path("runs", "my-classifier", "model.keras"))
        np.testing.assert_allclose(opened(given), answers, atol=1e-5)
    else:
        answers = np.asarray(names["model"](given))
    assert answers.shape == (2, classes)
    np.testing.assert_allclose(answers.sum(1), 1, atol=1e-5)


def test_there_are_examples_of_all_kinds():
    for name in ("FeatureClassifier(", "attach(", "weight_map.apply()", "Captioner(", "tfxfer.from_run("):
        assert any(name in example for example in EXAMPLES), name


def test_the_examples_of_the_guide_to_weight_maps_run(tmp_path, monkeypatch, capsys):
    """All in one go, as a reader would; the ledger that is shown is the one that is printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    text = (ROOT / "docs" / "weight-maps.md").read_text("utf-8")
    blocks = FENCE.findall(text)
    names = {}
    exec(compile("\n".join(block for language, block in blocks if language == "python"), "guide", "exec"), names)
    printed = capsys.readouterr().out
    ledger = next(block for language, block in blocks if not language)
    shown = [" ".join(line.split()) for line in ledger.splitlines() if line.strip()]
    assert set(shown) <= {" ".join(line.split()) for line in printed.splitlines()}
    assert "The target computes what the source computes" in printed
    assert names["again"].rows == names["weight_map"].rows


def test_the_guide_to_weight_maps_names_every_operation():
    from tfxfer.transfer.structure import OPERATIONS

    text = (ROOT / "docs" / "weight-maps.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", text, re.MULTILINE))
    assert rows == {name: operation.meaning() for name, operation in OPERATIONS.items()}


FIGURE = re.compile(r"(?<![\w.])[+−]?0?\.\d{2,}")


def figures_in(text):
    """Return the figures of a text as numbers, whether it writes 0.348 or .348."""
    return {float(figure.replace("−", "-")) for figure in FIGURE.findall(text)}


def test_the_figures_of_the_guide_to_choosing_were_measured():
    text = (ROOT / "docs" / "choosing.md").read_text("utf-8")
    quoted = figures_in(re.sub("<!-- atlas.*?<!-- end -->", "", text, flags=re.DOTALL))  # tests/choose/test_atlas.py
    measured = [ROOT / "docs" / "results.md", ROOT / "benchmarks" / "default.md"]
    known = {abs(number) for document in measured for number in figures_in(document.read_text("utf-8"))}
    assert len(quoted) > 20
    assert {abs(number) for number in quoted} <= known


def commands_of(block):
    """Return the lines of a fence without their comments, which are translated."""
    return [line.partition("#")[0].strip() for line in block.splitlines()]


def test_the_chinese_readme_says_what_the_english_one_says():
    english, chinese = ((ROOT / name).read_text("utf-8") for name in ("README.md", "README.zh-CN.md"))
    assert figures_in(english) == figures_in(chinese)
    assert [block for language, block in FENCE.findall(english) if language == "python"] == [
        block for language, block in FENCE.findall(chinese) if language == "python"
    ]
    assert [commands_of(block) for _, block in FENCE.findall(english)] == [
        commands_of(block) for _, block in FENCE.findall(chinese)
    ]
    assert english.count("\n## ") == chinese.count("\n## ")
    links = re.compile(r"\]\(([^)\s]+)\)")
    assert set(links.findall(english)) <= set(links.findall(chinese))


@pytest.mark.parametrize(("language", "name"), list(enumerate(["README.md", "README.zh-CN.md"])))
def test_the_table_of_what_helped_is_made_from_the_kept_records(language, name):
    assert results.table(language) in (ROOT / name).read_text("utf-8")
