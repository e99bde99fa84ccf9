"""Heads that join an image and a text for one decision, behind one contract.

Every head takes the positions of an image [B, P, E] and the tokens of a text [B, T, G], both standardised, and gives
logits [B, C]. A row of zeros is padding. A side of zeros only is missing: the mean of the training examples stands for
it, as standardised features have the mean 0. A vector is a side with one row.

    average           log ½(p(c|x) + p(c|t))                     late fusion: two classifiers, each trained alone
    concatenation     W relu(A [x, t])
    gated             W (z·tanh(A x) + (1 − z)·tanh(B t)),       z = σ(G [x, t]); Arevalo et al. (2017)
    low_rank          W (tanh(A x) · tanh(B t))                  low-rank bilinear; Kim et al. (2017)
    film              W mean_p relu((1 + γ(t)) · A x_p + β(t))   Perez et al. (2018)
    cross_attention   W mean_t relu(B t + attention(B t, A x))   Vaswani et al. (2017)

x and t are means over rows that are not padding; x_p is one position. Where a side is missing, the product of
`low_rank` is a constant times the other side; the head was not trained for that.
"""

from typing import Any

import keras
from keras import ops

from tfxfer.transfer.knowledge.interactions import pooled

ATTENTION_HEADS = 4


def kept(rows: Any) -> Any:
    """Return which rows [B, P] of a side [B, P, E] are not padding."""
    return ops.any(ops.not_equal(rows, 0), axis=-1)


def mean(rows: Any) -> Any:
    """Return the mean [B, E] over the rows of a side that are not padding; zeros where there are none."""
    return pooled(rows, kept(rows))


