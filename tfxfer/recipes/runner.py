"""Run a recipe: folder, device, kept records, progress, verdicts, saved model and report. A recipe gives the plan."""

import shutil
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import tfxfer
from tfxfer import report
from tfxfer.cache import code_key, data_dirs, key_of, sweep_caches
from tfxfer.config import RunConfig, TrainingConfig, deciding, probe_seeds
from tfxfer.data.spec import credit
from tfxfer.errors import TfxferError
from tfxfer.evaluate.augmentation import plain_name
from tfxfer.evaluate.comparison import PRIMARY, measure_name
from tfxfer.evaluate.explain import Explanation, explained
from tfxfer.evaluate.power import expectation
from tfxfer.evaluate.sequential import LEVEL, until_decided
from tfxfer.evaluate.split_rows import SplitRows
from tfxfer.experiment import Experiment, compare, earlier_records, with_verdicts
from tfxfer.in_use import use
from tfxfer.own_files import write_own_json
from tfxfer.recipes.augmentation import described, policy_of
from tfxfer.recipes.device import prepare
from tfxfer.recipes.panels.augmentation import augmentation_panel
from tfxfer.recipes.panels.checkpoints import checkpoint_panel
from tfxfer.recipes.panels.explain import explain_panel
from tfxfer.recipes.panels.forgetting import forgetting_panel
from tfxfer.recipes.panels.shift import shift_panel
from tfxfer.recipes.panels.train_sets import train_set_panels
from tfxfer.recipes.panels.transfer_gain import transfer_gain_panel
from tfxfer.recipes.parts import EXPLANATION, budget_of, chosen_parts
from tfxfer.recipes.recipe import Plan, Recipe
from tfxfer.recipes.source_seeds import build, source_seeds
from tfxfer.recipes.train_sets import check_used, contrasts_of, said_of, with_first
from tfxfer.records import Comparison, Record
from tfxfer.report.panel import Panel, write_panels
from tfxfer.runs import Run, peak_memory_mib
from tfxfer.transfer.knowledge.question_batches import TruncationWarning


def run(recipe: Recipe, config: Any) -> Path:
    """Run the experiment that a config describes; return the run's folder.

    Raises:
        UserError: The request cannot be carried out.
        TfxferError: No arm gave an answer; the report is written all the same.
    """
    config = recipe.resolve(config)
    this = Run(recipe.name, config)
    try:
        sweep_caches(data_dirs(config.data_dir).own)
        this.say(f"tfxfer {tfxfer.__version__} · {recipe.title} · {prepare(config)} · {this.folder}")
        if config.smoke:
            this.say("smoke run: very little data, so its figures mean nothing")
        warnings.simplefilter("ignore", TruncationWarning)  # a recipe counts what is cut over whole data sets
        plan = build(recipe, config, this)
        check_used(training_of(config).train_set, plan.train_sets)
        if plan.dataset is not None:
            SplitRows.of(plan.dataset, plan.test_rows).save(this.folder)
        with this.phase("arms"):
            kept = records_folder(config, *plan.keys, *checkpoint_key(config))
            shared = [] if config.fresh else data_dirs(config.data_dir).shared("records", kept.name)
            if config.explain:
                chosen_parts(plan, config)  # refuses an unknown name before the arms run
            comparison = run_all(recipe, plan, config, this, kept, shared)
            found = explained_by_parts(recipe, plan, config, comparison, this, kept, shared)
        with this.phase("saving and report"):
            panels = plan.panels
            if has_model(comparison, this):
                plan.save(this.folder)
                panels += plan.diagnose(comparison)
            gain = transfer_gain_panel(comparison, plan.texts, plan.drawn)
            panels += (gain,) if gain else ()
            panels += (explain_panel(found),) if found else ()
            panels += other_set_panels(comparison, plan, config)
            panels += curve_panels(comparison, config, this)
            sets = train_set_panels(comparison, plan.train_sets)
            for sentence in with_first(plan.train_sets, sets[0].points if sets else ()):
                this.say(sentence)
            panels += sets
            copied = described(recipe.arms, comparison.arms, policy_of(config))
            known = {"arms": {**recipe.arms, **copied}}
            helped = augmentation_panel(replace(comparison, about=known), policy_of(config))
            panels += (helped,) if helped else ()
            write_panels(this.folder, panels)
        said = about(recipe, config)
        said["arms"] |= {**copied, **said_of(plan.train_sets)}
        whole = comparison.about | said | {"cautions": this.cautions}
        conclude(replace(comparison, about=whole), this)
        return this.folder
    finally:
        this.close()


