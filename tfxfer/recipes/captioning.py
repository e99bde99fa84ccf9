"""Image captioning: K = f(X)·g(Y) + h(X, Y), with h the log-likelihood of a caption under a decoder.

    X   images, as feature maps of a frozen encoder: by default a CNN that learned other characters
    Y   captions: by default the names of characters that encoder and decoder have never met
    h   a BERT made a decoder: by default one that learned other names, and never an image
    f·g a logit for each word from the image as a whole; and, in closed form, how well an image and a whole caption
        match, which proposes captions of other images beside the decoder's own

Command:   python -m tfxfer.train captioning
Replay:    python -m tfxfer.train captioning --config runs/captioning-<time>/config.yaml
Expected:  CIDEr-D of the closed form f·g alone .93, 1.47 and 1.86 at 150, 500 and 1,200 pairs: +.28 over the same with
           a random encoder (helped), +.17 over the caption of the nearest image. Transfer is no better than that (no
           evidence). Transfer − random: no evidence by CIDEr-D; +.27 nats a token, a lead in speed that is gone after
           --steps 800. Three to four minutes on 2 CPU cores; seeds 0, 1, 2, the closed form 0 to 9
           (docs/results.md).

A decoder can gain likelihood by its language alone. So likelihood, CIDEr-D and exact match stand side by side, and an
image ablation shows what the model does without the correct image.
"""

from dataclasses import dataclass, replace
from typing import Any

from tfxfer.config import (
    AugmentConfig,
    CaptionModelConfig,
    CaptionTrainingConfig,
    RunConfig,
    SourceConfig,
    TargetConfig,
    option,
    section,
)
from tfxfer.data import spec as data_spec
from tfxfer.data.tables import read_lines
from tfxfer.errors import UserError
from tfxfer.models.train_sets import arms_of
from tfxfer.recipes.augmentation import check_augment, chosen_policy, contrasts_of, of_pairs
from tfxfer.recipes.checks import check_arms, check_language_model, check_no_prefix, check_source, check_target
from tfxfer.recipes.predictors import CAPTIONS
from tfxfer.recipes.recipe import Plan, Recipe
from tfxfer.recipes.sections import SMOKE_SOURCES, image_encoder_section, language_model_section
from tfxfer.runs import Run

ARMS: dict[str, Any] = {
    "transfer": "The method under study: the decoder starts as the pretrained language model.",
    "random": "The same decoder with fresh random weights. If this does as well, nothing was transferred. It is the "
    "main control.",
    "blind": "The same network; every image is replaced by the mean training image. If this does as well, the model "
    "does not use its images.",
    "shuffled": "The same training, with the captions of other images. If this does as well, the pairs taught nothing.",
    "closed_form": {
        "text": "K = f·g alone, no decoder: ridge regression from all positions of the feature map to the words and "
        "word pairs of captions; the answer is the candidate that fits best, or that one of the best k which is most "
        "like the others (consensus; k by validation). If this does as well, the decoder added nothing to the "
        "captions.",
        "phrase": "the closed form f·g",
        "role": "baseline",
    },
    "closed_form_random": {
        "text": "As closed_form, over an image encoder with fresh random weights. If this does as well as closed_form, "
        "what the encoder learned did not matter.",
        "phrase": "the closed form over random features",
        "role": "baseline",
    },
    "neighbour": "No network: the caption of the training image with the nearest features.",
    "neighbour_consensus": {
        "text": "No network: of the captions of the nearest k training images, the one that is most like the others "
        "(k by validation).",
        "phrase": "the consensus of the nearest neighbours",
        "role": "baseline",
    },
}


