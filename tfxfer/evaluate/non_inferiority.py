"""Non-inferiority of one trained model to another within a margin, on the same test examples.

"No evidence" of a difference is no evidence that nothing was lost: a small test set finds nothing. With a margin Δ,
chosen before the test as the greatest loss that would not matter, and d the true mean of the paired differences, new −
old:

    H₀: d ≤ −Δ        rejected, at a 5 % error, when the one-sided 95 % lower bound of d is above −Δ

The bound is the lower end of the 90 % interval of `verdict`, a paired bootstrap over the test examples. It is about
these two models as they are: nothing is claimed of other trainings.

A bootstrap of examples of which none or few differ cannot see the rare loss that others would show. With fewer changed
answers than a sign test needs, the bound is therefore at most −p·m: p the upper 95 % bound of Clopper and Pearson
(1934) on the share of answers that change, m the most that one can lose.

Sources: Walker and Nowacki 2011, Understanding equivalence and noninferiority testing, J Gen Intern Med 26(2); Piaggio
et al. 2012 (CONSORT). `tfxfer.evaluate.equivalence` has the test for arms, over their seeds.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tfxfer.evaluate.margins import check_margin
from tfxfer.evaluate.verdict import verdict

LEVEL = 0.95  # of the one-sided test
FEW = 5  # changed examples below which a one-sided sign test at 5 % can show nothing: 1/2⁵ < 0.05 < 1/2⁴


@dataclass(frozen=True)
class NonInferiority:
    """The result of the test.

    Attributes:
        margin: Δ.
        difference: Mean difference, new − old.
        bound: One-sided lower bound of the true one.
        shown: Whether the new model is non-inferior: the bound is above −Δ.
        changed: Number of answers that differ.
        answers: Number of answers.
        widened: Whether the bound is that of the share of answers that change.
        level: Level of the bound.
    """

    margin: float
    difference: float
    bound: float
    shown: bool
    changed: int
    answers: int
    widened: bool = False
    level: float = LEVEL


def non_inferiority(
    new: ArrayLike, old: ArrayLike, margin: float, changed: ArrayLike | None = None, *, seed: int = 0
) -> NonInferiority:
    """Test whether a model is non-inferior to another within a margin.

    Args:
        new: Scores of the model, [N]; higher is better.
        old: Scores of the one it stands for, [N], of the same examples.
        margin: Above 0, in the unit of the scores.
        changed: bool [M]: which of the M answers differ; by default the examples whose scores do. M is N, or more where
            an example has several answers and its score is a mean of theirs, as an image with its questions.
        seed: Seed of the bootstrap.

    Raises:
        UserError: The margin is not above 0, or the scores do not fit.

    Example:
        >>> old = np.array([1.0] * 90 + [0.0] * 10)
        >>> non_inferiority(old, old, 0.01).shown, round(non_inferiority(old, old, 0.05).bound, 3)
        (False, -0.03)
    """
    check_margin(margin)
    first, second = np.asarray(new, float), np.asarray(old, float)
    found = verdict(first, second, level=2 * LEVEL - 1, one_model=True, seed=seed, names=("new", "old"))
    differ = first != second if changed is None else np.asarray(changed, bool)
    count, answers = int(differ.sum()), len(differ)
    bound, widened = found.low, count < FEW
    if widened:
        bound = min(bound, -most_changed(count, answers) * max(1.0, float(second.max())))
    return NonInferiority(margin, found.difference, bound, bound > -margin, count, answers, widened)


def most_changed(count: int, answers: int) -> float:
    """Return the upper 95 % bound of a share of which `count` of some answers were seen (Clopper and Pearson 1934).

    >>> round(most_changed(0, 300), 4)
    0.0099
    """
    from scipy.stats import binomtest

    return float(binomtest(count, answers).proportion_ci(2 * LEVEL - 1, "exact").high)
