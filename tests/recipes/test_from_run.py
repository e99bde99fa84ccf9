"""`tfxfer.from_run`: a folder of any class is opened by its path, and answers as what was saved."""

import json
import shutil

import keras
import numpy as np
import pytest

import tfxfer
from tfxfer.config import CaptionModelConfig, CaptionTrainingConfig, VQAHeadConfig
from tfxfer.errors import UserError
from tfxfer.models.bert import masked_lm, small_bert
from tfxfer.models.tokenizer import WordPieceTokenizer
from tfxfer.saved import CLASSES
from tfxfer.transfer.bridges.render import RenderText
from tfxfer.transfer.classifier import Classifier
from tfxfer.transfer.feature import FeatureClassifier
from tfxfer.transfer.knowledge import Captioner, Dictionary, DualEncoder, MultiTask, VisualQA, small_tower
from tfxfer.transfer.knowledge.fusion import FusionClassifier
from tfxfer.transfer.knowledge.fusion.classifier import image_positions, text_tokens
from tfxfer.transfer.knowledge.language_model import LanguageModel
from tfxfer.transfer.knowledge.task_heads import TaskHead

pytestmark = pytest.mark.tensorflow
WORDS = ("red", "blue", "square", "circle")
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
TEXTS = ["red square", "blue circle", "a red thing", "blue"]
IMAGES = np.random.default_rng(0).integers(0, 255, (4, 8, 8, 1)).astype(np.uint8)


def cnn(height=8, width=8):
    image = keras.Input((height, width, 1), name="image")
    hidden = keras.layers.Conv2D(4, 4, strides=4, activation="relu")(keras.layers.Rescaling(1 / 255)(image))
    return keras.Model(image, keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten()(hidden)), name="cnn")


def features(text):
    source, bridge = (cnn(16, 48), RenderText(16, 48, 12)) if text else (cnn(), None)
    given = TEXTS if text else IMAGES
    return FeatureClassifier(source, ["a", "b"], input_bridge=bridge).fit(given, [0, 1, 0, 1])


def captioner(fixed=False):
    image = keras.Input((1, 1, 1) if fixed else (8, 8, 1))
    encoder = keras.Model(image, keras.layers.Identity(name="blank")(image)) if fixed else cnn()
    bert = masked_lm(small_bert(len(PIECES), 1, 16, 2, 24), PIECES, 8)[0]
    config = CaptionModelConfig(positions=0, image_word_logits=not fixed)
    return Captioner(encoder, bert, WordPieceTokenizer(PIECES), image.shape[1:], config)


def language_model():
    training = CaptionTrainingConfig(steps=3, batch_size=4, max_length=6)
    return LanguageModel(captioner(fixed=True), 6).fit(TEXTS[:3], training=training, jit=False)


def visual_qa():
    qa = VisualQA(cnn(), small_tower(list(WORDS), 4, dim=8), ["no", "yes"], (8, 8, 1))
    return qa


def dictionary():
    texts = {"en": TEXTS, "de": ["rotes Quadrat", "blauer Kreis", "rot", "blau"]}
    return Dictionary(("en", "de")).fit(texts, {code: IMAGES.reshape(4, -1) for code in texts})


def multitask():
    heads = [
        TaskHead("classify", "classify", ("a", "b")),
        TaskHead("caption", "caption", WORDS, length=4),
        TaskHead("vqa", "vqa", ("no", "yes"), WORDS, 4),
    ]
    return MultiTask(cnn(), heads, (8, 8, 1), VQAHeadConfig(dim=8))


def fusion():
    encoders = image_positions(cnn(), (8, 8, 1), 2), text_tokens(small_tower(list(WORDS), 4, dim=8))
    return FusionClassifier.fit(*encoders, (IMAGES, TEXTS, ["a", "b", "a", "b"]), dim=4)


