"""Knowledge fusion: K = f(X)·g(Y) + h(X, Y) of an image and a text, for one decision.

    f    the image encoder: by default a CNN that learned to tell other characters apart, frozen
    g    the text encoder: by default a BERT that learned names of other characters, frozen
    K    a head that joins both to a class of the pair: by default late fusion, the mean of two classifiers
    X, Y by default a character's image, and its name of which words are hidden; the class is its script

Command:   python -m tfxfer.train fusion
Replay:    python -m tfxfer.train fusion --config runs/fusion-<time>/config.yaml
Expected:  transfer − better_single about +.060 accuracy (95 % interval −.002 to +.122: no evidence overall, better at
           20 labels a class); transfer − random +.022, no evidence; n-grams of the name alone as good as transfer.
           Seeds 0, 1, 2 (docs/fusion.md).

Before a head is trained, the complementarity check says what image and text tell alone and together. The other arms are
each side alone, other heads, the image of another example, and n-grams of the text beside φ(image).
"""

from dataclasses import dataclass, replace
from typing import Any

from tfxfer.config import RunConfig, SourceConfig, TargetConfig, TrainingConfig, option, section
from tfxfer.data import spec as data_spec
from tfxfer.data.tables import read_header, read_table
from tfxfer.errors import UserError
from tfxfer.models import spec as model_spec
from tfxfer.recipes.checks import check_language_model, check_source, check_target
from tfxfer.recipes.predictors import FUSION
from tfxfer.recipes.recipe import Plan, Recipe
from tfxfer.recipes.sections import SMOKE_SOURCES, image_encoder_section, language_model_section
from tfxfer.runs import Run

HEADS = ("average", "concatenation", "gated", "low_rank", "film", "cross_attention")
FORMS = "give glyphs, or csv:PATH or jsonl:PATH with an image, a text and a label a row"
OTHER = {"role": "another head"}
ARMS: dict[str, Any] = {
    "transfer": "The method under study: image and text joined by the head of --head, over both pretrained encoders.",
    "random": "The same head over the same encoders with fresh random weights. If this does as well, nothing was "
    "transferred. It is the main control.",
    "better_single": {
        "text": "image_only or text_only, whichever validates better. Fusion helps where transfer is better than this.",
        "phrase": "the better single modality",
        "role": "baseline",
    },
    "image_only": {"text": "A hidden layer over the image alone.", "phrase": "the image alone"},
    "text_only": {"text": "A hidden layer over the text alone.", "phrase": "the text alone"},
    "shuffled": {
        "text": "The same head, trained and tested with the image of another example of the same split. If this does "
        "as well, the image taught nothing.",
        "phrase": "the image of another example",
    },
    "average": OTHER | {"text": "Late fusion: the mean of two classifiers' probabilities.", "phrase": "late average"},
    "concatenation": OTHER | {"text": "One hidden layer over both vectors."},
    "gated": OTHER | {"text": "A gate mixes both sides in each hidden unit (Arevalo et al. 2017).",
                      "phrase": "the gate"},
    "low_rank": OTHER | {"text": "A product of both sides in each hidden unit: low-rank bilinear (Kim et al. 2017).",
                         "phrase": "the low-rank bilinear head"},
    "film": OTHER | {"text": "The text scales and shifts the image's features (FiLM, Perez et al. 2018).",
                     "phrase": "FiLM"},
    "cross_attention": OTHER | {"text": "The text's tokens attend to the image's positions."},
    "native": "Logistic regression on n-grams of the text, without any transfer.",
    "native_with_image": {
        "text": "One linear model on the same n-grams and φ(image): does the image help the usual method of the text's "
        "field?",
        "phrase": "n-grams beside the image",
        "role": "combination",
    },
    "native_with_random_image": {
        "text": "As native_with_image, with an image encoder that has fresh random weights.",
        "phrase": "n-grams beside random features of the image",
        "role": "control",
    },
    "majority": "Always answers with the most frequent class. Anything useful must beat it.",
}  # fmt: skip


