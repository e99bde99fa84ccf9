"""A small file of every form in docs/formats.md, by the name that the document gives it."""

import json
from pathlib import Path

from PIL import Image

COUNT = 20
NAMES = [f"{i:02}.png" for i in range(COUNT)]
TEXTS = [f"phrase number {i}" for i in range(COUNT)]
LABELS = ["ab"[i % 2] for i in range(COUNT)]
SPLITS = ["train"] * 14 + ["val"] * 3 + ["test"] * 3


def table(mark, header, *columns, first=""):
    return first + "\n".join(mark.join(row) for row in [header, *zip(*columns)]) + "\n"


def questions(**more):
    rows = [{"image": n, "question": f"is it {i}?", "answer": "yes no".split()[i % 2]} for i, n in enumerate(NAMES)]
    return [row | more for row in rows]


def karpathy(names, **more):
    rows = zip(names, TEXTS, SPLITS)
    return {"images": [{"filename": n, "sentences": [{"raw": t}], "split": s, **more} for n, t, s in rows]}


def vqa2(path):
    asked = [{"question_id": i, "image_id": i, "question": row["question"]} for i, row in enumerate(questions())]
    given = [{"question_id": i, "answers": [{"answer": row["answer"]}] * 10} for i, row in enumerate(questions())]
    for i, name in enumerate(NAMES):
        (path.parent / name).rename(path.parent / f"COCO_train2014_{i:012}.png")
    beside = path.parent / "v2_mscoco_train2014_annotations.json"
    beside.write_text(json.dumps({"annotations": given}))
    return {"questions": asked, "data_subtype": "train2014"}


def rows_of_parquet():
    import pyarrow

    return pyarrow.Table.from_pylist([{"text": t, "label": c} for t, c in zip(TEXTS, LABELS)])


def parquet(path):
    import pyarrow.parquet

    pyarrow.parquet.write_table(rows_of_parquet(), path)


def saved(path):
    import pyarrow

    path.mkdir()
    with pyarrow.ipc.new_stream(str(path / "data-00000-of-00001.arrow"), rows_of_parquet().schema) as out:
        out.write_table(rows_of_parquet())


def photos(path):
    for name, label in zip(NAMES, LABELS):
        (path / label).mkdir(parents=True, exist_ok=True)
        (path.parent / name).rename(path / label / name)


CAPTIONS = (("image", "caption"), NAMES, TEXTS)
SAMPLES = {  # name -> text, JSON, or what writes it
    "reviews.csv": table(",", ("text", "label"), TEXTS, LABELS),
    "excel.csv": table(";", ("text", "label"), TEXTS, LABELS, first="sep=;\n"),
    "reviews.tsv": table("\t", ("text", "label"), TEXTS, LABELS),
    "spam.csv": table(",", ("v1", "v2", "", ""), LABELS, TEXTS, [""] * COUNT, [""] * COUNT),
    "reviews.jsonl": "\n".join(json.dumps({"text": t, "label": c}) for t, c in zip(TEXTS, LABELS)),
    "metadata.jsonl": "\n".join(json.dumps({"file_name": n, "text": t}) for n, t in zip(NAMES, TEXTS)),
    "flickr30k_train.json": [{"image": f"flickr/{n}", "caption": [t, f"more {t}"]} for n, t in zip(NAMES, TEXTS)],
    "captions.csv": table(",", *CAPTIONS),
    "five.csv": table(",", ("image", *(f"caption_{i}" for i in range(1, 6))), NAMES, *[TEXTS] * 5),
    "languages.csv": table(",", ("image", "en", "fr"), NAMES, TEXTS, TEXTS),
    "Flickr8k.token.txt": "\n".join(f"{n}#{i}\t{t}" for n, t in zip(NAMES, TEXTS) for i in range(2)),
    "results.csv": table("| ", ("image_name", "comment_number", "comment"), NAMES, ["0"] * COUNT, TEXTS),
    "dataset_flickr8k.json": karpathy(NAMES),
    "dataset_coco.json": karpathy(NAMES, filepath="val2014"),
    "captions_val2017.json": {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(NAMES)],
        "annotations": [{"image_id": i, "caption": text} for i, text in enumerate(TEXTS)],
    },
    "v2_OpenEnded_mscoco_train2014_questions.json": vqa2,
    "CLEVR_train_questions.json": {
        "questions": [{"image_filename": row.pop("image"), "split": "train", **row} for row in questions()]
    },
    "train_balanced_questions.json": {
        str(i): {"imageId": row.pop("image")[:-4], **row} for i, row in enumerate(questions())
    },
    "questions.csv": table(",", ("image", "question", "answer"), *zip(*(row.values() for row in questions()))),
    "answers.json": [row | {"answer": [row["answer"]] * 6 + ["maybe"] * 4} for row in questions()],
    "rows.parquet": parquet,
    "saved": saved,
    "photos": photos,
    "texts.txt": "\n".join(TEXTS),
}


def write_sample(path: Path) -> None:
    """Write the sample of a name, and the images that it names beside it."""
    for i, name in enumerate(NAMES):
        Image.new("RGB", (8, 8), (12 * i, 0, 0)).save(path.parent / name)
    content = SAMPLES[path.name]
    if callable(content):
        content = content(path)
    if content is not None:
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
