"""Parse the spec of a source model, with the checks that need no TensorFlow."""

import math
import os
from dataclasses import dataclass
from pathlib import Path

from tfxfer.errors import UserError, suggest

FRESH = ("cnn", "cnn/article", "vit", "bert", "text_cnn")
MODALITY = {
    "fresh:cnn": "image",
    "fresh:cnn/article": "image",
    "fresh:vit": "image",
    "fresh:bert": "text",
    "fresh:text_cnn": "text",
}
KINDS = {
    "fresh": "an untrained model: fresh:cnn, fresh:cnn/article, fresh:vit, fresh:bert, fresh:text_cnn",
    "keras": "keras.applications with ImageNet weights (keras:MobileNetV2) or without (keras:MobileNetV2/fresh)",
    "preset": "name of a KerasHub preset, or a folder in the format of KerasHub or Hugging Face",
    "run": "the folder of an earlier run",
    "file": "a model saved as .keras",
}
APPLICATIONS = (
    "ConvNeXtTiny ConvNeXtSmall ConvNeXtBase DenseNet121 DenseNet169 DenseNet201 EfficientNetB0 EfficientNetB1 "
    "EfficientNetB2 EfficientNetB3 EfficientNetV2B0 EfficientNetV2B1 EfficientNetV2B2 EfficientNetV2B3 "
    "EfficientNetV2S InceptionResNetV2 InceptionV3 MobileNet MobileNetV2 MobileNetV3Large MobileNetV3Small "
    "NASNetMobile ResNet50 ResNet50V2 ResNet101 ResNet101V2 ResNet152 ResNet152V2 VGG16 VGG19 Xception"
).split()


@dataclass(frozen=True)
class ModelSpec:
    """A parsed source spec: kind is a key of `KINDS`; name is a model name or a path; fresh means no weights."""

    source: str
    kind: str
    name: str
    fresh: bool = False


def is_model(spec: str) -> bool:
    """Return whether a spec names a model rather than a data set.

    >>> is_model("keras:VGG16"), is_model("csv:a.csv"), is_model("glyphs")
    (True, False, False)
    """
    return spec.partition(":")[0] in KINDS and ":" in spec


def parse(spec: str) -> ModelSpec:
    """Parse a model spec, with every check that needs no TensorFlow.

    >>> parse("keras:MobileNetV2/fresh").fresh
    True

    Raises:
        UserError: unknown kind or name (the message has the nearest), or a file or folder that does not exist.
    """
    kind, _, name = spec.partition(":")
    if kind not in KINDS or not name:
        raise UserError(f"model spec '{spec}': {suggest(kind, KINDS)} Forms: {'; '.join(KINDS.values())}")
    if kind == "fresh":
        if name not in FRESH:
            raise UserError(f"model spec '{spec}': {suggest(name, FRESH)}")
        return ModelSpec(spec, kind, name, fresh=True)
    if kind == "keras":
        name, _, option = name.partition("/")
        if name not in APPLICATIONS:
            raise UserError(f"model spec '{spec}': {suggest(name, APPLICATIONS)}")
        if option not in ("", "fresh"):
            raise UserError(f"model spec '{spec}': after the slash only 'fresh' is possible")
        return ModelSpec(spec, kind, name, fresh=option == "fresh")
    if kind in ("run", "file"):
        _model_file(spec, kind, Path(name).expanduser())
    if kind == "preset" and ("/" in name or name.startswith(".")) and "://" not in name:
        path = Path(name).expanduser()
        if not path.is_dir():
            raise UserError(f"model spec '{spec}': the folder {path} does not exist")
        if not (path / "config.json").is_file():
            raise UserError(f"model spec '{spec}': {path} has no config.json, so it is not the folder of a model")
    return ModelSpec(spec, kind, name)


def rescaling(spec: str, rescale: str | None) -> tuple[float, float] | None:
    """Return scale and offset of a rescaling that is written as "SCALE" or "SCALE,OFFSET"; None for None.

    >>> rescaling("file:cnn.keras", "1/127.5,-1")
    (0.00784313725490196, -1.0)

    Raises:
        UserError: It is not written so, the scale is 0, or the spec names a model that rescales its images itself.
    """
    if rescale is None:
        return None
    if spec.partition(":")[0] not in ("file", "preset"):
        raise UserError(
            f"--rescale {rescale}: is for a file: or preset: model; that of {spec} rescales its images itself, so "
            "leave it out"
        )
    try:
        numbers = [_quotient(part) for part in rescale.split(",")]
    except (ValueError, ZeroDivisionError):
        numbers = []
    if len(numbers) not in (1, 2) or not numbers[0] or not all(map(math.isfinite, numbers)):
        raise UserError(
            f"--rescale {rescale}: give SCALE or SCALE,OFFSET, such as 1/255 for 0..1 or 1/127.5,-1 for -1..1"
        )
    return numbers[0], numbers[1] if len(numbers) == 2 else 0.0


def _quotient(text: str) -> float:
    above, slash, below = text.partition("/")
    return float(above) / (float(below) if slash else 1.0)


def check(spec: str, download: bool) -> ModelSpec:
    """Parse a model spec, and check whether weights would have to be downloaded.

    Raises:
        UserError: As `parse`, or ImageNet weights are not on this machine and `download` is False.
    """
    parsed = parse(spec)
    if parsed.kind != "keras" or parsed.fresh or download:
        return parsed
    folder = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "models"
    if not any(_is_weights_of(file.name, parsed.name) for file in folder.glob("*.h5")):
        raise UserError(
            f"model spec '{spec}': its ImageNet weights are not in {folder}, and nothing is downloaded unless "
            f"you ask for it: give --download (or download=True), or use keras:{parsed.name}/fresh"
        )
    return parsed


def _is_weights_of(file: str, network: str) -> bool:
    """Return whether a file of keras.applications has the weights of a network without its head.

    >>> _is_weights_of("mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5", "MobileNetV2")
    True
    >>> _is_weights_of("resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5", "ResNet50")
    False
    """
    given, wanted = (name.lower().translate(str.maketrans("", "", "_-.")) for name in (file, network))
    given = given.removeprefix("weights")
    return given.startswith(wanted) and given[len(wanted)] != "v" and "notop" in given


def _model_file(spec: str, kind: str, path: Path) -> Path:
    file = path / "model.keras" if kind == "run" else path
    if not file.is_file():
        beside = sorted(p.name for p in path.parent.iterdir()) if path.parent.is_dir() else []
        raise UserError(f"model spec '{spec}': {file} does not exist; {suggest(path.name, beside)}")
    return file
