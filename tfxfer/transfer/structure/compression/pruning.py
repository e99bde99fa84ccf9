"""Magnitude pruning: the smallest entries of each matrix become 0, and a kept mask says which (Han et al. 2015).

A share S of each matrix goes, so that no layer is emptied by the scale of another. N:M keeps the N largest of every M
inputs of an output (Mishra et al. 2021), which some GPUs multiply faster. On a CPU neither is faster.
"""

from dataclasses import replace

import numpy as np

from tfxfer.errors import UserError
from tfxfer.models.coded_weights import CodedWeight
from tfxfer.transfer.structure.compression.matrices import is_diagonal


def pruned(weight: CodedWeight, share: float, path: str) -> CodedWeight:
    """Return a weight, or both its factors, without a share of the entries.

    Raises:
        UserError: Nothing of a matrix would be left.
    """
    return _masked(weight, lambda values: kept_share(values, share, path))


def pruned_in_groups(weight: CodedWeight, keep: int, of: int) -> CodedWeight:
    """Return a weight of which the `keep` largest of every `of` inputs of an output are left."""
    return _masked(weight, lambda values: kept_in_groups(values, keep, of))


def _masked(weight: CodedWeight, mask_of) -> CodedWeight:  # type: ignore[no-untyped-def]
    parts = []
    for part in weight.parts:
        if is_diagonal(part.values):
            parts.append(part)
            continue
        mask = mask_of(part.values.T if part.by_rows else part.values)
        mask = mask.T if part.by_rows else mask
        parts.append(replace(part, values=np.where(mask, part.values, np.float32(0)), kept=mask))
    return replace(weight, parts=tuple(parts))


def kept_share(values: np.ndarray, share: float, path: str) -> np.ndarray:
    """Return bool: the entries that stay when the share with the smallest magnitudes goes.

    >>> kept_share(np.array([[1.0, -3.0], [0.5, 2.0]]), 0.5, "w").tolist()
    [[False, True], [False, True]]
    """
    size = values.size
    gone = round(share * size)
    if gone >= size:
        raise UserError(
            f"prune:{share:g}: nothing would be left of '{path}', which has {size:,} entries; give at most "
            f"{np.floor(1000 * (size - 1) / size) / 1000:g}"
        )
    mask = np.ones(size, bool)
    mask[np.argsort(np.abs(values).ravel(), kind="stable")[:gone]] = False
    return mask.reshape(values.shape)


def kept_in_groups(values: np.ndarray, keep: int, of: int) -> np.ndarray:
    """Return bool: the `keep` largest of every `of` rows of each column; what is left over at the end stays.

    >>> kept_in_groups(np.array([[1.0], [-3.0], [2.0], [0.5], [9.0]]), 2, 4).ravel().tolist()
    [False, True, True, False, True]
    """
    rows, columns = values.shape
    whole = rows // of * of
    groups = np.abs(values[:whole]).reshape(-1, of, columns)
    order = np.argsort(-groups, axis=1, kind="stable")
    mask = np.zeros_like(groups, bool)
    np.put_along_axis(mask, order[:, :keep], True, axis=1)
    return np.concatenate([mask.reshape(whole, columns), np.ones((rows - whole, columns), bool)])
