"""Whether augmentation helped: each arm that was trained with edited copies against the same arm without them."""

from typing import Any

from tfxfer.evaluate.comparison import verdicts
from tfxfer.evaluate.label_efficiency import labels_saved
from tfxfer.records import Comparison

SUFFIX = "_augmented"  # of the name of an arm that gets copies


def plain_name(arm: str) -> str:
    """Return the name of the arm without augmentation.

    >>> plain_name("native_augmented"), plain_name("native")
    ('native', 'native')
    """
    return arm.removesuffix(SUFFIX)


def augmented_arms_of(comparison: Comparison) -> list[str]:
    """Return the arms with augmentation whose plain arm ran too, in their order."""
    return [arm for arm in comparison.arms if arm.endswith(SUFFIX) and plain_name(arm) in comparison.arms]


def augmentation_gains(comparison: Comparison) -> list[dict[str, Any]]:
    """Return a row for each arm and budget, and for all budgets together: those of `verdicts`."""
    return [row for arm in augmented_arms_of(comparison) for row in verdicts(comparison, arm, plain_name(arm))]


def labels_saved_by_augmentation(comparison: Comparison) -> dict[str, dict[str, Any] | None]:
    """Return arm without augmentation -> `labels_saved` by it; None where it does not reach the plain arm's score."""
    measure = comparison.measures[0]
    found = {}
    for arm in augmented_arms_of(comparison):
        plain = plain_name(arm)
        both = [n for n in comparison.budgets if all(len(comparison.scores(one, n, measure)) for one in (arm, plain))]
        if len(both) > 1:
            found[plain] = labels_saved((comparison, arm), (comparison, plain), both, measure)
    return found