@dataclass(frozen=True)
class FusionConfig(RunConfig):
    """Knowledge fusion K = f(X)·g(Y) + h(X, Y): an image and a text are joined for one decision."""

    image_encoder: SourceConfig = image_encoder_section()
    language_model: SourceConfig = language_model_section("the text encoder")
    target: TargetConfig = section(
        TargetConfig("glyphs/by_character"),
        "target",
        group="target",
        help={"spec": "images with a text and a class: glyphs, csv:PATH, jsonl:PATH, tfds:NAME, fuse:A+B?…"},
        leave_out=("caption", "question", "answer"),
        common=("spec", "image", "text", "label"),
    )
    training: TrainingConfig = section(
        TrainingConfig(steps=200, batch_size=32, learning_rates=(1e-3, 3e-3, 1e-2, 3e-2, 1e-1)),
        group="training",
        leave_out=("epochs", "steps_scaling", "checkpoints", "train_set"),
    )
    l2: tuple[float, ...] = option(
        (1e-4, 1e-3, 1e-2),
        "grid of the L2 penalty on a head's weights: from its middle, each arm climbs to the one that validates best",
        group="training",
    )
    head: str = option(
        "average", "the head under study, transfer; the others run beside it", HEADS, group="model", common=True
    )
    dim: int = option(64, "width of a head's hidden layer", group="model", at_least=1)
    dropout: float = option(
        0.1, "fraction of a head's hidden units that is dropped in training", group="model", at_most=0.999
    )
    modality_dropout: float = option(
        0.0,
        "fraction of the training examples that lose image or text, anew in each step",
        group="model",
        at_most=0.999,
    )
    positions: int = option(
        2, "side of the image's feature map, averaged down to it (0: as it is)", group="model", at_most=64
    )
    max_length: int = option(
        20,
        "tokens of a text, its begin and end among them; longer ones are cut",
        group="model",
        at_least=3,
        why="leaves no room for a word between begin and end; give 3 or more",
    )
    hide_words: float | None = option(
        None,
        "share of the words of each text that are hidden, those of class names always (default: 0.5 for glyphs, whose "
        "names name their script; else 0: none)",
        group="target",
        at_most=1,
    )
    missing: str = option(
        "refuse",
        "rows without an image or a text: refuse them, or drop (leave them out, counted)",
        ("refuse", "drop"),
        group="target",
    )
    max_train: int = option(4000, "at most this many training examples to draw from (0: all)", group="target")
    labels_per_class: tuple[int, ...] = option(
        (20, 80), "budgets: labels a class in training", group="arms", common=True, decides=False, at_least=1
    )
    arms: tuple[str, ...] = option(tuple(ARMS), "what runs side by side", tuple(ARMS), group="arms", decides=False)


def resolve(config: FusionConfig) -> FusionConfig:
    """Return the config with what fits the target: of glyphs the script is asked for, and half of the words hidden."""
    glyphs = config.target.spec.split("/")[0] == "glyphs"
    hide = config.hide_words if config.hide_words is not None else 0.5 if glyphs else 0.0
    label = config.target.label or ("script" if glyphs else None)
    return replace(config, hide_words=hide, target=replace(config.target, label=label))


def check(config: FusionConfig) -> None:
    """Check what can be checked without TensorFlow, the rows of a table too; raises `UserError`."""
    encoder = config.image_encoder
    check_source(encoder, config, "image_encoder")
    check_source(config.language_model, config, "language_model")
    check_language_model(config.language_model, config.max_length)
    for name, source in (("image-encoder", encoder), ("language-model", config.language_model)):
        if model_spec.is_model(source.spec) and model_spec.parse(source.spec).fresh:
            raise UserError(
                f"--{name} {source.spec}: has random weights and stays frozen; give one that learned something"
            )
    target = check_target(config.target, config, "image", "text", "label", rows=False)  # some rows may lack one
    if target.kind in ("csv", "jsonl"):
        check_rows(target, config)
    elif target.kind in ("names", "languages", "folder", "text", "captions", "coco"):
        raise UserError(f"--target {config.target.spec}: has no image, text and class in each example; {FORMS}")
    if config.training.steps < 1:
        raise UserError("--steps 0: nothing would be learned; give 1 or more")
    if "transfer" not in config.arms:
        raise UserError("--arms: 'transfer' is the method under study and must be among them")


def check_rows(parsed: data_spec.Spec, config: FusionConfig) -> None:
    """Refuse a table that lacks a column, and count the rows that lack an image or a text; raises `UserError`."""
    path = data_spec.existing_file(parsed)
    given = {role: name for role, name in config.target.columns("image", "text", "label").items() if name}
    header = read_header(path, parsed.kind)
    roles = data_spec.find_columns(given, header, path.name)
    for role in ("image", "text", "label"):
        if role not in roles:
            raise UserError(
                f"{path.name}: has no {role} column among {', '.join(map(repr, header))}; name it with --target-{role}"
            )
    table = read_table(path, parsed.kind, {role: roles[role] for role in ("image", "text", "label")})
    counts, first = {}, []
    for role in ("image", "text"):
        empty = [row for row, value in enumerate(table.values[role]) if not value.strip()]
        if empty:
            counts[role] = f"{len(empty):,} of {len(table):,} rows have no {role}"
            first.append(empty[0])
    if counts and config.missing == "refuse":
        where = table.places(min(first)).removeprefix(f"{path.name} ")
        raise UserError(
            f"{path.name}: {' and '.join(counts.values())} (the first: {where}); fill them in, or leave these rows out "
            "with --missing drop"
        )
    check_classes(table, config, path.name)


