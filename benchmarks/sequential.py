"""How often `--seeds auto` is wrong, what it finds, and how many seeds it takes.

    python -m benchmarks.sequential              (minutes on 2 CPU cores)

*Real null*: 20 seeds of the transfer arm of the default experiment against 20 others (benchmarks/null_scores.npz).
*Simulation*: as in benchmarks/verdict.py. Beside the rule stands a verdict at 95 % that is looked at as often, and one
at 95 % after all 20 seeds, which is looked at once. Writes benchmarks/sequential.md.
"""

import sys
from datetime import date

import numpy as np
from rich.console import Console

from benchmarks.__main__ import HERE, machine
from benchmarks.verdict import measured, null_pairs, null_scores, simulated
from tfxfer.config import SEED_LOOKS
from tfxfer.evaluate import verdict
from tfxfer.evaluate.sequential import LEVEL

TRIALS, DRAWS, EXAMPLES = 1_000, 500, 600
RULES = {  # name -> level of a look, numbers of seeds after which is looked
    "--seeds auto": (LEVEL, SEED_LOOKS),
    "95 % at each look": (0.95, SEED_LOOKS),
    "95 % after 20 seeds": (0.95, SEED_LOOKS[-1:]),
}


def stopped(differences, level, looks):
    """Return (seeds taken, whether decided) of one trial of differences [20, N]."""
    zero = np.zeros((1, differences.shape[1]))
    for seeds in looks:
        if verdict(differences[:seeds], zero, level=level, draws=DRAWS).word != "no evidence":
            return seeds, True
    return looks[-1], False


def trials():
    """Yield (what, trials of differences [20, N])."""
    rng, most = np.random.default_rng(0), SEED_LOOKS[-1]
    pairs = null_pairs(null_scores()[20], most, TRIALS, rng)
    yield "real null", [a - b for a, b in pairs]
    sds = measured()["transfer − random", 20]
    for difference in (0.0, 0.03, 0.06):
        what = f"true +{difference:.2f}" if difference else "simulated null"
        yield what, list(simulated(most, difference, sds, TRIALS, rng, EXAMPLES))


def main():
    """Print and write the table."""
    console = Console()
    lines = [
        "# How often `--seeds auto` is wrong, and how many seeds it takes",
        "",
        f"`python -m benchmarks.sequential` on {date.today()}: {machine()}. {TRIALS:,} trials a row, looks after "
        f"{', '.join(map(str, SEED_LOOKS))} seeds. Decided: in a null each is wrong. What the rows are: "
        "benchmarks/sequential.py.",
        "",
        "| trial | rule | decided | mean seeds |",
        "|---|---|---:|---:|",
    ]
    for what, differences in trials():
        for rule, (level, looks) in RULES.items():
            seeds, decided = zip(*(stopped(one, level, looks) for one in differences))
            share = f"{np.mean(decided):.1%}".replace("%", " %")
            lines.append(f"| {what} | {rule} | {share} | {np.mean(seeds):.1f} |")
            console.print(lines[-1], highlight=False)
    (HERE / "sequential.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
