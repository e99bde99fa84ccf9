"""Features on disk: equal to φ(x), never stale, never damaged, never lost."""

import errno
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tiny import TinyDataset, tiny_cnn

from tfxfer.cache import TEMPORARY
from tfxfer.errors import TfxferError, UserError
from tfxfer.transfer.feature import Features, extract, extractor

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def phi():
    return extractor(tiny_cnn())


def shards(features):
    return sorted(features.folder.glob("shard-*.npy"))


@pytest.mark.parametrize(("batch_size", "shard_rows"), [(7, 16), (64, 16), (16, 16), (1, 99), (200, 2048)])
def test_features_are_phi_of_every_row_in_order(tmp_path, phi, batch_size, shard_rows):
    data = TinyDataset()
    features = extract(phi, data, folder=tmp_path, batch_size=batch_size, shard_rows=shard_rows)
    expected = phi.predict(data.columns["image"].astype(np.float32), verbose=0)
    assert features.shape == (100, 9)
    assert len(shards(features)) == -(-100 // shard_rows)
    np.testing.assert_allclose(np.asarray(features), expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(features.labels, data.labels("train"))
    assert features.labels.dtype == np.int32


def test_rows_are_read_like_an_array(tmp_path, phi):
    features = extract(phi, TinyDataset(), folder=tmp_path, shard_rows=16)
    whole = np.asarray(features)
    assert whole.dtype == np.float32
    picks = [
        slice(10, 40),
        slice(None, None, -7),
        [99, 0, 17, 17],
        np.arange(100) % 3 == 0,
        5,
        -1,
        slice(3, 3),
    ]
    for pick in picks:
        np.testing.assert_array_equal(features[pick], whole[pick])
    with pytest.raises(IndexError):
        features[100]
    assert isinstance(features.array._shards[0], np.memmap)


def test_a_second_call_computes_nothing(tmp_path, phi):
    first = extract(phi, TinyDataset(), folder=tmp_path, batch_size=7)
    again = TinyDataset()
    second = extract(phi, again, folder=tmp_path, batch_size=32)
    assert again.served == []
    assert second.folder == first.folder


def test_anything_that_changes_the_features_changes_the_folder(tmp_path, phi):
    folders = {extract(phi, TinyDataset(), folder=tmp_path).folder}
    folders.add(extract(phi, TinyDataset(seed=1), folder=tmp_path).folder)
    folders.add(extract(extractor(tiny_cnn(seed=1)), TinyDataset(), folder=tmp_path).folder)
    folders.add(extract(extractor(tiny_cnn(), "conv_low"), TinyDataset(), folder=tmp_path).folder)
    assert len(folders) == 4


def test_progress_counts_rows(tmp_path, phi):
    seen = []
    extract(
        phi,
        TinyDataset(),
        folder=tmp_path,
        shard_rows=40,
        progress=lambda done, rows: seen.append((done, rows)),
    )
    assert seen == [(40, 100), (80, 100), (100, 100)]


def test_a_flipped_byte_is_refused_on_opening_and_only_that_shard_is_rebuilt(tmp_path, phi):
    features = extract(phi, TinyDataset(), folder=tmp_path, batch_size=16, shard_rows=16)
    whole = np.asarray(features).copy()
    damaged = shards(features)[3]
    content = bytearray(damaged.read_bytes())
    content[-5] ^= 1
    damaged.write_bytes(content)
    for opening in (features.verify, lambda: Features.open(features.folder)):
        with pytest.raises(TfxferError, match=rf"{damaged.name}.*Delete it"):
            opening()
    data = TinyDataset()
    healed = extract(phi, data, folder=tmp_path, batch_size=16, shard_rows=16)
    assert data.served == [48]
    np.testing.assert_array_equal(np.asarray(healed), whole)


def test_missing_truncated_and_unreadable_files_heal(tmp_path, phi):
    features = extract(phi, TinyDataset(), folder=tmp_path, shard_rows=16)
    whole = np.asarray(features).copy()
    shards(features)[0].unlink()
    shards(features)[-1].write_bytes(b"")
    (features.folder / "labels.npy").write_bytes(b"rubbish")
    with pytest.raises(TfxferError, match="missing"):
        Features.open(features.folder)
    np.testing.assert_array_equal(np.asarray(extract(phi, TinyDataset(), folder=tmp_path, shard_rows=16)), whole)
    (features.folder / "manifest.json").write_text("{half")
    with pytest.raises(TfxferError, match="no finished features"):
        Features.open(features.folder)
    healed = extract(phi, TinyDataset(), folder=tmp_path, shard_rows=16)
    np.testing.assert_array_equal(np.asarray(healed), whole)
    np.testing.assert_array_equal(healed.labels, TinyDataset().labels("train"))


def run_alone(folder, *die_at_row):
    script = Path(__file__).parents[2] / "helpers" / "tiny.py"
    command = [sys.executable, str(script), str(folder), *map(str, die_at_row)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_kill_9_in_the_middle_then_again(tmp_path, phi):
    killed = run_alone(tmp_path / "a", 70)
    assert killed.returncode == -9
    (folder,) = (p for p in (tmp_path / "a").iterdir() if p.is_dir())
    finished = json.loads((folder / "manifest.json").read_text())["sha256"]
    assert 2 <= len(finished) <= 4
    left = folder / f"{TEMPORARY}left"
    left.mkdir()
    (left / "shard-000004.npy").write_bytes(b"half a shard")
    ages = {name: (folder / name).stat().st_mtime_ns for name in finished}

    data = TinyDataset()
    resumed = extract(phi, data, folder=tmp_path / "a", batch_size=7, shard_rows=16)
    assert resumed.folder == folder  # the key is the same in another process
    assert data.served[0] == len(finished) * 16 // 7 * 7
    assert {name: (folder / name).stat().st_mtime_ns for name in finished} == ages
    whole = extract(phi, TinyDataset(), folder=tmp_path / "b", batch_size=7, shard_rows=16)
    np.testing.assert_array_equal(np.asarray(resumed), np.asarray(whole))
    assert not list(folder.glob(".*"))


def test_finished_features_of_a_shared_folder_are_opened_and_nothing_is_written_there(tmp_path, phi, monkeypatch):
    shared, own = tmp_path / "shared", tmp_path / "own"
    made = extract(phi, TinyDataset(), data_dir=tmp_path / "made").folder
    shutil.copytree(made, shared / "features" / made.name)
    before = sorted(shared.rglob("*"))
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode, **how: Path(path) != shared and real(path, mode, **how))
    data = TinyDataset()
    again = extract(phi, data, data_dir=f"{shared}{os.pathsep}{own}")
    assert again.folder == shared / "features" / made.name and data.served == []
    assert sorted(shared.rglob("*")) == before
    np.testing.assert_array_equal(again, Features.open(made))
    np.testing.assert_array_equal(again.labels, data.labels("train"))

    content = bytearray((again.folder / "labels.npy").read_bytes())
    content[-1] ^= 1
    (again.folder / "labels.npy").write_bytes(content)
    healed = extract(phi, TinyDataset(), data_dir=f"{shared}{os.pathsep}{own}")
    assert healed.folder.parent.parent == own, "a damaged copy is no copy"
    np.testing.assert_array_equal(healed.labels, TinyDataset().labels("train"))


def test_of_two_at_once_one_waits(tmp_path, phi):
    sets = TinyDataset(), TinyDataset()
    with ThreadPoolExecutor(2) as pool:
        a, b = pool.map(lambda data: np.asarray(extract(phi, data, folder=tmp_path)), sets)
    np.testing.assert_array_equal(a, b)
    assert sorted(len(data.served) for data in sets) == [0, 2]


@pytest.mark.slow
def test_a_second_process_waits_and_computes_nothing(tmp_path):
    script = Path(__file__).parents[2] / "helpers" / "tiny.py"
    command = [sys.executable, str(script), str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    printed = sorted(process.communicate(timeout=120)[0].strip() for process in both)
    assert printed == ["0 batches were asked for", "15 batches were asked for"]


def test_features_that_are_not_finite_are_refused_by_row(tmp_path):
    data = TinyDataset(side=1, channels=1)
    data.columns["image"] = np.arange(100, dtype=np.float32).reshape(100, 1, 1, 1)
    data.columns["image"][[37, 81]] = np.nan
    import keras

    inputs = keras.Input((1, 1, 1))
    phi = extractor(keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Rescaling(2.0)(inputs))))
    with pytest.raises(TfxferError, match=r"1 rows have features that are not finite \(row 37\)"):
        extract(phi, data, folder=tmp_path, shard_rows=32)
    (folder,) = (p for p in tmp_path.iterdir() if p.is_dir())
    assert [p.name for p in sorted(folder.glob("shard-*"))] == ["shard-000000.npy"]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 36 KiB, which only root may make."""
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=36k", "tmpfs", str(tmp_path)], capture_output=True)
    if made.returncode != 0:
        pytest.skip("needs the right to mount a tmpfs")
    yield tmp_path
    subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def test_a_full_disk_keeps_finished_shards(small_disk, phi):
    data = TinyDataset(rows=1000)  # 9 features: 36,000 bytes and the page rounding of each file
    with pytest.raises(TfxferError, match=r"the disk is full.*What was there before is kept"):
        extract(phi, data, folder=small_disk, batch_size=100, shard_rows=100)
    (folder,) = (p for p in small_disk.iterdir() if p.is_dir())
    finished = list(json.loads((folder / "manifest.json").read_text())["sha256"])
    assert 3 <= len(finished) <= 9
    assert not list(folder.glob(".*"))
    subprocess.run(["mount", "-o", "remount,size=2m", str(small_disk)], check=True)
    data.served.clear()
    healed = extract(phi, data, folder=small_disk, batch_size=100, shard_rows=100)
    assert data.served[0] == 100 * len(finished)
    np.testing.assert_allclose(np.asarray(healed), phi.predict(data.columns["image"], verbose=0), rtol=1e-4, atol=1e-6)


def test_an_error_of_writing_keeps_finished_shards(tmp_path, phi, monkeypatch):
    real, written = np.lib.format.write_array_header_1_0, []

    def full_after_three(file, header):
        written.append(header)
        if len(written) > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(file, header)

    with monkeypatch.context() as patch:
        patch.setattr(np.lib.format, "write_array_header_1_0", full_after_three)
        with pytest.raises(OSError, match="No space left"):
            extract(phi, TinyDataset(), folder=tmp_path, batch_size=16, shard_rows=16)
    data = TinyDataset()
    extract(phi, data, folder=tmp_path, batch_size=16, shard_rows=16)
    assert data.served[0] == 48


def test_data_that_ends_early_and_empty_or_unknown_splits_are_refused(tmp_path, phi):
    short = TinyDataset()
    short.sizes["train"] = 120
    with pytest.raises(TfxferError, match="ended at row 100"):
        extract(phi, short, folder=tmp_path)
    with pytest.raises(UserError, match="'validation' is empty"):
        extract(phi, TinyDataset(), split="validation", folder=tmp_path)
    with pytest.raises(UserError, match="did you mean 'train'"):
        extract(phi, TinyDataset(), split="trian", folder=tmp_path)


def test_phi_of_any_picture_size_needs_one(tmp_path):
    import keras

    inputs = keras.Input((None, None, 3))
    phi = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs))
    with pytest.raises(UserError, match="image_size="):
        extract(phi, TinyDataset(), folder=tmp_path)
    data = TinyDataset()
    features = extract(phi, data, folder=tmp_path, image_size=(8, 8))
    np.testing.assert_allclose(np.asarray(features), data.columns["image"].mean((1, 2)), rtol=1e-5)
