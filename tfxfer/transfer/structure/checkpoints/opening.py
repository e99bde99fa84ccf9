"""From a spec such as "bert.safetensors", "hf:DIR" or "run:DIR" to a source of weights."""

from pathlib import Path

from tfxfer.errors import UserError
from tfxfer.transfer.structure.checkpoints.folders import PICKLES, ModelFolder, pickle_refusal
from tfxfer.transfer.structure.checkpoints.h5 import WeightsH5
from tfxfer.transfer.structure.checkpoints.safetensors_file import Safetensors, ShardedSafetensors
from tfxfer.transfer.structure.weight_map.sources import KerasSource, as_source
from tfxfer.transfer.structure.weight_map.tensors import Source

FORMS = (
    "'hf:DIR' (a folder of Hugging Face or timm), 'x.safetensors', 'x.safetensors.index.json', 'x.weights.h5', 'x.h5', "
    "'x.keras', 'run:DIR', 'preset:DIR', 'keras:NAME' or 'fresh:NAME'"
)


@as_source.register
def open_source(spec: str | Path) -> Source:
    """Return a source of weights; `as_source` calls this for texts and paths.

    Only names and shapes are read yet, except from models that Keras loads completely.

    Args:
        spec: "hf:DIR", "x.safetensors", "x.safetensors.index.json", "x.weights.h5", "x.h5", "x.keras", or the spec of
            a model for `tfxfer.source` ("run:DIR", "file:x.keras", "preset:DIR", "keras:NAME", …).

    Raises:
        UserError: It is none of these, the file is missing or damaged, or it is a pickle.
    """
    text = str(spec)
    if text.startswith("hf:"):
        return ModelFolder(text.removeprefix("hf:"))
    name = text.removeprefix("file:")
    path = Path(name).expanduser()
    if name.endswith(PICKLES):
        raise UserError(pickle_refusal(path))
    if name.endswith(".safetensors"):
        return Safetensors(path)
    if name.endswith(".safetensors.index.json"):
        return ShardedSafetensors(path)
    if name.endswith((".h5", ".hdf5")):
        return WeightsH5(path)
    from tfxfer.models import source
    from tfxfer.models.spec import is_model

    if name.endswith(".keras") and (path.is_file() or ":" not in text):
        return KerasSource(source(f"file:{name}"))
    if is_model(text) or ":" in text:  # for an unknown word before the colon, the error lists the known ones
        return KerasSource(source(text))
    if path.is_dir():
        raise UserError(f"'{text}' is a folder; state its kind: 'hf:{text}', 'run:{text}' or 'preset:{text}'")
    raise UserError(f"'{text}' is not a source of weights; give {FORMS}")