@dataclass(frozen=True)
class CaptioningConfig(RunConfig):
    """Knowledge transfer K = f(X)·g(Y) + h(X, Y): a language model captions images."""

    language_model: SourceConfig = language_model_section("the decoder")
    image_encoder: SourceConfig = image_encoder_section(epochs=5)
    target: TargetConfig = section(
        TargetConfig("glyphs/by_character", max_validation=100, max_test=200),
        "target",
        group="target",
        help={"spec": "images with captions: glyphs, captions:PATH, coco:PATH, csv:PATH"},
        leave_out=("text", "label", "question", "answer", "leave_out"),
        common=("spec",),
    )
    model: CaptionModelConfig = section(CaptionModelConfig(), group="model")
    training: CaptionTrainingConfig = section(
        CaptionTrainingConfig(steps=200, steps_scaling="sqrt", batch_size=16, learning_rates=(3e-3,)),
        group="training",
        leave_out=("epochs", "unfreeze_encoder_fraction", "encoder_lr_scale"),
    )
    pretrain_texts: str | None = option(
        None, "texts for text-only pre-training of the decoder (default: the language model's own)", group="source"
    )
    pretrain_steps: int = option(400, "steps of that pre-training (0: none)", group="training")
    pairs: tuple[int, ...] = option(
        (150, 500, 1200), "budgets: images with captions in training", group="arms", common=True, at_least=1
    )
    arms: tuple[str, ...] = option(
        tuple(name for name in ARMS if name != "neighbour_consensus"),
        "what runs side by side",
        tuple(ARMS),
        group="arms",
        decides=False,
    )
    controls_at: tuple[int, ...] = option(
        (),
        "budgets at which blind and shuffled run, with one seed (default: the greatest)",
        group="arms",
        decides=False,
        at_least=1,
    )
    num_beams: int = option(4, "hypotheses of beam search", group="model", at_least=1)
    length_penalty: float = option(1.0, "of beam search; above 0 favours long captions", group="model")
    candidates: str = option(
        "train",
        "captions to choose from besides the decoder's own, by f·g + β·h: train (the training captions), text:FILE "
        "(one a line) or none (the decoder's own alone)",
        group="model",
    )
    ranking: str = option(
        "both",
        "without candidates, the decoder's captions are ranked by h + λ f·g (both) or by h alone (decoder)",
        ("both", "decoder"),
        group="model",
    )
    augment: AugmentConfig = section(AugmentConfig(), "augment", group="training")


def check(config: CaptioningConfig) -> None:
    """Check what can be checked without TensorFlow; raises `UserError`."""
    from tfxfer.recipes.checks import folders

    read_candidates(config.candidates)
    check_augment(config)
    chosen_policy(config, of_pairs(config, "caption"))
    check_source(config.language_model, config, "language_model")
    check_source(config.image_encoder, config, "image_encoder")
    check_target(config.target, config, "image", "caption")
    if config.pretrain_texts:
        data_spec.check(config.pretrain_texts, **folders(config))
    spec = config.image_encoder.spec
    if spec.startswith("fresh:") and not spec.startswith("fresh:cnn"):
        raise UserError(f"--image-encoder {spec}: has no feature maps; use fresh:cnn or a data set")
    if config.training.steps < 1:
        raise UserError("--steps 0: nothing would be learned; give 1 or more")
    if config.model.conditioning == "prefix" and not config.model.prefix:
        raise UserError("--prefix-length 0: a prefix of nothing conditions on no image; give 1 or more")
    if config.model.conditioning != "prefix":
        check_no_prefix(
            config, "the decoder has cross-attention; add --conditioning prefix, or use adapter:R or lora:R"
        )
    check_language_model(config.language_model, config.training.max_length, config.model.prefix)
    check_arms(config, "pairs")


def read_candidates(spec: str) -> list[str]:
    """Return the captions in a file of candidates, each once; none for "train" and "none".

    Args:
        spec: "train", "none" or "text:FILE", one caption a line.

    Raises:
        UserError: It is something else, there is no such file, it is not UTF-8, or it has fewer than two captions.
    """
    if spec in ("train", "none"):
        return []
    if not spec.startswith("text:"):
        raise UserError(f"--candidates {spec}: give train, none, or text:FILE with one caption a line")
    path = data_spec.existing_file(data_spec.parse(spec))
    found = list(dict.fromkeys(text for line in read_lines(path) if (text := " ".join(line.split()))))
    if len(found) < 2:
        count = f"has only one caption, '{found[0]:.60}'" if found else "has no caption"
        raise UserError(f"--candidates {spec}: {path.name} {count}. Nothing can be chosen; give two or more lines")
    return found


