"""Students: small models from raw texts or images to class probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras

from tfxfer.errors import UserError
from tfxfer.models.cnn import glyph_cnn
from tfxfer.models.randomness import set_initializer_seed
from tfxfer.models.saved import load_model
from tfxfer.models.student_spec import parse_student
from tfxfer.models.text_cnn import text_cnn
from tfxfer.transfer.bridges.read import TrimTokens
from tfxfer.transfer.bridges.render import RenderText
from tfxfer.transfer.distill.vocabulary import pruned_vocabulary
from tfxfer.transfer.graph import before_head, like_inputs, trace, unfreeze
from tfxfer.transfer.knowledge.text_towers import SPECIAL, MeanOfKnown, WordPieces
from tfxfer.transfer.structure import UnitMap, WeightMap, plan

TOKENS = 64  # of a text that a BERT student reads


@dataclass(frozen=True)
class Sizes:
    """How large a student is; 0 is the default of its architecture.

    Attributes:
        width: Width of a BERT; filters of a text CNN's convolutions, or of the last one of a CNN.
        blocks: Transformer blocks of a fresh BERT.
        vocabulary: Word pieces of a BERT; those of a teacher's that its texts use most.
        length: Word pieces of a text that a BERT reads, or characters that a text CNN reads.
    """

    width: int = 0
    blocks: int = 0
    vocabulary: int = 0
    length: int = 0


@dataclass(frozen=True)
class Student:
    """A student before its training.

    Attributes:
        model: Raw input → probabilities [B, C].
        weight_map: What of it came from the teacher; None where nothing did.
    """

    model: keras.Model
    weight_map: WeightMap | None = None


def layers_of(teacher: int, student: int) -> list[int]:
    """Return which layers of a teacher a shallower student begins with: every k-th, the last among them (Sun et al.
    2019).

    >>> layers_of(6, 2), layers_of(12, 4), layers_of(6, 4)
    ([2, 5], [2, 5, 8, 11], [0, 2, 3, 5])
    """
    return [(place + 1) * teacher // student - 1 for place in range(student)]


def student(
    spec: str, classes: int, teacher: keras.Model, key: str, texts: Sequence[str], sizes: Sizes, seed: int, **image: Any
) -> Student:
    """Return a student with the weights that its training begins with.

    Args:
        spec: "fresh:cnn", "fresh:text_cnn", "fresh:bert", "layers:N" or "file:MODEL.keras".
        classes: Number of classes C.
        teacher: The (first) teacher, whose word pieces, layers or way of drawing a student may take.
        key: "text" or "image": what the student reads.
        texts: Texts that it will learn from, for its word pieces.
        sizes: Its size.
        seed: Of its fresh weights.
        image: Of an image student: `image_size` (H, W) and `channels`.

    Raises:
        UserError: The teacher has not what the student is to take from it, or a file holds another kind of model.
    """
    kind = parse_student(spec)
    set_initializer_seed(seed)
    if kind == "fresh:text_cnn":
        made = text_cnn(classes, length=sizes.length or 64, filters=sizes.width or 128)
        return Student(made)
    if kind == "fresh:cnn":
        return Student(_cnn(classes, teacher, key, sizes, **image))
    if kind == "fresh:bert":
        return Student(_fresh_bert(classes, teacher, texts, sizes))
    if kind == "layers":
        return _layers(int(spec.partition(":")[2]), classes, teacher, texts, sizes)
    return Student(_from_file(spec, classes, key))


# === CNN ===


def _cnn(classes: int, teacher: keras.Model, key: str, sizes: Sizes, **image: Any) -> keras.Model:
    last = sizes.width or 64
    channels = 1 if key == "text" else image["channels"]
    cnn = glyph_cnn(classes, channels, filters=(max(4, last // 8), max(4, last // 4), last // 2, last))
    if key == "image":
        images = keras.Input((*image["image_size"], channels), name="image")
        return keras.Model(images, trace(cnn, images, frozen=False)[1], name="student")
    draws = _layer_of(teacher, "RenderText")
    if draws is None:
        raise UserError(
            "--student fresh:cnn: the teacher draws no texts and the target has no images; use fresh:text_cnn"
        )
    config = draws.get_config()
    texts = keras.Input((), dtype="string", name="text")
    return keras.Model(texts, trace(cnn, RenderText.from_config(config)(texts), frozen=False)[1], name="student")


# === BERT ===


def _fresh_bert(classes: int, teacher: keras.Model, texts: Sequence[str], sizes: Sizes) -> keras.Model:
    """Return a small BERT over the teacher's word pieces, or over word pieces that are learned from the texts."""
    from tfxfer.models.bert import small_bert

    pieces = _layer_of(teacher, "WordPieces")
    wanted = sizes.vocabulary or 4000
    if pieces is None:
        vocabulary, lowercase = learned_pieces(tuple(texts), wanted), True
    else:
        lowercase = pieces.lowercase
        vocabulary = pruned_vocabulary(pieces.vocabulary, texts, wanted, SPECIAL, lowercase)
    width, length = sizes.width or 128, sizes.length or TOKENS
    if width % 4:
        raise UserError(f"--student-width {width}: a BERT has 4 attention heads; give a multiple of 4")
    backbone = small_bert(len(vocabulary), sizes.blocks or 2, width, 4, length)
    return _over_pieces(backbone, vocabulary, length, lowercase, classes, False)


@lru_cache(maxsize=1)  # every seed of a student asks for the same
def learned_pieces(texts: tuple[str, ...], size: int) -> list[str]:
    """Return at most so many word pieces that are learned from texts, "[PAD]" first."""
    from tfxfer.models.bert import learn_word_pieces

    with TemporaryDirectory() as folder:
        return learn_word_pieces(texts, size, Path(folder) / "vocab.txt")


