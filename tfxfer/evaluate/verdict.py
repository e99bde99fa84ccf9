"""The verdict on two arms (helped, hurt or no evidence), by a paired interval over test examples and seeds.

The score of seed s on test example i has three sources of variance: the example, the seed, and their interaction. The
mean over S seeds and N examples therefore has the variance σ²(seed)/S + σ²(example)/N + σ²(interaction)/(S·N). The
interval is made of two terms:

- *Seeds*: t(S−1) · sd/√S, where sd is the standard deviation of the S mean scores and t is Student's. Its square
  estimates σ²(seed)/S + σ²(interaction)/(S·N). The interaction is not subtracted: the rest is negative in about half of
  all trials with three seeds, and an interval with 0 in its place says "helped" or "hurt" of equal arms in 8 to 9 %.
- *Examples*: N are drawn from N with replacement, always together with all their scores in both arms (bootstrap). The
  spread of these draws is then reduced to σ²(example)/N, as the interaction is in the seed term already.

The interval is never narrower than the plain bootstrap over examples. `python -m benchmarks.verdict` measures how often
it leaves out the true difference; docs/decisions/0004-verdict.md has the figures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tfxfer.errors import UserError
from tfxfer.evaluate.arms import capitalised, describe

DRAWS = 10_000


@dataclass(frozen=True)
class Verdict:
    """The result of comparing arm `a` with arm `b`.

    Attributes:
        a: Name of the arm under study.
        b: Name of the arm it is compared with.
        difference: Mean score of `a` minus mean score of `b`.
        low: Lower end of the interval of the difference.
        high: Upper end.
        word: "helped" (low > 0), "hurt" (high < 0) or "no evidence". With one seed of both arms always "no evidence",
            unless `one_model`.
        level: Confidence level of the interval.
        seeds_a: Number of seeds of `a`.
        seeds_b: Number of seeds of `b`.
        examples: Number of test examples.
        alike: Whether an arm with one seed was assumed to have the seed variance of the other arm.
        one_model: Whether the claim is about trained models as they are, not about their training.
        sources: Number of trained sources that the seeds were spread over; the interval is that of their means.
        p: Smallest error at which the interval would leave out 0, from the same draws, to adjust for several
            comparisons (`tfxfer.evaluate.holm`); at most as exact as one in 20,000. None where there is no verdict.
    """

    a: str
    b: str
    difference: float
    low: float
    high: float
    word: str
    level: float
    seeds_a: int
    seeds_b: int
    examples: int
    alike: bool = False
    one_model: bool = False
    sources: int = 1
    p: float | None = None

    def sentence(self, metric: str = "accuracy", where: str = "", about: Mapping[str, Any] | None = None) -> str:
        """Return the verdict as one sentence: "helped" and "hurt" for a control, the better arm for any other.

        Args:
            metric: Name of the score.
            where: Follows the names, as in "at 5 labels a class".
            about: `Comparison.about`, for the roles and phrases of the arms.

        >>> Verdict("transfer", "random", 0.1232, 0.101, 0.144, "helped", 0.95, 3, 3, 1300).sentence()
        'Transfer helped: +0.123 accuracy over random weights (95 % interval +0.101 to +0.144, 3 seeds, 1,300 test examples).'
        >>> Verdict("transfer", "native", -0.05, -0.07, -0.03, "hurt", 0.95, 3, 3, 1300).sentence()
        'The native baseline is better than transfer by 0.050 accuracy (95 % interval +0.030 to +0.070, 3 seeds, 1,300 test examples).'
        """  # noqa: E501
        subject, other = describe(about, self.a), describe(about, self.b)
        a, b = subject.phrase, other.phrase
        place = f", {where}" if where else ""
        shown = f"{signed(self.difference)} {metric}"
        sign = 1
        if other.is_control:
            neither = f"No evidence that {a} helped or hurt"
            claim = {"helped": f"{capitalised(a)} helped", "hurt": f"{capitalised(a)} hurt"}.get(self.word, neither)
            claim += f": {shown} {'over' if self.difference >= 0 else 'against'} {b}"
        elif self.word in ("helped", "hurt"):
            better, worse, sign = (a, b, 1) if self.word == "helped" else (b, a, -1)
            claim = f"{capitalised(better)} is better than {worse} by {abs(self.difference):.3f} {metric}"
        else:
            claim = f"No evidence of a difference between {a} and {b}: {shown}"
        if self.difference == self.low == self.high == 0:
            opening = claim.split(":")[0]
            return f"{opening}: the same {metric} as {b} in each of {self.examples:,} test examples{place}."
        low, high = sorted((sign * self.low, sign * self.high))
        return (
            f"{claim}{place} ({self.level * 100:g} % interval {signed(low)} to {signed(high)}, "
            f"{self._seeds()}, {self.examples:,} test examples)."
        )

    def _seeds(self) -> str:
        if max(self.seeds_a, self.seeds_b) == 1:
            return "these models as they are" if self.one_model else "1 seed, so no verdict: seeds may differ by more"
        if self.seeds_a == self.seeds_b:
            return f"{self.seeds_a} seeds" + (f" over {self.sources} trained sources" if self.sources > 1 else "")
        alike = ", assumed to have equal variance" if self.alike else ""
        return f"{self.seeds_a} against {self.seeds_b} seed{'s' * (self.seeds_b > 1)}{alike}"

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes as a dict that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "Verdict":
        """Return the verdict that `to_dict` wrote; other keys are ignored."""
        return cls(**{f.name: plain[f.name] for f in fields(cls) if f.name in plain})


def verdict(
    a: ArrayLike,
    b: ArrayLike,
    *,
    level: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
    names: tuple[str, str] = ("transfer", "random"),
    alike: bool = False,
    one_model: bool = False,
) -> Verdict:
    """Compare the scores of two arms on the same test examples.

    With equal numbers of seeds, row s of `a` is paired with row s of `b` (the same draw of labels), and the
    seed term is that of the paired differences. An arm with one row is assumed to be deterministic and is paired
    with every row of the other. With other numbers of seeds, each arm has a seed term of its own.
    With one row in both, the word is "no evidence": nothing is known of the variation between seeds.
    An interval from fewer differing examples than a sign test needs (6 at 95 %) is widened to include 0.

    Args:
        a: Scores of the arm under study, bool or float, [S, N] or [N]; higher is better.
        b: Scores of the other arm, [S', N] or [N].
        level: Confidence level of the interval.
        draws: Bootstrap draws of the examples; each serves twice, with the seed term added and subtracted,
            so that swapping the arms exactly mirrors the interval.
        seed: Seed of the draws.
        names: Names of the two arms.
        alike: Whether an arm with one row varies between seeds too, with the seed variance of the other arm. That
            variance cannot be estimated from one row; with `alike` the interval includes it.
        one_model: Whether one row of each is all that the claim is about: two trained models as they are, one model
            with and without its images, methods that no seed changes. The interval is that of the examples.

    Returns:
        The difference of the mean scores, its interval and the word.

    Raises:
        UserError: Empty, NaN or infinite scores, or different numbers of examples.
    """
    first, second = _scores(a, names[0]), _scores(b, names[1])
    if first.shape[1] != second.shape[1]:
        raise UserError(
            f"{names[0]} has scores for {first.shape[1]} test examples, {names[1]} for {second.shape[1]}; "
            "both arms must be scored on the same ones."
        )
    grain = 1e-12 * max(np.abs(first).max(), np.abs(second).max()) or 1.0
    by_example = np.round((first.mean(0) - second.mean(0)) / grain) * grain  # [N], equal scores give 0
    paired = len(first) == len(second) or 1 in (len(first), len(second))
    independent = [first - second] if paired else sorted((first, second), key=len)
    alike = alike and 1 in (len(first), len(second)) and len(first) != len(second)
    low, high, p = _interval(by_example, independent, level, draws, seed, alike)
    if too_few(by_example, level):
        low, high = min(low, 0.0), max(high, 0.0)
    p = max(p, min(1.0, 2.0 ** (1 - np.count_nonzero(by_example))))  # a sign test's smallest, the same rule
    decided = one_model or max(len(first), len(second)) > 1
    if all(scores.min() >= 0 and scores.max() <= 1 for scores in (first, second)):
        low, high = max(low, -1.0), min(high, 1.0)
    return Verdict(
        *names,
        difference=float(by_example.mean()),
        low=low,
        high=high,
        word=word_of(low, high) if decided else "no evidence",
        level=level,
        seeds_a=len(first),
        seeds_b=len(second),
        examples=first.shape[1],
        alike=alike,
        one_model=one_model and max(len(first), len(second)) == 1,
        p=float(p) if decided else None,
    )


def word_of(low: float, high: float) -> str:
    """Return the word for an interval of the difference of two arms."""
    return "helped" if low > 0 else "hurt" if high < 0 else "no evidence"


def interval(
    scores: ArrayLike, *, level: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> tuple[float, float, float]:
    """Return the mean score of one arm and its interval (low, high), drawn as in `verdict`.

    Where all answers are right, or all are wrong, no draw differs: the end is that of Clopper and Pearson (1934).

    Args:
        scores: Bool or float, [S, N] or [N]; when all are within 0..1, so is the interval.
        level: Confidence level.
        draws: Bootstrap draws.
        seed: Seed of the draws.

    Raises:
        UserError: Empty, NaN or infinite scores.
    """
    table = _scores(scores, "the arm")
    low, high, _ = _interval(table.mean(0), [table], level, draws, seed)
    if table.min() >= 0 and table.max() <= 1:
        low, high = max(low, 0.0), min(high, 1.0)
        if (table == table.flat[0]).all() and table.flat[0] in (0, 1):
            from scipy.stats import binomtest

            n = table.shape[1]
            low, high = binomtest(int(table.flat[0]) * n, n).proportion_ci(level, "exact")
    return float(table.mean()), float(low), float(high)


def too_few(differences: np.ndarray, level: float) -> bool:
    """Return whether fewer differences are other than 0 than a sign test needs for significance (6 at 95 %)."""
    return bool(np.count_nonzero(differences) < np.ceil(np.log2(2 / (1 - level))))


def signed(number: float) -> str:
    """Return a difference with three decimals and its sign; the minus is U+2212.

    >>> signed(0.1234), signed(-0.05), signed(-0.0001)
    ('+0.123', '−0.050', '0.000')
    """
    text = f"{number:+.3f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


@dataclass(frozen=True)
class Components:
    """The standard errors of which an interval is made.

    Attributes:
        seeds: Standard error and degrees of freedom of each seed term.
        examples: Standard error of the examples' term, less the interaction.
        narrowest: Standard error of the plain bootstrap over examples.
    """

    seeds: tuple[tuple[float, int], ...]
    examples: float
    narrowest: float


def components(by_example: np.ndarray, independent: Sequence[np.ndarray], alike: bool = False) -> Components:
    """Return the standard errors of the mean of `by_example` [N], with a seed term for each independent [S, N].

    With `alike`, the other arm has one seed of the same variance: sd²/S becomes sd²/S + sd².
    """
    seeds, interaction = [], 0.0
    for scores in independent:
        count, n = scores.shape
        if count > 1:
            seeds.append((float(scores.mean(1).std(ddof=1) * np.sqrt(1 / count + alike)), count - 1))
            interaction += mean_square_of_interaction(scores) / (count * n)
    whole = by_example.var(ddof=1) / len(by_example) if len(by_example) > 1 else 0.0
    kept = max(0.0, 1 - interaction / whole) if whole > 0 else 1.0
    return Components(tuple(seeds), float(np.sqrt(kept * whole)), float(np.sqrt(whole)))


def _interval(
    by_example: np.ndarray, independent: list[np.ndarray], level: float, draws: int, seed: int, alike: bool = False
) -> tuple[float, float, float]:
    """Return the interval made of `components`, and the smallest error at which it would leave out 0."""
    if not 0 < level < 1:
        raise UserError(f"the confidence level must lie between 0 and 1, not {level:g}; try 0.95.")
    rng = np.random.default_rng(seed)
    ends = [(1 - level) / 2, (1 + level) / 2]
    means = _resampled_means(by_example, draws, rng)  # [draws]
    found = components(by_example, independent, alike)
    by_seed = np.zeros(draws)
    for error, freedom in found.seeds:
        by_seed += error * rng.standard_t(freedom, size=draws)
    kept = found.examples / found.narrowest if found.narrowest > 0 else 1.0
    centre = by_example.mean()
    by_examples = centre + kept * (means - centre)
    both = np.concatenate([by_examples + by_seed, by_examples - by_seed])
    (narrow_low, low), (narrow_high, high) = zip(np.quantile(means, ends), np.quantile(both, ends))
    p = max(_share_beyond_zero(means), _share_beyond_zero(both))
    return float(min(low, narrow_low)), float(max(high, narrow_high)), p


def _share_beyond_zero(draws: np.ndarray) -> float:
    """Return twice the share of draws on the rarer side of 0, at least one draw."""
    rarer = min(int((draws <= 0).sum()), int((draws >= 0).sum()))
    return min(1.0, max(1, 2 * rarer) / len(draws))


def _resampled_means(values: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Return the means of `draws` samples of N from the N values with replacement, float64 [draws]."""
    n = len(values)
    distinct, first, counts = np.unique(values, return_index=True, return_counts=True)
    if len(distinct) <= 64:  # few distinct values, as 0 and 1: their counts in a sample are multinomial
        order = np.argsort(first)  # by appearance, not size: the same for −values
        return rng.multinomial(n, counts[order] / n, size=draws) @ distinct[order] / n
    block = max(1, 2**21 // n)  # 8 MiB of indices at a time
    sizes = [min(block, draws - start) for start in range(0, draws, block)]
    return np.concatenate([values[rng.integers(0, n, (size, n), np.int32)].mean(1) for size in sizes])


def mean_square_of_interaction(scores: np.ndarray) -> float:
    """Return the mean square of the interaction of seeds and examples in scores [S, N], S > 1."""
    s, n = scores.shape
    residual = scores - scores.mean(1)[:, None] - scores.mean(0) + scores.mean()  # [S, N]
    return float((residual**2).sum() / ((s - 1) * (n - 1))) if n > 1 else 0.0


def _scores(given: ArrayLike, name: str) -> np.ndarray:
    """Return the scores as float64 [S, N]; raise `UserError` when they cannot be used."""
    scores = np.atleast_2d(np.asarray(given)).astype(np.float64)
    if scores.ndim != 2 or 0 in scores.shape:
        raise UserError(
            f"scores of {name} must be [seeds, examples] with at least one of each, not {list(scores.shape)}."
        )
    if not np.isfinite(scores).all():
        row, column = np.argwhere(~np.isfinite(scores))[0]
        raise UserError(
            f"scores of {name}: seed {row}, example {column} is {scores[row, column]}; "
            "leave a failed seed out instead of scoring it."
        )
    return scores
