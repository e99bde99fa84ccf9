"""`FeatureClassifier` from Python: fit on raw texts, images or features; predict, score, save and load."""

import inspect
import json

import keras
import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from tfxfer.config import TrainingConfig
from tfxfer.errors import UserError
from tfxfer.transfer.bridges.render import RenderText
from tfxfer.transfer.classifier import Classifier
from tfxfer.transfer.feature import FeatureClassifier, extractor

pytestmark = pytest.mark.tensorflow
NAMES = ("dark", "light", "striped")
MLP = TrainingConfig(steps=40, batch_size=16, learning_rates=(3e-3, 1e-2))


def cnn(height, width):
    keras.utils.set_random_seed(0)
    image = keras.Input((height, width, 1), name="image")
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.Conv2D(6, 3, strides=2, activation="relu", name="conv")(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.Flatten(name="flat")(x)
    return keras.Model(image, keras.layers.Dense(4, activation="softmax", name="classes")(x), name="cnn")


def images(count=60, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    found = rng.integers(0, 40, (count, 8, 8, 1))
    found[labels == 1] += 180
    found[labels == 2, ::2] += 180
    return found.astype(np.uint8), labels


def texts(count=60, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    letters = ("i.", "mw", "oe")
    return ["".join(rng.choice(list(letters[label]), 5)) for label in labels], labels


class Kind:
    """One kind of input, with what makes a classifier of it."""

    def __init__(self, given, head):
        self.text, self.head = given == "text", head
        make = texts if self.text else images
        self.train, self.held, self.test = make(), make(30, 1), make(40, 2)

    def made(self):
        bridge = RenderText(16, 48, 12) if self.text else None
        return FeatureClassifier(cnn(16, 48) if self.text else cnn(8, 8), NAMES, input_bridge=bridge, head=self.head)

    def fitted(self, model=None, **how):
        return (model or self.made()).fit(*self.train, validation=self.held, training=MLP, **how)


@pytest.fixture(scope="module", params=[("text", "linear"), ("image", "linear"), ("image", "mlp"), ("text", "mlp")],
                ids=" ".join)  # fmt: skip
def fitted(request, tmp_path_factory):
    """A kind, its fitted classifier, and the folder that it is saved in."""
    kind = Kind(*request.param)
    model = kind.fitted()
    folder = tmp_path_factory.mktemp("saved") / "deep" / "folder"
    assert model.save(folder) == folder
    return kind, model, folder


def test_it_learns_what_it_is_shown(fitted):
    kind, model, _ = fitted
    found = model.predict(kind.test[0])
    assert found.shape == (40, 3) and found.dtype == np.float32
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)
    assert np.mean(found.argmax(1) == kind.test[1]) > 0.8
    assert model.input == ("text" if kind.text else "image")
    assert (model.probe is None) == (kind.head == "mlp")


def test_its_score_is_that_of_scikit_learn(fitted):
    kind, model, _ = fitted
    wanted = accuracy_score(kind.test[1], model.predict(kind.test[0]).argmax(1))
    score = model.score(*kind.test)
    assert score["accuracy"] == pytest.approx(wanted)
    assert all(isinstance(value, float) for value in score.values())


def test_labels_may_be_names(fitted):
    kind, model, _ = fitted
    names = [NAMES[label] for label in kind.test[1]]
    assert model.score(kind.test[0], names) == model.score(*kind.test)
    with pytest.raises(UserError, match="label 'bright' is none of the 3 classes"):
        model.score(kind.test[0], ["bright"] * 40)
    by_name = kind.made().fit(
        kind.train[0],
        [NAMES[label] for label in kind.train[1]],
        validation=(kind.held[0], [NAMES[label] for label in kind.held[1]]),
        training=MLP,
    )
    np.testing.assert_allclose(by_name.predict(kind.test[0]), model.predict(kind.test[0]), atol=1e-5)


def test_it_answers_the_same_when_it_is_loaded(fitted):
    kind, model, folder = fitted
    for path in (folder, folder / "model.keras", str(folder)):
        loaded = FeatureClassifier.load(path)
        np.testing.assert_array_equal(loaded.predict(kind.test[0]), model.predict(kind.test[0]))
    assert loaded.class_names == NAMES and loaded.score(*kind.test) == model.score(*kind.test)
    assert loaded.fitted and loaded.head_size == model.head_size and (loaded.probe is None) == (model.probe is None)


def test_a_loaded_one_is_fitted_again_as_the_first_was(fitted):
    kind, model, folder = fitted
    again = kind.fitted(FeatureClassifier.load(folder))
    np.testing.assert_allclose(again.predict(kind.test[0]), model.predict(kind.test[0]), atol=1e-4)


def test_its_folder_says_what_it_is(fitted):
    kind, _, folder = fitted
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "model.keras"]
    described = json.loads((folder / "model.json").read_text("utf-8"))
    wanted = {"class": "FeatureClassifier", "input": "text" if kind.text else "image", "class_names": list(NAMES)}
    wanted |= {} if kind.text else {"image_size": [8, 8], "channels": 1}
    assert len(described.pop("digest")) == 64
    assert described == {**wanted, "task": "classification"}


def test_the_saved_keras_model_takes_raw_input(fitted):
    from tfxfer.models import load_model

    kind, model, folder = fitted
    raw = np.array(kind.test[0], object) if kind.text else kind.test[0]
    found = np.asarray(load_model(folder / "model.keras")(raw))
    np.testing.assert_allclose(found, model.predict(kind.test[0]), atol=1e-5)


def test_features_are_as_good_as_what_they_are_of(fitted):
    kind, model, _ = fitted
    train, held, test = ((model.features(part[0]), part[1]) for part in (kind.train, kind.held, kind.test))
    assert train[0].shape == (60, model.phi.output.shape[-1]) and train[0].dtype == np.float32
    by_features = kind.made().fit(*train, validation=held, training=MLP)
    np.testing.assert_allclose(by_features.predict(test[0]), model.predict(kind.test[0]), atol=1e-5)


def test_the_source_keeps_its_weights_and_phi_is_frozen(fitted):
    kind, _, _ = fitted
    source = cnn(8, 8)
    before = [weight.copy() for weight in source.get_weights()]
    model = FeatureClassifier(source, NAMES, head=kind.head).fit(*images(), training=MLP)
    for old, new in zip(before, source.get_weights()):
        np.testing.assert_array_equal(old, new)
    assert not model.phi.trainable_variables


@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_without_validation_it_is_fitted_too(head):
    model = FeatureClassifier(cnn(8, 8), NAMES, head=head).fit(*images(), training=MLP)
    assert model.score(*images(40, 2))["accuracy"] > 0.8


def test_phi_may_end_at_any_layer_or_be_given():
    source = cnn(8, 8)
    early = FeatureClassifier(source, NAMES, layer="conv").fit(*images())
    assert early.phi.output.shape[-1] == 6  # the mean over the positions of the map
    phi = extractor(source)
    given = FeatureClassifier(phi, NAMES, layer="output").fit(*images())
    whole = FeatureClassifier(source, NAMES).fit(*images())
    assert given.phi is phi
    np.testing.assert_allclose(given.predict(images(9, 3)[0]), whole.predict(images(9, 3)[0]), atol=1e-6)


def test_the_same_seed_fits_the_same_and_another_does_not():
    found = [FeatureClassifier(cnn(8, 8), NAMES, head="mlp").fit(*images(), training=MLP, seed=s) for s in (1, 1, 2)]
    first, same, other = (model.predict(images(20, 3)[0]) for model in found)
    np.testing.assert_array_equal(first, same)
    assert np.abs(first - other).max() > 1e-4


@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_what_is_not_fitted_says_so(head, tmp_path):
    model = FeatureClassifier(cnn(8, 8), NAMES, head=head)
    for ask in (
        lambda: model.predict(images(3)[0]),
        lambda: model.score(*images(3)),
        lambda: model.save(tmp_path / "folder"),
    ):
        with pytest.raises(UserError, match="the classifier has no head yet; call fit"):
            ask()
    assert not (tmp_path / "folder").exists()


def test_a_head_that_there_is_not_is_named():
    with pytest.raises(UserError, match="there is no head 'svm'; use linear or mlp"):
        FeatureClassifier(cnn(8, 8), NAMES, head="svm")


def test_a_label_that_is_no_class_is_named_before_anything_is_fitted():
    model = FeatureClassifier(cnn(8, 8), NAMES)
    with pytest.raises(UserError, match="label 'bright' is none of the 3 classes"):
        model.fit(images(3)[0], ["dark", "bright", "light"])
    assert not model.fitted


def test_inputs_and_labels_that_do_not_fit_are_named():
    with pytest.raises(UserError):
        FeatureClassifier(cnn(8, 8), NAMES).fit(images(4)[0], [0, 1, 2])


def test_a_folder_of_another_class_is_named(fitted, tmp_path):
    _, model, folder = fitted
    Classifier(model.model, NAMES).save(tmp_path)
    with pytest.raises(UserError, match="holds a Classifier, not a FeatureClassifier; tfxfer.from_run opens"):
        FeatureClassifier.load(tmp_path)
    with pytest.raises(UserError, match="holds a FeatureClassifier, not a Classifier"):
        Classifier.load(folder)


@pytest.mark.parametrize("missing", ["model.json", "model.keras", None])
def test_a_foreign_folder_is_named(fitted, tmp_path, missing):
    _, _, folder = fitted
    for name in ("model.json", "model.keras") if missing else ():
        if name != missing:
            (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(UserError, match=f"not a finished run or saved model \\(.*{missing or 'model.json'}"):
        FeatureClassifier.load(tmp_path)
    with pytest.raises(UserError, match="there is no such folder"):
        FeatureClassifier.load(tmp_path / "nowhere")


def test_its_options_are_few_and_named_alike():
    given = inspect.signature(FeatureClassifier.fit).parameters
    assert len(given) - 1 <= 8
    assert all(given[name].kind is inspect.Parameter.KEYWORD_ONLY for name in ("validation", "training", "seed"))
    assert len(inspect.signature(FeatureClassifier.__init__).parameters) - 1 <= 8
