"""What a transfer changed: relative gain, and the gain in each part of the test split.

    gain            a − b, the accuracy of transfer minus that of the control
    relative gain   (a − b) / (1 − b), the share of the control's errors that transfer removes; negative if it adds
    negative transfer rate   share of parts (classes, lengths) in which a < b

A mean can hide that transfer helps some classes and hurts others (Wang et al. 2019, "Characterizing and avoiding
negative transfer"). Each part has its own interval; of many parts, one in twenty leaves out 0 by chance, so words are
adjusted after Holm (1979).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from tfxfer.errors import UserError
from tfxfer.evaluate.holm import holm
from tfxfer.evaluate.verdict import Verdict, verdict

FEWEST = 10  # test examples of a part that gets a verdict
THIRDS = ("shortest third", "middle third", "longest third")


@dataclass(frozen=True)
class Part:
    """One part of the test split.

    Attributes:
        slice: What the parts are: "class", "length".
        name: This part.
        examples: Number of its test examples.
        a: Mean score of the first arm.
        b: Mean score of the second.
        verdict: On a − b; None where the part has fewer than `FEWEST` examples.
    """

    slice: str
    name: str
    examples: int
    a: float
    b: float
    verdict: Verdict | None

    @property
    def gain(self) -> float:
        """a − b."""
        return self.a - self.b


def relative_gain(a: float, b: float) -> float | None:
    """Return (a − b) / (1 − b), the share of b's errors that a removes; None where b makes no error.

    Args:
        a: Accuracy of transfer, 0 to 1.
        b: Accuracy of its control, 0 to 1.

    >>> relative_gain(0.8, 0.6), relative_gain(0.5, 0.6)
    (0.5000000000000001, -0.24999999999999994)
    """
    return None if b == 1 else (a - b) / (1 - b)


def parts(
    a: ArrayLike,
    b: ArrayLike,
    slices: Mapping[str, Sequence[str]],
    names: tuple[str, str] = ("transfer", "random"),
    draws: int = 2000,
) -> list[Part]:
    """Return the gain in each part, adjusted after Holm over all parts that have a verdict.

    Args:
        a: Scores of the first arm, [S, N].
        b: Scores of the second, [S', N].
        slices: What the parts are -> the part of each test example, N names.
        names: Of both arms.
        draws: Of the bootstrap.

    Raises:
        UserError: A slice has another number of examples than the scores.
    """
    one, two = np.atleast_2d(np.asarray(a, float)), np.atleast_2d(np.asarray(b, float))
    found = []
    for slice_name, values in slices.items():
        if len(values) != one.shape[1]:
            raise UserError(f"{slice_name}: {len(values)} examples, but there are scores for {one.shape[1]}")
        of = np.asarray(values)
        for name in dict.fromkeys(values):
            rows = of == name
            enough = rows.sum() >= FEWEST
            judged = verdict(one[:, rows], two[:, rows], draws=draws, names=names) if enough else None
            found.append(Part(slice_name, str(name), int(rows.sum()), one[:, rows].mean(), two[:, rows].mean(), judged))
    return _adjusted(found)


def negative_transfer_rate(found: Sequence[Part]) -> float:
    """Return the share of parts in which the first arm is below the second; 0 without parts."""
    return sum(part.gain < 0 for part in found) / len(found) if found else 0.0


def by_length(texts: Sequence[str]) -> list[str]:
    """Return in which third of the lengths each text is, in characters; equal lengths are in one third.

    >>> by_length(["a", "bb", "ccc"])
    ['shortest third', 'middle third', 'longest third']
    """
    lengths = np.array([len(text) for text in texts])
    edges = np.quantile(lengths, (1 / 3, 2 / 3))
    return [THIRDS[int(which)] for which in np.searchsorted(edges, lengths, side="left")]


def _adjusted(found: list[Part]) -> list[Part]:
    """Return the parts, "no evidence" where Holm's adjusted p is above the error of the verdict."""
    adjusted = holm([part.verdict.p if part.verdict else None for part in found])
    return [
        part
        if part.verdict is None or p is None or p <= 1 - part.verdict.level
        else replace(part, verdict=replace(part.verdict, word="no evidence"))
        for part, p in zip(found, adjusted)
    ]
