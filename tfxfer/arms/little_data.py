"""Arms for little data, over frozen features: what else can be had of the same few labels.

self_training           transfer, and pseudo-labels for examples without a label
random_self_training    the same with random weights          native_self_training    the same for the native baseline
label_spreading         φ of transfer; labels spread along a graph of nearest neighbours
active_margin           φ of transfer; the labels are those that it asks for by margin
active_core_set         the same by k-center greedy           active_random           the same at random
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from tfxfer.arms.classifier import ModelOf
from tfxfer.arms.frozen_features import FrozenArm, FrozenFeatures
from tfxfer.baselines.classification import NEAR, UNITS, chosen_ngrams, in_two, native
from tfxfer.experiment import Outcome
from tfxfer.tasks.classification import Task
from tfxfer.tasks.unlabelled import Pools, Unlabelled
from tfxfer.transfer.feature import extract
from tfxfer.transfer.feature.active_learning import k_center_greedy, smallest_margins
from tfxfer.transfer.feature.probe import Probe, linear_probe
from tfxfer.transfer.feature.self_training import ProbeEstimator, SelfTrained, label_spreading, self_training

COMPONENTS = 256  # of the pixels, in self-training
GROWTH = 1.5  # of the labelled examples from one question for labels to the next
Choice = Callable[[np.ndarray, np.ndarray, np.ndarray, int], np.ndarray]  # see `ActiveArm`
Runs = Mapping[str, Callable[[int | None, int], Outcome]]


def little_data_runs(over: FrozenFeatures, models: Mapping[str, ModelOf], pools: Pools) -> Runs:
    """Return the arms for little data that the config asks for, by name.

    Args:
        over: The bridge, the task and the config.
        models: "transfer" and "random" -> seed -> the source's body.
        pools: What they read beside labels.
    """
    transfer, random, unlabelled, pool = models["transfer"], models["random"], pools.unlabelled, pools.choice
    made: dict[str, Callable[[], Callable[[int | None, int], Outcome]]] = {
        "self_training": lambda: SelfTrainingArm(over, transfer, unlabelled),
        "random_self_training": lambda: SelfTrainingArm(over, random, unlabelled),
        "native_self_training": lambda: partial(native_self_training, over.task, unlabelled, over.config),
        "label_spreading": lambda: LabelSpreadingArm(over, transfer, unlabelled),
        "active_random": lambda: ActiveArm(over, transfer, pool, "random"),
        "active_margin": lambda: ActiveArm(over, transfer, pool, "margin"),
        "active_core_set": lambda: ActiveArm(over, transfer, pool, "core_set"),
    }
    return {name: make() for name, make in made.items() if name in over.config.arms}


class PoolArm(FrozenArm):
    """An arm over frozen features that reads a pool too.

    Args:
        over: The bridge, the task and the config.
        model_of: seed -> the source's body.
        pool: Examples beside the labelled ones.
    """

    def __init__(self, over: FrozenFeatures, model_of: ModelOf, pool: Unlabelled) -> None:
        super().__init__(over, model_of)
        self.pool = pool
        self._of_pool: dict[int, list[Any]] = {}

    def pool_features(self, seed: int) -> np.ndarray:
        """Return the features of the whole pool, float32 [U, D]; φ runs once on each example."""
        if seed not in self._of_pool:
            with self.over.run.phase("features"):
                self._of_pool[seed] = [self._extracted(*part, seed) for part in self.pool.parts]
        return np.concatenate([np.asarray(part) for part in self._of_pool[seed]])

    def _extracted(self, dataset: Any, split: str, seed: int) -> Any:
        config, size = self.config, self.image_size
        options: dict[str, Any] = {"data_dir": config.data_dir, "key": self.task.key, "jit": config.jit}
        return extract(self.phi(self.model_of(seed)), dataset, split=split, image_size=size, **options)

    def _given(self, budget: int | None, seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        return {split: (np.asarray(rows[0]), rows[1]) for split, rows in self.features(budget, seed).items()}

    def _answer(
        self, predict: Callable[[Any], np.ndarray], budget: int | None, seed: int, settings: Any, size: int
    ) -> Outcome:
        test = np.asarray(self.features(budget, seed)["test"][0])
        shifted = self.task.shifted(lambda: predict(np.asarray(self._shift_features(budget, seed))))
        return Outcome(predict(test), settings, size, elsewhere=shifted)


class SelfTrainingArm(PoolArm):
    """W and b fitted on the labels and on pseudo-labels, the threshold chosen on validation."""

    def __call__(self, budget: int | None, seed: int) -> Outcome:
        """Self-train the head and answer the test split."""
        given, classes, config = self._given(budget, seed), len(self.task.class_names), self.config
        probe = linear_probe(*given["train"], validation=given["validation"], num_classes=classes)
        rows = self.pool.without(self.task.train(budget, seed))
        found = self_training(
            given["train"],
            self.pool_features(seed)[rows],
            given["validation"],
            ProbeEstimator(classes, probe.l2),
            best_accuracy(probe),
            thresholds=config.little.thresholds,
            rounds=config.little.rounds,
            hidden=self.pool.hidden[rows],
        )
        predict = (found.model or probe).predict_proba
        return self._answer(predict, budget, seed, {"l2": probe.l2} | told(found), probe.W.size + probe.b.size)


class LabelSpreadingArm(PoolArm):
    """Labels spread along a graph of nearest neighbours in φ."""

    def __call__(self, budget: int | None, seed: int) -> Outcome:
        """Spread the labels and answer the test split."""
        given = self._given(budget, seed)
        rows = self.pool.without(self.task.train(budget, seed))
        unlabelled, hidden = self.pool_features(seed)[rows], self.pool.hidden[rows]
        predict, settings = label_spreading(given["train"], unlabelled, given["validation"], hidden=hidden)
        return self._answer(predict, budget, seed, settings, given["train"][0].shape[1])


class ActiveArm(PoolArm):
    """W and b fitted on labels that are asked for, a few at a time.

    All kinds start with the same `start_labels` labels a class. Then each asks for half as many labels as it has, and
    so on, until it has as many as all other arms have at this budget. Classes need not be equally frequent among them.

    Args:
        over: The bridge, the task and the config.
        model_of: seed -> the source's body.
        pool: Examples whose labels can be asked for.
        how: "random", "margin" or "core_set".
    """

    def __init__(self, over: FrozenFeatures, model_of: ModelOf, pool: Unlabelled, how: str) -> None:
        super().__init__(over, model_of, pool)
        self.how = how

    def __call__(self, budget: int | None, seed: int) -> Outcome:
        """Ask for labels up to the budget, fit the head and answer the test split."""
        assert budget is not None
        start, classes = min(budget, self.config.little.start_labels), len(self.task.class_names)
        given = self._given(start, seed)
        X, y = given["train"]
        rows = self.pool.without(self.task.train(start, seed))
        features, labels = self.pool_features(seed)[rows], self.pool.hidden[rows]
        left, choose = np.arange(len(rows)), self._chooser(features, given["validation"], seed)
        while len(y) < budget * classes:
            count = min(budget * classes - len(y), math.ceil(len(y) * (GROWTH - 1)))
            chosen = left[choose(X, y, left, count)]
            X, y = np.concatenate([X, features[chosen]]), np.concatenate([y, labels[chosen]])
            left = np.setdiff1d(left, chosen)
        head = self.fit(given | {"train": (X, y)}, seed)
        settings = {"l2": head.probe.l2 if head.probe else None, "by_class": np.bincount(y, minlength=classes).tolist()}
        return self._answer(head.predict, budget, seed, settings, head.head_size)

    def _chooser(self, features: np.ndarray, validation: tuple[np.ndarray, np.ndarray], seed: int) -> Choice:
        """Return (labelled features, their labels, places that are left, count) -> which of these places."""
        classes, rng = len(self.task.class_names), np.random.default_rng([seed, 1])
        scale = np.maximum(features.std(0), 1e-3 * features.std(0).max() + 1e-12)

        def margin(X: np.ndarray, y: np.ndarray, left: np.ndarray, count: int) -> np.ndarray:
            probe = linear_probe(X, y, validation=validation, num_classes=classes)
            return smallest_margins(probe.predict_proba(features[left]), count)

        def core_set(X: np.ndarray, y: np.ndarray, left: np.ndarray, count: int) -> np.ndarray:
            return k_center_greedy(features[left] / scale, X / scale, count)

        def random(X: np.ndarray, y: np.ndarray, left: np.ndarray, count: int) -> np.ndarray:
            return rng.permutation(len(left))[:count]

        return {"margin": margin, "core_set": core_set, "random": random}[self.how]


def told(found: SelfTrained) -> dict[str, Any]:
    """Return what self-training chose, and how its best threshold went, as the settings of an outcome."""
    best = found.best
    return {
        "threshold": "none" if found.threshold is None else found.threshold,
        "validation": found.validation,
        "tried": found.rounds,
        "rounds": found.rounds[best] if best else [],
    }


def native_self_training(task: Task, pool: Unlabelled, config: Any, budget: int | None, seed: int) -> Outcome:
    """The plain baseline of the target's own field, self-trained; without pseudo-labels it is `native`."""
    small = task.train(budget, seed)
    rows = pool.without(small)
    options = {"thresholds": config.little.thresholds, "rounds": config.little.rounds, "hidden": pool.hidden[rows]}
    kind = _self_trained_ngrams if task.key == "text" else _self_trained_pixels
    found, answers, settings = kind(task, pool, small, rows, options)
    if found.model is None:
        plain = native(task, budget, seed)
        settings = {name: value for name, value in plain.settings.items() if name != "validation"} | told(found)
        return Outcome(plain.probabilities, settings, plain.trainable, elsewhere=plain.elsewhere)
    probabilities = np.zeros((len(answers), len(task.class_names)), np.float32)
    probabilities[:, found.model.classes_] = answers
    size = getattr(found.model, "coef_", None)
    trained = int(size.size) if size is not None else found.model.probe_.W.size
    return in_two(Outcome(probabilities, settings | told(found), trained), task)


