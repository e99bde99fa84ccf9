"""Flipped bytes and truncations of the files that tfxfer writes: an error that names it, or it is made again."""

import json
import random
import re
import shutil
import zipfile

import fake
import numpy as np
import pytest

from tfxfer import cli, report
from tfxfer.__main__ import work
from tfxfer.errors import DamagedFile, TfxferError, UserError
from tfxfer.experiment import Arm, Experiment, Outcome, compare
from tfxfer.models.saved_folder import describe_folder
from tfxfer.own_files import read_own_json, read_own_npz, write_own_json
from tfxfer.records import Comparison
from tfxfer.report.panel import read_panels, write_panels
from tfxfer.runs import saved_runs

FLIPS = 30


def mutants(whole):
    """Yield 30 copies of a file with one flipped bit, truncations, and files of something else."""
    draw = random.Random(0)
    for _ in range(FLIPS):
        changed = bytearray(whole)
        changed[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        yield bytes(changed)
    yield from (whole[: len(whole) * part // 7] for part in range(7))
    yield from (b"[]", b"{}", b"5", b"null", b'"a"', b"\xff\xfe", b"[" * 100_000, b'{"format": ' + b"9" * 5000 + b"}")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run's folder, but for its model."""
    folder = tmp_path_factory.mktemp("runs") / "feature-20261128-101500"
    folder.mkdir()
    fake.make(examples=20, seeds=1, class_names=("a", "b", "c", "d")).save(folder)
    write_panels(folder, [report.panel.Panel("t", ("a",), tables=({"caption": "c", "columns": ["d"], "rows": [[1]]},))])
    write_own_json(
        folder / "model.json",
        {"class": "Classifier", "task": "classification", "input": "text", "class_names": ["a", "b"]},
    )
    (folder / "model.keras").write_bytes(b"")
    (folder / "report.html").write_text("the last file of a run")
    np.savez(folder / "ranking.npz", weight=np.array(1.0), idf=np.arange(30.0))
    np.savez(folder / "candidates.npz", beta=np.array(1.0), texts=np.array(["a", "b"]), weights=np.ones((3, 2)))
    return folder


READERS = {
    "comparison.json": Comparison.load,
    "probabilities.npz": Comparison.load,
    "panels.json": read_panels,
    "model.json": describe_folder,
    "ranking.npz": lambda folder: read_own_npz(folder / "ranking.npz", "save the model again", needed=("weight",)),
    "candidates.npz": lambda folder: read_own_npz(folder / "candidates.npz", "save the model again", needed=("beta",)),
}


@pytest.mark.parametrize("name", READERS)
def test_a_changed_byte_is_named_with_file_and_remedy_or_makes_no_difference(run, tmp_path, name):
    copy = shutil.copytree(run, tmp_path / run.name)
    found = 0
    for content in mutants((run / name).read_bytes()):
        (copy / name).write_bytes(content)
        try:
            READERS[name](copy)
        except UserError as error:
            assert (str(copy) in str(error) and "again" in str(error)) or "another version" in str(error)
            found += 1
        assert {row["name"] for row in saved_runs(tmp_path)} == {run.name}
    assert found > 20 + FLIPS * 0.2


def test_a_digit_that_is_another_is_found(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "copy")
    text = (copy / "comparison.json").read_text("utf-8")
    (copy / "comparison.json").write_text(re.sub(r'"accuracy": 0\.\d', '"accuracy": 0.9', text, count=1), "utf-8")
    with pytest.raises(DamagedFile, match=r"comparison.json: is damaged \(its content does not fit its digest"):
        report.write(copy)
    (copy / "model.json").write_text((copy / "model.json").read_text("utf-8").replace('"b"', '"c"'), "utf-8")
    with pytest.raises(DamagedFile, match="model.json: is damaged"):
        describe_folder(copy)


def test_an_array_that_its_header_shortens_is_found(tmp_path):
    """NumPy reads as much as the header says, and the checksum counts only at the end."""
    file = tmp_path / "a.npz"
    np.savez(file, a=np.arange(100_000))
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b"'shape': (100000,)", b"'shape': (10,)    "))
    with np.load(file) as loaded:
        assert len(loaded["a"]) == 10
    with pytest.raises(DamagedFile, match=r"a.npz: is damaged .*; make it again"):
        read_own_npz(file, "make it again")


def test_an_array_of_objects_is_never_unpickled(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.array([{}], object))
    with pytest.raises(DamagedFile):
        read_own_npz(tmp_path / "a.npz", "make it again")


def test_a_file_that_is_missing_is_not_damaged(tmp_path):
    for read in (read_own_json, read_own_npz):
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "nowhere", "make it again")


