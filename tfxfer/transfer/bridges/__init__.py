"""Bridges: how an example of one modality becomes an input of a model of the other.

`render` draws text as pixels. `tokens` feeds token embeddings to an image model, and image patches to a text encoder.
`read` turns pictures of text into letters, for a language model.
`align` uses a head of image vectors on text vectors; `anchors` compares both with known pairs, without training.
The modules are loaded when they are first used, so importing this package starts no TensorFlow.
"""

import importlib
from types import ModuleType

_MODULES = ("align", "anchors", "read", "render", "tokens")

__all__ = ["align", "anchors", "read", "render", "tokens"]


def __getattr__(name: str) -> ModuleType:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