def check_classes(table: Any, config: FusionConfig, name: str) -> None:
    """Refuse labels of which only one is left beside an image and a text; raises `UserError`."""
    rows = zip(*(table.values[role] for role in ("image", "text", "label")))
    kept = {label.strip() for image, text, label in rows if image.strip() and text.strip()}
    kept -= set(config.target.leave_out)
    if len(kept) < 2:
        raise UserError(f"{name}: {len(kept)} class is left with an image and a text; there is nothing to decide")


def build(config: FusionConfig, run: Run) -> Plan:
    """Load the pairs and both encoders, print the complementarity check, and lay out the arms."""
    from tfxfer.evaluate.complementarity import complementarity
    from tfxfer.recipes.diagnostics.fusion import fusion_panels
    from tfxfer.recipes.panels.complementarity import complementarity_panel, sentences
    from tfxfer.sources.load import load_language_model
    from tfxfer.tasks.classification import labels_there_are
    from tfxfer.tasks.fused_pairs import FusedPairs, load_fused, vectors
    from tfxfer.transfer.graph import fingerprint

    dataset = load_fused(config.target, config, run)  # before anything is trained for it
    config = replace(config, labels_per_class=labels_there_are(config, dataset, run))
    model, tokenizer = load_language_model(config.language_model, config, run)
    encoder, shape = load_image_encoder(config, dataset, run)
    pairs = FusedPairs(dataset, shape)
    encoders = Encoders(encoder, getattr(model, "backbone", model), tokenizer, shape, config)
    with run.phase("features"):
        known = encoders.features(pairs)
    with run.phase("complementarity"):
        train = (vectors(known.image["train"]), vectors(known.text["train"]))
        found = complementarity(*train, pairs.labels("train"), seed=config.seed)
    for line in sentences(found):
        run.say(line)
    heads, arms = fusion_arms(pairs, known, encoders, config, run)
    images = pairs.test_images()
    return Plan(
        title=f"{config.target.spec}: one decision from image and text",
        arms=arms,
        budgets=tuple(sorted(config.labels_per_class)),
        keys=(dataset.fingerprint, fingerprint(encoders.images), fingerprint(encoders.texts)),
        labels=pairs.labels("test"),
        dataset=dataset,
        class_names=pairs.class_names,
        examples=tuple(pairs.examples(images)),
        save=lambda folder: encoders.classifier(known, heads["transfer"], pairs.class_names).save(folder),
        panels=(complementarity_panel(found),),
        diagnose=lambda comparison: fusion_panels(
            {name: arm for name, arm in heads.items() if name in comparison.arms}, pairs, images, comparison,
            {"arms": ARMS}, run,
        ),
    )  # fmt: skip


def load_image_encoder(config: FusionConfig, dataset: Any, run: Run) -> tuple[Any, tuple[int, int, int]]:
    """Return the image encoder, and the images' height, width and channels as it takes them."""
    from tfxfer.sources.load import load_source

    side = config.target.image_size
    stored = dataset.image_shape
    size = (side,) * 2 if side else stored[:2] if stored else (64, 64)
    encoder = load_source(config.image_encoder, config, run, image_size=side)
    height, width, channels = encoder.input.shape[1:]
    return encoder, (height or size[0], width or size[1], channels)


class Encoders:
    """Both frozen encoders, and copies of them with fresh weights.

    Args:
        image: The image encoder's model.
        text: A BERT.
        tokenizer: Its tokenizer.
        shape: (H, W, C) of the images.
        config: The config.
    """

    def __init__(
        self, image: Any, text: Any, tokenizer: Any, shape: tuple[int, int, int], config: FusionConfig
    ) -> None:
        self.image, self.text, self.tokenizer, self.shape, self.config = image, text, tokenizer, shape, config
        self.images, self.texts = self._made(image, text)

    def _made(self, image: Any, text: Any) -> tuple[Any, Any]:
        from tfxfer.transfer.knowledge.fusion.classifier import image_positions, text_tokens
        from tfxfer.transfer.knowledge.text_towers import bert_tower

        tower = bert_tower(text, self.tokenizer.vocabulary, self.config.max_length, self.tokenizer.lowercase)
        return image_positions(image, self.shape, self.config.positions), text_tokens(tower)

    def features(self, pairs: Any, fresh: int | None = None) -> Any:
        """Return the features of all examples; with a seed, of the same encoders with fresh weights."""
        from tfxfer.models.fresh import fresh_copy
        from tfxfer.tasks.fused_pairs import PairFeatures

        made = self.images, self.texts
        if fresh is not None:
            made = self._made(fresh_copy(self.image, fresh), fresh_copy(self.text, fresh))
        return PairFeatures.extracted(*made, pairs, self.config)

    @property
    def cheap(self) -> bool:
        """Whether copies with fresh weights can be run for every seed."""
        from tfxfer.models.fresh import SMALL

        return bool(self.image.count_params() + self.text.count_params() <= SMALL)

    def classifier(self, known: Any, arm: Any, class_names: tuple[str, ...]) -> Any:
        """Return the classifier of raw images and texts with the head that an arm trained."""
        from tfxfer.transfer.knowledge.fusion import FusionClassifier

        arm.final()
        return FusionClassifier.of(self.images, self.texts, known.layers, arm.trainer.head, class_names)