class FusionHead(keras.layers.Layer):
    """The contract of all heads: (image [B, P, E], text [B, T, G]) -> logits [B, C].

    Args:
        num_classes: C.
        dim: Width D of the hidden layer.
        dropout: Fraction of the hidden units that is dropped in training.
        modality_dropout: Fraction of the training examples that lose one side, either equally often, in each step.
    """

    def __init__(
        self, num_classes: int, dim: int = 64, dropout: float = 0.1, modality_dropout: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.num_classes, self.dim = int(num_classes), int(dim)
        self.dropout, self.modality_dropout = float(dropout), float(modality_dropout)
        self.drop = keras.layers.Dropout(self.dropout, name="dropout")
        self.seeds = keras.random.SeedGenerator(0) if modality_dropout else None
        self.classes = self._dense(num_classes, "classes")

    def _dense(self, units: int, name: str, activation: str | None = None) -> keras.layers.Dense:
        return keras.layers.Dense(units, activation=activation, name=name)

    def build(self, input_shape: Any) -> None:
        """Make the weights for an image and a text of these shapes."""
        (*_, image), (*_, text) = input_shape
        self.build_join(int(image), int(text))

    def build_join(self, image: int, text: int) -> None:
        """Make the weights for features of these widths E and G."""
        raise NotImplementedError

    def join(self, image: Any, text: Any, training: bool | None) -> Any:
        """Return hidden units [B, D]."""
        raise NotImplementedError

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Return logits [B, C]."""
        image, text = self.sides(inputs, training)
        return self.classes(self.drop(self.join(image, text, training), training=training))

    def trained_logits(self, inputs: Any, training: bool | None = None) -> list[Any]:
        """Return the logits [B, C] whose mean cross-entropy is trained: those of `call`, in most heads."""
        return [self(inputs, training=training)]

    def sides(self, inputs: Any, training: bool | None) -> tuple[Any, Any]:
        """Return image and text; in training some examples lose one of them."""
        image, text = inputs
        if not training or self.seeds is None:
            return image, text
        drawn = keras.random.uniform((ops.shape(image)[0], 1, 1), seed=self.seeds)
        half = self.modality_dropout / 2
        return image * ops.cast(drawn >= half, image.dtype), text * ops.cast(drawn <= 1 - half, text.dtype)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, int]:
        """Return (B, C)."""
        return (input_shape[0][0], self.num_classes)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        own = {"num_classes": self.num_classes, "dim": self.dim, "dropout": self.dropout}
        return super().get_config() | own | {"modality_dropout": self.modality_dropout}


@keras.saving.register_keras_serializable("tfxfer")
class OneModality(FusionHead):
    """W relu(A x) of one side alone, the other is not read: what fusion has to beat.

    Args:
        side: "image" or "text".
        **kwargs: As for `FusionHead`.
    """

    def __init__(self, num_classes: int, side: str = "image", **kwargs: Any) -> None:
        super().__init__(num_classes, **kwargs)
        self.side = side
        self.hidden = self._dense(self.dim, "hidden", "relu")

    def build_join(self, image: int, text: int) -> None:
        """Make the weights."""
        self.hidden.build((None, image if self.side == "image" else text))
        self.classes.build((None, self.dim))

    def join(self, image: Any, text: Any, training: bool | None) -> Any:
        """Return hidden units [B, D]."""
        return self.hidden(mean(image if self.side == "image" else text))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return super().get_config() | {"side": self.side}


@keras.saving.register_keras_serializable("tfxfer")
class LateAverage(FusionHead):
    """The mean of two classifiers' probabilities; each is trained by its own cross-entropy, as if alone."""

    def __init__(self, num_classes: int, **kwargs: Any) -> None:
        super().__init__(num_classes, **kwargs)
        own = {"dim": self.dim, "dropout": self.dropout}
        self.of_image = OneModality(num_classes, "image", name="of_image", **own)
        self.of_text = OneModality(num_classes, "text", name="of_text", **own)

    def build_join(self, image: int, text: int) -> None:
        """Make the weights of both classifiers."""
        for one in (self.of_image, self.of_text):
            one.build([(None, None, image), (None, None, text)])

    def trained_logits(self, inputs: Any, training: bool | None = None) -> list[Any]:
        """Return the logits of both classifiers."""
        sides = self.sides(inputs, training)
        return [self.of_image(sides, training=training), self.of_text(sides, training=training)]

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Return the logarithm of the mean probability [B, C]."""
        one, two = (ops.log_softmax(logits) for logits in self.trained_logits(inputs, training))
        return ops.logaddexp(one, two) - ops.log(2.0)


@keras.saving.register_keras_serializable("tfxfer")
class Concatenation(FusionHead):
    """W relu(A [x, t]): one hidden layer over both vectors."""

    def __init__(self, num_classes: int, **kwargs: Any) -> None:
        super().__init__(num_classes, **kwargs)
        self.hidden = self._dense(self.dim, "hidden", "relu")

    def build_join(self, image: int, text: int) -> None:
        """Make the weights."""
        self.hidden.build((None, image + text))
        self.classes.build((None, self.dim))

    def join(self, image: Any, text: Any, training: bool | None) -> Any:
        """Return hidden units [B, D]."""
        return self.hidden(ops.concatenate([mean(image), mean(text)], axis=-1))


@keras.saving.register_keras_serializable("tfxfer")
class GatedUnit(FusionHead):
    """The gated multimodal unit of Arevalo et al. (2017): a gate mixes both sides in each hidden unit."""

    def __init__(self, num_classes: int, **kwargs: Any) -> None:
        super().__init__(num_classes, **kwargs)
        self.of_image, self.of_text = (self._dense(self.dim, f"of_{side}", "tanh") for side in ("image", "text"))
        self.gate = self._dense(self.dim, "gate", "sigmoid")

    def build_join(self, image: int, text: int) -> None:
        """Make the weights."""
        for layer, width in ((self.of_image, image), (self.of_text, text), (self.gate, image + text)):
            layer.build((None, width))
        self.classes.build((None, self.dim))

    def join(self, image: Any, text: Any, training: bool | None) -> Any:
        """Return hidden units [B, D]."""
        x, t = mean(image), mean(text)
        z = self.gate(ops.concatenate([x, t], axis=-1))
        return z * self.of_image(x) + (1 - z) * self.of_text(t)


@keras.saving.register_keras_serializable("tfxfer")
class LowRankBilinear(FusionHead):
    """The low-rank bilinear pooling of Kim et al. (2017): a bilinear form of rank D for each class, by a product."""

    def __init__(self, num_classes: int, **kwargs: Any) -> None:
        super().__init__(num_classes, **kwargs)
        self.of_image, self.of_text = (self._dense(self.dim, f"of_{side}", "tanh") for side in ("image", "text"))

    def build_join(self, image: int, text: int) -> None:
        """Make the weights."""
        self.of_image.build((None, image))
        self.of_text.build((None, text))
        self.classes.build((None, self.dim))

    def join(self, image: Any, text: Any, training: bool | None) -> Any:
        """Return hidden units [B, D]."""
        return self.of_image(mean(image)) * self.of_text(mean(text))


@keras.saving.register_keras_serializable("tfxfer")
class FeatureModulation(FusionHead):
    """FiLM of Perez et al. (2018): the text scales and shifts the features of every position of the image."""

    def __init__(self, num_classes: int, **kwargs: Any) -> None:
        super().__init__(num_classes, **kwargs)
        self.of_image, self.scale, self.shift = (self._dense(self.dim, name) for name in ("of_image", "scale", "shift"))

    def build_join(self, image: int, text: int) -> None:
        """Make the weights."""
        for layer, width in ((self.of_image, image), (self.scale, text), (self.shift, text)):
            layer.build((None, width))
        self.classes.build((None, self.dim))

    def join(self, image: Any, text: Any, training: bool | None) -> Any:
        """Return hidden units [B, D]."""
        t = mean(text)[:, None]  # [B, 1, G]
        return ops.mean(ops.relu((1 + self.scale(t)) * self.of_image(image) + self.shift(t)), axis=1)


@keras.saving.register_keras_serializable("tfxfer")
class TokenAttention(FusionHead):
    """Cross-attention: the tokens of the text attend to the positions of the image; the mean over them answers."""

    def __init__(self, num_classes: int, **kwargs: Any) -> None:
        super().__init__(num_classes, **kwargs)
        heads = next(n for n in (ATTENTION_HEADS, 2, 1) if self.dim % n == 0)
        self.of_image, self.of_text = (self._dense(self.dim, f"of_{side}") for side in ("image", "text"))
        self.attention = keras.layers.MultiHeadAttention(heads, self.dim // heads, name="attention")

    def build_join(self, image: int, text: int) -> None:
        """Make the weights."""
        self.of_image.build((None, None, image))
        self.of_text.build((None, None, text))
        self.attention.build((None, None, self.dim), (None, None, self.dim))
        self.classes.build((None, self.dim))

    def join(self, image: Any, text: Any, training: bool | None) -> Any:
        """Return hidden units [B, D]."""
        tokens, mask = self.of_text(text), kept(text)
        attended = tokens + self.attention(tokens, self.of_image(image), training=training)
        none = ops.logical_not(ops.any(mask, axis=-1, keepdims=True))
        rows = ops.logical_or(mask, none)  # without a text, all tokens stand for the mean
        return pooled(ops.relu(attended), rows)


HEADS: dict[str, type[FusionHead]] = {  # name of an arm -> its head
    "average": LateAverage,
    "concatenation": Concatenation,
    "gated": GatedUnit,
    "low_rank": LowRankBilinear,
    "film": FeatureModulation,
    "cross_attention": TokenAttention,
}
SINGLE = {"image_only": "image", "text_only": "text"}  # name of an arm -> the only side that it reads


def make_head(name: str, num_classes: int, **options: Any) -> FusionHead:
    """Return a head by the name of its arm; options are those of `FusionHead`."""
    if name in SINGLE:
        return OneModality(num_classes, SINGLE[name], name="head", **options | {"modality_dropout": 0.0})
    return HEADS[name](num_classes, name="head", **options)
