"""`tfxfer distill`: a student beside its controls, a run folder that other commands open, and what is refused at
once."""

import contextlib
import io
import json

import numpy as np
import pytest
from PIL import Image

from tfxfer import __main__ as front
from tfxfer import cli

pytestmark = pytest.mark.tensorflow
NAMES = ("dark", "light")
WORDS = (("night", "coal", "ink"), ("snow", "milk", "noon"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A csv of 96 rows, each an image of 8x8 pixels and a text, of two classes."""
    folder, rng, rows = tmp_path_factory.mktemp("pairs"), np.random.default_rng(0), ["image,text,label,split"]
    for place in range(96):
        label = place % 2
        Image.fromarray((rng.integers(0, 120, (8, 8)) + (0, 120)[label]).astype(np.uint8)).save(folder / f"{place}.png")
        text = f"{rng.choice(WORDS[label])} {place}"
        rows.append(f"{place}.png,{text},{NAMES[label]},{('train', 'train', 'validation', 'test')[place // 24]}")
    (folder / "pairs.csv").write_text("\n".join(rows), encoding="utf-8")
    unseen = [f"{place}.png,{WORDS[place % 2][0]} u{place}" for place in range(24)]
    (folder / "unlabelled.csv").write_text("\n".join(["image,text", *unseen]), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def teacher(folder):
    """A saved classifier of images by their brightness, which nobody had to train; its run names its target."""
    import keras

    from tfxfer.transfer.classifier import Classifier

    images = keras.Input((8, 8, 1), name="image")
    mean = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(images))
    head = keras.layers.Dense(2, activation="softmax")
    model = keras.Model(images, head(mean))
    head.set_weights([np.array([[-20.0, 20.0]]), np.array([9.4, -9.4])])
    (folder / "teacher").mkdir()
    (folder / "teacher" / "config.yaml").write_text(f"target: csv:{folder / 'pairs.csv'}\n", encoding="utf-8")
    return Classifier(model, NAMES).save(folder / "teacher")


def distill(*words):
    return cli.main(front.work, ["distill", *map(str, words)])


@pytest.fixture(scope="module")
def found(folder, teacher):
    """What a text student of an image teacher prints as JSON; and its folder."""
    before, out, run = {p: p.read_bytes() for p in teacher.iterdir()}, io.StringIO(), folder / "run"
    words = [teacher, "--student", "fresh:text_cnn", "--student-width", 8, "--max-length", 12, "--labels-per-class", 4]
    words += ["--steps", 60, "--batch-size", 16, "--learning-rates", "0.01", "--seeds", 2, "--label-weight", "0.2"]
    words += ["--match", "logits", "features", "--data-dir", folder / "data", "--run-dir", run, "--json"]
    with contextlib.redirect_stdout(out):
        assert distill(*words) == 0
    assert before == {path: path.read_bytes() for path in before}  # the teacher stays untouched
    return json.loads(out.getvalue()), run


@pytest.mark.drawing
def test_a_text_student_of_an_image_teacher_stands_beside_its_controls(found):
    from tfxfer.records import Comparison

    said, run = found
    scores = {row["arm"]: row["score"] for row in said["rows"]}
    assert set(scores) == {"teacher", "alone", "distilled", "random_teacher"} and scores["teacher"] == 1.0
    first = said["verdicts"][0]
    assert (first["a"], first["b"], first["role"]) == ("distilled", "alone", "primary") and first["seeds_a"] == 2
    assert scores["distilled"] > 0.9 and said["kept"] == scores["distilled"]
    assert said["hypothesis"]["examples"] == 24 and said["agreement"] in ("right", "wrong", "undecided")
    assert [row["model"] for row in said["costs"]] == ["teacher", "distilled"]
    assert Comparison.load(run).recipe == "distill"
    log = (run / "log.txt").read_text("utf-8")
    assert log.index("alone, seed 1") < log.index("hypothesis: I(teacher; student)") < log.index("distilled, seed 0")
    assert "4" in log and "hypothesis" in (run / "report.html").read_text("utf-8")


def test_the_student_predicts_and_is_scored_as_any_run_is(found, folder, capsys):
    run = found[1]
    assert cli.main(front.work, ["predict", str(run), "--text", "snow 7", "--json"]) == 0
    assert "light" in capsys.readouterr().out
    target = f"csv:{folder / 'pairs.csv'}"
    assert cli.main(front.work, ["evaluate", str(run), "--data", target, "--split", "test", "--json"]) == 0
    scored = json.loads(capsys.readouterr().out)
    assert scored["examples"] == 24 and scored["rows"]["trained_on"] == 0
    assert cli.main(front.work, ["compare", str(run), "--arms", "distilled", "alone", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["pairs"]) == 1


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["nowhere"], "there is no such folder"),
        (["TEACHER", "TEACHER"], "is given twice"),
        (["TEACHER", "--student", "fresh:cn"], "fresh:cnn"),
        (["TEACHER", "--label-weight", "1"], "labels alone teach nothing"),
        (["TEACHER", "--student", "layers:2"], "no BERT with word pieces"),
        (["TEACHER", "--unlabelled", "csv:TEXTS"], "has no images, and the teacher takes images"),
        (["TEACHER", "--unlabelled", "csv:TESTED"], "are test examples of the target"),
        (["TEACHER", "--target", "csv:OTHER"], "has no class 'light'"),
    ],
)
def test_what_cannot_be_distilled_is_refused(words, problem, folder, teacher, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # where the runs of what is refused late stand
    rows = (folder / "pairs.csv").read_text("utf-8").splitlines()
    (folder / "texts.csv").write_text("text\nink 1\nsnow 2\ncoal 3\n", encoding="utf-8")
    (folder / "tested.csv").write_text("\n".join(["image,text", *(r.rsplit(",", 2)[0] for r in rows[-3:])]), "utf-8")
    (folder / "other.csv").write_text("\n".join(rows).replace(",light,", ",grey,"), encoding="utf-8")
    files = {f"csv:{name.upper()}": f"csv:{folder / name}.csv" for name in ("texts", "tested", "other")}
    files["TEACHER"] = teacher
    assert distill(*(files.get(word, word) for word in words), "--data-dir", folder / "data") == 2
    assert problem in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_a_captioner_learns_the_captions_that_its_teacher_writes(folder, capsys):
    from tfxfer.config import CaptionModelConfig, CaptionTrainingConfig
    from tfxfer.models.bert import small_bert
    from tfxfer.models.cnn import glyph_cnn
    from tfxfer.models.tokenizer import WordPieceTokenizer
    from tfxfer.transfer.knowledge import Captioner

    rng, rows = np.random.default_rng(1), ["image,caption,split"]
    for place in range(40):
        name = NAMES[place % 2]
        pixels = rng.integers(0, 90, (8, 8)) + (0, 160)[place % 2]
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"c{place}.png")
        rows.append(f"c{place}.png,a {name} square,{('train', 'train', 'train', 'validation', 'test')[place // 8]}")
    (folder / "captions.csv").write_text("\n".join(rows), encoding="utf-8")
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dark", "light", "square"]
    cnn, bert = glyph_cnn(4, filters=(8, 8), kernels=(3, 3), strides=(1, 2)), small_bert(9, 1, 16, 2, 8)
    teacher = Captioner(cnn, bert, WordPieceTokenizer(pieces), (8, 8, 1), CaptionModelConfig(positions=2))
    images = np.stack([np.asarray(Image.open(folder / f"c{place}.png"))[..., None] for place in range(24)])
    texts = [row.split(",")[1] for row in rows[1:25]]
    teacher.fit(images, texts, training=CaptionTrainingConfig(60, learning_rates=(0.01,), max_length=8), jit=False)
    run, words = (
        folder / "captioned",
        [teacher.save(folder / "captioner"), "--target", f"csv:{folder / 'captions.csv'}"],
    )
    words += ["--student-width", 8, "--steps", 40, "--learning-rates", "0.01", "--seeds", 1, "--labels-per-class", 6]
    words += ["--max-length", 8, "--data-dir", folder / "data", "--run-dir", run, "--json"]
    assert distill(*words) == 0
    said = json.loads(capsys.readouterr().out)
    scores = {row["arm"]: row["score"] for row in said["rows"]}
    assert set(scores) == {"teacher", "alone", "distilled", "random_teacher"} and said["hypothesis"] is None
    assert scores["distilled"] > scores["random_teacher"] and said["costs"][1]["bytes"] > 0
    assert cli.main(front.work, ["predict", str(run), "--image", str(folder / "c39.png")]) == 0
    assert "square" in capsys.readouterr().out
