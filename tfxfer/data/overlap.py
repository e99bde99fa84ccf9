"""Examples that stand in two splits of a data set: found by digests of their contents, and counted."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np


def digests_of(contents: Iterable[str]) -> np.ndarray:
    """Return uint64 [N], equal where the contents are equal: the first 8 bytes of each one's SHA-256.

    Between a million training examples and 100,000 test examples, two different contents share a digest by chance in
    one case of 10⁸.
    """
    found = (hashlib.sha256(one.encode("utf-8", "surrogatepass")).digest()[:8] for one in contents)
    return np.frombuffer(b"".join(found), ">u8").astype(np.uint64)


@dataclass(frozen=True)
class Overlap:
    """How many examples of a data set stand in two of its splits.

    Attributes:
        test: Examples of the test split.
        test_in_train: Those of them whose content is also in train.
        test_in_validation: Those whose content is also in validation.
        test_seen: Those whose content is in train or validation, int [K]: their places in the test split.
        validation: Examples of the validation split.
        validation_seen: Those whose content is also in train, int [K]: their places in the validation split.
    """

    test: int
    test_in_train: int
    test_in_validation: int
    test_seen: np.ndarray
    validation: int
    validation_seen: np.ndarray

    @property
    def share(self) -> float:
        """The greater share, of 0 to 1: of test examples in train or validation, or of validation examples in train."""
        return max(len(self.test_seen) / max(1, self.test), len(self.validation_seen) / max(1, self.validation))

    def sentence(self) -> str:
        """Return the counts in a sentence; "" where no example stands in two splits.

        >>> Overlap(4, 2, 1, np.array([0, 1]), 9, np.array([])).sentence()
        '2 of 4 test examples (50.0 %) are also in train or validation: 2 in train, 1 in validation.'
        """
        parts = []
        if len(self.test_seen):
            parts.append(
                f"{_counted(self.test_seen, self.test, 'test')} are also in train or validation: "
                f"{self.test_in_train:,} in train, {self.test_in_validation:,} in validation"
            )
        if len(self.validation_seen):
            parts.append(f"{_counted(self.validation_seen, self.validation, 'validation')} are also in train")
        return "; ".join(parts) + "." * bool(parts)


def _counted(seen: np.ndarray, whole: int, split: str) -> str:
    return f"{len(seen):,} of {whole:,} {split} examples ({len(seen) / whole * 100:.1f} %)"


def overlap(digests: Mapping[str, np.ndarray]) -> Overlap:
    """Count the examples that stand in two splits.

    Args:
        digests: "train", "validation" and "test", each uint64 [N] as `digests_of` gives them.

    >>> overlap({s: digests_of(t) for s, t in {"train": "ab", "validation": "bc", "test": "cd"}.items()}).share
    0.5
    """
    train, validation, test = (digests[split] for split in ("train", "validation", "test"))
    in_train, in_validation = np.isin(test, train), np.isin(test, validation)
    return Overlap(
        len(test),
        int(in_train.sum()),
        int(in_validation.sum()),
        np.flatnonzero(in_train | in_validation),
        len(validation),
        np.flatnonzero(np.isin(validation, train)),
    )
