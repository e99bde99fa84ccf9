"""Image files of every kind: decoded right, or refused with file, reason and remedy."""

import os
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tfxfer
from tfxfer.data import image_files, readable_errors
from tfxfer.data.images import read_image
from tfxfer.errors import UserError
from tfxfer.transfer.feature import extract

pytestmark = pytest.mark.tensorflow

SIDE = 16
RAMP = np.linspace(0, 255, SIDE * SIDE).round().astype(np.uint8).reshape(SIDE, SIDE)
COLOUR = np.stack([RAMP, RAMP[::-1], np.full_like(RAMP, 100)], -1)


@pytest.fixture
def folder(tmp_path):
    """Two classes of twelve images, all plain."""
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for i in range(12):
            pixels = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{i:02}.{'png' if i % 2 else 'jpg'}")
    return tmp_path


def load(folder, data_dir):
    return tfxfer.load(f"folder:{folder}", data_dir=data_dir)


def test_plain_files_have_the_pixels_of_pillow(folder, data_dir):
    dataset = load(folder, data_dir)
    assert dataset.image_shape == (SIDE, SIDE, 3)
    paths = dataset.splits["train"].files.paths.numpy()[dataset.indices("train")]
    for path, image in zip(paths, dataset.arrays("train")["image"]):
        expected = np.asarray(Image.open(path.decode()).convert("RGB"))
        np.testing.assert_array_equal(image, expected)


def saved(path, image, **options):
    image.save(path, **options)
    return read_image(path).numpy()


@pytest.mark.parametrize("suffix", ["png", "webp", "tiff", "bmp"])
def test_lossless_kinds(tmp_path, suffix):
    found = saved(tmp_path / f"a.{suffix}", Image.fromarray(COLOUR), **({"lossless": True} if suffix == "webp" else {}))
    np.testing.assert_array_equal(found, COLOUR)


def test_a_still_gif_and_a_palette(tmp_path):
    palette = Image.fromarray(COLOUR).quantize(16)
    for suffix in ("gif", "png"):
        found = saved(tmp_path / f"a.{suffix}", palette)
        np.testing.assert_array_equal(found, np.asarray(palette.convert("RGB")))


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    wide = RAMP.astype(np.uint16) * 257
    for suffix in ("png", "tiff"):
        np.testing.assert_array_equal(saved(tmp_path / f"a.{suffix}", Image.fromarray(wide))[..., 0], RAMP)


