"""Does a model look at its picture? The same model on the right picture, on another one, and on none."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tfxfer.errors import UserError
from tfxfer.evaluate.verdict import signed, too_few

RESAMPLES = 10_000
LEVEL = 0.95  # of the interval
BLOCK = 2**22  # numbers that are drawn at a time
SAME = 0.5  # share of identical answers from which they are said to be the same


def image_ablation(
    scores: Mapping[str, np.ndarray],
    answers: Sequence[str],
    *,
    measure: str = "score",
    what: str = "pictures",
    groups: ArrayLike | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Say whether a model's answers depend on the picture.

    Args:
        scores: "pictures" -> float [N], each answer's score with its own picture; and the scores of the same model
            "shuffled" (each sees another's picture) and "blank" (all see the mean picture), where they were measured.
        answers: What was answered with the right pictures, [N].
        measure: What the scores are, for the sentence.
        what: What is answered, for the sentence: pictures, or questions about them.
        groups: int [N], which answers stand or fall together, such as those about one picture; the bootstrap draws
            whole groups. Every answer stands for itself when not given.
        seed: Seed of the bootstrap.

    Returns:
        "means" of each kind, "identical_share" (share of the most frequent answer), "gain" (mean of the right picture
        minus the best other), its 95 % interval "low" and "high" by bootstrap over the examples or their groups,
        widened to hold 0 where fewer than six of them differ, "looks" (whether the interval is above 0), and
        "sentence".

    Raises:
        UserError: There are no examples, nothing to compare with, lists of different lengths, or a score is no number.
    """
    own = np.asarray(scores["pictures"], float)
    others = {name: np.asarray(values, float) for name, values in scores.items() if name != "pictures"}
    if not len(own) or not others:
        raise UserError("give scores of one example or more, with pictures and without")
    counts = {name: len(values) for name, values in others.items()} | {"answers": len(answers)}
    odd = next((name for name, count in counts.items() if count != len(own)), None)
    if odd:
        raise UserError(f"{len(own)} scores with pictures and {counts[odd]} of '{odd}': each example needs one of both")
    _check_numbers(scores)
    best = max(others, key=lambda name: others[name].mean())
    difference = own - others[best]
    sums, sizes = _by_group(difference, np.arange(len(own)) if groups is None else np.asarray(groups))
    low, high = np.quantile(_resampled(sums, sizes, np.random.default_rng(seed)), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    if too_few(sums, LEVEL):
        low, high = min(low, 0.0), max(high, 0.0)
    most = np.unique(np.asarray(answers, dtype=np.str_), return_counts=True)[1]
    found = {
        "means": {name: float(np.mean(values)) for name, values in scores.items()},
        "identical_share": float(most.max() / len(own)),
        "gain": float(difference.mean()),
        "low": float(low),
        "high": float(high),
        "looks": bool(low > 0),
    }
    return found | {"sentence": _sentence(found, best, measure, what)}


def _check_numbers(scores: Mapping[str, np.ndarray]) -> None:
    for name, values in scores.items():
        lost = np.flatnonzero(~np.isfinite(np.asarray(values, float)))
        if len(lost):
            raise UserError(f"score {lost[0]} of '{name}' is {values[lost[0]]}: a score must be a finite number")


def _by_group(values: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum of the values of each group, and their number, each [G]."""
    if groups.shape != values.shape:
        raise UserError(f"{len(values)} scores and groups of shape {groups.shape}: name a group for each score")
    _, places = np.unique(groups, return_inverse=True)
    return np.bincount(places, weights=values), np.bincount(places)


def _resampled(sums: np.ndarray, sizes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the means of RESAMPLES draws of G of the G groups, float [RESAMPLES]."""
    each = max(1, BLOCK // len(sums))
    counts = [min(each, RESAMPLES - start) for start in range(0, RESAMPLES, each)]
    drawn = (rng.integers(0, len(sums), (count, len(sums))) for count in counts)
    return np.concatenate([sums[rows].sum(1) / sizes[rows].sum(1) for rows in drawn])


def _sentence(found: dict[str, Any], best: str, measure: str, what: str) -> str:
    means, other = found["means"], "another's picture" if best == "shuffled" else "the mean picture"
    own, others = (f"{means[kind]:.3f}".replace("-", "−") for kind in ("pictures", best))
    figures = f"{measure} {own} with its own picture, {others} with {other}"
    span = f"difference {signed(found['gain'])}, 95 % interval {signed(found['low'])} to {signed(found['high'])}"
    said = f"The model looks: {figures} ({span})."
    if not found["looks"]:
        said = f"The model does not look at its pictures, as far as can be shown: {figures} ({span})."
    if found["identical_share"] >= SAME:
        said += f" It gives the same answer to {found['identical_share']:.0%} of all {what}."
    return said
