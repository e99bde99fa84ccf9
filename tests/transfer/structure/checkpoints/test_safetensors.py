"""Reading safetensors without PyTorch: compared with the format's own library; inconsistent files are refused."""

import json
import os
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from written import entry, folder, write_raw

from tfxfer.errors import TfxferError, UserError
from tfxfer.transfer.structure.checkpoints import Safetensors, ShardedSafetensors

TYPES = ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint64", "uint8", "bool"]


def arrays(*names, shape=(2, 3)):
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape).astype(np.float32) for name in names}


@pytest.mark.parametrize("dtype", TYPES)
def test_every_dtype_is_read_as_it_was_written(tmp_path, dtype):
    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    value = (np.arange(12).reshape(3, 4) % 2).astype(kind)
    save_file({"a.weight": value, "one": np.asarray(value[0, 1]), "none": value[:0]}, tmp_path / "x.safetensors")
    source = Safetensors(tmp_path / "x.safetensors")
    for name, expected in {"a.weight": value, "one": value[0, 1], "none": value[:0]}.items():
        read = source.read(name)
        assert (source.dtype(name), source.shape(name)) == (dtype, expected.shape) == (str(read.dtype), read.shape)
        np.testing.assert_array_equal(read, expected)
        assert read.flags.writeable == (read.size == 0)  # the file cannot be changed by accident


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.text(min_size=1, max_size=12).filter(lambda name: name != "__metadata__"),
        st.tuples(st.lists(st.integers(0, 4), max_size=4), st.sampled_from(TYPES)),
        max_size=5,
    )
)
def test_what_the_formats_library_writes_is_read_back(tmp_path_factory, wanted):
    path = tmp_path_factory.mktemp("st") / "x.safetensors"
    rng = np.random.default_rng(0)
    kinds = {name: ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype for name, (_, dtype) in wanted.items()}
    written = {name: np.asarray(rng.integers(0, 2, shape)).astype(kinds[name]) for name, (shape, _) in wanted.items()}
    save_file(written, path)
    source = Safetensors(path)
    assert set(source.names()) == set(written)
    for name, expected in written.items():
        np.testing.assert_array_equal(source.read(name), expected)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_files_are_refused_as_the_formats_library_refuses_them(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("bad") / "x.safetensors"
    save_file(arrays("a", "b"), path)
    whole = bytearray(path.read_bytes())
    if data.draw(st.booleans(), label="cut"):
        whole = whole[: data.draw(st.integers(0, len(whole) - 1), label="length")]
    else:
        place = data.draw(
            st.integers(0, len(whole) - 49), label="place"
        )  # numbers may be anything: 48 bytes at the end
        whole[place] = data.draw(st.integers(0, 255), label="byte")
    path.write_bytes(whole)
    try:
        with safe_open(path, "np") as file:
            theirs = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, AttributeError):
        theirs = None
    try:
        source = Safetensors(path)
        ours = {name: source.read(name) for name in source.names()}
    except UserError as error:
        ours = None
        assert str(path) in str(error)
    assert ours is None or theirs is not None  # accepts no file that the library refuses
    if ours is not None:
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            np.testing.assert_array_equal(value, theirs[name])


