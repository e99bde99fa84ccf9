"""`--explain` and `tfxfer.explain`: parts left out in a real run, on images that one layer alone can tell apart."""

import csv
import shutil

import here
import keras
import numpy as np
import pytest
from PIL import Image

import tfxfer
from tfxfer.arms.frozen_features import FrozenArm
from tfxfer.errors import UserError
from tfxfer.records import Comparison
from tfxfer.report.panel import read_panels

pytestmark = pytest.mark.tensorflow
SIZES = {"train": 60, "validation": 30, "test": 90}
PATTERNS = np.where(np.argsort(np.random.default_rng(3).random((2, 24)), 1) < 12, 1, -1)  # as much dark as bright


def pattern(which):
    return np.insert(PATTERNS[which], 12, 0).reshape(5, 5)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Images with one of two patterns somewhere, and a CNN whose first layer has both; the second may be anything."""
    folder = tmp_path_factory.mktemp("patterns")
    rng = np.random.default_rng(0)
    rows = [("image", "label", "split")]
    for split, count in SIZES.items():
        for i in range(count):
            pixels = rng.normal(127, 22, (14, 14))
            row, column = rng.integers(0, 10, 2)
            pixels[row : row + 5, column : column + 5] += 70 * pattern(i % 2)
            name = f"{split}{i}.png"
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name)
            rows.append((name, "ab"[i % 2], split))
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    images = keras.Input((14, 14, 1), name="image")
    x = keras.layers.Conv2D(2, 5, activation="relu", name="find")(images)
    x = keras.layers.Conv2D(4, 1, use_bias=False, name="mix")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(images, keras.layers.Dense(2, activation="softmax", name="classes")(x), name="planted")
    filters = np.stack([pattern(0), pattern(1)], -1)[:, :, None, :] / 24.0
    model.get_layer("find").set_weights([filters, np.full(2, -35.0)])  # only a match is above the threshold
    model.save(folder / "source.keras")
    return folder


def words(planted, *more):
    source, target = f"file:{planted / 'source.keras'}", f"csv:{planted / 'table.csv'}"
    own = ("--rescale", "1") if "--rescale" not in more else ()
    return ("feature", "--source", source, "--target", target, *own, "--labels-per-class", "30", "--seeds", "2",
            "--probe-seeds", "3", "--arms", "transfer", "random", *more)  # fmt: skip


@pytest.fixture(scope="module")
def run(planted, data_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "explained"
    done = here.command(*words(planted, "--fresh", "--explain", "--run-dir", folder), data_dir=data_dir)
    assert done.returncode == 0, done.stderr
    return folder, done


def test_the_planted_layer_is_found_and_the_one_that_may_be_anything_is_not(run):
    folder, done = run
    found = tfxfer.explain(folder)
    assert found.needed == ["convolution 1"] and found.parts[1].word == "no evidence"
    assert found.whole.low > 0 and found.parts[0].share > 0.5 > abs(found.parts[1].share)
    assert "convolution 1" in done.stdout.split("where the gain came from")[1]
    assert "Where the gain came from" in [panel.title for panel in read_panels(folder)]
    assert "Where the gain came from" in (folder / "report.html").read_text("utf-8")
    assert Comparison.load(folder).arms == ["transfer", "random"]  # parts stand in their own table


def test_a_finished_run_is_explained_from_kept_records(run, planted, data_dir, tmp_path, monkeypatch):
    plain = tmp_path / "plain"
    assert here.command(*words(planted, "--run-dir", plain), data_dir=data_dir).returncode == 0
    fitted = []
    whole = FrozenArm.__call__
    monkeypatch.setattr(FrozenArm, "__call__", lambda self, *at: fitted.append(at) or whole(self, *at))
    found = tfxfer.explain(plain, run_dir=tmp_path / "again")
    assert not fitted and found == tfxfer.explain(run[0])


def test_what_cannot_be_explained_is_refused(run, planted, data_dir, tmp_path):
    def refusal(*more):
        done = here.command(*more, data_dir=data_dir)
        assert done.returncode == 2
        return done.stderr

    unknown = refusal(*words(planted, "--explain", "--explain-parts", "convolution 3", "--run-dir", tmp_path / "x"))
    assert "'convolution 3': there is no such part; did you mean" in unknown and "convolution 1" in unknown
    assert "--explain-parts classes: feature has none here" in refusal(
        *words(planted, "--explain", "--explain-parts", "classes")
    )
    assert "has no parts" in refusal("feature", "--bridge", "read", "--source", "names", "--explain")
    assert "both must be among --arms" in refusal("feature", "--arms", "transfer", "--explain")
    assert "add --explain" in refusal("feature", "--explain-at", "5")
    assert "must be one of the budgets [30]" in refusal(
        *words(planted, "--explain", "--explain-at", "5", "--run-dir", tmp_path / "y")
    )
    bare = tmp_path / "bare"
    shutil.copytree(run[0], bare)
    (bare / "config.yaml").unlink()
    with pytest.raises(UserError, match=r"config\.yaml is missing"):
        tfxfer.explain(bare)
    with pytest.raises(UserError, match=r"report\.html is missing"):
        tfxfer.explain(tmp_path / "nowhere")
