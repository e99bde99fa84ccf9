"""What --pooling of the feature recipe costs or gives: finished runs beside the first of them (docs/results.md).

    python -m tfxfer.train feature --pooling windows --arms transfer random --run-dir runs/windows  # one for each
    python -m benchmarks.pooling runs/avg runs/windows

Rows are paired by seed and test example; only the seeds that both runs have are compared.
"""

import sys

import numpy as np

from tfxfer.evaluate import Verdict, summary, verdict, verdicts
from tfxfer.evaluate.verdict import signed
from tfxfer.records import Comparison


def beside(run, first, arm):
    """Return the verdict on an arm in two runs, its test examples averaged over the budgets."""
    seeds = min(len(one.select(arm, budget)) for one in (run, first) for budget in first.budgets)
    rows = [np.mean([one.correct(arm, b)[:seeds] for b in first.budgets], axis=0) for one in (run, first)]
    return verdict(*rows)


def main(folders):
    """Print for each run its accuracies, its verdict over random weights, and its difference from the first run."""
    first = Comparison.load(folders[0])
    for folder in folders:
        run = Comparison.load(folder)
        for row in summary(run):
            print(f"{folder}: {row['arm']}, {row['budget']} labels {row['score']:.3f}")
        for row in verdicts(run):
            found = Verdict.from_dict(row)
            print(f"  {row['budget']}: {found.sentence(about=run.about)}")
        for arm in ("transfer", "random"):
            found = beside(run, first, arm)
            interval = f"{signed(found.low)} to {signed(found.high)}"
            print(f"  {arm}, all budgets, against {folders[0]}: {signed(found.difference)} ({interval})")


if __name__ == "__main__":
    main(sys.argv[1:])