def run_all(recipe: Recipe, plan: Plan, config: Any, this: Run, kept: Path, shared: Sequence[Path] = ()) -> Comparison:
    """Run all arms with the seeds that the config asks for, or with more and more until it is decided."""
    whole = experiment(recipe, plan, config)
    if config.seeds != "auto":
        say_what_is_known(whole, this, (kept, *shared))
        return run_arms(whole, this, kept, shared)
    whole = replace(whole, probe_seeds=())
    say_what_is_known(whole, this, (kept, *shared), LEVEL)

    def run_with(seeds: int) -> Comparison:
        return run_arms(replace(whole, seeds=whole.seeds[:seeds]), this, kept, shared)

    return with_verdicts(until_decided(run_with, config.margin, this.say))


def explained_by_parts(
    recipe: Recipe, plan: Plan, config: Any, comparison: Comparison, this: Run, kept: Path, shared: Sequence[Path] = ()
) -> Explanation | None:
    """Run transfer without each part, at one budget and with transfer's seeds; None unless `--explain` asks for it.

    The records are kept beside those of the arms. The explanation is written into the run's folder.
    """
    if not config.explain:
        return None
    parts, budget = chosen_parts(plan, config), budget_of(plan, config)
    seeds = tuple(record.seed for record in comparison.select(PRIMARY[0], budget))
    if not seeds:
        this.say("explain: transfer has no result at this budget, so no part is left out", style="red")
        return None
    arms = tuple(replace(part.arm, budgets=None, one_seed=False) for part in parts)
    this.say(f"explain: {len(parts)} parts are left out, one at a time: {', '.join(part.name for part in parts)}")
    whole = experiment(recipe, plan, config)
    without = run_arms(
        replace(whole, arms=arms, budgets=(budget,), seeds=seeds, probe_seeds=(), contrasts=()), this, kept, shared
    )
    own = {arm.name for arm in arms}
    records = tuple(record for record in comparison.records if record.arm not in own) + without.records
    names = {part.arm.name: (part.name, part.family) for part in parts}
    found = explained(replace(comparison, records=records), names, budget)
    write_own_json(this.folder / EXPLANATION, found.to_dict())
    this.say(str(found))
    return found


def experiment(recipe: Recipe, plan: Plan, config: Any) -> Experiment:
    """Return the experiment of a plan, with the arms and seeds that the config asks for."""
    return Experiment(
        title=plan.title,
        class_names=plan.class_names,
        labels=plan.labels,
        arms=tuple(arm for arm in plan.arms if arm.asked or plain_name(arm.name) in config.arms),
        budgets=plan.budgets,
        seeds=tuple(range(config.seed, config.seed + config.most_seeds)),
        source_seeds=source_seeds(recipe, config),
        probe_seeds=tuple(range(config.seed, config.seed + probe_seeds(config))),
        examples=plan.examples,
        measures=plan.measures,
        unit=plan.unit,
        recipe=recipe.name,
        contrasts=recipe.contrasts + plan.contrasts + contrasts_of(plan.train_sets),
    )


def about(recipe: Recipe, config: RunConfig) -> dict[str, Any]:
    """Return what the report says about the recipe: equation, explanation and what each arm is there for."""
    return {
        "equation": recipe.equation,
        "explanation": recipe.explanation,
        "arms": dict(recipe.arms),
        "smoke": config.smoke,
        "credits": credits_of(recipe.data(config)),
        **({} if config.margin is None else {"margin": config.margin}),
    }


def credits_of(specs: Sequence[str | None]) -> list[str]:
    """Return who made the built-in data that a run used, each set once: "emoji: emoji designed by …"."""
    found = {credit(spec): spec.partition("/")[0] for spec in specs if spec and credit(spec)}
    return [f"{name}: {text}" for text, name in found.items()]


def checkpoint_key(config: Any) -> tuple[str, ...]:
    """Return what `--checkpoints` adds to the key of records: one without them cannot stand for one that has them."""
    count = training_of(config).checkpoints
    return (f"checkpoints {count}",) if count else ()


def training_of(config: Any) -> TrainingConfig:
    """Return a recipe's training; one that trains no network has the default, without checkpoints."""
    return getattr(config, "training", TrainingConfig())


def other_set_panels(comparison: Comparison, plan: Plan, config: Any) -> tuple[Panel, ...]:
    """Return the panels of other test sets: that of `--shift`, and the source's own task after fine-tuning."""
    shift = getattr(config, "shift", None)
    made = (
        shift_panel(comparison, shift) if shift else None,
        forgetting_panel(comparison, plan.source_score, plan.unscored),
    )
    return tuple(panel for panel in made if panel)


