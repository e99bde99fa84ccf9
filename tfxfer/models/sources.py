"""`source(spec)`: the source model of a transfer."""

from pathlib import Path
from typing import Any

import keras

from tfxfer.errors import UserError
from tfxfer.models.cnn import article_cnn, glyph_cnn
from tfxfer.models.pixels import image_inputs, rescaled, with_channels
from tfxfer.models.randomness import set_initializer_seed
from tfxfer.models.saved import load_model
from tfxfer.models.spec import ModelSpec, check, parse, rescaling
from tfxfer.models.text_cnn import text_cnn
from tfxfer.models.vit import small_vit
from tfxfer.terminal import bars_of_libraries


def source(
    spec: str,
    *,
    num_classes: int | None = None,
    input_shape: tuple[int, int, int] | None = None,
    seed: int | None = None,
    download: bool = False,
    rescale: str | None = None,
) -> keras.Model:
    """Return the model that a spec names: untrained, pretrained, or of an earlier run.

    Args:
        spec: "fresh:cnn", "fresh:cnn/article", "fresh:vit", "fresh:bert", "fresh:text_cnn"; "keras:NAME"
            (keras.applications with ImageNet weights) or "keras:NAME/fresh"; "preset:NAME|DIR" (KerasHub, or a Hugging
            Face folder); "run:DIR"; "file:MODEL.keras".
        num_classes: Number of classes C of a fresh CNN's head; 10 when not given.
        input_shape: [H, W, channels] of the images of an image model, values 0..255; the model rescales them.
        seed: Seed of fresh weights.
        download: Allow pretrained weights to be downloaded.
        rescale: How a "file:" or "preset:" image model wants values 0..255: "SCALE" or "SCALE,OFFSET", such as "1/255"
            for 0..1 and "1/127.5,-1" for -1..1. By default a file's as they are, and a preset's as its files say.

    Returns:
        A functional model. Image models take [B, H, W, channels] in 0..255; a BERT takes a dict with "token_ids",
        "segment_ids" and "padding_mask", each int [B, T].

    Raises:
        UserError: the spec is unknown, its file is missing or unreadable, a download would be needed, or a preset's
            settings or pixel values cannot be honoured.
    """
    parsed = parse(spec)
    values = rescaling(spec, rescale)
    if seed is not None:
        set_initializer_seed(seed)
    options = {"num_classes": num_classes or 10, "input_shape": input_shape, "download": download, "rescale": values}
    return MODELS[parsed.kind](parsed, options)


def _fresh(spec: ModelSpec, options: dict[str, Any]) -> keras.Model:
    if spec.name == "cnn":
        channels = options["input_shape"][2] if options["input_shape"] else 1
        return glyph_cnn(options["num_classes"], channels)
    if spec.name == "cnn/article":
        return article_cnn(options["num_classes"], options["input_shape"] or (224, 224, 3))
    if spec.name == "vit":
        return small_vit(options["num_classes"], options["input_shape"] or (32, 32, 1))
    if spec.name == "text_cnn":
        return text_cnn(options["num_classes"])
    from tfxfer.models.bert import small_bert

    return small_bert(vocabulary_size=options["num_classes"] if options["num_classes"] > 10 else 4000)


def _application(spec: ModelSpec, options: dict[str, Any]) -> keras.Model:
    """Return a keras.applications model with its preprocessing inside, for values 0..255."""
    shape = options["input_shape"] or (224, 224, 3)
    if shape[2] != 3:
        raise UserError(f"model spec '{spec.source}': keras.applications needs 3 channels, not {shape[2]}")
    check(spec.source, options["download"])
    build = getattr(keras.applications, spec.name)
    with bars_of_libraries():
        body = build(include_top=False, pooling="avg", weights=None if spec.fresh else "imagenet", input_shape=shape)
    images = keras.Input(shape, name="image")
    preprocessed = Preprocess(spec.name, name="preprocess")(images)
    return keras.Model(images, body(preprocessed), name=spec.name.lower())


@keras.saving.register_keras_serializable("tfxfer")
class Preprocess(keras.layers.Layer):
    """The `preprocess_input` of a keras.applications model as a layer, for images [B, H, W, 3] in 0..255."""

    def __init__(self, application: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.application = application
        module = getattr(keras.applications, application).__module__.rsplit(".", 1)[-1]
        self._apply = getattr(keras.applications, module).preprocess_input

    def call(self, images: Any) -> Any:
        """Return the preprocessed images, [B, H, W, 3]."""
        return self._apply(keras.ops.cast(images, self.compute_dtype))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Shapes do not change."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds the layer."""
        return super().get_config() | {"application": self.application}


def _preset(spec: ModelSpec, options: dict[str, Any]) -> keras.Model:
    from tfxfer.models.presets import load_preset

    with bars_of_libraries():
        return load_preset(spec, options["rescale"], options["download"])


def _run(spec: ModelSpec, options: dict[str, Any]) -> keras.Model:
    return load_model(Path(spec.name).expanduser() / "model.keras")


def _file(spec: ModelSpec, options: dict[str, Any]) -> keras.Model:
    model = with_channels(load_model(Path(spec.name).expanduser()))
    if options["rescale"] is None:
        return model
    if not image_inputs(model):
        raise UserError(f"--rescale: {spec.source} takes no images; leave it out")
    return rescaled(model, options["rescale"])


MODELS = {"fresh": _fresh, "keras": _application, "preset": _preset, "run": _run, "file": _file}
