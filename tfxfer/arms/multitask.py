"""The arms of multi-task learning: one `MultiTask`, some of its tasks trained together, one thing changed at a time.

transfer      all tasks together, over a body that learned before
random        all tasks together, over a body with fresh weights
alone         each task with a body of its own that starts as in transfer, with the same batches of that task
pairs         each two tasks together, as alone otherwise
alone_random  as alone, over fresh bodies
typical       no network: the most frequent class, the most typical caption, the most frequent answer to the question

Same budget: a task gets the same number of steps, and in each step the same examples, whichever tasks train beside it.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import keras
import numpy as np
from scipy.special import log_softmax

from tfxfer.arms.trained import Report, TrainedArm, Weights
from tfxfer.config import TrainingConfig
from tfxfer.errors import TfxferError
from tfxfer.evaluate.captions import captions
from tfxfer.evaluate.task_matrix import WITH
from tfxfer.evaluate.vqa import scores_by_image
from tfxfer.experiment import Outcome
from tfxfer.records import Record
from tfxfer.tasks.multitask import Tasks, beside, kind_of, measure_of
from tfxfer.transfer.knowledge.caption_head import PAD, words_of
from tfxfer.transfer.knowledge.multitask import MultiTask
from tfxfer.transfer.knowledge.multitask_training import EncodedTask, MultiTaskTraining

TYPICAL = 200  # training captions of which the most typical one is chosen


class Encoded:
    """The examples of all tasks as the network takes them, encoded once.

    Args:
        whole: Encodes texts and classes.
        tasks: All examples; those of training are drawn from.
    """

    def __init__(self, whole: MultiTask, tasks: Tasks) -> None:
        self.whole, self.tasks = whole, tasks
        self.train = lru_cache(maxsize=4)(self._train)
        self.held = {s: self._encoded(tasks.examples[s]) for s in ("validation", "test")}

    def _train(self, budget: int | None, seed: int) -> dict[str, EncodedTask]:
        return self._encoded(self.tasks.drawn(budget, seed).examples["train"])

    def _encoded(self, examples: Mapping[str, Any]) -> dict[str, EncodedTask]:
        return {task: EncodedTask(self.whole, task, each) for task, each in examples.items()}


class MultiTaskArm(TrainedArm):
    """An arm that trains some tasks of a `MultiTask` together, for every budget and seed.

    Args:
        encoded: The examples.
        network: Trains these tasks.
        start: seed → weights of `network` that training begins with.
        sizes: Task → its examples in a batch.
        training: Steps, learning rates.
        keep: The (budget, seed) whose weights `final` returns.
        jit: Compile with XLA.
        report: Called with a row after each training.
    """

    def __init__(
        self,
        encoded: Encoded,
        network: MultiTaskTraining,
        start: Callable[[int], Weights],
        sizes: Mapping[str, int],
        training: TrainingConfig,
        keep: tuple[int, int],
        jit: bool = False,
        report: Report | None = None,
    ) -> None:
        super().__init__(training, start, keep, report)
        self.encoded, self.network, self.sizes, self.jit = encoded, network, sizes, jit

    @property
    def model(self) -> keras.Model:
        """The network that trains."""
        return self.network

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that train together."""
        return self.network.tasks

    def train(self, learning_rate: float, budget: int | None, seed: int) -> tuple[float, dict[str, Any]]:
        """Train once; return the mean validation accuracy of the tasks (of equal ones, the smaller loss is better)."""
        training = self.training.at(learning_rate)
        history = self.network.fit_examples(
            self.encoded.train(budget, seed), self.sizes, training, seed, self.jit, self.watching(training.steps)
        )
        found = validated(self.encoded.whole, self.encoded.held["validation"], self.tasks)
        accuracy, loss = (float(np.mean([row[i] for row in found.values()])) for i in (0, 1))
        if not np.isfinite(loss):
            raise TfxferError(f"learning rate {learning_rate:g} ended in a loss of {loss}")
        row = {f"validation {task}": each[0] for task, each in found.items()}
        return accuracy - 1e-6 * loss, {"loss": float(history.history["loss"][-1]), "validation": accuracy, **row}

    def answer(self, budget: int | None, seed: int) -> Outcome:
        """Answer the test split of each task."""
        whole, test = self.encoded.whole, self.encoded.tasks.examples["test"]
        maps = maps_of(whole, [test[task].images for task in self.tasks])
        answers = {}
        for task in self.tasks:
            each = test[task]
            once = whole.heads[task].kind == "caption"  # an image with several captions is captioned once
            index = np.arange(len(each.images)) if once else each.image_index
            texts = whole.answer(task, maps[id(each.images)], index, each.questions).texts
            answers[task] = [texts[i] for i in each.image_index] if once else texts
        weights = dict(zip(self.tasks, self.network.task_weights.shown()))
        return outcome(answers, self.encoded.tasks, {"steps": self.training.steps, "task weights": weights})

    def final_model(self) -> MultiTask:
        """Return the model with the weights of `keep`."""
        self.final()
        return self.encoded.whole


