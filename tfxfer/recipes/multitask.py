"""Several tasks over one image encoder: y_t = h_t(φ(x)), φ shared, a head h_t for each task t.

    φ    the body: by default a CNN that learned to tell other characters apart; it is trained further
    h_t  a head for each task: classes of the image, a caption word by word, answers to questions
    L    Σ w_t·L_t, with w given, learned by uncertainty, or set by GradNorm

Command:   python -m tfxfer.train multitask --tasks classify,caption,vqa
Replay:    python -m tfxfer.train multitask --config runs/multitask-<time>/config.yaml
Expected:  each task alone .43 accuracy of classes, .32 token F1 of captions and .57 accuracy of answers; all together
           +.02, −.01 and +.01, no evidence after Holm's adjustment. Over random weights +.04 and +.07 accuracy of
           classes and answers (helped). 192 s from an empty cache on 2 CPU cores; seeds 0, 1, 2 (docs/multitask.md).

Each task alone, with the same steps and the same examples in each step, says whether the others helped it. The report
draws a matrix of who helped whom (docs/multitask.md).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tfxfer.config import RunConfig, SourceConfig, TargetConfig, TrainingConfig, VQAHeadConfig, option, section
from tfxfer.data import spec as data_spec
from tfxfer.errors import UserError, suggest
from tfxfer.models import spec as model_spec
from tfxfer.recipes.checks import check_source, check_target, folders
from tfxfer.recipes.predictors import TASKS
from tfxfer.recipes.recipe import Plan, Recipe
from tfxfer.recipes.sections import image_encoder_section
from tfxfer.runs import Run

if TYPE_CHECKING:
    from tfxfer.tasks.multitask import Tasks

KINDS = ("classify", "caption", "vqa")
ALONE = {"classify": "feature", "caption": "captioning", "vqa": "vqa"}  # kind -> the recipe of this task alone
WEIGHTINGS = ("fixed", "uncertainty", "gradnorm", "auto")
ARMS: dict[str, Any] = {
    "transfer": "The method under study: all tasks together, over one pretrained body.",
    "random": "As transfer, over a body with fresh random weights. If this does as well, the pretraining of the body "
    "did not matter. It is the main control.",
    "alone": {
        "text": "Each task with a body of its own, from the same start, with the same steps and the same examples in "
        "each step. If this does as well, the tasks did not help one another.",
        "phrase": "each task alone",
        "role": "control",
    },
    "pairs": {
        "text": "Each two tasks together. The score of a task is the mean over its partners; the matrix has each of "
        "them.",
        "phrase": "the tasks in pairs",
        "role": "control",
    },
    "alone_random": {
        "text": "As alone, over bodies with fresh random weights.",
        "phrase": "each task alone over a fresh body",
        "role": "control",
    },
    "typical": {
        "text": "No network: the most frequent class, the most typical training caption, the most frequent answer to "
        "the same question. Anything useful must beat it.",
        "phrase": "the most frequent class, caption and answer",
        "role": "naive baseline",
    },
}


@dataclass(frozen=True)
class MultiTaskConfig(RunConfig):
    """Multi-task learning y_t = h_t(φ(x)): one body, a head for each task."""

    image_encoder: SourceConfig = image_encoder_section()
    target: TargetConfig = section(
        TargetConfig("glyphs/by_character", max_validation=200),
        "target",
        group="target",
        help={"spec": "images with what the tasks need: glyphs, csv:PATH, jsonl:PATH, tfds:NAME"},
        leave_out=("text", "leave_out"),
        common=("spec", "label", "question", "answer", "caption"),
    )
    head: VQAHeadConfig = section(VQAHeadConfig(dim=64), group="model")
    training: TrainingConfig = section(
        TrainingConfig(steps=160, batch_size=16, learning_rates=(3e-3, 1e-2)),
        group="training",
        leave_out=("epochs", "steps_scaling", "train_set"),
    )
    tasks: tuple[str, ...] = option(
        KINDS,
        "two or more of classify, caption and vqa; classify:COLUMN names the column of its classes, and may be given "
        "for several columns",
        group="target",
        common=True,
    )
    task_data: tuple[str, ...] = option(
        (), "data sets of single tasks, TASK=SPEC, where that is not --target", group="target"
    )
    sampling: str = option(
        "uniform",
        "examples of each task in a batch, in proportion to n^τ of its n examples: uniform (τ = 0), proportional "
        "(τ = 1) or temperature:τ; --batch-size is the mean over the tasks",
        group="training",
    )
    loss_weights: str = option(
        "fixed",
        "weights of the tasks' losses: fixed (all 1), a number for each task such as 1,0.5,2, uncertainty (learned), "
        "gradnorm, or auto (of these three the one that validates best)",
        group="training",
        common=True,
    )
    max_length: int = option(
        14,
        "tokens of a caption or question; longer ones are cut",
        group="model",
        at_least=3,
        at_most=512,
        why="leaves no room for a caption, or takes more memory than there is; give 3 to 512",
    )
    max_answers: int = option(
        1000, "answers that are classes, the most frequent first (0: all); others count as wrong", group="target"
    )
    images: tuple[int, ...] = option(
        (400,), "budgets: training images of each data set", group="arms", common=True, at_least=1
    )
    arms: tuple[str, ...] = option(
        tuple(name for name in ARMS if name != "alone_random"),
        "what runs side by side",
        tuple(ARMS),
        group="arms",
        decides=False,
    )


def check(config: MultiTaskConfig) -> None:
    """Check what can be checked without TensorFlow; raises `UserError`."""
    check_tasks(config.tasks)
    given_weights(config)
    sampling_exponent(config.sampling)
    encoder = config.image_encoder
    check_source(encoder, config, "image_encoder")
    if model_spec.is_model(encoder.spec):
        parsed = model_spec.parse(encoder.spec)
        if parsed.kind == "fresh" and not parsed.name.startswith("cnn"):
            raise UserError(f"--image-encoder {encoder.spec}: has no feature map; use fresh:cnn")
        if parsed.fresh and "random" in config.arms:
            raise UserError(
                f"--image-encoder {encoder.spec}: has random weights, so random is the same as transfer; leave random "
                "out of --arms"
            )
    check_target(config.target, config, "image", "caption", "question", "answer", "label")
    for task, spec in task_specs(config).items():
        column = task.partition(":")[2]
        if column or spec != config.target.spec:
            given: dict[str, Any] = folders(config) | ({"label": column} if column else {})
            data_spec.check(spec, **given)
    if config.training.steps < 1:
        raise UserError("--steps 0: nothing would be learned; give 1 or more")
    if config.head.dim % config.head.heads:
        raise UserError(f"--heads {config.head.heads}: does not divide --dim {config.head.dim}")
    if "transfer" not in config.arms:
        raise UserError("--arms: 'transfer' is the method under study and must be among them")


def check_tasks(tasks: tuple[str, ...]) -> None:
    """Raise `UserError` for a task that there is not, one that is there twice, or one alone."""
    for task in tasks:
        kind, colon, column = task.partition(":")
        if kind not in KINDS:
            raise UserError(
                f"--tasks {task}: there is no such task; {suggest(kind, KINDS)} (there are: {', '.join(KINDS)})"
            )
        if colon and (kind != "classify" or not column.strip() or "/" in column):
            raise UserError(f"--tasks {task}: only classify takes a column, as in classify:shape; leave the rest out")
    twice = next((task for i, task in enumerate(tasks) if task in tasks[:i]), None)
    if twice:
        raise UserError(f"--tasks: {twice} is there twice; name each task once")
    if len(tasks) == 1:
        kind = tasks[0].partition(":")[0]
        raise UserError(
            f"--tasks {tasks[0]}: one task has nothing to share; give two or more, such as --tasks classify,vqa, or "
            f"use `tfxfer train {ALONE[kind]}`"
        )


def task_specs(config: MultiTaskConfig) -> dict[str, str]:
    """Return task → spec of its data set; raises `UserError` where --task-data does not fit."""
    found = dict.fromkeys(config.tasks, config.target.spec)
    for given in config.task_data:
        task, equals, spec = given.partition("=")
        if not equals or not spec:
            raise UserError(f"--task-data {given}: write TASK=SPEC, such as caption=captions:notes.csv")
        if task not in found:
            raise UserError(f"--task-data {given}: {task} is none of --tasks; {suggest(task, found)}")
        found[task] = spec
    return found


def given_weights(config: MultiTaskConfig) -> dict[str, float]:
    """Return task → the weight that --loss-weights gives it; 1 for each where it gives a method.

    Raises:
        UserError: It is neither a method nor a positive number for each task.
    """
    given = config.loss_weights
    if given in WEIGHTINGS:
        return dict.fromkeys(config.tasks, 1.0)
    try:
        values = [float(one) for one in given.split(",")]
    except ValueError:
        raise UserError(
            f"--loss-weights {given}: give {', '.join(WEIGHTINGS)} or a number for each task; "
            f"{suggest(given, WEIGHTINGS)}"
        ) from None
    if len(values) != len(config.tasks):
        raise UserError(
            f"--loss-weights {given}: {len(values)} numbers for {len(config.tasks)} tasks; give one for each of "
            f"{', '.join(config.tasks)}"
        )
    wrong = next(((task, one) for task, one in zip(config.tasks, values) if not 0 < one < float("inf")), None)
    if wrong:
        raise UserError(f"--loss-weights {given}: {wrong[0]} has {wrong[1]:g}; a weight is a number above 0")
    return dict(zip(config.tasks, values))


def sampling_exponent(sampling: str) -> float:
    """Return τ of --sampling, from 0 to 1; raises `UserError`.

    >>> sampling_exponent("temperature:0.5")
    0.5
    """
    name, _, number = sampling.partition(":")
    try:
        found = {"uniform": 0.0, "proportional": 1.0}[name] if not number else float(number)
        if 0 <= found <= 1 and (not number or name == "temperature"):
            return found
    except (KeyError, ValueError):
        pass
    raise UserError(f"--sampling {sampling}: give uniform, proportional, or temperature:τ with τ from 0 to 1")


def build(config: MultiTaskConfig, run: Run) -> Plan:
    """Load the body and the examples of all tasks, and lay out the arms."""
    import numpy as np

    from tfxfer.cache import key_of
    from tfxfer.recipes.panels.multitask import matrix_panel, parameter_panel, weights_panel
    from tfxfer.recipes.vqa import load_image_encoder
    from tfxfer.tasks.multitask import heads_of, load_data, load_tasks, measure_of
    from tfxfer.transfer.graph import fingerprint

    data = load_data(task_specs(config), config.target, config, run)  # before anything is trained for it
    first = next(iter(data.values()))[0]
    encoder, shape = load_image_encoder(config, first, run)  # type: ignore[arg-type]
    tasks = load_tasks(data, config.target, shape, max(config.images), run)
    heads = heads_of(tasks, config.max_answers, config.max_length, run)
    transfer, arms, sizes, parameters = multitask_arms(encoder, shape, heads, tasks, config, run)
    measures = {task: measure_of(task) for task in tasks.names}

    def panels(comparison: Any) -> tuple[Any, ...]:
        made = (
            matrix_panel(comparison, measures, sizes),
            parameter_panel(parameters),
            weights_panel(comparison, config.loss_weights),
        )
        return tuple(panel for panel in made if panel)

    prints = [labels.fingerprint for _, labels in data.values()]
    return Plan(
        title=f"{' + '.join(config.tasks)}: {config.target.spec}",
        arms=arms,
        budgets=tuple(sorted(config.images)),
        keys=(first.fingerprint, fingerprint(encoder), key_of([*map(repr, heads), *prints])),
        labels=np.zeros(len(tasks.truths()), np.int32),
        dataset=first,
        test_rows=tuple(f"{i} {text}" for i, text in enumerate(tasks.truths())),
        examples=tasks.shown(),
        measures=tuple(measures.values()),
        unit="images",
        save=lambda folder: transfer.final_model().save(folder),
        diagnose=panels,
    )


def multitask_arms(
    encoder: Any, shape: Any, heads: Any, tasks: "Tasks", config: MultiTaskConfig, run: Run
) -> tuple[Any, tuple[Any, ...], dict[str, int], dict[str, dict[str, int]]]:
    """Return the arm under study, all arms, the examples of each task in a batch, and the parameters of each task."""
    from functools import lru_cache
    from itertools import combinations

    from tfxfer.arms.logging import report_training
    from tfxfer.arms.multitask import ChosenArm, Encoded, MultiTaskArm, SeveralArms, typical
    from tfxfer.experiment import Arm
    from tfxfer.models.fresh import fresh_copy
    from tfxfer.models.randomness import set_initializer_seed
    from tfxfer.transfer.graph import clone
    from tfxfer.transfer.knowledge.loss_weights import batch_sizes
    from tfxfer.transfer.knowledge.multitask import MultiTask
    from tfxfer.transfer.knowledge.multitask_training import MultiTaskTraining

    given, keep = given_weights(config), (max(config.images), config.seed)
    starts_fresh = config.image_encoder.spec.startswith("fresh:")
    counts = {task: len(each.answers) for task, each in tasks.examples["train"].items()}
    sizes = batch_sizes(counts, config.training.batch_size, sampling_exponent(config.sampling))

    def build_model(seed: int, fresh: bool) -> MultiTask:
        body = fresh_copy(encoder, seed) if fresh or starts_fresh else clone(encoder)
        set_initializer_seed(seed)
        return MultiTask(body, heads, shape, config.head)

    whole = build_model(config.seed, False)
    encoded = Encoded(whole, tasks)

    @lru_cache(maxsize=16)
    def values(seed: int, fresh: bool) -> dict[int, Any]:
        new = build_model(seed, fresh).weights()
        return {id(old): weight.numpy() for old, weight in zip(whole.weights(), new, strict=True)}

    @lru_cache(maxsize=32)
    def network(names: tuple[str, ...], weighting: str) -> tuple[Any, list[Any]]:
        """Return what trains some tasks, compiled once for all arms, and its weights before any training."""
        made = MultiTaskTraining(whole, names, weighting if len(names) > 1 else "fixed", given)
        return made, made.get_weights()

    def one(label: str, names: tuple[str, ...], fresh: bool, weighting: str) -> MultiTaskArm:
        trains, first = network(names, weighting)

        def start(seed: int) -> list[Any]:
            known = values(seed, fresh)
            return [known.get(id(variable), own) for variable, own in zip(trains.weights, first)]

        return MultiTaskArm(
            encoded, trains, start, sizes, config.training, keep, config.jit, report_training(run, label)
        )

    def arm(label: str, names: tuple[str, ...], fresh: bool = False) -> Any:
        if config.loss_weights != "auto" or len(names) == 1:
            how = config.loss_weights if config.loss_weights in WEIGHTINGS[:3] else "fixed"
            return one(label, names, fresh, how)
        return ChosenArm({how: one(f"{label}, {how}", names, fresh, how) for how in WEIGHTINGS[:3]})

    def several(label: str, groups: Any, fresh: bool = False) -> SeveralArms:
        return SeveralArms([arm(f"{label} {'+'.join(names)}", names, fresh) for names in groups])

    single = [(task,) for task in tasks.names]
    runs = {
        "transfer": arm("transfer", tasks.names),
        "random": arm("random", tasks.names, fresh=True),
        "alone": several("alone", single),
        "alone_random": several("alone_random", single, fresh=True),
    }
    if len(tasks.names) > 2:  # of two tasks, the pair is transfer
        runs["pairs"] = several("pairs", combinations(tasks.names, 2))
    arms = [Arm(name, runs[name], recall=runs[name].recall) for name in ARMS if name in runs]
    arms.append(Arm("typical", typical(encoded)))
    return runs["transfer"], tuple(arms), sizes, whole.parameters()


RECIPE = Recipe(
    name="multitask",
    title="several tasks over one body",
    equation="y_t = h_t(φ(x))",
    explanation=(
        "φ is an image encoder that all tasks share, and h_t is the head of task t: classes, a caption, or an answer "
        "to a question. All train at once, on the weighted sum of their losses. The question is whether the tasks help "
        "one another: each is judged beside the same task alone, with the same steps and examples."
    ),
    config=MultiTaskConfig,
    arms=ARMS,
    check=check,
    data=lambda config: (config.target.spec, config.image_encoder.spec, *task_specs(config).values()),
    build=build,
    predictors={"MultiTask": TASKS},
    smoke={
        "image_encoder_epochs": 1,
        "image_encoder_max_examples": 256,
        "images": (16,),
        "seeds": 2,
        "steps": 2,
        "batch_size": 4,
        "learning_rates": (1e-3,),
        "max_validation": 12,
        "max_test": 24,
        "dim": 16,
    },
    aliases={
        "encoder": "image_encoder",
        "encoder_label": "image_encoder_label",
        "encoder_epochs": "image_encoder_epochs",
    },
)
