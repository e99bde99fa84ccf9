"""Questions about images as arrays: each image and each question is encoded once, however many pairs it is in."""

import warnings
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfxfer.errors import UserError
from tfxfer.streams import prompt

BATCH = 256  # pairs answered at a time
ROUND = 32  # the number of images in a batch is a multiple of it


class TruncationWarning(UserWarning):
    """Texts are longer than a model reads.

    A caller that counts such texts itself, with `truncated_and_unknown`, turns the warning off:

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TruncationWarning)
            qa.fit(batch)
    """


class QuestionBatch(NamedTuple):
    """Q questions about P images, with U different questions among them.

    Attributes:
        images: Feature maps float32 [P, h, w, E]; images uint8 [P, H, W, C] where the encoder trains.
        token_ids: Token ids of the different questions, int32 [U, T].
        image_index: int32 [Q], the row of `images` that each question is about.
        question_index: int32 [Q], the row of `token_ids` that each question is.
        labels: int32 [Q], the class of the answer; −1 for an answer that is no class, which is never trained on.
    """

    images: np.ndarray
    token_ids: np.ndarray
    image_index: np.ndarray
    question_index: np.ndarray
    labels: np.ndarray


def checked_index(
    image_index: Sequence[int] | np.ndarray | None, images: int, texts: int, what: str = "texts"
) -> np.ndarray:
    """Return which image each text is about, int32 [N]; by default text i is about image i.

    Args:
        image_index: int [N], or None.
        images: Number of images.
        texts: Number of texts N.
        what: What the texts are, for an error.

    Raises:
        UserError: There is not one entry for each text, or one is no row of the images.
    """
    index = np.arange(images) if image_index is None else np.asarray(image_index)
    if len(index) != texts and image_index is None:
        raise UserError(f"{images} images and {texts} {what} are no pairs; say by image_index which belong together")
    if len(index) != texts:
        raise UserError(f"{texts} {what} and {len(index)} entries of image_index; give one for each")
    if index.min() < 0 or index.max() >= images:
        raise UserError(f"image_index has {index.min()} to {index.max()}; the {images} images are 0 to {images - 1}")
    return index.astype(np.int32)


def question_order(image_index: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return `count` of Q row numbers: epoch after epoch in random order, the questions about an image together."""
    rng = np.random.default_rng(seed)
    orders = []
    for _ in range(-(-count // len(image_index))):
        place = rng.permutation(int(image_index.max()) + 1)
        orders.append(np.lexsort((rng.random(len(image_index)), place[image_index])))
    return np.concatenate(orders)[:count]


def batches(batch: QuestionBatch, rows: np.ndarray) -> tf.data.Dataset:
    """Return training batches of one shape from row numbers [steps, B].

    The shape depends on the sizes and hardly on the order, so a training step that is compiled once serves every
    training. Images and questions that fill a batch up are in no pair.
    """
    size = rows.shape[1]
    image_rows, image_index = _each_once(batch.image_index[rows], min(size, len(batch.images)), ROUND)
    question_rows, question_index = _each_once(batch.question_index[rows], min(size, len(batch.token_ids)), size)
    images, token_ids = tf.constant(batch.images), tf.constant(batch.token_ids)
    indices = (image_rows, question_rows, image_index, question_index, batch.labels[rows])

    def gather(image_rows: Any, question_rows: Any, image_index: Any, question_index: Any, labels: Any) -> Any:
        inputs = {"images": tf.gather(images, image_rows), "token_ids": tf.gather(token_ids, question_rows)}
        return {**inputs, "image_index": image_index, "question_index": question_index}, labels

    steps = tf.data.Dataset.from_tensor_slices(indices).map(gather, num_parallel_calls=tf.data.AUTOTUNE)
    return prompt(steps.prefetch(tf.data.AUTOTUNE))


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


def parts(batch: QuestionBatch) -> Iterator[tuple[Any, Any, Any, Any]]:
    """Yield (images, token_ids, image_index, question_index) of `BATCH` pairs at a time."""
    for start in range(0, len(batch.image_index), BATCH):
        image_rows, image_index = np.unique(batch.image_index[start : start + BATCH], return_inverse=True)
        question_rows, question_index = np.unique(batch.question_index[start : start + BATCH], return_inverse=True)
        inputs = tf.constant(batch.images[image_rows]), tf.constant(batch.token_ids[question_rows])
        yield *inputs, tf.constant(image_index, tf.int32), tf.constant(question_index, tf.int32)


def truncated_and_unknown(tokenizer: Any, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return bool [N] twice: which texts have more tokens than are read, and which have no known token.

    Args:
        tokenizer: Of a text tower: `WordPieces` or `TextTokens`.
        texts: N texts.
    """
    different, place = np.unique(np.array(texts, dtype=np.str_), return_inverse=True)
    encoded = tf.constant([one.encode("utf-8", "replace") for one in different])
    longer = np.asarray(_one_token_longer(tokenizer)(encoded))[:, -1] != 0
    return longer[place], (_count_known(tokenizer, np.asarray(tokenizer(encoded))) == 0)[place]


def warn_truncated(truncated: int, count: int, what: str, length: int, remedy: str, stacklevel: int = 2) -> None:
    """Give a `TruncationWarning` where texts are truncated.

    Args:
        truncated: How many texts are longer than `length`.
        count: Texts in all.
        what: What they are, for the message.
        length: Tokens that are read.
        remedy: What to do.
        stacklevel: Whose line the warning names, as in `warnings.warn`: 1 is the line of this call, 2 the caller of the
            function that it stands in.
    """
    if truncated:
        message = f"{truncated:,} of {count:,} {what} are longer than {length} tokens; the rest is not read: {remedy}"
        warnings.warn(message, TruncationWarning, stacklevel=stacklevel + 1)


@lru_cache(maxsize=4)  # a vocabulary of 30,000 word pieces takes 0.1 s
def _one_token_longer(tokenizer: Any) -> Any:
    """Return the same tokenizer with one more token: only texts that are truncated fill it."""
    config = tokenizer.get_config() | {"length": tokenizer.length + 1, "name": "one_token_longer"}
    return type(tokenizer).from_config(config)


def _count_known(tokenizer: Any, token_ids: np.ndarray) -> np.ndarray:
    """Return int [N]: how many token ids of each row of [N, T] stand for a word or piece that is known."""
    pieces = getattr(tokenizer, "tokenizer", None)
    if pieces is None:
        return (token_ids > 1).sum(1)  # `TextTokens`: 0 is padding, 1 any unknown word
    special = [pieces.cls_token_id, pieces.sep_token_id, pieces.pad_token_id, pieces.token_to_id("[UNK]")]
    return (~np.isin(token_ids, special)).sum(1)