TRUE = {"a": entry(), "b": entry(start=8)}
BAD_HEADERS = {
    "overlap": ({"a": entry(), "b": entry(start=4)}, 12, "tensors 'a' and 'b' overlap"),
    "same place": ({"a": entry(), "b": entry()}, 8, "tensors 'a' and 'b' overlap"),
    "gap": ({"a": entry(), "b": entry(start=12)}, 20, "4 bytes before tensor 'b' belong to no tensor"),
    "too far": (TRUE, 12, "tensor 'b': should be at bytes 8 to 16, and there are 12"),
    "rest": (TRUE, 20, "the last 4 bytes belong to no tensor"),
    "backwards": ({"a": {**entry(), "data_offsets": [8, 0]}}, 8, "tensor 'a': should be at bytes 8 to 0"),
    "below 0": (
        {"a": {**entry(), "data_offsets": [-8, 0]}},
        8,
        "tensor 'a': .* not lists of non-negative integers",
    ),
    "size": ({"a": entry((3,), stop=8)}, 8, r"tensor 'a': F32 \[3\] takes 12 bytes, and the header gives it 8"),
    "shape": ({"a": entry((-1, -2), stop=8)}, 8, "tensor 'a': shape .* not lists of non-negative integers"),
    "true as a number": ({"a": {**entry((2,)), "shape": [True, 2]}}, 8, "not lists of non-negative integers"),
    "overflow": ({"a": entry((2**40, 2**40), stop=8)}, 8, "tensor 'a': .* takes"),
    "type": ({"a": entry(dtype="F8_E4M3", stop=2)}, 2, "tensor 'a': has the dtype 'F8_E4M3'.*Convert the file"),
    "no type": ({"a": entry(dtype=7)}, 8, "tensor 'a': has the dtype 7"),
    "fields": (
        {"a": {**entry(), "more": 1}},
        8,
        "tensor 'a': the header must give dtype, shape and data_offsets",
    ),
    "no fields": ({"a": 3}, 8, "tensor 'a': the header must give"),
    "metadata": ({"__metadata__": {"a": 1}}, 0, "'__metadata__' in the header may contain strings only"),
    "twice": (b'{"a":%s,"a":%s}' % ((json.dumps(entry()).encode(),) * 2), 8, "'a' occurs twice in one object"),
    "list": (b"[]", 0, "the header does not begin with '{'"),
    "space": (b' {"a":1}', 0, "the header does not begin with '{'"),
    "no JSON": (b"{nothing}", 0, "the header is not JSON"),
    "no text": (b'{"\xff\xfe":1}', 0, "the header is not JSON"),
    "deep": (b'{"a":' + b"[" * 100_000, 0, "the header is not JSON"),
}


@pytest.mark.parametrize("case", BAD_HEADERS)
def test_inconsistent_headers_are_refused_with_tensor_and_remedy(tmp_path, case):
    header, body, problem = BAD_HEADERS[case]
    path = write_raw(tmp_path / "x.safetensors", header, bytes(body))
    with pytest.raises(UserError, match=problem) as error:
        Safetensors(path)
    assert "x.safetensors" in str(error.value)
    assert any(remedy in str(error.value) for remedy in ("again", "Convert"))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "has 0 bytes, too few"),
        (b"1234567", "has 7 bytes, too few"),
        (b"\xff" * 8, "18,446,744,073,709,551,615 bytes; 100,000,000 is the maximum"),
        ((100_000_001).to_bytes(8, "little") + b"{}", "100,000,001 bytes; 100,000,000 is the maximum"),
        ((50_000_000).to_bytes(8, "little") + b"{}", "the header should have 50,000,000 bytes and the file has 10"),
        (b"PK\x03\x04" + bytes(60), "a pickle of PyTorch under another name"),
        (b"\x80\x02}q\x00." + bytes(60), "a pickle of PyTorch under another name"),
    ],
)
def test_files_that_are_not_safetensors_are_refused(tmp_path, content, problem):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match=problem):
        Safetensors(path)


def test_missing_files_and_tensors_are_reported_with_a_suggestion(tmp_path):
    save_file(arrays("a.weight"), tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"did you mean 'model.safetensors'\?"):
        Safetensors(tmp_path / "modell.safetensors")
    with pytest.raises(UserError, match=r"there is no tensor 'a.weigth'; did you mean 'a.weight'\?"):
        Safetensors(tmp_path / "model.safetensors").read("a.weigth")


@pytest.mark.parametrize("how", ["shorter", "other", "gone"])
def test_a_file_that_changes_after_it_was_opened_is_not_read(tmp_path, how):
    path = tmp_path / "x.safetensors"
    save_file(arrays("a"), path)
    source = Safetensors(path)
    os.utime(path, (1, 1))
    if how == "shorter":
        os.truncate(path, 90)
    elif how == "other":
        save_file(arrays("a", "b"), path)
    else:
        path.unlink()
    with pytest.raises((TfxferError, FileNotFoundError), match="has changed since it was opened|No such file"):
        source.read("a")


def test_sharded_models_are_one_source(tmp_path):
    tensors = arrays("a", "b", "c", "d", "e")
    folder(tmp_path, tensors, {}, shards=3)
    source = ShardedSafetensors(tmp_path / "model.safetensors.index.json")
    assert sorted(source.names()) == sorted(tensors)
    for name, expected in tensors.items():
        np.testing.assert_array_equal(source.read(name), expected)
    with pytest.raises(UserError, match="there is no tensor 'f'"):
        source.read("f")


def index(tmp_path, weight_map, **files):
    for name, names in files.items():
        save_file(arrays(*names), tmp_path / f"{name}.safetensors")
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(weight_map if isinstance(weight_map, str) else json.dumps({"weight_map": weight_map}))
    return path