def fusion_arms(pairs: Any, known: Any, encoders: Encoders, config: FusionConfig, run: Run) -> tuple[Any, Any]:
    """Return name -> the arms of heads over the pretrained encoders, and all arms."""
    from functools import cache, lru_cache

    from tfxfer.arms.fusion import FusionArm, NativeText, better_single, shuffled_features
    from tfxfer.arms.logging import report_training
    from tfxfer.baselines.classification import majority
    from tfxfer.experiment import Arm
    from tfxfer.transfer.knowledge.fusion import HeadTrainer

    options = {"dim": config.dim, "dropout": config.dropout, "modality_dropout": config.modality_dropout}
    keep = (max(config.labels_per_class), config.seed)
    classes = len(pairs.class_names)

    def pretrained(seed: int) -> Any:
        return known

    @lru_cache(maxsize=config.most_seeds if encoders.cheap else 1)
    def fresh(seed: int) -> Any:
        return encoders.features(pairs, fresh=seed)

    @cache
    def trainer(head: str) -> HeadTrainer:
        return HeadTrainer(head, known.shapes, classes, options, config.seed)

    def arm(name: str, head: str, features: Any) -> FusionArm:
        report = report_training(run, name)
        return FusionArm(trainer(head), pairs, features, config.training, config.l2, keep, report)

    heads = {"transfer": arm("transfer", config.head, pretrained)}
    others = (*(head for head in HEADS if head != config.head), "image_only", "text_only")
    heads |= {name: arm(name, name, pretrained) for name in others}
    controls = {
        "random": arm("random", config.head, fresh),
        "shuffled": arm("shuffled", config.head, shuffled_features(pretrained)),
    }
    dear = () if encoders.cheap else ("random", "native_with_random_image")
    found = [Arm(name, one, recall=one.recall, one_seed=name in dear) for name, one in (heads | controls).items()]
    singles = ("image_only", "text_only")
    found.append(Arm("better_single", better_single([heads[name] for name in singles], singles)))
    native = {
        "native": NativeText(pairs, pretrained).alone,
        "native_with_image": NativeText(pairs, pretrained).with_image,
        "native_with_random_image": NativeText(pairs, fresh).with_image,
    }
    found += [Arm(name, one, one_seed=name in dear) for name, one in native.items()]
    size = len(pairs.labels("test"))
    found.append(Arm("majority", lambda budget, seed: majority(pairs.labels("train"), size, classes), one_seed=True))
    order = list(ARMS)
    return heads, tuple(sorted(found, key=lambda one: order.index(one.name)))


RECIPE = Recipe(
    name="fusion",
    title="knowledge fusion",
    equation="K = f(X) · g(Y) + h(X, Y)",
    explanation=(
        "f encodes an image and g a text; both were trained before, each on its own modality, and stay as they are. A "
        "head joins what they give to one decision: by a mean, side by side, by a gate, by the product f·g, or by an "
        "interaction h. Two sides are better than one only if they tell different things. So each side also stands "
        "alone, and what both tell is estimated before a head is trained."
    ),
    config=FusionConfig,
    arms=ARMS,
    check=check,
    data=lambda config: (config.target.spec, config.language_model.spec, config.image_encoder.spec),
    build=build,
    resolve=resolve,
    predictors={"FusionClassifier": FUSION},
    contrasts=(("native_with_image", "native"), ("native_with_image", "native_with_random_image")),
    smoke=SMOKE_SOURCES
    | {
        "labels_per_class": (2, 4),
        "seeds": 2,
        "steps": 4,
        "learning_rates": (1e-3,),
        "l2": (0.0,),
        "max_train": 400,
        "max_validation": 60,
        "max_test": 60,
    },
)