def build(config: CaptioningConfig, run: Run, dataset: Any = None) -> Plan:
    """Load language model, encoder and target, and lay out the arms; `dataset` is a target that is loaded already."""
    import numpy as np

    from tfxfer.cache import key_of
    from tfxfer.recipes.augmented_pairs import captions_with_copies, pair_gallery
    from tfxfer.recipes.diagnostics.captions import caption_panels
    from tfxfer.recipes.weight_maps import keep_ledger
    from tfxfer.sources.language_model import pretraining_texts
    from tfxfer.sources.load import load_language_model
    from tfxfer.tasks.captioned_images import (
        CaptionedImages,
        CaptionedMaps,
        check_candidates,
        count_long,
        load_target,
        pairs_there_are,
    )
    from tfxfer.transfer.graph import fingerprint
    from tfxfer.transfer.knowledge import Captioner

    target = dataset or load_target(config.target, config, run)  # before anything is trained for it
    config = replace(config, pairs=pairs_there_are(config, target, run))
    candidates = read_candidates(config.candidates)
    if candidates:
        check_candidates(candidates, config.candidates, target, config, run)
    language_model, tokenizer = load_language_model(config.language_model, config, run)
    encoder = load_image_encoder(config, run)
    greatest = max(config.pairs)
    task = CaptionedImages.load(config.target, config, encoder, greatest, run, target)
    shape = task.images["train"].shape[1:]
    captioner = Captioner(encoder, language_model, tokenizer, shape, config.model, seed=config.seed)
    captioner.search = {"num_beams": config.num_beams, "length_penalty": config.length_penalty}
    with run.phase("features"):
        captioner.adapt(task.images["train"])
        maps = CaptionedMaps({s: captioner.encode(rows).maps for s, rows in task.images.items()}, task.captions)
    count_long(task.captions, tokenizer, config.training.max_length, config.language_model.spec, run)
    texts = (
        pretraining_texts(config.language_model, config.pretrain_texts, config, run) if config.pretrain_steps else []
    )
    policy = chosen_policy(config, of_pairs(config, "caption"))
    assert captioner.weight_map is not None  # the captioner is new
    panel = keep_ledger(captioner.weight_map, "", run)
    transfer, arms = captioning_arms(captioner, language_model, texts, maps, config, run)
    augmented = captions_with_copies(policy, config, task, captioner, arms, run)
    plain, random_maps = plain_arms(captioner, task, maps, config, candidates)
    parts = captioning_parts(arms, transfer, random_maps, run) if config.explain else ()
    arms += plain + augmented
    return Plan(
        title=f"{config.language_model.spec} → captions of {config.target.spec}",
        arms=arms,
        budgets=tuple(sorted(config.pairs)),
        keys=(
            task.dataset.fingerprint,
            fingerprint(language_model),
            fingerprint(captioner.encoder),
            key_of(texts, candidates),
        ),
        labels=np.zeros(len(task.captions["test"]), np.int32),
        dataset=task.dataset,
        test_rows=tuple(map("\n".join, task.captions["test"])),
        examples=tuple(task.examples()),
        measures=("cider_d", "log_likelihood", "exact_match", "token_f1"),
        unit="pairs",
        panels=(panel, *pair_gallery(policy, config, task.images["train"], task.captions["train"])),
        save=lambda folder: transfer.final_captioner().save(folder),
        diagnose=lambda comparison: caption_panels(transfer, maps, task.images["test"], comparison, run),
        parts=parts,
        contrasts=contrasts_of(augmented),
        train_sets=arms_of(config),
    )


def load_image_encoder(config: CaptioningConfig, run: Run) -> Any:
    """Return the image encoder: given, trained on a data set (once, then cached), or fresh for the target's images.

    A fresh one does not train: random features, a control of what the encoder has to know.
    """
    import tfxfer
    from tfxfer.sources.load import load_source

    spec, side = config.image_encoder.spec, config.target.image_size
    if not spec.startswith("fresh:"):
        return load_source(config.image_encoder, config, run, image_size=side)
    columns = config.target.columns("image", "caption")
    target = tfxfer.load(config.target.spec, data_dir=config.data_dir, download=config.download, **columns)
    height, width, channels = target.image_shape or (64, 64, 3)
    run.say(f"image encoder: {spec}, random weights that do not train")
    return tfxfer.source(spec, input_shape=(side or height, side or width, channels), seed=config.seed)


