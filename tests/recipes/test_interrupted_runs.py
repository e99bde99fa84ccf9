"""kill -9 of the whole command, at any moment, then the same command: it goes on and says the same."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tfxfer.records import Comparison

pytestmark = pytest.mark.tensorflow
SMALL = [
    *("--source-epochs", "2", "--source-max-examples", "6000", "--labels-per-class", "5", "20", "--controls-at", "5"),
    *("--seeds", "2", "--epochs", "2", "--learning-rates", "3e-3", "--max-validation", "200", "--max-test", "300"),
]


def phases(folder):
    """What metrics.jsonl has told so far."""
    file = folder / "metrics.jsonl"
    return [json.loads(row)["phase"] for row in file.read_text().splitlines()] if file.exists() else []


MOMENTS = {  # when to kill: (run's folder, data folder) -> bool
    "while the source trains": lambda run, data: "source" in phases(run),
    "while features are extracted": lambda run, data: any(data.glob("features/*/shard-*")),
    "while the arms run": lambda run, data: phases(run).count("arm") > 6,
    "between the model and the report": lambda run, data: (run / "model.keras").exists(),
}


def start(data, run):
    words = [sys.executable, "-m", "tfxfer.train", *SMALL, "--data-dir", str(data), "--run-dir", str(run)]
    quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=quiet, start_new_session=True
    )


def finish(data, run):
    process = start(data, run)
    printed, said = process.communicate()
    assert process.returncode == 0, said
    return Comparison.load(run), printed


def kill_when(moment, data, run):
    process = start(data, run)
    while not MOMENTS[moment](run, data):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (run / "report.html").exists()


@pytest.fixture(scope="module")
def prepared(data_dir, tmp_path_factory):
    """Return a maker of data folders that hold the prepared data sets, and nothing else."""

    def make(name):
        folder = tmp_path_factory.mktemp(name)
        for built in data_dir.iterdir():
            if built.name not in ("sources", "features", "records"):
                (folder / built.name).symlink_to(built)
        return folder

    return make


@pytest.fixture(scope="module")
def undisturbed(prepared, tmp_path_factory):
    return finish(prepared("undisturbed"), tmp_path_factory.mktemp("runs") / "undisturbed")[0]


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_kill_nine_then_the_same_command(moment, prepared, undisturbed, tmp_path):
    data = prepared("killed")
    kill_when(moment, data, tmp_path / "run")
    again, printed = finish(data, tmp_path / "run")
    said = {
        "while the source trains": "source: ",
        "while features are extracted": "is taken from the cache",
        "while the arms run": "finished records of this experiment are at hand",
        "between the model and the report": "finished records of this experiment are at hand",
    }
    assert said[moment] in printed
    for a, b in zip(again.records, undisturbed.records, strict=True):
        assert (a.key, a.status) == (b.key, "ok")
        # sums in several threads round differently, and trained networks amplify it
        assert abs(a.metrics["accuracy"] - b.metrics["accuracy"]) <= (
            0.05 if a.arm in ("scratch", "finetune") else 0.02
        )


RESUME_BERT = """
import sys
import keras, numpy as np, tfxfer
from pathlib import Path
from tfxfer.config import RunConfig, SourceConfig
from tfxfer.fit import cosine, train
from tfxfer.sources.pretrain import Pretraining, _text_training

folder, stop_at = Path(sys.argv[1]), int(sys.argv[2])
names = tfxfer.load("names", data_dir=sys.argv[3])
source = SourceConfig("names", max_examples=768)
training = Pretraining.of(source, RunConfig(data_dir=str(folder)), names)  # the vocabulary is learned into its folder
model, keep, batches, validation = _text_training(training)

def until(epoch, skip):  # the process dies at this batch of the second epoch
    for i, batch in enumerate(batches(epoch, skip)):
        if (epoch, i) == (1, stop_at):
            import os, signal
            os.kill(os.getpid(), signal.SIGKILL)
        yield batch

def stream(epoch, skip):
    import tensorflow as tf
    spec = batches(epoch, skip).element_spec
    return tf.data.Dataset.from_generator(lambda: until(epoch, skip), output_signature=spec)

train(model, stream, 2, learning_rate=cosine(1e-3, 2), checkpoint=folder / "state.npz", checkpoint_seconds=0.0)
np.savez(folder / "weights.npz", *keep.get_weights())
"""


@pytest.mark.slow
def test_a_masked_language_model_resumes_with_the_same_masks(data_dir, tmp_path):
    def run(folder, stop_at):
        folder.mkdir(exist_ok=True)
        words = [sys.executable, "-c", RESUME_BERT, str(folder), str(stop_at), str(data_dir)]
        return subprocess.run(words, capture_output=True, text=True).returncode

    assert run(tmp_path / "straight", -1) == 0
    assert run(tmp_path / "killed", 3) == -signal.SIGKILL
    assert run(tmp_path / "killed", -1) == 0
    with np.load(tmp_path / "straight/weights.npz") as a, np.load(tmp_path / "killed/weights.npz") as b:
        for name in a.files:
            np.testing.assert_allclose(a[name], b[name], atol=2e-5)


def test_the_same_command_goes_on_in_the_same_folder(samples, tmp_path):
    """Quick enough for every day: the source is untrained. The slow tests above train one, and compare figures."""
    data, run = tmp_path / "data", tmp_path / "run"
    words = [sys.executable, "-m", "tfxfer.train", "--source", "fresh:cnn", "--target", f"csv:{samples}/reviews.csv"]
    words += ["--labels-per-class", "2", "5", "--controls-at", "2", "--seeds", "1", "--epochs", "1", "--width", "96"]
    words += ["--learning-rates", "1e-3", "--data-dir", str(data), "--run-dir", str(run)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    while phases(run).count("arm") < 2:
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    finished = {path: path.stat().st_mtime_ns for path in data.glob("records/*/*.npz")}
    assert len(finished) >= 2 and not (run / "report.html").exists()

    again = subprocess.run(words, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "finished records of this experiment are at hand" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    records = Comparison.load(run).records
    assert {record.status for record in records} == {"ok"}
    assert phases(run).count("arm") == len(records) and (run / "report.html").exists()
