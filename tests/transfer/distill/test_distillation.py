"""The losses of a student against cases computed by hand, its projector, its start weights, its word pieces."""

import keras
import numpy as np
import pytest

from tfxfer.arms.distillation import Examples, Held, StudentArm
from tfxfer.arms.read_features import token_features
from tfxfer.config import TrainingConfig
from tfxfer.errors import UserError
from tfxfer.evaluate.mutual_information import complementarity_hypothesis, mutual_information
from tfxfer.models.bert import small_bert
from tfxfer.models.pooling import Pooling
from tfxfer.models.saved import load_model
from tfxfer.models.tokenizer import WordPieceTokenizer
from tfxfer.transfer.distill import (
    AttentionMap,
    FeatureMatch,
    Sizes,
    SoftTargets,
    pruned_vocabulary,
    student,
    targets,
    training_network,
)
from tfxfer.transfer.distill.teachers import Teacher, answers

pytestmark = pytest.mark.tensorflow
TEXTS = [
    f"the {animal} sees {n} small {other}s" for animal in ("cat", "dog") for other in ("fish", "bird") for n in range(9)
]


def hand(teacher, student, temperature):
    """T² · KL(teacher ‖ student) of probabilities at a temperature, from the definition."""
    soft = [np.asarray(p) ** (1 / temperature) for p in (teacher, student)]
    p, q = (one / one.sum() for one in soft)
    return temperature**2 * float((p * np.log(p / q)).sum())


def test_soft_targets_are_those_of_the_paper():
    teacher = np.array([[0.8, 0.2], [0.1, 0.9], [np.nan, np.nan]])
    given = np.array([[0.5, 0.5], [0.7, 0.3], [0.4, 0.6]], np.float16)  # of another dtype than the targets
    wanted = targets(teacher, np.array([0, -1, 1]), 2)
    soft = (hand([0.8, 0.2], [0.5, 0.5], 3) + hand([0.1, 0.9], [0.7, 0.3], 3)) / 3  # none of the third
    hard = -(np.log(0.5) + np.log(0.6)) / 3  # none of the second
    for weight in (0.0, 0.25, 1.0):
        found = float(SoftTargets(3.0, weight)(wanted, given))
        assert found == pytest.approx((1 - weight) * soft + weight * hard, rel=2e-3)
    assert hand([0.8, 0.2], [0.5, 0.5], 1) == pytest.approx(0.1927, abs=1e-4)  # ln 2 less the entropy of .8 and .2


def test_features_and_attention_without_a_teachers_answer_count_nothing():
    wanted, given = np.array([[1.0, 2.0], [np.nan, np.nan]], np.float32), np.array([[0.0, 0.0], [9.0, 9.0]], np.float32)
    assert float(FeatureMatch()(wanted, given)) == pytest.approx(5 / 4)
    maps = np.zeros((1, 2, 2, 3), np.float32)
    maps[0, 0, 0], maps[0, 1, 1] = 2.0, 1.0  # mean squares 4 and 1; of norm √17, then √4 places
    assert np.allclose(AttentionMap()(maps), np.array([[4, 0, 0, 1]]) * 2 / np.sqrt(17), atol=1e-5)
    assert AttentionMap((4, 4))(maps).shape == (1, 16)


def tiny(width, seed):
    keras.utils.set_random_seed(seed)
    images = keras.Input((6, 6, 1), name="image")
    x = keras.layers.Conv2D(width, 3, activation="relu")(images)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, keras.layers.Dense(2, activation="softmax")(x))


class Pixels:
    """Images with the contract of a data set that `extract` asks for."""

    name, keys, class_names, fingerprint = "pixels", ("image",), ("a", "b"), "pixels"

    def __init__(self, images):
        self.images, self.sizes = images, {"train": len(images)}

    def labels(self, split):
        return np.zeros(len(self.images), np.int32)

    def batches(self, split, batch_size, *, keys=None, skip=0, **reading):
        import tensorflow as tf

        rows = {"image": self.images}
        return tf.data.Dataset.from_tensor_slices(rows).batch(batch_size).skip(skip)


