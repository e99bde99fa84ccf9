"""Image–text retrieval: K = f(X)·g(Y), with a frozen image encoder and a trained text tower (LiT, Zhai et al. 2022).

    f   the image encoder, frozen: by default a CNN that learned to tell characters apart, none of those in the test
    g   the text tower, trained: by default a BERT that learned names of characters, and never an image
    K   over all pairs: by default images of unseen characters and their official names

An image may have several texts (`captions:`, `coco:`): it retrieves any of its own, and each of them retrieves it.

Command:   python -m tfxfer.train retrieval
Replay:    python -m tfxfer.train retrieval --config runs/retrieval-<time>/config.yaml
Expected:  transfer − random about +.033 recall@1 (95 % interval +.007 to +.059); transfer in closed form better than
           that by about .075, and than the same over a random encoder by .027. Under three minutes on 2 CPU cores;
           seeds 0, 1, 2, closed form 0 to 9 (docs/results.md).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tfxfer.config import (
    AugmentConfig,
    RunConfig,
    SourceConfig,
    TargetConfig,
    TrainingConfig,
    option,
    section,
)
from tfxfer.errors import UserError
from tfxfer.models.train_sets import arms_of
from tfxfer.recipes.augmentation import check_augment, chosen_policy, contrasts_of, of_pairs
from tfxfer.recipes.checks import (
    MASKED_WORDS,
    check_arms,
    check_language_model,
    check_source,
    check_target,
    unscored_words,
)
from tfxfer.recipes.parts import two_towers
from tfxfer.recipes.predictors import RETRIEVAL
from tfxfer.recipes.recipe import Plan, Recipe
from tfxfer.recipes.sections import SMOKE_SOURCES, image_encoder_section, language_model_section
from tfxfer.runs import Run

if TYPE_CHECKING:
    from tfxfer.experiment import Part

ARMS: dict[str, Any] = {
    "transfer": "The method under study: a pretrained image encoder, frozen, and a pretrained text tower, trained.",
    "random": "The same networks with fresh random weights; the image encoder stays so. If this does as well, nothing "
    "was transferred. It is the main control.",
    "random_image_encoder": "As transfer, but the image encoder has fresh random weights. If this does as well, its "
    "pretraining did not matter.",
    "random_text_encoder": "As transfer, but the text tower starts with fresh random weights. If this does as well, "
    "its pretraining did not matter.",
    "shuffled": "The same training, with the texts of other images. If this does as well, the pairs taught nothing.",
    "anchors": "Nothing is trained: an image and a text match when both resemble the same training pairs (ASIF).",
    "closed_form": {
        "text": "Transfer in closed form: ridge regressions between the frozen encoder's feature map, with its "
        "positions, and character n-grams of the texts, in both directions. If this does as well, no text tower has to "
        "be trained.",
        "phrase": "transfer in closed form",
        "role": "baseline",
    },
    "closed_form_tower": {
        "text": "As closed_form, with the vectors of the frozen text tower in place of n-grams. If this is better, "
        "what the text tower learned is of use before it is trained.",
        "phrase": "the closed form over the frozen text tower",
        "role": "baseline",
    },
    "closed_form_random_tower": {
        "text": "As closed_form_tower, over a text tower with fresh random weights. If this does as well, what the "
        "tower learned did not matter.",
        "phrase": "the closed form over a random text tower",
        "role": "baseline",
    },
    "closed_form_random": {
        "text": "As closed_form, over an image encoder with fresh random weights. If this does as well, what the "
        "encoder learned did not matter.",
        "phrase": "the closed form over random features",
        "role": "baseline",
    },
}
SHOWN = 6  # examples beside their copies
EDITED = ("images", "text", "pairs")  # families of edits: g reads texts, and never writes one
CLOSED = {name for name in ARMS if name.startswith("closed_form")}


@dataclass(frozen=True)
class RetrievalConfig(RunConfig):
    """Knowledge transfer K = f(X)·g(Y): a frozen image encoder and a text tower that retrieves images by texts."""

    image_encoder: SourceConfig = image_encoder_section()
    language_model: SourceConfig = language_model_section("the text tower")
    target: TargetConfig = section(
        TargetConfig("glyphs/by_character"),
        "target",
        group="target",
        help={
            "spec": "pairs of images and texts: glyphs, captions:PATH, coco:PATH, csv:PATH, or fuse:A+B?on=COLUMN",
            "label": "classes for a head across modalities and for zero-shot classification",
        },
        leave_out=("text", "question", "answer", "leave_out"),
        common=("spec",),
    )
    training: TrainingConfig = section(
        TrainingConfig(steps=45, steps_scaling="sqrt", batch_size=64, learning_rates=(3e-4, 1e-3, 3e-3)),
        group="training",
        leave_out=("epochs",),
    )
    max_length: int = option(
        16,
        "word pieces of a text, its begin and end among them",
        group="model",
        at_least=3,
        why="leaves no room for a word between begin and end; give 3 or more",
    )
    dim: int = option(0, "width of the common space (0: that of the image encoder, which then stays)", group="model")
    ridge_init: bool = option(
        True, "the last layer of g starts at the ridge regression from texts to their images", group="model"
    )
    temperature: float = option(0.07, "initial value of the learned temperature", group="model", at_least=0.01)
    ranking: str = option(
        "similarity",
        "what ranks the test candidates: K itself, or with all test queries at once (transductive) inverted_softmax "
        "(Smith et al. 2017) or csls (Conneau et al. 2018)",
        ("similarity", "inverted_softmax", "csls"),
        group="model",
    )
    pairs: tuple[int, ...] = option(
        (150, 600), "budgets: images with their texts in training", group="arms", common=True, at_least=2
    )
    arms: tuple[str, ...] = option(
        tuple(name for name in ARMS if name != "random_image_encoder" and "tower" not in name),
        "what runs side by side",
        tuple(ARMS),
        group="arms",
        common=True,
        decides=False,
    )
    controls_at: tuple[int, ...] = option(
        (),
        "budgets at which random_image_encoder, random_text_encoder and shuffled run (default: the greatest)",
        group="arms",
        decides=False,
        at_least=1,
    )
    augment: AugmentConfig = section(AugmentConfig(), "augment", group="training")


def check(config: RetrievalConfig) -> None:
    """Check what can be checked without TensorFlow; raises `UserError`."""
    label = config.target.label or ("script" if config.target.spec.startswith("glyphs") else None)
    check_target(replace(config.target, label=label), config, "image", "caption", "label")
    check_source(config.image_encoder, config, "image_encoder")
    check_source(config.language_model, config, "language_model")
    check_language_model(config.language_model, config.max_length)
    check_augment(config)
    chosen_policy(config, of_pairs(config, "caption", EDITED))
    if config.training.batch_size < 2:
        raise UserError("--batch-size 1: with one pair a step there are no negatives; give 2 or more")
    if config.training.steps < 1:
        raise UserError("--steps 0: nothing would be learned; give 1 or more")
    check_arms(config, "pairs")


def build(config: RetrievalConfig, run: Run, dataset: Any = None) -> Plan:
    """Load the pairs and both encoders, and lay out the arms; `dataset` is the pairs where they are loaded already."""
    import numpy as np

    from tfxfer.recipes.augmented_pairs import pair_gallery, retrieval_with_copies
    from tfxfer.recipes.diagnostics.retrieval import pair_panels
    from tfxfer.sources.load import load_language_model, load_source
    from tfxfer.sources.own_task import masked_words_task
    from tfxfer.tasks import image_text_pairs as task
    from tfxfer.transfer.feature import extractor
    from tfxfer.transfer.graph import fingerprint

    data = task.load_pairs(config.target, config, max(config.pairs), run, dataset)  # before anything is trained
    language_model, tokenizer = load_language_model(config.language_model, config, run)
    bert = getattr(language_model, "backbone", language_model)
    size = config.target.image_size
    phi = extractor(load_source(config.image_encoder, config, run, image_size=size))
    how = task.reading(phi, data, size)
    with run.phase("features"):
        features = task.extracted(phi, data, size, config)
        positions = task.extracted_positions(phi, data, size, config) if CLOSED.intersection(config.arms) else None
        ids = task.image_ids(data, how)
        pairs = task.ImageTextPairs(features, task.captions_of(data), ids, positions, config.ranking)
    task.count_long(pairs, tokenizer, config.max_length, run)
    warn_of_ranking(config, run)
    transfer, arms, parts = retrieval_arms(bert, tokenizer, phi, data, pairs, config, run)
    policy = chosen_policy(config, of_pairs(config, "caption", EDITED))
    augmented = retrieval_with_copies(policy, config, data, pairs, phi, how, arms, run)
    few = data.with_at_most(train=SHOWN)
    gallery = pair_gallery(policy, config, few.arrays("train", **how)["image"], few.captions("train"))
    transfer.own_task = masked_words_task(language_model, tokenizer, config.language_model, config, run)

    def save(folder: Any) -> None:
        encoder = transfer.final_encoder()
        encoder.save(folder)
        task.save_gallery(folder, encoder, data, pairs)

    return Plan(
        title=f"{config.target.spec}: image–text retrieval",
        arms=arms + augmented,
        budgets=tuple(sorted(config.pairs)),
        keys=(data.fingerprint, fingerprint(bert), fingerprint(phi)),
        labels=np.zeros(len(pairs.ids["test"]), np.int32),
        dataset=data,
        examples=tuple(task.examples(data, pairs, how)),
        measures=task.MEASURES,
        unit="pairs",
        save=save,
        diagnose=lambda comparison: pair_panels(transfer.final_encoder(), data, pairs, how, comparison, run),
        parts=parts,
        source_score=MASKED_WORDS,
        unscored=unscored_words(config.language_model.spec, transfer.own_task),
        panels=gallery,
        contrasts=contrasts_of(augmented),
        train_sets=arms_of(config),
    )


def warn_of_ranking(config: RetrievalConfig, run: Run) -> None:
    """Put a caution beside the verdict where test queries are ranked together."""
    if config.ranking != "similarity":
        run.caution(
            f"--ranking {config.ranking} is transductive: all test queries are ranked at once and help one another. A "
            "query alone does not reach these figures. The saved model, and the examples here, rank by K itself."
        )


def retrieval_arms(
    bert: Any, tokenizer: Any, phi: Any, data: Any, pairs: Any, config: RetrievalConfig, run: Run
) -> tuple[Any, tuple[Any, ...], tuple["Part", ...]]:
    """Return the arm under study, all arms, and the towers: one dual encoder, the same training, one thing changed."""
    from dataclasses import replace
    from functools import cache, lru_cache

    import numpy as np

    from tfxfer.arms.contrastive import ContrastiveArm
    from tfxfer.arms.logging import report_training
    from tfxfer.experiment import Arm
    from tfxfer.models.fresh import fresh_copy
    from tfxfer.models.randomness import set_initializer_seed
    from tfxfer.models.train_sets import key_of, train_sets_of, training_for
    from tfxfer.tasks.image_text_pairs import extracted, reading
    from tfxfer.transfer.graph import clone
    from tfxfer.transfer.knowledge import DualEncoder, bert_tower
    from tfxfer.transfer.structure.train_set import changed, choose

    task_reading = reading(phi, data, config.target.image_size)

    def tower_of(backbone: Any) -> Any:
        return bert_tower(backbone, tokenizer.vocabulary, config.max_length, tokenizer.lowercase)

    first, others = train_sets_of(config)

    def build_encoder(backbone: Any, seed: int, by: Any = first) -> DualEncoder:
        set_initializer_seed(seed)
        size, tower = task_reading["image_size"] or data.image_shape[:2], tower_of(backbone)
        pretrained = list(tower.sequence.weights)
        tower = replace(tower, sequence=changed(tower.sequence, by, seed)) if by else tower
        made = DualEncoder(phi, tower, dim=config.dim or None, temperature=config.temperature, image_size=size)
        if by:
            choose(made.model, pretrained, by)
        return made

    @cache
    def start(fresh: bool, seed: int, by: Any = first) -> list[Any]:
        backbone = fresh_copy(bert, seed) if fresh else clone(bert)
        return [np.array(weight) for weight in build_encoder(backbone, seed, by).model.get_weights()]

    @lru_cache(maxsize=4)
    def by_random_encoder(seed: int) -> Any:
        fresh = fresh_copy(phi, seed)
        fresh.trainable = False
        return replace(pairs, features=extracted(fresh, data, config.target.image_size, config))

    encoder, keep = build_encoder(clone(bert), config.seed), (max(config.pairs), config.seed)
    arms_from: dict[str, tuple[bool, Any]] = {  # arm -> whether the text tower is fresh, and what is learned
        "transfer": (False, pairs.drawn),
        "random": (True, lambda budget, seed: by_random_encoder(seed).drawn(budget, seed)),
        "random_image_encoder": (False, lambda budget, seed: by_random_encoder(seed).drawn(budget, seed)),
        "random_text_encoder": (True, pairs.drawn),
        "shuffled": (False, lambda budget, seed: pairs.drawn(budget, seed).shuffled(seed)),
    }

    def arm_of(name: str, own: Any, fresh: bool, drawn: Any, by: Any) -> ContrastiveArm:
        training, report = training_for(config, by), report_training(run, name)
        return ContrastiveArm(
            own, lambda seed: start(fresh, seed, by), drawn, training, keep, config.ridge_init, report
        )

    trained = {name: arm_of(name, encoder, *how, first) for name, how in arms_from.items()}
    at = config.controls_at or (max(config.pairs),)
    arms = [
        Arm(name, arm, None if name in ("transfer", "random") else at, recall=arm.recall, key=key_of(first))
        for name, arm in trained.items()
    ]
    for by in others:
        arm = arm_of(by.arm, build_encoder(clone(bert), config.seed, by), False, pairs.drawn, by)
        arms.append(Arm(by.arm, arm, recall=arm.recall, asked=True))
    towers = two_towers({arm.name: arm for arm in arms})
    arms += closed_form_arms(bert, phi, data, pairs, config, tower_of)
    return trained["transfer"], tuple(arms), towers


def closed_form_arms(
    bert: Any, phi: Any, data: Any, pairs: Any, config: RetrievalConfig, tower_of: Callable[[Any], Any]
) -> list[Any]:
    """Return the arms that train no network.

    Args:
        bert: The pretrained text encoder.
        phi: The pretrained image encoder, frozen.
        data: The data set of the pairs.
        pairs: The pairs as features of `phi`.
        config: The config.
        tower_of: Text encoder -> text tower.
    """
    from dataclasses import replace
    from functools import cache, lru_cache

    import numpy as np

    from tfxfer.baselines import retrieval as baselines
    from tfxfer.experiment import Arm
    from tfxfer.models.fresh import cheap_to_repeat, fresh_copy
    from tfxfer.tasks.image_text_pairs import embedding_of, extracted, extracted_positions
    from tfxfer.transfer.graph import clone

    named = None
    if len(data.class_names) > 1:
        named = baselines.Named(tuple(data.class_names), np.asarray(data.labels("test")))

    @cache
    def embedding(seed: int | None) -> Any:
        """The vectors of all texts by the frozen text tower, with fresh weights where a seed is given."""
        texts = [text for split in pairs.captions for text in pairs.texts(split)]
        return embedding_of(
            tower_of(clone(bert) if seed is None else fresh_copy(bert, seed)), [*texts, *data.class_names]
        )

    @lru_cache(maxsize=1)
    def positions_of_random(seed: int) -> Any:
        fresh = fresh_copy(phi, seed)
        fresh.trainable = False
        size = config.target.image_size
        known = extracted_positions(fresh, data, size, config)
        features = pairs.features if known else extracted(fresh, data, size, config)
        return replace(pairs, positions=known, features=features)

    def anchors(budget: int | None, seed: int) -> Any:
        return baselines.anchors(pairs.drawn(budget, seed))

    def by_ngrams(budget: int | None, seed: int) -> Any:
        return baselines.closed_form(pairs.drawn(budget, seed), named=named)

    def by_random_images(budget: int | None, seed: int) -> Any:
        return baselines.closed_form(positions_of_random(seed).drawn(budget, seed), named=named)

    def by_tower(budget: int | None, seed: int) -> Any:
        return baselines.closed_form(pairs.drawn(budget, seed), embedding(None), named)

    def by_random_tower(budget: int | None, seed: int) -> Any:
        return baselines.closed_form(pairs.drawn(budget, seed), embedding(seed), named)

    probe = cheap_to_repeat(phi, config.probe_seeds)
    return [
        Arm("anchors", anchors),
        Arm("closed_form", by_ngrams, probe=probe),
        Arm("closed_form_tower", by_tower, probe=probe),
        Arm("closed_form_random_tower", by_random_tower, probe=cheap_to_repeat(bert, config.probe_seeds)),
        Arm("closed_form_random", by_random_images, probe=probe),
    ]


RECIPE = Recipe(
    name="retrieval",
    title="image–text retrieval",
    equation="K = f(X) · g(Y)",
    explanation=(
        "f turns images into vectors and g turns texts into vectors; their product K scores how well each image and "
        "each text match. The image encoder is frozen, and the text tower is trained on pairs. The question is whether "
        "it helps that both were trained before, each on its own modality."
    ),
    config=RetrievalConfig,
    arms=ARMS,
    check=check,
    data=lambda config: (config.target.spec, config.language_model.spec, config.image_encoder.spec),
    build=build,
    predictors={"DualEncoder": RETRIEVAL},
    contrasts=(("closed_form", "closed_form_random"), ("closed_form_tower", "closed_form_random_tower")),
    explains=lambda config: ("towers",),
    smoke=SMOKE_SOURCES
    | {
        "pairs": (8, 16),
        "seeds": 2,
        "steps": 2,
        "batch_size": 8,
        "learning_rates": (1e-3,),
        "max_validation": 30,
        "max_test": 50,
    },
    aliases={
        "pictures": "image_encoder",
        "pictures_label": "image_encoder_label",
        "pictures_epochs": "image_encoder_epochs",
        "texts": "language_model",
        "texts_epochs": "language_model_epochs",
        "texts_max": "language_model_max_examples",
        "length": "max_length",
        "fitted": "ridge_init",
        "updates": "steps",
    },
)