def captioning_arms(
    captioner: Any, language_model: Any, texts: list[str], maps: Any, config: CaptioningConfig, run: Run
) -> tuple[Any, tuple[Any, ...]]:
    """Return the arm under study, and all arms: one captioner, the same training, one thing changed at a time."""
    from functools import cache

    from tfxfer.arms.captioning import CaptioningArm, captioner_for, in_graph
    from tfxfer.arms.logging import report_training
    from tfxfer.experiment import Arm
    from tfxfer.models.fresh import fresh_language_model
    from tfxfer.models.train_sets import key_of, train_sets_of, training_for
    from tfxfer.sources.language_model import pretrain_decoder
    from tfxfer.transfer.knowledge.caption_model import caption_model

    shape = captioner.encoder.output.shape[1:]
    how: dict[str, Any] = {
        "cross_attention": config.model.cross_attention,
        "prefix_length": config.model.prefix,
        "image_word_logits": config.model.image_word_logits,
    }
    pretrained: dict[str, Any] = {}
    if texts:
        plain = replace(
            config.training,
            steps=config.pretrain_steps,
            learning_rates=(3e-3,),
            word_dropout=0.0,
            decoder_lr_scales=(1.0,),
            freeze_decoder_fractions=(0.0,),
            schedule="cosine",
            train_set=(),
        )
        pretrained = pretrain_decoder(captioner, texts, plain, config, run)

    first, others = train_sets_of(config)

    @cache
    def warm(seed: int, by: Any = first) -> list[Any]:
        made = caption_model(shape, language_model, **how, seed=seed)[0]
        for variable in made.trainable_variables:
            if variable.path in pretrained:
                variable.assign(pretrained[variable.path])
        return in_graph(made, by, seed).get_weights()

    @cache
    def cold(seed: int) -> list[Any]:
        made = caption_model(shape, fresh_language_model(language_model, seed), **how, seed=seed)[0]
        return in_graph(made, first, seed).get_weights()

    @cache
    def captioner_of(by: Any) -> Any:
        """Return the captioner of a train set; arms with one train set share it."""
        made = caption_model(shape, language_model, **how, seed=config.seed)[0] if by else captioner.model
        return captioner_for(captioner, made, by, config.seed)

    keep, candidates = (max(config.pairs), config.seed), read_candidates(config.candidates) or config.candidates
    changed = {
        "transfer": (warm, maps.drawn),
        "random": (cold, maps.drawn),
        "blind": (warm, lambda pairs, seed: maps.drawn(pairs, seed).blind()),
        "shuffled": (warm, lambda pairs, seed: maps.drawn(pairs, seed).shuffled(seed)),
    }

    def arm_of(name: str, by: Any, start: Any, drawn: Any) -> Any:
        training, report = training_for(config, by), report_training(run, name)
        return CaptioningArm(captioner_of(by), start, drawn, training, keep, config.ranking, report, candidates)

    trained = {name: arm_of(name, first, start, drawn) for name, (start, drawn) in changed.items()}
    at = config.controls_at or (max(config.pairs),)
    arms = [
        Arm(name, arm, at if control else None, one_seed=control, recall=arm.recall, key=key_of(first))
        for name, arm in trained.items()
        for control in (name in ("blind", "shuffled"),)
    ]
    for by in others:
        arm = arm_of(by.arm, by, lambda seed, by=by: warm(seed, by), maps.drawn)
        arms.append(Arm(by.arm, arm, recall=arm.recall, asked=True))
    return trained["transfer"], tuple(arms)


def plain_arms(
    captioner: Any, task: Any, maps: Any, config: CaptioningConfig, candidates: list[str]
) -> tuple[tuple[Any, ...], Any]:
    """Return the arms that train no network, and (pairs, seed) -> the maps of an encoder with fresh weights.

    They are the closed form, the same over a random encoder, and neighbours.
    """
    from functools import lru_cache

    from tfxfer.baselines.captions import closed_form, nearest_caption, neighbour_consensus
    from tfxfer.experiment import Arm
    from tfxfer.models.batching import in_batches
    from tfxfer.models.fresh import cheap_to_repeat, fresh_copy

    most, given = max(config.pairs), candidates or None
    small = cheap_to_repeat(captioner.encoder, config.probe_seeds)

    @lru_cache(maxsize=1)
    def fresh_encoder() -> tuple[Any, Any]:
        """Return a copy of the encoder, and a function from images to its maps: compiled once for all seeds."""
        fresh = fresh_copy(captioner.encoder, config.seed)
        return fresh, in_batches(fresh)

    @lru_cache(maxsize=16)
    def random_maps(seed: int) -> Any:
        """Return the maps of an encoder with fresh weights, the training images as they are drawn with this seed."""
        fresh, encode = fresh_encoder()
        if fresh.weights:
            fresh.set_weights(fresh_copy(captioner.encoder, seed).get_weights())
        drawn = task.drawn(most, seed)
        return replace(maps, maps={s: encode(rows) for s, rows in drawn.images.items()}, captions=drawn.captions)

    def by(how: Any, of: Any) -> Any:
        return lambda pairs, seed: how(of(pairs or 0, seed), captioner.tokenizer)

    def over_candidates(one: Any, tokenizer: Any) -> Any:
        return closed_form(one, tokenizer, given)

    def of_random(pairs: int, seed: int) -> Any:
        return random_maps(seed).first(pairs)

    return (
        Arm("closed_form", by(over_candidates, maps.drawn), probe=True),
        Arm("closed_form_random", by(over_candidates, of_random), probe=small),
        Arm("neighbour", by(nearest_caption, maps.drawn), probe=True),
        Arm("neighbour_consensus", by(neighbour_consensus, maps.drawn), probe=True),
    ), of_random


