"""Readers of people's files, fed by hypothesis: each ends well or with `UserError`, never with another exception."""

import json
import time

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from PIL import Image

from tfxfer.errors import UserError

LINES = st.lists(st.text(max_size=40), max_size=12)
NAMES = st.sampled_from(
    ["text", "label", "image", "split", "caption", "question", "answer", " text", "label ", "\ufeff"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


def tables(separator):
    """Tables that are nearly right: a header of known names, rows of any text, any end of line, bytes flipped."""
    cell = st.text(max_size=15) | st.sampled_from(["a", "b", "train", "test", '"', '""', "a.png"])
    rows = st.lists(st.lists(cell, max_size=5), max_size=30)
    return st.builds(
        lambda header, rows, end, noise: end.join(
            [separator.join(header), *(separator.join(row) for row in rows)]
        ).encode("utf-8", "surrogatepass") + noise,
        st.lists(NAMES, max_size=4), rows, st.sampled_from(["\n", "\r\n", "\r"]), st.binary(max_size=3),
    )  # fmt: skip


def nearly(content):
    """Return a strategy of a good file with up to four places of its bytes changed."""
    change = st.tuples(st.integers(0, len(content) - 1), st.integers(0, 6), st.binary(max_size=6) | ODD)

    def changed(changes):
        made = content
        for at, length, other in changes:
            made = made[:at] + other + made[at + length :]
        return made

    return st.lists(change, max_size=4).map(changed)


ODD = st.sampled_from(
    [b'"', b"\r", b"\n", b",", b"\t", b"\x00", b"\xff", b"{", b"]", b"null", b"1e999", b"\xef\xbb\xbf"]
)
ROWS = [(f"phrase {i} of {label}", label) for i in range(30) for label in ("a", "b")]
GOOD = {
    "csv": "\n".join(["text,label", *map(",".join, ROWS)]).encode(),
    "tsv": "\n".join(["text\tlabel", *map("\t".join, ROWS)]).encode(),
    "jsonl": "\n".join(json.dumps({"text": text, "label": label}) for text, label in ROWS).encode(),
    "text": "\n".join(text for text, _ in ROWS).encode(),
}
IMAGES = [f"{number}.png" for number in range(12)]  # written beside a COCO file
COCO = {
    "images": [{"id": number, "file_name": name} for number, name in enumerate(IMAGES)],
    "annotations": [
        {"id": 2 * number + again, "image_id": number, "caption": f"caption {again} of image {number}"}
        for number in range(len(IMAGES))
        for again in (0, 1)
    ],
}


def lines_of_text():
    return LINES.map(lambda lines: "\n".join(lines).encode("utf-8", "surrogatepass"))


def json_lines():
    return st.lists(JSON, max_size=20).map(
        lambda rows: "\n".join(json.dumps(row) for row in rows).encode("utf-8", "surrogatepass")
    )


def coco():
    """COCO captions that are nearly right: up to three values of a good file replaced or taken away."""
    places = [("images",), ("annotations",)]
    places += [("images", number, key) for number in range(len(IMAGES)) for key in ("id", "file_name", "split")]
    places += [("annotations", number, key) for number in range(2 * len(IMAGES)) for key in ("image_id", "caption")]
    value = JSON | st.sampled_from([*IMAGES, "train", "test", "val2014", "restval", 0, 3, "3", "", " ", "absent.png"])
    change = st.tuples(st.sampled_from(places), value | st.just(GONE))

    def changed(changes):
        made = json.loads(json.dumps(COCO))
        for (*path, last), other in changes:
            try:
                inner = made[path[0]][path[1]] if path else made
            except (KeyError, IndexError, TypeError):  # an earlier change replaced the list
                continue
            if not isinstance(inner, dict):
                continue
            if other is GONE:
                inner.pop(last, None)
            else:
                inner[last] = other
        return json.dumps(made).encode("utf-8", "surrogatepass")

    return st.lists(change, max_size=3).map(changed)


GONE = object()  # as a value: the key is taken away


def safetensors():
    tensor = st.fixed_dictionaries(
        {},
        optional={
            "dtype": st.sampled_from(["F32", "F16", "BF16", "I64", "U8", "X"]) | JSON,
            "shape": st.lists(st.integers(-2, 2**40), max_size=3) | JSON,
            "data_offsets": st.lists(st.integers(-8, 2**66), min_size=2, max_size=2) | JSON,
        },
    )
    header = st.dictionaries(st.text(max_size=8), tensor | JSON, max_size=4).map(lambda made: json.dumps(made).encode())
    return st.builds(
        lambda made, length, rest: (len(made) if length is None else length).to_bytes(8, "little") + made + rest,
        header, st.none() | st.integers(0, 2**63), st.binary(max_size=64),
    )  # fmt: skip


def loaded(spec):
    """Return a function that loads a file as a data set and goes through it."""

    def load(file):
        import tfxfer

        data = tfxfer.load(f"{spec}:{file}")
        for split in data.sizes:
            list(data.batches(split, 8))

    return load


def coco_captions(file):
    """Load a COCO file; its images stand beside it."""
    if not file.with_name(IMAGES[0]).exists():
        for number, name in enumerate(IMAGES):
            Image.new("RGB", (16, 16), (20 * number, 90, 200)).save(file.with_name(name))
    loaded("coco")(file)


def weights(file):
    from tfxfer.transfer.structure.checkpoints.safetensors_file import Safetensors

    Safetensors(file)


def config(file):
    from tfxfer import train

    train.work(["feature", "--config", str(file), "--num-beams"])  # the last word is unknown: nothing ever runs


READERS = {  # what is read -> (strategy of bytes, suffix, reader)
    "CSV tables": (tables(",") | nearly(GOOD["csv"]), ".csv", loaded("csv")),
    "TSV tables": (tables("\t") | nearly(GOOD["tsv"]), ".tsv", loaded("csv")),
    "JSON Lines": (json_lines() | nearly(GOOD["jsonl"]), ".jsonl", loaded("jsonl")),
    "COCO captions": (coco() | nearly(json.dumps(COCO).encode()), ".json", coco_captions),
    "lines of text": (
        LINES.map(lambda lines: "\n".join(lines).encode("utf-8", "surrogatepass")),
        ".txt",
        loaded("text"),
    ),
    "safetensors": (safetensors() | st.binary(max_size=80), ".safetensors", weights),
    "YAML configs": (JSON.map(lambda made: json.dumps(made).encode()) | st.binary(max_size=80), ".yaml", config),
}


def fuzz(name, folder, seconds=120.0):
    """Feed one reader for some time, with 50 files or more.

    Returns:
        (files read, files refused, what went wrong in words: one line for each kind of exception).
    """
    strategy, suffix, read = READERS[name]
    file, until = folder / f"fuzzed{suffix}", time.monotonic() + seconds
    counts, wrong = {"read": 0, "refused": 0}, {}

    @settings(max_examples=50, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def feed(content):
        file.write_bytes(content)
        try:
            read(file)
            counts["read"] += 1
        except UserError:
            counts["refused"] += 1
        except Exception as error:  # this is what is looked for: it goes into the table
            wrong.setdefault(type(error).__name__, f"{type(error).__name__}: {str(error)[:200]} from {content[:200]!r}")

    rounds = 0
    while not rounds or time.monotonic() < until:
        seed(rounds)(feed)()
        rounds += 1
    return counts["read"], counts["refused"], list(wrong.values())
