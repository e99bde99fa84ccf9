"""Visual question answering: K = f(X)·g(Y) + h(X, Y) over a feature map and a question, pooled to an answer.

    f   the image encoder: by default a CNN that learned to tell other characters apart, frozen
    g   the text encoder: by default a BERT that learned names of characters, trained further
    h   cross-attention of the question's tokens to the positions of the feature map
    K   pooled over the positions: by default answers to questions about characters of no training split

Command:   python -m tfxfer.train vqa
Replay:    python -m tfxfer.train vqa --config runs/vqa-<time>/config.yaml
Expected:  transfer − random +.04 to +.06 accuracy, by the processor (helped); a bag of words with raw pixels as good
           or better by about .05. One linear model over the same encoder is better than the network: about .62 and
           .67 at 300 and 1,500 images, for .55 to .57. Three to four minutes on 2 CPU cores; seeds 0, 1, 2
           (docs/results-vqa.md).

A question often suffices to guess the answer. So an arm that gets the question alone stands beside the transfer, and an
image ablation shows what the model does without the correct image.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tfxfer.config import (
    AugmentConfig,
    RunConfig,
    SourceConfig,
    TargetConfig,
    TrainingConfig,
    VQAHeadConfig,
    option,
    section,
)
from tfxfer.data import spec as data_spec
from tfxfer.data.bad_items import BadItems
from tfxfer.data.tables import read_header, read_table
from tfxfer.errors import UserError
from tfxfer.models import spec as model_spec
from tfxfer.models.train_sets import arms_of
from tfxfer.recipes.augmentation import check_augment, chosen_policy, contrasts_of, of_pairs
from tfxfer.recipes.checks import (
    MASKED_WORDS,
    check_arms,
    check_language_model,
    check_no_prefix,
    check_source,
    check_target,
    unscored_words,
)
from tfxfer.recipes.parts import two_towers
from tfxfer.recipes.predictors import ANSWERS
from tfxfer.recipes.recipe import Plan, Recipe
from tfxfer.recipes.sections import SMOKE_SOURCES, image_encoder_section, language_model_section
from tfxfer.runs import Run

if TYPE_CHECKING:
    from tfxfer.experiment import Part

FORMS = "give glyphs, vqa:PATH, or csv:PATH or jsonl:PATH with an image, a question and an answer a row"
ARMS = {
    "transfer": "The method under study: a pretrained image encoder and a pretrained text encoder.",
    "random": "The same networks with fresh random weights. If this does as well, nothing was transferred. It is the "
    "main control.",
    "random_image_encoder": "As transfer, but the image encoder has fresh random weights. If this does as well, its "
    "pretraining did not matter.",
    "random_text_encoder": "As transfer, but the text encoder starts with fresh random weights. If this does as well, "
    "its pretraining did not matter.",
    "question_only": {
        "text": "The same network, trained and tested with the mean training image in place of every image. If this "
        "does as well, the model does not use its images.",
        "phrase": "the question without its image",
    },
    "shuffled": "The same training, with the questions about other images. If this does as well, the images taught "
    "nothing.",
    "prior": {
        "text": "No network: the most frequent training answer to the same question.",
        "phrase": "the most frequent answer to each question",
        "role": "naive baseline",
    },
    "linear": {
        "text": "One linear model, W·[question words, φ's positions] + b: logistic regression on a bag of words and "
        "the frozen image encoder's feature map. A network has to beat it to be worth its training.",
        "phrase": "the linear model over the same encoder",
        "role": "baseline",
    },
    "linear_random": {
        "text": "As linear, over an image encoder with fresh random weights. If this does as well as linear, what the "
        "encoder learned did not matter.",
        "phrase": "the linear model over random features",
        "role": "baseline",
    },
    "linear_by_type": {
        "text": "As linear, with a head for each type of question: its kind where the data has kinds, else its first "
        "two words. With one head an image says the same of every question.",
        "phrase": "the linear model with a head for each type of question",
        "role": "baseline",
    },
    "linear_by_type_random": {
        "text": "As linear_by_type, over an image encoder with fresh random weights.",
        "phrase": "the same heads over random features",
        "role": "baseline",
    },
    "native": "Logistic regression on a bag of words and raw pixels, without any transfer.",
    "majority": "Always gives the most frequent answer. Anything useful must beat it.",
}

NOT_BY_DEFAULT = ("random_image_encoder", "random_text_encoder", "linear_by_type", "linear_by_type_random")


@dataclass(frozen=True)
class VQAConfig(RunConfig):
    """Knowledge transfer K = f(X)·g(Y) + h(X, Y), pooled: questions about images, answered by classes."""

    image_encoder: SourceConfig = image_encoder_section()
    language_model: SourceConfig = language_model_section(
        "the text encoder (or small: an untrained bag of words)", spec="names", epochs=2, max_examples=8000
    )
    target: TargetConfig = section(
        TargetConfig("glyphs/by_character"),
        "target",
        group="target",
        help={"spec": "images with questions: glyphs, csv:PATH, jsonl:PATH, tfds:NAME"},
        leave_out=("text", "label", "caption", "leave_out"),
        common=("spec", "question", "answer"),
    )
    head: VQAHeadConfig = section(VQAHeadConfig(dim=64), group="model")
    training: TrainingConfig = section(
        TrainingConfig(steps=80, batch_size=64, learning_rates=(3e-4, 1e-3, 3e-3, 1e-2, 3e-2)),
        group="training",
        leave_out=("epochs", "steps_scaling"),
    )
    train_encoder: bool = option(False, "train the image encoder too; it may then start as fresh:cnn", group="model")
    max_length: int = option(
        20,
        "tokens of a question, its begin and end among them; longer ones are cut and counted",
        group="model",
        at_least=3,
        why="leaves no room for a word between begin and end; give 3 or more",
    )
    max_answers: int = option(
        1000, "answers that are classes, the most frequent first (0: all); others count as wrong", group="target"
    )
    images: tuple[int, ...] = option(
        (300, 1500),
        "budgets: images in training, each with all its questions",
        group="arms",
        common=True,
        at_least=1,
    )
    arms: tuple[str, ...] = option(
        tuple(name for name in ARMS if name not in NOT_BY_DEFAULT),
        "what runs side by side",
        tuple(ARMS),
        group="arms",
        decides=False,
    )
    controls_at: tuple[int, ...] = option(
        (),
        "budgets at which random_image_encoder, random_text_encoder, question_only and shuffled run (default: the "
        "greatest)",
        group="arms",
        decides=False,
        at_least=1,
    )
    augment: AugmentConfig = section(AugmentConfig(), "augment", group="training")


def check(config: VQAConfig) -> None:
    """Check what can be checked without TensorFlow, the rows of a table too; raises `UserError`."""
    encoder = config.image_encoder
    check_source(encoder, config, "image_encoder")
    if model_spec.is_model(encoder.spec):
        parsed = model_spec.parse(encoder.spec)
        if parsed.fresh and not config.train_encoder:
            raise UserError(f"--image-encoder {encoder.spec}: has random weights; train it with --train-encoder")
        if parsed.kind == "fresh" and not parsed.name.startswith("cnn"):
            raise UserError(f"--image-encoder {encoder.spec}: has no feature map; use fresh:cnn")
    check_texts(config)
    if config.language_model.spec == "small":
        check_no_prefix(config, "--language-model small is new and has no Transformer blocks; give a text encoder")
        if config.training.train_set and not config.train_encoder:
            raise UserError("--train-set: nothing pretrained is trained here; give a text encoder or --train-encoder")
    target = check_target(config.target, config, "image", "question", "answer")
    if target.kind in data_spec.TABLES:
        check_rows(target, config)
    elif target.kind in ("names", "languages", "folder"):
        raise UserError(f"--target {config.target.spec}: has no questions about images; {FORMS}")
    if config.training.steps < 1:
        raise UserError("--steps 0: nothing would be learned; give 1 or more")
    if config.head.dim % config.head.heads:
        raise UserError(f"--heads {config.head.heads}: does not divide --dim {config.head.dim}")
    check_arms(config, "images")
    check_augment(config)
    chosen_policy(config, of_pairs(config, "answer"))


def check_texts(config: VQAConfig) -> None:
    """Check the text encoder's source; raises `UserError`."""
    small = config.language_model.spec == "small"
    if not small:
        check_source(config.language_model, config, "language_model")
        check_language_model(config.language_model, config.max_length)
    spec = config.image_encoder.spec
    nothing = small and model_spec.is_model(spec) and model_spec.parse(spec).fresh
    if nothing and "random" in config.arms:
        raise UserError(
            f"--image-encoder {spec} --language-model small: both are fresh, so nothing is transferred and random is "
            "the same; give one that learned something, or leave random out of --arms"
        )


