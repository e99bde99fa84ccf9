"""The contract of the models that are trained, saved and loaded: fit, predict, score, save, load.

A model is a row in `CASES`: a function that returns a `Case`.
"""

import dataclasses
import functools
import inspect
import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest

from tfxfer.arms.captioning import captioner_for
from tfxfer.config import CaptionModelConfig, CaptionTrainingConfig, TrainingConfig, VQAHeadConfig
from tfxfer.errors import UserError
from tfxfer.models.bert import masked_lm, small_bert
from tfxfer.models.tokenizer import WordPieceTokenizer
from tfxfer.models.train_sets import parse
from tfxfer.transfer.bridges.tokens import learn_vocabulary
from tfxfer.transfer.knowledge import Captioner, DualEncoder, VisualQA, bert_tower, small_tower
from tfxfer.transfer.knowledge.text_towers import SPECIAL
from tfxfer.transfer.structure.train_set import changed

pytestmark = pytest.mark.tensorflow

TRAINING = TrainingConfig(steps=8, batch_size=8, learning_rates=(1e-2,))
TEXTS = [f"{size} {colour} {shape}" for size in ("big", "small") for colour in ("red", "blue") for shape in "oxv"]
IMAGES = np.random.default_rng(0).integers(0, 255, (len(TEXTS), 8, 8, 1)).astype(np.uint8)


class Case(NamedTuple):
    """A model with small inputs.

    Attributes:
        model: Not trained.
        fit: Arguments of `fit`, without options.
        predict: Arguments of `predict`.
        score: Arguments of `score`.
        arrays: From what `predict` returns to what has to be equal.
        figure: A figure of `score`, and that figure from what `predict` returns.
        described: What model.json has to say, besides the class.
        jit: Whether `fit` can compile with XLA.
        training: How it is trained.
    """

    model: Any
    fit: tuple[Any, ...]
    predict: tuple[Any, ...]
    score: tuple[Any, ...]
    arrays: Callable[[Any], list[Any]]
    figure: tuple[str, Callable[[Any], float]]
    described: dict[str, Any]
    jit: bool = True
    training: TrainingConfig = TRAINING

    @property
    def kind(self):
        return type(self.model)

    def fitted(self, model=None, **options):
        """Fit a model, by default the case's own, and return it."""
        model = model or self.model
        options |= {"jit": False} if self.jit else {}
        assert isinstance(model.fit(*self.fit, training=self.training, **options), keras.callbacks.History)
        return model

    def predicted(self, model):
        return self.arrays(model.predict(*self.predict))


def cnn():
    image = keras.Input((8, 8, 1))
    hidden = keras.layers.Conv2D(6, 2, strides=2, activation="relu")(keras.layers.Rescaling(1 / 255)(image))
    return keras.Model(image, keras.layers.Dense(5)(keras.layers.GlobalAveragePooling2D()(hidden)), name="cnn")


def text_tower(bert):
    words = learn_vocabulary(TEXTS, "words")
    if not bert:
        return small_tower(words, 4, dim=8)
    vocabulary = [*SPECIAL, *words]
    return bert_tower(small_bert(len(vocabulary), num_layers=1, hidden_dim=8, num_heads=2), vocabulary, 6)


def visual_qa(bert=False, train_encoder=False, h="cross_attention"):
    answers = ["yes" if i % 3 else "no" for i in range(len(TEXTS))]
    head = VQAHeadConfig(h or "bilinear", dim=8, heads=2)
    model = VisualQA(cnn(), text_tower(bert), ["no", "yes"], (8, 8, 1), head, train_encoder=train_encoder)
    return Case(
        model,
        fit=(IMAGES, TEXTS, answers),
        predict=(IMAGES, TEXTS),
        score=(IMAGES, TEXTS, answers),
        arrays=lambda found: [found.texts, found.probabilities],
        figure=("accuracy", lambda found: np.mean(np.array(found.texts) == answers)),
        described={"input": "image", "class_names": ["no", "yes"], "image_size": [8, 8], "channels": 1},
    )