class SeveralArms:
    """Some arms as one: what they answer side by side, such as each task alone.

    A task that several of them train has the mean of their scores, and beside it a score with each partner.

    Args:
        arms: Arms of different tasks.
    """

    def __init__(self, arms: Sequence["MultiTaskArm | ChosenArm"]) -> None:
        self.arms = {"+".join(arm.tasks): arm for arm in arms}

    def __call__(self, budget: int | None, seed: int) -> Outcome:
        """Train all of them, and answer the test split."""
        each: dict[str, list[np.ndarray]] = defaultdict(list)
        scores: dict[str, np.ndarray] = {}
        settings, trainable = {}, 0
        for name, arm in self.arms.items():
            found = arm(budget, seed)
            settings[name], trainable = found.settings, trainable + found.trainable
            for task in arm.tasks:
                measure = measure_of(task)
                each[measure].append(found.scores[measure])
                if len(arm.tasks) == 2:
                    other = next(one for one in arm.tasks if one != task)
                    scores[f"{measure}{WITH}{other}"] = found.scores[measure]
        scores |= {measure: np.mean(rows, axis=0) for measure, rows in each.items()}
        return Outcome(None, {"members": settings}, trainable, scores=scores)

    def recall(self, record: Record) -> None:
        """Go on with what each of them chose in an earlier run."""
        for name, arm in self.arms.items():
            arm.recall(replace(record, settings=record.settings["members"][name]))


