"""Beam search against brute force and a plain reimplementation, with any batch and any cache."""

import functools
import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

from tfxfer.errors import UserError
from tfxfer.generate import Generated, GenerationConfig, greedy, sample
from tfxfer.generate.beam_search import beam_search
from tfxfer.generate.top_k import SMALL_VOCABULARY, log_sum_exp, most_probable, top_k

pytestmark = pytest.mark.tensorflow

START, END = 0, 1


def random_model(seed, batch, words=5, length=6):
    """Log-probabilities of the next token given the last two tokens and the position, one table an image."""
    rng = np.random.default_rng(seed)
    return rng.normal(0, 2, (batch, length, words, words, words)).astype(np.float32)


def step_of(tables):
    """The step function over those tables; its cache is the token before the last."""
    tables = tf.convert_to_tensor(tables)

    def step(tokens, position, cache):
        at = tf.gather(tables, position, axis=1)  # [B, V, V, V]
        pairs = tf.stack([cache["before"], tokens], -1)  # [B, K, 2]
        return tf.gather_nd(at, pairs, batch_dims=1), {"before": tokens}

    return step


def cache_of(batch):
    return {"before": tf.fill([batch], START)}


def normalised(table):
    """log P of every token after every two, by NumPy."""
    table = table.astype(np.float64)
    return table - np.log(np.exp(table).sum(-1, keepdims=True))


def log_probabilities(known, tokens):
    """log P of each token of a sequence that starts with START, out of a normalised table."""
    whole = (START, START, *tokens)
    return [known[place, whole[place], whole[place + 1], token] for place, token in enumerate(tokens)]


def as_list(found, image, place=0):
    length = int(found.lengths[image, place])
    return found.tokens[image, place, 1:length].numpy().tolist()


def plain_beam_search(table, config, words):
    """The same search for one image, written with lists: the oracle of the vectorised one."""
    known, running, finished = normalised(table), [((), 0.0)], []
    for _ in range(config.max_length - 1):
        grown = []
        for tokens, score in running:
            for token in range(words):
                new = (*tokens, token)
                if token == END and len(new) + 1 < config.min_length:
                    continue
                n = config.no_repeat_ngram_size
                whole = (START, *new)
                seen = [whole[i : i + n] for i in range(len(whole) - n)] if n else []
                if n and len(whole) >= n and whole[-n:] in seen:
                    continue
                before, last = (START, START, *tokens)[-2:]
                grown.append((new, score + known[len(tokens), before, last, token]))
        grown.sort(key=lambda row: -row[1])
        running = []
        for rank, (tokens, score) in enumerate(grown[: 2 * config.num_beams]):
            if tokens[-1] == END or len(tokens) == config.max_length - 1:
                if rank < config.num_beams:
                    finished.append((tokens, score / len(tokens) ** config.length_penalty))
            elif len(running) < config.num_beams:
                running.append((tokens, score))
        finished = sorted(finished, key=lambda row: -row[1])[: config.num_beams]
        if len(finished) == config.num_beams and running:
            best = running[0][1] / len(running[0][0]) ** config.length_penalty
            if config.early_stopping or best <= finished[-1][1]:
                break
        if not running:
            break
    return finished


CONFIGS = [
    GenerationConfig(
        START,
        END,
        num_beams=k,
        max_length=6,
        length_penalty=penalty,
        early_stopping=early,
        num_return_sequences=k,
        **more,
    )
    for k, penalty, early, more in [
        (1, 1.0, True, {}),
        (3, 1.0, True, {}),
        (3, 0.0, False, {}),
        (4, 2.0, False, {}),
        (2, 0.6, True, {"min_length": 4}),
        (3, 1.0, True, {"no_repeat_ngram_size": 1}),
        (3, 1.0, False, {"no_repeat_ngram_size": 2}),
        (8, 1.0, True, {}),
    ]
]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_the_same_as_a_search_written_with_lists(config):
    tables = random_model(7, batch=24)
    found = tf.function(lambda: beam_search(step_of(tables), cache_of(24), 24, config))()
    for image in range(24):
        wanted = plain_beam_search(tables[image], config, words=5)
        for place, (tokens, score) in enumerate(wanted):
            assert as_list(found, image, place) == list(tokens), image
            assert float(found.scores[image, place]) == pytest.approx(score, abs=1e-4)


def test_enough_beams_find_the_true_optimum():
    words, length = 5, 4
    tables = random_model(1, batch=200, words=words, length=length)
    config = GenerationConfig(START, END, num_beams=words**3, max_length=length, early_stopping=False)
    found = tf.function(lambda: beam_search(step_of(tables), cache_of(200), 200, config))()
    ended = [t for n in (1, 2, 3) for t in itertools.product(range(words), repeat=n) if END not in t[:-1]]
    ended = [t for t in ended if t[-1] == END or len(t) == length - 1]
    for image in range(200):
        known = normalised(tables[image])
        scores = {t: sum(log_probabilities(known, t)) / len(t) for t in ended}
        best = max(scores, key=scores.get)
        assert as_list(found, image) == list(best)
        assert float(found.scores[image, 0]) == pytest.approx(scores[best], abs=1e-4)


