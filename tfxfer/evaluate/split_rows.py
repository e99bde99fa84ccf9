"""The rows of a run's splits: their digests in the run's folder, to tell whether two runs were scored on the same."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from tfxfer.cache import atomic_file
from tfxfer.own_files import read_own_npz

FILE = "splits.npz"
REMEDY = "remove it, and the run is compared by its labels and shown examples only; or run again"


@dataclass(frozen=True)
class SplitRows:
    """A digest of each row, uint64.

    Attributes:
        train: Rows that training examples are drawn from, by their content.
        validation: Rows that settings are chosen by, by their content.
        test: What is scored, in its order: content and true answer.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    @classmethod
    def of(cls, dataset: Any, test: Sequence[str] | None = None) -> "SplitRows":
        """Return the digests of a `Dataset`.

        Args:
            dataset: The target.
            test: What is scored, a text for each test example, where that is not a row of the test split each.
        """
        return cls(
            dataset.digests("train"),
            dataset.digests("validation"),
            _digests(_test_rows(dataset) if test is None else test),
        )

    def save(self, folder: Path) -> None:
        """Write `splits.npz` into a run's folder, whole or not at all."""
        with atomic_file(folder / FILE) as path, path.open("wb") as file:
            np.savez(file, train=np.unique(self.train), validation=np.unique(self.validation), test=self.test)

    @classmethod
    def load(cls, folder: Path) -> "SplitRows | None":
        """Return what `save` wrote; None where the folder does not have it, as those of older versions.

        Raises:
            DamagedFile: The file is damaged.
        """
        try:
            found = read_own_npz(folder / FILE, REMEDY, tuple(field.name for field in fields(cls)))
        except FileNotFoundError:
            return None
        return cls(found["train"], found["validation"], found["test"])

    def difference(self, other: "SplitRows") -> str | None:
        """Return what differs from the splits of another run, in words; None where nothing does.

        Training and validation rows may be fewer in one run, as `--max-validation` leaves them.
        """
        shared = int(np.isin(self.test, other.test).sum())
        if shared < max(len(self.test), len(other.test)):
            sizes = f"{len(self.test):,} and {len(other.test):,} examples"
            return f"the test sets differ: {sizes}, of which {shared:,} are the same"
        if not np.array_equal(self.test, other.test):
            return "the test sets hold the same examples in another order"
        for name in ("train", "validation"):
            small, large = sorted((getattr(self, name), getattr(other, name)), key=lambda rows: len(np.unique(rows)))
            foreign = int((~np.isin(small, large)).sum())
            if foreign:
                return (
                    f"the splits differ: {foreign:,} of {len(small):,} {name} rows of one run are none of the other's"
                )
        return None


def _test_rows(dataset: Any) -> list[str]:
    """Return a text for each row of the test split: the digest of its content, and every other column."""
    columns = [dataset.digests("test").astype(str)]
    for key in sorted(set(dataset.keys) - {"image"}):
        values = dataset.labels("test") if key == "label" and dataset.class_names else None
        column = dataset.splits["test"].column(key) if values is None else [dataset.class_names[i] for i in values]
        columns.append([value.decode("utf-8") if isinstance(value, bytes) else str(value) for value in column])
    return ["\0".join(row) for row in zip(*columns)]


def _digests(texts: Iterable[str]) -> np.ndarray:
    found = (hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8] for text in texts)
    return np.frombuffer(b"".join(found), ">u8").astype(np.uint64)