def curve_panels(comparison: Comparison, config: Any, this: Run) -> tuple[Panel, ...]:
    """Return the panel of `--checkpoints`; say so when none was scored."""
    panel = checkpoint_panel(comparison, training_of(config).schedule)
    if panel is None and training_of(config).checkpoints:
        this.say("--checkpoints: no two arms that are compared trained a network here, so there is no curve")
    return (panel,) if panel else ()


def records_folder(config: RunConfig, *keys: str) -> Path:
    """Return the folder of finished records, named after everything that decides one: config, data, models, code.

    Args:
        config: Any recipe's; options that say only how much is run are no part of the name (`option(decides=False)`).
        keys: Fingerprints of data and models.
    """
    folder = data_dirs(config.data_dir).own / "records" / key_of(deciding(config), *keys, code_key())
    if config.fresh:
        shutil.rmtree(folder, ignore_errors=True)
    use(folder)
    return folder


def run_arms(experiment: Experiment, this: Run, kept: Path, shared: Sequence[Path] = ()) -> Comparison:
    """Run all arms with a progress bar; a line for each that failed. `kept` and `shared` as for `compare`."""
    with this.progress() as bar:
        task = bar.add_task("running the arms", total=None, note="")

        def on_record(record: Record, done: int, total: int) -> None:
            score = next((f"{record.metrics[m]:.3f}" for m in experiment.measures if m in record.metrics), "failed")
            where = f"{record.arm}, {record.budget} {experiment.unit}, seed {record.seed}"
            bar.update(task, completed=done, total=total, note=f"{where}: {score}")
            row = {"budget": record.budget, "seed": record.seed, "status": record.status, "seconds": record.seconds}
            this.metric("arm", arm=record.arm, **row, **record.metrics)
            if record.status == "failed":
                this.say(f"arm failed: {where}: {record.error}", style="red")

        return compare(experiment, on_record=on_record, kept=kept, shared=shared)


def say_what_is_known(experiment: Experiment, this: Run, folders: Sequence[Path], level: float = 0.95) -> None:
    """Say how many records are at hand, and what a run will be able to find by those with other seeds."""
    count = len({path.name for folder in folders for path in folder.glob("[!.]*.npz")})
    if count:
        this.say(f"{count} finished records of this experiment are at hand and not run again (--fresh runs them)")
    expected = expectation_sentence(experiment, folders, level)
    if expected:
        this.say(expected)


def expectation_sentence(experiment: Experiment, folders: Sequence[Path], level: float = 0.95) -> str | None:
    """Return what the primary comparison will be able to find, by earlier records with other seeds; None without."""
    arms = [arm for arm in experiment.arms if arm.name in PRIMARY]
    runs = [len(experiment.probe_seeds if arm.probe and experiment.probe_seeds else experiment.seeds) for arm in arms]
    if len(arms) < len(PRIMARY) or experiment.source_seeds > 1:
        return None
    earlier = earlier_records(experiment, folders, PRIMARY)
    known = {record.seed for record in earlier.records}
    if len(known) < 2 or set(range(min(experiment.seeds), min(experiment.seeds) + min(runs))) <= known:
        return None  # nothing is known, or nothing is run again
    found = expectation(earlier, experiment.budgets, min(runs), level=level)
    if found is None:
        return None
    return (
        f"power: with {min(runs)} seeds, {' against '.join(PRIMARY)} will find a true difference of {found[0]:.3f} "
        f"{measure_name(experiment.measures[0])} in 80 % of cases, by {found[1]} earlier seeds of this experiment"
    )


def has_model(comparison: Comparison, this: Run) -> bool:
    """Return whether `transfer` succeeded at the greatest budget with the first seed; say so when it did not."""
    seeds = [record.seed for record in comparison.select("transfer", max(n or 0 for n in comparison.budgets))]
    found = min(record.seed for record in comparison.records) in seeds
    if not found:
        this.say("no model is saved: the transfer arm has no result at the greatest budget", style="red")
    return found


def conclude(comparison: Comparison, this: Run) -> None:
    """Write the records and the report; end with the table, the verdict and the path.

    Raises:
        TfxferError: No arm gave an answer; the report is written all the same.
    """
    costs = {**this.costs, "peak_memory_mib": peak_memory_mib()}
    comparison = replace(comparison, costs=costs)
    comparison.save(this.folder)
    page = report.write(this.folder)
    report.terminal(comparison, this.console)
    this.say(f"report: {page}")
    if all(record.status == "failed" for record in comparison.records):
        raise TfxferError(f"every arm failed; the first error: {comparison.records[0].error}")
