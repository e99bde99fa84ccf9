"""`--seeds auto`: seeds are added until the primary comparison is decided, and its error stays at most 5 %.

Looking after each added seed, and stopping at the first "helped", says "helped" of equal arms far too often. Here the
looks are planned: after 3, 5, 8, 13 and 20 seeds. Each has a fifth of the error, so its interval is at 99 %. By the
union bound the chance of a wrong word at any look is at most 5 %, whenever one stops: the rule is anytime-valid over
these looks. It needs no independence of the looks, which share their seeds and test examples.

Source: equal shares of the error are the simplest spending function of Lan and DeMets 1983, Discrete sequential
boundaries for clinical trials. Finer ones find a little more, and need the joint distribution of the looks.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tfxfer.config import SEED_LOOKS
from tfxfer.evaluate.comparison import PRIMARY, paired, shared_budgets, verdicts
from tfxfer.evaluate.equivalence import NOT_SHOWN, equivalence
from tfxfer.records import Comparison

ERROR = 0.05  # of all looks together
LEVEL = 1 - ERROR / len(SEED_LOOKS)  # of each look's interval


def decision(comparison: Comparison, margin: float | None = None) -> str | None:
    """Return the word that decides a look, at the level of a look; None where it is not decided.

    Args:
        comparison: The records of this look.
        margin: Where one is given, "equivalent" and "non-inferior" decide too.
    """
    rows = verdicts(comparison, *PRIMARY, level=LEVEL)
    primary = next((row for row in rows if row["role"] == "primary"), None)
    if primary is None:
        return None
    if primary["word"] != "no evidence":
        return str(primary["word"])
    if margin is None:
        return None
    subject, control = PRIMARY
    both = paired((comparison, subject), (comparison, control), shared_budgets(comparison, *PRIMARY))
    word = equivalence(*both.scores, margin, level=LEVEL, alike=both.alike).word if both else NOT_SHOWN
    return None if word == NOT_SHOWN else word


def until_decided(
    run: Callable[[int], Comparison], margin: float | None = None, say: Callable[[str], None] = lambda text: None
) -> Comparison:
    """Run with more and more seeds until a look is decided, or the last one is over.

    Args:
        run: Number of seeds -> the records of so many; those of fewer seeds are among them.
        margin: As for `decision`.
        say: Called after each look with a sentence on it.

    Returns:
        The last comparison; `about` has "primary_level", the level of the primary interval, and "looks": a dict with
        "seeds" (used), "most", "word" (None where undecided) and "level".
    """
    for seeds in SEED_LOOKS:
        comparison = run(seeds)
        word = decision(comparison, margin)
        say(f"--seeds auto: {seeds} seeds, {word or 'not decided'} at {LEVEL:.0%}".replace("%", " %"))
        if word:
            break
    looks = {"seeds": seeds, "most": SEED_LOOKS[-1], "word": word, "level": LEVEL}
    return replace(comparison, about=comparison.about | {"primary_level": LEVEL, "looks": looks})


def looks_sentence(comparison: Comparison) -> str | None:
    """Return how many seeds were saved, and why the primary interval is a wider one; None without `--seeds auto`."""
    looks: dict[str, Any] | None = comparison.about.get("looks")
    if not looks:
        return None
    saved = looks["most"] - looks["seeds"]
    found = f"decided after {looks['seeds']} seeds" if looks["word"] else f"undecided after {looks['seeds']} seeds"
    return (
        f"Seeds were added until this comparison was decided: {found}, {saved} of {looks['most']} saved. Its interval "
        f"is at {looks['level']:.0%}, so that the error stays at most {ERROR:.0%} over all looks."
    ).replace("%", " %")
