"""Requests and files that cannot be used, through the whole command: named, with a remedy, and nothing lost."""

import errno
import json
import os
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from tfxfer import predict, train
from tfxfer.cli import main
from tfxfer.evaluate import __main__ as evaluate
from tfxfer.records import Comparison

pytestmark = pytest.mark.tensorflow
TINY = [
    *("--labels-per-class", "2", "--controls-at", "2", "--seeds", "1"),
    *("--epochs", "1", "--learning-rates", "1e-3", "--width", "96"),
]
ROWS = [(f"phrase {i} of {'one' if i % 2 else 'two'}", "a" if i % 2 else "b") for i in range(60)]


def table(rows=ROWS, header="text,label"):
    return "\n".join([header, *(",".join(row) for row in rows)]) + "\n"


@pytest.fixture
def command(tmp_path, data_dir, capsys):
    """Run the command in this process; return (exit code, what it said on stderr, the run's folder)."""

    def run(*words, source="fresh:cnn"):
        folder = tmp_path / "run"
        code = main(
            train.work,
            ["--source", source, "--data-dir", str(data_dir), "--run-dir", str(folder), *TINY, *map(str, words)],
        )
        said = capsys.readouterr()
        assert "Traceback" not in said.err + said.out
        return code, said.err, folder

    return run


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "t.csv"),
        ("text,label\n", "t.csv"),
        (table([(text, "a") for text, _ in ROWS]), "class"),
        (table(header="txt,lbl").replace("txt,lbl", "first,second"), "t.csv"),
        (table() + "one,two,three,four\n", "row 62"),
        (table().encode() + b"caf\xe9,a\n", "row 62"),
        (table([(text, label, "test" if label == "a" else "train") for text, label in ROWS], "text,label,split"), "a"),
    ],
    ids=["zero bytes", "no rows", "one class", "no column", "ragged row", "not UTF-8", "class absent from train"],
)
def test_a_table_that_cannot_be_used(command, tmp_path, content, message):
    file = tmp_path / "t.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    code, said, folder = command("--target", f"csv:{file}")
    assert code == 2 and message in said, said
    assert not (folder / "report.html").exists()


def broken_images():
    good = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8))
    return {
        "zero bytes.png": lambda path: path.write_bytes(b""),
        "not a picture.jpg": lambda path: path.write_bytes(b"this is no picture" * 9),
        "truncated.png": lambda path: (good.save(path), path.write_bytes(path.read_bytes()[:900])),
        "animated.gif": lambda path: good.save(path, save_all=True, append_images=[good.rotate(90)]),
        "huge.png": lambda path: Image.new("1", (40_000, 40_000)).save(path),
    }


@pytest.mark.parametrize("name", broken_images())
@pytest.mark.parametrize("side", ["source", "target"])
def test_an_image_that_cannot_be_used(command, tmp_path, side, name, samples):
    folder = tmp_path / "pictures"
    for label in ("x", "y"):
        (folder / label).mkdir(parents=True)
        for i in range(20):
            noise = np.random.default_rng([i, ord(label)]).integers(0, 255, (16, 16, 3), np.uint8)
            Image.fromarray(noise).save(folder / label / f"{i}.png")
    broken_images()[name](folder / "x" / name)
    if side == "target":
        code, said, _ = command("--target", f"folder:{folder}")
    else:
        code, said, _ = command("--target", f"csv:{samples}/reviews.csv", source=f"folder:{folder}")
    assert code == 2 and name in said, said


def test_unusual_images_are_read_whole(command, tmp_path):
    """16 bits, CMYK, palettes; texts of length 0 and 100,000 and without a glyph: nothing is dropped."""
    folder = tmp_path / "pictures"
    kinds = [lambda a: a.convert("CMYK"), lambda a: a.convert("P"), lambda a: a, lambda a: a.convert("LA")]
    for label in ("x", "y"):
        (folder / label).mkdir(parents=True)
        for i in range(20):
            noise = np.random.default_rng([i, ord(label)]).integers(0, 255, (16, 16, 3), np.uint8)
            picture = kinds[i % 4](Image.fromarray(noise))
            picture.save(folder / label / f"{i}.{'tiff' if picture.mode == 'CMYK' else 'png'}")
        deep = np.random.default_rng(1).integers(0, 65535, (16, 16)).astype(np.uint16)
        Image.fromarray(deep).save(folder / label / "deep.png")
    code, said, run = command("--target", f"folder:{folder}")
    assert code == 0, said
    assert not [r.error for r in Comparison.load(run).records if r.status == "failed"]


def test_texts_of_any_length_and_script(command, tmp_path):
    file = tmp_path / "t.jsonl"
    odd = ["", "x" * 100_000, "日本語 " * 20, "\U0001f600\u202e\ufffe", "a\u0301\x00b"]
    rows = [{"text": text, "label": label} for text, label in ROWS]
    rows += [{"text": text, "label": label} for text in odd for label in "ab"]
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    code, said, run = command("--target", f"jsonl:{file}")
    assert code == 0, said
    comparison = Comparison.load(run)
    assert not [r.error for r in comparison.records if r.status == "failed"]


