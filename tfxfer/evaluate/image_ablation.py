"""Image ablation: the scores of one model with the correct image, with another image, and with the mean image."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tfxfer.errors import UserError
from tfxfer.evaluate.verdict import signed, too_few

RESAMPLES = 10_000
LEVEL = 0.95  # of the interval
BLOCK = 2**22  # random integers in memory at a time
SAME = 0.5  # share of identical answers from which the sentence mentions them
OPENINGS = {
    "yes": "The model uses its images",
    "worse": "The model reacts to its images and does worse with them",
    "no evidence": "There is no evidence that the model uses its images",
}


def image_ablation(
    scores: Mapping[str, np.ndarray],
    answers: Sequence[str],
    *,
    measure: str = "score",
    what: str = "images",
    groups: ArrayLike | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Test whether a model's scores depend on its images.

    The scores with the correct images are compared with the better of the two ablations. That makes "yes" slightly
    conservative, and "worse" slightly liberal where both ablations score alike.

    Args:
        scores: "correct" -> float [N], the score of each answer with its own image; and the scores of the same model
            "shuffled" (each example has the image of another) and "blank" (each has the mean image), where measured.
        answers: The answers with the correct images, [N].
        measure: Name of the score, for the sentence.
        what: Name of the examples, for the sentence: "images" or "questions".
        groups: int [N], the group of each answer, such as its image; answers of a group are correlated, so the
            bootstrap draws whole groups. By default every answer is a group of its own.
        seed: Seed of the bootstrap.

    Returns:
        "means" of each kind of scores; "identical_share", the share of the most frequent answer; "gain", the mean with
        the correct images minus that of the better ablation; "low" and "high", its 95 % interval by bootstrap over
        groups, widened to include 0 where fewer than six groups differ; "uses_images": "yes" (the interval is above
        0), "worse" (below 0) or "no evidence"; and "sentence".

    Raises:
        UserError: There are no examples, no ablation, lists of different lengths, or a score that is not finite.

    >>> found = image_ablation({"correct": [1] * 8, "blank": [0] * 8}, list("abcdefgh"))
    >>> found["uses_images"], found["gain"]
    ('yes', 1.0)
    """
    own = np.asarray(scores["correct"], float)
    others = {name: np.asarray(values, float) for name, values in scores.items() if name != "correct"}
    if not len(own) or not others:
        raise UserError("give scores of one example or more, with the images and with an ablation")
    counts = {name: len(values) for name, values in others.items()} | {"answers": len(answers)}
    odd = next((name for name, count in counts.items() if count != len(own)), None)
    if odd:
        raise UserError(f"{len(own)} scores of 'correct' and {counts[odd]} of '{odd}': each example needs one of both")
    _check_numbers(scores)
    best = max(others, key=lambda name: others[name].mean())
    difference = own - others[best]  # [N]
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
        "uses_images": "yes" if low > 0 else "worse" if high < 0 else "no evidence",
    }
    return found | {"sentence": _sentence(found, best, measure, what)}


def _check_numbers(scores: Mapping[str, np.ndarray]) -> None:
    for name, values in scores.items():
        bad = np.flatnonzero(~np.isfinite(np.asarray(values, float)))
        if len(bad):
            raise UserError(f"score {bad[0]} of '{name}' is {values[bad[0]]}: a score must be a finite number")


def _by_group(values: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum and the number of the values of each group, both [G]."""
    if groups.shape != values.shape:
        raise UserError(f"{len(values)} scores and groups of shape {groups.shape}: give the group of each score")
    _, places = np.unique(groups, return_inverse=True)
    return np.bincount(places, weights=values), np.bincount(places)


def _resampled(sums: np.ndarray, sizes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the means of RESAMPLES samples of G groups with replacement, float [RESAMPLES]."""
    each = max(1, BLOCK // len(sums))
    counts = [min(each, RESAMPLES - start) for start in range(0, RESAMPLES, each)]
    drawn = (rng.integers(0, len(sums), (count, len(sums))) for count in counts)
    return np.concatenate([sums[rows].sum(1) / sizes[rows].sum(1) for rows in drawn])


def _sentence(found: dict[str, Any], best: str, measure: str, what: str) -> str:
    means, other = found["means"], "the image of another example" if best == "shuffled" else "the mean image"
    own, others = (f"{means[kind]:.3f}".replace("-", "−") for kind in ("correct", best))
    span = f"difference {signed(found['gain'])}, 95 % interval {signed(found['low'])} to {signed(found['high'])}"
    sentence = f"{OPENINGS[found['uses_images']]}: {measure} {own} with its own image, {others} with {other} ({span})."
    if found["identical_share"] >= SAME:
        sentence += f" It gives the same answer to {found['identical_share']:.0%} of all {what}."
    return sentence
