"""`tfxfer score [OPTIONS]`: transferability scores of a source for a target, beside those of random weights.

φ of the target's training examples is made as `tfxfer train feature` makes it, and kept in the same cache. No head is
kept, and the labels of the validation and test splits are not looked at.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tfxfer import cli
from tfxfer.cache import data_dirs
from tfxfer.config import SourceConfig, TargetConfig, check_values, option, section
from tfxfer.data.background import prepare_in_background, unprepared
from tfxfer.errors import UserError
from tfxfer.recipes import feature
from tfxfer.recipes.feature import FeatureConfig
from tfxfer.runs import Run
from tfxfer.terminal import console, json_text

if TYPE_CHECKING:
    from tfxfer.choose import Scored

LIKE = FeatureConfig()  # the options mean what they mean to `train feature`, and have its defaults
DESCRIPTION = """Transferability scores: figures from φ of the target's training examples that say, before a transfer is
trained, how well a source suits a target. Beside each stands the same network with random weights, drawn several times:
where that scores as well, the source's training adds nothing that the score sees. No score is right everywhere;
docs/scores.md says when each one fails."""


@dataclass(frozen=True)
class ScoreConfig:
    """Options of `tfxfer score`."""

    source: SourceConfig = section(
        LIKE.source,
        "source",
        group="source",
        help={"spec": "what is transferred: a data set to learn, or a trained model's spec"},
        leave_out=("text",),
        common=("spec",),
    )
    target: TargetConfig = section(
        LIKE.target,
        "target",
        group="target",
        leave_out=("caption", "question", "answer", "max_validation", "max_test"),
        common=("spec", "text", "label"),
    )
    labels_per_class: int = option(
        max(LIKE.labels_per_class),
        "labelled training examples of each class that are scored",
        group="target",
        common=True,
        at_least=1,
    )
    seeds: int = option(
        LIKE.seeds, "how often random weights are drawn", group="source", common=True, at_least=1, at_most=1000
    )
    seed: int = option(LIKE.seed, "draws the examples and the random weights", group="target", common=True)
    allow_overlap: bool = option(False, "go on where the splits of the target overlap", group="target")
    height: int = option(LIKE.height, "height in pixels of an image that enters φ", group="bridge", at_least=1)
    width: int = option(LIKE.width, "width in pixels of a rendered text", group="bridge", at_least=1)
    font_size: int = option(LIKE.font_size, "size in pixels of rendered letters", group="bridge", at_least=1)
    layout: str = option(
        LIKE.layout,
        "layout of rendered text: one line, wrapped rows, or a square",
        ("line", "rows", "square"),
        group="bridge",
    )
    layer: str | None = option(None, "φ ends at this layer of the source (default: before its head)", group="model")
    device: str = option(LIKE.device, "auto, cpu, gpu or gpu:N", group="training")
    json: bool = option(False, "all figures as JSON", group="output", common=True)
    download: bool = option(False, "allow downloads of data sets and pretrained weights", group="output")
    data_dir: str | None = option(
        None, "prepared data and caches (default: $TFXFER_DATA or the user cache folder)", group="output"
    )


def work(argv: Sequence[str]) -> None:
    """Score the source for the target, and print the table."""
    asked, config = requested(argv)
    caches = data_dirs(config.data_dir)
    new = unprepared((config.source.spec, config.target.spec), *caches.searched)
    if new:
        cli.note(f"preparing {', '.join(new)}, once, in {caches.own}")
    with prepare_in_background(new[1:], caches.own), TemporaryDirectory(prefix="tfxfer-score-") as folder:
        cli.start_tensorflow()
        config = replace(config, run_dir=str(Path(folder) / "run"))  # a run keeps a log; this command keeps nothing
        with closing(Run("feature", config, console(highlight=False, stderr=asked.json))) as run:
            rows = scores(config, run)
    if asked.json:
        print(json_text(rows, indent=1))
    else:
        show(rows)


def requested(argv: Sequence[str]) -> tuple[ScoreConfig, FeatureConfig]:
    """Return the options of a command line, and the config of `train feature` that they stand for, both checked."""
    asked = cli.parse(ScoreConfig, argv, prog=cli.program("score"), description=DESCRIPTION)
    config = feature_config(asked)
    check_values(config)
    feature.check(config)
    return asked, config


def feature_config(asked: ScoreConfig) -> FeatureConfig:
    """Return the config of `train feature` with the same source, target and φ."""
    names = {item.name for item in fields(FeatureConfig)} & {item.name for item in fields(ScoreConfig)}
    given = {name: getattr(asked, name) for name in names} | {"labels_per_class": (asked.labels_per_class,)}
    return replace(LIKE, **given)


# === The arrays ===


def scores(config: FeatureConfig, run: Run) -> list[dict[str, Any]]:
    """Return a row for each score: name, value, values of random weights, meaning, direction, paper, seconds."""
    from tfxfer.recipes.device import prepare
    from tfxfer.sources.load import load_source
    from tfxfer.tasks.classification import load_target, load_task

    prepare(config)
    dataset = load_target(config.target, config, run)
    source = load_source(config.source, config, run, image_size=config.target.image_size)
    task = load_task(config.target, config, source, run, dataset=dataset)
    return scores_of(source, task, config, run)


def scores_of(source: Any, task: Any, config: FeatureConfig, run: Run, gap: bool = True) -> list[dict[str, Any]]:
    """Return the rows of a source that is loaded and a task; `gap` also compares with examples of the source's data."""
    from tfxfer.choose import score
    from tfxfer.models.fresh import fresh_copy

    arrays_of = Arrays(source, task, config, run, gap)
    ours = arrays_of(source)
    rows, width = ours["features"].shape
    run.say(f"φ: {rows:,} training examples of {len(task.class_names)} classes, {width:,} features")
    controls: dict[str, list[float]] = {}
    for seed in range(config.seed, config.seed + config.most_seeds):
        random = arrays_of(fresh_copy(source, seed))
        for one in score(random):
            controls.setdefault(one.name, []).extend([] if one.value is None else [one.value])
    for need, why in arrays_of.lacking.items():
        run.say(f"no scores from {need}: {why}")
    return [_row(one, controls.get(one.name, []), rows) for one in score(ours | {"other": random["features"]})]


