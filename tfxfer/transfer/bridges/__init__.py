"""Bridges: how an example of one modality reaches the body of the other.

`render` draws text as pixels. `tokens` lays token embeddings (or picture patches) into a frozen body.
`align` maps the features of one modality onto those of the other; `anchors` compares both with pairs, untrained.
The modules are loaded when they are first used, so importing this package starts no TensorFlow.
"""

import importlib
from types import ModuleType

_MODULES = ("align", "anchors", "render", "tokens")

__all__ = ["align", "anchors", "render", "tokens"]


def __getattr__(name: str) -> ModuleType:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
