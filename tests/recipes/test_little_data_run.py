"""Self-training, active choice and few-shot episodes as `train feature` runs them, and what it refuses."""

import json

import here
import numpy as np
import pytest
from test_other_test_sets import drawn

import tfxfer
from tfxfer.arms.little_data import native_self_training
from tfxfer.config import TargetConfig
from tfxfer.errors import UserError
from tfxfer.recipes.little_data import CONTROLS, LITTLE_DATA_ARMS
from tfxfer.records import Comparison
from tfxfer.report.panel import read_panels
from tfxfer.tasks.classification import Task
from tfxfer.tasks.unlabelled import given_pool, load_unlabelled, training_pool

pytestmark = pytest.mark.tensorflow
ARMS = ["--arms", "transfer", "random", "native"]
SMALL = ["--source", "fresh:cnn", "--width", "64", "--seeds", "1", "--probe-seeds", "1", "--start-labels", "2"]
LETTERS = ("aeiou", "bdfgk", "lmnrs")


def texts(count, seed):
    """Words of each class's own letters, no two of them alike."""
    rng = np.random.default_rng(seed)
    return [("".join(rng.choice([*LETTERS[i % 3]], 7)) + f" {seed}{i}", "vbl"[i % 3]) for i in range(count)]


def table(folder, name, **splits):
    path = folder / f"{name}.csv"
    rows = [f"{text},{label},{split}" for split, given in splits.items() for text, label in given]
    path.write_text("\n".join(["text,label,split", *rows]) + "\n", encoding="utf-8")
    return path


def run(tmp_path, data_dir, *words):
    target = table(tmp_path, "target", train=texts(45, 0), validation=texts(45, 1), test=texts(45, 2))
    folder = tmp_path / "run"
    done = here.command(*SMALL, "--target", f"csv:{target}", *words, "--run-dir", folder, data_dir=data_dir)
    return done, folder


