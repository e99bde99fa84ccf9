"""Models as Keras functional models, and `source(spec)`, the source model of a transfer."""

import importlib
from typing import Any

_HOME = {
    "source": "tfxfer.models.sources",
    "article_cnn": "tfxfer.models.cnn",
    "glyph_cnn": "tfxfer.models.cnn",
    "load_model": "tfxfer.models.saved",
    "MODELS": "tfxfer.models.sources",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'tfxfer.models' has no attribute '{name}'")
