"""`tfxfer compress RUN --to int8`: a run's model in fewer bytes, beside what it was, and whether it is non-inferior."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tfxfer.commands.of_runs import new_run, runs_and_options
from tfxfer.config import TrainingConfig, check_ranges, option, section, with_options
from tfxfer.errors import UserError
from tfxfer.evaluate.margins import check_margin, usual_margin
from tfxfer.models.saved_archive import check_archive
from tfxfer.models.saved_folder import describe_folder
from tfxfer.recipes.compress_methods import METHODS, Wanted, parsed
from tfxfer.terminal import console, json_text, printable

if TYPE_CHECKING:
    from tfxfer.recipes.compress_tasks import CompressedRun
    from tfxfer.recipes.compressing import Compressed
    from tfxfer.runs import Run

NAMES = ", ".join(f"{name}:{one.wants[0]}" if one.wants else name for name, one in METHODS.items())
DESCRIPTION = f"""Make the model of a finished run smaller, and say what that costs: bytes, time, memory, and the score
on the test split of the run, with a test of non-inferiority within a margin. The source run stays as it is; the result
is a run of its own. docs/compress.md says how to read it.

Several results stand side by side: --to int8,int4. Steps of one result are joined by +: --to prune:0.5+int8.

Methods: {NAMES}."""


@dataclass(frozen=True)
class CompressConfig:
    """Options of `tfxfer compress`."""

    run: str = option("", "the run's folder; as a word before all options too", group="arms")
    to: tuple[str, ...] = option(("int8",), "results, each of one or more steps joined by +", group="arms", common=True)
    margin: float | None = option(
        None,
        "greatest loss that would not matter, in the unit of the score (default: 0.05 for CIDEr-D, else 0.01)",
        group="arms",
        common=True,
    )
    calibrate: int = option(
        128,
        "training examples, without their labels, on which biases are corrected for rounding (0: none)",
        group="arms",
        common=True,
        at_most=4096,
    )
    max_test: int | None = option(
        None, "test examples (default: as many as the run had; 0: all there are)", group="target", common=True
    )
    costs: bool = option(True, "measure times and memory, in processes of their own", group="arms", common=True)
    training: TrainingConfig = section(
        TrainingConfig(steps=0, epochs=6, batch_size=16, learning_rates=(1e-3, 4e-3)),
        group="training",
        leave_out=("steps_scaling", "checkpoints", "train_set"),
        help={"learning_rates": "of a narrower model, which is trained again: learning rates, by validation"},
    )
    json: bool = option(False, "everything as JSON", group="output", common=True)
    download: bool = option(False, "allow downloads of data sets", group="output")
    data_dir: str | None = option(None, "prepared data and caches (default: those of the run)", group="output")
    run_dir: str | None = option(None, "this run's folder (default: runs/compress-TIME)", group="output", common=True)


def work(argv: Sequence[str]) -> None:
    """Compress, and print what was found."""
    asked = requested(argv)
    wanted = parsed(asked.to)
    source = opened(asked)
    asked = replace(asked, margin=usual_margin(source.measure) if asked.margin is None else asked.margin)
    specs = [source.config.target.spec]
    with new_run("compress", asked, source.config, specs, about=str(source.folder)) as run:
        found = _compressed(asked, wanted, source, run)
        page = _written(found, run)
        if asked.json:
            from tfxfer.recipes.compressing import as_json

            print(json_text(as_json(found) | {"run": str(run.folder)}, indent=1))
        else:
            show(found)
        run.say(f"report: {page}")


def requested(argv: Sequence[str]) -> CompressConfig:
    """Return the options of a command line, the run that stands before them among them.

    Raises:
        UserError: An option is unknown or out of its range, or no run is named, or more than one.
    """
    runs, asked = runs_and_options(CompressConfig, argv, "compress", "RUN", DESCRIPTION)
    if runs:
        asked = with_options(asked, run=runs[0])
    if len(runs) > 1:
        raise UserError(f"{runs[1]}: one run is compressed at a time; name its methods with --to {' '.join(runs[1:])}")
    if not asked.run:
        raise UserError("name the run that is to be compressed, such as: tfxfer compress runs/NAME --to int8")
    check_ranges(asked)
    if asked.margin is not None:
        check_margin(asked.margin)
    return asked


def opened(asked: CompressConfig) -> "CompressedRun":
    """Return the run, checked as far as can be without TensorFlow.

    Raises:
        UserError: There is no such run, it has no model or one that cannot be compressed, or was compressed already.
    """
    from tfxfer.recipes.compress_tasks import KINDS, OTHERS, CompressedRun, config_of
    from tfxfer.records import Comparison

    folder, described = describe_folder(asked.run)
    kind = described["class"]
    if "compressed" in described:
        raise UserError(
            f"{folder}: is compressed already ({described['compressed']}); what is rounded is not rounded again. "
            "Compress the run that it was made of, which its config.yaml names"
        )
    if kind not in KINDS:
        why = OTHERS.get(kind, f"there is no way to score a {kind} here")
        raise UserError(f"{folder}: holds a {kind}: {why}. Runs of {', '.join(KINDS)} are compressed")
    check_archive(folder / "model.keras")
    comparison = Comparison.load(folder)
    config, recipe = config_of(folder, asked.data_dir)
    own = asked.max_test in (None, config.target.max_test)
    config = with_options(config, download=asked.download, **{} if own else {"max_test": asked.max_test})
    return CompressedRun(folder, described, comparison, config, recipe, own)


def _compressed(asked: CompressConfig, wanted: tuple[Wanted, ...], source: "CompressedRun", run: "Run") -> "Compressed":
    """Make the results, and save the chosen one."""
    from tfxfer.recipes.compress_tasks import KINDS
    from tfxfer.recipes.compressing import compress, save

    assert asked.margin is not None  # `work` has set it
    examples = KINDS[source.described["class"]](source, run)
    with TemporaryDirectory(prefix=".unfinished-", dir=run.folder) as temporary, run.phase("compress"):
        found, chosen = compress(
            source,
            wanted,
            examples,
            asked.margin,
            training=asked.training,
            calibrate=asked.calibrate,
            costs=asked.costs,
            work=Path(temporary),
            say=run.say,
        )
        save(chosen, source, examples, run.folder)
    about = found.comparison.about | {"cautions": run.cautions, "margin": asked.margin}
    return replace(found, comparison=replace(found.comparison, costs=run.costs, about=about))


def _written(found: "Compressed", run: "Run") -> Path:
    """Write the comparison and the page into the run's folder."""
    from tfxfer.report.compressed import write_page

    found.comparison.save(run.folder)
    return write_page(found, run.folder)


# === The terminal ===


def show(found: "Compressed") -> None:
    """Print the table, and what it says."""
    from rich.text import Text

    from tfxfer.commands.compare import plain_table
    from tfxfer.evaluate.comparison import measure_name
    from tfxfer.report.compressed import bound_cell, cost_rows, score_cells, sentences

    out = console(highlight=False)
    table = plain_table("", "bytes", "smaller", "validation", "test", "95 % interval", "loses at most")
    for row in found.rows:
        cells = [f"{row['bytes']:,}", f"{row['ratio']:.2f}x", *score_cells(row)]
        table.add_row(Text(row["name"]), *cells, bound_cell(row))
    out.print(Text(f"{found.validation:,} validation and {len(found.comparison.labels):,} test examples; "
                   f"{measure_name(found.measure)}"))  # fmt: skip
    out.print(table)
    costs = cost_rows(found)
    if costs:
        times = plain_table("", "ms, batch 1", "ms, batch 32", "peak MiB", "of it before the model")
        for name, *cells in costs:
            times.add_row(Text(name), *(f"{cell:,.1f}" for cell in cells))
        out.print(times)
    for sentence in sentences(found):
        out.print(Text(printable(sentence)))
