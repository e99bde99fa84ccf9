"""`hf:DIR`: a model folder of Hugging Face or timm, with the architecture in its config.json."""

from pathlib import Path
from typing import Any

import numpy as np

from tfxfer.errors import UserError, suggest
from tfxfer.given_files import read_given_json
from tfxfer.transfer.structure.checkpoints.paths import inside
from tfxfer.transfer.structure.checkpoints.safetensors_file import Safetensors, ShardedSafetensors
from tfxfer.transfer.structure.weight_map.tensors import Shape

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
ONE_FILE, INDEX = "model.safetensors", "model.safetensors.index.json"
AGAIN = "download it again"


class ModelFolder:
    """A model folder as a source, with the name of its architecture, for which `rules_for` finds a table of rules.

    The weights are `model.safetensors`, or the files that `model.safetensors.index.json` lists, or the only
    safetensors file there is.

    Attributes:
        path: The folder.
        title: "hf:" and its name.
        config: The content of config.json.
        architecture: Its "model_type" (Hugging Face) or "architecture" (timm).
        weights: The file or files with the weights.

    Raises:
        UserError: The folder, its config.json or its weights are missing, or the weights are pickles.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path).expanduser()
        if not self.path.is_dir():
            beside = sorted(p.name for p in self.path.parent.iterdir()) if self.path.parent.is_dir() else []
            raise UserError(f"hf:{path}: the folder {self.path} does not exist; {suggest(self.path.name, beside)}")
        self.title = f"hf:{self.path.resolve().name}"
        self.weights = weights_in(self.path)
        if not (self.path / "config.json").is_file():
            raise UserError(
                f"hf:{path}: {self.path} has no config.json, which states the architecture; without it, name the file "
                "with the weights and write rules"
            )
        self.config: dict[str, Any] = read_given_json(inside(self.path, "config.json"), AGAIN)
        stated = self.config.get("model_type") or self.config.get("architecture") or ""
        self.architecture = stated if isinstance(stated, str) else ""

    def names(self) -> list[str]:
        """Return the tensors' names."""
        return self.weights.names()

    def shape(self, name: str) -> Shape:
        """Return a tensor's shape."""
        return self.weights.shape(name)

    def dtype(self, name: str) -> str:
        """Return a tensor's dtype."""
        return self.weights.dtype(name)

    def read(self, name: str) -> np.ndarray:
        """Return a tensor, read-only and memory-mapped."""
        return self.weights.read(name)


def weights_in(folder: Path) -> Safetensors | ShardedSafetensors:
    """Return the weights of a model folder, opened.

    Raises:
        UserError: There are none, several, or pickles only.
    """
    if (folder / ONE_FILE).exists():
        return Safetensors(inside(folder, ONE_FILE))
    if (folder / INDEX).exists():
        return ShardedSafetensors(inside(folder, INDEX))
    files = sorted(p.name for p in folder.iterdir() if p.name.endswith(".safetensors"))
    if len(files) == 1:
        return Safetensors(inside(folder, files[0]))
    if files:
        raise UserError(f"{folder}: has no {ONE_FILE}, and {len(files)} others: {', '.join(files[:5])}; name one")
    pickled = sorted(p for p in folder.iterdir() if p.name.endswith(PICKLES))
    if pickled:
        raise UserError(pickle_refusal(pickled[0]))
    raise UserError(f"{folder}: contains no {ONE_FILE}; download the model's safetensors file into it")


def pickle_refusal(path: Path) -> str:
    """Return the error message for a pickled checkpoint: the reason, and what to do."""
    return (
        f"{path}: is a pickled checkpoint, and reading a pickle can run any code in it, so it is not opened. "
        "Use the model's .safetensors file if its author provides one; or convert the file once, where PyTorch is "
        "installed and weights_only=True blocks code: safetensors.torch.save_file({name: tensor.clone() for name, "
        "tensor in torch.load(FILE, weights_only=True).items()}, 'model.safetensors')"
    )
