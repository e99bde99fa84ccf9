"""What a run is: frozen dataclasses that contain one another, and the flat options that a command line makes of them.

A recipe's config contains a `SourceConfig` for each model that brings knowledge, a `TargetConfig` and a
`TrainingConfig`: `config.source.epochs` is the option `--source-epochs` and the line `source_epochs:` of a config.yaml.
No config is translated into another by hand, and every field that can change a result reaches the key of what is
cached.
"""

import math
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Literal

from tfxfer.errors import UserError, suggest

GROUPS = (
    "common",
    "source",
    "target",
    "bridge",
    "model",
    "arms",
    "training",
    "output",
)  # of a help text, in this order


def option(
    default: Any,
    help: str,
    choices: tuple[str, ...] = (),
    *,
    group: str = "",
    common: bool = False,
    decides: bool = True,
    at_least: float = 0,
    at_most: float = math.inf,
    why: str = "",
    flat: str = "",
) -> Any:
    """Return a dataclass field that is an option of a command.

    Args:
        default: Its default value.
        help: Its help text.
        choices: Its allowed values.
        group: One of `GROUPS`, by default that of the section it stands in.
        common: Whether the short help shows it.
        decides: Whether it can change a result; False keeps it out of cache keys.
        at_least: Least number allowed.
        at_most: Greatest number allowed.
        why: What is wrong beyond these bounds, and the remedy; by default only the bound is named.
        flat: Its name on the command line, where that is not the section's name and its own.
    """
    own = {"help": help, "choices": choices, "group": group, "common": common, "decides": decides}
    own |= {"at_least": at_least, "at_most": at_most, "why": why, "flat": flat}
    return field(default=default, metadata=own)


def section(
    default: Any,
    prefix: str = "",
    *,
    group: str = "",
    help: Mapping[str, str] | None = None,
    leave_out: tuple[str, ...] = (),
    common: tuple[str, ...] = (),
) -> Any:
    """Return a dataclass field that holds a config of its own.

    Args:
        default: The config with this recipe's defaults.
        prefix: Its options are called `prefix_name`; the first field of the config is called `prefix` alone.
        group: Where a help text shows its options.
        help: Option texts for this recipe, by field name.
        leave_out: Fields that are no options here, and keep their default.
        common: Fields that the short help shows.
    """
    own = {"prefix": prefix, "group": group, "help": dict(help or {}), "leave_out": leave_out, "common": common}
    return field(default=default, metadata={"section": own})


@dataclass(frozen=True)
class Option:
    """One flat option of a config class.

    Attributes:
        name: Its name in a config.yaml; `flag` is its name on a command line.
        path: The attributes that lead to it, such as ("source", "epochs").
        hint: Its type.
        default: Its default value.
        metadata: What `option` was given.
    """

    name: str
    path: tuple[str, ...]
    hint: Any
    default: Any
    metadata: Mapping[str, Any]

    @property
    def flag(self) -> str:
        """Its name on a command line."""
        return flag(self.name)

    @property
    def many(self) -> bool:
        """Whether it takes several values."""
        return typing.get_origin(self.hint) is tuple

    def of(self, config: Any) -> Any:
        """Return its value in a config."""
        for name in self.path:
            config = getattr(config, name)
        return config


def flag(name: str) -> str:
    """Return the command-line spelling of an option.

    >>> flag("labels_per_class")
    '--labels-per-class'
    """
    return "--" + name.replace("_", "-")


def options_of(config_class: type) -> dict[str, Option]:
    """Return the options of a config class by their flat names, those of its sections among them."""
    return {one.name: one for one in _walk(config_class, None, (), {})}


def _walk(config_class: type, defaults: Any, path: tuple[str, ...], own: Mapping[str, Any]) -> Iterator[Option]:
    hints = typing.get_type_hints(config_class)
    prefix = own.get("prefix", "")
    for place, item in enumerate(fields(config_class)):
        default = item.default if defaults is None else getattr(defaults, item.name)
        here = (*path, item.name)
        if "section" in item.metadata:
            yield from _walk(type(default), default, here, item.metadata["section"])
        elif item.name not in own.get("leave_out", ()):
            name = item.name if not prefix else prefix if not place else f"{prefix}_{item.name}"
            metadata = dict(item.metadata)
            metadata["help"] = own.get("help", {}).get(item.name, metadata["help"])
            metadata["group"] = metadata["group"] or own.get("group", "")
            metadata["common"] = metadata["common"] or item.name in own.get("common", ())
            yield Option(metadata["flat"] or name, here, hints[item.name], default, metadata)


