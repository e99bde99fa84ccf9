"""Batches of questions about pictures, in which each picture and each question's words stand once; what is read."""

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfxfer.streams import prompt

BATCH = 256  # pairs answered at a time
ROUND = 32  # the number of pictures in a batch is a multiple of it


class QuestionBatch(NamedTuple):
    """Questions about pictures, each picture and each question's words once.

    Attributes:
        sight: Grids float32 [P, h, w, E]; pictures uint8 [P, H, W, C] where the encoder trains.
        numbers: Token numbers of the U different questions, int32 [U, T].
        picture: int [Q], which picture each of Q pairs is about.
        question: int [Q], which question it asks.
        labels: int [Q], the answer's class; −1 for one that is not among them, which is never learned from.
    """

    sight: np.ndarray
    numbers: np.ndarray
    picture: np.ndarray
    question: np.ndarray
    labels: np.ndarray


def question_order(picture: np.ndarray, wanted: int, seed: int) -> np.ndarray:
    """Return `wanted` of Q row numbers: all pictures in one random order after the other, their questions together."""
    rng = np.random.default_rng(seed)
    orders = []
    for _ in range(-(-wanted // len(picture))):
        place = rng.permutation(int(picture.max()) + 1)
        orders.append(np.lexsort((rng.random(len(picture)), place[picture])))
    return np.concatenate(orders)[:wanted]


def batches(asked: QuestionBatch, rows: np.ndarray) -> tf.data.Dataset:
    """Return batches of one shape from row numbers [steps, B].

    The shape depends on sizes and hardly on the order, so that a training step compiled once serves all trainings.
    Pictures and questions that fill a batch up are in no pair.
    """
    size = rows.shape[1]
    seen, which = _each_once(asked.picture[rows], min(size, len(asked.sight)), ROUND)
    said, what = _each_once(asked.question[rows], min(size, len(asked.numbers)), size)
    sight, numbers = tf.constant(asked.sight), tf.constant(asked.numbers)
    plan = tf.data.Dataset.from_tensor_slices((seen, said, which, what, asked.labels[rows]))

    def batch(seen: Any, said: Any, picture: Any, question: Any, labels: Any) -> Any:
        sides = {"sight": tf.gather(sight, seen), "tokens": tf.gather(numbers, said)}
        return {**sides, "picture": picture, "question": question}, labels

    return prompt(plan.map(batch, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE))


def _each_once(values: np.ndarray, most: int, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the different values of each row, filled up to one length with its first, and where each value stands.

    The length is the smallest multiple of `step` that holds them all, at most `most`.

    >>> different, place = _each_once(np.array([[7, 7, 5], [1, 2, 3]]), 3, 2)
    >>> different.tolist(), place.tolist()
    ([[5, 7, 5], [1, 2, 3]], [[1, 1, 0], [0, 1, 2]])
    """
    found = [np.unique(row, return_inverse=True) for row in values]
    needed = max(len(different) for different, _ in found)
    length = min(most, -(-needed // step) * step)
    filled = [np.concatenate([d, np.repeat(d[:1], length - len(d))]) for d, _ in found]
    return np.stack(filled).astype(np.int32), np.stack([place for _, place in found]).astype(np.int32)


def parts(asked: QuestionBatch) -> Iterator[tuple[Any, Any, Any, Any]]:
    """Yield (sight, tokens, picture, question) of `BATCH` pairs at a time."""
    for start in range(0, len(asked.picture), BATCH):
        seen, picture = np.unique(asked.picture[start : start + BATCH], return_inverse=True)
        said, question = np.unique(asked.question[start : start + BATCH], return_inverse=True)
        sides = tf.constant(asked.sight[seen]), tf.constant(asked.numbers[said])
        yield *sides, tf.constant(picture, tf.int32), tf.constant(question, tf.int32)


def truncated_and_unknown(tokens: Any, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return bool [N] twice: which texts are longer than a tower's `tokens` read, and in which they know no word.

    Args:
        tokens: `WordPieces` or `TextTokens`.
        texts: N texts.
    """
    different, place = np.unique(np.array(texts, dtype=np.str_), return_inverse=True)
    encoded = tf.constant([one.encode("utf-8", "replace") for one in different])
    roomy = type(tokens).from_config(tokens.get_config() | {"length": tokens.length + 1, "name": "roomy"})
    longer = np.asarray(roomy(encoded))[:, -1] != 0
    return longer[place], (_known(tokens, np.asarray(tokens(encoded))) == 0)[place]


def warn_truncated(cut: Callable[[], int], count: int, what: str, length: int, remedy: str) -> None:
    """Warn whoever calls `tfxfer.transfer` that texts are cut; the commands of tfxfer count them for a whole data set.

    Args:
        cut: Returns how many texts are longer than `length`; asked only where a warning is wanted.
        count: Texts in all.
        what: What they are.
        length: Tokens that are read.
        remedy: What to do.
    """
    level, caller = 1, sys._getframe()
    while caller.f_back is not None and str(caller.f_globals.get("__name__")).startswith("tfxfer.transfer."):
        level, caller = level + 1, caller.f_back
    if str(caller.f_globals.get("__name__")).startswith("tfxfer."):
        return
    if found := cut():
        message = f"{found:,} of {count:,} {what} are longer than {length} tokens; what follows is not read: {remedy}"
        warnings.warn(message, UserWarning, stacklevel=level)


def _known(tokens: Any, numbers: np.ndarray) -> np.ndarray:
    """Return int [N]: how many of a text's tokens int [N, T] stand for a word or piece that is known."""
    pieces = getattr(tokens, "tokenizer", None)
    if pieces is None:
        return (numbers > 1).sum(1)  # `TextTokens`: 0 is padding, 1 any unknown word
    special = [pieces.cls_token_id, pieces.sep_token_id, pieces.pad_token_id, pieces.token_to_id("[UNK]")]
    return (~np.isin(numbers, special)).sum(1)
