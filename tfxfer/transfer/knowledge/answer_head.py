"""The layer K of visual question answering: the logits of A answers for each pair of an image and a question.

    K[b, m, a] = f(x_m)·g_a(y) + h_a(x_m, y)        pair b: position m of its image, its question y, answer a
    logits[b, a] = mean over the positions m of K[b, m, a]

It is not built on `KnowledgeMatrix`, which has one value for every image with every question: see docs/knowledge.md.
Each image and each question of a batch is encoded once, however many pairs it is in.
"""

from typing import Any

import keras
from keras import ops

from tfxfer.errors import UserError
from tfxfer.transfer.knowledge.interactions import pooled
from tfxfer.transfer.knowledge.knowledge_matrix import check_terms, check_without


@keras.saving.register_keras_serializable("tfxfer")
class FiLMInteraction(keras.layers.Layer):
    """h by FiLM: the question scales and shifts the features of every position (Perez et al. 2018).

        relu(V·relu((1 + γ(y)) ⊙ U·x_m + β(y)))         a vector for each position m; h is linear in their mean

    Args:
        hidden: Width H.
    """

    def __init__(self, hidden: int = 128, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hidden = hidden
        self.seen = keras.layers.Dense(hidden, name="seen")
        self.scale = keras.layers.Dense(hidden, name="scale")
        self.shift = keras.layers.Dense(hidden, name="shift")
        self.mix = keras.layers.Dense(hidden, activation="relu", name="mix")

    def build(self, x_shape: Any, y_shape: Any) -> None:
        """Make the weights."""
        self.seen.build((None, None, x_shape[-1]))
        for layer in (self.scale, self.shift):
            layer.build((None, y_shape[-1]))
        self.mix.build((None, None, self.hidden))

    def call(self, x: Any, y: Any, y_mask: Any, image_index: Any, question_index: Any) -> tuple[Any, Any]:
        """Return the features that the answers are computed from, float [B, M, H], and no attention (None)."""
        question = pooled(y, y_mask)  # [U, E]
        seen = rows(self.seen(x), image_index)  # [B, M, H]
        scale, shift = rows(self.scale(question), question_index), rows(self.shift(question), question_index)  # [B, H]
        return self.mix(ops.relu((1 + scale[:, None]) * seen + shift[:, None])), None

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds the layer."""
        return super().get_config() | {"hidden": self.hidden}


@keras.saving.register_keras_serializable("tfxfer")
class QuestionAttention(keras.layers.Layer):
    """h by cross-attention from each token of the question to the positions of its image.

    As `PairAttention`, relu(W·y + context) with context = softmax(q·k/√d)·values, but of the given pairs only.

    Args:
        hidden: Width H of the attention and of its output.
        heads: Attention heads; divides `hidden`.
    """

    def __init__(self, hidden: int = 128, heads: int = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if hidden % heads:
            raise UserError(f"{heads} attention heads do not divide a width of {hidden}")
        self.hidden, self.heads = hidden, heads
        each = (None, heads, hidden // heads)
        self.query, self.key, self.value = (
            keras.layers.EinsumDense("btd,dhe->bthe", each, bias_axes="he", name=name)
            for name in ("query", "key", "value")
        )
        self.own = keras.layers.Dense(hidden, name="own")
        self.mix = keras.layers.Dense(hidden, name="mix")
        for layer in (self.query, self.key, self.value):
            layer.supports_masking = True  # their mask is applied where the tokens are averaged

    def build(self, x_shape: Any, y_shape: Any) -> None:
        """Make the weights."""
        for layer, shape in ((self.query, y_shape), (self.key, x_shape), (self.value, x_shape)):
            layer.build((None, None, shape[-1]))
        self.own.build((None, None, y_shape[-1]))
        self.mix.build((None, None, self.hidden))

    def call(self, x: Any, y: Any, y_mask: Any, image_index: Any, question_index: Any) -> tuple[Any, Any]:
        """Return the features that the answers are computed from, [B, T, H], and the attention [B, heads, T, M]."""
        queries, own = rows(self.query(y), question_index), rows(self.own(y), question_index)
        keys, values = rows(self.key(x), image_index), rows(self.value(x), image_index)  # [B, M, heads, d]
        scores = ops.einsum("bthe,bmhe->bhtm", queries, keys) * (self.hidden // self.heads) ** -0.5
        attention = ops.softmax(ops.cast(scores, "float32"), axis=-1)
        context = ops.einsum("bhtm,bmhe->bthe", ops.cast(attention, values.dtype), values)
        context = ops.reshape(context, (-1, context.shape[1], self.hidden))
        return ops.relu(own + self.mix(context)), attention

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds the layer."""
        return super().get_config() | {"hidden": self.hidden, "heads": self.heads}


INTERACTIONS: dict[str, type[keras.layers.Layer]] = {"film": FiLMInteraction, "cross_attention": QuestionAttention}


@keras.saving.register_keras_serializable("tfxfer")
class VQAHead(keras.layers.Layer):
    """Compute the logits [B, A] of B pairs of an image and a question.

    f(X)·g(Y) is bilinear of low rank (Kim et al. 2017): f(x) = relu(F·x) and g_a(y) = P_a ⊙ G·relu(W·y) with a vector
    P_a for each answer. Its mean over the positions is P_a·(mean f ⊙ G·relu(W·y)). The hidden layers, W here and one
    after the attention, make the words of a question interact: the effect of "not" depends on the other words.

    Args:
        answers: Number of answers A.
        h: None, which leaves f·g alone; "film" or "cross_attention".
        dim: Width of f, g and h.
        heads: Attention heads of h="cross_attention".
        dot: False removes f·g.
        dropout: Fraction of the units before the answers that is dropped in training.

    Raises:
        UserError: h is unknown, both terms are off, or there is no answer.
    """

    def __init__(
        self,
        answers: int,
        h: str | None = None,
        *,
        dim: int = 128,
        heads: int = 4,
        dot: bool = True,
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_terms(h, dot, INTERACTIONS)
        if answers < 1:
            raise UserError("there is no answer to give; name at least one")
        self.answers, self.h_name, self.dim, self.heads = int(answers), h, dim, heads
        self.dot, self.dropout = dot, dropout
        self.f_projection = keras.layers.Dense(dim, activation="relu", name="f") if dot else None
        self.g_hidden = keras.layers.Dense(dim, activation="relu", name="g_hidden") if dot else None
        self.g_projection = keras.layers.Dense(dim, name="g") if dot else None
        self.g_answers = keras.layers.Dense(answers, use_bias=False, name="g_answers") if dot else None
        options: dict[str, Any] = {"hidden": dim} | ({"heads": heads} if h == "cross_attention" else {})
        self.h = INTERACTIONS[h](**options, name="h") if h else None
        self.h_answers = keras.layers.Dense(answers, use_bias=False, name="h_answers") if h else None
        attends = h == "cross_attention"
        self.h_hidden = keras.layers.Dense(dim, activation="relu", name="h_hidden") if attends else None
        self.hide = keras.layers.Dropout(dropout, name="hide")

    def build(self, x_shape: Any, y_shape: Any) -> None:
        """Make the weights."""
        if self.f_projection is not None:
            self.f_projection.build((None, None, x_shape[-1]))
            self.g_hidden.build((None, y_shape[-1]))  # type: ignore[union-attr]
            self.g_projection.build((None, self.dim))  # type: ignore[union-attr]
            self.g_answers.build((None, self.dim))  # type: ignore[union-attr]
        if self.h is not None and self.h_answers is not None:
            self.h.build(x_shape, y_shape)
            self.h_answers.build((None, None, self.dim))
        if self.h_hidden is not None:
            self.h_hidden.build((None, self.dim))

    def call(
        self,
        x: Any,
        y: Any,
        y_mask: Any = None,
        image_index: Any = None,
        question_index: Any = None,
        *,
        training: bool | None = None,
        without: str | None = None,
        return_terms: bool = False,
    ) -> Any:
        """Return the logits [B, A].

        Args:
            x: Feature maps of the images, M positions each, float [P, M, D].
            y: Tokens of the questions, float [U, T, E].
            y_mask: bool [U, T], False for padding.
            image_index: int [B], the row of X of each pair; None: pair i has row i.
            question_index: int [B], the row of Y of each pair; None: pair i has row i.
            training: Whether dropout is on.
            without: "dot" or "h": leave this term out, to see what the other one gives.
            return_terms: Return (f·g, h) instead of their sum, each [B, A]; a term that is off is zeros.
        """
        check_without(without)
        count = ops.shape(x if image_index is None else image_index)[0]
        fg = h = ops.zeros((count, self.answers), self.compute_dtype)
        if self.dot and without != "dot":
            fg = self._dot(x, y, y_mask, image_index, question_index, training)  # f(X)·g(Y)
        if self.h is not None and self.h_answers is not None and without != "h":
            features, _ = self.h(x, y, y_mask, image_index, question_index)  # [B, M or T, H]
            mean = pooled(features, rows(y_mask, question_index) if self.h_hidden is not None else None)  # [B, H]
            mean = mean if self.h_hidden is None else self.h_hidden(mean)
            h = self.h_answers(self.hide(mean, training=training))  # h(X, Y), its mean
        return (fg, h) if return_terms else fg + h

    def attention_map(
        self,
        x: Any,
        y: Any,
        y_mask: Any = None,
        image_index: Any = None,
        question_index: Any = None,
        answer: Any = None,
    ) -> Any:
        """Return the weight of each position in each pair's answer, float [B, M], at least 0 and of sum 1 (or all 0).

        With cross-attention this is the attention, its mean over heads and the tokens of the question. Without it, it
        is what each position adds to the logit of the given answer, where that is positive.

        Args:
            x: As for `call`; so the next four.
            y: See above.
            y_mask: See above.
            image_index: See above.
            question_index: See above.
            answer: int [B], classes of the answers; not needed with cross-attention.
        """
        if self.h_name == "cross_attention":
            _, attention = self.h(x, y, y_mask, image_index, question_index)  # type: ignore[misc]
            return pooled(ops.mean(attention, axis=1), rows(y_mask, question_index))  # [B, T, M] → [B, M]
        k = 0.0
        if self.f_projection is not None:
            g = rows(self.g(y, y_mask), question_index)[:, None]  # [B, 1, dim]
            f = rows(self.f_projection(x), image_index)  # [B, M, dim]
            k = ops.matmul(f * g, self.g_answers.kernel)  # type: ignore[union-attr]
        if self.h is not None and self.h_answers is not None:
            k = k + self.h_answers(self.h(x, y, y_mask, image_index, question_index)[0])  # [B, M, A]
        positive = ops.relu(ops.take_along_axis(k, ops.reshape(answer, (-1, 1, 1)), axis=-1)[..., 0])
        return positive / ops.maximum(ops.sum(positive, axis=-1, keepdims=True), 1e-9)

    def g(self, y: Any, y_mask: Any = None) -> Any:
        """Return G·relu(W·y) of questions [U, T, E], float [U, dim]; times P_a it is g_a(Y)."""
        assert self.g_hidden is not None and self.g_projection is not None  # `dot` is on
        return self.g_projection(self.g_hidden(pooled(y, y_mask)))

    def _dot(self, x: Any, y: Any, y_mask: Any, image_index: Any, question_index: Any, training: bool | None) -> Any:
        assert self.f_projection is not None and self.g_answers is not None
        f = rows(pooled(self.f_projection(x)), image_index)  # [B, dim]
        return self.g_answers(self.hide(f * rows(self.g(y, y_mask), question_index), training=training))

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds the layer."""
        names = ("answers", "dim", "heads", "dot", "dropout")
        return super().get_config() | {name: getattr(self, name) for name in names} | {"h": self.h_name}


def rows(values: Any, index: Any) -> Any:
    """Return rows [B, …] of values [N, …]; all of them where `index` is None, and None of None."""
    return values if index is None or values is None else ops.take(values, index, axis=0)
