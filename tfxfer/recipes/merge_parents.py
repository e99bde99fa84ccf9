"""The models that `tfxfer merge` merges: what can be seen of their folders, and their weights once they are open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfxfer.config import TargetConfig, options_of
from tfxfer.errors import UserError
from tfxfer.models.saved_archive import check_archive
from tfxfer.models.saved_folder import describe_folder

if TYPE_CHECKING:  # a check needs none of it, nor NumPy
    import keras

    from tfxfer.tasks.classification import Task
    from tfxfer.transfer.structure.merging import Weights

START = "start"  # what the model before fine-tuning is called
CLASSIFIERS = ("FeatureClassifier", "Classifier")
STATISTICS = {  # class of a layer -> names of its weights that no gradient moves
    "BatchNormalization": ("moving_mean", "moving_variance"),
    "Normalization": ("mean", "variance", "count"),
}
MOST_SEEN = 0.05  # share of the test rows that a parent may have been trained on
WHY_STARTS = (
    "units of networks from different starts stand for different features, and their average is usually worse than "
    "each; --allow-different-starts merges them all the same"
)


@dataclass(frozen=True)
class How:
    """A row of the table of merges.

    Attributes:
        text: What it is.
        over_base: Whether it needs the model before fine-tuning.
        settings: What it chooses on the validation split.
    """

    text: str
    over_base: bool = False
    settings: str = ""


HOW = {
    "soup": How("uniform soup: the plain average of the parents' weights (Wortsman et al. 2022)"),
    "greedy": How("greedy soup: the average of those parents that do not lower the validation score", settings="which"),
    "task": How("task vectors: the start plus λ times the sum of what fine-tuning changed (Ilharco et al. 2023)",
                True, "λ"),
    "ties": How("TIES: changes trimmed to their greatest share k, a sign elected, those that agree averaged "
                "(Yadav et al. 2023)", True, "k, λ"),
    "dare": How("DARE: a share p of the changes dropped at random, the others rescaled (Yu et al. 2024)", True, "p"),
    "wise": How("WiSE-FT: a point α of the line from the start to the best parent (Wortsman et al. 2022)", True, "α"),
    "ensemble": How("ensemble: the mean of what all parents predict; it costs all of them at each prediction"),
}  # fmt: skip


@dataclass(frozen=True)
class Parent:
    """A saved classifier.

    Attributes:
        name: "parent 1", …, or "start".
        folder: Its folder.
        described: Its model.json.
    """

    name: str
    folder: Path
    described: Mapping[str, Any]


@dataclass(frozen=True)
class Opened:
    """Parents whose weights are in memory, in one network.

    Attributes:
        parents: The parents.
        start: The model before fine-tuning, or None.
        network: The network of the first, that holds any of the weights.
        weights: Name of a parent or of the start -> its weights, by the paths of `network`.
        statistics: Paths of the weights that are statistics.
        similarity: Name -> median correlation of its kernels with those of the first.
    """

    parents: tuple[Parent, ...]
    start: Parent | None
    network: keras.Model
    weights: dict[str, Weights]
    statistics: frozenset[str]
    similarity: dict[str, float]

    @property
    def names(self) -> list[str]:
        """Names of the parents."""
        return [parent.name for parent in self.parents]

    def put(self, weights: Weights) -> keras.Model:
        """Return the network with these weights."""
        from tfxfer.transfer.structure.weight_map.sources import KerasSource

        for path, variable in KerasSource(self.network).variables.items():
            variable.assign(weights[path])
        return self.network


# === Before TensorFlow starts ===


def described_parents(runs: Sequence[str], base: str | None) -> tuple[tuple[Parent, ...], Parent | None]:
    """Return the parents and the start by their folders, checked as far as can be without TensorFlow.

    Raises:
        UserError: There are fewer than two, one is named twice, holds no classifier or a damaged one, or is one of
            other classes or other inputs.
    """
    if len(runs) < 2:
        raise UserError(
            f"{runs[0]}: one run alone cannot be merged; give two or more, or none: then members are fine-tuned first"
        )
    parents = tuple(_described(run, f"parent {place}") for place, run in enumerate(runs, 1))
    start = _described(base, START) if base else None
    seen: dict[Path, str] = {}
    for parent in parents:
        place = parent.folder.resolve()
        if place in seen:
            raise UserError(f"{parent.folder}: is given twice; give two or more different runs")
        seen[place] = parent.name
    for other in (*parents[1:], *((start,) if start else ())):
        _check_same_task(parents[0], other)
    return parents, start


def _described(path: str, name: str) -> Parent:
    folder, described = describe_folder(path, ("input",))
    if described["class"] not in CLASSIFIERS or "class_names" not in described:
        raise UserError(
            f"{folder}: holds a {described['class']}; classifiers are merged, as `train feature` and `train structure` "
            "save them"
        )
    check_archive(folder / "model.keras")
    return Parent(name, folder, described)


def _check_same_task(first: Parent, other: Parent) -> None:
    ours, theirs = first.described["class_names"], other.described["class_names"]
    if ours != theirs:
        odd = sorted({*ours} ^ {*theirs})
        what = f"only one of them has {', '.join(map(repr, odd[:3]))}" if odd else "in another order"
        raise UserError(
            f"{other.folder}: has other classes than {first.folder} ({len(theirs)} and {len(ours)}; {what}); merge "
            "runs on one task"
        )
    for key in ("input", "image_size", "channels"):
        if first.described.get(key) != other.described.get(key):
            raise UserError(
                f"{other.folder}: its {key.replace('_', ' ')} is {other.described.get(key)}, that of {first.folder} is "
                f"{first.described.get(key)}; merge runs on one task"
            )


def target_of(parents: Sequence[Parent], sections: type) -> TargetConfig:
    """Return the target that the first parent with a config.yaml names, in its folder or that of the merge it is of.

    Args:
        parents: The parents.
        sections: A config class with a section `target`.

    Raises:
        UserError: None names one.
    """
    import yaml

    known = {name: one.path[1] for name, one in options_of(sections).items() if one.path[0] == "target"}
    for parent in parents:
        for folder in (parent.folder, *parent.folder.absolute().parents[:2]):
            try:
                text = (folder / "config.yaml").read_text(encoding="utf-8")
                told = yaml.safe_load(text)
            except (OSError, ValueError, yaml.YAMLError):
                continue
            if isinstance(told, dict) and isinstance(told.get("target"), str):
                found = {known[name]: told[name] for name in known if told.get(name) is not None}
                lists = {key: tuple(value) for key, value in found.items() if isinstance(value, list)}
                return TargetConfig(**found | lists)
    raise UserError(f"{parents[0].folder}: no config.yaml names the task of these models; name it with --target SPEC")


# === With TensorFlow ===


def open_parents(parents: Sequence[Parent], start: Parent | None, allow_different_starts: bool) -> Opened:
    """Load the models, and check that they are of one architecture and of one start.

    Raises:
        UserError: A file is damaged, architectures differ, or kernels are not correlated.
    """
    import keras

    from tfxfer.models import load_model
    from tfxfer.transfer.structure.merging import SAME_START, weight_similarity
    from tfxfer.transfer.structure.transforms.merging import check_same_architecture
    from tfxfer.transfer.structure.weight_map.sources import KerasSource

    first = load_model(parents[0].folder / "model.keras")
    paths = KerasSource(first).names()
    weights: dict[str, Weights] = {}
    similarity: dict[str, float] = {}
    for parent in (*parents, *((start,) if start else ())):
        model = first if parent is parents[0] else load_model(parent.folder / "model.keras")
        if model is not first:
            check_same_architecture(first, model, str(parent.folder), str(parents[0].folder))
        arrays = [keras.ops.convert_to_numpy(one) for one in KerasSource(model).variables.values()]
        weights[parent.name] = dict(zip(paths, [array.copy() for array in arrays], strict=True))
        similarity[parent.name] = weight_similarity(weights[parents[0].name], weights[parent.name])
        if similarity[parent.name] < SAME_START and not allow_different_starts:
            raise UserError(
                f"{parent.folder}: seems to have another start than {parents[0].folder} (median correlation of their "
                f"kernels {similarity[parent.name]:.2f}, below {SAME_START:g}); {WHY_STARTS}"
            )
    owners = KerasSource(first).owners()
    statistics = {path for path in paths if path.split("/")[-1] in STATISTICS.get(owners[path], ())}
    return Opened(tuple(parents), start, first, weights, frozenset(statistics), similarity)


def check_test_rows(parents: Sequence[Parent], task: Task) -> list[str]:
    """Return sentences on test rows that parents have seen, or that cannot be told.

    Raises:
        UserError: A parent was trained or validated on more than a few of them.
    """
    from tfxfer.evaluate.trained_rows import TrainedRows

    digests, cautions = task.dataset.digests("test", task.key), []
    for parent in parents:
        known = TrainedRows.load(parent.folder)
        if known is None:
            cautions.append(f"{parent.folder} does not say which rows it was trained on; test rows may be among them")
            continue
        seen = sum(int(rows.sum()) for rows in known.find(digests))
        if seen > MOST_SEEN * len(digests):
            raise UserError(
                f"{parent.folder}: was trained or validated on {seen:,} of {len(digests):,} test rows of "
                f"{task.dataset.name}; give runs of this target and its own splits, or another --target"
            )
        if seen:
            cautions.append(f"{parent.folder} was trained or validated on {seen:,} of {len(digests):,} test rows")
    return cautions