def with_options(config: Any, **values: Any) -> Any:
    """Return a config with some options changed, by their flat names.

    >>> with_options(RunConfig(), seeds=5).seeds
    5
    """
    known = options_of(type(config))
    for name, value in values.items():
        if name not in known:
            raise UserError(f"there is no option '{name}'; {suggest(name, known)}")
        config = _replaced(config, known[name].path, value)
    return config


def _replaced(config: Any, path: tuple[str, ...], value: Any) -> Any:
    first, *rest = path
    return replace(config, **{first: _replaced(getattr(config, first), tuple(rest), value) if rest else value})


def options_in(config: Any) -> dict[str, Any]:
    """Return the values of a config by the flat names of its options, as a config.yaml holds them."""
    return {name: one.of(config) for name, one in options_of(type(config)).items()}


def deciding(config: Any, of: type | None = None) -> dict[str, Any]:
    """Return every value of a config that can change a result, by the path of its field, for a cache key.

    Found by walking the dataclass: a field that is added decides unless its `option` says otherwise.

    Args:
        config: Any config.
        of: A base class of it: only the fields that it has.
    """
    found: dict[str, Any] = {}
    for item in fields(of or config):
        value = getattr(config, item.name)
        if is_dataclass(value):
            found |= {f"{item.name}.{name}": one for name, one in deciding(value).items()}
        elif item.metadata.get("decides", True):
            found[item.name] = value
    return found


SEED_LOOKS = (3, 5, 8, 13, 20)  # numbers of seeds after which `--seeds auto` looks whether it is decided


@dataclass(frozen=True)
class RunConfig:
    """What every recipe needs to know, whatever it does."""

    seed: int = option(0, "first random seed; run s uses seed + s", group="training", common=True, at_most=2**32 - 1)
    seeds: int | Literal["auto"] = option(
        3,
        f"how many times each arm is trained, or auto: {', '.join(map(str, SEED_LOOKS[:-1]))} or {SEED_LOOKS[-1]}, as "
        "soon as transfer against random is decided",
        group="training",
        common=True,
        decides=False,
        at_least=1,
        at_most=1000,
    )
    probe_seeds: int | None = option(
        None,
        "how many times an arm is fitted that costs little: a linear model on fixed features, a baseline (default: 10, "
        "or --seeds where that is more, and for a frozen model of more than 2,000,000 parameters)",
        group="training",
        decides=False,
        at_least=1,
        at_most=1000,
    )
    source_seeds: int | None = option(
        None,
        "how many times the source is trained, each with a seed of its own; the runs take them in turn, and intervals "
        "then hold the luck of that training too (default: 3 in structure and dictionary with their own source, which "
        "trains in seconds, else 1)",
        group="source",
        decides=False,
        at_least=1,
        at_most=1000,
    )
    margin: float | None = option(
        None,
        "greatest difference that would not matter, chosen before the run: the report then says too whether transfer "
        "is equivalent or non-inferior to each other arm",
        group="arms",
        decides=False,
        at_least=1e-12,
        why="a margin is a number above 0, such as 0.01",
    )
    device: str = option("auto", "auto, cpu, gpu or gpu:N", group="training")
    precision: str = option(
        "float32",
        "arithmetic of the models",
        ("float32", "mixed_bfloat16", "mixed_float16"),
        group="training",
    )
    jit: bool = option(False, "compile with XLA (on a CPU slower for small CNNs, faster on a GPU)", group="training")
    fresh: bool = option(
        False,
        "run every arm again, even where its record is kept from an earlier run",
        group="output",
        decides=False,
    )
    allow_overlap: bool = option(
        False,
        "go on where more than 5 % of the test examples are also in train or validation, or of the validation examples "
        "in train (the same image file, else the same text without case); up to 5 % is noted and never refused; the "
        "verdict says either",
        group="target",
        decides=False,
    )
    smoke: bool = option(
        False,
        "the same code on very little data, in seconds; the figures mean nothing",
        group="output",
        common=True,
        decides=False,
    )
    download: bool = option(False, "allow downloads of data sets and pretrained weights", group="output", decides=False)
    data_dir: str | None = option(
        None,
        "prepared data and caches; of several, A:B (A;B on Windows), all are read and the first that can be written "
        "is written (default: $TFXFER_DATA or the user cache folder)",
        group="output",
        decides=False,
    )
    run_dir: str | None = option(None, "this run's folder (default: runs/RECIPE-TIME)", group="output", decides=False)
    explain: bool = option(
        False,
        "also leave out one part of the source at a time and fit transfer again: where did the gain come from? It "
        "costs a training for each part and seed",
        group="arms",
        decides=False,
    )
    explain_at: int = option(
        0, "budget at which --explain leaves parts out (0: the greatest)", group="arms", decides=False
    )
    explain_parts: tuple[str, ...] = option(
        (),
        "parts that --explain leaves out, by name or kind: weights (groups of tensors), towers (encoders, decoder), "
        "classes (groups of source classes, each of which costs a training of the source; default: all but classes)",
        group="arms",
        decides=False,
    )

    @property
    def most_seeds(self) -> int:
        """The greatest number of times that an arm is trained."""
        return SEED_LOOKS[-1] if self.seeds == "auto" else self.seeds


