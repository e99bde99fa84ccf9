"""Images with several captions, and files of texts: what is read, and the messages about what cannot be read."""

import json

import pytest
from PIL import Image

import tfxfer
from tfxfer.errors import UserError

pytestmark = pytest.mark.tensorflow

SPLITS = ("train", "validation", "test")
CAPTIONS = {  # name -> captions
    f"{i:02}.png": [f"picture number {i}", f"a square of shade {i}", f"the {i}. of all"] for i in range(20)
}


@pytest.fixture
def images(tmp_path):
    """Twenty images of 6 x 6 pixels in a folder beside the files."""
    (tmp_path / "pictures").mkdir()
    for i, name in enumerate(CAPTIONS):
        Image.new("L", (6, 6), 12 * i).save(tmp_path / "pictures" / name)
    return tmp_path


@pytest.fixture
def load(images, data_dir):
    def load(content, name="c.csv", kind="captions", **options):
        path = images / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return tfxfer.load(f"{kind}:{path}", data_dir=data_dir, **options)

    return load


def csv_of(captions, header="image,caption"):
    """Write the first caption of all, then the second of all: rows of an image need not be neighbours."""
    rows = [f"{name},{captions[name][k]}" for k in range(5) for name in captions if k < len(captions[name])]
    return "\n".join([header, *rows]) + "\n"


def coco_of(captions, **more):
    entries = [{"id": i, "file_name": name} for i, name in enumerate(captions)]
    annotations = [{"image_id": i, "caption": c} for i, name in enumerate(captions) for c in captions[name]]
    return {"images": entries, "annotations": annotations} | more


def everything(dataset):
    """Return the captions of all examples, sorted."""
    return sorted(captions for split in SPLITS for captions in dataset.captions(split))


def test_an_image_is_one_example_with_all_its_captions(load):
    dataset = load(csv_of(CAPTIONS))
    assert everything(dataset) == sorted(CAPTIONS.values())
    assert sum(dataset.sizes.values()) == len(CAPTIONS) and dataset.notes == ()
    for split in SPLITS:
        assert dataset.texts(split, "caption") == [captions[0] for captions in dataset.captions(split)]
        for example, image in zip(dataset.captions(split), dataset.arrays(split)["image"]):
            assert image.flat[0] == 12 * int(example[0].split()[-1])
    assert "60, 3 an image" in dataset.describe()


def test_json_lines_lists_and_coco_give_the_same(load):
    plain = load(csv_of(CAPTIONS))
    rows = [{"image": name, "caption": c} for name in CAPTIONS for c in CAPTIONS[name]]
    lists = [{"image": name, "captions": CAPTIONS[name]} for name in CAPTIONS]
    others = [load("\n".join(map(json.dumps, some)), "c.jsonl") for some in (rows, lists)]
    others.append(load(json.dumps(coco_of(CAPTIONS)), "c.json", "coco"))
    for other in others:
        assert [other.captions(split) for split in SPLITS] == [plain.captions(split) for split in SPLITS]
        assert other.fingerprint == plain.fingerprint


def test_captions_stay_with_their_images_in_subsets(load):
    dataset = load(csv_of(CAPTIONS))
    cut = dataset.with_at_most(train=5)
    assert len(cut.captions("train")) == 5
    assert cut.captions("train") == [CAPTIONS[f"{int(c.split()[-1]):02}.png"] for c in cut.texts("train", "caption")]
    assert cut.captions("test") == dataset.captions("test")


def test_every_caption_is_part_of_the_fingerprint(load):
    other = CAPTIONS | {"07.png": [*CAPTIONS["07.png"][:2], "another text"]}
    assert load(csv_of(CAPTIONS)).fingerprint != load(csv_of(other)).fingerprint


def test_other_data_sets_with_captions_have_one_each(samples, data_dir):
    dataset = tfxfer.load(f"csv:{samples / 'shapes.csv'}", data_dir=data_dir)
    assert dataset.captions("test") == [[caption] for caption in dataset.texts("test", "caption")]
    with pytest.raises(UserError, match="has no captions; name a column"):
        tfxfer.load(f"csv:{samples / 'reviews.csv'}", data_dir=data_dir).captions("test")


def test_column_names_are_found_or_given(load):
    assert everything(load(csv_of(CAPTIONS, "image_name,comment"))) == sorted(CAPTIONS.values())
    odd = csv_of(CAPTIONS, "where,what")
    assert everything(load(odd, image="where", caption="what")) == sorted(CAPTIONS.values())
    with pytest.raises(UserError, match=r"'where', 'what' is called like one of images; name it with --target-image"):
        load(odd)
    with pytest.raises(UserError, match=r"no column 'whta' \(caption\); did you mean 'what'"):
        load(odd, image="where", caption="whta")