def check_rows(parsed: data_spec.Spec, config: VQAConfig) -> None:
    """Read the table's questions and answers, and name the first row that cannot be used."""
    path = data_spec.existing_file(parsed)
    columns = config.target.columns("image", "question", "answer")
    given = {role: name for role, name in columns.items() if name}
    roles = data_spec.find_columns(given, read_header(path, parsed.kind), path.name)
    for role in columns:
        if role not in roles:
            raise UserError(f"{path.name}: has no {role} column; name it with --target-{role}")
    bad = BadItems(parsed.source, config.target.bad_items)
    table = read_table(path, parsed.kind, {role: roles[role] for role in ("question", "answer")}, bad)
    for role, values in table.values.items() if not bad.skipped else ():
        empty = next((row for row, value in enumerate(values) if not value.strip()), None)
        if empty is not None:
            name, place = roles[role][0], table.places(empty)
            raise UserError(f"{place}: the {role} ('{name}') is empty; fill it in or remove the row")
    answers = {" ".join(value.casefold().split()) for value in table.values["answer"]}
    if len(answers) < 2:
        raise UserError(
            f"{path.name}: every answer is '{answers.pop()}'; with one answer there is nothing to learn from an image"
        )


def build(config: VQAConfig, run: Run) -> Plan:
    """Load both encoders and the questions, and lay out the arms."""
    import numpy as np

    from tfxfer.cache import key_of
    from tfxfer.recipes.augmented_pairs import pair_gallery, questions_with_copies
    from tfxfer.recipes.diagnostics.vqa import question_panels
    from tfxfer.sources.load import load_language_model
    from tfxfer.sources.own_task import masked_words_task
    from tfxfer.tasks import visual_questions as task
    from tfxfer.transfer.graph import fingerprint

    dataset = task.load_target(config.target, config, run)  # before anything is trained for it
    language, own = None, None
    if config.language_model.spec != "small":
        model, tokenizer = load_language_model(config.language_model, config, run)
        language = getattr(model, "backbone", model), tokenizer
        own = masked_words_task(model, tokenizer, config.language_model, config, run)
    encoder, shape = load_image_encoder(config, dataset, run)
    questions = task.load_questions(dataset, config.target, shape, max(config.images), run)
    names = task.answer_names(questions["train"], config.max_answers)
    with run.phase("features"):
        transfer, arms, parts = vqa_arms(encoder, shape, language, questions, names, config, run)
        policy = chosen_policy(config, of_pairs(config, "answer"))
        augmented = questions_with_copies(policy, config, encoder, shape, arms, run)
        transfer.own_task = own
        drawn = transfer.examples(*transfer.keep).questions["train"]
    counts = task.count_unseen(questions, names, drawn, run)
    counts |= task.count_truncated(transfer.qa.text_tower.tokenizer, questions, run)
    text_key = fingerprint(language[0]) if language else "small"
    return Plan(
        title=f"{config.target.spec}: questions about images",
        arms=arms + augmented,
        budgets=tuple(sorted(config.images)),
        keys=(dataset.fingerprint, text_key, fingerprint(encoder), key_of(names)),
        labels=np.zeros(len(questions["test"].images), np.int32),
        dataset=dataset,
        test_rows=questions["test"].by_image(),
        examples=tuple(questions["test"].examples()),
        measures=(task.MEASURE, task.AGREEMENT) if questions["test"].people else (task.MEASURE,),
        unit="images",
        save=lambda folder: transfer.final_qa().save(folder),
        diagnose=lambda comparison: question_panels(transfer, comparison, counts, ARMS, run),
        parts=parts,
        source_score=MASKED_WORDS,
        unscored=unscored_words(config.language_model.spec, own) if language else "",
        panels=pair_gallery(policy, config, drawn.images, [[text] for text in drawn.about_each()]),
        contrasts=contrasts_of(augmented),
        train_sets=arms_of(config),
    )


