"""The arms of visual question answering: one model, compiled once, with one thing changed at a time.

transfer   picture encoder and question encoder learned before      random         both with fresh weights
random_f   only the picture encoder is fresh                        random_g       only the question encoder is fresh
shuffled   as transfer, but questions stand under other pictures    question_only  every picture is the mean one
prior      no network: the commonest training answer to a question  native         bag of words and raw pixels
majority   the commonest answer of all
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfxfer.config import VqaConfig
from tfxfer.errors import TfxferError
from tfxfer.evaluate.vqa import by_picture, majority_by_question, vqa
from tfxfer.experiment import Outcome, sweep
from tfxfer.records import Record
from tfxfer.tasks.visual_questions import Questions
from tfxfer.transfer.feature.probe import linear_probe
from tfxfer.transfer.knowledge.question_batches import QuestionBatch
from tfxfer.transfer.knowledge.visual_qa import VisualQA

MEASURE = "question_accuracy"
RAW_SIDE = 16  # pixels a side that the native baseline sees
NEAR = 1e-3  # of the lowest loss, where fitting the native baseline ends


@dataclass(frozen=True)
class Lessons:
    """Questions of the three splits with what the model reads of them."""

    questions: dict[str, Questions]
    asked: dict[str, QuestionBatch]

    def blind(self) -> "Lessons":
        """Return the lessons in which every picture is the mean training picture."""
        sight = self.asked["train"].sight
        mean = sight.mean(0, keepdims=True, dtype=np.float64)
        mean = (mean.round() if sight.dtype == np.uint8 else mean).astype(sight.dtype)
        blank = {s: a._replace(sight=np.repeat(mean, len(a.sight), 0)) for s, a in self.asked.items()}
        return replace(self, asked=blank)

    def shuffled(self, seed: int) -> "Lessons":
        """Return the lessons whose training questions, with their answers, stand under other pictures."""
        train = self.questions["train"].shuffled(seed)
        asked = self.asked["train"]._replace(picture=train.picture.astype(np.int32))
        return Lessons(self.questions | {"train": train}, self.asked | {"train": asked})


class VQAArm:
    """An arm that trains a `VisualQA` for every budget and seed.

    The learning rate is chosen once, at the greatest budget with the first seed, where there is most to learn.

    Args:
        qa: The model, the same object for all arms: it is compiled once.
        start: seed -> the weights that training begins with.
        lessons: (budget, seed) -> what is learned and answered.
        config: The training.
        on_training: Called with a row after each training.
    """

    def __init__(
        self,
        qa: VisualQA,
        start: Callable[[int], list[np.ndarray]],
        lessons: Callable[[int | None, int], Lessons],
        config: VqaConfig,
        on_training: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self.qa, self.start, self.lessons, self.config = qa, start, lessons, config
        self.on_training = on_training
        self.keep = (max(config.pictures), config.seed)  # whose weights are kept
        self.kept: list[np.ndarray] | None = None
        self.rate: float | None = None
        self.tried: dict[str, float] = {}

    def __call__(self, budget: int | None, seed: int) -> Outcome:
        """Train, and answer the test questions."""
        rate, lessons = self._rate(), self.lessons(budget, seed)
        if (budget, seed) == self.keep and self.kept is not None:
            self.qa.trained.set_weights(self.kept)
        else:
            self._attempt(rate, budget, seed)
        settings = {"learning_rate": rate, "updates": self.config.updates, "validation": self.tried}
        trainable = sum(int(np.prod(v.shape)) for v in self.qa.trained.trainable_variables)
        return outcome(self.answers(lessons, "test"), lessons.questions, settings, trainable)

    def answers(self, lessons: Lessons, split: str, without: str | None = None) -> list[str]:
        """Return what the model, as its weights are now, answers to the questions of a split."""
        best = self.qa.logits(lessons.asked[split], without).argmax(1)
        return [self.qa.answers[i] for i in best]

    def recall(self, record: Record) -> None:
        """Go on with the learning rate that an earlier run chose."""
        self.rate, self.tried = record.settings["learning_rate"], record.settings["validation"]

    def final(self) -> VisualQA:
        """Return the model with the weights of `keep`, trained again when its record came from elsewhere."""
        if self.kept is None:
            _, self.kept = self._attempt(self._rate(), *self.keep)
        self.qa.trained.set_weights(self.kept)
        return self.qa

    def _rate(self) -> float:
        """Return the learning rate that validates best, chosen when it is first asked for."""
        if self.rate is None:
            self.rate, self.kept, self.tried = sweep(
                self.config.learning_rates, lambda rate: self._attempt(rate, *self.keep)
            )
        return self.rate

    def _attempt(self, rate: float, budget: int | None, seed: int) -> tuple[float, list[np.ndarray]]:
        """Train once; return the validation accuracy (ties go to the smaller loss), and the weights."""
        qa, lessons, config = self.qa, self.lessons(budget, seed), self.config
        qa.trained.set_weights(self.start(seed))
        history = qa.fit(
            lessons.asked["train"],
            steps=config.updates,
            batch_size=config.batch_size,
            learning_rate=rate,
            seed=seed,
            jit=config.jit,
        )
        score, nats = held_out(qa.logits(lessons.asked["validation"]), lessons.asked["validation"].labels)
        if not math.isfinite(nats):
            raise TfxferError(f"learning rate {rate:g} ended in a loss of {nats}")
        if self.on_training:
            row = {"loss": history.history["loss"][-1], "validation": score, "learning_rate": rate}
            self.on_training({**row, "pictures": budget, "seed": seed})
        return score - 1e-6 * nats, qa.trained.get_weights()


def held_out(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Return the accuracy, an unknown answer (−1) being wrong, and the mean loss in nats of the known ones."""
    highest = logits.max(1)
    log_p = logits - highest[:, None] - np.log(np.exp(logits - highest[:, None]).sum(1, keepdims=True))
    known = labels >= 0
    nats = -log_p[known, labels[known]].mean() if known.any() else 0.0
    return float((logits.argmax(1) == labels).mean()), float(nats)


