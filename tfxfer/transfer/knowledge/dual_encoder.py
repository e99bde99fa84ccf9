"""Two towers that meet in one space: K = f(X)·g(Y) over all pairs of pictures and texts (LiT, Zhai et al. 2022).

    f(X)    the locked picture tower: frozen features φ(x), standardised, scaled to length 1      [B, D]
    g(Y)    the text tower, trained to land beside the picture that it tells of                   [C, D]

Nothing of f trains, so φ runs once over the pictures (`tfxfer.transfer.feature.extract`) and a step costs text only.
The texts move into the space of the pictures, and whatever was learned on pictures there can be asked of texts:
`tfxfer.transfer.bridges.align`.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfxfer.errors import TfxferError, UserError
from tfxfer.models.randomness import reseed
from tfxfer.streams import prompt
from tfxfer.transfer.knowledge.callbacks import WarmupCosine
from tfxfer.models.standardize import mean_and_deviation
from tfxfer.transfer.knowledge.contrastive import InfoNCE
from tfxfer.models.batching import in_batches
from tfxfer.transfer.knowledge.knowledge_matrix import KnowledgeMatrix
from tfxfer.transfer.knowledge.text_towers import TextTower

BATCH = 256  # rows encoded at a time
MOST_FITTED = 4096  # texts that the last map of g is fitted on before the first step
STRENGTHS = tuple(10.0**power for power in range(-3, 5))  # of that ridge regression


class DualEncoder:
    """A locked picture tower and a trained text tower.

    Args:
        phi: φ, a frozen model from pictures to features [B, D]; its features may be given instead of pictures.
        text_tower: From `text_towers`: a BERT or a small one. It is trained in place.
        dim: Width of the common space. None takes φ's own: f(X) is then fixed, and a head fitted on it stays valid.
        temperature: Where the learned temperature starts.

    Attributes:
        matrix: The `KnowledgeMatrix` that both towers end in.
        trained: Model {"features" [B, D], "tokens" int [C, T]} -> K [B, C]; what `fit` trains.

    Example:
        >>> towers = DualEncoder(phi, bert_tower(bert, pieces))                     # doctest: +SKIP
        >>> towers.fit(extract(phi, data), data.texts("train"), steps=300)          # doctest: +SKIP
        >>> retrieval(towers.K(pictures, texts))["text_to_image"]["recall_at_1"]    # doctest: +SKIP
    """

    def __init__(
        self, phi: keras.Model, text_tower: TextTower, *, dim: int | None = None, temperature: float = 0.07
    ) -> None:
        if len(phi.output.shape) != 2:
            raise UserError(f"φ must give one row of features a picture, [B, D], not {list(phi.output.shape)}")
        self.phi, self.text_tower = phi, text_tower
        self._pictures = in_batches(phi)
        width = int(phi.output.shape[-1])
        features = keras.Input((width,), name="features")
        tokens = keras.Input((text_tower.tokens.length,), dtype="int32", name="tokens")
        self.standardise = keras.layers.Dense(width, trainable=False, kernel_initializer="identity", name="standardise")
        self.matrix = KnowledgeMatrix(width, text_tower.dim, dim=dim, temperature=temperature, name="K")
        k = self.matrix(self.standardise(features), text_tower.body(tokens))
        self.trained = keras.Model({"features": features, "tokens": tokens}, k, name="dual_encoder")
        assert self.matrix.g_projection is not None
        side = keras.layers.UnitNormalization(name="unit")(self.matrix.g_projection(text_tower.body(tokens)))
        self._texts = keras.Model(tokens, side, name="g")

    def fit(
        self,
        pictures: Any,
        texts: Sequence[str],
        ids: Any = None,
        *,
        owners: Any = None,
        steps: int = 300,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        fitted: bool = True,
        seed: int = 0,
        jit: bool = True,
    ) -> keras.callbacks.History:
        """Train the text tower on pairs by InfoNCE both ways; features of pictures are computed once.

        The first call also sets the scale of the features, and the last map of g; a later one goes on. With the weights
        of `trained` set back to what they were before, training begins anew. It warns of texts that are cut; a text
        without any token, such as "!!!" to a tower of words, is left out.

        Args:
            pictures: Features [P, D] from `extract`, or pictures [P, H, W, C].
            texts: N strings.
            ids: What each picture shows, [P]; equal ids are never wrong answers to each other. By default all differ.
            owners: int [N], the picture that each text is about; by default text i is about picture i.
            steps: Batches to learn from, the same work whatever N is.
            batch_size: Pairs in a batch, so `batch_size` − 1 wrong answers for each right one.
            learning_rate: The largest; it rises over a sixth of the steps and falls as half a cosine.
            fitted: Let the last map of g begin where ridge regression puts the texts at their pictures, in the first
                call. Where f has a map of its own (`dim`), both begin at random all the same.
            seed: Seed of the order and of dropout.
            jit: Compile with XLA; for a transformer on a CPU it takes about 0.4 of the time.

        Returns:
            Keras' history, of one epoch: the mean loss in nats.

        Raises:
            UserError: Pictures and texts make no pairs, show one thing only, or are not finite; a text is empty.
            TfxferError: The loss, or what the text tower gives, is no number.
        """
        features = self.features(pictures)
        numbers = self.text_tower.read(texts)
        owners, names = _pairs(features, numbers, ids, owners)
        worded = numbers.any(1)  # a text without a word has no direction, and its gradient under XLA is no number
        numbers, owners = numbers[worded], owners[worded]
        if not self._scaled():
            self._learn_scale(features)
            if fitted and self.matrix.f_projection is None:
                self._fit_last_map(features, numbers, owners, seed)
        self._compile(jit)
        reseed(self.trained, seed)
        size = min(batch_size, len(numbers))
        order = _order(len(numbers), steps * size, seed).reshape(steps, size)
        batches = tf.data.Dataset.from_tensor_slices(order).map(
            lambda at: _batch(at, tf.gather(owners, at), features, numbers, names)
        )
        watch = WarmupCosine(learning_rate, steps)
        return self.trained.fit(prompt(batches.prefetch(tf.data.AUTOTUNE)), verbose=0, shuffle=False, callbacks=[watch])

    def features(self, pictures: Any) -> np.ndarray:
        """Return φ(x), float32 [N, D], of pictures [N, H, W, C]; features [N, D] are returned as they are."""
        given = np.asarray(pictures)
        if given.ndim == 2:
            if given.shape[1] != self.phi.output.shape[-1]:
                raise UserError(f"φ gives features [N, {self.phi.output.shape[-1]}], not {list(given.shape)}")
            return given.astype(np.float32, copy=False)
        if not len(given):
            raise UserError("there are no pictures to encode")
        return self._pictures(given)

    def picture_vectors(self, pictures: Any) -> np.ndarray:
        """Return f(X), float32 [N, dim], of pictures [N, H, W, C] or their features [N, D]."""
        standard = self.standardise(self.features(pictures))
        return np.asarray(self.matrix.f(standard), np.float32)

    def text_vectors(self, texts: Sequence[str]) -> np.ndarray:
        """Return g(Y), float32 [N, dim]; warn of texts that are cut."""
        return _in_batches(self._texts, self.text_tower.read(texts))

    def K(self, pictures: Any, texts: Sequence[str]) -> np.ndarray:
        """Return K = f(X)·g(Y), float32 [B, C]: cosines divided by the temperature."""
        return self.picture_vectors(pictures) @ self.text_vectors(texts).T * float(self.matrix.scale())

    def zero_shot(self, pictures: Any, class_names: Sequence[str], templates: Sequence[str] = ("{}",)) -> np.ndarray:
        """Return probabilities float32 [B, C] of classes that are known by name only.

        A class is the mean of its name's vectors in all templates, at length 1 (Radford et al. 2021, section 3.1.4).

        Args:
            pictures: Pictures [B, H, W, C] or features [B, D].
            class_names: C names.
            templates: Texts with {} in the place of the name.

        Raises:
            UserError: A template has no {}, or there are no names.
        """
        without = next((one for one in templates if "{}" not in one), None)
        if not len(templates) or without is not None:
            raise UserError(f"template '{without or ''}' has no place {{}} for the name of a class")
        vectors = [self.text_vectors([one.replace("{}", name) for name in class_names]) for one in templates]
        means = np.mean(vectors, 0)  # [C, dim]
        means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
        k = self.picture_vectors(pictures) @ means.T * float(self.matrix.scale())
        powers = np.exp(k - k.max(1, keepdims=True))
        return powers / powers.sum(1, keepdims=True)

    def model(self) -> keras.Model:
        """Return all of it as one model to save: {"image" [B, H, W, C], "text" string [C]} -> K [B, C]."""
        image = keras.Input(self.phi.input.shape[1:], name="image")
        text = keras.Input((), dtype="string", name="text")
        k = self.matrix(self.standardise(self.phi(image)), self.text_tower.model(text))
        return keras.Model({"image": image, "text": text}, k, name="dual_encoder")

    def picture_side(self, image: Any) -> Any:
        """Return what f makes of pictures [B, H, W, C] (a Keras tensor) before it is scaled to length 1, [B, dim]."""
        standard = self.standardise(self.phi(image))
        return standard if self.matrix.f_projection is None else self.matrix.f_projection(standard)

    def text_side(self) -> keras.Model:
        """Return g as a model of its own: strings [B] -> vectors [B, dim]."""
        texts = keras.Input((), dtype="string", name="text")
        return keras.Model(texts, self._texts(self.text_tower.tokens(texts)), name="text_side")

    def _scaled(self) -> bool:
        """Return whether a training has set the scale: told by the weights, so that it is forgotten with them."""
        kernel, bias = self.standardise.get_weights()
        return bool(np.any(bias != 0) or np.any(kernel != np.eye(len(kernel))))

    def _learn_scale(self, features: np.ndarray) -> None:
        """Set the fixed (x − mean) / deviation of the picture side; a projection learns its own scale all the same."""
        mean, deviation = mean_and_deviation(features)
        self.standardise.set_weights([np.diag(1 / deviation), -mean / deviation])

    def _fit_last_map(self, features: np.ndarray, numbers: np.ndarray, owners: np.ndarray, seed: int) -> None:
        """Set W of g(y) = W·ψ(y) so that texts lie near their pictures f(x): ridge regression, its strength by GCV."""
        from sklearn.linear_model import RidgeCV

        some = np.random.default_rng(seed).permutation(len(numbers))[:MOST_FITTED]
        wanted = np.asarray(self.matrix.f(self.standardise(features[owners[some]])), np.float32)  # [N, D]
        read = _in_batches(self.text_tower.body, numbers[some])  # ψ(y) [N, E]
        if not np.isfinite(read).all():
            raise TfxferError("the text tower gives vectors that are no numbers; are its weights finite?")
        ridge = RidgeCV(alphas=STRENGTHS, fit_intercept=False).fit(read, wanted)
        self.matrix.g_projection.kernel.assign(ridge.coef_.T)  # type: ignore[union-attr]

    def _compile(self, jit: bool) -> None:
        """Compile once; a second training starts with a fresh optimizer and needs no second compilation."""
        if not self.trained.compiled or self.trained.jit_compile != jit:
            self.trained.compile(keras.optimizers.Adam(global_clipnorm=1.0), InfoNCE(), jit_compile=jit)
            self.trained.optimizer.build(self.trained.trainable_variables)
        for variable in self.trained.optimizer.variables:
            variable.assign(keras.ops.zeros_like(variable))


def _pairs(features: np.ndarray, numbers: np.ndarray, ids: Any, owners: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return owners int32 [N] and ids int32 [P] from 0, or say what is wrong with the pairs."""
    names = np.arange(len(features)) if ids is None else np.asarray(ids)
    about = np.arange(len(features)) if owners is None else np.asarray(owners)
    if len(features) != len(names) or len(numbers) != len(about):
        raise UserError(f"{len(features)} pictures, {len(numbers)} texts and {len(names)} ids do not make pairs")
    if about.min() < 0 or about.max() >= len(features):
        raise UserError(f"owners must be places of the {len(features)} pictures, not {about.min()} to {about.max()}")
    if len(np.unique(names[about[numbers.any(1)]])) < 2:
        raise UserError(
            "pairs of at least two different things are needed, with words in their texts: with one there is nothing "
            "to tell apart"
        )
    wrong = np.flatnonzero(~np.isfinite(features).all(1))
    if len(wrong):
        raise UserError(f"the features of {len(wrong)} pictures are not finite, first row {wrong[0]}")
    return about.astype(np.int32), np.unique(names, return_inverse=True)[1].astype(np.int32)


def _order(count: int, wanted: int, seed: int) -> np.ndarray:
    """Return `wanted` row numbers: one permutation of all rows after the other."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.permutation(count) for _ in range(-(-wanted // count))])[:wanted]


def _batch(at: Any, of: Any, features: np.ndarray, numbers: np.ndarray, names: np.ndarray) -> Any:
    """Return the batch of texts `at` [B], which are about the pictures `of` [B]."""
    return {"features": tf.gather(features, of), "tokens": tf.gather(numbers, at)}, tf.gather(names, of)


def _in_batches(model: keras.Model, rows: np.ndarray) -> np.ndarray:
    """Return the model's answers, float32 [N, D], in inference mode.

    Not by `predict`, which compiles with XLA anew for each size of batch.
    """
    if not len(rows):
        raise UserError("there is nothing to encode")
    parts = [model(tf.constant(rows[i : i + BATCH]), training=False) for i in range(0, len(rows), BATCH)]
    return np.concatenate([np.asarray(part, np.float32) for part in parts])
