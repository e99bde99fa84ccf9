"""The data doctor: planted faults are found, clean data raise no alarm, and bad requests are refused."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

import tfxfer
from tfxfer.commands import doctor as command
from tfxfer.doctor import CHECKS, SEVERITIES, examine, similar_images, similar_texts
from tfxfer.doctor.suspect_labels import SURE, suspects
from tfxfer.errors import TfxferError, UserError

WORDS = "amber basil cedar daisy ember fern ginger hazel iris jasmine kale lemon maple nutmeg olive poppy".split()
CLASSES = ("tree", "spice")


def sentence(rng, label):
    """A sentence of eight words, one of which tells its class."""
    return " ".join([*rng.choice(WORDS, 7), f"{label}like"])


def table(folder, rows, header=("text", "label", "split", "speaker")):
    file = folder / "data.csv"
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(header)
        writer.writerows(rows)
    return f"csv:{file}"


def clean(seed=0, sizes=(("train", 120), ("validation", 20), ("test", 40))):
    rng = np.random.default_rng(seed)
    return [
        [sentence(rng, label := CLASSES[i % 2]), label, split, f"{split}-{i // 4}"]
        for split, count in sizes
        for i in range(count)
    ]


def found(folder, rows, **options):
    return examine(tfxfer.load(table(folder, rows)), **options)


def places(diagnosis, check):
    return {(row.split, row.place) for one in diagnosis.of(check) for row in one.rows}


def test_clean_data_raise_no_alarm(tmp_path):
    said = []
    diagnosis = found(tmp_path, clean(), say=said.append)
    assert {one.check for one in diagnosis.findings} == {"drawing"}  # eight words are wider than an image
    assert list(diagnosis.checked) == list(CHECKS) and said == [row.title for row in CHECKS.values()]
    assert "no source was given" in diagnosis.checked["source_overlap"] and diagnosis.checked["labels"] == "checked"


def test_a_copy_with_other_case_and_punctuation_is_found_in_test_and_validation(tmp_path):
    rows = clean()
    rows[120][0] = rows[5][0].upper() + "!"  # validation 0
    rows[140 + 7][0] = f"  “{rows[9][0]}” "  # test 7
    diagnosis = found(tmp_path, rows, checks=["overlap"])
    assert places(diagnosis, "overlap") == {("validation", 0), ("test", 7)}
    test, validation = diagnosis.findings
    assert (test.severity, validation.severity) == ("error", "warning")
    assert test.rows[0].why == "the same as train 9" and test.rows[0].row == 147
    assert test.sentence.startswith("1 of 40 test examples (2.5%) are also in train or validation")


def test_a_typing_error_is_found_and_another_class_is_no_leak(tmp_path):
    rows = clean()
    rows[140 + 3][0] = rows[0][0][:-9] + rows[0][0][-8:]
    rows[140 + 3][1] = rows[0][1]
    assert places(found(tmp_path, rows, checks=["near_overlap"]), "near_overlap") == {("test", 3)}
    rows[140 + 3][1] = CLASSES[1]
    assert not found(tmp_path, rows, checks=["near_overlap"]).findings


def test_names_built_by_rule_are_not_taken_for_copies():
    names = [
        f"mathematical sans-serif bold {kind} capital letter {a}" for a in "abcdefgh" for kind in ("slanted", "upright")
    ]
    texts = [similar_texts.normal(name) for name in names]
    assert similar_texts.limit_of(similar_texts.nearest(texts, texts, same=True)[1]) is None


def test_the_nearest_text_is_that_of_brute_force():
    texts = [row[0] for row in clean()[:60]]
    texts += [text.replace("e", "a", 1) for text in texts[:20]]
    among = np.array([[similar_texts.similarity(a, b) for b in texts] for a in texts]) - 2 * np.eye(80)
    nearest, near = similar_texts.nearest(texts, texts, same=True)
    surely = among.max(1) > 0.95
    assert surely.sum() >= 30
    np.testing.assert_array_equal(near[surely], among.max(1)[surely])
    assert (among[np.arange(80), nearest] == near)[surely].all()


def test_a_group_in_two_splits_is_found_by_a_column_of_the_file(tmp_path, capsys):
    rows = clean()
    rows[140][3] = rows[0][3]
    assert command.work([table(tmp_path, rows), "--group", "speaker", "--json", "--checks", "groups"]) is None
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert finding["severity"] == "error" and finding["rows"][0]["why"] == "group 'train-0'"
    with pytest.raises(UserError, match="there is no column 'speakr'.*did you mean 'speaker'"):
        command.work([table(tmp_path, rows), "--group", "speakr", "--checks", "groups"])


def test_test_examples_in_the_source_are_found(tmp_path):
    rows = clean()
    (tmp_path / "other").mkdir()
    other = clean(1)
    other[3][0] = rows[140][0].title()
    source = tfxfer.load(table(tmp_path / "other", other))
    diagnosis = found(tmp_path, rows, source=source, checks=["source_overlap", "near_overlap"])
    assert places(diagnosis, "source_overlap") == {("test", 0)}
    assert diagnosis.of("source_overlap")[0].rows[0].why == "the same as source train 3"


def test_exchanged_labels_contradictions_and_copies_are_found(tmp_path):
    rows = clean()
    wrong = [3, 40, 77]
    for place in wrong:
        rows[place][1] = next(name for name in CLASSES if name != rows[place][1])
    rows[60][0], rows[60][1] = rows[50][0], rows[50][1]  # a copy
    rows[70][0], rows[70][1] = rows[80][0], next(name for name in CLASSES if name != rows[80][1])
    diagnosis = found(tmp_path, rows, checks=["labels", "conflicts", "duplicates"])
    assert {("train", place) for place in wrong} <= places(diagnosis, "labels")
    assert places(diagnosis, "conflicts") == {("train", 70), ("train", 80)}
    assert ("train", 60) in places(diagnosis, "duplicates")
    assert "more probably" in diagnosis.of("labels")[0].rows[0].why


def test_a_suspect_is_surer_of_another_class_than_that_class_is_of_its_own():
    """The rule, example by example."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 200)
    p = rng.dirichlet(np.ones(3) * 0.3, 200) + 0.3 * np.eye(3)[labels]
    p /= p.sum(1, keepdims=True)
    limits = [max(SURE, p[labels == k, k].mean()) for k in range(3)]
    expected = {
        i
        for i in range(200)
        if any(k != labels[i] and p[i, k] >= limits[k] and p[i, k] > p[i, labels[i]] for k in range(3))
    }
    places, other = suspects(p, labels)
    assert expected and set(places.tolist()) == expected and (other != labels[places]).all()
    lead = p[places, other] - p[places, labels[places]]
    assert (np.diff(lead) <= 0).all()


