"""McNemar's test: whether two trained models are right equally often on the same examples.

It looks only at the examples on which exactly one of the two is right. It is about these two models as they are: the
luck of their seeds is no part of it, as it is of a `Verdict`.

Sources: McNemar 1947; Fagerland, Lydersen and Laake 2013, The McNemar test for binary matched-pairs data, for the test
without a continuity correction where such examples are many.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tfxfer.errors import UserError

FEW = 25  # discordant examples below which the binomial distribution is used as it is


@dataclass(frozen=True)
class McNemar:
    """The result of the test.

    Attributes:
        only_a: Examples on which only the first model is right.
        only_b: Examples on which only the second is right.
        p: Two-sided p.
        exact: Whether it is that of the binomial distribution, and not of χ² with one degree of freedom.
    """

    only_a: int
    only_b: int
    p: float
    exact: bool


def mcnemar(a: ArrayLike, b: ArrayLike) -> McNemar:
    """Compare two models by their answers to the same examples.

    Args:
        a: Whether the first model is right, bool or 0 and 1, [N].
        b: The same of the second, [N].

    Raises:
        UserError: The shapes differ, or a value is neither 0 nor 1.

    >>> mcnemar([1] * 8 + [0], [0] * 8 + [1])
    McNemar(only_a=8, only_b=1, p=0.0390625, exact=True)
    """
    from scipy.stats import binomtest, chi2

    first, second = np.asarray(a), np.asarray(b)
    if first.ndim != 1 or first.shape != second.shape:
        raise UserError(f"answers of two models must be [N] each, not {list(first.shape)} and {list(second.shape)}.")
    if not is_right_or_wrong(first) or not is_right_or_wrong(second):
        raise UserError("McNemar's test needs answers that are right (1) or wrong (0).")
    first, second = first.astype(bool), second.astype(bool)
    only_a, only_b = int((first & ~second).sum()), int((second & ~first).sum())
    count = only_a + only_b
    if count < FEW:
        p = float(binomtest(only_a, count).pvalue) if count else 1.0
    else:
        p = float(chi2.sf((only_a - only_b) ** 2 / count, 1))
    return McNemar(only_a, only_b, p, count < FEW)


def is_right_or_wrong(scores: ArrayLike) -> bool:
    """Return whether every score is 0 or 1."""
    values = np.asarray(scores)
    return bool(((values == 0) | (values == 1)).all())