def test_a_layer_that_does_not_exist_is_answered_with_the_nearest(command, samples):
    code, said, _ = command("--target", f"csv:{samples}/reviews.csv", "--layer", "conv9")
    assert code == 2 and "conv9" in said and "conv" in said.split("conv9", 1)[1], said


def test_arms_that_diverge_fail_and_the_others_count(command, samples):
    code, said, folder = command("--target", f"csv:{samples}/reviews.csv", "--learning-rates", "1e30")
    assert code == 0, said
    failed = {r.arm: r.error for r in Comparison.load(folder).records if r.status == "failed"}
    assert set(failed) == {"scratch", "finetune"}
    assert all("1e+30" in error or "NaN" in error or "nan" in error for error in failed.values()), failed
    assert "failed" in (folder / "report.html").read_text(encoding="utf-8")


def test_a_source_that_diverges_stops_and_says_where(command, samples, tmp_path):
    words = ["--target", f"csv:{samples}/reviews.csv", "--source-learning-rate", "1e38", "--source-epochs", "2"]
    code, said, folder = command(*words, source=f"folder:{samples}/shapes")
    assert code == 1 and "epoch" in said and "learning rate" in said, said
    assert not (folder / "report.html").exists()


@pytest.mark.slow
def test_a_full_disk_is_named_and_the_same_command_goes_on(command, samples, tmp_path, monkeypatch):
    words = ["--target", f"csv:{samples}/reviews.csv", "--arms", "transfer", "random", "--data-dir", tmp_path / "new"]

    def full(handle, real=os.fsync):
        if "shard" in str(Path(f"/proc/self/fd/{handle}").readlink()):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        code, said, _ = command(*words, "--run-dir", tmp_path / "full")
    log = (tmp_path / "full" / "log.txt").read_text("utf-8")
    assert code == 1 and "the disk is full" in log and "every arm failed" in said, said + log
    code, said, folder = command(*words)
    assert code == 0 and not [r.error for r in Comparison.load(folder).records if r.status == "failed"], said


@pytest.mark.slow
def test_a_flipped_byte_in_the_features_is_logged_and_never_served(command, samples, tmp_path, caplog):
    words = ["--target", f"csv:{samples}/reviews.csv", "--arms", "transfer", "random", "--data-dir", tmp_path / "new"]
    assert command(*words)[0] == 0
    shards = sorted((tmp_path / "new" / "features").rglob("shard-*.npy"))
    for shard in shards:
        damaged = bytearray(shard.read_bytes())
        damaged[-3] ^= 0x40
        shard.write_bytes(damaged)
    assert shards and command(*words, "--fresh", "--run-dir", tmp_path / "again")[0] == 0
    for shard in shards:
        assert f"{shard} changed since it was written, or is gone; computing it again" in caplog.text
    first, second = Comparison.load(tmp_path / "run"), Comparison.load(tmp_path / "again")
    for a, b in zip(first.records, second.records, strict=True):
        np.testing.assert_array_equal(a.probabilities, b.probabilities)


def test_arms_that_all_diverge_leave_a_report_and_no_model(command, samples):
    words = ["--bridge", "tokens", "--learning-rates", "1e30", "--epochs", "2", "--arms", "transfer", "majority"]
    _, said, folder = command("--target", f"csv:{samples}/reviews.csv", *words)
    status = {record.arm: record.status for record in Comparison.load(folder).records}
    assert status == {"transfer": "failed", "majority": "ok"}, said
    assert (folder / "report.html").exists() and not (folder / "model.keras").exists()
    assert "no model is saved" in (folder / "log.txt").read_text("utf-8")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--run-dir", "{file}"], "{file}: no folder can be made there"),
        (["--data-dir", "{file}/below"], "{file} is a file"),
        (["--config", "{file}"], "--config: the file is not UTF-8 text"),
        (["--target", "jsonl:{lines}"], "lines.jsonl row 2: 'text' holds half of an escaped"),
    ],
    ids=["--run-dir", "--data-dir", "--config", "half a surrogate pair"],
)
def test_paths_and_bytes_that_cannot_be_used(command, samples, tmp_path, words, message):
    places = {"file": tmp_path / "file", "lines": tmp_path / "lines.jsonl"}
    places["file"].write_bytes(b"\xff\xfe\x00")
    places["lines"].write_text('{"text": "a", "label": "x"}\n{"text": "\\ud800", "label": "y"}\n')
    code, said, _ = command("--target", f"csv:{samples}/reviews.csv", *(word.format(**places) for word in words))
    assert code == 2 and message.format(**places) in said, said