def test_labels_that_a_plain_classifier_cannot_learn_are_not_doubted(tmp_path):
    rows = clean()
    rng = np.random.default_rng(3)
    for row in rows:
        row[1] = CLASSES[rng.integers(2)]
    diagnosis = found(tmp_path, rows, checks=["labels"])
    assert not diagnosis.findings and "too few to doubt a label" in diagnosis.checked["labels"]


def test_small_classes_and_unlike_splits(tmp_path):
    rows = clean()
    for row in [*rows[:3], *rows[140:160]]:
        row[1] = "metal"
    sentences = [one.sentence for one in found(tmp_path, rows, checks=["balance"]).findings]
    assert sentences[0].startswith("1 classes have fewer than 5 training examples: metal")
    assert any("other shares in test than in train" in one for one in sentences)


def test_classes_that_pose_as_captions(tmp_path, shapes):
    rows = [[shapes(i), f"a {CLASSES[i % 2]}"] for i in range(24)]
    spec = table(tmp_path, rows, ("image", "caption")).replace("csv:", "captions:")
    (finding,) = examine(tfxfer.load(spec), checks=["captions"]).findings
    assert finding.severity == "error" and "2 different captions" in finding.sentence
    assert "train feature" in finding.remedy


# === Images ===


@pytest.fixture
def shapes(tmp_path):
    """Writes an image of random rectangles; returns its name."""

    def write(number, change=lambda image: image, form="png", **options):
        rng = np.random.default_rng(number)
        array = np.full((96, 96, 3), 255, np.uint8)
        for _ in range(6):
            y, x, h, w = *rng.integers(4, 64, 2), *rng.integers(10, 30, 2)
            array[y : y + h, x : x + w] = rng.integers(0, 256, 3)
        name = f"{number}-{abs(hash(change)) % 999}-{form}-{len(options)}.{form}"
        change(Image.fromarray(array)).save(tmp_path / name, **options)
        return name

    return write


