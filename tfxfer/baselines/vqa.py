"""Visual question answering without a network that trains: the most frequent answers, and one linear model.

The linear model is W·[question words, image] + b. Over raw pixels it is the native baseline. Over the positions of a
frozen encoder's feature map it is a transfer in its simplest form.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from tfxfer.evaluate.vqa import majority_by_question
from tfxfer.experiment import Outcome
from tfxfer.models.standardize import mean_and_channel_deviation
from tfxfer.tasks.visual_questions import Questions, outcome
from tfxfer.transfer.feature import linear_probe
from tfxfer.transfer.knowledge.caption_model import pool_positions

RAW_SIDE = 16  # pixels a side that the native baseline gets
NEAR = 1e-3  # of the lowest loss, where fitting a linear model ends
SIDE, AXES = 4, 256  # positions a side of a feature map, and principal axes of all its positions
STRENGTHS = (1e-5, 1e-4, 1e-3)  # of the L2 penalty, for maps and words of length about 1


def prior(questions: dict[str, Questions]) -> Outcome:
    """Answer each question with its most frequent training answer, without its image."""
    train, test = questions["train"], questions["test"]
    answers = majority_by_question(train.texts, train.answers, test.texts)
    return outcome(answers, questions, {"method": "the most frequent training answer to each question"})


def majority(questions: dict[str, Questions]) -> Outcome:
    """Answer every question with the most frequent training answer."""
    counts = Counter(questions["train"].answers)
    best = min(counts, key=lambda name: (-counts[name], name))
    return outcome([best] * len(questions["test"].texts), questions, {"method": f"always '{best}'"})


def native(questions: dict[str, Questions], names: tuple[str, ...]) -> Outcome:
    """Logistic regression on a bag of words beside raw pixels (Zhou et al. 2015, without a CNN)."""
    pixels = {split: small_pixels(each.images) for split, each in questions.items()}
    settings = {"method": f"bag of words and {RAW_SIDE} x {RAW_SIDE} raw pixels, logistic regression"}
    return _logistic(questions, names, pixels, settings)


def linear(questions: dict[str, Questions], names: tuple[str, ...], maps: Mapping[str, np.ndarray]) -> Outcome:
    """W·[question words, φ's positions] + b: logistic regression on a bag of words and a frozen encoder's feature map.

    The map is averaged to at most 4 x 4 positions, each channel scaled as a whole, and all positions together are
    turned onto their first 256 principal axes: as good as all 2,048 numbers, and ten times as fast.

    Args:
        questions: The questions of the three splits.
        names: The answers that are classes.
        maps: Split -> feature maps of its images, float [P, h, w, E].
    """
    settings = {"method": f"bag of words and {AXES} principal axes of the positions of φ, logistic regression"}
    with _one_thread():
        pooled = {split: np.asarray(pool_positions(each, SIDE, "pool_positions")) for split, each in maps.items()}
        rows = dict(zip(pooled, _turned(pooled["train"], list(pooled.values()))))
    return _logistic(questions, names, rows, settings, STRENGTHS)


def _logistic(
    questions: dict[str, Questions],
    names: tuple[str, ...],
    images: Mapping[str, np.ndarray],
    settings: dict[str, Any],
    strengths: Sequence[float] | None = None,
) -> Outcome:
    """Fit one head on [question words, image], its strength chosen on validation, and answer the test questions.

    Args:
        questions: The questions of the three splits.
        names: The answers that are classes.
        images: Split -> rows of its images, float32 [P, D].
        settings: What was done.
        strengths: Of the penalty on numbers as they are; None: the probe's own, on standardised numbers.
    """
    from sklearn.feature_extraction.text import CountVectorizer

    words = CountVectorizer(binary=True, token_pattern=r"\S+", min_df=1).fit(questions["train"].texts)
    place = {name: i for i, name in enumerate(names)}
    rows, labels = {}, {}
    for split, each in questions.items():
        bags = words.transform(each.texts).toarray().astype(np.float32)
        if strengths is not None:  # a question of length about 1, as its image has
            bags /= np.sqrt(np.maximum(bags.sum(1, keepdims=True), 1))
        rows[split] = np.concatenate([bags, images[split][each.image_index]], 1)
        labels[split] = np.array([place.get(name, -1) for name in each.answers], np.int32)
    known = {split: labels[split] >= 0 for split in ("train", "validation")}
    train, held = ((rows[s][known[s]], labels[s][known[s]]) for s in ("train", "validation"))
    how: dict[str, Any] = {} if strengths is None else {"strengths": strengths, "standardise": False}
    with _one_thread():
        probe = linear_probe(*train, validation=held, num_classes=len(names), tolerance=NEAR, **how)
    answers = [names[i] for i in probe.predict_proba(rows["test"]).argmax(1)]
    return outcome(answers, questions, settings | {"l2": probe.l2}, trainable=probe.W.size + probe.b.size)


def _one_thread() -> AbstractContextManager[Any]:
    """Keep BLAS to one thread: idle threads spin between its short calls, and take the processor from others."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, user_api="blas")


def _turned(train: np.ndarray, all_maps: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return maps [P, h, w, E] centred, scaled by channel, on the principal axes of `train`, at a mean length of 1."""
    mean, deviation = mean_and_channel_deviation(train)
    own = ((train - mean) / deviation).reshape(len(train), -1)
    kernel = own @ own.T if len(own) < own.shape[1] else own.T @ own
    values, vectors = np.linalg.eigh(kernel)
    best = np.argsort(-values)[: min(AXES, len(values))]
    axes = vectors[:, best]
    if len(own) < own.shape[1]:
        axes = own.T @ axes / np.sqrt(np.maximum(values[best], NEAR))
    length = np.sqrt(max(float(np.square(own).sum(1).mean()), NEAR))
    return [
        (((maps - mean) / deviation).reshape(len(maps), -1) @ axes / length).astype(np.float32) for maps in all_maps
    ]


def small_pixels(images: np.ndarray) -> np.ndarray:
    """Return images uint8 [P, H, W, C] as rows of at most `RAW_SIDE` x `RAW_SIDE` pixels, float32 within 0..1."""
    import tensorflow as tf

    side = min(RAW_SIDE, *images.shape[1:3])
    parts = [tf.image.resize(images[i : i + 512], (side, side), antialias=True) for i in range(0, len(images), 512)]
    return np.concatenate([np.asarray(part) for part in parts]).reshape(len(images), -1) / 255
