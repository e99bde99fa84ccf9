"""f(x) = W·φ(x) + b as one object: φ cut out of a source model, W and b fitted on a few labels, raw input in."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np

from tfxfer.config import TrainingConfig
from tfxfer.errors import UserError
from tfxfer.fit import fit_in_memory, sweep, validation_score
from tfxfer.models.batching import in_batches
from tfxfer.models.randomness import set_initializer_seed
from tfxfer.transfer.classifier import Classifier
from tfxfer.transfer.feature.extraction import attach, extractor, mlp_head
from tfxfer.transfer.feature.pooling import ORDERED, WINDOWS
from tfxfer.transfer.feature.probe import Probe, linear_probe

HEADS = ("linear", "mlp")


class FeatureClassifier(Classifier):
    """A frozen feature extractor φ and a fitted head.

    Args:
        source: The model that brings φ; or φ itself, with `layer` "output".
        class_names: Names of the C classes.
        layer: φ ends at this layer; None cuts before the classification head.
        input_bridge: From strings to the source's input, such as `RenderText`; None for images of an image model.
        pooling: How maps become one vector, such as "windows" (`extractor`).
        windows: How many, with pooling "windows".
        head: "linear" (W, b by L-BFGS, the L2 penalty chosen on validation) or "mlp" (one hidden layer, by Adam).
        image_size: (H, W) of the images, where φ takes any; None: the size of those that it is fitted on.

    Attributes:
        phi: Raw input → features [B, D], frozen.
        probe: The fitted linear head; None before `fit` and with head "mlp".

    Example:
        >>> classifier = FeatureClassifier(cnn, ["en", "fr"], input_bridge=RenderText(32, 224))  # doctest: +SKIP
        >>> classifier.fit(texts, labels, validation=(held_out, held_out_labels))                # doctest: +SKIP
        >>> classifier.predict(["good morning"])                                                 # doctest: +SKIP
    """

    def __init__(
        self,
        source: keras.Model,
        class_names: Sequence[str],
        *,
        layer: str | int | None = None,
        input_bridge: Callable[[Any], Any] | None = None,
        pooling: str = "auto",
        windows: int = WINDOWS,
        head: str = "linear",
        image_size: tuple[int, int] | None = None,
    ) -> None:
        if head not in HEADS:
            raise UserError(f"there is no head '{head}'; use linear or mlp")
        self.class_names, self.head_kind, self.image_size = tuple(class_names), head, image_size
        options: dict[str, Any] = {"pooling": pooling, "windows": windows}
        if pooling in ORDERED:  # their features depend on the size of the images
            options["image_size"] = image_size
        self.phi = source if layer == "output" else extractor(source, layer, input_bridge=input_bridge, **options)
        self._features_of: Any = None  # φ, compiled when it is first asked
        self.probe: Probe | None = None
        self.head: Any = None
        self.fitted = False

    @property
    def head_size(self) -> int:
        """Number of fitted parameters."""
        return self.probe.W.size + self.probe.b.size if self.probe else self.head.count_params()

    def features(self, inputs: Any) -> np.ndarray:
        """Return φ(x), float32 [N, D]; features are returned as they are."""
        if not isinstance(inputs, list | tuple) and np.ndim(inputs) == 2:
            return np.asarray(inputs, np.float32)
        strings = self.phi.inputs[0].dtype == "string"
        self._features_of = self._features_of or in_batches(self.phi)
        return self._features_of(np.asarray(inputs, object) if strings else np.asarray(inputs))

    def fit(
        self,
        inputs: Any,
        labels: Any,
        *,
        validation: tuple[Any, Any] | None = None,
        training: TrainingConfig | None = None,
        seed: int = 0,
    ) -> Self:
        """Fit W and b.

        Args:
            inputs: N texts, images [N, H, W, C], or features [N, D] from `extract`.
            labels: int [N], or N class names; for the linear head also shares of the classes, float [N, C].
            validation: Inputs and labels that choose the L2 penalty, or the learning rate of an MLP head.
            training: Of an MLP head; the linear head has no learning rate.
            seed: Of an MLP head.

        Raises:
            UserError: A label is no class, or inputs and labels do not fit.
        """
        features, held = self.features(inputs), None
        if validation is not None:
            held = (self.features(validation[0]), self.places(validation[1]))
        if self.head_kind == "mlp":
            head: Any = self._fit_mlp(features, self.places(labels), held, training or TrainingConfig(), seed)
        else:
            some: dict[str, Any] = {} if held is not None else {"strengths": (1e-3,)}
            head = self.probe = linear_probe(
                features,
                labels if np.ndim(labels) == 2 else self.places(labels),
                validation=held,
                num_classes=len(self.class_names),
                **some,
            )
        self.head = head
        if self.image_size is None and np.ndim(inputs) == 4:
            self.image_size = np.shape(inputs)[1:3]
        self._set(attach(self.phi, head))
        self.fitted = True
        return self

    def predict(self, inputs: Any) -> np.ndarray:
        """Return class probabilities float32 [N, C] of texts, images [N, H, W, C] or features [N, D]."""
        if not self.fitted:
            raise UserError("the classifier has no head yet; call fit first")
        if self.probe is not None:
            return self.probe.predict_proba(self.features(inputs))
        return np.asarray(self.head(self.features(inputs), training=False), np.float32)

    def on(self, phi: keras.Model) -> Self:
        """Return the same head on another φ that ends in the same features, such as this one behind a reader."""
        return self._restored(attach(phi, self.probe or self.head), self.class_names, self.image_size)

    def _fit_mlp(
        self, features: np.ndarray, labels: np.ndarray, held: Any, training: TrainingConfig, seed: int
    ) -> keras.Model:
        """Return the MLP head of the learning rate that validates best; of the middle one without validation."""

        def trained(rate: float) -> tuple[float, keras.Model]:
            set_initializer_seed(seed)
            head = mlp_head(features.shape[1], len(self.class_names))
            head.compile(keras.optimizers.Adam(global_clipnorm=1.0), keras.losses.SparseCategoricalCrossentropy())
            fit_in_memory(head, features, labels, training.at(rate), seed)
            if held is None:
                return 0.0, head
            return validation_score(np.asarray(head.predict(held[0], verbose=0)), held[1]), head

        return sweep(training.learning_rates if held is not None else (training.learning_rate,), trained)[1]

    @classmethod
    def _restored(cls, model: keras.Model, class_names: Sequence[str], size: tuple[int, int] | None) -> Self:
        head = model.layers[-1]
        features = head._inbound_nodes[-1].input_tensors[0]  # `input` of an MLP, a model, would be its own
        own = cls(keras.Model(model.input, features, name="phi"), class_names, layer="output", image_size=size)
        own.phi.trainable = False
        own.head_kind = "linear" if isinstance(head, keras.layers.Dense) else "mlp"
        if own.head_kind == "linear":
            W, b = (np.asarray(weight) for weight in head.get_weights())
            own.probe = Probe(W, b, l2=float("nan"), path=())
        own.head, own.fitted = head, True
        own._set(model)
        return own

    def save(self, path: str | Path) -> Path:
        """Write `model.keras` and `model.json` into a folder."""
        if not self.fitted:
            raise UserError("the classifier has no head yet; call fit before save")
        return super().save(path)
