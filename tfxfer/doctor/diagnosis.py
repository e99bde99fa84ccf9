"""`examine`: run the checks on one data set, or on a target and its source."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from tfxfer.data.splits import SPLITS
from tfxfer.doctor.checks import CHECKS
from tfxfer.doctor.examined import Examined
from tfxfer.doctor.findings import Diagnosis, Finding, in_order
from tfxfer.errors import UserError, suggest

if TYPE_CHECKING:
    from tfxfer.data.dataset import Dataset


def examine(
    dataset: "Dataset",
    source: "Dataset | None" = None,
    *,
    checks: Sequence[str] | None = None,
    group: str | Mapping[str, Sequence[str]] | None = None,
    images: bool = True,
    seed: int = 0,
    say: Callable[[str], None] = lambda title: None,
) -> Diagnosis:
    """Look for faults in a data set.

    Args:
        dataset: The target, as `tfxfer.load` gives it.
        source: The set that the source model learns, to find test examples in it.
        checks: Names of `CHECKS` (default: all).
        group: Column whose values must not stand in two splits, such as a speaker; or split -> the group of each
            example.
        images: Whether images are decoded and compared; without, their bytes are compared only.
        seed: Of the draws where a set is large.
        say: Called with the title of each check before it is made.

    Raises:
        UserError: An unknown check or column, or an image that cannot be decoded.
    """
    names = list(CHECKS) if checks is None else list(checks)
    unknown = next((name for name in names if name not in CHECKS), None)
    if unknown is not None:
        raise UserError(f"there is no check '{unknown}'; {suggest(unknown, CHECKS)}")
    target = Examined(dataset, "", _groups(dataset, group), images, seed)
    other = Examined(source, "source ", {}, images, seed) if source is not None else None
    findings: list[Finding] = []
    checked = {}
    for name in names:
        say(CHECKS[name].title)
        found = list(CHECKS[name].look(target, other))
        findings += [one for one in found if isinstance(one, Finding)]
        untold = list(dict.fromkeys(one for one in found if isinstance(one, str)))
        checked[name] = "; ".join(untold) if untold else "checked"
    return Diagnosis(dataset.name, dataset.describe(), in_order(findings), checked)


def _groups(dataset: "Dataset", group: str | Mapping[str, Sequence[str]] | None) -> dict[str, list[str]]:
    """Return split -> the group of each example."""
    if group is None:
        return {}
    if isinstance(group, str):
        if group not in dataset.keys or group in ("image", "label"):
            raise UserError(f"{dataset.name}: there is no column '{group}'; {suggest(group, dataset.keys)}")
        columns = {split: dataset.splits[split].column(group) for split in SPLITS}
        return {
            split: [one.decode("utf-8") if isinstance(one, bytes) else str(one) for one in values.tolist()]
            for split, values in columns.items()
        }
    for split in SPLITS:
        if len(group.get(split, ())) != dataset.sizes[split]:
            counts = f"{dataset.sizes[split]:,} examples and {len(group.get(split, ())):,} groups"
            raise UserError(f"{dataset.name}: {split} has {counts}")
    return {split: list(group[split]) for split in SPLITS}
