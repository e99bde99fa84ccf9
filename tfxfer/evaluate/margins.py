"""Margins of non-inferiority: the greatest loss that would not matter, in the unit of a score."""

import math

from tfxfer.errors import UserError

USUAL = {"cider_d": 0.05}  # measure -> margin; CIDEr-D goes from 0 to 10
SHARE = 0.01  # of a measure from 0 to 1: one point


def check_margin(margin: float) -> None:
    """Raise `UserError` for a margin that is not a number above 0."""
    if not math.isfinite(margin) or margin <= 0:
        raise UserError(f"--margin {margin:g}: a margin is a number above 0, such as 0.01")


def usual_margin(measure: str) -> float:
    """Return the margin of a measure where none is given.

    >>> usual_margin("cider_d"), usual_margin("accuracy")
    (0.05, 0.01)
    """
    return USUAL.get(measure, SHARE)
