"""The decomposition of what two modalities tell: known values of planted tables, and clusters of planted features."""

from dataclasses import astuple

import numpy as np
import pytest

from tfxfer.errors import UserError
from tfxfer.evaluate.complementarity import complementarity, decompose
from tfxfer.evaluate.modality_shares import modality_shares, shapley_of_two

GATES = {  # function of two fair bits -> shared, first, second, synergy in bits (Bertschinger et al. 2014, table 1)
    "xor": (lambda a, b: a ^ b, (0, 0, 0, 1)),
    "and": (lambda a, b: a & b, (0.3113, 0, 0, 0.5)),
    "both": (lambda a, b: 2 * a + b, (0, 1, 1, 0)),
    "first": (lambda a, b: a, (0, 1, 0, 0)),
    "second": (lambda a, b: b, (0, 0, 1, 0)),
    "none": (lambda a, b: 0, (0, 0, 0, 0)),
}


def table(gate):
    joint = np.zeros((2, 2, 4))
    for a, b in np.ndindex(2, 2):
        joint[a, b, gate(a, b)] += 1
    return joint


@pytest.mark.parametrize(("gate", "known"), GATES.values(), ids=GATES)
def test_the_parts_of_known_gates(gate, known):
    assert astuple(decompose(table(gate))) == pytest.approx(known, abs=1e-3)


def test_what_both_have_is_shared_and_an_order_of_sides_does_not_matter():
    copy = np.zeros((2, 2, 2))
    copy[0, 0, 0] = copy[1, 1, 1] = 1
    assert astuple(decompose(copy)) == pytest.approx((1, 0, 0, 0), abs=1e-3)
    joint = np.random.default_rng(0).dirichlet(np.ones(24) * 0.5).reshape(3, 2, 4)
    one, two = decompose(joint), decompose(joint.transpose(1, 0, 2))
    assert astuple(one) == pytest.approx((two.shared, two.second, two.first, two.synergy), abs=1e-4)


def test_the_minimum_is_that_of_an_independent_solver():
    """The minimum over q of I_q(X1,X2;Y), by SciPy over one free number for each class of two bits."""
    from scipy.optimize import minimize

    joint = np.random.default_rng(3).dirichlet(np.ones(12)).reshape(2, 2, 3)
    direction = np.array([[1, -1], [-1, 1]])[:, :, None]

    def information(move):
        q = joint + direction * move
        if q.min() < 0:
            return 10.0
        flat = q.reshape(4, 3)
        known = flat > 0
        return float((flat[known] * np.log2(flat[known] / np.outer(flat.sum(1), flat.sum(0))[known])).sum())

    found = minimize(information, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-10})
    parts = decompose(joint)
    assert parts.total - parts.synergy == pytest.approx(found.fun, abs=1e-4)


def test_a_table_of_another_form_is_refused():
    for wrong in (np.zeros((2, 2, 2)), np.ones((2, 2)), -np.ones((2, 2, 2))):
        with pytest.raises(UserError, match="give three axes"):
            decompose(wrong)


@pytest.mark.parametrize(("name", "largest"), [("xor", "synergy"), ("first", "first"), ("second", "second")])
def test_clusters_of_features_find_the_part_that_is_planted(name, largest):
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 2, (2, 300))
    sides = [np.eye(2)[bits] * 4 + rng.normal(0, 0.3, (300, 2)) for bits in (a, b)]
    found = complementarity(*sides, GATES[name][0](a, b), shuffles=3)
    parts = vars(found.corrected)
    assert max(parts, key=parts.get) == largest and parts[largest] > 0.6
    assert found.chance.total < 0.1 and found.entropy == pytest.approx(1, abs=0.05)


def test_shares_add_up_and_are_those_of_all_orders():
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(6, 3))

    def log_probabilities(one, two):
        hidden = np.tanh(np.concatenate([one, two, one * two], axis=1))
        logits = hidden @ weights
        return logits - np.log(np.exp(logits).sum(1, keepdims=True))

    first, second, classes = rng.normal(size=(5, 2)), rng.normal(size=(5, 2)), np.array([0, 1, 2, 0, 1])
    background = rng.normal(size=(2, 4, 2))
    found = modality_shares(log_probabilities, first, second, tuple(background), classes)
    for row in range(5):

        def value(players, row=row):
            rows = [
                (first[row] if 1 in players else one, second[row] if 2 in players else two)
                for one, two in zip(*background)
            ]
            return np.mean([log_probabilities(a[None], b[None])[0, classes[row]] for a, b in rows])

        marginal = [value({1}) - value(set()), value({1, 2}) - value({2})]
        assert found.first[row] == pytest.approx(np.mean(marginal))
        assert found.first[row] + found.second[row] == pytest.approx(value({1, 2}) - value(set()))


def test_a_side_that_changes_nothing_has_no_share():
    values = np.array([0.0]), np.array([1.5]), np.array([0.0]), np.array([1.5])
    assert [float(share[0]) for share in shapley_of_two(*values)[:2]] == [1.5, 0.0]