def outcome(
    answers: list[str], questions: dict[str, Questions], settings: dict[str, Any], trainable: int = 0
) -> Outcome:
    """Return an arm's answers to the test questions as scores by picture, which the verdict draws from."""
    test, train = questions["test"], questions["train"]
    correct = np.array(answers) == np.array(test.answers)
    found = vqa(answers, test.answers, questions=test.texts, kinds=test.kinds, training=(train.texts, train.answers))
    settings = settings | {"by_kind": found["by_kind"]}
    shown = [answers[i] for i in test.first]
    return Outcome(None, settings, trainable, scores={MEASURE: by_picture(correct, test.picture)}, answers=shown)


def prior(questions: dict[str, Questions]) -> Outcome:
    """Answer each question as training most often did, without its picture."""
    train, test = questions["train"], questions["test"]
    answers = majority_by_question(train.texts, train.answers, test.texts)
    return outcome(answers, questions, {"method": "the commonest training answer to each question"})


def majority(questions: dict[str, Questions]) -> Outcome:
    """Answer every question with the commonest training answer."""
    counts = Counter(questions["train"].answers)
    best = min(counts, key=lambda name: (-counts[name], name))
    return outcome([best] * len(questions["test"].texts), questions, {"method": f"always '{best}'"})


def native(questions: dict[str, Questions], names: tuple[str, ...]) -> Outcome:
    """Logistic regression on a bag of words beside raw pixels (Zhou et al. 2015, without a CNN)."""
    from sklearn.feature_extraction.text import CountVectorizer

    words = CountVectorizer(binary=True, token_pattern=r"\S+", min_df=1).fit(questions["train"].texts)
    place = {name: i for i, name in enumerate(names)}
    rows, labels = {}, {}
    for split, asked in questions.items():
        pixels = small(asked.images)[asked.picture]
        rows[split] = np.concatenate([words.transform(asked.texts).toarray().astype(np.float32), pixels], 1)
        labels[split] = np.array([place.get(name, -1) for name in asked.answers], np.int32)
    known = {split: labels[split] >= 0 for split in ("train", "validation")}
    train, held = ((rows[s][known[s]], labels[s][known[s]]) for s in ("train", "validation"))
    probe = linear_probe(*train, validation=held, num_classes=len(names), tolerance=NEAR)
    answers = [names[i] for i in probe.predict_proba(rows["test"]).argmax(1)]
    settings = {"method": f"bag of words and {RAW_SIDE} x {RAW_SIDE} raw pixels, logistic regression", "l2": probe.l2}
    return outcome(answers, questions, settings, trainable=probe.W.size + probe.b.size)


def small(images: np.ndarray) -> np.ndarray:
    """Return pictures uint8 [P, H, W, C] as rows of at most `RAW_SIDE` x `RAW_SIDE` pixels, float32 within 0..1."""
    import tensorflow as tf

    side = min(RAW_SIDE, *images.shape[1:3])
    parts = [tf.image.resize(images[i : i + 512], (side, side), antialias=True) for i in range(0, len(images), 512)]
    return np.concatenate([np.asarray(part) for part in parts]).reshape(len(images), -1) / 255