def test_sixteen_bit_colour(tmp_path):
    """Pillow writes none, so the file is made by hand (RFC 2083)."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    wide = (COLOUR.astype(np.uint16) * 257).astype(">u2")
    lines = b"".join(b"\0" + row.tobytes() for row in wide)
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 16, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").numpy(), COLOUR)


def test_cmyk_is_the_colour_it_shows(tmp_path):
    red = Image.new("CMYK", (SIDE, SIDE), (0, 255, 255, 0))
    for name in ("a.jpg", "a.tiff"):
        np.testing.assert_allclose(saved(tmp_path / name, red)[0, 0], [255, 0, 0], atol=3)


def test_transparency_lies_on_white(tmp_path):
    alpha = np.zeros((SIDE, SIDE), np.uint8)
    alpha[:, 8:] = 255
    rgba = Image.fromarray(np.dstack([COLOUR, alpha]))
    for suffix in ("png", "webp"):
        found = saved(tmp_path / f"a.{suffix}", rgba, **({"lossless": True} if suffix == "webp" else {}))
        assert (found[:, :8] == 255).all()
        np.testing.assert_array_equal(found[:, 8:], COLOUR[:, 8:])
    grey = saved(tmp_path / "grey.png", Image.fromarray(np.dstack([RAMP, alpha])))
    assert grey.shape == (SIDE, SIDE, 1) and (grey[:, :8] == 255).all()
    palette = Image.new("P", (2, 1))
    palette.putpalette([0, 0, 0, 10, 20, 30])
    palette.putpixel((1, 0), 1)
    found = saved(tmp_path / "p.png", palette, transparency=0)
    assert found.tolist() == [[[255, 255, 255], [10, 20, 30]]]


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_exif_rotation_is_undone(tmp_path, suffix):
    image = Image.fromarray(np.repeat(RAMP[:8, :, None], 3, 2))  # 16 wide, 8 high
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    found = saved(tmp_path / f"a.{suffix}", image, exif=exif)
    assert found.shape[:2] == (16, 8)
    np.testing.assert_allclose(found, np.rot90(np.asarray(image), -1), atol=12 if suffix != "png" else 0)


def test_rotated_images_in_a_data_set_have_their_upright_shape(folder, data_dir):
    for file in folder.rglob("*.*"):
        file.unlink()
    exif = Image.Exif()
    exif[0x0112] = 6
    for i in range(24):
        pixels = np.full((8, SIDE, 3), i * 10, np.uint8)
        Image.fromarray(pixels).save(folder / ("cat" if i % 2 else "dog") / f"{i}.jpg", exif=exif)
    dataset = load(folder, data_dir)
    assert dataset.image_shape == (SIDE, 8, 3) == dataset.arrays("train")["image"].shape[1:]


def test_kinds_are_mixed_and_none_is_dropped(folder, data_dir):
    Image.fromarray(COLOUR).save(folder / "cat" / "w.webp", lossless=True)
    Image.fromarray(COLOUR).save(folder / "cat" / "t.TIFF")
    Image.fromarray(COLOUR[:8]).resize((40, 30)).save(folder / "dog" / "large.png")
    (folder / "cat" / ".DS_Store").write_bytes(b"x")
    (folder / "dog" / "Thumbs.db").write_bytes(b"x")
    dataset = load(folder, data_dir)
    assert sum(dataset.sizes.values()) == 27 and dataset.image_shape is None
    with pytest.raises(UserError, match=r"vary in size; give image_size"):
        dataset.batches("train", 4)
    shapes = {split: dataset.arrays(split, image_size=(20, 10), channels=1)["image"].shape for split in dataset.splits}
    assert shapes == {split: (n, 20, 10, 1) for split, n in dataset.sizes.items()}
    assert {example["image"].shape[-1] for example in dataset.train} == {3}


def test_grey_sets_stay_grey(tmp_path, data_dir):
    for i in range(20):
        (tmp_path / f"c{i % 2}").mkdir(exist_ok=True)
        Image.fromarray((RAMP + i).astype(np.uint8)).save(tmp_path / f"c{i % 2}" / f"{i}.png")
    dataset = load(tmp_path, data_dir)
    assert dataset.image_shape == (SIDE, SIDE, 1)
    colour = dataset.arrays("train", channels=3)["image"]
    assert colour.shape[-1] == 3
    np.testing.assert_array_equal(colour[..., :1], dataset.arrays("train")["image"])
    again = dataset.arrays("train", channels=1)["image"]
    np.testing.assert_array_equal(again, dataset.arrays("train")["image"])


def test_resizing_agrees_with_pillow_and_keeps_one_colour(folder, data_dir):
    dataset = load(folder, data_dir)
    small = dataset.arrays("train", image_size=(5, 7))["image"]
    for image, found in zip(dataset.arrays("train")["image"], small):
        expected = Image.fromarray(image).resize((7, 5), Image.Resampling.BILINEAR)
        np.testing.assert_allclose(found.astype(int), np.asarray(expected), atol=2)
    assert (
        dataset.arrays("train", image_size=(SIDE, SIDE))["image"].tobytes()
        == dataset.arrays("train")["image"].tobytes()
    )


def test_held_in_memory_is_the_same(folder, data_dir):
    dataset = load(folder, data_dir)
    options = {"image_size": (9, 9), "channels": 1, "shuffle_seed": 4, "skip": 1}
    ones, others = (list(dataset.batches("train", 4, cache=cache, **options)) for cache in (False, True))
    for one, other in zip(ones, others, strict=True):
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])


def test_split_folders(folder, data_dir, tmp_path_factory):
    root = tmp_path_factory.mktemp("splits")
    for split, rows in (("train", range(8)), ("val", range(8, 10)), ("test", range(10, 12))):
        for name in ("cat", "dog"):
            (root / split / name).mkdir(parents=True)
            for i in rows:
                file = next((folder / name).glob(f"{i:02}.*"))
                shutil.copy(file, root / split / name)
    dataset = load(root, data_dir)
    assert dataset.sizes == {"train": 16, "validation": 4, "test": 4} and dataset.class_names == ("cat", "dog")
    shutil.rmtree(root / "train" / "dog")
    with pytest.raises(UserError, match=r"val/dog/.*: class 'dog' is in validation"):
        load(root, data_dir)


def test_split_folders_of_an_archive(folder, data_dir):
    (folder / "seg_train").mkdir()
    (folder / "seg_train" / "seg_train").mkdir()
    for name in ("cat", "dog"):
        (folder / name).rename(folder / "seg_train" / "seg_train" / f"{name} ")
    (folder / "seg_train" / "seg_train" / "cat " / ".ipynb_checkpoints").mkdir()
    (folder / "seg_test").mkdir()
    for place in ("seg_test", "seg_train/seg_train/cat /.ipynb_checkpoints"):
        Image.fromarray(COLOUR).save(folder / place / "1.png")
    dataset = load(folder, data_dir)
    assert dataset.class_names == ("cat", "dog") and sum(dataset.sizes.values()) == 24
    assert dataset.notes == ("'seg_test' has no class folders: its 1 images are left out; test is cut from train",)


def test_copies_of_an_image_share_a_split(folder, data_dir):
    for file in list((folder / "cat").iterdir()):
        shutil.copy(file, folder / "cat" / f"copy-{file.name}")
    dataset = load(folder, data_dir)
    splits_of = {}
    for split in dataset.splits:
        for path in dataset.splits[split].files.paths.numpy()[dataset.indices(split)]:
            splits_of.setdefault(path.decode().replace("copy-", ""), set()).add(split)
    assert {len(splits) for splits in splits_of.values()} == {1}


def other_pixels(path):
    """Write another image of the same size and time over one, as an archive with fixed dates does."""
    before, stat = path.read_bytes(), path.stat()
    pixels = np.asarray(Image.open(path))
    Image.fromarray(pixels[::-1].copy()).save(path, compress_level=0)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.read_bytes() != before and path.stat().st_size == len(before)
    return before


@pytest.fixture(params=["png", "bmp"])
def bitmaps(tmp_path, request):
    """Class folders of files without compression; TensorFlow decodes the first kind, Pillow the second."""
    for number in range(12):
        file = tmp_path / "bitmaps" / "ab"[number % 2] / f"{number}.{request.param}"
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((8, 8, 3), number * 20, np.uint8)
        pixels[0] = 255 - pixels[0]
        Image.fromarray(pixels).save(file, compress_level=0)
    return tmp_path / "bitmaps"


def test_other_pixels_of_the_same_size_and_time_are_another_data_set(bitmaps, tmp_path):
    first = load(bitmaps, tmp_path)
    other_pixels(next((bitmaps / "a").iterdir()))
    assert load(bitmaps, tmp_path).fingerprint != first.fingerprint


def test_what_is_made_of_images_replaced_after_loading_is_never_kept_as_made_of_the_first(bitmaps, tmp_path):
    import keras

    image = keras.Input((8, 8, 3), name="image")
    phi = keras.Model(image, keras.layers.Flatten()(keras.layers.Rescaling(1.0)(image)))
    data = load(bitmaps, tmp_path)
    file = Path(data.splits["train"].files.paths[int(data.indices("train")[0])].numpy().decode())
    before = other_pixels(file)
    with pytest.raises(UserError, match=rf"{file.name}: was changed after the data was loaded; run the same command"):
        extract(phi, data, folder=tmp_path / "features", shard_rows=2)
    file.write_bytes(before)
    found = extract(phi, data, folder=tmp_path / "features", shard_rows=2)
    np.testing.assert_array_equal(found, data.arrays("train")["image"].reshape(len(found), -1).astype(np.float32))


def test_inspecting_again_checks_no_header_and_notices_a_change(folder, data_dir, tmp_path_factory, monkeypatch):
    own = tmp_path_factory.mktemp("cache")
    first = load(folder, own).fingerprint
    with monkeypatch.context() as patch:
        patch.setattr(image_files, "check_image", None)
        assert load(folder, own).fingerprint == first
    moved = tmp_path_factory.mktemp("moved") / "x"
    shutil.copytree(folder, moved)
    assert load(moved, own).fingerprint == first, "the path of the folder is not content"
    cache = next(own.rglob("inspected/*.json"))
    cache.write_text(cache.read_text().replace(" 16,", " 17,", 1))  # one bit of a height
    assert load(folder, own).image_shape == load(folder, data_dir).image_shape
    cache.write_text("{")
    assert load(folder, own).fingerprint == first, "a damaged cache is not needed"
    Image.fromarray(COLOUR).save(folder / "cat" / "00.jpg")
    assert load(folder, own).fingerprint != first


def zero(path):
    path.write_bytes(b"")


def noise(path):
    path.write_bytes(b"not a picture at all")


def cut_jpeg(path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path, "JPEG")
    path.write_bytes(path.read_bytes()[:-500])


def cut_png(path):
    Image.fromarray(COLOUR).save(path, "PNG")
    path.write_bytes(path.read_bytes()[:-40])


def flipped_png(path):
    Image.fromarray(COLOUR).save(path, "PNG")
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF
    path.write_bytes(data)


def animated(path):
    frames = [Image.fromarray(COLOUR), Image.fromarray(255 - COLOUR)]
    frames[0].save(path, "GIF", save_all=True, append_images=frames[1:])


def bomb(path):
    """A PNG that claims 40000 x 40000 pixels, in a few hundred bytes."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 40000, 40000, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"x") + chunk(b"IEND", b""))


