"""Other test sets of a run: one of another domain with a planted drop, and the source's own task after fine-tuning."""

import csv
from dataclasses import replace

import fake
import here
import keras
import numpy as np
import pytest
from PIL import Image

import tfxfer
from tfxfer.config import RunConfig, TargetConfig
from tfxfer.errors import UserError
from tfxfer.evaluate.elsewhere import drop, forgetting
from tfxfer.recipes.panels.forgetting import forgetting_panel
from tfxfer.recipes.panels.shift import shift_panel
from tfxfer.records import AFTER, BEFORE, SHIFT, Comparison
from tfxfer.report.panel import read_panels
from tfxfer.sources.own_task import OwnTask
from tfxfer.tasks.classification import Task
from tfxfer.tasks.shift import held_out, with_shift
from tfxfer.transfer.graph import clone

pytestmark = pytest.mark.tensorflow


# === Arrays ===


def scored(**shares):
    """A comparison whose records answer 400 examples elsewhere, a share of them correctly."""
    comparison = fake.make(examples=300)
    hard = np.random.default_rng(0).random(400)

    def more(record):
        names = {name: hard < share[record.arm] for name, share in shares.items() if record.arm in share}
        return replace(record, elsewhere={name: rows.astype(np.float32) for name, rows in names.items()})

    return replace(comparison, records=tuple(more(record) for record in comparison.records))


def test_a_planted_drop_is_found_and_its_interval_is_that_of_two_samples():
    rng = np.random.default_rng(1)
    here_, there = rng.random((3, 2000)) < 0.8, rng.random((3, 500)) < 0.5
    found, low, high = drop(here_, there)
    assert found == pytest.approx(here_.mean() - there.mean()) and low < 0.3 < high
    one = drop(here_[:1], there[:1])  # one model: the interval is that of the examples
    error = np.sqrt(here_[0].var() / 2000 + there[0].var() / 500)
    assert (one[2] - one[1]) / 2 == pytest.approx(1.96 * error, rel=0.05)


def test_the_panel_shows_here_there_and_drop_of_each_arm():
    panel = shift_panel(scored(shift={"transfer": 0.1, "random": 0.4, "native": 0.9}), "face=Serif")
    rows = {row[0]: row for row in panel.tables[0]["rows"]}
    assert list(rows) == ["transfer", "random", "native"] and rows["transfer"][2].startswith("0.1")
    assert float(rows["transfer"][3]) > 0 and "(hurt)" in panel.points[0] and "random weights" in panel.points[0]
    assert shift_panel(fake.make(), "face=Serif") is None


def test_what_a_destroyed_body_forgets_is_found_and_an_untouched_one_forgets_nothing():
    before = {"finetune": 0.7, "scratch": 0.7}
    found = forgetting(scored(**{BEFORE: before, AFTER: {"finetune": 0.1, "scratch": 0.7}}))
    words = {arm: judged.word for (arm, _), (_, _, judged) in found.items()}
    assert words == {"finetune": "hurt", "scratch": "no evidence"}
    first, after, judged = next(row for (arm, _), row in found.items() if arm == "finetune")
    assert judged.difference == pytest.approx(after - first) and judged.high < 0 and judged.examples == 400
    assert forgetting_panel(fake.make()) is None
    assert "not here" in forgetting_panel(fake.make(), unscored="its data are not here").paragraphs[0]


# === Networks ===


def test_fine_tuned_weights_are_put_back_under_the_sources_own_head():
    images = keras.Input((2,))
    hidden = keras.layers.Dense(2, use_bias=False, name="hidden")(images)
    head = keras.layers.Dense(2, use_bias=False, activation="softmax", name="classes")
    source = keras.Model(images, head(hidden))
    for layer in ("hidden", "classes"):
        source.get_layer(layer).set_weights([10 * np.eye(2)])
    rows, labels = np.array([[1.0, 0], [0, 1], [1, 0]]), np.array([0, 1, 0])
    task = OwnTask(source, clone(source), lambda model: model.predict(rows, verbose=0).argmax(-1) == labels)
    body = clone(source)
    network = keras.Model(body.input, keras.layers.Dense(3, name="new_head")(body.get_layer("hidden").output))
    assert task(network)[AFTER].tolist() == task(network)[BEFORE].tolist() == [True] * 3
    network.get_layer("hidden").set_weights([10 * np.eye(2)[::-1]])  # the two inputs change places
    assert not task(network)[AFTER].any() and task(network)[BEFORE].all()
    assert task(keras.Model(images, keras.layers.Dense(2, name="other")(images))) == {}  # no layer of the source