def captioning_parts(arms: tuple[Any, ...], transfer: Any, random_maps: Any, run: Run) -> tuple[Any, ...]:
    """Return the two towers as parts. The arm random is transfer without the decoder's knowledge.

    Args:
        arms: The arms that train.
        transfer: The arm under study.
        random_maps: (pairs, seed) -> the maps of an image encoder with fresh weights.
        run: Where trainings are logged.
    """
    import numpy as np

    from tfxfer.arms.captioning import CaptioningArm
    from tfxfer.arms.logging import report_training
    from tfxfer.experiment import Arm, Part, arm_without

    def standardised(pairs: int, seed: int) -> Any:
        """Return the maps on the scale of those that transfer reads, by their training images."""
        found = random_maps(pairs, seed)
        train = np.asarray(found.maps["train"], np.float32)
        mean, spread = train.mean((0, 1, 2)), train.std((0, 1, 2)) + 1e-6  # [E]
        return replace(found, maps={split: (rows - mean) / spread for split, rows in found.maps.items()})

    name = arm_without("image encoder")
    arm = CaptioningArm(
        transfer.captioner,
        transfer.start,
        standardised,
        transfer.training,
        transfer.keep,
        transfer.ranking,
        report_training(run, name),
        transfer.candidates,
    )
    encoder = Part("image encoder", "towers", Arm(name, arm, recall=arm.recall, key=arms[0].key))
    decoder = next(each for each in arms if each.name == "random")
    return (encoder, Part("text decoder", "towers", decoder))


RECIPE = Recipe(
    name="captioning",
    title="image captioning",
    equation="K = f(X) · g(Y) + h(X, Y)",
    explanation=(
        "f turns images into vectors and g turns words into vectors; their product scores how well the two match. h is "
        "a decoder that attends to the image while it writes. It starts as a language model that was trained on texts. "
        "The question is whether that helps it to caption images."
    ),
    config=CaptioningConfig,
    arms=ARMS,
    check=check,
    data=lambda config: (
        config.language_model.spec,
        config.pretrain_texts,
        config.image_encoder.spec,
        config.target.spec,
    ),
    build=build,
    predictors={"Captioner": CAPTIONS},
    contrasts=tuple(("closed_form", other) for other in ("closed_form_random", "neighbour", "neighbour_consensus")),
    explains=lambda config: ("towers",),
    smoke=SMOKE_SOURCES
    | {
        "pairs": (8, 16),
        "seeds": 2,
        "pretrain_steps": 5,
        "steps": 5,
        "batch_size": 8,
        "learning_rates": (1e-3,),
        "max_validation": 20,
        "max_test": 30,
    },
    aliases={
        "source": "language_model",
        "source_text": "language_model_text",
        "source_epochs": "language_model_epochs",
        "source_max": "language_model_max_examples",
        "text_updates": "pretrain_steps",
        "reading": "pretrain_texts",
        "encoder": "image_encoder",
        "encoder_label": "image_encoder_label",
        "encoder_epochs": "image_encoder_epochs",
        "looking": "conditioning",
        "places": "positions",
        "evidence": "image_word_logits",
        "frozen": "freeze_decoder_fractions",
        "freeze_decoder_fraction": "freeze_decoder_fractions",
        "carried_rate": "decoder_lr_scales",
        "decoder_lr_scale": "decoder_lr_scales",
        "updates": "steps",
        "length": "max_length",
    },
)
