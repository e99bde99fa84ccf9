"""The reader of the `read` bridge, trained once on random strings and cached.

This is OCR learned from the project's own glyph atlas; the ancestor is CRNN (Shi et al. 2015). A string is a row of
letters drawn at random: no words, no language. `RenderText` draws it in several faces and sizes, and the boxes of the
atlas say in which column each letter has its centre. So every column has a label, and no alignment has to be learned,
as with CTC. The pictures are scaled, turned, moved, made paler and noisy.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfxfer.cache import atomic_file, data_dirs, digests_of, key_of, locked
from tfxfer.config import RunConfig, deciding
from tfxfer.fit import cosine, train
from tfxfer.in_use import use
from tfxfer.models.randomness import set_initializer_seed
from tfxfer.models.saved import load_model
from tfxfer.own_files import write_own_json
from tfxfer.runs import Run
from tfxfer.sources.pretrain import kept_record
from tfxfer.transfer.bridges.read import ALPHABET, COLUMN, HEIGHT, ReadText, to_ink
from tfxfer.transfer.bridges.render import RenderText

FORMAT = 1  # of a cached reader
HELD_OUT = 800  # strings on which its letters are counted
LONGEST = 48  # letters of a string
SHARES = {
    "space": 0.12,
    "lower": 0.44,
    "upper": 0.14,
    "digit": 0.08,
    "mark": 0.08,
    "other": 0.14,
}  # kinds of letters


@dataclass(frozen=True)
class ReaderTraining:
    """What decides a reader, beside the seed.

    Attributes:
        steps: Steps of training, in epochs of `epoch` steps.
        epoch: Steps of an epoch.
        batch_size: Strings a step.
        learning_rate: Largest rate of Adam.
        width: Width of a picture in pixels.
        faces: Faces of the letters, bundled with matplotlib.
        sizes: Font sizes in pixels per em.
        scale: Range of the factor that changes the size further.
        turn: Greatest angle in radians, either way.
        noise: Greatest standard deviation of the noise, in grey levels of 255.
        alphabet: The letters.
    """

    steps: int = 1000
    epoch: int = 50
    batch_size: int = 32
    learning_rate: float = 1e-2
    width: int = 160
    faces: tuple[str, ...] = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSansMono")
    sizes: tuple[int, ...] = (20, 25)
    scale: tuple[float, float] = (0.9, 1.05)
    turn: float = 0.05
    noise: float = 20.0
    alphabet: str = ALPHABET


SMOKE = ReaderTraining(100, faces=("DejaVuSans",), sizes=(24,), scale=(1.0, 1.0), turn=0.0, noise=0.0)  # `--smoke`


def trained_reader(config: RunConfig, run: Run, training: ReaderTraining | None = None) -> ReadText:
    """Return a reader with its weights: from the cache when the same was trained before.

    Args:
        config: Seed, device, arithmetic and folders.
        run: Shows progress and counts seconds.
        training: How it is trained.
    """
    training = training or ReaderTraining()
    key = _key(config, training)
    caches = data_dirs(config.data_dir)
    with run.phase("reader"):
        for folder in caches.shared("sources", key):
            if found := kept_record(folder):
                return _opened(folder, found, run)
        folder = caches.own / "sources" / key
        use(folder)
        with locked(folder):
            found = kept_record(folder)
            return _opened(folder, found, run) if found else _train(training, config.seed, folder, run)


def is_trained(config: RunConfig) -> bool:
    """Return whether a reader with the usual training is in the cache."""
    caches, key = data_dirs(config.data_dir), _key(config, ReaderTraining())
    return any(map(kept_record, (*caches.shared("sources", key), caches.own / "sources" / key)))


def _key(config: RunConfig, training: ReaderTraining) -> str:
    given = {"format": FORMAT, "longest": LONGEST}
    return key_of("reader", astuple(training), deciding(config, RunConfig), SHARES, given)


def _opened(folder: Path, record: dict[str, Any], run: Run) -> ReadText:
    run.say(f"reader: taken from the cache ({folder.name}), {_figures(record)}")
    return load_model(folder / "model.keras").get_layer("read_text")


def _figures(record: dict[str, Any]) -> str:
    rights = [f"{share:.1%} {how}" for how, share in record["letters_right"].items()]
    return f"letters right on {HELD_OUT} random strings that it never saw: {', '.join(rights)}"


def _train(training: ReaderTraining, seed: int, folder: Path, run: Run) -> ReadText:
    set_initializer_seed(seed)
    reader = ReadText(training.alphabet, name="read_text")
    model = reader.model()
    network = reader.network
    network.compile(keras.optimizers.Adam(), keras.losses.SparseCategoricalCrossentropy())
    epochs = max(1, training.steps // training.epoch)
    run.say(
        f"reader: training a network of {network.count_params():,} weights on random strings, {training.steps:,} steps "
        f"of {training.batch_size}"
    )
    started = time.perf_counter()
    examples = Strings.drawn(training, epochs * training.epoch * training.batch_size, seed)
    falling = cosine(training.learning_rate, epochs)
    with run.progress() as bar:
        task = bar.add_task("training the reader", total=epochs, note="")

        def on_epoch(row: dict[str, float]) -> None:
            run.metric("reader", **row)
            bar.update(task, completed=row["epoch"], note=f"loss {row['loss']:.3f}")

        history = train(
            network,
            lambda epoch, skip: examples.batches(training, epoch, skip, seed),
            epochs,
            learning_rate=lambda epoch: falling(epoch) * min(1.0, (epoch + 1) / 2),
            checkpoint=folder / "unfinished.npz",
            on_epoch=on_epoch,
        )
    record = {"history": history.rows, "letters_right": letters_right(reader, training, seed)}
    run.say(f"reader: trained in {time.perf_counter() - started:.0f} s, {_figures(record)}")
    with atomic_file(folder / "model.keras") as path:
        model.save(path)
    write_own_json(folder / "source.json", record | {"sha256": digests_of(folder, ["model.keras"])})
    (folder / "unfinished.npz").unlink(missing_ok=True)
    return reader


@dataclass(frozen=True)
class Strings:
    """N drawn random strings.

    Attributes:
        texts: The strings [N].
        images: uint8 [N, 32, W, 1].
        letters: int32 [N, 48], numbers in the alphabet; -1 after the last.
        centres: float32 [N, 48], pixels from the left edge to the middle of each letter's box.
    """

    texts: list[str]
    images: np.ndarray
    letters: np.ndarray
    centres: np.ndarray

    @classmethod
    def drawn(cls, training: ReaderTraining, count: int, seed: int) -> "Strings":
        """Draw `count` random strings, an equal share in each face and size, in a random order."""
        random = np.random.default_rng(seed)
        styles = [(face, size) for face in training.faces for size in training.sizes]
        parts = [
            cls._in_one_face(training, face, size, len(range(i, count, len(styles))), random)
            for i, (face, size) in enumerate(styles)
        ]
        order = random.permutation(count)
        texts = [text for part in parts for text in part.texts]
        arrays = (np.concatenate([getattr(p, name) for p in parts])[order] for name in ("images", "letters", "centres"))
        return cls([texts[i] for i in order], *arrays)

    @classmethod
    def _in_one_face(
        cls, training: ReaderTraining, face: str, size: int, count: int, random: np.random.Generator
    ) -> "Strings":
        layer = RenderText(HEIGHT, training.width, size, face=face)
        codes = np.array([ord(letter) for letter in training.alphabet])
        advances = layer.atlas.boxes[layer.atlas.find(codes), 2]
        letters = np.full((count, LONGEST), -1, np.int32)
        centres = np.zeros((count, LONGEST), np.float32)
        texts = []
        for row in range(count):
            chosen = random_letters(training.alphabet, random)
            most = training.width - layer.margin
            room = random.uniform(0.7 * most, most) if random.random() < 0.85 else random.uniform(24, most)
            ends = layer.margin + np.cumsum(advances[chosen])
            chosen = chosen[: int(np.searchsorted(ends, room, side="right"))]
            if len(chosen) and chosen[-1] == 0:  # a space at the end cannot be seen
                chosen = chosen[:-1]
            letters[row, : len(chosen)] = chosen
            centres[row, : len(chosen)] = ends[: len(chosen)] - advances[chosen] / 2
            texts.append("".join(training.alphabet[i] for i in chosen))
        return cls(texts, tf.function(layer)(tf.constant(texts, tf.string)).numpy(), letters, centres)

    def batches(self, training: ReaderTraining, epoch: int, skip: int, seed: int) -> tf.data.Dataset:
        """Return the batches of an epoch, (ink [B, 32, W, 1], labels int32 [B, W / 4]); batch i is always the same."""
        size = training.batch_size
        rows = slice((epoch * training.epoch + skip) * size, (epoch + 1) * training.epoch * size)
        data = tf.data.Dataset.from_tensor_slices((self.images[rows], self.letters[rows], self.centres[rows]))
        change = disturbed(training)

        def example(i: Any, row: tuple[Any, ...]) -> tuple[Any, Any]:
            images, letters, centres = row
            images, centres = change(
                images, centres, tf.stack([seed + 1, epoch * training.epoch + tf.cast(i, tf.int32)])
            )
            return to_ink(images), column_labels(letters, centres, training.width // COLUMN, len(training.alphabet))

        batches = data.batch(size, drop_remainder=True).enumerate(skip)
        return batches.map(example, num_parallel_calls=tf.data.AUTOTUNE).prefetch(4)


def random_letters(alphabet: str, random: np.random.Generator) -> np.ndarray:
    """Return numbers of letters, at most 48, each drawn for itself.

    Kinds of letters have shares, of which lower case has most; within a kind all letters are alike.
    """
    kinds = kinds_of(alphabet)
    kind = random.choice(len(kinds), LONGEST, p=list(SHARES.values()))
    chosen = np.array([kinds[k][int(u * len(kinds[k]))] for k, u in zip(kind, random.random(LONGEST))])
    after_none = np.concatenate([[0], chosen[:-1]]) == 0
    return chosen[(chosen != 0) | ~after_none]


@lru_cache(maxsize=1)
def kinds_of(alphabet: str) -> tuple[np.ndarray, ...]:
    """Return the numbers of the letters of each kind of `SHARES`, all where there are none; the space is number 0."""
    kind: dict[str, list[int]] = {}
    for i, letter in enumerate(alphabet):
        name = "other" if not letter.isascii() else "lower" if letter.islower() else "upper"
        name = name if letter.isalpha() else "digit" if letter.isdigit() else name if name == "other" else "mark"
        kind.setdefault("space" if letter == " " else name, []).append(i)
    return tuple(np.array(kind.get(name, range(len(alphabet)))) for name in SHARES)


def column_labels(letters: Any, centres: Any, columns: int, blank: int) -> Any:
    """Return for each column of 4 pixels the letter whose centre is in it, or blank: int32 [B, columns].

    Args:
        letters: int32 [B, L], -1 where there is none.
        centres: float32 [B, L], in pixels.
        columns: Number of columns.
        blank: Class of a column without a letter.
    """
    place = tf.where(letters >= 0, tf.cast(tf.floor(centres / COLUMN), tf.int32), -1)
    hot = tf.one_hot(place, columns, dtype=tf.int32) * (letters[..., None] + 1)  # [B, L, columns]
    found = tf.reduce_max(hot, 1)
    return tf.where(found > 0, found - 1, blank)


def disturbed(training: ReaderTraining) -> Callable[[Any, Any, Any], tuple[Any, Any]]:
    """Return a function (images, centres, seed) -> (images, centres) that scales, turns, moves, pales and adds noise.

    Images are uint8 [B, 32, W, 1]; the changed ones are float 0..255. Equal seeds, int [2], give equal changes.
    """
    middle = HEIGHT / 2

    def change(images: Any, centres: Any, seed: Any) -> tuple[Any, Any]:
        count = tf.shape(images)[0]
        seeds = tf.random.experimental.stateless_split(seed, 9)

        def between(which: int, low: float, high: float) -> Any:
            return tf.random.stateless_uniform([count], seeds[which], low, high)

        strength = between(0, 0.0, 1.0)  # some pictures are hardly changed
        scale = 1 + strength * between(1, training.scale[0] - 1, training.scale[1] - 1)
        angle = strength * between(2, -training.turn, training.turn)
        right, down = between(3, -1.0, 5.0), strength * between(4, -2.0, 2.0)
        cosine_, sine = tf.cos(angle) / scale, tf.sin(angle) / scale
        # Pixel (x, y) of the new image is taken from this place of the old one; (0, 16) moves to (right, 16 + down).
        from_x = -(cosine_ * right + sine * (middle + down))
        from_y = middle - (-sine * right + cosine_ * (middle + down))
        zero = tf.zeros_like(scale)
        moved = tf.raw_ops.ImageProjectiveTransformV3(
            images=tf.cast(images, tf.float32),
            transforms=tf.stack([cosine_, sine, from_x, -sine, cosine_, from_y, zero, zero], 1),
            output_shape=[HEIGHT, training.width],
            fill_value=255.0,
            interpolation="BILINEAR",
            fill_mode="CONSTANT",
        )
        ink, paper, noise = (
            (strength * u)[:, None, None, None] for u in (between(5, 0, 110), between(6, 0, 85), between(7, 0, 1))
        )
        grain = tf.random.stateless_normal(tf.shape(moved), seeds[8], stddev=training.noise)
        moved = ink + (255 - paper - ink) * moved / 255 + noise * grain
        centres = right[:, None] + (scale * tf.cos(angle))[:, None] * centres
        return tf.clip_by_value(moved, 0, 255), centres

    return change


def letters_right(reader: ReadText, training: ReaderTraining, seed: int) -> dict[str, float]:
    """Return the share of letters read right on held-out random strings: as drawn, and disturbed as in training.

    It is 1 − edit distance / letters, over all strings.
    """
    held = Strings.drawn(training, HELD_OUT, seed + 2**31)
    changed, _ = disturbed(training)(held.images, held.centres, tf.constant([seed + 2, 0]))
    found = {}
    for how, images in (("as drawn", held.images), ("noisy and turned", changed)):
        parts = [reader(images[i : i + 100])["text"].numpy() for i in range(0, HELD_OUT, 100)]
        read = [text.decode() for text in np.concatenate(parts)]
        found[how] = share_right(held.texts, read)
    return found


def share_right(texts: Sequence[str], read: Sequence[str]) -> float:
    """Return 1 − edit distance / letters of N texts and what was read of them.

    >>> share_right(["abcd", "ab"], ["abd", "ax"])
    0.6666666666666667
    """
    wrong = sum(edit_distance(one, other) for one, other in zip(texts, read, strict=True))
    return 1 - wrong / max(1, sum(map(len, texts)))


def edit_distance(one: str, other: str) -> int:
    """Return how many letters must be put in, taken out or changed to make one text of another (Levenshtein 1966)."""
    before = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        row = [i]
        for j, its in enumerate(other, 1):
            row.append(min(row[-1] + 1, before[j] + 1, before[j - 1] + (letter != its)))
        before = row
    return before[-1]