class Arrays:
    """Makes the arrays that the scores need of a source, or of the same network with other weights.

    Args:
        source: The source model, with its head.
        task: The target.
        config: The layer and the rendering, folders and the seed.
        run: Where notes are printed.
        gap: Whether examples of the source's own data are brought too.

    Attributes:
        lacking: Array that cannot be had -> why.
    """

    def __init__(self, source: Any, task: Any, config: FeatureConfig, run: Run, gap: bool = True) -> None:
        from tfxfer.arms.feature import choose_bridge
        from tfxfer.arms.frozen_features import FrozenFeatures
        from tfxfer.tasks.classification import takes

        if choose_bridge(takes(source), task.key, config) == "tokens":
            raise UserError(
                f"{config.source.spec} takes texts: the bridge to images is trained, so there is no φ to score before "
                "a training. Run: tfxfer train feature --bridge tokens"
            )
        self.over = FrozenFeatures(source, task, config, run)
        self.over.count_losses()
        self.config, self.lacking = config, dict[str, str]()
        self.train = task.train(config.labels_per_class[0], config.seed)
        self.image_size = task.image_shape[:2] if task.key == "image" else None
        self.examples = self._source_examples(len(self.train.labels("train"))) if gap else None

    def __call__(self, model: Any) -> dict[str, Any]:
        """Return array name, a key of `tfxfer.choose.ARRAYS`, -> array."""
        import numpy as np

        from tfxfer.transfer.feature import extractor

        features = self._extract(extractor(model, self.config.layer, input_bridge=self.over.bridge))
        scale = np.sqrt(features.var(0).mean()) or 1.0  # `transrate` and `gbc` would compare models by this alone
        found = {"features": features / scale, "labels": self.train.labels("train")}
        answers = self._answers(model)
        found |= {} if answers is None else {"probabilities": answers}
        if self.examples is not None:
            found["source_features"] = self._extract(extractor(model, self.config.layer), *self.examples) / scale
        return found

    def _extract(self, phi: Any, dataset: Any = None, split: str = "train", image_size: Any = None) -> Any:
        import numpy as np

        from tfxfer.transfer.feature import extract

        size = image_size or self.image_size
        key = "image" if dataset is not None else self.over.task.key
        rows = extract(phi, dataset or self.train, split=split, data_dir=self.config.data_dir, key=key, image_size=size)
        return np.asarray(rows)

    def _answers(self, model: Any) -> Any:
        """Return what the source's head says of the target's examples, [N, Z]; None where it gives no distribution."""
        import numpy as np

        from tfxfer.transfer.feature import extractor

        outputs = model.outputs
        if len(outputs) == 1 and len(outputs[0].shape) == 2:
            answers = self._extract(extractor(model, -1, input_bridge=self.over.bridge))
            if answers.min() >= 0 and np.allclose(answers.sum(1), 1, atol=1e-3):
                return answers
        self.lacking["probabilities"] = "the source's output is no distribution over classes"
        return None

    def _source_examples(self, count: int) -> tuple[Any, str, tuple[int, int]] | None:
        """Return some of the images that the source learned from: data set, split, and the size that it saw."""
        import tfxfer
        from tfxfer.models import spec

        config = self.config
        if spec.is_model(config.source.spec):
            self.lacking["source_features"] = "the source is a trained model, and its data are not at hand"
            return None
        dataset = tfxfer.load(config.source.spec, data_dir=config.data_dir, download=config.download)
        if "image" not in dataset.keys:
            self.lacking["source_features"] = "the source learned from texts, and φ here takes images"
            return None
        split = "validation" if dataset.sizes["validation"] else "train"
        size = (config.target.image_size,) * 2 if config.target.image_size else (dataset.image_shape or (64, 64))[:2]
        return dataset.with_at_most(seed=config.seed, **{split: count}), split, size