def test_the_result_of_an_image_is_the_same_alone_and_in_a_batch():
    tables = random_model(3, batch=12)
    for config in CONFIGS[1:5]:
        found = tf.function(lambda t, s=config: beam_search(step_of(t), cache_of(t.shape[0]), t.shape[0], s))
        together = found(tf.constant(tables))
        for i in range(12):
            alone = found(tf.constant(tables[i : i + 1]))
            np.testing.assert_array_equal(alone.tokens[0], together.tokens[i])
            np.testing.assert_allclose(alone.scores[0], together.scores[i], atol=1e-5)


def test_a_cache_that_keeps_all_tokens_changes_nothing():
    tables = random_model(5, batch=8)
    plain = step_of(tables)

    def with_history(tokens, position, cache):
        history = tf.where(tf.range(6) == position, tokens[..., None], cache["history"])
        before = tf.where(position > 0, tf.gather(history, tf.maximum(position - 1, 0), axis=2), START)
        return plain(tokens, position, {"before": before})[0], {"history": history}

    for config in CONFIGS:
        a = beam_search(plain, cache_of(8), 8, config)
        b = beam_search(with_history, {"history": tf.zeros([8, 6], tf.int32)}, 8, config)
        np.testing.assert_array_equal(a.tokens, b.tokens)


def test_a_cache_written_in_place_and_read_by_places_changes_nothing():
    tables = random_model(6, batch=8)
    plain = step_of(tables)

    def in_place(tokens, position, cache, beam_indices):
        history = tf.where((tf.range(6) == position)[:, None], tokens[:, None], cache)  # [B, L, K]
        slots = tf.one_hot(beam_indices, tokens.shape[1], dtype=tf.int32)  # [B, K, L, K]
        own = tf.reduce_sum(slots * history[:, None], -1)  # [B, K, L]: the tokens of each hypothesis
        before = tf.where(position > 0, tf.gather(own, tf.maximum(position - 1, 0), axis=2), START)
        return plain(tokens, position, {"before": before})[0], history

    for config in CONFIGS:
        a = beam_search(plain, cache_of(8), 8, config)
        b = beam_search(in_place, tf.zeros([8, 6, config.num_beams], tf.int32), 8, config, in_place=True)
        np.testing.assert_array_equal(a.tokens, b.tokens)
        np.testing.assert_allclose(a.scores, b.scores, atol=1e-5)


def test_logits_with_the_vocabulary_first_change_nothing():
    tables = random_model(7, batch=8)
    plain = step_of(tables)

    def turned(tokens, position, cache):
        logits, cache = plain(tokens, position, cache)
        return tf.transpose(logits, [2, 0, 1]), cache

    for config in CONFIGS:
        for way in (beam_search, greedy, functools.partial(sample, seed=(1, 2))):
            a, b = way(plain, cache_of(8), 8, config), way(turned, cache_of(8), 8, config, vocabulary_first=True)
            np.testing.assert_array_equal(a.tokens, b.tokens)
            np.testing.assert_array_equal(a.scores, b.scores)


@pytest.mark.parametrize("config", CONFIGS[::3], ids=str)
def test_xla_finds_the_same(config):
    tables = random_model(8, batch=6)

    def found():
        return beam_search(step_of(tables), cache_of(6), 6, config)

    a, b = tf.function(found)(), tf.function(found, jit_compile=True)()
    np.testing.assert_array_equal(a.tokens, b.tokens)
    np.testing.assert_allclose(a.scores, b.scores, atol=1e-4)


def step_with_context(sizes):
    """The step function with the tables as context; `sizes` collects the number of images at each call."""

    def step(tokens, position, cache, context):
        sizes.append(tokens.shape[0])
        return step_of(context)(tokens, position, cache)

    return step


def test_a_batch_stops_when_all_its_images_are_done():
    """Every token is an end: K sequences of one token are never displaced, and no second step is needed."""
    tables = random_model(14, batch=4, length=30)
    tables[..., END] += 50
    sizes = []
    config = GenerationConfig(START, END, num_beams=1, max_length=30)
    found = beam_search(step_with_context(sizes), cache_of(4), 4, config, context=tf.constant(tables))
    assert sizes == [4] and found.lengths.numpy().tolist() == [[2]] * 4
    sizes.clear()
    greedy(step_with_context(sizes), cache_of(4), 4, config, context=tf.constant(tables))
    assert sizes == [4]


