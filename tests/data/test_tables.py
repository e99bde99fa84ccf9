"""CSV and JSON-lines files: what is read, and the messages about files that cannot be read."""

import json

import pytest

import tfxfer
from tfxfer.errors import UserError

ROWS = [(f"phrase number {i} of {'one' if i % 2 else 'two'}", "a" if i % 2 else "b") for i in range(40)]
GOOD = "text,label\n" + "".join(f"{text},{label}\n" for text, label in ROWS)


@pytest.fixture
def load(tmp_path, data_dir):
    def load(content, name="t.csv", **options):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return tfxfer.load(f"{path.suffix[1:]}:{path}", data_dir=data_dir, **options)

    return load


def everything(dataset):
    """Return (text, class name) of all examples."""
    return {
        (text, dataset.class_names[label])
        for split in dataset.splits
        for text, label in zip(dataset.texts(split), dataset.labels(split))
    }


def test_rows_arrive_whole(load):
    assert everything(load(GOOD)) == set(ROWS)


@pytest.mark.parametrize(
    "content",
    [
        "\ufeff" + GOOD,
        GOOD.replace("\n", "\r\n"),
        GOOD.replace(",", ";"),
        GOOD.replace(",", "\t"),
        GOOD.replace("\n", "\n\n"),
        "".join(f'"{a}","{b}"\n' for a, b in [("text", "label"), *ROWS]),
    ],
    ids=["byte-order mark", "CRLF", "semicolons", "tabs", "blank lines", "quoted"],
)
def test_other_ways_to_write_the_same_file(load, content):
    assert load(content).fingerprint.isalnum() and everything(load(content)) == set(ROWS)


def test_line_breaks_quotes_and_long_fields(load):
    long = "x" * 200_000
    rows = [('he said "yes",\nand left', "a"), (long, "b"), ("größer", "a"), ("", "b")]
    quoted = "".join('"{}",{}\n'.format(text.replace('"', '""'), label) for text, label in rows)
    dataset = load(GOOD + quoted)
    assert set(rows) <= everything(dataset)
    assert dataset.notes == ("1 rows have an empty text",)


def test_json_lines_agree_with_csv(load):
    lines = "\n".join(json.dumps({"text": t, "label": c}) for t, c in ROWS)
    assert everything(load(lines, "t.jsonl")) == set(ROWS)
    assert load(lines, "t.jsonl").fingerprint != load(GOOD).with_labels(1).fingerprint


def test_numbers_are_classes_in_the_order_of_their_values(load):
    lines = "\n".join(json.dumps({"text": t, "label": 10 if c == "a" else 9}) for t, c in ROWS)
    assert load(lines, "t.jsonl").class_names == ("9", "10")


def test_columns_are_joined(load):
    content = "title,description,label\n" + "".join(f"{i},and {i},{i % 2}\n" for i in range(30))
    texts = load(content, text="title,description").texts("train")
    assert set(texts) <= {f"{i} and {i}" for i in range(30)}


def test_equal_texts_share_a_split_and_order_does_not_matter(load):
    head, *rows = GOOD.splitlines(keepends=True)
    twice = load(head + "".join(rows) + "".join(row.upper() for row in rows).replace(",A", ",a").replace(",B", ",b"))
    split_of = {text: split for split in twice.splits for text in twice.texts(split)}
    assert len(split_of) == 80
    assert all(split_of[text] == split_of[text.upper()] for text, _ in ROWS)
    backwards = load(head + "".join(reversed(rows)))
    for split in backwards.splits:
        assert set(backwards.texts(split)) == set(load(GOOD).texts(split))
    assert backwards.fingerprint != load(GOOD).fingerprint


def test_another_seed_cuts_other_splits(load):
    assert load(GOOD).texts("test") != load(GOOD, seed=1).texts("test")


def test_named_splits_are_kept_and_missing_ones_cut_from_train(load):
    rows = "".join(f"{t},{c},{'test' if i < 8 else 'Train'}\n" for i, (t, c) in enumerate(ROWS))
    dataset = load("text,label,split\n" + rows)
    assert set(dataset.texts("test")) == {t for t, _ in ROWS[:8]}
    assert dataset.sizes["train"] + dataset.sizes["validation"] == 32 and dataset.sizes["validation"] > 0


@pytest.mark.parametrize("rows", [4, 5, 7])
def test_a_tiny_set_still_has_three_splits(load, rows):
    dataset = load("".join(GOOD.splitlines(keepends=True)[: rows + 1]))
    assert min(dataset.sizes.values()) > 0 and set(dataset.labels("train")) == {0, 1}


def test_content_changes_the_fingerprint(load):
    prints = [
        load(GOOD),
        load(GOOD.replace("number 7 ", "number 77 ")),
        load(GOOD.replace("number 7 of one,a", "number 7 of one,b")),
        load("".join([GOOD, "one more,a\n"])),
    ]
    assert len({dataset.fingerprint for dataset in prints}) == 4


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", r"is empty"),
        (b"text,label\n", r"not a single row"),
        (b"text,label\nfine,a\nworse\n", r"t.csv row 3: 1 values for 2 columns"),
        (b'text,label\n"two\nlines",a\nb,c,d\n', r"t.csv row 4: 3 values for 2 columns"),
        (b'text,label\nfine,a\n"open,b\n', r"t.csv row 3: not CSV"),
        (b"text,label\nfine,a\ncaf\xe9,b\n", r"t.csv row 3: byte 4 of the line \(0xe9\) is not UTF-8"),
        (b"\xff\xfet\x00", r"row 1: the file is UTF-16"),
        (b"text,text\na,b\n", r"row 1: two columns are called 'text'"),
        (b"text,label\nfine,a\nbad,\n", r"t.csv row 3: 'label' is empty"),
        (b"text,label\n" + b"".join(b"t%d,a\n" % i for i in range(20)), r"every example is of class 'a'"),
        (b"text,label\na,x\nb,y\n", r"2 distinct examples are too few"),
        (b"text,label,split\na,x,train\nb,y,trial\n", r"row 3: no split is called 'trial'"),
        (b"text,label,split\na,x,test\nb,y,test\n", r"no example is in split 'train'"),
        (
            b"text,label,split\na,cat,train\nb,dog,train\nc,cta,test\nd,cat,validation\n",
            r"row 4: class 'cta' is in test \(1 examples\) but not in train; did you mean 'cat'",
        ),
    ],
)
def test_what_is_wrong_with_a_csv_is_named(load, content, message):
    with pytest.raises(UserError, match=message):
        load(content)


@pytest.mark.parametrize(
    "content, message",
    [
        ("", r"looks like text|not a single row"),
        ('{"text": "a", "label": 1}\n{"text": "b"\n', r"t.jsonl row 2: not JSON at column"),
        ('{"text": "a", "label": 1}\n[1]\n', r"t.jsonl row 2: a list"),
        ('{"text": "a", "label": 1}\n{"text": "b"}\n', r"t.jsonl row 2: 'label' is missing"),
        ('{"text": "a", "label": 1}\n{"text": null, "label": 2}\n', r"t.jsonl row 2: 'text' is missing"),
    ],
)
def test_what_is_wrong_with_json_lines_is_named(load, content, message):
    with pytest.raises(UserError, match=message):
        load(content, "t.jsonl")


def test_real_news(shared_data, data_dir):
    dataset = tfxfer.load(f"csv:{shared_data / 'ag_news.csv'}", text="title,description", data_dir=data_dir)
    assert dataset.class_names == ("Business", "Sci/Tech", "Sports", "World")
    assert sum(dataset.sizes.values()) == 5700