def test_after_a_mistake_the_same_folder_can_be_named_again(command, samples):
    words = ["--target", f"csv:{samples}/reviews.csv", "--arms", "transfer"]
    assert command(*words, "--layer", "conv9")[0] == 2
    code, said, folder = command(*words)
    assert code == 0, said
    report = (folder / "report.html").read_bytes()
    code, said, _ = command(*words)
    assert code == 2 and "holds an earlier run, which is kept" in said, said
    assert (folder / "report.html").read_bytes() == report


def test_texts_that_a_saved_run_cannot_be_asked_or_scored_on(command, samples, tmp_path, capsys):
    code, said, folder = command("--target", f"csv:{samples}/reviews.csv", "--arms", "transfer")
    assert code == 0, said
    assert main(predict.work, [str(folder), "--text", "caf\udce9"]) == 2
    assert "not UTF-8" in capsys.readouterr().err
    bad = {
        "no label column": (table([(text,) for text, _ in ROWS], "text"), "name the column with --label"),
        "not UTF-8": (b"text,label\nfine,good\ncaf\xe9,bad\n", "new.csv row 3: byte 4"),
        "ragged": ("text,label\nfine,good\nworse\n", "new.csv row 3: 1 values for 2 columns"),
        "unknown label": (table([(f"{i}", "good" if i % 2 else "goood") for i in range(20)]), "did you mean 'good'"),
    }
    for content, message in bad.values():
        (tmp_path / "new.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
        assert main(evaluate.work, [str(folder), "--data", f"csv:{tmp_path}/new.csv"]) == 2
        assert message in capsys.readouterr().err


def test_images_that_a_saved_run_cannot_be_asked_or_scored_on(command, samples, tmp_path, capsys):
    code, said, folder = command("--target", f"folder:{samples}/shapes", "--arms", "transfer")
    assert code == 0, said
    new = tmp_path / "new"
    shutil.copytree(samples / "shapes", new)
    for name, make in broken_images().items():
        make(new / "circle" / name)
        assert main(predict.work, [str(folder), "--image", str(new / "circle" / name)]) == 2
        assert name in capsys.readouterr().err
    assert main(evaluate.work, [str(folder), "--data", f"folder:{new}"]) == 2
    said = capsys.readouterr().err
    assert all(f"circle/{name}" in said for name in broken_images()), said


def unusable_sources(folder):
    """Files and folders that hold a model, but none that images or tokens can enter."""
    pictures, size = keras.Input((8, 8, 3), name="image"), keras.Input((1,), name="size")
    flat = keras.layers.Flatten()(pictures)
    two = keras.Model([pictures, size], keras.layers.Dense(2)(keras.layers.Concatenate()([flat, size])))
    rows = keras.Sequential([keras.Input((784,)), keras.layers.Dense(2)])
    two.save(folder / "two.keras")
    rows.save(folder / "rows.keras")
    broken = folder / "bert"
    broken.mkdir()
    (broken / "config.json").write_text('{"model_type": "bert", "hidden_size": 8}')
    (broken / "model.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{cut")
    return {f"file:{folder}/two.keras": "takes", f"file:{folder}/rows.keras": "784", f"preset:{broken}": "KerasHub"}


@pytest.mark.parametrize("which", range(3), ids=["two inputs", "flat rows", "a cut preset"])
def test_a_model_that_cannot_be_a_source(command, samples, tmp_path, which):
    source, message = list(unusable_sources(tmp_path).items())[which]
    code, said, _ = command("--target", f"csv:{samples}/reviews.csv", source=source)
    assert code == 2 and message in said, said


def test_a_sequential_model_is_a_source(command, samples, tmp_path):
    layers = [keras.Input((None, None, 1)), keras.layers.Conv2D(4, 3, name="c"), keras.layers.GlobalMaxPooling2D()]
    keras.Sequential([*layers, keras.layers.Dense(3, activation="softmax")]).save(tmp_path / "s.keras")
    words = ["--target", f"csv:{samples}/reviews.csv", "--arms", "transfer"]
    code, said, _ = command(*words, source=f"file:{tmp_path}/s.keras")
    assert code == 0, said


@pytest.mark.parametrize(("option", "value"), [("--unfreeze", "conv2"), ("--layer", "pool")])
def test_options_without_effect_are_refused(command, samples, option, value, data_dir, tmp_path):
    if option == "--layer":
        small = ["--source-max-examples", "256", "--source-epochs", "1"]
        code, said, _ = command("--target", f"folder:{samples}/shapes", option, value, *small, source="names")
    else:
        code, said, _ = command("--target", f"csv:{samples}/reviews.csv", "--bridge", "tokens", option, value)
    assert code == 2 and f"{option}:" in said, said


def test_images_of_another_size_are_predicted_by_a_run_on_images_of_one_size(command, samples, tmp_path, capsys):
    code, said, folder = command("--target", f"folder:{samples}/shapes", "--arms", "transfer")
    assert code == 0, said
    for side in (20, 50):
        Image.new("RGB", (side, side), "red").save(tmp_path / f"{side}.png")
    files = [str(tmp_path / f"{side}.png") for side in (20, 50)]
    assert main(predict.work, [str(folder), "--json", "--image", *files]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