def test_labels_and_splits_of_an_image(load):
    rows = [
        f"{name},{c},{i % 2},{'test' if i < 6 else 'train'}"
        for i, n in enumerate(CAPTIONS)
        for name, c in [(n, CAPTIONS[n][0])]
    ]
    content = "image,caption,kind,split\n" + "\n".join(rows)
    dataset = load(content, label="kind")
    assert dataset.class_names == ("0", "1") and dataset.sizes["test"] == 6 and dataset.sizes["validation"] > 0
    assert not load(content).class_names
    with pytest.raises(UserError, match=r"c.csv row 22: 'kind' is '1', but '0' in c.csv row 2, which has the same"):
        load(content + "\n00.png,more,1,test", label="kind")
    with pytest.raises(UserError, match=r"c.csv row 22: 'split' is 'train', but 'test' in c.csv row 2"):
        load(content + "\n00.png,more,0,train")
    with pytest.raises(UserError, match=r"c.csv row 22: no split is called 'trian'; did you mean 'train'"):
        load(content + "\n../pictures/00.png,more,0,trian")


def test_images_are_found_near_the_file_or_in_image_dir(load, images, data_dir):
    inside = load(
        json.dumps(coco_of(CAPTIONS)), "annotations/c.json", "coco"
    )  # beside the pictures' folder, as COCO has it
    assert everything(inside) == sorted(CAPTIONS.values())
    (images / ".far" / "off" / "away").mkdir(parents=True)  # hidden folders are not searched
    (images / "pictures").rename(images / ".far" / "off" / "away" / "pictures")
    with pytest.raises(UserError, match=r"c.csv row 2: image '00.png' and all 20 others|image_dir=FOLDER"):
        load(csv_of(CAPTIONS))
    assert everything(load(csv_of(CAPTIONS), image_dir=".far/off/away/pictures")) == sorted(CAPTIONS.values())
    with pytest.raises(UserError, match="image_dir='nowhere': is no folder"):
        load(csv_of(CAPTIONS), image_dir="nowhere")
    with pytest.raises(UserError, match="no file names its images"):
        tfxfer.load("glyphs", data_dir=data_dir, image_dir="far")


def test_what_is_left_out_is_counted_with_its_place(load):
    extra = "03.png,  \n03.png,picture number 3\n04.png,👩‍🚀 Ça va? 你好\n"
    odd = CAPTIONS | {"05.png": ["alone"], "06.png": [""]}
    dataset = load(csv_of(odd) + extra)
    assert dataset.notes == (
        "2 empty captions are left out; write them or remove their rows (e.g. c.csv row 58)",
        "1 captions that repeat one of the same image are left out (e.g. c.csv row 59)",
        "1 images without a caption are left out (e.g. c.csv row 8: '06.png')",
        "1 of 19 images have one caption only",
    )
    wanted = {name: captions for name, captions in odd.items() if name != "06.png"}
    wanted["04.png"] = [*wanted["04.png"], "👩‍🚀 Ça va? 你好"]
    assert everything(dataset) == sorted(wanted.values())


def test_coco_images_without_captions_are_counted(load):
    content = coco_of(CAPTIONS)
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] not in (4, 9)]
    dataset = load(json.dumps(content), "c.json", "coco")
    assert dataset.notes == ("2 images without a caption are left out (e.g. c.json images[4]: '04.png')",)
    assert sum(dataset.sizes.values()) == 18


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", r"is empty"),
        (b"image,caption\n", r"not a single row"),
        (b"image,caption\n00.png,\n", r"no image in it has a caption"),
        (b"image,caption\n00.png,one\n,two\n", r"c.csv row 3: 'image' is empty; name the image"),
        (b"image,caption\n00.png,one\n01.png,two,three\n", r"c.csv row 3: 3 values for 2 columns; put quotes"),
        (b"image,caption\n00.png,one\n01.png,caf\xe9\n", r"c.csv row 3: byte 11 of the line \(0xe9\) is not UTF-8"),
        (b'image,caption\n00.png,one\n01.png,"two\n', r"c.csv row 3: not CSV"),
        (b"image,caption\n00.png,one\nzz.png,two\n", r"c.csv row 3: image 'zz.png': is not in .*put it there"),
        (b"image,caption\nbad.png,one\n00.png,two\n", r"c.csv row 2: image 'bad.png': not an image, or corrupt"),
        (b'{"image": "00.png", "caption": "a"}\n{"image": "01.png"}\n', r"c.csv row 2: 'caption' is missing"),
        (b'{"image": "00.png", "caption": "a"}\n{"image": \n', r"c.csv row 2: not JSON at column"),
        (b'{"image": 7, "caption": "a"}\n', r"c.csv row 1: 'image' is the number 7; write the path"),
        (b'{"image": "00.png", "caption": ["a", 7]}\n', r"c.csv row 1: 'caption'\[1\] is the number 7; write each"),
        (b'{"image": "a\\u0000", "caption": "a"}\n', r"c.csv row 1: 'image' holds a NUL character"),
        (
            b"image,caption\n" + b"x" * 300 + b",a\n00.png,b\n",
            r"c.csv row 2: image 'x+': cannot be read .File name too",
        ),
        (b'{"images": [], "annotations": []}', r"needs two lists, 'images' and 'annotations'"),
        (b"image,caption\n00.png,a\n01.png,b\n", r"2 distinct examples are too few to cut"),
    ],
)
def test_what_is_wrong_with_a_captions_file_is_named(load, images, content, message):
    (images / "pictures" / "bad.png").write_bytes(b"this is no picture")
    with pytest.raises(UserError, match=message):
        load(content)


