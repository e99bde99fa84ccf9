"""The field's own files: each form is recognised, and gives what a plain file of the same content gives."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tfxfer
from tfxfer.errors import UserError

pytestmark = pytest.mark.tensorflow

SPLITS = ("train", "validation", "test")
COUNT = 20
NAMES = [f"{i:02}.jpg" for i in range(COUNT)]
CAPTIONS = {name: [f"picture {i} .", f"a shade of {i}, or so ."] for i, name in enumerate(NAMES)}
KARPATHY = ["train"] * 12 + ["restval"] * 3 + ["val"] * 2 + ["test"] * 3
ANSWERS = [["yes"] * 6 + ["no"] * 4, [{"answer": "2", "answer_id": i} for i in range(10)]]


@pytest.fixture
def folder(tmp_path):
    """Twenty JPEG images in a folder beside the files."""
    (tmp_path / "images").mkdir()
    for i, name in enumerate(NAMES):
        Image.new("RGB", (8, 6), (12 * i, 0, 0)).save(tmp_path / "images" / name)
    return tmp_path


@pytest.fixture
def load(folder, data_dir):
    def load(kind, name, content, **options):
        path = folder / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
        return tfxfer.load(f"{kind}:{path}", data_dir=data_dir, **options)

    return load


def plain_captions(splits=None):
    rows = ["image,caption" + (",split" if splits else "")]
    for i, name in enumerate(NAMES):
        rows += [f'{name},"{caption}"' + (f",{splits[i]}" if splits else "") for caption in CAPTIONS[name]]
    return "\n".join(rows)


def karpathy(splits=KARPATHY, **more):
    images = [
        {"filename": name, "split": splits[i], "sentences": [{"raw": c, "tokens": []} for c in CAPTIONS[name]]}
        for i, name in enumerate(NAMES)
    ]  # fmt: skip
    return {"images": [image | more for image in images], "dataset": "flickr8k"}


def test_karpathys_json(load, folder):
    plain = load("captions", "plain.csv", plain_captions([{"restval": "train"}.get(s, s) for s in KARPATHY]))
    for kind in ("captions", "coco"):
        found = load(kind, "dataset_flickr8k.json", karpathy())
        assert found.sizes == {"train": 15, "validation": 2, "test": 3}
        assert found.fingerprint == plain.fingerprint and found.notes == ("read as: Karpathy's JSON",)
    (folder / "val2014").mkdir()
    for name in NAMES:
        (folder / "images" / name).rename(folder / "val2014" / name)
    assert load("captions", "dataset_coco.json", karpathy(filepath="val2014")).sizes == found.sizes


def test_flickr8ks_tokens_and_flickr30ks_results(load):
    plain = load("captions", "plain.csv", plain_captions())
    lines = [f"{name}#{k}\t{caption}" for name in NAMES for k, caption in enumerate(CAPTIONS[name])]
    token = load("captions", "Flickr8k.token.txt", "\n".join(lines))
    assert token.fingerprint == plain.fingerprint and token.notes == ("read as: Flickr8k's token file",)
    rows = [f"{name}| {k}| {caption}" for name in NAMES for k, caption in enumerate(CAPTIONS[name])]
    rows[5:5] = ["19.jpg| 4   A dog runs across the grass .", '19.jpg| 2| "a" man says "']
    found = load("captions", "results.csv", "\n".join(["image_name| comment_number| comment", *rows]))
    assert found.notes[0].startswith("1 empty captions are left out") and "results.csv row 7" in found.notes[0]
    captions = [c for split in SPLITS for c in found.captions(split)]
    assert ['"a" man says "', *CAPTIONS["19.jpg"]] in captions and sum(map(len, captions)) == 2 * COUNT + 1


def test_coco_with_images_that_are_absent(load, folder):
    images = [{"id": i, "file_name": name} for i, name in enumerate([*NAMES, *(f"absent{i}.jpg" for i in range(7))])]
    notes = [{"image_id": i, "caption": f"picture {i} ."} for i in range(len(images))]
    whole = {"info": {}, "images": images, "annotations": notes}
    with pytest.raises(
        UserError, match=r"c.json images\[20\]: image 'absent0.jpg': is not in .*images, nor"
    ) as refused:
        load("coco", "c.json", whole)
    message = str(refused.value)
    listed = Path(message.partition("all of them: ")[2].splitlines()[0]).read_text("utf-8")
    assert message.startswith("7 of 27 images cannot be used") and "--bad-items skip" in message
    assert listed.count("absent") == 7
    assert load("captions", "c.json", whole, bad_items="skip").notes[-1].startswith("7 of 27 images are left out")


def test_one_json_array(load):
    plain = load("captions", "plain.csv", plain_captions())
    albef = [{"image": f"/export/flickr/{name}", "caption": CAPTIONS[name], "image_id": name} for name in NAMES]
    blip = [{"image": name, "caption": caption} for name in NAMES for caption in CAPTIONS[name]]
    assert load("captions", "blip.json", blip).fingerprint == plain.fingerprint
    assert load("captions", "albef.json", json.dumps(albef, indent=1)).captions("test") == plain.captions("test")
    assert load("csv", "albef.json", albef).captions("test") == plain.captions("test")
    with pytest.raises(UserError, match=r"x.json \[1\]: a int; each element must be an object"):
        load("captions", "x.json", [blip[0], 3])
    talk = [{"id": "1", "image": "a.jpg", "conversations": [{"from": "human", "value": "<image> What is it?"}]}]
    for kind in ("captions", "vqa", "jsonl"):
        with pytest.raises(UserError, match="llava.json.*LLaVA's conversations.*write a row for each image"):
            load(kind, "llava.json", talk)


def test_metadata_with_file_name_and_several_columns_of_captions(load):
    rows = [{"file_name": f"images/{name}", "text": CAPTIONS[name][0], "label": i % 2} for i, name in enumerate(NAMES)]
    content = "\n".join(map(json.dumps, rows))
    assert set(load("jsonl", "metadata.jsonl", content).keys) == {"image", "text", "label"}
    assert load("captions", "metadata.jsonl", content).texts("test", "caption")
    head, plain = "file_name,caption_1,caption_2", load("captions", "plain.csv", plain_captions())
    table = "\n".join([head, *(f'{name},"{a}","{b}"' for name, (a, b) in CAPTIONS.items())])
    assert load("captions", "several.csv", table).fingerprint == plain.fingerprint
    odd = table.replace(head, "file_name,en,fr")
    for kind in ("captions", "csv"):
        found = load(kind, "several.csv", odd, caption="en,fr")
        assert [found.captions(split) for split in SPLITS] == [plain.captions(split) for split in SPLITS]
    with pytest.raises(UserError, match=r"no column 'fx' \(caption\)"):
        load("captions", "several.csv", odd, caption="en,fx")


def questions(answers=True):
    rows = [{"image": name, "question": f"is it {i}?", "answer": ANSWERS[i % 2]} for i, name in enumerate(NAMES)]
    return rows if answers else [{**row, "answer": "yes 2".split()[i % 2]} for i, row in enumerate(rows)]


def test_vqas_two_files(load, folder, data_dir):
    asked = [{"image_id": i, "question": f"is it {i}?", "question_id": 7 * i} for i in range(COUNT)]
    given = [{"question_id": 7 * i, "image_id": i, "answers": ANSWERS[i % 2]} for i in range(COUNT)]
    for i, name in enumerate(NAMES):
        (folder / "images" / name).rename(folder / "images" / f"COCO_train2014_{i:012}.jpg")
    with pytest.raises(UserError, match="questions of VQA; the file of its annotations.*is not in"):
        load("vqa", "v2_OpenEnded_mscoco_train2014_questions.json", {"questions": asked, "data_subtype": "train2014"})
    (folder / "v2_mscoco_val2014_annotations.json").write_text(json.dumps({"annotations": given[:1]}))
    other = {"annotations": given[::-1], "data_subtype": "train2014"}
    found = load("vqa", "v2_mscoco_train2014_annotations.json", other)
    again = tfxfer.load(f"vqa:{folder / 'v2_OpenEnded_mscoco_train2014_questions.json'}", data_dir=data_dir)
    assert again.fingerprint == found.fingerprint and found.notes[0] == "read as: VQA's questions and annotations"
    for split in SPLITS:
        for question, answer, answers in zip(*(found.texts(split, key) for key in ("question", "answer", "answers"))):
            i = int(question.split()[-1][:-1])
            assert answer == "yes 2".split()[i % 2] and len(json.loads(answers)) == 10
    for i in range(COUNT):  # the images as COCO named them in 2017
        (folder / "images" / f"COCO_train2014_{i:012}.jpg").rename(folder / "images" / f"{i:012}.jpg")
    assert tfxfer.load(again.name, data_dir=data_dir).fingerprint == found.fingerprint


def test_clevr_gqa_and_answers_in_a_row(load):
    plain = load("jsonl", "plain.jsonl", "\n".join(map(json.dumps, questions(False))))
    clevr = [{"image_filename": row.pop("image"), "split": "train", **row} for row in questions(False)]
    found = load("vqa", "CLEVR_train_questions.json", {"info": {}, "questions": clevr})
    assert found.fingerprint == plain.fingerprint and found.notes == ("read as: CLEVR's questions",)
    gqa = {f"0{i}": {"imageId": row.pop("image")[:-4], **row} for i, row in enumerate(questions(False))}
    found = load("vqa", "train_balanced_questions.json", gqa)
    assert [found.texts(s, "answer") for s in SPLITS] == [plain.texts(s, "answer") for s in SPLITS]
    several = load("vqa", "blip_vqa.json", questions())
    assert [several.texts(s, "answer") for s in SPLITS] == [plain.texts(s, "answer") for s in SPLITS]
    with pytest.raises(UserError, match="none of the columns 'image', 'caption' is called like one of questions"):
        load("vqa", "captions.csv", plain_captions())


def test_parquet_and_arrow_folders(load, folder, data_dir):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    rows = []
    for i, name in enumerate(NAMES):
        data = (folder / "images" / name).read_bytes()
        rows.append({"image": {"bytes": data, "path": name}, "caption": CAPTIONS[name], "label": i % 2})
    features = {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}, "image": {"_type": "Image"}}
    kept = {"huggingface": json.dumps({"info": {"features": features}})}
    table = pa.Table.from_pylist(rows).replace_schema_metadata(kept)
    hub, disk = folder / "hub" / "data", folder / "disk"
    for split, part in (("train", table.slice(0, 14)), ("validation", table.slice(14, 3)), ("test", table.slice(17))):
        hub.mkdir(parents=True, exist_ok=True)
        (disk / split).mkdir(parents=True)
        pq.write_table(part, hub / f"{split}-00000-of-00001.parquet")
        with pa.ipc.new_stream(str(disk / split / "data-00000-of-00001.arrow"), part.schema) as out:
            out.write_table(part)
    for spec in (f"parquet:{hub.parent}", f"parquet:{disk}"):
        found = tfxfer.load(spec, data_dir=data_dir)
        assert found.sizes == {"train": 14, "validation": 3, "test": 3} and found.class_names == ("cat", "dog")
        assert found.captions("test") == list(CAPTIONS.values())[17:]
        shown = np.array([image.mean((0, 1))[0] for image in found.arrays("test")["image"]])
        assert np.abs(shown - 12 * np.arange(17, 20)).max() < 4
    assert tfxfer.load(f"captions:{disk}", data_dir=data_dir).captions("test") == found.captions("test")
    one = tfxfer.load(f"parquet:{hub / 'train-00000-of-00001.parquet'}", data_dir=data_dir)
    assert sum(one.sizes.values()) == 14
    (hub / "test-00000-of-00001.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(UserError, match="test-00000-of-00001.parquet: cannot be read"):
        tfxfer.load(f"parquet:{hub.parent}", data_dir=data_dir)