CASES = {  # name -> (a model, what it is asked, from what it predicts to what has to be equal)
    "Dictionary": (dictionary, (TEXTS, "en", "de"), lambda found: found.scores),
    "Classifier": (lambda: Classifier(cnn(), ["a", "b", "c"]), (IMAGES,), lambda found: found),
    "FeatureClassifier": (lambda: features(text=False), (IMAGES,), lambda found: found),
    "FeatureClassifier of texts": (lambda: features(text=True), (TEXTS,), lambda found: found),
    "LanguageModel": (language_model, (TEXTS,), lambda found: found),
    "Captioner": (captioner, (IMAGES,), lambda found: found.scores),
    "FusionClassifier": (fusion, (IMAGES, TEXTS), lambda found: found),
    "VisualQA": (visual_qa, (IMAGES, [*TEXTS[:3], "red"]), lambda found: found.probabilities),
    "MultiTask": (
        multitask,
        (IMAGES, TEXTS),
        lambda found: np.concatenate([each.scores.ravel() for each in found.values()]),
    ),
    "DualEncoder": (
        lambda: DualEncoder(cnn(), small_tower(list(WORDS), 4, dim=8)),
        (IMAGES, TEXTS[:2]),
        lambda found: found,
    ),
}


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
    """A model, the folder it is saved in, a function from a model to its answers, and this model's answers."""
    keras.utils.set_random_seed(0)
    make, asked, array = CASES[request.param]
    model = make()
    folder = model.save(tmp_path_factory.mktemp("saved"))

    def answers(model):
        return np.asarray(array(model.predict(*asked)))

    return model, folder, answers, answers(model)


def test_every_class_is_tried():
    assert {name.split()[0] for name in CASES} == set(CLASSES)


def test_a_folder_is_opened_as_what_was_saved(case, tmp_path):
    """What is opened is saved and opened once more: nothing is lost on the way."""
    model, folder, answers, wanted = case
    assert np.isfinite(wanted).all()
    for path in (str(folder), folder / "model.keras"):
        assert type(tfxfer.from_run(path)) is type(model)
    again = tfxfer.from_run(tfxfer.from_run(folder).save(tmp_path))
    np.testing.assert_array_equal(answers(again), wanted)
    assert json.loads((tmp_path / "model.json").read_text()) == json.loads((folder / "model.json").read_text())


def test_every_model_has_the_same_methods(case):
    model = case[0]
    for name in ("predict", "score", "save", "load"):
        assert callable(getattr(model, name)), name
    assert callable(getattr(model, "fit", None)) == (type(model) is not Classifier)


def renamed(folder):
    described = json.loads((folder / "model.json").read_text("utf-8"))
    del described["digest"]  # as a person who changes the file has to
    (folder / "model.json").write_text(json.dumps(described | {"class": described["class"][:-1]}))


def without_class(folder):
    (folder / "model.json").write_text("{}")


def truncated(folder):
    (folder / "model.keras").write_bytes((folder / "model.keras").read_bytes()[:500])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, "there is no such folder"),
        (lambda folder: (folder / "model.json").unlink(), "model.json missing"),
        (lambda folder: (folder / "model.keras").unlink(), "model.keras missing"),
        (lambda folder: (folder / "model.json").write_text("{"), "model.json: is damaged"),
        (without_class, "names no class; it was written by another version"),
        (renamed, "there is no model class .*; did you mean"),
        (truncated, "not a readable .keras model"),
    ],
    ids=["no folder", "no description", "no model", "no JSON", "no class", "another class", "a cut file"],
)
def test_a_folder_that_cannot_be_opened_is_named(case, tmp_path, damage, message):
    folder = shutil.copytree(case[1], tmp_path / "copy")
    damage(folder)
    with pytest.raises(UserError, match=message) as error:
        tfxfer.from_run(folder)
    assert str(folder) in str(error.value)


@pytest.fixture(scope="module")
def texts_model():
    return language_model()


def test_a_text_that_is_empty_is_named_as_a_text(texts_model):
    with pytest.raises(UserError, match="text 1 .*empty"):
        texts_model.predict(["red square", " "])


def test_a_perplexity_is_the_exponential_of_the_mean_likelihood(texts_model):
    model = texts_model
    likelihoods = model.predict(TEXTS)
    assert likelihoods.shape == (4,) and (likelihoods < 0).all()
    score = model.score(TEXTS)
    assert score["log_likelihood"] == pytest.approx(likelihoods.mean())
    assert score["perplexity"] == pytest.approx(np.exp(-likelihoods.mean()))


def test_a_language_model_learns_its_texts():
    keras.utils.set_random_seed(0)
    model = LanguageModel(captioner(fixed=True), 6)
    before = model.score(["red square"])["log_likelihood"]
    training = CaptionTrainingConfig(steps=60, batch_size=8, max_length=6, learning_rates=(1e-2,))
    model.fit(["red square"] * 8, training=training, jit=False)
    assert model.score(["red square"])["log_likelihood"] > max(
        before + 0.5, model.score(["blue red"])["log_likelihood"]
    )
