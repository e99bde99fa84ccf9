"""Rankings of K that look at all queries at once: against loops over queries and candidates."""

import numpy as np
import pytest

from tfxfer.transfer.knowledge.hubness import csls, inverted_softmax

K = np.random.default_rng(0).normal(size=(7, 5))


@pytest.mark.parametrize("beta", [0.5, 30.0])
def test_inverted_softmax_is_a_softmax_over_the_queries_of_each_candidate(beta):
    found = inverted_softmax(K, beta)
    for i in range(7):
        for j in range(5):
            share = np.exp(beta * K[i, j]) / sum(np.exp(beta * K[n, j]) for n in range(7))
            assert found[i, j] == pytest.approx(np.log(share))
    assert np.isfinite(inverted_softmax(1e4 * K)).all()


@pytest.mark.parametrize("neighbours", [1, 3, 10])
def test_csls_takes_off_the_mean_similarity_of_the_nearest_on_both_sides(neighbours):
    found = csls(K, neighbours)
    for i in range(7):
        for j in range(5):
            query = np.mean(sorted(K[i], reverse=True)[:neighbours])
            candidate = np.mean(sorted(K[:, j], reverse=True)[:neighbours])
            assert found[i, j] == pytest.approx(2 * K[i, j] - query - candidate)
    np.testing.assert_allclose(csls(K.T, neighbours), found.T)


def test_a_candidate_that_is_near_to_all_queries_loses_them():
    k = np.eye(6) + 0.1 * np.random.default_rng(1).normal(size=(6, 6))
    k[:, 2] += 1.2  # a hub
    assert set(k.argmax(1)) == {2}
    for found in (inverted_softmax(k, 5), csls(k, 5)):
        assert found.argmax(1).tolist() == list(range(6))
