"""Visual question answering without a network that trains: the most frequent answers, and one linear model.

The linear model is W·[question words, image] + b. Over raw pixels it is the native baseline. Over the positions of a
frozen encoder's feature map it is a transfer in its simplest form, with one head or with one for each type of question.
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
from tfxfer.transfer.feature import Probe, linear_probe
from tfxfer.transfer.knowledge.caption_model import pool_positions

RAW_SIDE = 16  # pixels a side that the native baseline gets
NEAR = 1e-3  # of the lowest loss, where fitting a linear model ends
SIDE, AXES = 4, 256  # positions a side of a feature map, and principal axes of all its positions
STRENGTHS = (1e-5, 1e-4, 1e-3)  # of the L2 penalty, for maps and words of length about 1
EVERY = ""  # the head of all types of question
ENOUGH = 20  # training questions of a type that gets a head of its own


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


def linear(
    questions: dict[str, Questions], names: tuple[str, ...], rows: Mapping[str, np.ndarray], by_type: bool = False
) -> Outcome:
    """W·[question words, φ's positions] + b: logistic regression on a bag of words and a frozen encoder's feature map.

    With one W for all questions, an image says the same of every question. `by_type` fits W and b for each type of
    question instead. A type with fewer than 20 training questions, or with one answer, then has the common head.

    Args:
        questions: The questions of the three splits; `Questions.types` says which type each has.
        names: The answers that are classes.
        rows: Split -> its images' feature maps as rows of `position_axes`, float [P, D].
        by_type: Whether each type of question gets a head of its own.
    """
    heads = "a head for each type of question" if by_type else "one head"
    settings = {"method": f"bag of words and principal axes of φ's positions, logistic regression, {heads}"}
    return _logistic(questions, names, rows, settings, STRENGTHS, by_type)


def position_axes(maps: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return split -> feature maps [P, h, w, E] as rows, float32 [P, 256].

    A map is averaged to at most 4 x 4 positions, each channel is scaled as a whole, and all positions together are
    turned onto their first 256 principal axes: as good as all 2,048 numbers, and ten times as fast.

    Args:
        maps: Split -> feature maps, "train" among them, which gives scale and axes.
    """
    with _one_thread():
        pooled = {split: np.asarray(pool_positions(each, SIDE, "pool_positions")) for split, each in maps.items()}
        return dict(zip(pooled, _turned(pooled["train"], list(pooled.values()))))


def _logistic(
    questions: dict[str, Questions],
    names: tuple[str, ...],
    images: Mapping[str, np.ndarray],
    settings: dict[str, Any],
    strengths: Sequence[float] | None = None,
    by_type: bool = False,
) -> Outcome:
    """Fit one head on [question words, image], its strength chosen on validation, and answer the test questions.

    Args:
        questions: The questions of the three splits.
        names: The answers that are classes.
        images: Split -> rows of its images, float32 [P, D].
        settings: What was done.
        strengths: Of the penalty on numbers as they are; None: the probe's own, on standardised numbers.
        by_type: Whether each type of question gets a head of its own besides.
    """
    rows, labels = _rows(questions, names, images, unit=strengths is not None)
    types = {split: np.array(each.types) for split, each in questions.items()}
    own = _own_heads(types, labels) if by_type else []
    how: dict[str, Any] = {} if strengths is None else {"strengths": strengths, "standardise": False}

    def probe(kind: str) -> Probe:
        """Return the head of one type of question, or of all."""
        used = {s: (labels[s] >= 0) & ((types[s] == kind) | (kind == EVERY)) for s in ("train", "validation")}
        train, held = ((rows[split][one], labels[split][one]) for split, one in used.items())
        return linear_probe(*train, validation=held, num_classes=len(names), tolerance=NEAR, **how)

    head_of = np.array([kind if kind in own else EVERY for kind in types["test"].tolist()])
    answers = np.zeros(len(head_of), np.int64)
    with _one_thread():
        probes = {kind: probe(kind) for kind in np.unique(head_of).tolist()}
    for kind, fitted in probes.items():
        answers[head_of == kind] = fitted.predict_proba(rows["test"][head_of == kind]).argmax(1)
    settings |= {"l2": {kind: fitted.l2 for kind, fitted in probes.items()} if by_type else probes[EVERY].l2}
    trainable = sum(fitted.W.size + fitted.b.size for fitted in probes.values())
    return outcome([names[i] for i in answers], questions, settings, trainable=trainable)


def _rows(
    questions: dict[str, Questions], names: tuple[str, ...], images: Mapping[str, np.ndarray], unit: bool
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return split -> [question words, image] float32 [Q, W + D], and split -> the answers' numbers, −1 for others.

    Args:
        questions: The questions of the three splits.
        names: The answers that are classes.
        images: Split -> rows of its images, float32 [P, D].
        unit: Whether a question gets a length of about 1, as its image has.
    """
    from sklearn.feature_extraction.text import CountVectorizer

    words = CountVectorizer(binary=True, token_pattern=r"\S+", min_df=1).fit(questions["train"].texts)
    place = {name: i for i, name in enumerate(names)}
    rows, labels = {}, {}
    for split, each in questions.items():
        bags = words.transform(each.texts).toarray().astype(np.float32)
        if unit:
            bags /= np.sqrt(np.maximum(bags.sum(1, keepdims=True), 1))
        rows[split] = np.concatenate([bags, images[split][each.image_index]], 1)
        labels[split] = np.array([place.get(name, -1) for name in each.answers], np.int32)
    return rows, labels


def _own_heads(types: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray]) -> list[str]:
    """Return the types of question that get a head of their own: often enough asked, and answered in several ways."""
    found = []
    for kind in np.unique(types["train"]).tolist():
        own = labels["train"][(types["train"] == kind) & (labels["train"] >= 0)]
        held = ((types["validation"] == kind) & (labels["validation"] >= 0)).any()
        if len(own) >= ENOUGH and len(np.unique(own)) > 1 and held:
            found.append(kind)
    return found


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