def test_one_graph_serves_all_batches_of_a_size():
    found = tf.function(lambda t: beam_search(step_of(t), cache_of(3), 3, CONFIGS[1]))
    for seed in range(3):
        found(tf.constant(random_model(seed, batch=3)))
    assert found.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("words", [30, SMALL_VOCABULARY, SMALL_VOCABULARY + 37, 30_522])
def test_the_most_probable_of_many_tokens(words):
    logits = np.random.default_rng(words).normal(0, 3, (2, 3, words)).astype(np.float32)
    logits[0, 0, : words // 2] = -np.inf
    first = tf.transpose(logits, [2, 0, 1])  # as a search has them
    for k in (1, 8, 30):
        wanted = tf.math.top_k(logits, k)
        for jit in (False, True):
            best, at = tf.function(top_k, jit_compile=jit)(first, k)
            np.testing.assert_array_equal(best, wanted.values)
            np.testing.assert_array_equal(at, wanted.indices)
    np.testing.assert_allclose(log_sum_exp(first), tf.reduce_logsumexp(logits, -1), rtol=1e-6)


@pytest.mark.parametrize("words", [30, SMALL_VOCABULARY + 37])
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_sum_that_is_not_finite_gives_nan(words, wrong):
    logits = np.zeros((words, 1, 3), np.float32)
    logits[words - 1, 0, 1] = wrong
    logits[:, 0, 2] = -np.inf
    gains = most_probable(
        tf.constant(logits), tf.zeros([1, 3, 4], tf.int32), tf.constant(0), GenerationConfig(START, END), 2
    )[0]
    assert np.isnan(gains[0, 1:, 0]).all() and np.isfinite(gains[0, 0]).all()


def test_greedy_takes_the_most_probable_token():
    tables = random_model(11, batch=16)
    found = greedy(step_of(tables), cache_of(16), 16, GenerationConfig(START, END, max_length=6))
    for image in range(16):
        tokens = []
        for position in range(5):
            before, last = ([START, START, *tokens])[-2:]
            tokens.append(int(tables[image, position, before, last].argmax()))
            if tokens[-1] == END:
                break
        assert as_list(found, image) == tokens
        mean = sum(log_probabilities(normalised(tables[image]), tokens)) / len(tokens)
        assert float(found.scores[image, 0]) == pytest.approx(mean, abs=1e-4)


def test_samples_follow_the_nucleus_and_the_seed():
    logits = np.log(np.array([0.5, 0.05, 0.3, 0.15], np.float32))
    tables = np.broadcast_to(logits, (4000, 2, 4, 4, 4))
    config = GenerationConfig(START, END, max_length=2)
    found = sample(step_of(tables), cache_of(4000), 4000, config, seed=(1, 2), top_p=0.7)
    shares = np.bincount(found.tokens[:, 0, 1].numpy(), minlength=4) / 4000
    np.testing.assert_allclose(shares, [0.625, 0, 0.375, 0], atol=0.03)
    again = sample(step_of(tables), cache_of(4000), 4000, config, seed=(1, 2), top_p=0.7)
    np.testing.assert_array_equal(found.tokens, again.tokens)
    assert isinstance(again, Generated)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_beams": 0}, "num_beams 0"),
        ({"max_length": 1}, "max_length 1"),
        ({"num_return_sequences": 5}, "num_return_sequences 5"),
        ({"min_length": 60}, "min_length 60"),
    ],
)
def test_configs_that_are_impossible_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        GenerationConfig(START, END, **options)


@pytest.mark.parametrize("search_with", [beam_search, greedy])
def test_logits_that_are_not_finite_name_the_image(search_with):
    tables = random_model(4, batch=3)
    config = GenerationConfig(START, END, num_beams=2, max_length=5)

    def found(t):
        return search_with(step_of(t), cache_of(3), 3, config)

    sound = tf.function(found)(tf.constant(tables))
    tables[1, 1, START] = np.nan
    with pytest.raises(UserError, match="logits of image 1 are NaN"):
        found(tf.constant(tables))
    broken = tf.function(found)(tf.constant(tables))  # a graph cannot raise; the score is NaN
    assert np.isnan(broken.scores[1]).all() and broken.lengths[1, 0] == 1
    for row in (0, 2):
        np.testing.assert_array_equal(broken.tokens[row], sound.tokens[row])
        np.testing.assert_allclose(broken.scores[row], sound.scores[row])


