"""Few-shot episodes over the features of transfer, of random weights and of the native baseline.

Every space of features answers the same episodes, by the nearest class mean (Euclidean and cosine) and by a linear
probe. Nothing is chosen, so there is no validation: the probe has one strength of L2.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfxfer.arms.classifier import ModelOf
from tfxfer.arms.frozen_features import FrozenFeatures
from tfxfer.baselines.classification import STRENGTHS, UNITS
from tfxfer.config import probe_seeds
from tfxfer.data.splits import draw_per_class
from tfxfer.models.fresh import cheap_to_repeat
from tfxfer.tasks.classification import Task
from tfxfer.tasks.unlabelled import training_pool
from tfxfer.transfer.feature import extract
from tfxfer.transfer.feature.probe import linear_probe
from tfxfer.transfer.feature.prototypes import METRICS, Episode, draw_episodes, nearest_prototype, whitening

MOST = 2000  # training examples that support is drawn from, the same number of each class
L2 = 1e-3  # of the probe on φ, as without validation everywhere
PROBE, WHITENED = "probe", "whitened"


@dataclass(frozen=True)
class EpisodeScores:
    """Accuracies by episode.

    Attributes:
        scores: Space ("transfer", "random", "native") -> method -> float [S, E]: S networks, E episodes. The methods
            are "euclidean", "cosine", "whitened" (Euclidean on whitened features; not of the native ones) and "probe".
        ways: Classes of an episode.
        shots: Support examples of a class.
        queries: Queries of a class.
        classes: Classes that were drawn from.
    """

    scores: dict[str, dict[str, np.ndarray]]
    ways: int
    shots: int
    queries: int
    classes: int


def run_episodes(over: FrozenFeatures, models: Mapping[str, ModelOf]) -> EpisodeScores:
    """Draw the episodes and answer them in every space.

    Args:
        over: The bridge, the task and the config.
        models: "transfer" and "random" -> seed -> the source's body.
    """
    task, config, asked = over.task, over.config, over.config.little
    pool = training_pool(task, 0, over.run).parts[0][0]
    labels = pool.labels("train")
    most = max(asked.shots, MOST // len(task.class_names))
    sizes = np.bincount(labels, minlength=len(task.class_names))
    rows = draw_per_class(labels, {c: min(int(n), most) for c, n in enumerate(sizes) if n}, config.seed)
    small = pool.with_rows("train", rows)
    drawn = draw_episodes(
        small.labels("train"),
        task.labels("test"),
        task.class_names,
        episodes=asked.episodes,
        ways=asked.ways,
        shots=asked.shots,
        queries=asked.queries,
        seed=config.seed,
    )
    several = probe_seeds(config) if cheap_to_repeat(models["transfer"](0), config.probe_seeds) else config.most_seeds
    seeds = {"transfer": [config.seed], "random": range(config.seed, config.seed + several)}
    scores = {
        name: _stacked([_on_phi(drawn, *_features(over, models[name](seed), small)) for seed in own])
        for name, own in seeds.items()
    }
    scores["native"] = _stacked([in_episodes(drawn, *native_rows(task, small), _plain_probe)])
    classes = len({int(c) for episode in drawn for c in episode.classes})
    return EpisodeScores(scores, asked.ways, asked.shots, asked.queries, classes)


def in_episodes(
    episodes: Sequence[Episode], train: Any, test: Any, probe: Callable[[Any, np.ndarray, Any], np.ndarray]
) -> dict[str, np.ndarray]:
    """Return method -> accuracy in each episode, float [E].

    Args:
        episodes: What is drawn.
        train: Features [N, D], dense or sparse, that support is drawn from.
        test: Features [M, D] that queries are drawn from.
        probe: (support, labels, queries) -> answers.
    """
    found: dict[str, list[float]] = {method: [] for method in (*METRICS, PROBE)}
    for episode in episodes:
        support, queries = train[episode.support.ravel()], test[episode.queries.ravel()]
        labels = episode.support_labels
        answers = {metric: nearest_prototype(support, labels, queries, metric) for metric in METRICS}
        answers[PROBE] = probe(support, labels, queries)
        for method, given in answers.items():
            found[method].append(float(np.mean(given == episode.query_labels)))
    return {method: np.array(values) for method, values in found.items()}


def _on_phi(drawn: Sequence[Episode], train: np.ndarray, test: np.ndarray) -> dict[str, np.ndarray]:
    """Return method -> accuracy in each episode; whitening is fitted on all examples that support is drawn from."""
    found = in_episodes(drawn, train, test, _probe_on_phi)
    to_white = whitening(train)
    white_train, white_test = to_white(train), to_white(test)
    right = [
        nearest_prototype(white_train[one.support.ravel()], one.support_labels, white_test[one.queries.ravel()])
        == one.query_labels
        for one in drawn
    ]
    return found | {WHITENED: np.mean(right, axis=1)}


def _stacked(rows: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {method: np.stack([row[method] for row in rows]) for method in rows[0]}


def _features(over: FrozenFeatures, body: Any, small: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return φ of the training examples that support is drawn from, and of the test split."""
    task, config = over.task, over.config
    size = task.image_shape[:2] if task.key == "image" else None
    phi = over.phi(body, input_bridge=over.bridge)
    options: dict[str, Any] = {"data_dir": config.data_dir, "key": task.key, "image_size": size, "jit": config.jit}
    with over.run.phase("features"):
        found = [extract(phi, data, split=s, **options) for data, s in ((small, "train"), (task.dataset, "test"))]
    return np.asarray(found[0]), np.asarray(found[1])


def native_rows(task: Task, small: Any) -> tuple[Any, Any]:
    """Return the native baseline's features: TF-IDF of character n-grams, sparse, or raw pixels from 0 to 1.

    The vocabulary is that of all texts that support is drawn from; no label is needed for it.
    """
    if task.key == "image":
        images = (data.arrays(s, **task.reading)["image"] for data, s in ((small, "train"), (task.dataset, "test")))
        train, test = (rows.reshape(len(rows), -1).astype(np.float32) / 255 for rows in images)
        return train, test
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(sublinear_tf=True, **UNITS["characters"])
    rows = vectorizer.fit_transform(small.texts("train"))
    return rows.tocsr(), vectorizer.transform(task.dataset.texts("test")).tocsr()


def _probe_on_phi(support: np.ndarray, labels: np.ndarray, queries: np.ndarray) -> np.ndarray:
    return linear_probe(support, labels, strengths=(L2,)).predict_proba(queries).argmax(1)


def _plain_probe(support: Any, labels: np.ndarray, queries: Any) -> np.ndarray:
    """Answer by logistic regression of the native baseline's first strength, on features as they are."""
    used = np.flatnonzero(np.asarray(abs(support).sum(0)).ravel())  # all others get no weight
    sides = (support[:, used], queries[:, used])
    rows, asked = (one.toarray() if hasattr(one, "toarray") else one for one in sides)
    strength = 1 / (STRENGTHS[0] * len(labels))  # scikit-learn's C
    probe = linear_probe(rows, labels, strengths=(strength,), standardise=False)
    return probe.predict_proba(asked).argmax(1)