def load_image_encoder(config: VQAConfig, dataset: Any, run: Run) -> tuple[Any, tuple[int, int, int]]:
    """Return the image encoder, and the images' height, width and channels as it takes them."""
    import tfxfer
    from tfxfer.sources.load import load_source

    stored, side = dataset.image_shape, config.target.image_size
    size = (side,) * 2 if side else stored[:2] if stored else (64, 64)
    channels = stored[2] if stored else next(iter(dataset.splits.values())).channels
    if config.image_encoder.spec.startswith("fresh:"):
        encoder = tfxfer.source(config.image_encoder.spec, input_shape=(*size, channels), seed=config.seed)
    else:
        encoder = load_source(config.image_encoder, config, run, image_size=side)
    height, width, channels = encoder.input.shape[1:]
    return encoder, (height or size[0], width or size[1], channels)


def vqa_arms(
    encoder: Any, shape: Any, language: Any, questions: Any, names: Any, config: VQAConfig, run: Run
) -> tuple[Any, tuple[Any, ...], tuple["Part", ...]]:
    """Return the arm under study, all arms, and the towers: one model, the same training, one thing changed."""
    from dataclasses import replace
    from functools import lru_cache

    import numpy as np

    from tfxfer.arms.logging import report_training
    from tfxfer.arms.vqa import VQAArm, VQAExamples
    from tfxfer.baselines import vqa as baselines
    from tfxfer.experiment import Arm
    from tfxfer.models.batching import in_batches
    from tfxfer.models.fresh import fresh_copy
    from tfxfer.models.randomness import set_initializer_seed
    from tfxfer.models.train_sets import key_of, train_sets_of, training_for
    from tfxfer.transfer.bridges.tokens import learn_vocabulary
    from tfxfer.transfer.graph import clone
    from tfxfer.transfer.knowledge import VisualQA, bert_tower, small_tower
    from tfxfer.transfer.knowledge.visual_qa import pooled_encoder
    from tfxfer.transfer.structure.train_set import changed, choose

    first, others = train_sets_of(config)
    words = [] if language else learn_vocabulary(questions["train"].texts, "words")

    def image_encoder(seed: int, fresh: bool = False) -> Any:
        """Return a fresh encoder, or the pretrained one (a copy of it where it trains)."""
        if fresh or config.image_encoder.spec.startswith("fresh:"):
            return fresh_copy(encoder, seed)
        return clone(encoder) if config.train_encoder else encoder

    def build_model(seed: int, fresh_images: bool = False, fresh_texts: bool = False, by: Any = first) -> VisualQA:
        images, pretrained = image_encoder(seed, fresh_images), []
        if language:
            bert = fresh_copy(language[0], seed) if fresh_texts else clone(language[0])
            tower = bert_tower(bert, language[1].vocabulary, config.max_length, language[1].lowercase)
        set_initializer_seed(seed)
        if not language:
            tower = small_tower(words, config.max_length, "words", config.head.dim)
        elif by:
            pretrained = list(tower.sequence.weights)
            tower = replace(tower, sequence=changed(tower.sequence, by, seed))
        if by and config.train_encoder and by.kind != "prefix":  # prompt tokens stand before texts
            pretrained += images.weights
            images = changed(images, by, seed)
        made = VisualQA(images, tower, names, shape, config.head, train_encoder=config.train_encoder)
        if by:
            choose(made.model, pretrained, by)
        return made

    qa, keep = build_model(config.seed), (max(config.images), config.seed)

    @lru_cache(maxsize=8)
    def start(fresh_images: bool, fresh_texts: bool, seed: int, by: Any = first) -> list[Any]:
        fresh_images = fresh_images and config.train_encoder  # a frozen encoder is none of the weights that train
        return [np.array(weight) for weight in build_model(seed, fresh_images, fresh_texts, by).model.get_weights()]

    def encode(each: Any) -> Any:
        return qa.encode(each.images, each.texts, each.answers, each.image_index)

    @lru_cache(maxsize=1)
    def held() -> dict[str, Any]:
        return {split: encode(questions[split]) for split in ("validation", "test")}

    @lru_cache(maxsize=4)
    def drawn(budget: int | None, seed: int) -> Any:
        return questions | {"train": questions["train"].drawn(budget, seed)}

    @lru_cache(maxsize=4)
    def examples(budget: int | None, seed: int) -> VQAExamples:
        return VQAExamples(drawn(budget, seed), {"train": encode(drawn(budget, seed)["train"]), **held()})

    @lru_cache(maxsize=4)
    def by_random_encoder(budget: int | None, seed: int) -> VQAExamples:
        found = examples(budget, seed)
        if config.train_encoder:  # then the model takes images, and its own encoder starts fresh
            return found
        maps = in_batches(pooled_encoder(image_encoder(seed, fresh=True), shape))
        batches = {s: b._replace(images=maps(found.questions[s].images)) for s, b in found.batches.items()}
        return VQAExamples(found.questions, batches)

    arms_from: dict[str, tuple[bool, bool, Any]] = {  # arm -> fresh image encoder, fresh text encoder, examples
        "transfer": (False, False, examples),
        "random": (True, True, by_random_encoder),
        "random_image_encoder": (True, False, by_random_encoder),
        "random_text_encoder": (False, True, examples),
        "question_only": (False, False, lambda budget, seed: examples(budget, seed).blind()),
        "shuffled": (False, False, lambda budget, seed: examples(budget, seed).shuffled(seed)),
    }

    def arm_of(name: str, own: VisualQA, images: bool, texts: bool, given: Any, by: Any) -> VQAArm:
        training, report = training_for(config, by), report_training(run, name)
        return VQAArm(own, lambda seed: start(images, texts, seed, by), given, training, keep, config.jit, report)

    trained = {name: arm_of(name, qa, *how, first) for name, how in arms_from.items()}
    at = config.controls_at or (max(config.images),)
    arms = [
        Arm(name, arm, None if name in ("transfer", "random") else at, recall=arm.recall, key=key_of(first))
        for name, arm in trained.items()
    ]
    for by in others:
        arm = arm_of(by.arm, build_model(config.seed, by=by), False, False, examples, by)
        arms.append(Arm(by.arm, arm, recall=arm.recall, asked=True))
    towers = two_towers({arm.name: arm for arm in arms}, images=trained_images(config), texts=language is not None)
    plain: dict[str, Any] = {
        "prior": baselines.prior,
        "native": lambda drawn: baselines.native(drawn, names),
        "majority": baselines.majority,
    }

    def answered(how: Any) -> Any:
        return lambda budget, seed: how(drawn(budget, seed))

    arms += [Arm(name, answered(how)) for name, how in plain.items()]

    def frozen_maps(budget: int | None, seed: int) -> dict[str, Any] | None:
        """Return the maps that the network gets; None where it trains the encoder further and gets images."""
        return None if config.train_encoder else {s: b.images for s, b in examples(budget, seed).batches.items()}

    every = (*arms, *linear_arms(encoder, shape, drawn, frozen_maps, names, config, at))
    return trained["transfer"], every, towers