def test_an_image_saved_again_scaled_or_brighter_is_found(tmp_path, shapes):
    rows = [[shapes(i), CLASSES[i % 2], "train"] for i in range(30)]
    rows += [[shapes(100 + i), CLASSES[i % 2], "validation"] for i in range(4)]
    rows += [[shapes(200 + i), CLASSES[i % 2], "test"] for i in range(6)]
    assert not examine(tfxfer.load(table(tmp_path, rows, ("image", "label", "split")))).of("near_overlap")
    rows[34][0] = shapes(0, form="jpg", quality=80)
    rows[36][0] = shapes(2, lambda image: image.resize((150, 150)))
    rows[38][0] = shapes(4, lambda image: image.point(lambda value: int(value * 0.7 + 20)))
    rows[39][:2] = [shapes(6), CLASSES[1]]  # the same bytes, another label
    rows[7][0] = shapes(7, lambda image: image.point(lambda value: 90))
    diagnosis = examine(tfxfer.load(table(tmp_path, rows, ("image", "label", "split"))))
    assert places(diagnosis, "near_overlap") == {("test", 0), ("test", 2), ("test", 4)}
    assert places(diagnosis, "overlap") == {("test", 5)}
    assert places(diagnosis, "conflicts") == {("train", 6), ("test", 5)}
    assert places(diagnosis, "empty") == {("train", 7)}
    assert diagnosis.of("near_overlap")[0].rows[0].why.startswith("like train 0:")
    without = examine(tfxfer.load(table(tmp_path, rows, ("image", "label", "split"))), images=False)
    assert not without.of("near_overlap") and "not looked at" in without.checked["near_overlap"]


def test_the_nearest_signature_is_that_of_brute_force():
    images = np.random.default_rng(0).integers(0, 256, (50, 24, 24, 3), dtype=np.uint8)
    made = similar_images.signatures(images)
    expected = np.corrcoef(images.reshape(50, -1).astype(float)) - 2 * np.eye(50)
    nearest, value = similar_images.nearest(made, made, same=True)
    np.testing.assert_allclose(value, expected.max(1), atol=1e-4)
    assert (nearest == expected.argmax(1)).all()


# === The command ===


def test_the_command_prints_writes_and_ends_with_1_when_asked(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    rows = clean()
    for i in range(5):
        rows[140 + i][0] = rows[i][0] + " [bold]"
    spec, file = table(tmp_path, rows), tmp_path / "found.csv"
    rows[150][0] = ""
    command.work([table(tmp_path, rows), "--csv", str(file)])
    said = capsys.readouterr().out
    assert "near_overlap" in said and "[bold]" in said and "and 2 more (--csv FILE has all)" in said
    assert max(map(len, said.splitlines())) <= 80
    written = list(csv.DictReader(file.open(encoding="utf-8")))
    assert {"near_overlap", "empty"} <= {row["check"] for row in written}
    assert {row["severity"] for row in written} <= set(SEVERITIES)
    with pytest.raises(TfxferError, match="--strict") as ended:
        command.work([spec, "--strict"])
    assert ended.value.exit_code == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["csv:nowhere.csv"], "nowhere.csv"),
        (["languages/latn"], "did you mean 'latin'"),
        (["languages", "glyphz"], "did you mean 'glyphs'"),
        (["{spec}", "--checks", "overlaps"], "--checks overlaps: there is no such check; did you mean 'overlap'"),
        (["{spec}", "--csv", "{folder}"], "name a file"),
        (["{spec}", "--csv", "{folder}/no/found.csv"], "there is no folder"),
        (["{spec}", "--label", "colour"], "there is no column 'colour'"),
    ],
)
def test_what_cannot_be_done_is_said_before_the_data_are_read(words, message, tmp_path):
    spec = table(tmp_path, clean())
    with pytest.raises(UserError, match=message):
        command.work([word.format(spec=spec, folder=tmp_path) for word in words])


def test_groups_of_another_length_and_unknown_checks_are_refused(tmp_path):
    with pytest.raises(UserError, match="train has 120 examples and 1 groups"):
        found(tmp_path, clean(), group={"train": ["a"]})
    with pytest.raises(UserError, match="there is no check 'leak'"):
        found(tmp_path, clean(), checks=["leak"])
    with pytest.raises(UserError, match="there is no column 'speaker'"):
        found(tmp_path, clean(), group="speaker")


def test_grey_images_of_a_source_are_compared_with_colour_ones(tmp_path, shapes):
    rows = [[shapes(100 * j + i), CLASSES[i % 2], split] for j, split in enumerate(("train", "validation", "test"))
            for i in range(4)]  # fmt: skip
    target = tfxfer.load(table(tmp_path, rows, ("image", "label", "split")))
    (tmp_path / "grey").mkdir()
    for row in rows:
        grey = Image.open(tmp_path / row[0]).convert("L")
        grey.resize((90, 90)).save(tmp_path / "grey" / row[0])
    Image.open(tmp_path / rows[0][0]).convert("L").convert("RGB").save(
        tmp_path / rows[8][0]
    )  # test 0: the grey train 0
    target = tfxfer.load(table(tmp_path, rows, ("image", "label", "split")))
    source = tfxfer.load(table(tmp_path / "grey", rows, ("image", "label", "split")))
    assert source.image_shape[-1] == 1 and target.image_shape[-1] == 3
    found = examine(target, source, checks=["near_overlap"]).of("near_overlap")
    assert {(row.place, row.why.partition(":")[0]) for one in found for row in one.rows} == {(0, "like source train 0")}
