"""`preset:` models: KerasHub presets, and folders of Hugging Face, with the settings and the pixel values they need.

An image model was trained on values that its own files name: `preprocessor_config.json` of a Hugging Face folder, the
image converter of a KerasHub preset. This rescaling is put inside the model, so that every model takes 0..255.
"""

from pathlib import Path
from typing import Any

import keras

from tfxfer.errors import UserError
from tfxfer.models.pixels import Values, image_inputs, rescaled
from tfxfer.models.spec import ModelSpec


def load_preset(spec: ModelSpec, rescale: Values | None, download: bool) -> keras.Model:
    """Return the backbone of a preset or a folder; an image model takes values 0..255.

    Args:
        spec: Its parsed spec.
        rescale: Scale and offset of the values, where they are known better than its files name them.
        download: Whether it may be downloaded.

    Raises:
        UserError: It is not here, cannot be read, has a setting that cannot be honoured, or is an image model whose
            files do not name its values.
    """
    from keras_hub.src.utils.preset_utils import get_preset_loader

    if not Path(spec.name).expanduser().is_dir() and not download:
        raise UserError(
            f"model spec '{spec.source}': not a folder here, and nothing is downloaded unless you ask for it: "
            "give --download (or download=True), or the folder of a model you have"
        )
    folder = Path(spec.name).expanduser()
    name = str(folder) if folder.is_dir() else spec.name
    try:
        loader = get_preset_loader(name)
        backbone = _backbone(loader, spec.source)
        if not image_inputs(backbone):
            if rescale is not None:
                raise UserError(f"--rescale: {spec.source} takes no images; leave it out")
            return backbone
        values = rescale or values_of(loader, spec.source)
    except UserError:
        raise
    except Exception as error:  # a damaged folder raises errors of KerasHub, safetensors or JSON
        first = (str(error).strip().splitlines() or [""])[0][:200]
        raise UserError(
            f"model spec '{spec.source}': KerasHub cannot read this model ({type(error).__name__}: {first}); it needs "
            "config.json and whole weights (model.safetensors, or model.weights.h5) of a supported type"
        ) from error
    return rescaled(backbone, values)


def values_of(loader: Any, spec: str) -> Values:
    """Return scale and offset of the values that an image model was trained on, as its files name them.

    Args:
        loader: KerasHub's loader of the preset.
        spec: The model's spec, for the message.

    Raises:
        UserError: No file names them.
    """
    found = _of_hugging_face(loader.preset) if "model_type" in loader.config else _of_converter(loader)
    if found is None:
        raise UserError(
            f"model spec '{spec}': no file there names the pixel values it was trained on "
            "(preprocessor_config.json of Hugging Face, image_converter.json or preprocessor.json of KerasHub); copy "
            "the model's own, or say how values 0..255 are rescaled: --rescale 1/127.5,-1 for -1..1, 1/255 for 0..1"
        )
    return found


def _backbone(loader: Any, spec: str) -> keras.Model:
    if "model_type" in loader.config and "registered_name" not in loader.config:
        from tfxfer.models.hugging_face import load_backbone

        return load_backbone(loader, spec)
    return loader.load_backbone(loader.check_backbone_class(), True)


def _of_hugging_face(preset: str) -> Values | None:
    """Read an image processor of Hugging Face: (0..255 · rescale_factor - image_mean) / image_std."""
    settings = _json(preset, "preprocessor_config.json") or (_json(preset, "processor_config.json") or {}).get(
        "image_processor"
    )
    if settings is None:
        return None
    scale = settings.get("rescale_factor", 1 / 255) if settings.get("do_rescale", True) else 1.0
    if not settings.get("do_normalize", True):
        return scale, 0.0
    if "image_mean" not in settings or "image_std" not in settings:
        return None
    mean, deviation = _listed(settings["image_mean"]), _listed(settings["image_std"])
    return [scale / one for one in deviation], [-m / one for m, one in zip(mean, deviation, strict=True)]


def _of_converter(loader: Any) -> Values | None:
    """Read the image converter of a KerasHub preset, or of timm's config."""
    import keras_hub

    if "registered_name" not in loader.config:
        converter = loader.load_image_converter(keras_hub.layers.ImageConverter)
    else:
        inside = (_json(loader.preset, "preprocessor.json") or {}).get("config", {}).get("image_converter")
        settings = _json(loader.preset, "image_converter.json") or inside
        converter = keras.saving.deserialize_keras_object(settings) if settings else None
    if converter is None:
        return None
    return (1.0 if converter.scale is None else converter.scale), (converter.offset or 0.0)


def _json(preset: str, file: str) -> Any:
    from keras_hub.src.utils.preset_utils import check_file_exists, load_json

    return load_json(preset, file) if check_file_exists(preset, file) else None


def _listed(value: Any) -> list[float]:
    return list(value) if isinstance(value, list | tuple) else [value]
