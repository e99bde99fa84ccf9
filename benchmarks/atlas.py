"""The atlas: what helped where, over a grid of source x bridge x method x target x label count.

    python -m benchmarks.atlas            run the cells that are not there yet, then as --table
    python -m benchmarks.atlas --table    write tfxfer/choose/atlas.csv from the kept runs, then as --judge
    python -m benchmarks.atlas --judge    judge predictions by the table; write docs/atlas.md (no TensorFlow, seconds)

Every run is kept in --keep and not run again; a run that was stopped goes on. Data are embedded; real ones are added by
--real, --bert and --cnn. A run that fails is kept with its error, and the others go on.
"""

import argparse
import gc
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import atlas_pages
from benchmarks.atlas_grid import GRID, METHODS, PLACES, REAL, SOURCES, TARGETS, Cells
from tfxfer.choose.atlas_table import FILE, Cell, load, save
from tfxfer.evaluate import verdicts
from tfxfer.records import Comparison, Record

KEEP = Path("runs") / "atlas"
SCORES = ("cross_validated_probe", "logme", "h_score_shrunk", "knn_probe")
STATUS = Path("/proc/self")


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--judge", action="store_true", help="no runs: judge the table and write the page")
    parser.add_argument("--table", action="store_true", help="no runs: write the table from the kept runs, and judge")
    parser.add_argument("--only", default="", metavar="WORDS", help="only runs whose name holds these words")
    parser.add_argument("--real", metavar="DIR", help="add runs on ag_news.csv and cifar10_train.zip of this folder")
    parser.add_argument("--bert", metavar="DIR", help="add runs from this BERT, in the format of Hugging Face")
    parser.add_argument("--cnn", metavar="FILE", help="add runs from this image model of ImageNet, saved as .keras")
    parser.add_argument("--keep", type=Path, default=KEEP, metavar="DIR", help=f"folder of the kept runs ({KEEP})")
    asked = parser.parse_args()
    if not asked.judge and not asked.table:
        places = {name: str(Path(given).resolve()) for name in PLACES if (given := getattr(asked, name))}
        grid = [cells for cells in (*GRID, *REAL) if cells.needs <= set(places)]
        run_all([cells for cells in grid if asked.only in cells.name], asked.keep, places)
    if not asked.judge and not asked.only:
        write_table(asked.keep)
    if not asked.only:
        print(atlas_pages.write(load()))
    return 0


# === The runs ===


def run_all(grid: list[Cells], keep: Path, places: dict[str, str]) -> None:
    """Run what is not kept yet, one after the other; `places` has what is given of `PLACES`."""
    places = places | {"data": str((keep / "data").resolve())}
    for i, cells in enumerate(grid):
        folder = keep / cells.name
        if (folder / "facts.json").exists():
            continue
        started, processor = time.perf_counter(), time.process_time()
        try:
            run_one(cells, folder, places)
            (folder / "error.txt").unlink(missing_ok=True)
            ended = "done"
        except Exception as error:  # the other cells go on, and the error is kept
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "error.txt").write_text(f"{type(error).__name__}: {error}\n", encoding="utf-8")
            ended = f"FAILED: {error}"
        spent = f"{time.perf_counter() - started:.0f} s, {time.process_time() - processor:.0f} s of the processor"
        print(f"{i + 1}/{len(grid)} {cells.name}: {ended} ({spent})", flush=True)