def drawn(folder, counts, seed=0, light=255, side=16):
    """Write squares and bars of one light on dark noise, and the table that names them; return the table."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    rows = [("image", "label", "split")]
    for split, count in counts.items():
        for i in range(count):
            pixels = rng.integers(0, 60, (side, side)).astype(np.uint8)
            pixels[4:12, 4 : 12 if i % 2 else 7] = light
            Image.fromarray(pixels).save(folder / f"{split}{i}.png")
            rows.append((f"{split}{i}.png", "ab"[i % 2], split))
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return f"csv:{folder / 'table.csv'}"


def test_a_run_scores_its_source_again_and_another_domain(data_dir, tmp_path):
    folder, counts = tmp_path / "run", {"train": 24, "validation": 24, "test": 40}
    dim = drawn(tmp_path / "dim", counts, 2, light=75)
    done = here.command(
        "feature", "--source", drawn(tmp_path / "source", counts), "--target", drawn(tmp_path / "target", counts, 1),
        "--shift", dim, "--source-epochs", "1", "--controls-at", "12", "--arms", "transfer", "random", "native",
        "majority", "finetune", "--seeds", "1", "--probe-seeds", "2", "--epochs", "1", "--learning-rates", "1e-3",
        "--labels-per-class", "12", "--run-dir", folder, data_dir=data_dir,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    records = {record.arm: record for record in Comparison.load(folder).records}
    assert all(len(record.elsewhere[SHIFT]) == 40 for record in records.values())
    assert set(records["finetune"].elsewhere) == {SHIFT, BEFORE, AFTER}
    assert {"In another domain", "What the source forgot"} <= {panel.title for panel in read_panels(folder)}
    shift = next(panel for panel in read_panels(folder) if panel.title == "In another domain")
    native = next(row for row in shift.tables[0]["rows"] if row[0] == "native")
    assert native[1].startswith("1.000") and float(native[3]) > 0.2  # raw pixels lose what is dim
    assert "40 test examples of another domain" in done.stdout


# === Domains of a data set ===


def test_a_domain_is_taken_out_of_all_splits_and_is_the_other_test_set(tmp_path):
    spec = drawn(tmp_path / "hands", {"train": 20, "validation": 20, "test": 40})
    data = tfxfer.load(spec)
    hands = {split: np.array([(b"left", b"right")[i // 2 % 2] for i in range(n)]) for split, n in data.sizes.items()}
    data = replace(data, splits={s: part.with_column("hand", hands[s]) for s, part in data.splits.items()})
    target = TargetConfig(spec)
    rest, there = held_out("hand=left", target, data)
    assert rest.sizes == {"train": 10, "validation": 10, "test": 20} and there.sizes["test"] == 20
    assert set(rest.texts("train", "hand")) == {"right"} and set(there.texts("test", "hand")) == {"left"}
    assert held_out(None, target, data) == (data, None)
    with pytest.raises(UserError, match="has no column 'hnd'; did you mean 'hand'"):
        held_out("hnd=left", target, data)
    with pytest.raises(UserError, match="no example has the hand 'lef'; did you mean 'left'"):
        held_out("hand=lef", target, data)
    larger = drawn(tmp_path / "larger", {"train": 4, "validation": 4, "test": 30}, side=20)
    task = Task(data, "image", {"image_size": None, "channels": 1})
    with pytest.raises(UserError, match="has images of 20 x 20, the target of another size; give --image-size"):
        with_shift(task, larger, None, target, RunConfig(), here.Quiet())
    with pytest.raises(UserError, match="write COLUMN=VALUE"):
        here.check("feature", shift="hand=")
    with pytest.raises(UserError, match="answers one test set only"):
        here.check("feature", bridge="read", source="names", shift="emoji/noto")
