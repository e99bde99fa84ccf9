"""Whether the splits of a target overlap: refused before anything trains, or said beside the verdict."""

from tfxfer.config import RunConfig, TargetConfig
from tfxfer.data.dataset import Dataset
from tfxfer.data.overlap import Overlap
from tfxfer.errors import UserError
from tfxfer.runs import Run

NOTED = 0.05  # share of a split: so much is noted, more is refused; the help of --allow-overlap says it


def check_overlap(dataset: Dataset, target: TargetConfig, config: RunConfig, run: Run) -> None:
    """Refuse a target whose splits overlap; a small overlap, or one that is allowed, becomes a caution of the run.

    Splits that tfxfer cuts itself do not overlap. Those that the data give may: an example counts when its content, the
    bytes of its image file or else its text without case, is also in another split.

    Args:
        dataset: The target.
        target: Its options. A text column that is named is what is compared, even beside images.
        config: Whether an overlap is allowed.
        run: The run.

    Raises:
        UserError: More than 5 % of the test examples are also in train or validation, or of the validation examples in
            train, and `allow_overlap` is off.
    """
    key = compared(dataset, target)
    found = dataset.overlap(key)
    if found.share > NOTED and not config.allow_overlap:
        raise UserError(
            f"{target.spec}: its splits overlap. {found.sentence()} {_first(dataset, key, found)} Remove these "
            "examples from one of the splits, or give no splits: tfxfer then cuts some that do not overlap. To go on "
            "all the same, give --allow-overlap; the verdict says it"
        )
    caution(found, run)


def check_texts(dataset: Dataset, target: TargetConfig, run: Run) -> None:
    """Add a caution where a task reads the texts of examples that were compared by their images, and texts overlap."""
    if compared(dataset, target) != "text":
        caution(dataset.overlap("text"), run, "Compared by their texts: ")


def compared(dataset: Dataset, target: TargetConfig) -> str:
    """Return what examples are compared by: "image", or the key of a text."""
    return "text" if target.text and "text" in dataset.keys else dataset.content_key


def caution(found: Overlap, run: Run, opening: str = "") -> None:
    """Say an overlap, if there is any, now and beside the verdict."""
    if not found.share:
        return
    effect = "Scores on them show what was memorised" if len(found.test_seen) else "Validation chooses by what it saw"
    run.caution(f"The splits of the data overlap. {opening}{found.sentence()} {effect}.")


def _first(dataset: Dataset, key: str, found: Overlap) -> str:
    """Return a sentence that names one example that stands in two splits."""
    split, seen = ("test", found.test_seen) if len(found.test_seen) else ("validation", found.validation_seen)
    part, row = dataset.splits[split], int(seen[0])
    files = getattr(part, "files", None)
    if key != "image":
        shown = f"'{' '.join(dataset.texts(split, key)[row].split()):.60}'"
    elif files is not None:
        shown = files.paths.numpy()[part.index[row]].decode("utf-8", "replace")
    else:
        shown = f"example {part.index[row]:,} of the data"
    return f"The first of them in {split} is {shown}."
