"""What a reader reads of a task: each picture of text becomes a text, once, and is kept on disk."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfxfer.cache import atomic_file, data_dirs, key_of
from tfxfer.data.dataset import Dataset
from tfxfer.data.images import readable_errors
from tfxfer.errors import DamagedFile, UserError
from tfxfer.in_use import use
from tfxfer.own_files import read_own_npz
from tfxfer.runs import Run
from tfxfer.tasks.classification import Task
from tfxfer.transfer.bridges.read import COLUMN, HEIGHT, ReadText, to_ink, unreadable
from tfxfer.transfer.bridges.render import RenderText
from tfxfer.transfer.graph import fingerprint
from tfxfer.version import __version__

log = logging.getLogger("tfxfer")
BATCH = 64
FORMAT = 1  # of a kept reading, and of how columns become letters
UNSURE = 0.85  # benchmarks/reader.py: titles .93 to 1.00, upside down .66 to .86, light on dark .49 to .61


@dataclass(frozen=True)
class Reading:
    """What was read of N examples.

    Attributes:
        texts: UTF-8 bytes [N].
        confidence: float32 [N], the mean probability of the letters; 0 where none was read.
        cut: bool [N]: the picture is wider than `--width`, and its right end was not read.
    """

    texts: np.ndarray
    confidence: np.ndarray
    cut: np.ndarray


class Readings:
    """Reads the examples of a task, which are pictures of text, or texts that are drawn first.

    Args:
        task: The task; its key is "image" or "text".
        reader: A trained reader.
        draw: Draws texts; None where the task has pictures.
        width: Width of a picture in pixels at a height of 32; what is wider is cut.
        data_dir: Where readings are kept.
        run: Shows progress.
    """

    def __init__(
        self, task: Task, reader: ReadText, draw: RenderText | None, width: int, data_dir: str | None, run: Run
    ) -> None:
        self.task, self.reader, self.draw, self.run = task, reader, draw, run
        self.width, self.data_dir = -(-width // COLUMN) * COLUMN, data_dir

    @cached_property
    def model(self) -> keras.Model:
        """Strings [B], or pictures [B, H, W, 1] of any size → what the reader gives of them."""
        return keras.Model(*self.ends())

    def ends(self) -> tuple[Any, dict[str, Any]]:
        """Return the symbolic raw input, and what the reader gives of it."""
        if self.draw is not None:
            raw = keras.Input((), dtype="string", name="text")
            return raw, self.reader(self.draw(raw))
        raw = keras.Input((None, None, 1), dtype="uint8", name="image")
        return raw, self.reader(raw)

    @cached_property
    def key(self) -> str:
        """Changes with everything that decides a reading, beside the examples."""
        return key_of("readings", FORMAT, fingerprint(self.model), self.width, __version__)

    def read(self, dataset: Dataset, split: str) -> Reading:
        """Return what is read of a split: from the cache where it is there."""
        caches, name = data_dirs(self.data_dir), f"read-{key_of(self.key, dataset.fingerprint, split)}.npz"
        file = caches.own / "features" / name
        for cached in (*caches.shared("features", name), file):
            try:
                return Reading(**read_own_npz(cached, "the pictures are read again", ("texts", "confidence", "cut")))
            except FileNotFoundError:
                continue
            except DamagedFile as error:
                log.warning("%s", error)
        use(file)
        found = self._read(dataset, split)
        with atomic_file(file) as temporary, temporary.open("wb") as opened:
            np.savez(opened, texts=found.texts, confidence=found.confidence, cut=found.cut)
        return found

    @cached_property
    def _letters(self) -> Callable[[Any], tuple[Any, Any]]:
        """Ink [B, 32, W, 1] → texts [B] and confidence [B], compiled once."""

        @tf.function(input_signature=[tf.TensorSpec([None, HEIGHT, None, 1])])
        def letters(ink: Any) -> tuple[Any, Any]:
            posteriors = self.reader.network(ink, training=False)
            return self.reader.decode(posteriors), self.reader.confidence(posteriors)

        return letters

    @cached_property
    def _drawn(self) -> Callable[[Any], tuple[Any, Any]]:
        """Texts [B] → ink [B, 32, W, 1] and whether each is cut, bool [B], compiled once."""
        draw = self.draw
        assert draw is not None

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def drawn(texts: Any) -> tuple[Any, Any]:
            return to_ink(draw(texts)), draw.count(texts)["cut"] > 0

        return drawn

    def _read(self, dataset: Dataset, split: str) -> Reading:
        parts: list[tuple[np.ndarray, ...]] = []
        with self.run.progress() as bar, readable_errors(dataset):
            task = bar.add_task(f"reading {split}", total=dataset.sizes[split], note="")
            for ink, cut in self._ink(dataset, split):
                parts.append((*(np.asarray(part) for part in self._letters(ink)), np.asarray(cut)))
                bar.update(task, advance=len(ink))
        texts, confidence, cut = (np.concatenate(part) for part in zip(*parts, strict=True))
        return Reading(texts.astype(np.bytes_), confidence.astype(np.float32), cut.astype(bool))

    def _ink(self, dataset: Dataset, split: str) -> Iterator[tuple[Any, Any]]:
        """Yield batches of ink [B, 32, W, 1], and whether each picture is cut, bool [B]."""
        if self.draw is not None:
            for batch in dataset.batches(split, BATCH, keys=("text",)):
                yield self._drawn(batch["text"])
            return

        def one(row: dict[str, Any]) -> tuple[Any, Any]:
            ink = to_ink(row["image"][None])[0]
            too_wide = tf.shape(ink)[1] > self.width
            ink = ink[:, : self.width]
            return tf.pad(ink, [[0, 0], [0, self.width - tf.shape(ink)[1]], [0, 0]]), too_wide

        images = dataset.splits[split].examples(["image"]).map(one, num_parallel_calls=tf.data.AUTOTUNE)
        for ink, cut in images.batch(BATCH).prefetch(2):
            yield tf.ensure_shape(ink, [None, HEIGHT, self.width, 1]), cut

    def as_texts(self, dataset: Dataset, *splits: str) -> Dataset:
        """Return a data set whose "text" is what was read of these splits, and nothing in the others."""
        parts = dict(dataset.splits)
        for split, part in parts.items():
            texts = self.read(dataset, split).texts if split in splits else np.zeros(len(part), "S1")
            parts[split] = part.with_column("text", texts)
        key = key_of(dataset.fingerprint, "read", self.key, splits)
        return replace(dataset, splits=parts, fingerprint=key, _in_memory={})

    def check(self, split: str = "validation") -> None:
        """Read a split; say how much is blank, cut or unsure.

        Raises:
            UserError: Most pictures are blank.
        """
        dataset = self.task.dataset
        found = self.read(dataset, split)
        blank, unsure = found.texts == b"", found.confidence < UNSURE
        count = len(blank)
        worst = self._name(split, int(np.argmin(found.confidence)))
        if 2 * blank.sum() > count:
            raise UserError(
                f"--bridge read: {blank.sum():,} of {count:,} pictures of {split} are blank or hold no letter, such as "
                f"{self._name(split, int(np.flatnonzero(blank)[0]))}; give pictures of one line of dark text on light "
                "paper, upright"
            )
        self.run.say(
            f"bridge: read, of {count:,} examples of {split} {blank.sum():,} are blank, {found.cut.sum():,} are wider "
            f"than {self.width} pixels at a height of {HEIGHT} and lose their end (--width), mean confidence "
            f"{found.confidence.mean():.2f}"
        )
        if 2 * unsure.sum() > count:
            self.run.caution(
                f"most pictures are read with doubt ({unsure.sum():,} of {count:,}; the worst is {worst}): they may be "
                "upside down, light on dark, of more than one line, in another script or face, or of a font size below "
                "18 or above 26 pixels where the picture is 32 high"
            )

    def _name(self, split: str, row: int) -> str:
        """Return how an example is named in a message: its file, or its row and how its text begins."""
        dataset = self.task.dataset
        part: Any = dataset.splits[split]
        if self.task.key == "text":
            return f"text {row + 1}, '{dataset.texts(split)[row][:30]}'"
        files = getattr(part, "files", None)
        return files.paths[int(part.index[row])].numpy().decode() if files else f"picture {row + 1}"


@dataclass(frozen=True)
class ReadTask(Task):
    """A task whose texts are what was read of another one's examples; labels and draws are the same.

    Attributes:
        original: The task that is read.
        readings: Reads it.
    """

    original: Task
    readings: Readings

    @classmethod
    def of_readings(cls, readings: Readings) -> "ReadTask":
        """Return the task, its validation and test splits read."""
        original = readings.task
        dataset = readings.as_texts(original.dataset, "validation", "test")
        return cls(dataset, "text", {}, original, readings)

    def train(self, budget: int | None, seed: int) -> Dataset:
        """Return the data set with its training split reduced to `budget` labels a class, and read."""
        return self.readings.as_texts(self.original.train(budget, seed), "train")


def check_letters(texts: list[str], name: str, reader_letters: str, say: Callable[[str], None]) -> None:
    """Print how many characters a reader has not learned.

    Args:
        texts: N true texts.
        name: Where they come from, for the message.
        reader_letters: The alphabet.
        say: Prints a line.

    Raises:
        UserError: Most texts are mostly of such characters.
    """
    unknown = [unreadable(text, reader_letters) for text in texts]
    mostly = [i for i, (text, lost) in enumerate(zip(texts, unknown)) if 2 * len(lost) > len("".join(text.split()))]
    if 2 * len(mostly) > len(texts):
        raise UserError(
            f"--bridge read: {len(mostly):,} of {len(texts):,} texts of {name} are mostly of a script that the reader "
            f"has not learned, such as text {mostly[0] + 1}, '{texts[mostly[0]][:30]}'; it reads Latin letters only. "
            "Use --bridge render or tokens with an image model as --source"
        )
    lost = [c for each in unknown for c in each]
    if lost:
        common = "".join(sorted(set(lost), key=lambda c: -lost.count(c))[:10])
        total = sum(len("".join(text.split())) for text in texts)
        say(
            f"bridge: read, {len(lost):,} of {total:,} characters in {sum(map(bool, unknown)):,} texts are none that "
            f"the reader has learned ({common})"
        )
