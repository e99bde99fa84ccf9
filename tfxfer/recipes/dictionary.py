"""Images as a dictionary: K = g(Y₁)·g(Y₂), with g from texts of one language into the space of images.

    g    ridge regression from character n-grams of a language's names to the features φ(X) of their images
    φ    a frozen image encoder: by default a small CNN in colour that learned the categories of emoji
    K    over all pairs of names of unseen concepts: by default German and French names of emoji

The two languages never see one image in common, so nothing pairs their words but what φ makes of images.

Command:   python -m tfxfer.train dictionary --languages de fr
Replay:    python -m tfxfer.train dictionary --config runs/dictionary-<time>/config.yaml
Expected:  recall@1 at 550 images a language .029 (chance .004); over both budgets +.005 over random weights (95 %
           interval +.001 to +.009). The same images for both languages .173, and .293 with random vectors instead
           of images. 45 s on 2 CPU cores from an empty cache; seeds 0 to 9 (docs/results.md).

When both languages have the same images, recall is several times higher, and higher still with random vectors in
the place of images: a shared list of images is a bilingual list, and φ has no part in it. The arms same_images
and same_images_random_vectors show it.
"""

from dataclasses import dataclass
from typing import Any

from tfxfer.config import AugmentConfig, RunConfig, SourceConfig, TargetConfig, option, section
from tfxfer.data.spec import EMOJI_LANGUAGES
from tfxfer.errors import UserError, suggest
from tfxfer.recipes.augmentation import check_augment, chosen_policy, contrasts_of, of_pairs
from tfxfer.recipes.checks import check_source, check_target
from tfxfer.recipes.predictors import TRANSLATIONS
from tfxfer.recipes.recipe import Plan, Recipe
from tfxfer.recipes.sections import image_encoder_section
from tfxfer.runs import Run

ARMS: dict[str, Any] = {
    "transfer": "The method under study: each language learns from images of its own, in the space of a pretrained "
    "image encoder.",
    "random": "As transfer, in the space of the same encoder with fresh random weights. If this does as well, nothing "
    "was transferred. It is the main control.",
    "random_vectors": {
        "text": "As transfer, with a random vector in the place of every image. If this does as well, images do "
        "not matter.",
        "phrase": "random vectors instead of images",
        "role": "control",
    },
    "same_images": {
        "text": "Both languages learn from the same images. These are then a hidden bilingual list, so this is no "
        "fair rival of transfer.",
        "phrase": "both languages with the same images",
        "role": "baseline",
    },
    "same_images_random_vectors": {
        "text": "As same_images, with a random vector in the place of every image. If this does as well as "
        "same_images, that arm owes nothing to images.",
        "phrase": "the same images, each a random vector",
        "role": "baseline",
    },
    "strings": {
        "text": "No image: two names are similar when their letters are. Related languages have many such names.",
        "phrase": "the similarity of letters",
        "role": "baseline",
    },
}


@dataclass(frozen=True)
class DictionaryConfig(RunConfig):
    """Knowledge transfer K = g(Y₁)·g(Y₂): images are what two languages have in common."""

    image_encoder: SourceConfig = image_encoder_section(spec="emoji", epochs=40)
    target: TargetConfig = section(
        TargetConfig("emoji", image_size=36, max_validation=0),
        "target",
        group="target",
        help={"spec": "images with names in several languages: emoji, emoji/noto"},
        leave_out=(
            *("text", "image", "label", "caption", "question", "answer", "leave_out", "max_validation"),
            *("image_dir", "bad_items"),
        ),
        common=("spec",),
    )
    languages: tuple[str, ...] = option(("de", "fr"), "the two languages, by their codes", group="target", common=True)
    images: tuple[int, ...] = option(
        (150, 550), "budgets: images with names that each language learns from", group="arms", common=True, at_least=2
    )
    arms: tuple[str, ...] = option(
        tuple(ARMS), "what runs side by side", tuple(ARMS), group="arms", common=True, decides=False
    )
    augment: AugmentConfig = section(AugmentConfig(), "augment", group="training")


def check(config: DictionaryConfig) -> None:
    """Check what can be checked without TensorFlow; raises `UserError`."""
    check_source(config.image_encoder, config, "image_encoder")
    spec = check_target(config.target, config)
    if spec.kind != "emoji":
        raise UserError(f"--target {config.target.spec}: has no names in several languages; use emoji or emoji/noto")
    if len(config.languages) != 2 or len(set(config.languages)) != 2:
        given = " ".join(config.languages) or "none"
        raise UserError(f"--languages {given}: give two different ones, such as --languages de fr")
    for code in config.languages:
        if code not in EMOJI_LANGUAGES:
            raise UserError(f"--languages: there are no names in '{code}'; {suggest(code, EMOJI_LANGUAGES)}")
    check_augment(config)
    chosen_policy(config, of_pairs(config, "name"))
    if "transfer" not in config.arms:
        raise UserError("--arms: 'transfer' is the method under study and must be among them")


