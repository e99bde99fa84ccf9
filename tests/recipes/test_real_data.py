"""The crossings on real images and real text: not which numbers come out, but what must be true of any numbers."""

import json
import os
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

import tfxfer
from tfxfer import predict, train
from tfxfer.cli import main
from tfxfer.models import load_model
from tfxfer.records import Comparison

pytestmark = pytest.mark.tensorflow
ALL_ARMS = ["transfer", "random", "scratch", "finetune", "native", "majority"]
IMAGES_A_CLASS = 300
BRIEF = [
    *("--source-epochs", "2", "--controls-at", "20", "--seeds", "2", "--epochs", "2", "--learning-rates", "3e-3"),
    *("--max-validation", "200", "--max-test", "400"),
]


@pytest.fixture
def run(data_dir, tmp_path, capsys):
    """Run the command in this process; return the run's folder."""

    def run(*words):
        folder = tmp_path / "run"
        code = main(train.work, [*map(str, words), "--data-dir", str(data_dir), "--run-dir", str(folder)])
        said = capsys.readouterr()
        assert code == 0, said.err
        assert "Traceback" not in said.err + said.out
        return folder

    yield run
    keras.config.set_dtype_policy("float32")  # --precision holds for the whole process


@pytest.fixture(scope="module")
def cifar(shared_data, tmp_path_factory):
    """Ten class folders of CIFAR-10 images."""
    folder = tmp_path_factory.mktemp("cifar10")
    with zipfile.ZipFile(shared_data / "cifar10_train.zip") as archive:
        wanted = [n for n in archive.namelist() if n.endswith(".jpg") and int(Path(n).stem) < IMAGES_A_CLASS]
        archive.extractall(folder, wanted)
    assert len(wanted) == 10 * IMAGES_A_CLASS
    return folder


def must_hold(folder, arms=ALL_ARMS):
    """Check what is true whatever the source knows; return the comparison."""
    comparison = Comparison.load(folder)
    assert comparison.arms == list(arms)
    assert {r.key: r.error for r in comparison.records if r.status == "failed"} == {}
    for record in comparison.records:
        assert record.probabilities.shape == (len(comparison.labels), len(comparison.class_names))
        np.testing.assert_allclose(record.probabilities.sum(1), 1, atol=1e-3)
    named = [(v["a"], v["b"]) for v in comparison.verdicts]
    assert {other for _, other in named} == set(arms) - {"transfer"}
    (primary,) = [v for v in comparison.verdicts if v["role"] == "primary"]
    assert (primary["a"], primary["b"]) == ("transfer", "random")
    assert -1 <= primary["low"] <= primary["difference"] <= primary["high"] <= 1
    assert primary["word"] in ("helped", "no evidence", "hurt")
    assert (primary["low"] > 0) == (primary["word"] == "helped") and (primary["high"] < 0) == (
        primary["word"] == "hurt"
    )
    assert primary["word"] in (folder / "report.html").read_text("utf-8").lower()
    assert (folder / "model.keras").stat().st_size > 0
    return comparison


def baselines_must_hold(comparison, classes):
    """The majority arm scores the share of its one class, near 1/C in these balanced sets; native knows more."""
    for record in comparison.records:
        if record.arm == "majority":
            (answer,) = set(record.probabilities.argmax(1))
            assert record.metrics["accuracy"] == pytest.approx(np.mean(comparison.labels == answer))
            assert record.metrics["accuracy"] == pytest.approx(1 / classes, abs=0.06)
    top = max(comparison.budgets)
    native, majority = (
        np.mean([record.metrics["accuracy"] for record in comparison.select(arm, top)])
        for arm in ("native", "majority")
    )
    assert native > majority


def answers(folder, *asked, capsys):
    assert main(predict.work, [str(folder), "--json", *map(str, asked)]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == len(asked) - 1
    for row in rows:
        shares = [share for _, share in row["top"]]
        assert shares == sorted(shares, reverse=True) and 0 < shares[0] <= 1
    return rows


TITLES = {
    "by render": ["--layout", "rows", "--height", "48", "--width", "128", "--font-size", "12"],
    "by tokens": ["--bridge", "tokens"],
}


@pytest.mark.slow
@pytest.mark.parametrize("way", TITLES)
def test_photographs_to_titles(way, run, cifar, shared_data, capsys):
    words = ["--source", f"folder:{cifar}", "--target", f"csv:{shared_data}/ag_news.csv", "--target-text", "title"]
    folder = run(*words, "--labels-per-class", 20, 100, *TITLES[way], *BRIEF)
    comparison = must_hold(folder)
    baselines_must_hold(comparison, classes=4)
    assert comparison.class_names == ("Business", "Sci/Tech", "Sports", "World")
    rows = answers(folder, "--text", "Oil prices fall as supply fears ease", "", "Österreich 日本", capsys=capsys)
    assert {name for row in rows for name, _ in row["top"]} <= set(comparison.class_names)


@pytest.mark.slow
def test_a_language_model_takes_images(run, cifar, capsys):
    preset = os.environ.get("TFXFER_TEST_BERT")
    if not preset:
        pytest.skip("needs the folder of a BERT in $TFXFER_TEST_BERT, e.g. all-MiniLM-L6-v2 in Hugging Face form")
    words = ["--source", f"preset:{preset}", "--target", f"folder:{cifar}", "--labels-per-class", 20]
    folder = run(*words, *BRIEF, "--seeds", 1, "--epochs", 1, "--max-test", 200)
    comparison = must_hold(folder)
    baselines_must_hold(comparison, classes=10)
    images = sorted(cifar.glob("*/0007.jpg"))[:2]
    rows = answers(folder, "--image", *images, capsys=capsys)
    assert [row["input"] for row in rows] == [str(image) for image in images]


@pytest.fixture(scope="module")
def cnn(tmp_path_factory):
    """A small image model in a file, so that no source has to be trained."""
    file = tmp_path_factory.mktemp("models") / "cnn.keras"
    tfxfer.source("fresh:cnn", num_classes=7, input_shape=(32, 32, 3), seed=0).save(file)
    return f"file:{file}"


OPTIONS = {
    "--precision mixed_bfloat16": ["--precision", "mixed_bfloat16", "--source-epochs", "1"],
    "--jit": ["--jit"],
    "--unfreeze LAYER": ["--unfreeze", "conv2"],
    "--layer LAYER": ["--layer", "relu2"],
    "--head mlp": ["--head", "mlp"],
}


@pytest.mark.parametrize("option", OPTIONS)
def test_options_that_change_the_models(option, run, cnn, samples):
    source = f"folder:{samples}/shapes" if "--source-epochs" in OPTIONS[option] else cnn
    words = ["--source", source, "--target", f"folder:{samples}/shapes", "--labels-per-class", 4, "--controls-at", 4]
    folder = run(*words, "--seeds", 1, "--epochs", 1, "--learning-rates", 1e-3, *OPTIONS[option])
    trained = {record.arm: record.trainable for record in must_hold(folder).records}
    if option == "--precision mixed_bfloat16":
        assert load_model(folder / "model.keras").get_layer("conv1").compute_dtype == "bfloat16"
    if option == "--unfreeze LAYER":
        assert 0 < trained["finetune"] < trained["scratch"]
    if option == "--layer LAYER":
        width = load_model(cnn.removeprefix("file:")).get_layer("relu2").output.shape[-1]
        assert trained["transfer"] == (width + 1) * 3  # W and b on the maps of that layer, averaged
    if option == "--head mlp":
        assert trained["transfer"] > 512