def trained_images(config: VQAConfig) -> bool:
    """Return whether the image encoder has learned something, so that it can be left out."""
    spec = config.image_encoder.spec
    return not (model_spec.is_model(spec) and model_spec.parse(spec).fresh)


def explains(config: VQAConfig) -> tuple[str, ...]:
    """Return the kinds of parts that can be left out: the towers, if one of them has learned something."""
    return ("towers",) if trained_images(config) or config.language_model.spec != "small" else ()


def linear_arms(
    encoder: Any, shape: Any, drawn: Any, frozen_maps: Any, names: Any, config: VQAConfig, at: tuple[int, ...]
) -> tuple[Any, ...]:
    """Return the arms of a linear model, with one head and by type: over the encoder as it came, and random copies.

    Args:
        encoder: The image encoder.
        shape: (H, W, C) of its images.
        drawn: (budget, seed) -> the questions of the three splits.
        frozen_maps: (budget, seed) -> split -> feature maps where they are at hand, else None.
        names: The answers that are classes.
        config: Says how many seeds were asked for.
        at: Budgets of the control.
    """
    from functools import cache

    from tfxfer.baselines.vqa import linear, position_axes
    from tfxfer.experiment import Arm
    from tfxfer.models.batching import in_batches
    from tfxfer.models.fresh import cheap_to_repeat, fresh_copy
    from tfxfer.transfer.knowledge.visual_qa import pooled_encoder

    @cache
    def pretrained() -> Any:
        return in_batches(pooled_encoder(encoder, shape))

    def axes_by(maps_of: Any, budget: int | None, seed: int) -> Any:
        return position_axes({split: maps_of(each.images) for split, each in drawn(budget, seed).items()})

    @cache  # rows of 256 numbers are few; the maps would be many
    def known(budget: int | None, seed: int) -> Any:
        maps = frozen_maps(budget, seed)
        return position_axes(maps) if maps else axes_by(pretrained(), budget, seed)

    @cache
    def random(budget: int | None, seed: int) -> Any:
        return axes_by(in_batches(pooled_encoder(fresh_copy(encoder, seed), shape)), budget, seed)

    def arm(name: str, rows: Any, budgets: Any = None, by_type: bool = False) -> Arm:
        def answered(budget: int | None, seed: int) -> Any:
            return linear(drawn(budget, seed), names, rows(budget, seed), by_type)

        return Arm(name, answered, budgets, probe=cheap_to_repeat(encoder, config.probe_seeds))

    return (
        arm("linear", known),
        arm("linear_random", random, at),
        arm("linear_by_type", known, by_type=True),
        arm("linear_by_type_random", random, at, by_type=True),
    )