@dataclass(frozen=True)
class SourceConfig:
    """A model that brings knowledge: given by its spec, or trained on a data set once and cached."""

    spec: str = option("glyphs/by_face", "a data set to learn, or a trained model's spec")
    label: str | None = option(None, "label column of that data set")
    text: str | None = option(None, "text column of that data set")
    architecture: str = option(
        "auto", "what is trained on it: fresh:cnn, fresh:vit, fresh:bert, fresh:text_cnn or auto"
    )
    epochs: int = option(2, "epochs of that training", at_least=1)
    max_examples: int = option(24000, "at most this many examples an epoch (0: all)")
    learning_rate: float = option(0.0, "largest learning rate (0: 1e-2 for fresh:cnn, else 1e-3)")
    rescale: str | None = option(
        None,
        "file: or preset: image model: SCALE or SCALE,OFFSET of values 0..255, such as 1/255 (default: what a preset's "
        "files say, 0..255 for a file)",
        flat="rescale",
    )


@dataclass(frozen=True)
class TargetConfig:
    """The data set of the task that is to profit."""

    spec: str = option("languages/latin", "the task that is to profit: a data set")
    text: str | None = option(None, "text column (several joined with +)")
    image: str | None = option(None, "image column")
    label: str | None = option(None, "label column")
    caption: str | None = option(None, "caption column")
    question: str | None = option(None, "question column")
    answer: str | None = option(None, "answer column")
    leave_out: tuple[str, ...] = option((), "classes that are left out", flat="leave_out")
    image_size: int = option(
        0,
        "side in pixels that images are resized to (0: as they are, 64 when they vary)",
        flat="image_size",
        at_most=8192,
    )
    max_validation: int = option(400, "at most this many validation examples (0: all)", flat="max_validation")
    max_test: int = option(0, "at most this many test examples (0: all)", flat="max_test")
    image_dir: str | None = option(None, "folder of the images that the target's file names", flat="image_dir")
    bad_items: str = option(
        "refuse",
        "images and rows of the target that cannot be used: refuse and list all of them, or skip",
        ("refuse", "skip"),
        flat="bad_items",
    )

    def reading(self) -> dict[str, Any]:
        """Return how the files are read, as `tfxfer.load` takes it."""
        return {"image_dir": self.image_dir, "bad_items": self.bad_items}

    def columns(self, *names: str) -> dict[str, str | None]:
        """Return column options by name, as `tfxfer.load` takes them."""
        return {name: getattr(self, name) for name in names}