def dual_encoder(bert=False, dim=None, train_set=None):
    inputs, tower = (IMAGES, TEXTS), text_tower(bert)
    if train_set:
        tower = dataclasses.replace(tower, sequence=changed(tower.sequence, parse(train_set)))
    return Case(
        DualEncoder(cnn(), tower, dim=dim),
        fit=inputs,
        predict=inputs,
        score=inputs,
        arrays=lambda k: [k],
        figure=("image_to_text_recall_at_1", lambda k: np.mean(k.argmax(1) == np.arange(len(TEXTS)))),
        described={"input": "image", "image_size": [8, 8], "channels": 1},
    )


def captioner(conditioning="cross_attention", train_set=None):
    captions = [f"{text} here" for text in TEXTS]
    tokenizer = WordPieceTokenizer([*SPECIAL, *learn_vocabulary(captions, "words")])
    bert = masked_lm(small_bert(len(tokenizer.vocabulary), 1, 8, 2, 24), tokenizer.vocabulary, 8)[0]
    model = Captioner(cnn(), bert, tokenizer, (8, 8, 1), CaptionModelConfig(conditioning, prefix_length=2))
    if train_set:
        model = captioner_for(model, model.model, parse(train_set), 0)
    return Case(
        model,
        fit=(IMAGES, captions),
        predict=(IMAGES,),
        score=(IMAGES, captions),
        arrays=lambda found: [found.token_ids, found.scores],
        figure=("exact_match", lambda found: np.mean([a[0] == b for a, b in zip(found.texts, captions)])),
        described={"input": "image", "image_size": [8, 8], "channels": 1},
        training=CaptionTrainingConfig(steps=8, batch_size=8, learning_rates=(1e-2,), max_length=8),
    )


CASES: dict[str, Callable[[], Case]] = {
    "VisualQA": lambda: visual_qa(bert=True),
    "VisualQA that trains its encoder, FiLM": lambda: visual_qa(train_encoder=True, h="film"),
    "VisualQA, bilinear": lambda: visual_qa(h=None),
    "DualEncoder": lambda: dual_encoder(bert=True, train_set="prefix:2"),
    "DualEncoder with a common space": lambda: dual_encoder(dim=4),
    "Captioner": captioner,
    "Captioner with a prefix": lambda: captioner("prefix", "adapter:2"),
}


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """A function from a case's name to the case, its model trained, and the folder that it is saved in."""

    @functools.cache
    def trained(name):
        keras.utils.set_random_seed(0)
        made = CASES[name]()
        made.fitted()
        folder = tmp_path_factory.mktemp("saved") / "deep" / "folder"
        assert made.model.save(folder) == folder
        return made, folder

    return trained


@pytest.fixture(params=CASES, scope="module")
def case(request, cases):
    """A trained case and its folder."""
    return cases(request.param)