def floats(path):
    Image.fromarray(RAMP.astype(np.float32)).save(path, "TIFF")


REFUSED = [
    (zero, "png", "zero bytes; remove it"),
    (noise, "jpg", "not an image, or corrupt; remove it"),
    (cut_jpeg, "jpg", "truncated"),
    (cut_png, "png", "corrupt"),
    (flipped_png, "png", "corrupt"),
    (animated, "gif", "2 frames; save the frame you mean"),
    (bomb, "png", "1,600,000,000.*scale it down"),
    (floats, "tiff", "no known range"),
]


@pytest.mark.parametrize("make, suffix, message", REFUSED, ids=lambda value: getattr(value, "__name__", None))
def test_a_bad_image_is_named_when_the_folder_is_loaded(folder, data_dir, make, suffix, message):
    make(folder / "dog" / f"odd.{suffix}")
    with pytest.raises(UserError, match=rf"dog/odd.{suffix}: .*{message}"):
        load(folder, data_dir)


@pytest.mark.parametrize("make, suffix, message", REFUSED, ids=lambda value: getattr(value, "__name__", None))
def test_a_bad_image_in_a_csv_is_named_with_its_row(tmp_path, data_dir, make, suffix, message):
    rows = []
    for i in range(6):
        Image.fromarray((COLOUR // (i + 1)).astype(np.uint8)).save(tmp_path / f"{i}.png")
        rows.append(f"{i}.png,{i % 2}\n")
    make(tmp_path / f"odd.{suffix}")
    (tmp_path / "t.csv").write_text("image,label\n" + "".join(rows) + f"odd.{suffix},1\n", encoding="utf-8")
    with pytest.raises(UserError, match=rf"t.csv row 8: image 'odd.{suffix}': .*{message}"):
        tfxfer.load(f"csv:{tmp_path / 't.csv'}", data_dir=data_dir)


def test_a_missing_image_is_named(tmp_path, data_dir):
    (tmp_path / "t.csv").write_text("image,label\nnone.png,1\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"t.csv row 2: image 'none.png': is not in .*, nor in a folder in it"):
        tfxfer.load(f"csv:{tmp_path / 't.csv'}", data_dir=data_dir)
    with pytest.raises(UserError, match=r"none.png: cannot be read"):
        read_image(tmp_path / "none.png")


@pytest.mark.parametrize(
    "name, message",
    [
        ("pipe.png", "is a pipe or socket, not a file; copy"),
        ("/dev/zero", "is a device, not a file; copy"),
        ("/proc/self/status", "is made by the kernel while it is read; copy"),
        ("cat", "is a folder, not a file"),
        ("huge.png", "2.0 GiB; save it smaller"),
        ("x" * 300, "cannot be read .File name too long"),
    ],
)
def test_only_regular_files_are_read(folder, data_dir, name, message):
    os.mkfifo(folder / "pipe.png")
    with (folder / "huge.png").open("wb") as file:
        file.truncate(2**31)
    (folder / "t.csv").write_text(f"image,label\ncat/00.jpg,a\n{name},b\n", encoding="utf-8")
    with pytest.raises(UserError, match=rf"t.csv row 3: image '{name}': {message}"):
        tfxfer.load(f"csv:{folder / 't.csv'}", data_dir=data_dir)
    with pytest.raises(UserError, match=message):
        read_image(folder / name)
    (folder / "pipe.png").rename(folder / "cat" / "pipe.png")
    with pytest.raises(UserError, match=r"cat/pipe.png: is a pipe or socket"):
        load(folder, data_dir)


def test_names_that_are_not_utf8_are_refused(folder, data_dir):
    odd = folder / os.fsdecode(b"d\xe9g")
    (folder / "dog").rename(odd)
    with pytest.raises(UserError, match=r"d.xe9g/00.jpg: its path is not UTF-8; rename it"):
        load(folder, data_dir)
    with pytest.raises(UserError, match=r"d.xe9g/00.jpg: its path is not UTF-8; rename it"):
        read_image(odd / "00.jpg")


def test_other_files_are_refused_by_name(folder, data_dir):
    (folder / "cat" / "notes.txt").write_text("x")
    (folder / "dog" / "photo.heic").write_bytes(b"x")
    with pytest.warns(UserWarning, match=r"2 files are refused.*cat/notes.txt, dog/photo.heic"):
        dataset = load(folder, data_dir)
    assert dataset.notes == ("2 files that are not images were left out",)


def test_folders_without_images(folder, data_dir):
    (folder / "empty").mkdir()
    with pytest.raises(UserError, match="empty: there is no image"):
        load(folder, data_dir)
    for name in ("empty", "dog"):
        shutil.rmtree(folder / name)
    with pytest.raises(UserError, match="every example is of class 'cat'"):
        load(folder, data_dir)


def break_inside(path):
    """Damage the coded pixels of a JPEG and keep its ends."""
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(path)
    data = path.read_bytes()
    start = data.index(b"\xff\xda")
    path.write_bytes(data[:start] + b"\xff\xd9")


def test_damage_found_while_decoding_names_the_file(folder, data_dir):
    break_inside(folder / "dog" / "zz.jpg")
    dataset = load(folder, data_dir)
    with pytest.raises(UserError, match=r"dog/zz.jpg: cannot be decoded.*remove it"):
        for split in dataset.splits:
            dataset.arrays(split)
    with pytest.raises(UserError, match=r"zz.jpg: cannot be decoded"):
        read_image(folder / "dog" / "zz.jpg")


def test_damage_found_by_pillow_names_the_file(folder, data_dir):
    path = folder / "dog" / "zz.webp"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"zz.webp"):
        dataset = load(folder, data_dir)
        for split in dataset.splits:
            dataset.arrays(split, image_size=(8, 8))


def test_a_file_removed_after_loading_is_named(folder, data_dir):
    dataset = load(folder, data_dir)
    for file in folder.rglob("*.jpg"):
        file.unlink()
    with pytest.raises(UserError, match=r"\.jpg: was removed after the data was loaded"), readable_errors(dataset):
        list(dataset.batches("train", 4))


def test_other_errors_pass_unchanged(folder, data_dir):
    import tensorflow as tf

    with pytest.raises(tf.errors.InvalidArgumentError), readable_errors(load(folder, data_dir)):
        tf.constant([1.0]) @ tf.constant([2.0])
