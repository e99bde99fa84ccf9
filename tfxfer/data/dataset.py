"""`Dataset`: three splits, their classes, and a fingerprint of the content."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import tensorflow as tf

from tfxfer.cache import key_of
from tfxfer.data.cells import class_name
from tfxfer.data.images import readable_errors, resize_image
from tfxfer.data.overlap import Overlap, digests_of, overlap
from tfxfer.data.records import Records
from tfxfer.data.rows import Resize, Rows
from tfxfer.data.spec import CONTENT_ROLES, credit
from tfxfer.data.splits import SPLITS, draw_per_class, same_text
from tfxfer.errors import UserError, suggest

Split = Rows | Records


@dataclass(frozen=True, eq=False)
class Dataset:
    """Examples of a task, as dicts: "image" uint8 [H, W, C], "text", "question", "answer", "caption"
    string [], "label" int32 [], and further columns of the source.

    An image may have several captions (`captions:`, `coco:`): it is one example, "caption" is the first of them, and
    `captions` gives all.

    Attributes:
        name: The spec it was loaded from.
        class_names: Names of the C classes, in the order of the labels; empty without labels.
        splits: "train", "validation" and "test", each a `Rows` or `Records`.
        fingerprint: Hexadecimal key of the content, order, splits and labels.
        notes: Rows left out, files refused, empty texts.
        references: All captions of each row of the set as it was first loaded; empty where rows have one at most.
        image_digests: uint64, a digest of the bytes of each row's image file, of the set as it was first loaded; empty
            without images.

    >>> phrases = tfxfer.load("languages/latin").with_labels(20)      # doctest: +SKIP
    >>> for batch in phrases.batches("train", 32, shuffle_seed=0):    # doctest: +SKIP
    ...     batch["text"], batch["label"]                             # [32], [32]
    """

    name: str
    class_names: tuple[str, ...]
    splits: dict[str, Split] = field(repr=False)
    fingerprint: str
    notes: tuple[str, ...] = ()
    references: tuple[tuple[str, ...], ...] = field(default=(), repr=False)
    image_digests: np.ndarray = field(default_factory=lambda: digests_of(()), repr=False)
    _in_memory: dict[Any, Rows] = field(default_factory=dict, repr=False)

    @property
    def train(self) -> tf.data.Dataset:
        """Training examples, one dict each, in a fixed order; images as they are stored."""
        return self._split("train").examples(self.keys)

    @property
    def validation(self) -> tf.data.Dataset:
        """Validation examples, as `train`."""
        return self._split("validation").examples(self.keys)

    @property
    def test(self) -> tf.data.Dataset:
        """Test examples, as `train`."""
        return self._split("test").examples(self.keys)

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of an example."""
        return self._split("train").keys

    @property
    def sizes(self) -> dict[str, int]:
        """Number of examples in each split."""
        return {name: len(split) for name, split in self.splits.items()}

    @property
    def modality(self) -> str:
        """ "image", "text" or "image+text"."""
        words = {"text", "question", "caption"} & set(self.keys)
        if "image" not in self.keys:
            return "text"
        return "image+text" if words else "image"

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """(H, W, C) when all images have one size; None when sizes vary or there are no images."""
        shapes = {split.image_shape for split in self.splits.values()}
        return shapes.pop() if len(shapes) == 1 else None

    def batches(
        self,
        split: str,
        batch_size: int,
        *,
        keys: Iterable[str] | None = None,
        image_size: tuple[int, int] | None = None,
        channels: int | None = None,
        shuffle_seed: int | None = None,
        skip: int = 0,
        cache: bool = False,
    ) -> tf.data.Dataset:
        """Stream a split in batches; the last one may be smaller. Equal arguments give equal batches.

        Args:
            split: "train", "validation" or "test".
            batch_size: Examples in a batch.
            keys: Which keys to read; a stream without "image" decodes no image. Default: all.
            image_size: (height, width) in pixels to stretch to; bilinear, antialiased, rounded to uint8.
            channels: 1 or 3 to convert images to grey or colour.
            shuffle_seed: Seed of a permutation of all rows (of a buffer for TFDS sets beyond memory);
                give another seed in each epoch.
            skip: Number of batches to leave out at the start without decoding them.
            cache: Keep the decoded and resized images in memory for later calls.

        Returns:
            Batches of dicts: image uint8 [B, H, W, C], label int32 [B], strings [B].

        Raises:
            UserError: for an unknown split or key, or images of varying size without `image_size`.
        """
        source = self._split(split)
        chosen = self._chosen(source, keys)
        if batch_size < 1:
            raise UserError(f"batch size {batch_size}: it must be at least 1")
        resize = None
        if "image" in chosen:
            if cache:
                source = self._decoded(split, image_size, channels)
            resize = self._resize(source, image_size, channels)
        return source.batches(chosen, batch_size, resize, shuffle_seed, skip)

    def labels(self, split: str) -> np.ndarray:
        """Return int32 [N], the class of every example of a split."""
        if not self.class_names:
            raise UserError(f"{self.name} has no labels; name a column that has with label=COLUMN")
        return self._split(split).column("label")

    def texts(self, split: str, key: str = "text") -> list[str]:
        """Return the N texts of a split (or its questions, answers, captions)."""
        return [text.decode("utf-8") for text in self._split(split).column(key)]

    def captions(self, split: str) -> list[list[str]]:
        """Return all captions of each of the N images of a split, at least one each."""
        if "caption" not in self.keys:
            raise UserError(f"{self.name} has no captions; name a column that has with caption=COLUMN")
        if self.references:
            return [list(self.references[row]) for row in self.indices(split)]
        return [[caption] for caption in self.texts(split, "caption")]

    @property
    def content_key(self) -> str:
        """What makes two examples the same: "image" where there are images, else the first of the texts."""
        return "image" if "image" in self.keys else next(key for key in CONTENT_ROLES if key in self.keys)

    def digests(self, split: str, key: str | None = None) -> np.ndarray:
        """Return uint64 [N], equal where examples are the same, in other data sets too.

        Args:
            split: "train", "validation" or "test".
            key: "image" compares the bytes of the image files, "text" (or "question", …) the text without case.
                Default: `content_key`.
        """
        if (key or self.content_key) == "image":
            return self.image_digests[self.indices(split)]
        return digests_of(map(same_text, self.texts(split, key or self.content_key)))

    def overlap(self, key: str | None = None) -> Overlap:
        """Return how many examples stand in two splits; `key` as in `digests`."""
        return overlap({split: self.digests(split, key) for split in SPLITS})

    def arrays(
        self, split: str, image_size: tuple[int, int] | None = None, channels: int | None = None
    ) -> dict[str, np.ndarray]:
        """Return a whole split as arrays [N, ...]; strings come as bytes. For small sets and baselines."""
        source = self._split(split)
        arrays = {key: source.column(key) for key in source.keys if key != "image"}
        if "image" in source.keys:
            stream = self.batches(split, 256, keys=["image"], image_size=image_size, channels=channels)
            with readable_errors(self):
                arrays["image"] = np.concatenate([batch["image"].numpy() for batch in stream])
        return arrays

    def with_labels(self, n_per_class: int, seed: int = 0) -> "Dataset":
        """Return this set with n training examples of each class; validation and test stay whole.

        A draw of 5 is part of the draw of 20 with the same seed.

        Raises:
            UserError: naming a class that has fewer than n.
        """
        labels = self.labels("train")
        sizes = np.bincount(labels, minlength=len(self.class_names))
        present = {c: n_per_class for c in range(len(sizes)) if sizes[c]}
        short = next((c for c in present if sizes[c] < n_per_class), None)
        if n_per_class < 1:
            raise UserError(f"{n_per_class} training labels a class: it must be at least 1")
        if short is not None:
            raise UserError(
                f"{self.name}: {n_per_class} training labels a class were asked for; "
                f"class '{self.class_names[short]}' has {sizes[short]}. Ask for fewer, or add examples"
            )
        rows = draw_per_class(labels, present, seed)
        return self._derived({"train": rows}, f"with_labels({n_per_class}, seed={seed})")

    def with_classes(self, names: Iterable[str]) -> "Dataset":
        """Return this set with some classes only, in all splits, with labels from 0 again."""
        wanted = list(dict.fromkeys(map(class_name, names)))
        unknown = next((name for name in wanted if name not in self.class_names), None)
        if unknown is not None or len(wanted) < 2:
            problem = f"no class '{unknown}'; {suggest(unknown, self.class_names)}" if unknown else "name two classes"
            raise UserError(f"{self.name}: {problem}")
        kept = tuple(name for name in self.class_names if name in wanted)
        renumber = np.full(len(self.class_names), -1, np.int32)
        renumber[[self.class_names.index(name) for name in kept]] = np.arange(len(kept))
        rows = {split: np.flatnonzero(renumber[self.labels(split)] >= 0) for split in self.splits}
        derived = self._derived(rows, f"with_classes({', '.join(kept)})")
        splits = {s: part.with_column("label", renumber[part.column("label")]) for s, part in derived.splits.items()}
        return replace(derived, class_names=kept, splits=splits)

    def with_at_most(self, seed: int = 0, **counts: int | None) -> "Dataset":
        """Return this set with splits cut to a number of rows, drawn with a seed: `with_at_most(test=500)`."""
        rows = {}
        for split, count in counts.items():
            size = len(self._split(split))
            if count is not None and count < size:
                rows[split] = np.sort(np.random.default_rng(seed).permutation(size)[:count])
        return self._derived(rows, f"with_at_most({counts}, seed={seed})") if rows else self

    def with_rows(self, split: str, rows: np.ndarray) -> "Dataset":
        """Return this set with some rows of a split only, by their positions in it, int [n]."""
        return self._derived({split: np.asarray(rows)}, f"with_rows({split}, {key_of(np.asarray(rows).tolist())})")

    def indices(self, split: str) -> np.ndarray:
        """Return int64 [N]: the row numbers of this split in the set as it was first loaded."""
        return self._split(split).index

    def __repr__(self) -> str:
        """Return one line, without the class names: there may be thousands."""
        sizes = ", ".join(f"{split}={count:,}" for split, count in self.sizes.items())
        return f"Dataset({self.name}: {sizes}; {len(self.class_names)} classes; fingerprint {self.fingerprint})"

    def describe(self) -> str:
        """Return a short table: sizes, classes, keys, notes, and what stands in two splits."""
        sizes = "  ".join(f"{name} {size:,}" for name, size in self.sizes.items())
        shown = ", ".join(self.class_names[:8]) + (", …" if len(self.class_names) > 8 else "")
        lines = [
            f"{self.name}  ({self.modality}, fingerprint {self.fingerprint})",
            f"  examples  {sizes}",
            f"  classes   {len(self.class_names):,}: {shown}" if self.class_names else "  classes   none",
            f"  keys      {', '.join(self.keys)}",
        ]
        if "image" in self.keys:
            lines += self._described_references()
            lines.append(
                "  images    " + (" x ".join(map(str, self.image_shape)) if self.image_shape else "sizes vary")
            )
        lines += [f"  note      {note}" for note in self.notes]
        shared, made_by = self.overlap().sentence(), credit(self.name)
        lines += [f"  overlap   {shared}"] if shared else []
        return "\n".join([*lines, f"  credit    {made_by}"] if made_by else lines)

    def _described_references(self) -> list[str]:
        if not self.references:
            return []
        counts = [len(each) for split in self.splits for each in self.captions(split)]
        span = f"{min(counts)} to {max(counts)}" if min(counts) < max(counts) else f"{counts[0]}"
        return [f"  captions  {sum(counts):,}, {span} an image"]

    def _split(self, name: str) -> Split:
        if name not in self.splits:
            raise UserError(f"{self.name}: there is no split '{name}'; {suggest(name, self.splits)}")
        return self.splits[name]

    def _chosen(self, source: Split, keys: Iterable[str] | None) -> list[str]:
        chosen = list(source.keys if keys is None else keys)
        unknown = next((key for key in chosen if key not in source.keys), None)
        if unknown is not None:
            raise UserError(f"{self.name}: examples have no '{unknown}'; {suggest(unknown, source.keys)}")
        return chosen

    def _resize(self, source: Split, size: tuple[int, int] | None, channels: int | None) -> Resize:
        if channels not in (None, 1, 3):
            raise UserError(f"channels={channels}: an image has 1 (grey) or 3 (colour)")
        if size is None and source.image_shape is None:
            raise UserError(f"{self.name}: its images vary in size; give image_size=(height, width)")
        return lambda image: resize_image(image, size, channels)

    def _decoded(self, split: str, size: tuple[int, int] | None, channels: int | None) -> Rows:
        """Return a split with its images decoded and resized; it is made once."""
        key = (split, size, channels)
        if key not in self._in_memory:
            self._in_memory[key] = Rows.of(self.arrays(split, size, channels))
        return self._in_memory[key]

    def _derived(self, rows: dict[str, np.ndarray], how: str) -> "Dataset":
        splits = {name: s.take(rows[name]) if name in rows else s for name, s in self.splits.items()}
        return replace(self, splits=splits, fingerprint=key_of(self.fingerprint, how), _in_memory={})
