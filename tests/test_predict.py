"""What saved models answer on the command line: captions as long as there is room for, and rows of one form."""

import json
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from PIL import Image

from tfxfer import predict
from tfxfer.cli import main
from tfxfer.errors import UserError
from tfxfer.models.bert import masked_lm, small_bert
from tfxfer.models.tokenizer import WordPieceTokenizer
from tfxfer.recipes import RECIPES, predictors_by_class
from tfxfer.saved import CLASSES
from tfxfer.transfer.knowledge import Captioner
from tfxfer.transfer.knowledge.caption_model import caption_model

pytestmark = pytest.mark.tensorflow
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "blue", "square"]


def captioner(prefix_length, positions):
    """A captioner that writes one word again and again: what it answers is as long as it may be."""
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 1), name="image")
    maps = keras.layers.Conv2D(4, 4, strides=4)(image)
    scale = keras.layers.BatchNormalization(center=False, scale=False, name="standardise")
    encoder = keras.Model(image, scale(maps), name="encoder")
    language_model = masked_lm(small_bert(len(PIECES), 1, 16, 2, positions), PIECES, 8)[0]
    model, _ = caption_model((2, 2, 4), language_model, prefix_length=prefix_length)
    bias = model.get_layer("causal_decoder").get_layer("head_bias").weights[0]
    bias.assign(1000 * np.eye(len(PIECES))[PIECES.index("red")])
    made = Captioner.of(encoder, model, WordPieceTokenizer(PIECES))
    made.search = {"num_beams": 2, "length_penalty": 1.0}
    return made


@pytest.fixture
def image(tmp_path):
    Image.fromarray(np.full((8, 8), 128, np.uint8)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


@pytest.fixture
def answered(tmp_path, image, capsys):
    """Save a captioner; return what asking it exits with, its best caption, and what is said."""

    def ask(prefix_length, positions, *words):
        captioner(prefix_length, positions).save(tmp_path)
        code = main(predict.work, [str(tmp_path), "--image", str(image), "--json", *words])
        said = capsys.readouterr()
        return code, said.out and json.loads(said.out)["top"][0][0].split(), said.err

    return ask


@pytest.mark.parametrize(
    ("prefix_length", "positions", "words"), [(20, 64, 43), (0, 64, 49), (0, 12, 11)], ids=["prefix", "more", "fewer"]
)
def test_a_caption_is_as_long_as_there_is_room_but_for_the_begin(answered, prefix_length, positions, words):
    code, caption, said = answered(prefix_length, positions)
    assert code == 0 and caption == ["red"] * words, said


def test_a_length_that_is_asked_for_is_not_shortened_in_silence(answered):
    code, _, said = answered(20, 64, "--max-length", "45")
    assert code == 2 and "max_length 45" in said and "44 positions for words" in said
    code, caption, said = answered(20, 64, "--max-length", "44")
    assert code == 0 and len(caption) == 43, said


def test_captions_are_rows_of_the_form_of_every_model(tmp_path, image, capsys):
    captioner(0, 12).save(tmp_path)
    argv = [str(tmp_path), "--image", str(image), str(image), "--num-beams", "3", "--top", "2"]
    assert main(predict.work, [*argv, "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["input"] for row in rows] == [str(image)] * 2 and rows[0] == rows[1]
    assert all(set(row) == {"input", "top"} and len(row["top"]) == 2 for row in rows)
    scores = [score for _, score in rows[0]["top"]]
    assert scores == sorted(scores, reverse=True) and max(scores) <= 0
    assert main(predict.work, argv) == 0
    assert "nats a token" in capsys.readouterr().out


def test_every_class_of_a_saved_model_is_answered_and_opened():
    known = predictors_by_class()
    assert set(known) == set(CLASSES)
    assert set(known) == {name for recipe in RECIPES.values() for name in recipe.predictors}
    for recipe in RECIPES.values():
        for name, predictor in recipe.predictors.items():
            assert known[name] is predictor  # two recipes never show one class in two ways


def request(*words):
    return predict.parser().parse_args(["runs/a", *words])


def classifier(input="text"):
    return predictors_by_class()["Classifier"], {"class": "Classifier", "task": "classification", "input": input}


@pytest.mark.parametrize("flag", ["--num-beams", "--max-length"])
@pytest.mark.parametrize("name", [name for name in CLASSES if name != "Captioner"])
def test_a_model_that_writes_no_captions_is_not_asked_for_a_search(flag, name):
    predictor = predictors_by_class()[name]
    takes = (predictor.takes or ("text",))[0]
    words = {"text": ["--text", "a"], "image": ["--image", __file__]}[takes]
    words += ["--question", "b"] if "question" in (predictor.takes or ()) else []
    with pytest.raises(UserError, match=f"{flag}: runs/a writes no captions and searches nothing"):
        predict.check(request(*words, flag, "5"), predictor, {"class": name, "input": "text"})


@pytest.mark.parametrize(
    ("name", "input", "words", "message"),
    [
        ("Classifier", "text", [], "give either --text"),
        ("Classifier", "text", ["--text", "a", "--image", "b"], "give either --text"),
        ("Classifier", "text", ["--image", "b"], "this model takes text, not image; use --text"),
        ("Classifier", "image", ["--text", "b"], "this model takes image, not text; use --image"),
        ("FeatureClassifier", "text", ["--text", "b", "--question", "c"], "takes no question; leave out --question"),
        ("VisualQA", "image", ["--text", "b", "--question", "c"], "takes image, not text; use --image and --question"),
        ("VisualQA", "image", ["--image", "b"], "answers questions; ask one with --question"),
        ("LanguageModel", "text", ["--image", "b"], "this model takes text, not image"),
        ("Classifier", "text", ["--text", "a", "--top", "0"], "--top 0: must be above 0"),
        ("DualEncoder", "image", ["--image", "nowhere.png"], "nowhere.png: there is no such image"),
    ],
)
def test_a_request_that_a_model_cannot_answer_is_named(name, input, words, message):
    with pytest.raises(UserError, match=message):
        predict.check(request(*words), predictors_by_class()[name], {"class": name, "input": input})


@pytest.mark.parametrize("words", [["--image", __file__], ["--text", "a", "b"]])
def test_a_dual_encoder_is_asked_by_an_image_or_by_texts(words):
    predict.check(request(*words), predictors_by_class()["DualEncoder"], {"class": "DualEncoder", "input": "image"})


def test_a_class_that_is_not_known_is_named(tmp_path, capsys):
    (tmp_path / "model.keras").write_bytes(b"")
    (tmp_path / "model.json").write_text('{"class": "Captionr"}')
    assert main(predict.work, [str(tmp_path), "--text", "a"]) == 2
    assert "there is no model class 'Captionr'" in capsys.readouterr().err


def test_classes_are_rows_of_names_with_probabilities():
    predictor, described = classifier()
    model = SimpleNamespace(class_names=("a", "b", "c"), predict=lambda texts: np.array([[0.2, 0.5, 0.3]] * len(texts)))
    rows = predictor.rows(model, described, request("--text", "x", "y", "--top", "2"))
    assert rows == [{"input": name, "top": [["b", 0.5], ["c", 0.3]]} for name in ("x", "y")]
