"""Baselines of visual question answering: the most frequent answers, and a bag of words beside raw pixels."""

from collections import Counter

import numpy as np

from tfxfer.evaluate.vqa import majority_by_question
from tfxfer.experiment import Outcome
from tfxfer.tasks.visual_questions import Questions, outcome
from tfxfer.transfer.feature import linear_probe

RAW_SIDE = 16  # pixels a side that the native baseline gets
NEAR = 1e-3  # of the lowest loss, where fitting the native baseline ends


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
    from sklearn.feature_extraction.text import CountVectorizer

    words = CountVectorizer(binary=True, token_pattern=r"\S+", min_df=1).fit(questions["train"].texts)
    place = {name: i for i, name in enumerate(names)}
    rows, labels = {}, {}
    for split, each in questions.items():
        pixels = small_pixels(each.images)[each.image_index]
        rows[split] = np.concatenate([words.transform(each.texts).toarray().astype(np.float32), pixels], 1)
        labels[split] = np.array([place.get(name, -1) for name in each.answers], np.int32)
    known = {split: labels[split] >= 0 for split in ("train", "validation")}
    train, held = ((rows[s][known[s]], labels[s][known[s]]) for s in ("train", "validation"))
    probe = linear_probe(*train, validation=held, num_classes=len(names), tolerance=NEAR)
    answers = [names[i] for i in probe.predict_proba(rows["test"]).argmax(1)]
    settings = {"method": f"bag of words and {RAW_SIDE} x {RAW_SIDE} raw pixels, logistic regression", "l2": probe.l2}
    return outcome(answers, questions, settings, trainable=probe.W.size + probe.b.size)


def small_pixels(images: np.ndarray) -> np.ndarray:
    """Return images uint8 [P, H, W, C] as rows of at most `RAW_SIDE` x `RAW_SIDE` pixels, float32 within 0..1."""
    import tensorflow as tf

    side = min(RAW_SIDE, *images.shape[1:3])
    parts = [tf.image.resize(images[i : i + 512], (side, side), antialias=True) for i in range(0, len(images), 512)]
    return np.concatenate([np.asarray(part) for part in parts]).reshape(len(images), -1) / 255
