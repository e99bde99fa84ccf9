"""Beam search: against brute force, against a plain reimplementation, and whatever the batch or the cache."""

import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

from tfxfer.errors import UserError
from tfxfer.generate import Generated, Search, beam_search, greedy, sample

START, END = 0, 1


def random_model(seed, batch, words=5, length=6):
    """Log-probabilities of the next token given the last two tokens and the place, one table a picture."""
    rng = np.random.default_rng(seed)
    return rng.normal(0, 2, (batch, length, words, words, words)).astype(np.float32)


def step_of(tables):
    """The step function over those tables; its cache is the token before the last."""
    tables = tf.constant(tables)

    def step(tokens, position, cache):
        at = tf.gather(tables, position, axis=1)  # [B, V, V, V]
        pairs = tf.stack([cache["before"], tokens], -1)  # [B, K, 2]
        return tf.gather_nd(at, pairs, batch_dims=1), {"before": tokens}

    return step


def cache_of(batch):
    return {"before": tf.fill([batch], START)}


def log_probabilities(table, tokens):
    """log P of each token of a sequence that starts with START, by NumPy."""
    found, before, last = [], START, START
    for position, token in enumerate(tokens):
        logits = table[position, before, last].astype(np.float64)
        found.append(logits[token] - np.log(np.exp(logits).sum()))
        before, last = last, token
    return found


def as_list(found, picture, place=0):
    length = int(found.lengths[picture, place])
    return found.tokens[picture, place, 1:length].numpy().tolist()


def plain_beam_search(table, search, words):
    """The same search for one picture, written with lists: the oracle of the vectorised one."""
    running, finished = [((), 0.0)], []
    for _ in range(search.max_length - 1):
        grown = []
        for tokens, score in running:
            for token in range(words):
                new = (*tokens, token)
                if token == END and len(new) + 1 < search.min_length:
                    continue
                n = search.no_repeat_ngram
                whole = (START, *new)
                seen = [whole[i : i + n] for i in range(len(whole) - n)] if n else []
                if n and len(whole) >= n and whole[-n:] in seen:
                    continue
                grown.append((new, score + log_probabilities(table, new)[-1]))
        grown.sort(key=lambda row: -row[1])
        running = []
        for rank, (tokens, score) in enumerate(grown[: 2 * search.num_beams]):
            if tokens[-1] == END or len(tokens) == search.max_length - 1:
                if rank < search.num_beams:
                    finished.append((tokens, score / len(tokens) ** search.length_penalty))
            elif len(running) < search.num_beams:
                running.append((tokens, score))
        finished = sorted(finished, key=lambda row: -row[1])[: search.num_beams]
        if len(finished) == search.num_beams and running:
            best = running[0][1] / len(running[0][0]) ** search.length_penalty
            if search.early_stopping or best <= finished[-1][1]:
                break
        if not running:
            break
    return finished


SEARCHES = [
    Search(START, END, num_beams=k, max_length=6, length_penalty=penalty, early_stopping=early, num_return=k, **more)
    for k, penalty, early, more in [
        (1, 1.0, True, {}),
        (3, 1.0, True, {}),
        (3, 0.0, False, {}),
        (4, 2.0, False, {}),
        (2, 0.6, True, {"min_length": 4}),
        (3, 1.0, True, {"no_repeat_ngram": 1}),
        (3, 1.0, False, {"no_repeat_ngram": 2}),
        (8, 1.0, True, {}),
    ]
]


@pytest.mark.parametrize("search", SEARCHES, ids=str)
def test_the_same_as_a_search_written_with_lists(search):
    tables = random_model(7, batch=24)
    found = tf.function(lambda: beam_search(step_of(tables), cache_of(24), 24, search))()
    for picture in range(24):
        wanted = plain_beam_search(tables[picture], search, words=5)
        for place, (tokens, score) in enumerate(wanted):
            assert as_list(found, picture, place) == list(tokens), picture
            assert float(found.scores[picture, place]) == pytest.approx(score, abs=1e-4)


def test_enough_beams_find_the_true_optimum():
    words, length = 5, 4
    tables = random_model(1, batch=200, words=words, length=length)
    search = Search(START, END, num_beams=words**3, max_length=length, early_stopping=False)
    found = tf.function(lambda: beam_search(step_of(tables), cache_of(200), 200, search))()
    ended = [t for n in (1, 2, 3) for t in itertools.product(range(words), repeat=n) if END not in t[:-1]]
    ended = [t for t in ended if t[-1] == END or len(t) == length - 1]
    for picture in range(200):
        scores = {t: sum(log_probabilities(tables[picture], t)) / len(t) for t in ended}
        best = max(scores, key=scores.get)
        assert as_list(found, picture) == list(best)
        assert float(found.scores[picture, 0]) == pytest.approx(scores[best], abs=1e-4)