def build(config: DictionaryConfig, run: Run) -> Plan:
    """Load the images and the encoder, and lay out the arms."""
    import numpy as np

    from tfxfer.recipes.augmented_pairs import images_with_names, names_with_copies, pair_gallery
    from tfxfer.recipes.panels.dictionary import chance_panel
    from tfxfer.sources.load import load_source
    from tfxfer.tasks.named_images import MEASURES, NamedImages
    from tfxfer.transfer.feature import extractor
    from tfxfer.transfer.graph import fingerprint

    task = NamedImages.load(config.target, config.languages, config, run)
    if max(config.images) > task.most:
        raise UserError(
            f"--images {max(config.images)}: {config.target.spec} has at most {task.most} training images for "
            "each language, as no concept may be in both; ask for fewer"
        )
    phi = extractor(load_source(config.image_encoder, config, run, image_size=config.target.image_size))
    keep = (max(config.images), config.seed)
    arms, parts, shared, features = dictionary_arms(task, phi, config, run)
    policy = chosen_policy(config, of_pairs(config, "name"))
    augmented = names_with_copies(policy, config, task, phi, shared, arms)
    gallery = pair_gallery(policy, config, *images_with_names(task, phi, config)) if policy else ()
    one, two = config.languages
    return Plan(
        title=f"{config.target.spec}: {EMOJI_LANGUAGES[one]} and {EMOJI_LANGUAGES[two]} meet in images",
        arms=arms + augmented,
        budgets=tuple(sorted(config.images)),
        keys=(task.dataset.fingerprint, fingerprint(phi)),
        labels=np.zeros(task.dataset.sizes["test"], np.int32),
        dataset=task.dataset,
        examples=tuple(task.examples()),
        measures=MEASURES,
        unit="images a language",
        panels=(chance_panel(task.dataset.sizes["test"], (EMOJI_LANGUAGES[one], EMOJI_LANGUAGES[two])), *gallery),
        save=lambda folder: shared.final(features(config.seed), *keep).save(folder),
        parts=parts,
        contrasts=contrasts_of(augmented),
    )


def dictionary_arms(
    task: Any, phi: Any, config: DictionaryConfig, run: Run
) -> tuple[tuple[Any, ...], tuple[Any, ...], Any, Any]:
    """Return all arms, transfer without each part, what they share, and seed -> the features of transfer."""
    from functools import cache

    from tfxfer.arms.dictionary import DictionaryArms, random_vectors, strings
    from tfxfer.baselines.retrieval import standardised
    from tfxfer.experiment import Arm, Part, arm_without
    from tfxfer.models.fresh import cheap_to_repeat, fresh_copy
    from tfxfer.models.parts import parts_of, without_part
    from tfxfer.tasks.image_text_pairs import extracted
    from tfxfer.transfer.knowledge import Dictionary

    def features_of(encoder: Any) -> Any:
        found = extracted(encoder, task.dataset, config.target.image_size, config, ("train",))
        return standardised(found)["train"]

    with run.phase("features"):
        known = features_of(phi)
        shared = DictionaryArms(task, Dictionary(config.languages))

    def frozen_features_of(encoder: Any) -> Any:
        encoder.trainable = False
        return features_of(encoder)

    @cache
    def of_random(seed: int) -> Any:
        return frozen_features_of(fresh_copy(phi, seed))

    def vectors(seed: int) -> Any:
        return random_vectors(len(known), seed)

    runs = {
        "transfer": shared.arm(lambda seed: known),
        "random": shared.arm(of_random),
        "random_vectors": shared.arm(vectors),
        "same_images": shared.arm(lambda seed: known, shared=True),
        "same_images_random_vectors": shared.arm(vectors, shared=True),
    }
    probe = cheap_to_repeat(phi, config.probe_seeds)
    arms = [Arm(name, run, probe=probe) for name, run in runs.items()]
    arms.append(Arm("strings", lambda budget, seed: strings(task), one_seed=True))

    def part(name: str, places: tuple[int, ...]) -> Part:
        features = cache(lambda seed: frozen_features_of(without_part(phi, places, seed)))
        return Part(name, "weights", Arm(arm_without(name), shared.arm(features), probe=probe))

    parts = tuple(part(*each) for each in parts_of(phi).items()) if config.explain else ()
    return tuple(arms), parts, shared, lambda seed: known


RECIPE = Recipe(
    name="dictionary",
    title="images as a dictionary",
    equation="K = g(Y₁) · g(Y₂)",
    explanation=(
        "g turns a name into a vector in the space of images: where the image of this name should lie. It is "
        "learned for each language alone, from images that the other language does not have. K scores how near two "
        "names of two languages lie. The question is whether names of one thing are near, and whether that is due to "
        "what the image encoder has learned."
    ),
    config=DictionaryConfig,
    arms=ARMS,
    check=check,
    data=lambda config: (config.target.spec, config.image_encoder.spec),
    build=build,
    source_seeds=3,
    explains=lambda config: () if config.image_encoder.spec.startswith("fresh:") else ("weights",),
    predictors={"Dictionary": TRANSLATIONS},
    contrasts=(("same_images", "same_images_random_vectors"),),
    smoke={
        "image_encoder_epochs": 1,
        "image_encoder_max_examples": 256,
        "images": (20, 40),
        "seeds": 2,
        "probe_seeds": 2,
        "max_test": 50,
    },
)
