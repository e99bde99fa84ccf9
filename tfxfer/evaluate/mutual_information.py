"""I(X;Y) between two classes, in bits, and the complementarity hypothesis of distillation.

Xie, Xu & Sanguinetti (2025): distillation between modalities helps when I(teacher; student) > I(student; label). Their
variables are representations. Here they are the classes that teacher and student answer on the validation split, so
both sides are counts in a table [C, C] and need no estimator with settings of its own:

    I(X;Y) = Σ p(x, y) log₂ p(x, y) / p(x) p(y)

Few examples pretend information, so the mean of the same figure with shuffled classes is subtracted. A class says less
than the probabilities that it is the greatest of, so both figures are too low.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tfxfer.errors import UserError

SHUFFLES, DRAWS = 20, 1000
GAIN, NO_GAIN, UNDECIDED = "a gain", "no gain", "undecided"


@dataclass(frozen=True)
class Hypothesis:
    """Both sides of the hypothesis, and what it predicts.

    Attributes:
        teacher_student: I(teacher; student) in bits.
        student_label: I(student; label) in bits.
        low: Lower end of the 95 % interval of their difference, by the bootstrap over examples.
        high: Upper end.
        predicts: "a gain" where the interval is above 0, "no gain" where it is below, else "undecided".
        examples: Number of validation examples.
    """

    teacher_student: float
    student_label: float
    low: float
    high: float
    predicts: str
    examples: int

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes as JSON can hold them."""
        return asdict(self)


def mutual_information(x: ArrayLike, y: ArrayLike, *, shuffles: int = SHUFFLES, seed: int = 0) -> float:
    """Return I(X;Y) of paired classes in bits, less what shuffled pairs seem to tell; at least 0.

    Args:
        x: int [N].
        y: int [N].
        shuffles: How many times the pairs are shuffled; 0 subtracts nothing.
        seed: Of the shuffles.

    Raises:
        UserError: The lengths differ, or there is no pair.

    >>> mutual_information([0, 0, 1, 1], [1, 1, 0, 0], shuffles=0)
    1.0
    """
    first, second = _codes(x), _codes(y)
    if len(first) != len(second) or not len(first):
        raise UserError(f"{len(first)} and {len(second)} classes are no pairs")
    found = _information(first, second)
    rng = np.random.default_rng(seed)
    chance = [_information(first, rng.permutation(second)) for _ in range(shuffles)]
    return max(0.0, found - float(np.mean(chance))) if chance else found


def complementarity_hypothesis(
    teacher: ArrayLike, student: ArrayLike, labels: ArrayLike, *, draws: int = DRAWS, seed: int = 0
) -> Hypothesis:
    """Return both sides of the hypothesis and what it predicts for the student's training with the teacher.

    Args:
        teacher: Classes that the teacher answers, int [N].
        student: Classes that the student answers that learned from labels alone, int [S, N] of S trainings or [N].
        labels: True classes, int [N]. Neither model may have learned from these examples.
        draws: Bootstrap draws of the examples.
        seed: Of draws and shuffles.
    """
    known, true, answers = np.asarray(teacher), np.asarray(labels), np.atleast_2d(np.asarray(student))
    told, given = (
        float(np.mean([mutual_information(one, other, seed=seed) for one in answers])) for other in (known, true)
    )
    rng, size = np.random.default_rng(seed), answers.shape[1]
    differences = []
    for rows in rng.integers(0, size, (draws, size)):
        each = [_information(one[rows], known[rows]) - _information(one[rows], true[rows]) for one in answers]
        differences.append(np.mean(each))
    spread = np.asarray(differences) - np.mean(differences)  # a draw with repetitions pretends information too
    low, high = (float(told - given + np.quantile(spread, q)) for q in (0.025, 0.975))
    predicts = GAIN if low > 0 else NO_GAIN if high < 0 else UNDECIDED
    return Hypothesis(told, given, low, high, predicts, size)


def _codes(values: ArrayLike) -> np.ndarray:
    return np.unique(np.asarray(values), return_inverse=True)[1]


def _information(x: np.ndarray, y: np.ndarray) -> float:
    """Return I(X;Y) in bits of the table of pairs of classes ≥ 0."""
    width = int(y.max()) + 1
    joint = np.bincount(x * width + y, minlength=(int(x.max()) + 1) * width).reshape(-1, width) / len(x)
    expected = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    at = joint > 0
    return float((joint[at] * np.log2(joint[at] / expected[at])).sum())