def test_fewer_sequences_than_are_asked_for():
    """Two tokens of which none may occur twice: 'END' is the only sequence."""
    tables = random_model(2, batch=2, words=2, length=4)
    config = GenerationConfig(START, END, num_beams=3, max_length=4, no_repeat_ngram_size=1, num_return_sequences=3)
    found = beam_search(step_of(tables), cache_of(2), 2, config)
    assert found.lengths.numpy().tolist() == [[2, 1, 1]] * 2
    assert np.isfinite(found.scores[:, 0]).all() and np.isneginf(found.scores[:, 1:]).all()
    assert found.tokens.numpy()[:, :, 0].tolist() == [[START] * 3] * 2


@pytest.mark.parametrize(("end", "length"), [(START, 2), (END, 4)], ids=["an end", "no end"])
def test_a_vocabulary_of_one_word(end, length):
    step = step_of(np.zeros((2, 4, 1, 1, 1), np.float32))
    for search_with in (beam_search, greedy):
        found = search_with(step, cache_of(2), 2, GenerationConfig(0, end, num_beams=3, max_length=4))
        assert found.lengths.numpy().tolist() == [[length]] * 2
        assert found.scores.numpy().tolist() == [[0.0]] * 2  # it is certain


def test_a_batch_of_no_images():
    tables = random_model(2, batch=0)
    for search_with in (beam_search, greedy):
        found = search_with(step_of(tables), cache_of(0), 0, GenerationConfig(START, END, max_length=6))
        assert found.tokens.shape == (0, 1, 6) and found.scores.shape == (0, 1)


def test_a_vocabulary_smaller_than_the_beam():
    tables = random_model(2, batch=3, words=2, length=4)
    config = GenerationConfig(START, END, num_beams=4, max_length=4, num_return_sequences=1)
    found = beam_search(step_of(tables), cache_of(3), 3, config)
    for image in range(3):
        tokens, score = plain_beam_search(tables[image], config, words=2)[0]
        assert as_list(found, image) == list(tokens)
        assert math.isclose(float(found.scores[image, 0]), score, abs_tol=1e-4)


@pytest.mark.parametrize("way", [beam_search, greedy, functools.partial(sample, seed=(1, 2))])
def test_impossible_sequences_have_no_score(way):
    """Every token is forbidden after two steps: no sequence of this length without a repetition exists."""
    tables = random_model(3, batch=2)
    found = way(
        step_of(tables),
        cache_of(2),
        2,
        GenerationConfig(START, END, max_length=6, min_length=6, no_repeat_ngram_size=1),
    )
    assert np.isneginf(found.scores.numpy()).all() and (found.lengths.numpy() == 1).all()


@pytest.mark.parametrize("way", [beam_search, greedy, functools.partial(sample, seed=(1, 2))])
def test_a_possible_sequence_keeps_its_score_beside_an_impossible_one(way):
    """The same search ends at once where the end is probable: tokens forbidden later do not matter."""
    tables = random_model(3, batch=2)
    tables[1, 0, START, START, END] = 50
    found = way(
        step_of(tables), cache_of(2), 2, GenerationConfig(START, END, num_beams=1, max_length=6, no_repeat_ngram_size=1)
    )
    assert found.lengths[1, 0] == 2 and float(found.scores[1, 0]) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("way", [beam_search, greedy, functools.partial(sample, seed=(1, 2))])
@pytest.mark.parametrize("least", [0, 2, 3, 5])
def test_the_end_and_the_start_count_for_the_least_length(way, least):
    tables = random_model(5, batch=3)
    tables[..., END] += 50
    found = way(step_of(tables), cache_of(3), 3, GenerationConfig(START, END, max_length=6, min_length=least))
    assert found.lengths.numpy().tolist() == [[max(2, least)]] * 3


def test_without_early_stopping_the_length_so_far_decides():
    """A longer sequence would be better, −1.5 / 4² against −1 / 1²; the search ends before it."""
    tables = np.full((1, 5, 3, 3, 3), -50, np.float32)
    tables[:, 0, :, :, END], tables[:, 0, :, :, 2] = -0.25, -1.5
    tables[:, 1:, :, :, 2] = 0
    config = GenerationConfig(START, END, num_beams=1, max_length=5, length_penalty=2.0, early_stopping=False)
    sizes = []
    found = beam_search(step_with_context(sizes), cache_of(1), 1, config, context=tf.constant(tables))
    assert as_list(found, 0) == [END] and len(sizes) == 1
    known = normalised(tables[0])
    longer = sum(log_probabilities(known, (2, 2, 2, 2))) / 4**config.length_penalty
    assert longer > float(found.scores[0, 0])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"no_repeat_ngram_size": -1}, "no_repeat_ngram_size -1: .* 0 to allow all"),
        ({"length_penalty": math.nan}, "length_penalty nan: give a finite number"),
        ({"length_penalty": math.inf}, "length_penalty inf"),
    ],
)
def test_values_that_are_no_setting_are_refused(wrong, message):
    with pytest.raises(UserError, match=message):
        GenerationConfig(START, END, **wrong)
