"""Groups of a source's classes that can be left out: the source is trained again without their examples."""

import keras
import numpy as np

from tfxfer.config import RunConfig, SourceConfig
from tfxfer.data.dataset import Dataset
from tfxfer.errors import UserError
from tfxfer.models.spec import is_model
from tfxfer.runs import Run
from tfxfer.sources.load import source_data
from tfxfer.sources.pretrain import Pretraining, trained_source

MOST = 5  # groups, the smallest joined in the last: each costs a training of the source
GROUPED_BY = "script"  # column of glyphs that groups their classes; elsewhere each class is a group


def class_groups(dataset: Dataset) -> dict[str, np.ndarray]:
    """Return group -> positions of its training examples, int [n], the largest group first, `MOST` of them.

    Raises:
        UserError: All examples are in one group.
    """
    column = GROUPED_BY if GROUPED_BY in dataset.keys else None
    if column:
        names = np.array(dataset.texts("train", column))
    else:
        names = np.array(dataset.class_names)[dataset.labels("train")]
    values, counts = np.unique(names, return_counts=True)
    if len(values) < 2:
        raise UserError(f"--explain-parts classes: {dataset.name} has one {column or 'class'} only; leave it out")
    ordered = [str(name) for name in values[np.argsort(-counts, kind="stable")]]
    kept = ordered if len(ordered) <= MOST else ordered[: MOST - 1]
    rows = {f"{column or 'class'} {name}": np.flatnonzero(names == name) for name in kept}
    if len(kept) < len(ordered):
        rows[f"{len(ordered) - len(kept)} others by {column or 'class'}"] = np.flatnonzero(~np.isin(names, kept))
    return rows


def groups_of(source: SourceConfig, config: RunConfig, run: Run) -> dict[str, np.ndarray]:
    """Return the groups of a source that is trained here; none where a trained model is given."""
    return {} if is_model(source.spec) else class_groups(source_data(source, config, run))


def source_without(
    source: SourceConfig, config: RunConfig, run: Run, rows: np.ndarray, *, image_size: int = 0
) -> keras.Model:
    """Return the source, trained for as many steps without some training examples; cached as any source is.

    Where the rest is fewer than `max_examples`, an epoch is shorter.

    Args:
        source: What is trained, and how.
        config: Seed, device and folders.
        run: The run.
        rows: Positions of the training examples that are left out.
        image_size: As for `load_source`.
    """
    dataset = source_data(source, config, run)
    rest = np.setdiff1d(np.arange(dataset.sizes["train"]), rows)
    with run.phase("source"):
        return trained_source(Pretraining.of(source, config, dataset.with_rows("train", rest), image_size), run)