def _over_pieces(
    backbone: keras.Model, vocabulary: list[str], length: int, lowercase: bool, classes: int, unit: bool
) -> keras.Model:
    """Return strings → word pieces → BERT → mean → probabilities."""
    texts = keras.Input((), dtype="string", name="text")
    token_ids = TrimTokens(name="trim")(WordPieces(vocabulary, length, lowercase, name="tokenizer")(texts))
    known = token_ids != 0
    inputs = {"token_ids": token_ids, "segment_ids": keras.ops.zeros_like(token_ids), "padding_mask": known}
    tokens = keras.Model(backbone.input, backbone.output["sequence_output"], name="blocks")(inputs)
    pooled = MeanOfKnown(name="mean")(tokens, mask=known)
    pooled = keras.layers.UnitNormalization(name="unit_length")(pooled) if unit else pooled
    head = keras.layers.Dense(classes, activation="softmax", dtype="float32", name="classes")
    return keras.Model(texts, head(pooled), name="student")


def _layers(count: int, classes: int, teacher: keras.Model, texts: Sequence[str], sizes: Sizes) -> Student:
    """Return a BERT made of some layers of the teacher's, with the word pieces that its texts use, by a weight map."""
    pieces, backbone = _layer_of(teacher, "WordPieces"), _backbone_of(teacher)
    if pieces is None or backbone is None:
        raise UserError(
            f"--student layers:{count}: the teacher has no BERT with word pieces; use fresh:bert or fresh:text_cnn"
        )
    config = backbone.get_config()
    if count > config["num_layers"]:
        raise UserError(f"--student layers:{count}: the teacher has {config['num_layers']} layers; ask for fewer")
    size = sizes.vocabulary or len(pieces.vocabulary)
    vocabulary = pruned_vocabulary(pieces.vocabulary, texts, size, SPECIAL, pieces.lowercase)
    length = min(sizes.length or TOKENS, config["max_sequence_length"])
    small = {"num_layers": count, "vocabulary_size": len(vocabulary), "max_sequence_length": length}
    target = type(backbone).from_config(config | small | {"name": "student_backbone"})
    found = _layer_map(backbone, target, pieces.vocabulary, vocabulary, config["num_layers"], count)
    found.apply()
    unit = _layer_of(teacher, "UnitNormalization") is not None
    made = _over_pieces(target, vocabulary, length, pieces.lowercase, classes, unit)
    unfreeze(made)  # the config of a frozen teacher's layers says that they do not train
    _take_head(made, teacher)
    return Student(made, found)


def _layer_map(
    backbone: keras.Model, target: keras.Model, old: Sequence[str], new: Sequence[str], layers: int, count: int
) -> WeightMap:
    place = {piece: i for i, piece in enumerate(old)}
    kept = UnitMap("word pieces", len(old), len(new), "indices", given=tuple(place[piece] for piece in new))
    select = ("gather_outputs", {"units": kept.name, "axis": 0})
    rules: list[Any] = [("token_embedding/embeddings", "token_embedding/embeddings", select)]
    rules += [("**position_embedding/embeddings", "**position_embedding/embeddings", ("select", {"how": "first"}))]
    for ours, theirs in enumerate(layers_of(layers, count)):
        rules.append((f"transformer_layer_{theirs}/**", f"transformer_layer_{ours}/**", "copy"))
    return plan(backbone, target, rules, unit_maps=[kept])


def _take_head(student: keras.Model, teacher: keras.Model) -> None:
    """Give the student the teacher's head, where that is a `Dense` layer on features of the same width."""
    ours, theirs = student.get_layer("classes"), teacher.layers[-1]
    if isinstance(theirs, keras.layers.Dense) and [w.shape for w in theirs.weights] == [w.shape for w in ours.weights]:
        ours.set_weights(theirs.get_weights())


# === A given model ===


def _from_file(spec: str, classes: int, key: str) -> keras.Model:
    """Return a model of a file: with its own head where that has C classes, else with a new one."""
    model = load_model(Path(spec.partition(":")[2]).expanduser())
    inputs = like_inputs(model)
    kind = "text" if getattr(inputs, "dtype", "") == "string" else "image"
    if not isinstance(inputs, keras.KerasTensor) or (kind == "image" and len(inputs.shape) != 4) or kind != key:
        raise UserError(f"--student {spec}: takes no {key}s as they are; give a model of raw {key}s")
    calls, outputs = trace(model, inputs, frozen=False)
    last = model.layers[-1]
    softmax = (
        getattr(getattr(last, "activation", None), "__name__", "") == "softmax" or type(last).__name__ == "Softmax"
    )
    if not softmax or outputs.shape[-1] != classes:
        features = before_head(calls, outputs, model)
        if len(features.shape) != 2:
            raise UserError(
                f"--student {spec}: ends in features {list(features.shape)}; give a model that ends in [B, D]"
            )
        outputs = keras.layers.Dense(classes, activation="softmax", dtype="float32", name="student_classes")(features)
    made = keras.Model(inputs, outputs, name="student")
    unfreeze(made)
    return made


def _layer_of(model: keras.Model, kind: str) -> Any:
    """Return the first layer of a class in a model or in those inside it; None where there is none."""
    return next((layer for layer in model._flatten_layers() if type(layer).__name__ == kind), None)


def _backbone_of(model: keras.Model) -> Any:
    return next((one for one in model._flatten_layers() if type(one).__name__ == "BertBackbone"), None)