def run_one(cells: Cells, folder: Path, places: dict[str, str]) -> None:
    """Run an experiment as its recipe does, without a report; keep its records, costs and what was known before."""
    import keras
    from rich.console import Console

    from tfxfer.config import check_values, with_options
    from tfxfer.recipes import RECIPES, runner
    from tfxfer.runs import Run

    target = TARGETS[cells.target]
    place = Path(places["data"]) / cells.target.replace(" ", "-")
    if target.write and not place.exists():
        target.write(place, places.get("real", ""))
    recipe = RECIPES[cells.recipe]
    config = with_options(recipe.config(), **cells.values(places), run_dir=str(folder))
    check_values(config)
    recipe.check(config)
    config = recipe.resolve(config)
    keras.backend.clear_session()
    gc.collect()
    forget_peak()
    run = Run(recipe.name, config, Console(quiet=True))
    try:
        started, processor = time.perf_counter(), time.process_time()
        plan = runner.build(recipe, config, run)
        comparison = runner.run_all(recipe, plan, config, run, runner.records_folder(config, *plan.keys))
        share = (time.process_time() - processor) / (time.perf_counter() - started)
        comparison.save(folder)
        facts = {"classes": len(plan.class_names), "train": plan.dataset.sizes["train"], "memory_mib": peak()}
        facts |= {"test": len(plan.labels), "processor_share": share, "scores": {}}
        if cells.bridge in ("render", "none"):
            facts["scores"] = scores(config, run)
        (folder / "facts.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    finally:
        run.close()


def scores(config: Any, run: Any) -> dict[str, dict[str, list[float | None]]]:
    """Return labels a class -> score -> its value for the source and for one draw of random weights."""
    from tfxfer.arms.frozen_features import FrozenFeatures
    from tfxfer.choose import score
    from tfxfer.models.fresh import fresh_copy
    from tfxfer.sources.load import load_source
    from tfxfer.tasks.classification import load_target, load_task

    source = load_source(config.source, config, run, image_size=config.target.image_size)
    task = load_task(config.target, config, source, run, dataset=load_target(config.target, config, run))
    over = FrozenFeatures(source, task, config, run)
    models = (lambda seed: source), (lambda seed: fresh_copy(source, seed))
    arms = [over.frozen(name, model) for name, model in zip(("transfer", "random"), models)]
    found: dict[str, dict[str, list[float | None]]] = {}
    for labels in config.labels_per_class:
        rows = found[str(labels)] = {name: [] for name in SCORES}
        for arm in arms:
            features, classes = arm.features(labels, config.seed)["train"]
            features = np.asarray(features, np.float64)
            scaled = features / (np.sqrt(features.var(0).mean()) or 1.0)
            for one in score({"features": scaled, "labels": classes}, SCORES):
                rows[one.name].append(one.value)
    return found


def forget_peak() -> None:
    """Let the kernel count the peak of memory from now on, where it can (Linux)."""
    if (STATUS / "clear_refs").exists():
        (STATUS / "clear_refs").write_text("5")


def peak() -> float:
    """Return the greatest resident memory since `forget_peak`, in MiB; of the whole process on other systems."""
    from tfxfer.runs import peak_memory_mib

    if not (STATUS / "status").exists():
        return peak_memory_mib()
    line = next(row for row in (STATUS / "status").read_text().splitlines() if row.startswith("VmHWM"))
    return round(int(line.split()[1]) / 1024, 1)


# === The table ===


def write_table(keep: Path) -> None:
    """Write the cells of all kept runs as the table that comes with tfxfer."""
    cells = [
        cell
        for run in (*GRID, *REAL)
        if (keep / run.name / "facts.json").exists()
        for cell in cells_of(run, keep / run.name)
    ]
    save(cells)
    print(f"{FILE}: {len(cells)} cells of {len({cell.target for cell in cells})} targets")


def cells_of(run: Cells, folder: Path) -> list[Cell]:
    """Return the cells of a kept run: one for each method and number of labels."""
    comparison, facts = Comparison.load(folder), json.loads((folder / "facts.json").read_text("utf-8"))
    return [
        _cell(run, comparison, facts, method, labels)
        for method in run.methods
        for labels in comparison.budgets
        if all(comparison.select(arm, labels) for arm in (*METHODS[method], "native"))
    ]


def _cell(run: Cells, comparison: Comparison, facts: dict[str, Any], method: str, labels: int | None) -> Cell:
    arm, control = METHODS[method]
    source, target, own = SOURCES[run.source], TARGETS[run.target], comparison.select(arm, labels)
    names = {"accuracy": arm, "random": control, "native": "native"}
    values: dict[str, Any] = {
        name: _accuracy(comparison.select(one, labels), {record.seed for record in own}) for name, one in names.items()
    }
    for name, one in zip(("validation", "validation_random", "validation_native"), names.values()):
        values[name] = _validation(comparison.select(one, labels))
    for gain, other in (("over_random", control), ("over_native", "native")):
        found = next(row for row in verdicts(comparison, arm, other) if row["budget"] == labels)
        values |= {gain: found["difference"], f"{gain}_low": found["low"], f"{gain}_high": found["high"]}
    for name in SCORES:
        pair = facts["scores"].get(str(labels), {}).get(name, (None, None)) if method == "probe" else (None, None)
        values |= {name: pair[0], f"{name}_random": pair[1]}
    return Cell(
        source=run.source,
        training=source.training,
        takes=source.takes,
        bridge=run.bridge,
        method=method,
        target=run.target,
        gives=target.gives,
        letters=target.letters,
        classes=facts["classes"],
        train=facts["train"],
        test=facts["test"],
        labels=int(labels or 0),
        seeds=len(own),
        parameters=own[0].trainable,
        seconds=float(np.mean([record.seconds for record in own])) * facts["processor_share"],
        memory_mib=facts["memory_mib"],
        **values,
    )


def _accuracy(records: list[Record], seeds: set[int]) -> float:
    """Return the mean accuracy of those seeds that the cell's arm has too, as its verdict pairs them."""
    return float(np.mean([record.metrics["accuracy"] for record in records if record.seed in seeds]))


def _validation(records: list[Record]) -> float:
    """Return what a pilot would have: the mean over three seeds of the best validation accuracy."""
    best = [np.nanmax(list(record.settings["validation"].values())) for record in records[:3]]
    return float(np.mean(best))


if __name__ == "__main__":
    sys.exit(main())