def same(given, wanted):
    for one, other in zip(given, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


def test_it_predicts_the_same_when_it_is_loaded(case):
    made, folder = case
    wanted = made.predicted(made.model)
    same(made.predicted(made.kind.load(folder)), wanted)
    same(made.predicted(made.kind.load(folder / "model.keras")), wanted)


LOAD_AND_PREDICT = """
import importlib, pickle, sys
for module, name, folder, file in pickle.load(open(sys.argv[1], "rb")):
    with open(file, "rb") as inputs:
        inputs = pickle.load(inputs)
    found = getattr(importlib.import_module(module), name).load(folder).predict(*inputs)
    with open(file, "wb") as answers:
        pickle.dump(found, answers)
"""


def test_they_predict_the_same_in_another_process(cases, tmp_path):
    """There Keras counts the names of layers from 0: those of the file must not meet those that are made anew."""
    rows = []
    for number, name in enumerate(CASES):
        made, folder = cases(name)
        file = tmp_path / f"{number}.pickle"
        file.write_bytes(pickle.dumps(made.predict))
        rows.append((made.kind.__module__, made.kind.__name__, str(folder), str(file)))
    (tmp_path / "rows.pickle").write_bytes(pickle.dumps(rows))
    words = [sys.executable, "-c", LOAD_AND_PREDICT, str(tmp_path / "rows.pickle")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert not done.returncode, done.stderr[-2000:]
    for name, row in zip(CASES, rows):
        made, _ = cases(name)
        with Path(row[-1]).open("rb") as file:
            found = made.arrays(pickle.load(file))
        np.testing.assert_allclose(
            found[-1], made.predicted(made.model)[-1], rtol=1e-5, atol=1e-6, err_msg=f"{name} in another process"
        )


@pytest.mark.parametrize("name", ["VisualQA", "VisualQA that trains its encoder, FiLM", "DualEncoder", "Captioner"])
def test_it_trains_further_when_it_is_loaded_as_the_one_that_was_saved(name, cases, tmp_path):
    made, folder = cases(name)
    own = made.kind.load(folder)
    before = made.predicted(own)
    own.save(tmp_path)
    made.fitted(own, seed=2)
    after = made.predicted(own)
    assert not np.array_equal(after[-1], before[-1])
    loaded = made.fitted(made.kind.load(tmp_path), seed=2)
    np.testing.assert_allclose(made.predicted(loaded)[-1], after[-1], rtol=1e-5, atol=1e-6)
    same(made.predicted(made.kind.load(loaded.save(tmp_path / "again"))), made.predicted(loaded))


def test_its_score_is_that_of_what_it_predicts(case):
    made, _ = case
    score = made.model.score(*made.score)
    assert all(isinstance(value, float) for value in score.values())
    name, figure = made.figure
    assert score[name] == pytest.approx(figure(made.model.predict(*made.predict)))


def test_its_folder_says_what_it_is(case):
    made, folder = case
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "model.keras"]
    described = json.loads((folder / "model.json").read_text("utf-8"))
    assert described["class"] == made.kind.__name__
    assert {name: described.get(name) for name in made.described} == made.described


def test_its_options_are_few_and_named_alike(case):
    made, _ = case
    given = inspect.signature(made.kind.fit).parameters
    assert len(set(given) - {"self", "callbacks"}) <= 8  # callbacks as Keras' own fit takes them
    assert all(given[name].kind is inspect.Parameter.KEYWORD_ONLY for name in ("training", "seed"))
    assert len(inspect.signature(made.kind.__init__).parameters) - 1 <= 8


@pytest.mark.parametrize("name", ["VisualQA", "DualEncoder"])  # the Captioner: test_captioner.py
def test_it_is_loaded_in_its_own_precision(name, tmp_path):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = CASES[name]()
        half.fitted().save(tmp_path)
    finally:
        keras.config.set_dtype_policy(before)
    for given, wanted in zip(half.predicted(half.kind.load(tmp_path)), half.predicted(half.model), strict=True):
        if wanted is not None and np.asarray(wanted).dtype.kind == "f":  # half precision would differ by 1e-3
            np.testing.assert_allclose(given, wanted, rtol=1e-6)
        else:
            np.testing.assert_array_equal(given, wanted)
    assert keras.config.dtype_policy().name == before.name


def no_folder(folder):
    shutil.rmtree(folder)


def no_description(folder):
    (folder / "model.json").unlink()


def broken_description(folder):
    (folder / "model.json").write_text('{"class": "')


def short_description(folder):
    described = json.loads((folder / "model.json").read_text("utf-8"))
    kept = {name: described[name] for name in ("class", "input", "image_size", "channels") if name in described}
    (folder / "model.json").write_text(json.dumps(kept))


def truncated_model(folder):
    file = folder / "model.keras"
    file.write_bytes(file.read_bytes()[:1000])


def other_model(folder):
    cnn().save(folder / "model.keras")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (no_folder, "there is no such folder"),
        (no_description, "model.json missing"),
        (broken_description, "model.json: is damaged"),
        (short_description, "do not belong together"),
        (truncated_model, "not a readable .keras model"),
        (other_model, "do not belong together"),
    ],
)
def test_a_damaged_folder_is_named(case, tmp_path, damage, message):
    made, folder = case
    copy = shutil.copytree(folder, tmp_path / "copy")
    damage(copy)
    with pytest.raises(UserError, match=message) as told:
        made.kind.load(copy)
    assert str(copy) in str(told.value)


def test_a_folder_of_another_class_is_named(case, tmp_path):
    made, folder = case
    other = next(kind for kind in (DualEncoder, VisualQA) if kind is not made.kind)
    with pytest.raises(UserError, match=f"holds a {made.kind.__name__}, not a {other.__name__}"):
        other.load(folder)
