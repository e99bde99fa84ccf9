"""How often a verdict is wrong, and how often it finds a true difference, by the number of seeds.

    python -m benchmarks.verdict                 (two minutes on 2 CPU cores)
    python -m benchmarks.verdict --run RUN       (a run with many seeds: its scores become the real null)

*Real null*: the transfer arm of the default experiment with 60 seeds (`python -m tfxfer.train feature --arms transfer
random --probe-seeds 60`), S seeds of it against S others. The true difference is 0, so each "helped" or "hurt" is
wrong. The scores of both arms are kept in benchmarks/null_scores.npz.

*Simulation*: normal scores with the variance components of transfer − random at 20 labels, measured on the same seeds.

Three intervals are compared: the verdict's own; the plain bootstrap over examples; and the interval of before, which
subtracts the interaction from the seeds' variance and puts 0 where the rest is negative. Writes benchmarks/verdict.md.
"""

import argparse
import sys
from datetime import date
from pathlib import Path

import numpy as np
from rich.console import Console
from scipy import stats

from benchmarks.__main__ import HERE, machine
from tfxfer.evaluate import verdict
from tfxfer.evaluate.verdict import mean_square_of_interaction
from tfxfer.records import Comparison

SCORES = HERE / "null_scores.npz"
ARMS, BUDGETS = ("transfer", "random"), (5, 20, 80)
SEEDS = (2, 3, 5, 10)
TRIALS, DRAWS, EXAMPLES = 1_000, 1_000, 1_211
DIFFERENCES = (0.0, 0.03, 0.06)


def components(differences):
    """Return the standard deviations of seed, example and interaction of differences [S, N] (0 where negative)."""
    s, n = differences.shape
    interaction = mean_square_of_interaction(differences)
    seed = differences.mean(1).var(ddof=1) - interaction / n
    example = differences.mean(0).var(ddof=1) - interaction / s
    return tuple(float(np.sqrt(max(0.0, part))) for part in (seed, example, interaction))


def keep(run):
    """Keep which test examples each seed of a run's arms answers right, bool [S, N] for each arm and budget."""
    comparison = Comparison.load(Path(run))
    right = {f"{arm}-{n}": comparison.scores(arm, n).astype(bool) for arm in ARMS for n in BUDGETS}
    shape = next(iter(right.values())).shape
    np.savez_compressed(SCORES, shape=shape, **{name: np.packbits(rows) for name, rows in right.items()})


def null_scores(arm="transfer"):
    """Return budget -> which test examples each seed of an arm of the default answers right, float [60, N]."""
    with np.load(SCORES) as kept:
        shape = tuple(kept["shape"])
        bits = {n: np.unpackbits(kept[f"{arm}-{n}"])[: np.prod(shape)] for n in BUDGETS}
        return {n: each.reshape(shape).astype(float) for n, each in bits.items()}


def measured():
    """Return (what, budget) -> `components`: of transfer − random, and of 30 seeds of transfer against 30 others."""
    transfer, random = (null_scores(arm) for arm in ARMS)
    rows = {("transfer − random", n): components(transfer[n] - random[n]) for n in BUDGETS}
    return rows | {("transfer − itself", n): components(transfer[n][:30] - transfer[n][30:60]) for n in BUDGETS}


def null_pairs(scores, seeds, trials, rng):
    """Yield S seeds of an arm and S others, drawn anew each time."""
    for _ in range(trials):
        rows = rng.permutation(len(scores))[: 2 * seeds]
        yield scores[rows[:seeds]], scores[rows[seeds:]]


def simulated(seeds, difference, sds, trials, rng, examples=EXAMPLES):
    """Yield differences [S, N] of two arms with known variance components."""
    seed, example, interaction = sds
    for _ in range(trials):
        by_seed, by_example = seed * rng.normal(size=(seeds, 1)), example * rng.normal(size=(1, examples))
        yield difference + by_seed + by_example + interaction * rng.normal(size=(seeds, examples))


def bootstrap(differences):
    """Return whether the plain bootstrap over examples says helped (1), hurt (−1) or neither."""
    by_example = differences.mean(0)
    return _word(by_example.mean(), 1.96 * by_example.std() / np.sqrt(len(by_example)))


def subtracting(differences):
    """Return the same of the interval that subtracts the interaction from the seeds' variance, cut at 0."""
    s, n = differences.shape
    by_example = differences.mean(0)
    error = components(differences)[0] / np.sqrt(s)
    middle = (np.arange(DRAWS) + 0.5) / DRAWS
    t = stats.t.ppf(middle, s - 1)[np.random.default_rng(0).permutation(DRAWS)]
    drawn = np.abs(error * t + by_example.std() / np.sqrt(n) * stats.norm.ppf(middle))
    return _word(by_example.mean(), np.quantile(drawn, 0.95))


def own(differences, seed=0):
    """Return the same of the verdict."""
    found = verdict(differences, np.zeros((1, differences.shape[1])), draws=DRAWS, seed=seed).word
    return {"helped": 1, "hurt": -1, "no evidence": 0}[found]


FORMS = {"verdict": own, "subtracting": subtracting, "bootstrap": bootstrap}


def shares(pairs):
    """Return form -> (share of "helped", share of "hurt") over trials of differences [S, N]."""
    words = np.array([[form(differences) for form in FORMS.values()] for differences in pairs])
    return {name: (np.mean(words[:, i] > 0), np.mean(words[:, i] < 0)) for i, name in enumerate(FORMS)}


def rows():
    """Yield (what, budget, seeds, form -> share): wrong verdicts for a null, right ones for a true difference."""
    rng = np.random.default_rng(0)
    scores, sds = null_scores(), measured()["transfer − random", 20]
    for seeds in SEEDS:
        for budget in BUDGETS:
            trials = (a - b for a, b in null_pairs(scores[budget], seeds, TRIALS, rng))
            yield "real null: wrong", budget, seeds, {name: sum(both) for name, both in shares(trials).items()}
    for seeds in SEEDS:
        for difference in DIFFERENCES:
            found = shares(simulated(seeds, difference, sds, TRIALS, rng))
            what = f"true +{difference:.2f}: found" if difference else "simulated null: wrong"
            yield what, 20, seeds, {name: up if difference else up + down for name, (up, down) in found.items()}


def _word(middle, half):
    return int(middle > half) - int(middle < -half)


def main():
    """Print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", help="folder of a run with 60 seeds, whose scores are kept")
    asked = parser.parse_args()
    console = Console()
    if asked.run:
        keep(asked.run)
    lines = [
        "# How often a verdict is wrong",
        "",
        f"`python -m benchmarks.verdict` on {date.today()}: {machine()}. {TRIALS:,} trials a row, {EXAMPLES:,} test "
        "examples, 95 % intervals. What the rows are: benchmarks/verdict.py.",
        "",
        f"| trial | labels a class | seeds | {' | '.join(FORMS)} |",
        f"|---|---:|---:|{'---:|' * len(FORMS)}",
    ]
    for what, budget, seeds, found in rows():
        figures = " | ".join(f"{share:.1%}".replace("%", " %") for share in found.values())
        lines.append(f"| {what} | {budget} | {seeds} | {figures} |")
        console.print(lines[-1], highlight=False)
    lines += ["", "Standard deviations of the differences by source of variance:", ""]
    lines += ["| difference | labels a class | seed | example | interaction |", "|---|---:|---:|---:|---:|"]
    for (what, budget), sds in measured().items():
        lines.append(f"| {what} | {budget} | {' | '.join(f'{sd:.3f}' for sd in sds)} |")
        console.print(lines[-1], highlight=False)
    (HERE / "verdict.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