@pytest.mark.parametrize(
    ("weight_map", "problem"),
    [
        ({"a": "../x.safetensors"}, "'../x.safetensors' leads out of the folder"),
        ({"a": "one/../../x.safetensors"}, "leads out of the folder"),
        ({"a": "/etc/x.safetensors"}, "leads out of the folder"),
        ({"a": "..\\x.safetensors"}, "leads out of the folder"),
        ({"a": "C:\\x.safetensors"}, "leads out of the folder"),
        ({"a": "one.bin"}, "tensor 'a' should be in 'one.bin', which is not a safetensors file"),
        ({"a": "absent.safetensors"}, "absent.safetensors: cannot be read"),
        ({"z": "one.safetensors"}, "tensor 'z' should be in one.safetensors, but is not"),
        ({"a": "two.safetensors", "c": "two.safetensors"}, "tensor 'a' should be in two.safetensors, but is not"),
        ({"a": "one.safetensors", "b": "three.safetensors"}, "tensor 'a' is in one.safetensors and in three"),
        ({"a": 3}, "has no 'weight_map' from tensors to files"),
        ({}, "has no 'weight_map'"),
        ('{"weight_map": {"a": "one.safetensors", "a": "two.safetensors"}}', "'a' occurs twice"),
        ("[]", "contains a list and not a dictionary"),
        ("{", "is not JSON"),
    ],
)
def test_inconsistent_indexes_are_refused(tmp_path, weight_map, problem):
    path = index(tmp_path, weight_map, one=["a", "b"], two=["c"], three=["a"])
    with pytest.raises(UserError, match=problem) as error:
        ShardedSafetensors(path)
    assert str(tmp_path) in str(error.value)


def test_links_must_not_lead_out_of_the_folder(tmp_path):
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    (inside / "deeper").mkdir(parents=True)
    save_file(arrays("a"), outside / "x.safetensors")
    save_file(arrays("a"), inside / "deeper" / "x.safetensors")
    path = index(inside, {"a": "link.safetensors"})
    (inside / "link.safetensors").symlink_to(outside / "x.safetensors")
    with pytest.raises(UserError, match="link.safetensors: is a link to .*outside.*copy the file into the folder"):
        ShardedSafetensors(path)
    (inside / "link.safetensors").unlink()
    (inside / "link.safetensors").symlink_to(inside / "deeper" / "x.safetensors")
    assert ShardedSafetensors(path).names() == ["a"]
    (inside / "link.safetensors").unlink()
    (inside / "link.safetensors").symlink_to(inside / "link.safetensors")
    with pytest.raises(UserError, match="cannot be"):
        ShardedSafetensors(path)


def test_a_download_cache_of_hugging_face_is_one_folder(tmp_path):
    snapshot, blobs = tmp_path / "models--x" / "snapshots" / "1a2b", tmp_path / "models--x" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    save_file(arrays("a"), blobs / "c0ffee")
    path = index(snapshot, {"a": "x.safetensors"})
    (snapshot / "x.safetensors").symlink_to("../../blobs/c0ffee")
    assert ShardedSafetensors(path).names() == ["a"]
    save_file(arrays("a"), tmp_path / "models--x" / "elsewhere")
    (snapshot / "x.safetensors").unlink()
    (snapshot / "x.safetensors").symlink_to("../../elsewhere")
    with pytest.raises(UserError, match="outside of the folder"):
        ShardedSafetensors(path)


PEAK = """
import json, sys
from pathlib import Path
def mib(line): return int(Path("/proc/self/status").read_text().split(line + ":")[1].split()[0]) / 1024
from tfxfer.transfer.structure.checkpoints import Safetensors
source = Safetensors(sys.argv[1])
source.read("t0").sum()
Path("/proc/self/clear_refs").write_text("5")
before = mib("VmRSS")
total = sum(float(source.read(name).sum()) for name in source.names())
print(json.dumps({"growth": mib("VmHWM") - before, "torch": "torch" in sys.modules, "tf": "tensorflow" in sys.modules}))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
def test_one_tensor_at_a_time_is_in_memory(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({f"t{i}": np.ones((4, 2**20), np.float32) for i in range(8)}, path)  # 8 tensors of 16 MiB
    done = subprocess.run([sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["growth"] < 24  # MiB: one tensor and a half
    assert not found["torch"] and not found["tf"]
