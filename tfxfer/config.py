"""What a run is: frozen dataclasses, one a recipe. A field's metadata holds its help text and its allowed values."""

from dataclasses import dataclass, field, fields
from typing import Any

from tfxfer.errors import UserError, suggest


def option(default: Any, help: str, choices: tuple[str, ...] = ()) -> Any:
    """Return a dataclass field with a help text and, where given, the allowed values."""
    return field(default=default, metadata={"help": help, "choices": choices})


@dataclass(frozen=True)
class RunConfig:
    """What every recipe needs to know, whatever it does."""

    seed: int = option(0, "first random seed; run s uses seed + s")
    seeds: int = option(3, "how many times each arm is trained, with other draws of labels and fresh weights")
    device: str = option("auto", "auto, cpu, gpu or gpu:N")
    precision: str = option("float32", "arithmetic of the models", ("float32", "mixed_bfloat16", "mixed_float16"))
    jit: bool = option(False, "compile the models with XLA (slower for small CNNs on a CPU, faster on a GPU)")
    fresh: bool = option(False, "run every arm again, even where the same arm was run before and its record is kept")
    smoke: bool = option(False, "the same code path on very little data, in seconds; the figures mean nothing")
    download: bool = option(False, "allow downloads (data sets, pretrained weights)")
    data_dir: str | None = option(None, "prepared data and caches (default: $TFXFER_DATA or the user cache folder)")
    run_dir: str | None = option(None, "where this run's folder goes (default: runs/RECIPE-TIME)")


@dataclass(frozen=True)
class TaskConfig(RunConfig):
    """What recipes share that carry a source's knowledge into a classification task."""

    source: str = option("glyphs/by_face", "what is to be transferred: a data set to learn, or a trained model's spec")
    source_label: str | None = option(None, "column of the source data set that is learned")
    model: str = option("auto", "architecture trained on a source data set: fresh:cnn, fresh:bert or auto")
    source_epochs: int = option(2, "epochs of training the source")
    source_max: int = option(24000, "at most this many source examples an epoch (0: all)")
    source_learning_rate: float = option(
        0.0, "largest learning rate of that training (0: 1e-2 for fresh:cnn, else 1e-3)"
    )
    target: str = option("languages/latin", "the task that is to profit: a data set")
    target_text: str | None = option(None, "text column of the target (several joined with +)")
    target_image: str | None = option(None, "picture column of the target")
    target_label: str | None = option(None, "label column of the target")
    leave_out: tuple[str, ...] = option((), "classes of the target that are left out")
    image_size: int = option(0, "side in pixels that pictures are resized to (0: as they are, 64 when they vary)")
    patch_size: int = option(8, "side in pixels of the picture patches that enter a text body")
    unit: str = option("characters", "tokens of text that enters a picture body", ("characters", "words", "bytes"))
    arms: tuple[str, ...] = option(
        ("transfer", "random", "scratch", "finetune", "native", "majority"),
        "what is run side by side",
        ("transfer", "random", "scratch", "finetune", "native", "majority"),
    )
    labels_per_class: tuple[int, ...] = option((5, 20, 80), "label budgets: examples a class in training")
    trained_at: tuple[int, ...] = option(
        (), "budgets at which scratch and finetune run (default: the one nearest to 20)"
    )
    epochs: int = option(6, "epochs of the arms that train a network")
    updates: int = option(0, "steps of those arms, the same whatever the budget (0: as --epochs says)")
    learning_rates: tuple[float, ...] = option(
        (1e-4, 5e-4, 2e-3, 1e-2, 5e-2),
        "grid of the arms that train a network: each climbs from its middle to the value that validates best",
    )
    batch_size: int = option(16, "examples a step when an arm trains a network")
    max_validation: int = option(400, "at most this many validation examples (0: all)")
    max_test: int = option(0, "at most this many test examples (0: all)")


@dataclass(frozen=True)
class FeatureConfig(TaskConfig):
    """Feature transfer f(x) = W·φ(x) + b: a frozen source body, a linear head fitted on the target."""

    source_max: int = option(14000, "at most this many source examples an epoch (0: all)")
    layer: str | None = option(None, "φ ends at this layer of the source (default: the one before its head)")
    bridge: str = option(
        "auto",
        "how the target's examples enter the source: render (text as pixels), tokens (an embedding grid, or "
        "picture patches), none (same modality), auto",
        ("auto", "render", "tokens", "none"),
    )
    height: int = option(32, "height in pixels of a picture that enters φ")
    width: int = option(224, "width in pixels of a rendered text (pictures are made square)")
    font_size: int = option(24, "size in pixels of rendered letters")
    layout: str = option(
        "line",
        "how rendered text is laid out: one line, wrapped rows, or a square",
        ("line", "rows", "square"),
    )
    head: str = option("linear", "linear (W·φ + b by L-BFGS) or mlp (Dense 512, then classes)", ("linear", "mlp"))
    unfreeze: str | None = option(None, "finetune from this layer up (default: everything)")