class ChosenArm:
    """The arm, of several with other weights of the tasks, whose first seed validates best at a budget.

    Args:
        arms: Weighting → its arm.
    """

    def __init__(self, arms: Mapping[str, MultiTaskArm]) -> None:
        self.arms = dict(arms)
        self.chosen: dict[int | None, str] = {}

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that train together."""
        return next(iter(self.arms.values())).tasks

    def __call__(self, budget: int | None, seed: int) -> Outcome:
        """Train with the weighting that was chosen; the first time at a budget with each."""
        if budget in self.chosen:
            return self._named(self.arms[self.chosen[budget]](budget, seed), budget)
        found = {name: arm(budget, seed) for name, arm in self.arms.items()}
        best = {name: max(v for v in one.settings["validation"].values() if v == v) for name, one in found.items()}
        self.chosen[budget] = max(best, key=lambda name: best[name])
        outcome = self._named(found[self.chosen[budget]], budget)
        return replace(outcome, settings=outcome.settings | {"weightings tried": best})

    def _named(self, outcome: Outcome, budget: int | None) -> Outcome:
        return replace(outcome, settings=outcome.settings | {"loss weights": self.chosen[budget]})

    def recall(self, record: Record) -> None:
        """Go on with the weighting that an earlier run chose."""
        self.chosen.setdefault(record.budget, record.settings["loss weights"])
        self.arms[self.chosen[record.budget]].recall(record)

    def final_model(self) -> MultiTask:
        """Return the model of `keep`, with the weighting that was chosen at its budget."""
        budget, seed = next(iter(self.arms.values())).keep
        if budget not in self.chosen:
            self(budget, seed)
        return self.arms[self.chosen[budget]].final_model()


def maps_of(whole: MultiTask, images: Sequence[np.ndarray]) -> dict[int, np.ndarray]:
    """Return identity of an array of images → its feature maps; tasks that share images share them."""
    return {key: whole.feature_maps(pixels) for key, pixels in {id(one): one for one in images}.items()}


def validated(
    whole: MultiTask, encoded: Mapping[str, EncodedTask], tasks: Sequence[str]
) -> dict[str, tuple[float, float]]:
    """Return task → its accuracy and its loss in nats.

    Of captions the accuracy is that of the next word after the true words before it. An answer that is no class is
    wrong, and has no loss.
    """
    maps, found = maps_of(whole, [encoded[task].images for task in tasks]), {}
    for task in tasks:
        each, words = encoded[task], whole.heads[task].kind == "caption"
        read = each.ids[:, :-1] if words else each.ids if each.ids.shape[1] else None
        logits = whole.logits(task, maps[id(each.images)], each.image_index, read)
        labels = each.ids[:, 1:] if words else each.labels
        counts = labels != PAD if words else np.ones(len(labels), bool)
        known = counts & (labels >= 0)
        loss = (
            -log_softmax(logits[known], axis=-1)[np.arange(known.sum()), labels[known]].mean() if known.any() else 0.0
        )
        found[task] = float((logits.argmax(-1) == labels)[counts].mean()), float(loss)
    return found


def outcome(answers: Mapping[str, Sequence[str]], tasks: Tasks, settings: dict[str, Any]) -> Outcome:
    """Return answers to the test examples of some tasks as scores by image."""
    scores = {}
    for task, texts in answers.items():
        each = tasks.examples["test"][task]
        if kind_of(task) == "caption":
            scores[measure_of(task)] = caption_scores(texts, each.answers, each.image_index)
        else:
            scores[measure_of(task)] = scores_by_image(np.array(texts) == np.array(each.answers), each.image_index)
    return Outcome(None, settings, scores=scores, answers=beside(answers, tasks))


def caption_scores(texts: Sequence[str], true: Sequence[str], image_index: np.ndarray) -> np.ndarray:
    """Return the token F1 of each image, float [P]: of its caption with the best of its true ones.

    Args:
        texts: The caption of each example, the same for all examples of an image.
        true: The true caption of each.
        image_index: int [Q], the image of each.
    """
    references: dict[int, list[str]] = defaultdict(list)
    given: dict[int, str] = {}
    for image, text, own in zip(image_index.tolist(), texts, true):
        references[image].append(" ".join(words_of(own)))
        given[image] = text
    order = sorted(references)
    found = captions([given[i] for i in order], [references[i] for i in order], per_caption=True)
    return np.asarray(found["per_caption"]["token_f1"])


def typical(encoded: Encoded) -> Callable[[int | None, int], Outcome]:
    """Return the arm without a network: what is most frequent or most typical in training."""

    def answered(budget: int | None, seed: int) -> Outcome:
        tasks = encoded.tasks.drawn(budget, seed)
        answers = {}
        for task, test in tasks.examples["test"].items():
            train = tasks.examples["train"][task]
            if kind_of(task) == "caption":
                answers[task] = [typical_caption(train.answers)] * len(test.answers)
                continue
            usual = most_frequent(train.answers)
            by_question: dict[str, list[str]] = defaultdict(list)
            for question, answer in zip(train.questions, train.answers):
                by_question[question].append(answer)
            known = {question: most_frequent(own) for question, own in by_question.items()}
            asked = test.questions or [""] * len(test.answers)
            answers[task] = [known.get(question, usual) for question in asked]
        return outcome(answers, tasks, {})

    return answered


def most_frequent(answers: Sequence[str]) -> str:
    """Return the most frequent answer; of equal ones the first in the alphabet.

    >>> most_frequent(["b", "a", "b", "a"])
    'a'
    """
    counts = Counter(answers)
    return min(counts, key=lambda name: (-counts[name], name))


def typical_caption(texts: Sequence[str]) -> str:
    """Return the caption, of the first `TYPICAL`, that shares most words with the others.

    >>> typical_caption(["a cat", "a red cat", "the dog"])
    'a cat'
    """
    bags = [Counter(words_of(text)) for text in texts[:TYPICAL]]
    shared = [
        sum(2 * (one & other).total() / max(1, one.total() + other.total()) for other in bags if other is not one)
        for one in bags
    ]
    return " ".join(words_of(texts[int(np.argmax(shared))]))