def _asked(task: Task) -> list[tuple[Any, str]]:
    return [(task.dataset, "test"), *([(task.shift, "test")] if task.shift else [])]


def _self_trained_ngrams(
    task: Task, pool: Unlabelled, small: Any, rows: np.ndarray, options: Any
) -> tuple[SelfTrained, np.ndarray, dict[str, Any]]:
    """Self-train the chosen n-grams, whose vocabulary is that of the labelled and the unlabelled texts."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    train, held = ((d.texts(split), d.labels(split)) for d, split in ((small, "train"), (task.dataset, "validation")))
    chosen, texts = chosen_ngrams(train, held), pool.texts()
    vectorizer = TfidfVectorizer(sublinear_tf=True, **UNITS[chosen.unit])
    vectors = vectorizer.fit_transform([*train[0], *(texts[i] for i in rows)])
    count, model = len(train[0]), LogisticRegression(C=chosen.model.C, max_iter=1000)
    validation = (vectorizer.transform(held[0]), held[1])
    found = self_training((vectors[:count], train[1]), vectors[count:], validation, model, chosen.score, **options)
    asked = [text for dataset, split in _asked(task) for text in dataset.texts(split)]
    answers = found.model.predict_proba(vectorizer.transform(asked)) if found.model else np.zeros((0, 0))
    settings = {"method": f"TF-IDF of {chosen.unit}, logistic regression", "C": chosen.model.C}
    return found, answers, settings


def _self_trained_pixels(
    task: Task, pool: Unlabelled, small: Any, rows: np.ndarray, options: Any
) -> tuple[SelfTrained, np.ndarray, dict[str, Any]]:
    """Self-train logistic regression on the first principal components of the pixels, which makes each fit cheap.

    The components are those of the labelled and the unlabelled images, each pixel scaled to variance 1.
    """
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def of(dataset: Any, split: str) -> np.ndarray:
        return flat(dataset.arrays(split, **task.reading)["image"])

    labels, held, classes = small.labels("train"), task.labels("validation"), len(task.class_names)
    raw, raw_held = of(small, "train"), of(task.dataset, "validation")
    plain = linear_probe(raw, labels, validation=(raw_held, held), num_classes=classes, tolerance=NEAR)
    whole = np.concatenate([raw, flat(pool.images(**task.reading))[rows]])
    turn = make_pipeline(StandardScaler(), PCA(min(COMPONENTS, len(whole), whole.shape[1]), random_state=0)).fit(whole)
    turned, validation = turn.transform(whole), (turn.transform(raw_held), held)
    train = (turned[: len(raw)], labels)
    l2 = linear_probe(*train, validation=validation, num_classes=classes, standardise=False).l2
    estimator, score = ProbeEstimator(classes, l2, standardise=False), best_accuracy(plain)
    found = self_training(train, turned[len(raw) :], validation, estimator, score, **options)
    asked = np.concatenate([of(*part) for part in _asked(task)])
    answers = found.model.predict_proba(turn.transform(asked)) if found.model else np.zeros((0, 0))
    return found, answers, {"method": f"{COMPONENTS} components of the pixels, logistic regression", "l2": l2}


def flat(images: np.ndarray) -> np.ndarray:
    """Return images [N, H, W, C] as rows from 0 to 1, float32 [N, H·W·C]."""
    return images.reshape(len(images), -1).astype(np.float32) / 255


def best_accuracy(probe: Probe) -> float:
    """Return the accuracy on the validation split that the strength of a probe was chosen by."""
    return max(point.validation_accuracy or 0.0 for point in probe.path)
