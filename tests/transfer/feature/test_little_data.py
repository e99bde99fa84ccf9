"""Self-training, active choice and prototypes on arrays, against other implementations and brute force."""

from itertools import combinations

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestCentroid

from tfxfer.errors import UserError
from tfxfer.transfer.feature.active_learning import k_center_greedy, smallest_margins
from tfxfer.transfer.feature.probe import linear_probe
from tfxfer.transfer.feature.prototypes import draw_episodes, nearest_prototype, whitening
from tfxfer.transfer.feature.self_training import ProbeEstimator, label_spreading, self_training

CLASSES = 3


def blobs(count, seed, spread=1.0, dim=5):
    """Rows around three centres, and their classes."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    centres = 3 * np.random.default_rng(9).normal(size=(CLASSES, dim))
    return (centres[labels] + spread * rng.normal(size=(count, dim))).astype(np.float32), labels


def by_hand(train, unlabelled, threshold, rounds, l2):
    """Self-training written as its definition reads; returns the pseudo-labels, −1 where none."""
    given = np.full(len(unlabelled), -1)

    def fit():
        sure = given >= 0
        rows, labels = np.concatenate([train[0], unlabelled[sure]]), np.concatenate([train[1], given[sure]])
        return linear_probe(rows, labels, strengths=(l2,), num_classes=CLASSES)

    for _ in range(rounds):
        answers = fit().predict_proba(unlabelled)
        new = (given < 0) & (answers.max(1) > threshold)
        if not new.any():
            break
        given[new] = answers.argmax(1)[new]
    return given, fit()


@pytest.mark.parametrize(("threshold", "rounds"), [(0.8, 1), (0.8, 5), (0.97, 3)])
def test_self_training_is_its_definition(threshold, rounds):
    train, (rows, hidden), held = blobs(6, 0, 2.5), blobs(120, 1, 2.5), blobs(60, 2, 2.5)
    found = self_training(
        train, rows, held, ProbeEstimator(CLASSES, 1e-2), -1.0, thresholds=(threshold,), rounds=rounds, hidden=hidden
    )
    given, probe = by_hand(train, rows, threshold, rounds, 1e-2)
    counts = found.rounds[f"{threshold:g}"]
    assert sum(new for new, _ in counts) == (given >= 0).sum() > 0 and len(counts) <= rounds
    assert sum(right for _, right in counts) == (given == hidden).sum()
    np.testing.assert_allclose(found.model.predict_proba(held[0]), probe.predict_proba(held[0]), atol=1e-3)


def test_validation_chooses_the_threshold_or_none():
    train, (rows, _), held = blobs(3, 0, 1.5), blobs(150, 1, 1.5), blobs(90, 2, 1.5)
    estimator = ProbeEstimator(CLASSES, 1e-2)
    found = self_training(train, rows, held, estimator, 0.0, thresholds=(0.5, 0.9, 1.0))
    tried = {name: score for name, score in found.validation.items() if name != "none"}
    assert found.threshold == max((float(name) for name in tried), key=lambda t: (tried[f"{t:g}"], t))
    assert found.rounds["1"] == [] or found.rounds["1"][0][0] < 150  # nobody is surer than sure
    assert all(right is None for rounds in found.rounds.values() for _, right in rounds)  # no true labels were given
    none = self_training(train, rows, held, estimator, 1.0, thresholds=(0.5, 0.9))
    assert none.threshold is None and none.model is None and none.validation["none"] == 1.0
    nothing = self_training(train, rows[:0], held, estimator, 0.5)
    assert nothing.validation == {"none": 0.5} and nothing.best is None


def test_self_training_helps_where_classes_are_clusters_and_the_start_is_good():
    train, (rows, hidden), held = blobs(3, 0, 1.5), blobs(150, 10, 1.5), blobs(900, 20, 1.5)
    probe = linear_probe(*train, strengths=(1e-2,), num_classes=CLASSES)
    start = (probe.predict_proba(held[0]).argmax(1) == held[1]).mean()
    estimator = ProbeEstimator(CLASSES, 1e-2)
    found = self_training(train, rows, held, estimator, start, thresholds=(0.5, 0.9), hidden=hidden)
    assert found.threshold == 0.9 and found.validation["0.9"] > start + 0.05
    assert all(right > 0.9 * new for new, right in found.rounds["0.9"])


def test_spreading_follows_the_graph_where_a_line_cannot():
    rng = np.random.default_rng(0)
    turn, labels = rng.uniform(0, 2 * np.pi, 300), np.arange(300) % 2
    ring = (1 + 2 * labels)[:, None] * np.stack([np.cos(turn), np.sin(turn)], 1) + 0.1 * rng.normal(size=(300, 2))
    train, rows, held, test = (slice(0, 10), slice(10, 200), slice(200, 250), slice(250, 300))
    predict, settings = label_spreading(
        (ring[train], labels[train]), ring[rows], (ring[held], labels[held]), hidden=labels[rows]
    )
    assert (predict(ring[test]).argmax(1) == labels[test]).mean() > 0.9
    assert settings["rounds"][0][0] == 190 and settings["rounds"][0][1] > 170


def test_labels_come_far_and_what_none_reaches_is_undecided():
    line = np.concatenate([np.arange(100.0), np.arange(1000.0, 1003.0)])[:, None]  # neighbours, and a few far away
    ends = (line[[0, 99]], np.array([0, 1]))
    predict, settings = label_spreading(ends, line, ends, neighbours=(3,), alphas=(0.9,))
    assert settings["alpha"] == 0.9
    answers = predict(line[:100]).argmax(1)
    assert not answers[:40].any() and answers[60:].all()
    np.testing.assert_allclose(predict(line[100:]), 0.5)


def test_margins_are_those_of_the_two_most_probable_classes():
    probabilities = np.random.default_rng(0).dirichlet([1, 1, 1], 50)
    margins = [sorted(row)[-1] - sorted(row)[-2] for row in probabilities]
    assert smallest_margins(probabilities, 7).tolist() == sorted(range(50), key=lambda i: margins[i])[:7]
    with pytest.raises(UserError, match="51 examples are to be chosen of 50"):
        smallest_margins(probabilities, 51)


@pytest.mark.parametrize("seed", range(8))
def test_greedy_centres_cover_within_twice_the_best_radius(seed):
    rng = np.random.default_rng(seed)
    rows, start = rng.normal(size=(10, 2)), rng.normal(size=(1, 2))
    chosen = k_center_greedy(rows, start, 3)

    def radius(places):
        return cdist(rows, np.concatenate([start, rows[list(places)]])).min(1).max()

    best = min(radius(places) for places in combinations(range(10), 3))
    assert best <= radius(chosen) <= 2 * best and len(set(chosen.tolist())) == 3
    first = cdist(rows, start).argmax()
    assert chosen[:2].tolist() == [first, cdist(rows, np.stack([start[0], rows[first]])).min(1).argmax()]


def test_centres_of_equal_rows_are_different_rows():
    assert sorted(k_center_greedy(np.ones((4, 3)), np.ones((1, 3)), 4).tolist()) == [0, 1, 2, 3]
    with pytest.raises(UserError, match="starts from labelled examples"):
        k_center_greedy(np.ones((4, 3)), np.ones((0, 3)), 1)


def test_the_nearest_class_mean_is_scikit_learns_and_brute_force():
    support, labels = blobs(12, 3, 3.0)
    queries = blobs(80, 4, 3.0)[0]
    expected = NearestCentroid().fit(support, labels).predict(queries)
    means = np.stack([support[labels == c].mean(0) for c in range(CLASSES)])
    for form in (np.asarray, csr_matrix):
        assert nearest_prototype(form(support), labels, form(queries)).tolist() == expected.tolist()
        cosine = nearest_prototype(form(support), labels, form(queries), "cosine")
        assert cosine.tolist() == cdist(queries, means, "cosine").argmin(1).tolist()
    with pytest.raises(UserError, match="no metric 'l1'; use euclidean or cosine"):
        nearest_prototype(support, labels, queries, "l1")


def test_whitening_makes_directions_alike_and_finds_classes_behind_a_loud_one():
    rows, labels = blobs(300, 5, 1.0)
    loud = np.random.default_rng(0).normal(size=(300, 1))
    rows = np.concatenate(
        [rows + 40 * loud, rows[:, :1] * 1e-9], 1
    )  # one direction decides all distances, one is noise
    to_white = whitening(rows, 5)
    white = to_white(rows)
    np.testing.assert_allclose(white.T @ white / 300, np.eye(5), atol=1e-6)
    shots, asked = np.arange(15), np.arange(15, 300)

    def accuracy(features):
        return (nearest_prototype(features[shots], labels[shots], features[asked]) == labels[asked]).mean()

    assert accuracy(rows) < 0.6 < 0.85 < accuracy(white)
    assert whitening(np.ones((4, 3)))(np.ones((2, 3))).shape[0] == 2  # constant features do not end in an error


def test_episodes_are_drawn_without_repetition_and_refused_where_there_is_too_little():
    train, test = np.repeat(np.arange(4), [9, 8, 7, 2]), np.repeat(np.arange(4), 6)
    size = {"episodes": 30, "ways": 2, "shots": 5, "queries": 6}
    drawn = draw_episodes(train, test, "abcd", **size)
    for episode in drawn:
        assert len(set(episode.classes.tolist())) == 2 and 3 not in episode.classes
        for c, support, queries in zip(episode.classes, episode.support, episode.queries):
            assert len(set(support.tolist())) == 5 and set(train[support]) == {c} == set(test[queries])
    again = draw_episodes(train, test, "abcd", **size)
    assert all(np.array_equal(a.support, b.support) for a, b in zip(drawn, again))
    with pytest.raises(UserError, match="--ways 5: there are 4 classes"):
        draw_episodes(train, test, "abcd", **size | {"ways": 5})
    with pytest.raises(UserError, match="3 of 4 classes have 5 training and 6 test examples; class 'd' has 2 and 6"):
        draw_episodes(train, test, "abcd", **size | {"ways": 4})