def middle(grid: Sequence[float]) -> float:
    """Return the middle of a grid, the lower of two.

    >>> middle((1.0, 0.1, 0.3)), middle((2.0, 1.0))
    (0.3, 1.0)
    """
    values = sorted(set(grid))
    return values[(len(values) - 1) // 2]


@dataclass(frozen=True)
class TrainingConfig:
    """How a network is trained; every arm that trains one gets the same."""

    steps: int = option(150, "steps of training")
    steps_scaling: str = option(
        "constant",
        "steps at smaller budgets: the same, or fewer by the square root of their share of the greatest",
        ("constant", "sqrt"),
    )
    epochs: int = option(0, "epochs of training, where steps is 0")
    batch_size: int = option(16, "examples a step", at_least=1)
    learning_rates: tuple[float, ...] = option(
        (3e-3,),
        "grid of learning rates: from its middle, each arm climbs to the one that validates best",
        at_least=1e-12,
        why="a rate is a number above 0, such as 0.003",
    )
    schedule: str = option(
        "cosine",
        "learning rate after its rise: cosine falls to 1 % at the last step; constant stays, so that a checkpoint "
        "equals a training of so many steps",
        ("cosine", "constant"),
    )
    checkpoints: int = option(
        0,
        "also score the test split at so many steps within each training that trains a network, each twice the one "
        "before: 5 are 1/16, 1/8, 1/4, 1/2 and all of the steps (0: at the end only). The results stay the same",
        decides=False,
        at_most=20,
    )
    train_set: tuple[str, ...] = option(
        (),
        "what of the pretrained network trains: head, norms, bias, lora:R, adapter:R, prefix or all. Of several, the "
        "first is that of the saved model, and each other one is one more arm (default: as the recipe does)",
        decides=False,
    )

    @property
    def learning_rate(self) -> float:
        """The middle of the grid, where a search begins."""
        return middle(self.learning_rates)

    def steps_for(self, examples: int, share: float = 1.0) -> int:
        """Return the number of steps of a training.

        Args:
            examples: Training examples; decide where `epochs` says how long.
            share: The budget as a share of the greatest; decides where steps are scaled.
        """
        if not self.steps:
            return self.epochs * math.ceil(examples / self.batch_size)
        return max(1, round(self.steps * math.sqrt(share))) if self.steps_scaling == "sqrt" else self.steps

    def checkpoint_steps(self, steps: int) -> tuple[int, ...]:
        """Return the steps of a training after which it is scored too, ascending, each once.

        >>> TrainingConfig(checkpoints=5).checkpoint_steps(200), TrainingConfig(checkpoints=5).checkpoint_steps(3)
        ((12, 25, 50, 100, 200), (1, 3))
        """
        return tuple(sorted({max(1, steps >> halvings) for halvings in range(self.checkpoints)}))

    def at(self, learning_rate: float) -> typing.Self:
        """Return the same training with one learning rate."""
        return replace(self, learning_rates=(learning_rate,))


@dataclass(frozen=True)
class AugmentConfig:
    """Edited copies of the training examples, for arms beside those without them."""

    policy: str = option(
        "none",
        "run each arm that trains also with edited copies of its training examples, whose labels stay true: auto, or "
        "edits joined by +, such as images:randaugment, text:typing:0.05, rendered, pairs; of several strengths "
        "(0,0.1) validation chooses; `tfxfer list augmentations` shows all",
        common=True,
        decides=False,
    )
    copies: int = option(4, "copies of each training example", decides=False, at_least=1, at_most=1000)


@dataclass(frozen=True)
class CaptionModelConfig:
    """How a captioner's decoder gets its image."""

    conditioning: str = option(
        "cross_attention",
        "cross-attention to every position of the feature map, or a prefix of vectors before the words (ClipCap)",
        ("cross_attention", "prefix"),
        group="model",
    )
    prefix_length: int = option(4, "vectors of the prefix", group="model")
    positions: int = option(
        4, "side of the feature map; the encoder's is average-pooled down to it (0: as it is)", group="model"
    )
    cross_attention: str = option(
        "fresh", "cross-attention starts fresh or as self-attention", ("fresh", "copied"), group="model"
    )
    image_word_logits: bool = option(
        True, "f(X)·g(y) beside the decoder's h: a logit for each word from the image as a whole", group="model"
    )

    @property
    def prefix(self) -> int:
        """Vectors of the prefix, 0 with cross-attention."""
        return self.prefix_length if self.conditioning == "prefix" else 0


@dataclass(frozen=True)
class VQAHeadConfig:
    """The layer K of visual question answering."""

    interaction: str = option(
        "cross_attention",
        "h: the question attends to positions (cross_attention), scales their features (film), or f·g alone (bilinear)",
        ("cross_attention", "film", "bilinear"),
        group="model",
    )
    dim: int = option(128, "width of f, g and h", group="model", at_least=1)
    heads: int = option(4, "attention heads of cross_attention; they divide dim", group="model", at_least=1)
    dropout: float = option(
        0.1, "fraction of the units before the answers that is dropped in training", group="model", at_most=0.999
    )
    dot: bool = option(True, "whether K has the term f·g", group="model")

    @property
    def h(self) -> str | None:
        """The interaction as `VQAHead` takes it: None leaves f·g alone."""
        return None if self.interaction == "bilinear" else self.interaction


@dataclass(frozen=True)
class CaptionTrainingConfig(TrainingConfig):
    """How a captioner is trained, by teacher forcing."""

    max_length: int = option(
        16,
        "tokens of a caption, its begin and end among them",
        at_least=3,
        why="leaves no room for a word between begin and end; give 3 or more",
        flat="max_length",
    )
    word_dropout: float = option(0.0, "fraction of the words read that are hidden in training", at_most=1)
    label_smoothing: float = option(0.1, "ε of label smoothing", at_most=1)
    decoder_lr_scales: tuple[float, ...] = option(
        (1.0,),
        "learning rate of the pretrained decoder weights, relative to the new ones'; of several, each arm chooses the "
        "one that validates best, at its own learning rate",
    )
    freeze_decoder_fractions: tuple[float, ...] = option(
        (0.0,),
        "fraction of the steps, at the start, in which the decoder weights that are not new are frozen; of several, "
        "each arm chooses the one that validates best, at its own learning rate",
        at_most=1,
    )
    unfreeze_encoder_fraction: float = option(
        0.0, "fraction of the steps, at the end, in which the image encoder trains too", at_most=1
    )
    encoder_lr_scale: float = option(0.1, "learning rate of the image encoder, relative to the new weights'")
    num_validations: int = option(2, "validations in a training; the best one's weights are kept", at_least=1)

    @property
    def decoder_lr_scale(self) -> float:
        """The middle of the grid, where a search begins."""
        return middle(self.decoder_lr_scales)

    @property
    def freeze_decoder_fraction(self) -> float:
        """The middle of the grid, where a search begins."""
        return middle(self.freeze_decoder_fractions)


PROBE_SEEDS = 10  # benchmarks/verdict.md: with 3, a true difference of .03 is found in a fifth of all trials
LARGEST_NUMBER = 2**32 - 1  # of a whole number, where an option has no bound of its own


def probe_seeds(config: RunConfig) -> int:
    """Return with how many seeds an arm runs that costs little: `probe_seeds`, by default 10 and at least `seeds`."""
    return config.probe_seeds or (config.most_seeds if config.smoke else max(PROBE_SEEDS, config.most_seeds))


def check_values(config: Any) -> None:
    """Raise `UserError` when a value of a config is out of its range, naming the option and the remedy."""
    check_ranges(config)
    if config.seeds == "auto" and config.probe_seeds is not None:
        raise UserError("--probe-seeds: --seeds auto chooses how often every arm runs; leave one of them out")
    seeds = max(config.most_seeds, probe_seeds(config))
    if config.seed + seeds - 1 > LARGEST_NUMBER:
        raise UserError(f"--seed {config.seed}: the last of {seeds} seeds must be at most {LARGEST_NUMBER:,}")
    if config.device not in ("auto", "cpu", "gpu") and not _is_numbered_gpu(config.device):
        raise UserError(f"--device {config.device}: use auto, cpu, gpu or gpu:N, e.g. gpu:1")


def check_ranges(config: Any) -> None:
    """Raise `UserError` when a value is none of its option's choices, or out of its bounds; of any config."""
    for one in options_of(type(config)).values():
        value = one.of(config)
        for each in value if isinstance(value, tuple) else (value,):
            _check_value(one, each)
        if value == () and one.default != ():
            raise UserError(f"{one.flag}: give at least one value")


def _check_value(one: Option, value: Any) -> None:
    choices = one.metadata["choices"]
    if choices and value not in choices:
        raise UserError(f"{one.flag} {value}: not one of its values; {suggest(value, choices)}")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    least, most, why = (one.metadata[name] for name in ("at_least", "at_most", "why"))
    if isinstance(value, int):
        most = min(most, LARGEST_NUMBER)
    if not math.isfinite(value):
        raise UserError(f"{one.flag} {value}: must be a finite number")
    if value < least:
        below = "must not be negative" if least == 0 else f"must be {least:g} or more"
        raise UserError(f"{one.flag} {value}: {why or below}")
    if value > most:
        share = "is a fraction, from 0 to 1" if most == 1 else f"must be at most {most:,}"
        raise UserError(f"{one.flag} {value}: {why or share}")


def _is_numbered_gpu(device: str) -> bool:
    kind, _, number = device.partition(":")
    return kind == "gpu" and number.isdigit()