@dataclass(frozen=True)
class StructureConfig(TaskConfig):
    """Structure transfer M = T(S): a model made out of a source model by a weight map."""

    transfer: str = option(
        "encoder_to_vision",
        "how the model is made: a ready transfer of tfxfer.transfer.structure",
        (
            "encoder_to_vision",
            "vision_to_encoder",
            "encoder_to_decoder",
            "image_cnn_to_text_cnn",
            "widen",
            "deepen",
            "shrink",
            "resize_input",
            "merge",
        ),
    )
    units: tuple[str, ...] = option(
        (), "widen, shrink: LAYER=NUMBER of units (default: all hidden layers, twice or half as wide)"
    )
    noise: float = option(0.0, "widen: noise on the copies, in standard deviations of a kernel")
    after: tuple[str, ...] = option(
        (), "deepen: behind which layers one is added (default: the last that ends in ReLU)"
    )
    second: str | None = option(None, "merge: the second model, trained from the same start as --source")
    trainable: str = option(
        "fpt",
        "what trains of a carried body: nothing, its norms, also projection and positions (fpt), or all",
        ("none", "norms", "fpt", "all"),
    )
    source: str = option("auto", "what is to be transferred: a data set to learn, a trained model's spec, or auto")
    source_epochs: int = option(1, "epochs of training the source; a second one did not better its validation")
    source_max: int = option(8000, "at most this many source examples an epoch (0: all)")
    target: str = option("auto", "the task that is to profit: a data set, or auto")
    arms: tuple[str, ...] = option(
        (),
        "what is run side by side (default: all; of a language model that sees, all but finetune)",
        ("transfer", "random", "scratch", "finetune", "native", "majority"),
    )
    pooling: str = option("all", "which tokens of a carried body the head reads", ("all", "mean", "first", "last"))
    length: int = option(32, "tokens of a text that is read or foretold")
    cross_attention: str = option(
        "fresh", "encoder_to_decoder: cross-attention starts fresh or as self-attention", ("fresh", "copied")
    )
    labels_per_class: tuple[int, ...] = option((5, 20, 100), "label budgets: examples a class in training")
    training_texts: tuple[int, ...] = option((50, 200, 1000), "encoder_to_decoder: budgets, texts in training")
    updates: int = option(60, "steps of the arms that train a network, the same whatever the budget (0: --epochs)")
    learning_rates: tuple[float, ...] = option(
        (3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
        "grid of the arms that train a network: each climbs from its middle to the value that validates best",
    )
    batch_size: int = option(32, "examples a step when an arm trains a network")
    max_validation: int = option(400, "at most this many validation examples (0: all)")
    max_test: int = option(1000, "at most this many test examples (0: all)")


@dataclass(frozen=True)
class KnowledgeConfig(RunConfig):
    """Knowledge transfer K = f(X)·g(Y) + h(X, Y): a language model says what pictures show."""

    source: str = option(
        "names/listed", "where the decoder's language comes from: texts (names, text:PATH, csv:PATH) or a BERT's spec"
    )
    source_text: str | None = option(None, "text column of the source")
    source_epochs: int = option(1, "epochs of training a masked language model on the source's texts")
    source_max: int = option(0, "at most this many texts an epoch (0: all)")
    text_updates: int = option(
        400, "steps in which the decoder goes on reading texts before it sees a picture (0: none)"
    )
    reading: str | None = option(None, "texts that it goes on reading: a data set (default: the source's own)")
    encoder: str = option("glyphs/by_character", "what the picture encoder learns: a data set, or a model's spec")
    encoder_label: str | None = option(None, "column that the encoder learns to tell")
    encoder_epochs: int = option(2, "epochs of training the encoder")
    target: str = option("glyphs/by_character", "pictures with captions: glyphs, captions:PATH, coco:PATH, csv:PATH")
    target_image: str | None = option(None, "picture column of the target")
    target_caption: str | None = option(None, "caption column of the target")
    image_size: int = option(0, "side in pixels that pictures are resized to (0: as they are, 64 when they vary)")
    pairs: tuple[int, ...] = option((50, 150, 500, 1200), "budgets: pictures with captions in training")
    arms: tuple[str, ...] = option(
        ("transfer", "random", "blind", "shuffled", "neighbour"),
        "what is run side by side",
        ("transfer", "random", "blind", "shuffled", "neighbour"),
    )
    controls_at: tuple[int, ...] = option(
        (), "budgets at which blind and shuffled run, with one seed (default: the greatest)"
    )
    looking: str = option(
        "cross_attention",
        "how the decoder sees a picture: every word looks at every place, or a prefix of vectors before the words",
        ("cross_attention", "prefix"),
    )
    prefix_length: int = option(4, "vectors of the prefix")
    places: int = option(4, "side of the map that words look at; the encoder's is averaged down to it (0: as it is)")
    cross_attention: str = option("fresh", "cross-attention starts fresh or as self-attention", ("fresh", "copied"))
    evidence: bool = option(
        True, "f(X)·g(y) beside the decoder's h: each word gets what the picture as a whole says for it"
    )
    frozen: float = option(0.0, "share of the steps at the start in which the carried weights do not train (1: never)")
    carried_rate: float = option(1.0, "learning rate of the carried weights, as a share of the new ones'")
    word_dropout: float = option(0.0, "share of the words read that are hidden in training")
    label_smoothing: float = option(0.1, "ε of label smoothing")
    updates: int = option(140, "steps of training at the greatest budget; others get the root of their share")
    batch_size: int = option(16, "captions a step")
    learning_rates: tuple[float, ...] = option(
        (3e-3,),
        "learning rates: of several, each arm climbs at the greatest budget from their middle to what validates best",
    )
    length: int = option(16, "tokens of a caption in training and in the report, its begin and end among them")
    num_beams: int = option(4, "hypotheses of beam search")
    length_penalty: float = option(1.0, "above 0 favours long captions")
    ranking: str = option(
        "both", "what ranks the beams: h alone, as the decoder has it, or both terms, h + λ f·g", ("both", "decoder")
    )
    max_validation: int = option(100, "at most this many validation pictures")
    max_test: int = option(200, "at most this many test pictures (0: all)")


@dataclass(frozen=True)
class RetrievalConfig(RunConfig):
    """Knowledge transfer K = f(X)·g(Y): a locked picture tower and a text tower that finds pictures by their texts."""

    pictures: str = option(
        "glyphs/by_character", "what the picture tower learned: a data set, or a trained model's spec"
    )
    pictures_label: str | None = option(None, "column of that data set that is learned")
    pictures_epochs: int = option(2, "epochs of training the picture tower")
    texts: str = option(
        "names/listed", "what the text tower read before: texts (names, text:PATH, csv:PATH) or preset:DIR of a BERT"
    )
    texts_epochs: int = option(1, "epochs of reading them, as a masked language model")
    texts_max: int = option(0, "at most this many texts an epoch (0: all)")
    target: str = option(
        "glyphs/by_character", "pairs of pictures and texts: glyphs, captions:PATH, coco:PATH, csv:PATH"
    )
    target_image: str | None = option(None, "picture column of the target")
    target_caption: str | None = option(None, "text column of the target")
    target_label: str | None = option(
        None, "classes that a head learns on pictures and tells of texts, and that zero-shot knows by name"
    )
    image_size: int = option(0, "side in pixels that pictures are resized to (0: as they are, 64 when they vary)")
    length: int = option(16, "word pieces of a text, its begin and end among them")
    dim: int = option(0, "width of the common space (0: the picture tower's own, which nothing then changes)")
    fitted: bool = option(True, "the last map of g begins where ridge regression puts the texts at their pictures")
    temperature: float = option(0.07, "where the learned temperature starts")
    pairs: tuple[int, ...] = option((150, 600), "budgets: pictures with their texts in training")
    arms: tuple[str, ...] = option(
        ("transfer", "random", "random_g", "shuffled", "anchors", "native"),
        "what is run side by side",
        ("transfer", "random", "random_f", "random_g", "shuffled", "anchors", "native"),
    )
    controls_at: tuple[int, ...] = option(
        (), "budgets at which random_f, random_g and shuffled run (default: the greatest)"
    )
    updates: int = option(
        45, "steps of training at the greatest budget; fewer pairs make fewer, by the square root of their share"
    )
    batch_size: int = option(64, "pairs a step: one right answer among so many")
    learning_rates: tuple[float, ...] = option(
        (3e-4, 1e-3, 3e-3),
        "grid of learning rates: at the greatest budget each arm climbs from its middle to what validates best",
    )
    max_validation: int = option(400, "at most this many validation pairs (0: all)")
    max_test: int = option(0, "at most this many test pairs (0: all)")


@dataclass(frozen=True)
class VqaConfig(RunConfig):
    """Knowledge transfer K = f(X)·g(Y) + h(X, Y), pooled: questions about pictures, answered by classes."""

    encoder: str = option("glyphs/by_character", "what the picture encoder learned: a data set, or a model's spec")
    encoder_label: str | None = option(None, "column of that data set that is learned")
    encoder_epochs: int = option(2, "epochs of training the encoder")
    train_encoder: bool = option(False, "train the picture encoder with the rest; it may then start as fresh:cnn")
    texts: str = option(
        "names", "what the question encoder read before: a data set of texts, preset:DIR of a BERT, or small (nothing)"
    )
    texts_epochs: int = option(2, "epochs of reading them, as a masked language model")
    texts_max: int = option(8000, "at most this many texts an epoch (0: all)")
    target: str = option("glyphs/by_character", "pictures with questions: glyphs, csv:PATH, jsonl:PATH, tfds:NAME")
    target_image: str | None = option(None, "picture column of the target")
    target_question: str | None = option(None, "question column of the target")
    target_answer: str | None = option(None, "answer column of the target")
    image_size: int = option(0, "side in pixels that pictures are resized to (0: as they are, 64 when they vary)")
    pictures: tuple[int, ...] = option((300, 1500), "budgets: pictures in training, each with all its questions")
    arms: tuple[str, ...] = option(
        ("transfer", "random", "question_only", "shuffled", "prior", "native", "majority"),
        "what is run side by side",
        ("transfer", "random", "random_f", "random_g", "question_only", "shuffled", "prior", "native", "majority"),
    )
    controls_at: tuple[int, ...] = option(
        (), "budgets at which random_f, random_g, question_only and shuffled run (default: the greatest)"
    )
    interaction: str = option(
        "cross_attention",
        "h: the question looks at places (cross_attention), scales what each shows (film), or f·g alone (bilinear)",
        ("cross_attention", "film", "bilinear"),
    )
    dim: int = option(64, "width of both sides of K")
    heads: int = option(4, "attention heads of cross_attention")
    dropout: float = option(0.1, "share of the units before the answers that training hides")
    length: int = option(20, "tokens of a question, its begin and end among them; longer ones are cut and counted")
    max_answers: int = option(1000, "answers that are classes, the commonest first (0: all); others count as wrong")
    updates: int = option(80, "steps of training, the same whatever the budget")
    batch_size: int = option(64, "questions a step")
    learning_rates: tuple[float, ...] = option(
        (3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
        "grid of learning rates: at the greatest budget each arm climbs from its middle to what validates best",
    )
    max_validation: int = option(400, "at most this many validation pictures (0: all)")
    max_test: int = option(0, "at most this many test pictures (0: all)")


def check_values(config: Any) -> None:
    """Raise `UserError` when a value of a config is out of its range, naming the option and the remedy."""
    for item in fields(config):
        value, flag = getattr(config, item.name), "--" + item.name.replace("_", "-")
        choices = item.metadata.get("choices")
        for one in value if isinstance(value, tuple) else (value,):
            if choices and one not in choices:
                raise UserError(f"{flag} {one}: not one of its values; {suggest(one, choices)}")
            if isinstance(one, int | float) and not isinstance(one, bool) and one < 0:
                raise UserError(f"{flag} {one}: must not be negative")
        if value == () and item.default != ():
            raise UserError(f"{flag}: give at least one value")
    _check_positive(config)
    if config.device not in ("auto", "cpu", "gpu") and not _is_numbered_gpu(config.device):
        raise UserError(f"--device {config.device}: use auto, cpu, gpu or gpu:N, e.g. gpu:1")


def _check_positive(config: Any) -> None:
    positive: tuple[str, ...] = ("seeds", "source_epochs", "epochs", "batch_size", "height", "width", "font_size")
    positive += ("labels_per_class", "trained_at", "learning_rates", "pairs", "controls_at", "num_beams")
    positive += ("training_texts",)
    for name in positive:
        value = getattr(config, name, 1)
        if any(one <= 0 for one in (value if isinstance(value, tuple) else (value,))):
            raise UserError(f"--{name.replace('_', '-')} {value}: must be above 0")


def _is_numbered_gpu(device: str) -> bool:
    kind, _, number = device.partition(":")
    return kind == "gpu" and number.isdigit()
