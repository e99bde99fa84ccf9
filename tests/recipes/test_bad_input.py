"""Requests and files that cannot be used, through the whole command: named, with a remedy, and nothing lost."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfxfer import train
from tfxfer.cli import main
from tfxfer.records import Comparison

TINY = [
    *("--labels-per-class", "2", "--trained-at", "2", "--seeds", "1"),
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


def broken_pictures():
    good = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8))
    return {
        "zero bytes.png": lambda path: path.write_bytes(b""),
        "not a picture.jpg": lambda path: path.write_bytes(b"this is no picture" * 9),
        "truncated.png": lambda path: (good.save(path), path.write_bytes(path.read_bytes()[:900])),
        "animated.gif": lambda path: good.save(path, save_all=True, append_images=[good.rotate(90)]),
        "huge.png": lambda path: Image.new("1", (40_000, 40_000)).save(path),
    }


@pytest.mark.parametrize("name", broken_pictures())
@pytest.mark.parametrize("side", ["source", "target"])
def test_a_picture_that_cannot_be_used(command, tmp_path, side, name, samples):
    folder = tmp_path / "pictures"
    for label in ("x", "y"):
        (folder / label).mkdir(parents=True)
        for i in range(20):
            noise = np.random.default_rng([i, ord(label)]).integers(0, 255, (16, 16, 3), np.uint8)
            Image.fromarray(noise).save(folder / label / f"{i}.png")
    broken_pictures()[name](folder / "x" / name)
    if side == "target":
        code, said, _ = command("--target", f"folder:{folder}")
    else:
        code, said, _ = command("--target", f"csv:{samples}/reviews.csv", source=f"folder:{folder}")
    assert code == 2 and name in said, said


def test_unusual_pictures_and_texts_are_read_whole(command, tmp_path):
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


def test_a_flipped_byte_in_the_features_is_never_served(command, samples, tmp_path):
    words = ["--target", f"csv:{samples}/reviews.csv", "--arms", "transfer", "random", "--data-dir", tmp_path / "new"]
    assert command(*words)[0] == 0
    shards = sorted((tmp_path / "new" / "features").rglob("shard-*.npy"))
    for shard in shards:
        damaged = bytearray(shard.read_bytes())
        damaged[-3] ^= 0x40
        shard.write_bytes(damaged)
    assert shards and command(*words, "--fresh", "--run-dir", tmp_path / "again")[0] == 0
    first, second = Comparison.load(tmp_path / "run"), Comparison.load(tmp_path / "again")
    for a, b in zip(first.records, second.records, strict=True):
        np.testing.assert_array_equal(a.probabilities, b.probabilities)