def test_a_student_is_trained_and_saved_and_its_teacher_stays(tmp_path):
    images = np.random.default_rng(0).uniform(0, 255, (32, 6, 6, 1)).astype(np.float32)
    first, other = tiny(5, 0), tiny(5, 1)
    ensemble = [Teacher(first, np.array([1, 0]), "image"), Teacher(other, np.array([0, 1]), "image")]
    said = answers(ensemble, Pixels(images), "train", ("logits", "features"), tmp_path)
    expected = (np.asarray(first(images))[:, ::-1] + np.asarray(other(images))) / 2  # the first has another order
    assert np.allclose(said.probabilities, expected, atol=1e-5) and said.features.shape == (32, 10)
    before = [weight.copy() for weight in first.get_weights()]
    labels = {split: said.probabilities.argmax(1) for split in ("validation", "test")}
    wanted = {"probabilities": targets(said.probabilities, labels["test"], 2), "features": said.features}
    arm = StudentArm(
        lambda seed: training_network(tiny(3, 7 + seed), width=10, label_weight=0.0),
        lambda seed: Examples(images, wanted),
        Held(dict.fromkeys(labels, images), labels),
        TrainingConfig(steps=8, learning_rates=(0.01,)),
        steps=8,
        seed=0,
    )
    outcome = arm(None, 0)
    assert all(np.array_equal(a, b) for a, b in zip(before, first.get_weights()))  # no gradient reaches the teacher
    teachers = {id(v) for v in first.variables}
    assert not teachers & {id(v) for v in arm.model.variables}
    made = arm.student()
    assert made.count_params() == tiny(3, 0).count_params()  # the projector is no part of it
    assert np.allclose(np.asarray(made(images)), outcome.probabilities, atol=1e-6)
    made.save(tmp_path / "student.keras")
    again = load_model(tmp_path / "student.keras")
    assert np.array_equal(np.asarray(again(images)), np.asarray(made(images)))


def test_layers_of_a_bert_teacher_give_its_own_outputs_where_all_are_taken():
    made = student("fresh:bert", 2, tiny(3, 0), "text", TEXTS, Sizes(width=8, length=12), 0).model
    pieces = WordPieceTokenizer(made.get_layer("tokenizer").vocabulary)
    phi = token_features(pieces, Pooling())(small_bert(len(pieces.vocabulary), 2, 8, 2, 12))
    teacher = keras.Model(phi.input, keras.layers.Dense(2, activation="softmax")(phi.output))
    texts = np.array(TEXTS[::5], object)
    whole = student("layers:2", 2, teacher, "text", TEXTS, Sizes(length=12), 1)
    assert np.allclose(np.asarray(whole.model(texts)), np.asarray(teacher(texts)), atol=1e-6)
    assert whole.weight_map.coverage == 1 and len(whole.model.trainable_variables) > 30  # φ of the teacher is frozen
    vocabulary = teacher.get_layer("tokenizer").vocabulary
    few = pruned_vocabulary(vocabulary, TEXTS, len(vocabulary) - 5, ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"))
    half = student("layers:1", 2, teacher, "text", TEXTS, Sizes(vocabulary=len(few), length=12), 1).model
    ids = np.asarray(half.get_layer("tokenizer")(texts))
    assert half.count_params() < teacher.count_params() and few.index("[UNK]") not in ids  # no text is lost
    with pytest.raises(UserError, match="the teacher has 2 layers"):
        student("layers:3", 2, teacher, "text", TEXTS, Sizes(), 0)


def test_mutual_information_and_what_the_hypothesis_predicts():
    from sklearn.metrics import mutual_info_score

    rng = np.random.default_rng(0)
    labels, noise = rng.integers(0, 3, 400), rng.integers(0, 3, 400)
    solo = np.where(rng.random(400) < 0.6, labels, noise)
    assert mutual_information(solo, labels, shuffles=0) == pytest.approx(mutual_info_score(solo, labels) / np.log(2))
    assert mutual_information(noise, labels) < 0.01 < mutual_information(solo, labels)
    near = complementarity_hypothesis(np.where(rng.random(400) < 0.95, solo, noise), solo, labels, draws=100)
    assert near.predicts == "a gain" and near.teacher_student > near.student_label
    assert complementarity_hypothesis(noise, solo, labels, draws=100).predicts == "no gain"
    assert complementarity_hypothesis(labels, np.stack([solo, solo]), labels, draws=100).predicts == "undecided"
