"""What stands beside the verdict of a run: its looks, margin and power, and the adjustment for several comparisons."""

from collections.abc import Sequence
from typing import Any

from tfxfer.evaluate.equivalence import margin_sentence
from tfxfer.evaluate.holm import holm_sentence
from tfxfer.evaluate.power import power_sentence
from tfxfer.evaluate.sequential import looks_sentence
from tfxfer.records import Comparison


def remarks(comparison: Comparison, rows: Sequence[dict[str, Any]] | None = None) -> list[str]:
    """Return the sentences that follow those of `story`, as far as the run has what they need.

    Args:
        comparison: The records.
        rows: Its `verdicts`; computed when not given.
    """
    found = (
        looks_sentence(comparison),
        margin_sentence(comparison),
        power_sentence(comparison),
        holm_sentence(comparison, rows),
    )
    return [sentence for sentence in found if sentence]