RECIPE = Recipe(
    name="vqa",
    title="visual question answering",
    equation="K = f(X) · g(Y) + h(X, Y)",
    explanation=(
        "f encodes an image and g encodes a question; their product gives a logit for each answer. h adds an "
        "interaction: the tokens of the question attend to the positions of the image's feature map. Both encoders "
        "were trained before, each on its own modality. The question is whether that helps to answer."
    ),
    config=VQAConfig,
    arms=ARMS,
    check=check,
    data=lambda config: (config.language_model.spec, config.target.spec, config.image_encoder.spec),
    build=build,
    predictors={"VisualQA": ANSWERS},
    contrasts=(("linear", "linear_random"), ("linear_by_type", "linear_by_type_random"), ("linear_by_type", "linear")),
    explains=explains,
    smoke=SMOKE_SOURCES
    | {
        "images": (8, 16),
        "seeds": 2,
        "steps": 2,
        "batch_size": 8,
        "learning_rates": (1e-3,),
        "max_validation": 12,
        "max_test": 24,
    },
    aliases={
        "encoder": "image_encoder",
        "encoder_label": "image_encoder_label",
        "encoder_epochs": "image_encoder_epochs",
        "texts": "language_model",
        "texts_epochs": "language_model_epochs",
        "texts_max": "language_model_max_examples",
        "pictures": "images",
        "length": "max_length",
        "updates": "steps",
    },
)
