"""How the pairs of a target were made: true pairs, of one class, or by nearest neighbour (docs/fuse.md)."""

import numpy as np

from tfxfer.data.dataset import Dataset
from tfxfer.data.fusion.parts import CLASS, NEAREST, PAIR
from tfxfer.errors import UserError
from tfxfer.runs import Run


def made_by(data: Dataset, split: str, kind: str) -> np.ndarray:
    """Return which pairs of a split are class-level or nearest ones, bool [N]; a set without the column has none."""
    if PAIR not in data.keys:
        return np.zeros(data.sizes[split], bool)
    return data.splits[split].column(PAIR) == kind.encode()


def say_pairs(data: Dataset, run: Run, refuse_classes: str = "") -> None:
    """Say beside the verdict which pairs are no true ones.

    Args:
        data: A set of pairs.
        run: The run.
        refuse_classes: Why validation and test must have no class-level pairs; "" where they may.

    Raises:
        UserError: They have some, and `refuse_classes` says why not.
    """
    for kind, what in ((CLASS, "class-level"), (NEAREST, "by nearest neighbour")):
        counts = {split: int(made_by(data, split, kind).sum()) for split in data.sizes}
        if not any(counts.values()):
            continue
        judged = counts["validation"] + counts["test"]
        if kind == CLASS and judged and refuse_classes:
            raise UserError(
                f"{data.name}: {judged:,} validation and test pairs are class-level: {refuse_classes}. Add true pairs "
                "first and judge by them: fuse:TRUE_PAIRS+[fuse:A+B?on=label]?mix=temperature:1&test=first"
            )
        said = ", ".join(f"{count:,} {split}" for split, count in counts.items())
        run.caution(f"No true pairs, but {what}: {said}. {_meaning(kind, judged > 0)}")


def _meaning(kind: str, judged: bool) -> str:
    if not judged:
        return "They are only learned from; the scores are of true pairs."
    if kind == CLASS:
        return "Every text of an image's class counts as right, so scores say whether the class is found, no more."
    return "Scores say how well the method agrees with that assignment, which is wrong in part (see the notes above)."


def with_classes_alike(data: Dataset, ids: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return ids of what images show, split -> int [N], in which class-level pairs of one class share one."""
    found = {}
    for split, each in ids.items():
        alike = made_by(data, split, CLASS)
        found[split] = np.where(alike, each.max(initial=0) + 1 + data.labels(split), each) if alike.any() else each
    return found
