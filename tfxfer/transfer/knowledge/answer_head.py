"""K of the pairs that were asked: a question of its picture, place by place, one number for each answer.

    K[b, m, a] = f(x_m)·g_a(y) + h_a(x_m, y)        of pair b: place m of its picture, its question y, answer a
    logits[b, a] = mean over the places m of K[b, m, a]

`KnowledgeMatrix` is not used: it compares each of B pictures with each of C questions, of which only the pairs that
were asked matter here, and gives one number a pair, where each of A answers needs its own. What both share is kept:
the two terms, their names, and that either can be read or left out. Each picture and each question of a batch is
encoded once, however many pairs it is in.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from tfxfer.errors import UserError, suggest
from tfxfer.transfer.knowledge.interactions import pooled
from tfxfer.transfer.knowledge.knowledge_matrix import TERMS


@keras.saving.register_keras_serializable("tfxfer")
class FiLMInteraction(keras.layers.Layer):
    """h by FiLM: the question scales and shifts what is seen at every place (Perez et al. 2018).

        relu(V·relu((1 + γ(y)) ⊙ U·x_m + β(y)))         a vector for each place m; h is linear in their mean

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

    def call(self, x: Any, y: Any, y_mask: Any, picture: Any, question: Any) -> tuple[Any, Any]:
        """Return what the answers are read from, float [B, M, H], and no attention (None)."""
        words = pooled(y, y_mask)
        seen = rows(self.seen(x), picture)  # [B, M, H]
        scale, shift = rows(self.scale(words), question), rows(self.shift(words), question)  # [B, H]
        return self.mix(ops.relu((1 + scale[:, None]) * seen + shift[:, None])), None

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds the layer."""
        return super().get_config() | {"hidden": self.hidden}


@keras.saving.register_keras_serializable("tfxfer")
class QuestionAttention(keras.layers.Layer):
    """h by cross-attention: each token of the question looks at the places of its picture.

    As `PairAttention`, softmax(q·k/√d)·v and then relu(W·y + what was found); of the pairs that were asked only.

    Args:
        hidden: Width H of the attention and of what is found.
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
            layer.supports_masking = True  # their mask is heeded where the tokens are averaged

    def build(self, x_shape: Any, y_shape: Any) -> None:
        """Make the weights."""
        for layer, shape in ((self.query, y_shape), (self.key, x_shape), (self.value, x_shape)):
            layer.build((None, None, shape[-1]))
        self.own.build((None, None, y_shape[-1]))
        self.mix.build((None, None, self.hidden))

    def call(self, x: Any, y: Any, y_mask: Any, picture: Any, question: Any) -> tuple[Any, Any]:
        """Return what the answers are read from, float [B, T, H], and the attention float [B, heads, T, M]."""
        queries, own = rows(self.query(y), question), rows(self.own(y), question)
        keys, values = rows(self.key(x), picture), rows(self.value(x), picture)  # [B, M, heads, d]
        scores = ops.einsum("bthe,bmhe->bhtm", queries, keys) * (self.hidden // self.heads) ** -0.5
        looks = ops.softmax(ops.cast(scores, "float32"), axis=-1)
        found = ops.einsum("bhtm,bmhe->bthe", ops.cast(looks, values.dtype), values)
        found = ops.reshape(found, (-1, found.shape[1], self.hidden))
        return ops.relu(own + self.mix(found)), looks

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds the layer."""
        return super().get_config() | {"hidden": self.hidden, "heads": self.heads}


INTERACTIONS: dict[str, type[keras.layers.Layer]] = {"film": FiLMInteraction, "cross_attention": QuestionAttention}


@keras.saving.register_keras_serializable("tfxfer")
class VQAHead(keras.layers.Layer):
    """Compute the logits [B, A] of B questions about pictures.

    f(X)·g(Y) is bilinear, of low rank (Kim et al. 2017): f(x) = relu(F·x), g_a(y) = P_a ⊙ G·relu(W·y) with a vector P_a
    for each answer, so that its mean over the places is P_a·(mean f ⊙ G·relu(W·y)). The hidden layers, W here and one
    behind the attention, let words work together: what "not" does depends on what is asked for.

    Args:
        answers: Number of answers A.
        h: None, which leaves f·g alone; "film" or "cross_attention".
        dim: Width of f, g and h.
        heads: Attention heads of h="cross_attention".
        dot: False leaves f·g out for good.
        dropout: Share of the units that the answers are read from which training hides.

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
        if h is not None and h not in INTERACTIONS:
            raise UserError(f"h='{h}' is unknown; {suggest(h, INTERACTIONS)}")
        if h is None and not dot:
            raise UserError("dot=False and h=None leave nothing of K; switch one of them on")
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
        picture: Any = None,
        question: Any = None,
        *,
        training: bool | None = None,
        without: str | None = None,
        return_terms: bool = False,
    ) -> Any:
        """Return logits [B, A].

        Args:
            x: Places of the pictures, float [P, M, D].
            y: Tokens of the questions, float [U, T, E].
            y_mask: bool [U, T], False for padding.
            picture: int [B], which picture each pair is about; None: pair i has row i of X.
            question: int [B], which question each pair asks; None: pair i has row i of Y.
            training: Whether units are hidden.
            without: "dot" or "h": leave this term out, to see what the other one does.
            return_terms: Return (f·g, h) instead of their sum, each [B, A]; a term that is off is zeros.
        """
        if without not in (None, *TERMS):
            raise UserError(f"without='{without}': there is no such term; {suggest(str(without), TERMS)}")
        count = ops.shape(x if picture is None else picture)[0]
        fg = h = ops.zeros((count, self.answers), self.compute_dtype)
        if self.dot and without != "dot":
            fg = self._dot(x, y, y_mask, picture, question, training)  # f(X)·g(Y)
        if self.h is not None and self.h_answers is not None and without != "h":
            found, _ = self.h(x, y, y_mask, picture, question)  # [B, M or T, H]
            each = pooled(found, rows(y_mask, question) if self.h_hidden is not None else None)  # [B, H]
            each = each if self.h_hidden is None else self.h_hidden(each)
            h = self.h_answers(self.hide(each, training=training))  # h(X, Y), pooled
        return (fg, h) if return_terms else fg + h

    def looks(
        self, x: Any, y: Any, y_mask: Any = None, picture: Any = None, question: Any = None, answer: Any = None
    ) -> Any:
        """Return where each pair's answer comes from, float [B, M], at least 0 and of sum 1 (or all 0).

        With cross-attention this is the attention, mean over heads and the question's tokens. Without, it is what
        each place adds to K of the answer given, where it adds.

        Args:
            x: As for `call`; so the next four.
            y: See above.
            y_mask: See above.
            picture: See above.
            question: See above.
            answer: int [B], the answers given; not needed with cross-attention.
        """
        if self.h_name == "cross_attention":
            _, attention = self.h(x, y, y_mask, picture, question)  # type: ignore[misc]
            over = ops.mean(attention, axis=1)  # [B, T, M]
            return pooled(over, rows(y_mask, question))
        k = 0.0
        if self.f_projection is not None:
            g = rows(self.g(y, y_mask), question)[:, None]  # [B, 1, dim]
            k = ops.matmul(rows(self.f_projection(x), picture) * g, self.g_answers.kernel)  # type: ignore[union-attr]
        if self.h is not None and self.h_answers is not None:
            k = k + self.h_answers(self.h(x, y, y_mask, picture, question)[0])  # [B, M, A]
        adds = ops.relu(ops.take_along_axis(k, ops.reshape(answer, (-1, 1, 1)), axis=-1)[..., 0])
        return adds / ops.maximum(ops.sum(adds, axis=-1, keepdims=True), 1e-9)

    def g(self, y: Any, y_mask: Any = None) -> Any:
        """Return G·relu(W·y) of questions [U, T, E], float [U, dim]; times P_a it is g_a(Y)."""
        assert self.g_hidden is not None and self.g_projection is not None  # `dot` is on
        return self.g_projection(self.g_hidden(pooled(y, y_mask)))

    def _dot(self, x: Any, y: Any, y_mask: Any, picture: Any, question: Any, training: bool | None) -> Any:
        assert self.f_projection is not None and self.g_answers is not None
        f = rows(pooled(self.f_projection(x)), picture)  # [B, dim]
        return self.g_answers(self.hide(f * rows(self.g(y, y_mask), question), training=training))

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds the layer."""
        names = ("answers", "dim", "heads", "dot", "dropout")
        return super().get_config() | {name: getattr(self, name) for name in names} | {"h": self.h_name}


def rows(values: Any, at: Any) -> Any:
    """Return rows [B, …] of values [N, …]; all of them where `at` is None, and None of None."""
    return values if at is None or values is None else ops.take(values, at, axis=0)


def terms_of(model: keras.Model) -> keras.Model:
    """Return a saved model's terms: the same inputs → (f·g, h), each [B, A], whose sum are the logits."""
    return _asking(model, lambda k, sides, _: k(*sides, return_terms=True), "terms")


def looks_of(model: keras.Model) -> keras.Model:
    """Return where a saved model's likeliest answers come from: the same inputs → float [B, M], M places by row."""
    return _asking(model, lambda k, sides, answers: k.looks(*sides, answer=ops.argmax(answers, -1)), "looks")


class _Ask(keras.layers.Layer):
    """A question to K as a layer of [x, y, y_mask, probabilities], so that it can stand in a model; never saved."""

    def __init__(self, knowledge: VQAHead, ask: Callable[..., Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.knowledge, self.ask = knowledge, ask
        self.supports_masking = True  # the mask is one of its inputs

    def compute_mask(self, given: Any, mask: Any = None) -> None:
        """Return None: what was asked for has no mask."""

    def call(self, given: Sequence[Any]) -> Any:
        """Return what was asked for."""
        *sides, probabilities = given
        return self.ask(self.knowledge, sides, probabilities)


def _asking(model: keras.Model, ask: Callable[..., Any], name: str) -> keras.Model:
    layer = model.get_layer("K")
    return keras.Model(model.input, _Ask(layer, ask, name=name)([*layer.input, model.output]), name=name)