def test_a_picture_is_answered_alike_alone_and_in_a_batch():
    tables = random_model(3, batch=12)
    for search in SEARCHES[1:5]:
        together = beam_search(step_of(tables), cache_of(12), 12, search)
        for i in range(12):
            alone = beam_search(step_of(tables[i : i + 1]), cache_of(1), 1, search)
            np.testing.assert_array_equal(alone.tokens[0], together.tokens[i])
            np.testing.assert_allclose(alone.scores[0], together.scores[i], atol=1e-5)


def test_a_cache_that_keeps_all_tokens_changes_nothing():
    tables = random_model(5, batch=8)
    plain = step_of(tables)

    def with_history(tokens, position, cache):
        history = tf.where(tf.range(6) == position, tokens[..., None], cache["history"])
        before = tf.where(position > 0, tf.gather(history, tf.maximum(position - 1, 0), axis=2), START)
        return plain(tokens, position, {"before": before})[0], {"history": history}

    for search in SEARCHES:
        a = beam_search(plain, cache_of(8), 8, search)
        b = beam_search(with_history, {"history": tf.zeros([8, 6], tf.int32)}, 8, search)
        np.testing.assert_array_equal(a.tokens, b.tokens)


def test_a_cache_written_in_place_and_read_by_places_changes_nothing():
    tables = random_model(6, batch=8)
    plain = step_of(tables)

    def in_place(tokens, position, cache, places):
        history = tf.where((tf.range(6) == position)[:, None], tokens[:, None], cache)  # [B, L, K]
        slots = tf.one_hot(places, tokens.shape[1], dtype=tf.int32)  # [B, K, L, K]
        own = tf.reduce_sum(slots * history[:, None], -1)  # [B, K, L]: each hypothesis' tokens, wherever they lie
        before = tf.where(position > 0, tf.gather(own, tf.maximum(position - 1, 0), axis=2), START)
        return plain(tokens, position, {"before": before})[0], history

    for search in SEARCHES:
        a = beam_search(plain, cache_of(8), 8, search)
        b = beam_search(in_place, tf.zeros([8, 6, search.num_beams], tf.int32), 8, search, in_place=True)
        np.testing.assert_array_equal(a.tokens, b.tokens)
        np.testing.assert_allclose(a.scores, b.scores, atol=1e-5)


@pytest.mark.parametrize("search", SEARCHES[::3], ids=str)
def test_xla_finds_the_same(search):
    tables = random_model(8, batch=6)

    def found():
        return beam_search(step_of(tables), cache_of(6), 6, search)

    a, b = tf.function(found)(), tf.function(found, jit_compile=True)()
    np.testing.assert_array_equal(a.tokens, b.tokens)
    np.testing.assert_allclose(a.scores, b.scores, atol=1e-4)


def test_greedy_takes_the_likeliest_token():
    tables = random_model(11, batch=16)
    found = greedy(step_of(tables), cache_of(16), 16, Search(START, END, max_length=6))
    for picture in range(16):
        tokens = []
        for position in range(5):
            before, last = ([START, START, *tokens])[-2:]
            tokens.append(int(tables[picture, position, before, last].argmax()))
            if tokens[-1] == END:
                break
        assert as_list(found, picture) == tokens
        mean = sum(log_probabilities(tables[picture], tokens)) / len(tokens)
        assert float(found.scores[picture, 0]) == pytest.approx(mean, abs=1e-4)


def test_samples_follow_the_nucleus_and_the_seed():
    logits = np.log(np.array([0.5, 0.05, 0.3, 0.15], np.float32))
    tables = np.broadcast_to(logits, (4000, 2, 4, 4, 4))
    search = Search(START, END, max_length=2)
    found = sample(step_of(tables), cache_of(4000), 4000, search, seed=(1, 2), top_p=0.7)
    shares = np.bincount(found.tokens[:, 0, 1].numpy(), minlength=4) / 4000
    np.testing.assert_allclose(shares, [0.625, 0, 0.375, 0], atol=0.03)
    again = sample(step_of(tables), cache_of(4000), 4000, search, seed=(1, 2), top_p=0.7)
    np.testing.assert_array_equal(found.tokens, again.tokens)
    assert isinstance(again, Generated)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_beams": 0}, "num_beams 0"),
        ({"max_length": 1}, "max_length 1"),
        ({"num_return": 5}, "num_return 5"),
        ({"min_length": 60}, "min_length 60"),
    ],
)
def test_searches_that_cannot_be(options, message):
    with pytest.raises(UserError, match=message):
        Search(START, END, **options)


def test_a_vocabulary_smaller_than_the_beam():
    tables = random_model(2, batch=3, words=2, length=4)
    search = Search(START, END, num_beams=4, max_length=4, num_return=1)
    found = beam_search(step_of(tables), cache_of(3), 3, search)
    for picture in range(3):
        tokens, score = plain_beam_search(tables[picture], search, words=2)[0]
        assert as_list(found, picture) == list(tokens)
        assert math.isclose(float(found.scores[picture, 0]), score, abs_tol=1e-4)