IMAGE, ANNOTATION = {"id": 1, "file_name": "00.png"}, {"image_id": 1, "caption": "one"}


@pytest.mark.parametrize(
    "content, message",
    [
        (b'{"images": [', r"c.json row 1: not JSON at column 13.*cut off"),
        (b'{"images": "caf\xe9"}', r"c.json row 1: byte 16 of the line \(0xe9\) is not UTF-8"),
        ([1], r"c.json: needs two lists, 'images' and 'annotations'.*it is no object"),
        ({"pictures": [IMAGE]}, r"needs two lists.*it is an object with 'pictures'"),
        ({"images": [IMAGE], "annotations": []}, r"needs two lists"),
        ({"images": [IMAGE, 3], "annotations": [ANNOTATION]}, r"c.json images\[1\]: is no object"),
        ({"images": [{"id": 1, "name": "a"}]}, r"images\[0\]: 'file_name' is missing; it has 'id', 'name'"),
        ({"images": [{"id": [1], "file_name": "a"}]}, r"images\[0\]: 'id' must be a string or"),
        ({"images": [IMAGE, IMAGE]}, r"images\[1\]: its id 1 is also that of c.json images\[0\]"),
        ({"images": [IMAGE], "annotations": [ANNOTATION, {"image_id": 7}]}, r"annotations\[1\].*the id 7"),
        ({"images": [IMAGE], "annotations": [{"image_id": 1, "bbox": [0, 0, 1, 1]}]}, r"has boxes and no caption"),
        ({"images": [IMAGE], "annotations": [{"image_id": 1, "caption": ["a"]}]}, r"'caption' must be a string, not"),
        ({"images": [IMAGE], "annotations": [{"image_id": 1, "caption": "\ud83d"}]}, r"half of an escaped character"),
        ({"images": [IMAGE | {"split": 3}]}, r"images\[0\]: 'split' must be a string, not 3"),
        ({"images": [IMAGE | {"split": s, "id": s} for s in ("train", "test")]}, r"\[1\]: 'split' is 'test', but 'tr"),
        ({"images": [{"id": 1, "file_name": "a\0.png"}]}, r"images\[0\]: 'file_name' holds a NUL character"),
        ({"images": [{"id": 1, "file_name": "\udce9.png"}]}, r"images\[0\]: 'file_name' holds half of an escaped"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_coco_file_is_named(load, content, message):
    with pytest.raises(UserError, match=message):
        load(content if isinstance(content, bytes) else json.dumps(content), "c.json", "coco")


def test_a_caption_that_looks_like_a_list_is_one_caption(load):
    rows = [{"image": name, "caption": f'["{name}", 1]'} for name in CAPTIONS]
    dataset = load("\n".join(map(json.dumps, rows)), "c.jsonl")
    assert everything(dataset) == sorted([row["caption"]] for row in rows)


def test_texts_one_a_line(load):
    lines = [f"line number {i}, größer 🙂" for i in range(30)]
    content = "\ufeff" + "\r\n".join(lines[:15]) + "\n\n  \n" + "\n".join(lines[15:]) + "\n"
    dataset = load(content, "t.txt", "text")
    assert sorted(text for split in SPLITS for text in dataset.texts(split)) == sorted(lines)
    assert dataset.notes == ("2 blank lines are left out",) and dataset.modality == "text"
    with pytest.raises(UserError, match=r"t.txt row 2: byte 1 of the line \(0xff\) is not UTF-8"):
        load(b"fine\n\xff\n", "t.txt", "text")
    with pytest.raises(UserError, match="there is no text in it"):
        load("\n \n", "t.txt", "text")
    with pytest.raises(UserError, match="a text file has no columns; leave out text='line'"):
        load(content, "t.txt", "text", text="line")


def test_real_photos(shared_data, data_dir):
    dataset = tfxfer.load(f"captions:{shared_data / 'flickr8k_800' / 'captions.csv'}", data_dir=data_dir)
    assert sum(dataset.sizes.values()) == 800
    assert {len(captions) for split in SPLITS for captions in dataset.captions(split)} <= {4, 5}
