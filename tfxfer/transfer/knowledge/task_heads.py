"""The heads of several tasks over one feature map: what each is for, and its network."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np

from tfxfer.config import VQAHeadConfig
from tfxfer.errors import UserError, suggest
from tfxfer.transfer.knowledge.answer_head import VQAHead
from tfxfer.transfer.knowledge.caption_head import CaptionHead
from tfxfer.transfer.knowledge.caption_model import VisualTokens
from tfxfer.transfer.knowledge.text_towers import small_tower

KINDS = ("classify", "caption", "vqa")


@dataclass(frozen=True)
class TaskHead:
    """What a head is for.

    Attributes:
        task: Name of the task, such as "classify" or "classify:shape".
        kind: One of `KINDS`.
        names: Names of the classes, words of the captions, or answers.
        words: Words that questions may have; none for the other kinds.
        length: Most tokens of a caption or a question; 0 for classes.
    """

    task: str
    kind: str
    names: tuple[str, ...]
    words: tuple[str, ...] = ()
    length: int = 0


class TaskExamples(NamedTuple):
    """Q examples of one task about P images.

    Attributes:
        images: uint8 [P, H, W, C].
        image_index: int [Q], the image of each example.
        answers: The class, the caption or the answer of each, [Q].
        questions: The question of each, [Q]; empty where the task has none.
    """

    images: np.ndarray
    image_index: np.ndarray
    answers: list[str]
    questions: Sequence[str] = ()


class TaskAnswers(NamedTuple):
    """What one head answered.

    Attributes:
        texts: The most probable class, caption or answer of each example, [Q].
        scores: Probabilities of all classes or answers, float [Q, A]; of captions the log-probability of each in nats a
            token, float [Q].
    """

    texts: list[str]
    scores: np.ndarray


def head_model(head: TaskHead, maps_shape: Sequence[int], config: VQAHeadConfig, name: str) -> keras.Model:
    """Return a head: from feature maps [B, h, w, E], and token ids [B, T] for texts, to logits.

    Raises:
        UserError: There is no such kind of task, or fewer than two classes or answers.
    """
    if head.kind not in KINDS:
        raise UserError(f"task '{head.task}': there is no kind '{head.kind}'; {suggest(head.kind, KINDS)}")
    if head.kind != "caption" and len(head.names) < 2:
        raise UserError(f"task '{head.task}': has {len(head.names)} classes; two are needed, to choose from")
    maps = keras.Input(tuple(maps_shape), name="maps")
    if head.kind == "classify":
        pooled = keras.layers.GlobalAveragePooling2D(name="mean")(maps)
        pooled = keras.layers.LayerNormalization(epsilon=1e-6, name="norm")(pooled)
        hidden = keras.layers.Dense(config.dim, activation="gelu", name="hidden")(pooled)
        return keras.Model(
            maps, keras.layers.Dense(len(head.names), dtype="float32", name="classes")(hidden), name=name
        )
    tokens = VisualTokens(config.dim, name="visual_tokens")(maps)
    if head.kind == "caption":
        ids = keras.Input((head.length,), dtype="int32", name="words")
        logits = CaptionHead(len(head.names), head.length, config.dim, config.heads, name="decoder")(tokens, ids)
        return keras.Model([maps, ids], logits, name=name)
    ids = keras.Input((head.length,), dtype="int32", name="question")
    texts = small_tower(head.words, head.length, "words", config.dim).sequence(ids)
    options: dict[str, Any] = {"dim": config.dim, "heads": config.heads, "dot": config.dot, "dropout": config.dropout}
    logits = VQAHead(len(head.names), config.h, name="K", **options)(tokens, texts, ids != 0)
    return keras.Model([maps, ids], logits, name=name)


def head_of(plain: dict[str, Any]) -> TaskHead:
    """Return the head that `dataclasses.asdict` made a dict of, lists in the place of its tuples."""
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()}
    return TaskHead(**values)


def trained(model: keras.Model) -> int:
    """Return how many parameters of a model are trained."""
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