# === The table ===


def _row(one: "Scored", random: Sequence[float], gallery: int) -> dict[str, Any]:
    from tfxfer.choose import SCORES

    about = SCORES[one.name]
    row: dict[str, Any] = {"score": one.name, "value": one.value, "random": list(random)}
    row |= {"higher_means": about.higher, "higher_is_better": about.better, "paper": about.source}
    row |= {"seconds": round(one.seconds, 3), "why_not": one.why_not}
    return row | ({"gallery": gallery} if one.name == "mutual_knn" else {})


def show(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the table, and what it says in a sentence."""
    from rich.table import Table

    table = Table("score", "source", "random", "higher means", "s", box=None, pad_edge=False)
    for row in rows:
        meaning = row["why_not"] or row["higher_means"] + ("" if row["higher_is_better"] else " (lower is better)")
        table.add_row(row["score"], _span([row["value"]]), _span(row["random"]), meaning, f"{row['seconds']:.2f}")
    out = console(highlight=False)
    out.print(table)
    for line in remarks(rows):
        out.print(line, markup=False)


def remarks(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return sentences about the table: where the source is ahead, and how to read what has no control."""
    pairs, ahead = ahead_of_random(rows)
    draws = max((len(row["random"]) for row in pairs), default=0)
    lines = [
        f"\nahead of all {draws} draws of random weights on {len(ahead)} of {len(pairs)} scores: "
        f"{', '.join(ahead) or 'none'}"
    ]
    gallery = next((row["gallery"] for row in rows if "gallery" in row), None)
    if gallery is not None:
        lines.append(
            "cka and mutual_knn: how alike features of the source and of random weights are; mutual_knn among "
            f"{gallery:,} examples, less what shuffled rows share"
        )
    return [*lines, "one draw of examples; what was measured of each score is in docs/scores.md"]


def ahead_of_random(rows: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], list[str]]:
    """Return the rows that have values of random weights, and the scores that are ahead of all of them."""
    pairs = [row for row in rows if row["value"] is not None and row["random"]]
    return pairs, [row["score"] for row in pairs if _is_ahead(row)]


def _is_ahead(row: Mapping[str, Any]) -> bool:
    """Return whether a row's value is better than every draw of random weights."""
    best = max(row["random"]) if row["higher_is_better"] else min(row["random"])
    return bool(row["value"] > best if row["higher_is_better"] else row["value"] < best)


def _span(values: Sequence[float | None]) -> str:
    """Return a value, or the least and the greatest of several."""
    there = [value for value in values if value is not None]
    ends = dict.fromkeys((min(there), max(there))) if there else ()
    return " to ".join(f"{value:.{1 if abs(value) >= 10 else 3}f}" for value in ends) or "–"
