"""CSV and JSON-lines files: what is read, and the messages about files that cannot be read."""

import json

import pytest

import tfxfer
from tfxfer.errors import UserError

ROWS = [(f"phrase number {i} of {'one' if i % 2 else 'two'}", "a" if i % 2 else "b") for i in range(40)]
GOOD = "text,label\n" + "".join(f"{text},{label}\n" for text, label in ROWS)


@pytest.fixture
def load(tmp_path, data_dir):
    def load(content, name="t.csv", kind=None, **options):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return tfxfer.load(f"{kind or path.suffix[1:]}:{path}", data_dir=data_dir, **options)

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


PLAIN = [{"text": f"phrase {i}", "label": "ab"[i % 2]} for i in range(20)]


def lines_of(*rows):
    return "\n".join(json.dumps(row) for row in [*PLAIN, *rows])


@pytest.mark.parametrize(
    "row, message",
    [
        ({"label": ["a", "b"]}, r"row 21: 'label' is a list; one class a row: write its name"),
        ({"label": {"id": 1}}, r"row 21: 'label' is an object"),
        ({"label": 0.5}, r"row 21: 'label' is the number 0.5; a class is a name or a whole number"),
        ({"label": float("nan")}, r"row 21: 'label' is the number nan"),
        ({"text": ["a"]}, r"row 21: 'text' is a list; write the text in quotes"),
        ({"text": 1984}, r"row 21: 'text' is the number 1984; write the text in quotes"),
        ({"text": True}, r"row 21: 'text' is true; write the text in quotes"),
        ({"label": "a\0"}, r"row 21: 'label' holds a NUL character"),
        ({"label": "\ud83d"}, r"row 21: 'label' holds half of an escaped character \(.ud83d\)"),
        ({"split": "test"}, r"row 1: 'split' is missing; give every row the same keys"),
        ({"question": "why?"}, r"row 1: 'question' is missing; give every row the same keys, or name another"),
    ],
)
def test_json_values_that_are_no_text_or_class_are_refused(load, row, message):
    with pytest.raises(UserError, match="t.jsonl " + message):
        load(lines_of({"text": "more", "label": "a"} | row), "t.jsonl")


def test_whole_numbers_and_truth_values_are_classes(load):
    rows = [{"text": f"n {i}", "label": [1, 1.0, "1", 2, True][i % 5]} for i in range(40)]
    assert load("\n".join(map(json.dumps, rows)), "t.jsonl").class_names == ("1", "2", "true")


def test_a_label_that_the_first_row_lacks_is_looked_for(load):
    with pytest.raises(UserError, match=r"t.jsonl row 1: 'label' is missing"):
        load("\n".join([json.dumps({"text": "first", "label": None}), lines_of()]), "t.jsonl")


def test_the_commonest_of_several_answers_is_taken(load):
    answers = [["no", "Yes", "yes "], "no", 2, [{"answer": "red"}, {"answer": "blue"}, {"answer": "blue"}]]
    rows = [{"question": f"which is {i}?", "answers": answers[i % 4]} for i in range(20)]
    dataset = load("\n".join(map(json.dumps, rows)), "t.jsonl")
    assert {a for split in dataset.splits for a in dataset.texts(split, "answer")} == {"Yes", "no", "2", "blue"}
    assert dataset.notes == ("10 rows have several answers; the commonest of each is taken",)
    rows[3]["answers"] = []
    with pytest.raises(UserError, match=r"t.jsonl row 4: 'answers' is an empty list"):
        load("\n".join(map(json.dumps, rows)), "t.jsonl")


@pytest.mark.parametrize("whole", [f'{{"text": {"9" * 5000}}}', f'{{"text": {"[" * 100_000}'], ids=["digits", "depth"])
def test_numbers_and_nesting_beyond_what_python_reads_are_named(load, whole):
    with pytest.raises(UserError, match=r"t.jsonl row 21: .*(thousands of digits|nested too deeply)"):
        load(lines_of() + "\n" + whole, "t.jsonl")
    with pytest.raises(UserError, match=r"t.json row 2: .*(thousands of digits|nested too deeply)"):
        load(f'{{"images":\n{whole}', "t.json", kind="coco")


def test_class_names_are_compared_without_blanks_and_in_one_form(load):
    names = ["cat", "cat ", "caf\u00e9", "cafe\u0301", "Cat", "hot  dog", "hot dog"]
    csv = "text, label\n" + "".join(f'"phrase {i}", "{names[i % 7]}"\n' for i in range(70))
    for dataset in (
        load(csv),
        load("\n".join(json.dumps({"text": f"{i}", "label": names[i % 7]}) for i in range(70)), "t.jsonl"),
    ):
        assert dataset.class_names == ("Cat", "caf\u00e9", "cat", "hot  dog", "hot dog")
        assert dataset.notes == (
            "classes differ in case or blanks only: 'Cat' and 'cat', 'hot  dog' and 'hot dog'; "
            "write them alike if they are the same",
        )
    assert dataset.with_classes(["cat ", "Cat"]).class_names == ("Cat", "cat")


def test_files_whose_lines_end_with_cr_alone(load):
    assert everything(load(GOOD.replace("\n", "\r").replace(",", ";"))) == set(ROWS)
    lines = "\r".join(json.dumps({"text": t, "label": c}) for t, c in ROWS)
    assert everything(load(lines, "t.jsonl")) == set(ROWS)
    with pytest.raises(UserError, match=r"t.csv row 3: byte 4 of the line \(0xe9\)"):
        load(b"text,label\rfine,a\rcaf\xe9,b\r")
    with pytest.raises(UserError, match=r"t.csv row 3: 3 values for 2 columns"):
        load(b"text,label\rfine,a\rworse,b,c\r")


def test_nul_is_refused_in_names_and_kept_in_texts(load):
    with pytest.raises(UserError, match=r"t.csv row 3: 'label' holds a NUL character"):
        load(b"text,label\nfine,a\nworse,\0b\n")
    assert ("f\0ine", "a") in everything(load(GOOD + "f\0ine,a\n"))
    for name in ("t.csv", "t.txt"):
        with pytest.raises(UserError, match=rf"{name} row 1: the file is UTF-16; save it as UTF-8"):
            load(GOOD.encode("utf-16-le"), name, kind="text" if name == "t.txt" else None)


def test_real_news(shared_data, data_dir):
    dataset = tfxfer.load(f"csv:{shared_data / 'ag_news.csv'}", text="title,description", data_dir=data_dir)
    assert dataset.class_names == ("Business", "Sci/Tech", "Sports", "World")
    assert sum(dataset.sizes.values()) == 5700
