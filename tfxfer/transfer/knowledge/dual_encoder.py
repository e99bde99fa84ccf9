"""A dual encoder: K = f(X)·g(Y) over all pairs of images and texts (LiT, Zhai et al. 2022).

    f(X)    the frozen image encoder: features φ(x), standardised, scaled to length 1               [B, D]
    g(Y)    the text tower, trained so that a text's vector is near that of its image               [C, D]

Nothing of φ trains, so it is computed once for all images (`tfxfer.transfer.feature.extract`) and a step costs the text
tower alone. Texts are mapped into the space of the images, so a head that was fitted on images can be applied to texts:
`tfxfer.transfer.bridges.align`. The layer K is a `KnowledgeMatrix`; see docs/knowledge.md.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf
from scipy.special import softmax

from tfxfer.config import TrainingConfig
from tfxfer.errors import TfxferError, UserError
from tfxfer.evaluate.retrieval import retrieval
from tfxfer.fit import fit_batches, rate_schedule
from tfxfer.models.batching import in_batches
from tfxfer.models.low_rank import optimizer_for
from tfxfer.models.randomness import reset_seed_generators
from tfxfer.models.saved_folder import load_folder, save_folder
from tfxfer.models.standardize import mean_and_deviation
from tfxfer.streams import prompt
from tfxfer.transfer.knowledge.callbacks import StepRates
from tfxfer.transfer.knowledge.contrastive import InfoNCE
from tfxfer.transfer.knowledge.knowledge_matrix import KnowledgeMatrix, rebuilding
from tfxfer.transfer.knowledge.question_batches import checked_index
from tfxfer.transfer.knowledge.text_towers import TextTower

MAX_RIDGE_TEXTS = 4096  # that the last layer of g is fitted on before the first step
STRENGTHS = tuple(10.0**power for power in range(-3, 5))  # L2 penalties of that ridge regression
TRAINING = TrainingConfig(steps=300, batch_size=128, learning_rates=(1e-3,))


class DualEncoder:
    """A frozen image encoder and a trained text tower.

    Args:
        image_encoder: φ, a frozen model from images to features [B, D]; features may be given instead of images.
        text_tower: From `text_towers`: a BERT or a small one. It is trained in place.
        dim: Width of the common space. None takes that of φ: f(X) is then fixed, and a head fitted on it stays valid.
        temperature: Initial value of the learned temperature.
        image_size: (H, W) of the images, where φ takes any; `save` writes it for the command line.

    Attributes:
        matrix: The layer K, a `KnowledgeMatrix`.
        model: Model {"features" [B, D], "token_ids" int [C, T]} → K [B, C], which `fit` trains.

    Raises:
        UserError: φ gives no features [B, D].

    Example:
        >>> encoder = DualEncoder(phi, bert_tower(bert, vocabulary))                # doctest: +SKIP
        >>> encoder.fit(extract(phi, data), data.texts("train"))                    # doctest: +SKIP
        >>> encoder.score(images, texts)["text_to_image_recall_at_1"]               # doctest: +SKIP
        >>> DualEncoder.load(encoder.save("runs/my-encoder"))                       # doctest: +SKIP
    """

    def __init__(
        self,
        image_encoder: keras.Model,
        text_tower: TextTower,
        *,
        dim: int | None = None,
        temperature: float = 0.07,
        image_size: tuple[int, int] | None = None,
    ) -> None:
        if len(image_encoder.output.shape) != 2:
            raise UserError(f"φ must give features [B, D] of images, not {list(image_encoder.output.shape)}")
        self.image_encoder, self.text_tower, self.dim, self.temperature = image_encoder, text_tower, dim, temperature
        self.image_size = image_size or _size(image_encoder)
        width = int(image_encoder.output.shape[-1])
        features = keras.Input((width,), name="features")
        token_ids = keras.Input((text_tower.tokenizer.length,), dtype="int32", name="token_ids")
        self.standardise = keras.layers.Dense(width, trainable=False, kernel_initializer="identity", name="standardise")
        self.matrix = KnowledgeMatrix(width, text_tower.dim, dim=dim, temperature=temperature, name="K")
        k = self.matrix(self.standardise(features), text_tower.body(token_ids))
        self.model = keras.Model({"features": features, "token_ids": token_ids}, k, name="dual_encoder")
        assert self.matrix.g_projection is not None
        g = keras.layers.UnitNormalization(name="unit")(self.matrix.g_projection(text_tower.body(token_ids)))
        self._g = keras.Model(token_ids, g, name="g")
        self._features_of, self._vectors_of = in_batches(image_encoder), in_batches(self._g)
        self._body_of = in_batches(text_tower.body)

    def fit(
        self,
        images: Any,
        texts: Sequence[str],
        *,
        image_index: Sequence[int] | np.ndarray | None = None,
        ids: Any = None,
        training: TrainingConfig = TRAINING,
        ridge_init: bool = True,
        seed: int = 0,
        jit: bool = True,
        callbacks: Sequence[keras.callbacks.Callback] = (),
    ) -> keras.callbacks.History:
        """Train the text tower on pairs by InfoNCE in both directions; features of images are computed once.

        The first call also sets the scale of the features and the last layer of g; a later one continues. With the
        weights of `model` set back to what they were before, training starts anew. Truncated texts get a
        `TruncationWarning`. A text without any token, such as "!!!" for a tower of words, is left out.

        Args:
            images: Features [P, D] from `extract`, or images [P, H, W, C].
            texts: N strings.
            image_index: int [N], which image each text is about; by default text i is about image i.
            ids: What each image shows, [P]; images with equal ids are no negatives of each other. By default all
                differ.
            training: Steps, pairs in a batch (one less negatives for each pair), and the largest learning rate.
            ridge_init: Whether the last layer of g starts at the ridge regression from texts to their images, in the
                first call. Where f has a layer of its own (`dim`), both start at random.
            seed: Seed of the order and of dropout.
            jit: Compile with XLA; a transformer on a CPU then takes about 0.4 of the time.
            callbacks: Further callbacks of Keras.

        Returns:
            The Keras history of one epoch: the mean loss in nats.

        Raises:
            UserError: Images and texts make no pairs, all show the same, or are not finite; a text is empty; there are
                no steps.
            TfxferError: The loss, or the output of the text tower, is not finite.
        """
        features, token_ids = self.features(images), self.text_tower.encode(texts, stacklevel=2)
        index, ids = _checked_pairs(features, token_ids, ids, image_index)
        has_words = token_ids.any(1)  # a text without a word has no direction, and its gradient under XLA is NaN
        token_ids, index = token_ids[has_words], index[has_words]
        steps = training.steps_for(len(token_ids))
        if steps < 1:
            raise UserError("steps 0 and epochs 0: nothing would be trained; give 1 or more of either")
        if not self._has_scale():
            self._set_scale(features)
            if ridge_init and self.matrix.f_projection is None:
                self._fit_last_layer(features, token_ids, index, seed)
        self._compile(jit)
        reset_seed_generators(self.model, seed)
        size = min(training.batch_size, len(token_ids))
        rows = tf.data.Dataset.from_tensor_slices(_order(len(token_ids), steps * size, seed).reshape(steps, size))
        batches = rows.map(lambda row: _batch(row, tf.gather(index, row), features, token_ids, ids))
        schedule = StepRates(rate_schedule(training, steps))
        return fit_batches(self.model, prompt(batches.prefetch(tf.data.AUTOTUNE)), [schedule, *callbacks])

    def predict(self, images: Any, texts: Sequence[str]) -> np.ndarray:
        """Return K = f(X)·g(Y), float32 [B, C]: cosines divided by the temperature.

        Args:
            images: Images [B, H, W, C] or features [B, D].
            texts: C strings; it warns of those that are truncated.
        """
        return self._k(images, self.text_tower.encode(texts, stacklevel=2))

    def score(
        self,
        images: Any,
        texts: Sequence[str],
        image_index: Sequence[int] | np.ndarray | None = None,
        ids: Any = None,
    ) -> dict[str, float]:
        """Return the figures of `tfxfer.evaluate.retrieval` in both directions, such as "image_to_text_recall_at_1".

        Args:
            images: Images [B, H, W, C] or features [B, D].
            texts: C strings.
            image_index: int [C], which image each text is about; by default text i is about image i.
            ids: What each image shows, [B]; a text is correct for all images with the id of its own. By default all
                differ.
        """
        token_ids = self.text_tower.encode(texts, stacklevel=2)
        index = checked_index(image_index, len(images), len(texts))
        shown = np.arange(len(images)) if ids is None else np.asarray(ids)
        found = retrieval(self._k(images, token_ids), shown, shown[index])
        return {
            f"{direction}_{name}": float(value)
            for direction, figures in found.items()
            for name, value in figures.items()
            if name != "ranks"
        }

    def features(self, images: Any) -> np.ndarray:
        """Return φ(x), float32 [N, D], of images [N, H, W, C]; features [N, D] are returned as they are."""
        given = np.asarray(images)
        if given.ndim == 2:
            if given.shape[1] != self.image_encoder.output.shape[-1]:
                raise UserError(f"φ gives features [N, {self.image_encoder.output.shape[-1]}], not {list(given.shape)}")
            return given.astype(np.float32, copy=False)
        if not len(given):
            raise UserError("there are no images to encode")
        return self._features_of(given)

    def encode_images(self, images: Any) -> np.ndarray:
        """Return f(X), float32 [N, dim], of images [N, H, W, C] or their features [N, D]."""
        return np.asarray(self.matrix.f(self.standardise(self.features(images))), np.float32)

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return g(Y), float32 [N, dim], of N strings; warn of those that are truncated."""
        return self._vectors_of(self.text_tower.encode(texts, stacklevel=2))

    def zero_shot(self, images: Any, class_names: Sequence[str], templates: Sequence[str] = ("{}",)) -> np.ndarray:
        """Return probabilities float32 [B, C] of classes of which only the names are known.

        The vector of a class is the mean of its name's vectors in all templates, scaled to length 1 (Radford et al.
        2021, section 3.1.4).

        Args:
            images: Images [B, H, W, C] or features [B, D].
            class_names: C names.
            templates: Texts with {} in the place of the name.

        Raises:
            UserError: A template has no {}, or there are no names.
        """
        from sklearn.preprocessing import normalize

        without = next((one for one in templates if "{}" not in one), None)
        if not len(templates) or without is not None:
            raise UserError(f"template '{without or ''}' has no place {{}} for the name of a class")
        texts = [template.replace("{}", name) for template in templates for name in class_names]
        vectors = self._vectors_of(self.text_tower.encode(texts, stacklevel=2))
        means = vectors.reshape(len(templates), len(class_names), -1).mean(0)  # [C, dim]
        return softmax(self.encode_images(images) @ normalize(means).T * float(self.matrix.scale()), axis=1)

    def image_side(self) -> keras.Model:
        """Return f as a model: images [B, H, W, C] -> vectors [B, dim] of length 1."""
        image = keras.Input(self.image_encoder.inputs[0].shape[1:], name="image")
        vectors = self.standardise(self.image_encoder(image))
        vectors = vectors if self.matrix.f_projection is None else self.matrix.f_projection(vectors)
        return keras.Model(image, keras.layers.UnitNormalization(name="unit")(vectors), name="image_side")

    def text_side(self) -> keras.Model:
        """Return g as a model: strings [B] -> vectors [B, dim] of length 1."""
        text = keras.Input((), dtype="string", name="text")
        return keras.Model(text, self._g(self.text_tower.tokenizer(text)), name="text_side")

    def end_to_end(self) -> keras.Model:
        """Return all as one model: {"image" [B, H, W, C], "text" string [C]} -> K [B, C]."""
        image = keras.Input(self.image_encoder.inputs[0].shape[1:], name="image")
        text = keras.Input((), dtype="string", name="text")
        k = self.matrix(self.standardise(self.image_encoder(image)), self.text_tower.model(text))
        return keras.Model({"image": image, "text": text}, k, name="dual_encoder")

    def save(self, path: str | Path) -> Path:
        """Write `model.keras`, which is `end_to_end()`, and `model.json` into a folder; return the folder."""
        described: dict[str, Any] = {"class": type(self).__name__, "task": "retrieval", "input": "image"}
        size, channels = self.image_size, self.image_encoder.inputs[0].shape[-1]
        described |= {"image_size": size and list(size), "channels": channels}
        described |= {"dim": self.dim, "temperature": self.temperature, "image_encoder": self.image_encoder.name}
        described |= {"tokenizer": self.text_tower.tokenizer.name, "text_encoder": self.text_tower.sequence.name}
        return save_folder(path, self.end_to_end(), described)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Return what `save` wrote: it predicts the same, and can be trained further.

        Args:
            path: The folder, or the .keras file in it.

        Raises:
            UserError: The folder holds a model of another class, or is damaged.
        """
        model, described = load_folder(path, cls.__name__)
        with rebuilding(path, model):
            tower = model.get_layer("text_tower")
            tokenizer = tower.get_layer(described["tokenizer"])
            sequence = tower.get_layer("body").get_layer(described["text_encoder"])
            options = {name: described[name] for name in ("dim", "temperature")}
            options["image_size"] = described["image_size"] and tuple(described["image_size"])
            loaded = cls(model.get_layer(described["image_encoder"]), TextTower(tokenizer, sequence), **options)
            for layer in (loaded.standardise, loaded.matrix):
                layer.set_weights(model.get_layer(layer.name).get_weights())
        return loaded

    def _k(self, images: Any, token_ids: np.ndarray) -> np.ndarray:
        return self.encode_images(images) @ self._vectors_of(token_ids).T * float(self.matrix.scale())

    def _has_scale(self) -> bool:
        """Return whether a training has set the scale. The weights tell, so that setting them back undoes it."""
        kernel, bias = self.standardise.get_weights()
        return bool(np.any(bias != 0) or np.any(kernel != np.eye(len(kernel))))

    def _set_scale(self, features: np.ndarray) -> None:
        """Set the fixed (x − mean) / deviation of the features."""
        mean, deviation = mean_and_deviation(features)
        self.standardise.set_weights([np.diag(1 / deviation), -mean / deviation])

    def _fit_last_layer(self, features: np.ndarray, token_ids: np.ndarray, index: np.ndarray, seed: int) -> None:
        """Set W of g(y) = W·ψ(y) by ridge regression from ψ(y) to f(x), its L2 penalty chosen by GCV."""
        from sklearn.linear_model import RidgeCV

        some = np.random.default_rng(seed).permutation(len(token_ids))[:MAX_RIDGE_TEXTS]
        targets = np.asarray(self.matrix.f(self.standardise(features[index[some]])), np.float32)  # [N, D]
        inputs = self._body_of(token_ids[some])  # ψ(y) [N, E]
        if not np.isfinite(inputs).all():
            raise TfxferError("the text tower gives vectors that are not finite; are its weights finite?")
        ridge = RidgeCV(alphas=STRENGTHS, fit_intercept=False).fit(inputs, targets)
        self.matrix.g_projection.kernel.assign(ridge.coef_.T)  # type: ignore[union-attr]

    def _compile(self, jit: bool) -> None:
        """Compile once; a second training starts with a fresh optimizer and needs no second compilation."""
        if not self.model.compiled or self.model.jit_compile != jit:
            self.model.compile(optimizer_for(self.model), InfoNCE(), jit_compile=jit)
            self.model.optimizer.build(self.model.trainable_variables)
        for variable in self.model.optimizer.variables:
            variable.assign(keras.ops.zeros_like(variable))


def _size(image_encoder: keras.Model) -> tuple[int, int] | None:
    """Return (H, W) of the images that a model takes, or None where it takes any size."""
    _, *size, _ = image_encoder.inputs[0].shape
    return (size[0], size[1]) if len(size) == 2 and None not in size else None


def _checked_pairs(
    features: np.ndarray, token_ids: np.ndarray, ids: Any, image_index: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Return image_index int32 [N] and ids int32 [P] from 0, or say what is wrong with the pairs."""
    index = checked_index(image_index, len(features), len(token_ids))
    shown = np.arange(len(features)) if ids is None else np.asarray(ids)
    if len(features) != len(shown):
        raise UserError(f"{len(features)} images and {len(shown)} ids; give one id for each image")
    if len(np.unique(shown[index[token_ids.any(1)]])) < 2:
        raise UserError("pairs of at least two different things are needed, with words in their texts, as negatives")
    wrong = np.flatnonzero(~np.isfinite(features).all(1))
    if len(wrong):
        raise UserError(f"the features of {len(wrong)} images are not finite, first row {wrong[0]}")
    return index, np.unique(shown, return_inverse=True)[1].astype(np.int32)


def _order(count: int, wanted: int, seed: int) -> np.ndarray:
    """Return `wanted` row numbers: one permutation of all rows after the other."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.permutation(count) for _ in range(-(-wanted // count))])[:wanted]


def _batch(rows: Any, index: Any, features: np.ndarray, token_ids: np.ndarray, ids: np.ndarray) -> Any:
    """Return the batch of the texts `rows` [B], which are about the images `index` [B]."""
    return {"features": tf.gather(features, index), "token_ids": tf.gather(token_ids, rows)}, tf.gather(ids, index)
