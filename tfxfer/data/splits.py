"""Splits by a stable hash of the content, classes in order, and draws of n labels a class."""

import hashlib
import math
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from tfxfer.errors import UserError

SPLITS = ("train", "validation", "test")
SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}


def position(key: str) -> float:
    """Return a number in [0, 1) that depends on `key` alone: the first 8 bytes of its SHA-256."""
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def same_text(text: str) -> str:
    """Return the form under which two texts count as the same: NFC, case folded, blanks joined."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def split_of(key: str, shares: dict[str, float] = SHARES) -> str:
    """Return the split a key falls into.

    >>> split_of("LATIN SMALL LETTER A") == split_of("LATIN SMALL LETTER A")
    True
    """
    edges = np.cumsum(list(shares.values()))
    return list(shares)[min(int(np.searchsorted(edges, position(key), "right")), len(shares) - 1)]


def cut(
    keys: Sequence[str],
    labels: Sequence[str] | None = None,
    shares: dict[str, float] = SHARES,
    place: str = "the data",
) -> dict[str, np.ndarray]:
    """Cut N examples into splits by their content, whatever their order.

    Equal keys always share a split, so that nothing leaks. Two repairs keep tiny sets usable: of a class without
    training examples, the key of the lowest hash is moved to train; an empty split gets one key from train.

    Args:
        keys: N strings, equal where the content is equal.
        labels: N class names, or None.
        shares: split -> share of the examples; "train" first.
        place: File or folder name for messages.

    Returns:
        split -> int64 row numbers, ascending.

    Raises:
        UserError: when there are too few distinct examples for the repairs.
    """
    assigned = {key: split_of(key, shares) for key in set(keys)}
    groups: dict[str, set[str]] = defaultdict(set)  # class -> its keys
    for key, label in zip(keys, labels if labels is not None else [""] * len(keys)):
        groups[label].add(key)
    for label in sorted(groups):
        if all(assigned[key] != "train" for key in groups[label]):
            assigned[min(groups[label], key=position)] = "train"
    for split in shares:
        if split not in assigned.values():
            assigned[_spare(assigned, groups, shares, place)] = split
    split_names = np.array([assigned[key] for key in keys])
    return {split: np.flatnonzero(split_names == split) for split in shares}


def _spare(assigned: dict[str, str], groups: dict[str, set[str]], shares: dict[str, float], place: str) -> str:
    """Return the training key of the highest hash that is not the only key of a class."""
    needed = set()
    for keys in groups.values():
        in_train = [key for key in keys if assigned[key] == "train"]
        needed |= set(in_train) if len(in_train) == 1 else set()
    spare = [key for key, split in assigned.items() if split == "train" and key not in needed]
    if not spare:
        raise UserError(
            f"{place}: {len(assigned)} distinct examples are too few to cut into {', '.join(shares)}; "
            "add examples, or name the split of each (a 'split' column, or train/validation/test folders)"
        )
    return max(spare, key=position)


def class_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return distinct class names in order: by value when all are numbers, else alphabetically.

    The order is total: names of one value ("1", "1.0") are in alphabetical order, and NaN, which Python compares with
    nothing, is after all numbers.

    >>> class_order(["nan", "10", "9", "9"])
    ('9', '10', 'nan')
    """
    distinct = set(names)
    try:
        return tuple(sorted(distinct, key=_by_value))
    except ValueError:
        return tuple(sorted(distinct))


def _by_value(name: str) -> tuple[bool, float, str]:
    value = float(name)
    return (True, 0.0, name) if math.isnan(value) else (False, value, name)


def draw_per_class(labels: np.ndarray, counts: dict[int, int], seed: int) -> np.ndarray:
    """Draw `counts[c]` rows of every class c.

    The rows of a class are put into one order that depends on the seed alone, so that a small draw is part of
    a larger one with the same seed.

    Args:
        labels: int32 [N].
        counts: class -> rows to draw.
        seed: Seed of the order.

    Returns:
        int64 row numbers, ascending.
    """
    chosen = [np.zeros(0, np.int64)]
    for label, count in counts.items():
        rows = np.flatnonzero(labels == label)
        chosen.append(np.random.default_rng([seed, label]).permutation(rows)[:count])
    return np.sort(np.concatenate(chosen))