def test_a_run_of_every_arm_and_episodes(tmp_path, data_dir):
    done, folder = run(
        tmp_path, data_dir, *ARMS, *LITTLE_DATA_ARMS, "--labels-per-class", "2", "6", "--thresholds", "0.5", "0.9",
        "--episodes", "6", "--ways", "2", "--shots", "3", "--queries", "4",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    comparison = Comparison.load(folder)
    records = {(record.arm, record.budget, record.seed): record for record in comparison.records}
    assert {arm for arm, *_ in records} == {"transfer", "random", "native", *LITTLE_DATA_ARMS}
    assert not [record.error for record in records.values() if record.status == "failed"]
    for (arm, budget, seed), record in records.items():
        if arm.startswith("active"):  # as many labels as the others; at the start the same ones, so the same answers
            assert sum(record.settings["by_class"]) == 3 * budget
            if budget == 2:
                np.testing.assert_array_equal(record.probabilities, records["transfer", 2, seed].probabilities)
        if "threshold" in record.settings:
            assert set(record.settings["validation"]) == {"none", "0.5", "0.9"}
            assert all(new <= 45 - 3 * budget and right <= new for new, right in record.settings["rounds"])
        if record.settings.get("threshold") == "none":  # then it is the arm without the remedy
            control = records[CONTROLS[arm], budget, seed].probabilities
            np.testing.assert_allclose(record.probabilities, control, atol=1e-5)
    remedies, labels, episodes = read_panels(folder)[:3]
    assert len(remedies.tables[0]["rows"]) == 3 * 4 + 2 and len(remedies.points) == len(CONTROLS)
    assert all("saved" in point for point in remedies.points) and labels.tables[1]["rows"]
    assert [row[0] for row in episodes.tables[0]["rows"]] == ["transfer"] * 4 + ["random"] * 4 + ["native"] * 3
    assert "6 few-shot episodes of 2 classes and 3 labels each" in done.stdout
    assert json.loads((folder / "panels.json").read_text("utf-8"))


def task_of(spec):
    """A task, as a run makes it, of images for a CNN or of texts."""
    source = tfxfer.source("fresh:cnn", num_classes=2)
    return Task.of(tfxfer.load(spec), TargetConfig(spec), source)


def test_another_set_is_read_without_labels_and_refused_with_test_rows(tmp_path, data_dir):
    other = tmp_path / "other.txt"
    other.write_text("\n".join(text for text, _ in texts(40, 7)), encoding="utf-8")
    words = [*ARMS, "self_training", "--labels-per-class", "2"]
    target = table(tmp_path, "own", train=texts(45, 0), validation=texts(45, 1), test=texts(45, 2))
    spec, config = f"text:{other}", here.config_of("feature", target=f"csv:{target}", thresholds=(0.4,))
    task = task_of(f"csv:{target}")
    pool = given_pool(load_unlabelled(spec, config, [task.dataset]), task, spec, 30, here.Quiet())
    found = native_self_training(task, pool, config, 2, 0)
    assert len(pool) == 30 and (pool.hidden == -1).all()
    assert found.settings["tried"]["0.4"] and all(right is None for _, right in found.settings["tried"]["0.4"])
    leaky = table(tmp_path, "leaky", train=[*texts(9, 8), (texts(45, 2)[4][0].upper(), "v")])
    refused, _ = run(tmp_path, data_dir, *words, "--unlabelled", f"csv:{leaky}")
    assert refused.returncode == 2 and "1 of its examples are test examples of the target" in refused.stderr
    assert "source:" not in refused.stdout  # before anything is trained


def test_training_rows_that_are_also_test_rows_are_no_pool(tmp_path):
    held = texts(45, 2)
    task = task_of(f"csv:{table(tmp_path, 'own', train=[*texts(45, 0), held[3]], validation=texts(9, 1), test=held)}")
    run = here.Quiet()
    assert held[3][0] not in training_pool(task, 0, run).texts()
    assert run.said == ["unlabelled: 1 training examples are also in validation or test and are left out"]


def test_pixels_are_self_trained_too(tmp_path):
    task = task_of(drawn(tmp_path / "target", {"train": 40, "validation": 24, "test": 24}, 1))
    config = here.config_of("feature", thresholds=(0.6,))
    found = native_self_training(task, training_pool(task, 0, here.Quiet()), config, 2, 0)
    (count, right), *_ = found.settings["tried"]["0.6"]
    assert 0 < right <= count <= 36 and found.probabilities.shape == (24, 2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--episodes", "5", "--ways", "4"], "--ways 4: there are 3 classes; ask for at most 3"),
        (["--episodes", "5", "--ways", "2", "--shots", "21"], "class 'b' has 15 and 15"),
        (
            [*ARMS, *LITTLE_DATA_ARMS, "--labels-per-class", "2", "15", "--max-unlabelled", "40"],
            "arms choose 39 labels",
        ),
    ],
)
def test_too_little_data_is_refused_with_how_much_there_is(tmp_path, data_dir, words, message):
    done, _ = run(tmp_path, data_dir, *words)
    assert done.returncode == 2 and message in " ".join(done.stderr.split()), done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"thresholds": (0.0,)}, "--thresholds 0.0: a threshold is a confidence above 0 and at most 1"),
        ({"thresholds": (0.9, 1.5)}, "--thresholds 1.5: a threshold"),
        ({"arms": ("transfer", "active_margin")}, "--arms active_margin: shows nothing without active_random"),
        ({"arms": ("transfer", "self_training"), "bridge": "read"}, "--bridge read does not give"),
        ({"arms": ("transfer", "self_training"), "head": "mlp"}, "leave out --head mlp"),
        ({"unlabelled": "text:here.txt"}, "no arm reads it; add --arms self_training"),
        ({"arms": ("transfer", "self_training"), "unlabelled": "csv:none.csv"}, "none.csv"),
        ({"ways": 3}, "--ways 3: is of few-shot episodes; add --episodes"),
        ({"episodes": 5, "ways": 1}, "--ways 1: must be 2 or more"),
        ({"rounds": 0}, "--rounds 0: must be 1 or more"),
    ],
)
def test_what_cannot_be_is_refused_at_once(options, message):
    with pytest.raises(UserError, match=message):
        here.check("feature", **options)
