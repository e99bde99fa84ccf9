"""`tfxfer compress`: a smaller run beside its source, which stays as it is, and what is refused at once."""

import contextlib
import hashlib
import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from tfxfer import __main__ as front
from tfxfer import cli
from tfxfer.errors import UserError
from tfxfer.recipes.compress_methods import parsed

pytestmark = pytest.mark.tensorflow
NAMES = ("dark", "light", "striped")


def run(*words):
    return cli.main(front.work, [str(word) for word in words])


def hashes(folder):
    """Return the digest of every file of a folder, its lock aside."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock")
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The finished run of a small classifier of images, and a folder for data."""
    import keras

    from tfxfer.models.cnn import glyph_cnn
    from tfxfer.models.randomness import set_initializer_seed

    folder, rng, rows = tmp_path_factory.mktemp("compress"), np.random.default_rng(0), ["image,label,split"]
    for place in range(96):
        pixels = rng.integers(0, 200, (8, 8)) + (0, 50, 0)[place % 3]
        pixels[::2] += 50 * (place % 3 == 2)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{place}.png")
        rows.append(f"{place}.png,{NAMES[place % 3]},{('train', 'train', 'validation', 'test')[place // 24]}")
    (folder / "pictures.csv").write_text("\n".join(rows), encoding="utf-8")
    set_initializer_seed(0)
    model = glyph_cnn(4, filters=(16, 32), kernels=(3, 3), strides=(1, 2))
    keras.Model(model.input, model.output).save(folder / "cnn.keras")
    words = ["--target", f"csv:{folder / 'pictures.csv'}", "--source", f"file:{folder / 'cnn.keras'}", "--seeds", 1]
    words += ["--arms", "transfer", "--labels-per-class", 16, "--data-dir", folder / "data"]
    assert run("train", "feature", *words, "--run-dir", folder / "run") == 0
    return folder / "run"


@pytest.fixture(scope="module")
def found(source):
    """What compressing it prints as JSON, and the folder of the result."""
    out, folder, before = io.StringIO(), source.parent / "small", hashes(source)
    words = ["--to", "int8,prune:0.5+int4", "--margin", 0.3, "--run-dir", folder]
    with contextlib.redirect_stdout(out):
        assert run("compress", source, *words, "--no-costs", "--json") == 0
    assert hashes(source) == before  # the source stays untouched
    return json.loads(out.getvalue()), folder


@pytest.mark.drawing
def test_every_result_stands_beside_the_source(found):
    from tfxfer.records import Comparison

    result, folder = found
    rows = {row["name"]: row for row in result["rows"]}
    assert list(rows) == ["source", "int8", "prune:0.5+int4"]
    assert rows["prune:0.5+int4"]["bytes"] < rows["int8"]["bytes"] < rows["source"]["bytes"]
    assert all(row["answers"] == 24 for row in result["rows"][1:]) and result["saved"] in rows
    assert set(Comparison.load(folder).arms) == {"source", "transfer", *rows} - {result["saved"]}
    page = (folder / "report.html").read_text("utf-8")
    assert page.count("<svg") == 2 and "non-inferior within 0.3" in page and "Walker" in page


def test_the_result_is_a_run_that_other_commands_take(found, source, capsys):
    _, folder = found
    assert run("predict", folder, "--image", source.parent / "95.png") == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in NAMES)
    words = ["--data", f"csv:{source.parent / 'pictures.csv'}", "--split", "test", "--json"]
    assert run("evaluate", folder, *words) == 0
    assert json.loads(capsys.readouterr().out)["examples"] == 24
    assert run("compare", source, folder, "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["pairs"]) == 1


def test_what_cannot_be_compressed_is_refused_before_work_starts(found, source, tmp_path, capsys):
    def refused(message, folder, *words):
        assert run("compress", folder, "--run-dir", tmp_path / "new", *words) == 2
        assert message in capsys.readouterr().err and not (tmp_path / "new").exists()

    refused("is compressed already", found[1])
    refused("a margin is a number above 0", source, "--margin", "0")
    refused("did you mean 'int8'?", source, "--to", "int88")
    refused("there is no such folder", tmp_path / "none")
    shutil.copytree(source, tmp_path / "bare")
    (tmp_path / "bare" / "model.keras").unlink()
    refused("model.keras missing", tmp_path / "bare")
    shutil.copytree(source, tmp_path / "text")
    (tmp_path / "text" / "config.yaml").write_text("recipe: merge\n")
    refused("is of 'merge'", tmp_path / "text")
    described = json.loads((source / "model.json").read_text()) | {"class": "Dictionary"}
    described.pop("digest")
    (tmp_path / "text" / "model.json").write_text(json.dumps(described))
    refused("its maps are fitted in closed form", tmp_path / "text")
    assert run("compress", source, "--to", "merge-lora", "--run-dir", tmp_path / "late") == 2
    assert "no layer of" in capsys.readouterr().err


@pytest.mark.slow
def test_a_narrower_model_is_trained_again_beside_one_from_fresh_weights(source, tmp_path, capsys):
    words = ["--to", "shrink:0.5", "--epochs", 1, "--learning-rates", 0.001, "--no-costs", "--json"]
    assert run("compress", source, *words, "--run-dir", tmp_path / "run") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert list(rows) == ["source", "shrink:0.5", "shrink:0.5 from fresh weights"]
    assert rows["shrink:0.5"]["numbers"] < 0.6 * rows["source"]["numbers"]
    assert rows["shrink:0.5"]["bytes"] < rows["source"]["bytes"]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("int8+int4", "is not quantised again"),
        ("int8+prune:0.5", "the order is"),
        ("prune:1", "nothing would be left of any layer"),
        ("prune:0:4", "nothing would be left of any layer"),
        ("prune", "needs S, or N:M; give prune:0.5"),
        ("lowrank:1.5", "R is a rank of 1 or more"),
        ("shrink:2", "between 0 and 1"),
        ("int8:4", "takes no number"),
        ("", "there is no method ''"),
    ],
)
def test_steps_that_mean_nothing_are_named(word, message):
    with pytest.raises(UserError, match=message):
        parsed([word])


def test_steps_are_read_in_order():
    (one,) = parsed(["prune:2:4+int8"])
    assert one.name == "prune:2:4+int8" and one.steps[0].groups == (2, 4)