def test_a_record_that_is_damaged_is_run_again_with_a_note(tmp_path, caplog):
    labels = np.zeros(4, np.int32)
    arm = Arm("transfer", lambda budget, seed: Outcome(np.eye(2, dtype=np.float32)[labels]))
    experiment = Experiment("t", ("a", "b"), labels, (arm,), budgets=(5,), seeds=(0,))
    first = compare(experiment, kept=tmp_path)
    file = tmp_path / "transfer-5-0.npz"
    whole = file.read_bytes()
    other = tmp_path / "other.npz"
    np.savez(other, record=np.array(json.dumps([1])))
    for content in [*list(mutants(whole))[::3], other.read_bytes()]:
        file.write_bytes(content)
        again = compare(experiment, kept=tmp_path).records[0]
        np.testing.assert_array_equal(again.probabilities, first.records[0].probabilities)
    assert "transfer-5-0.npz: is damaged" in caplog.text and "this arm is run again" in caplog.text


@pytest.mark.parametrize("command", [["predict", "{run}", "--text", "a"], ["evaluate", "{run}", "--data", "csv:a.csv"]])
@pytest.mark.parametrize("content", ["", "[1]", "{", '{"class": 1}', '{"class": "Classifier"}', "[" * 100_000])
def test_a_command_names_a_damaged_description(run, tmp_path, capsys, command, content):
    copy = shutil.copytree(run, tmp_path / "copy")
    (copy / "model.json").write_text(content)
    assert cli.main(work, [word.format(run=copy) for word in command]) == 2
    error = capsys.readouterr().err
    assert "model.json" in error or "this command scores classes" in error


def test_runs_of_which_one_is_damaged_are_listed(run, tmp_path, monkeypatch, capsys):
    for name in ("feature-20261128-101500", "feature-20261128-111500"):
        shutil.copytree(run, tmp_path / "runs" / name)
    (tmp_path / "runs" / "feature-20261128-111500" / "comparison.json").write_text("[]")
    monkeypatch.chdir(tmp_path)
    assert cli.main(work, ["list", "runs"]) == 0
    assert [line.split()[4] for line in capsys.readouterr().out.splitlines()] == ["damaged", "no"]


# === Files of others ===


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"seed: " + b"[" * 3000, "more than 500 brackets"),
        (b"seed:\n" + b"- " * 3000, "nested too deeply"),
        (b"seed: " + b"9" * 5000, "this is no YAML"),
        (b"seed: 2026-13-45", "this is no YAML"),
        (b"a: &a [1]\nb: *a", "has an alias"),
        (b"seed: 0\n" * 200_000, "too many for such a file"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_a_config_that_cannot_be_read_is_named(tmp_path, capsys, content, message):
    (tmp_path / "config.yaml").write_bytes(content)
    assert cli.main(work, ["train", "feature", "--config", str(tmp_path / "config.yaml")]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seed", "4294967296"], "--seed 4294967296: must be at most 4,294,967,295"),
        (["--seed", "4294967295", "--seeds", "30"], "the last of 30 seeds"),
        (["--seeds", "1000000000000"], "--seeds 1000000000000: must be at most 1,000"),
        (["--steps", "9" * 30], "must be at most"),
        (["--seed", "9" * 5000], "seed"),
        (["--image-size", "100000"], "must be at most 8,192"),
    ],
)
def test_a_number_out_of_range_is_refused_before_any_work(words, message, capsys):
    assert cli.main(work, ["train", "feature", *words]) == 2
    assert message in capsys.readouterr().err


# === A .keras file before Keras reads it ===

CONFIG = json.dumps({"class_name": "Functional", "config": {}}).encode()


def archive(path, config=CONFIG, weights=b"w" * 1000, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("config.json", config)
        file.writestr("model.weights.h5", weights)
    return path


def encrypted(path):
    whole = archive(path).read_bytes()
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = whole.index(signature) + place
        whole = whole[:at] + bytes([whole[at] | 1]) + whole[at + 1 :]
    path.write_bytes(whole)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda path: archive(path, config=b" " * 40_000_000, method=zipfile.ZIP_DEFLATED),
            "would have 40,000,000 bytes",
        ),
        (lambda path: archive(path, weights=b"\0" * 80_000_000, method=zipfile.ZIP_DEFLATED), "would unpack to 80,000"),
        (lambda path: archive(path, config=b'{"config": ' + b"[" * 100_000), "nested too deeply"),
        (lambda path: archive(path, config=b"[]"), "describes no model"),
        (encrypted, "'config.json' is encrypted"),
        (lambda path: path.write_bytes(b""), "not a readable .keras model"),
    ],
)
def test_a_hostile_model_file_is_refused_before_it_is_unpacked(tmp_path, make, message):
    from tfxfer.models.saved_archive import check_archive

    path = tmp_path / "model.keras"
    make(path)
    with pytest.raises(UserError, match=message) as told:
        check_archive(path)
    assert str(path) in str(told.value)


def test_a_changed_byte_of_a_model_file_is_found(tmp_path):
    from tfxfer.models.saved_archive import check_archive

    path = archive(tmp_path / "model.keras")
    assert check_archive(path) == 1000
    whole, accepted = path.read_bytes(), 0
    for content in mutants(whole):
        path.write_bytes(content)
        try:
            check_archive(path)
            accepted += 1
        except TfxferError:
            pass
    assert accepted < 5  # times and attributes in the zip's own tables
