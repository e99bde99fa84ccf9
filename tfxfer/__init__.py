"""tfxfer: measured transfer between vision and language in Keras.

The public names below are loaded when they are first used, so `import tfxfer` starts no TensorFlow.
"""

import importlib
import os
from typing import Any

from wrapt import register_post_import_hook

from tfxfer.version import __version__

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
register_post_import_hook("tfxfer.models.registration:register_with_keras", "keras")  # saved models open by Keras alone
register_post_import_hook("tfxfer.transfer.knowledge.alignment:offer", "tfxfer.data.fusion.nearest")

_HOME = {  # public name -> module that defines it
    "load": "tfxfer.data",
    "from_arrays": "tfxfer.data",
    "source": "tfxfer.models",
    "load_model": "tfxfer.models",
    "from_run": "tfxfer.saved",
    "advise": "tfxfer.commands.advise",
    "compare": "tfxfer.experiment",
    "compare_runs": "tfxfer.evaluate.run_comparison",
    "explain": "tfxfer.recipes.explain",
}
_PACKAGES = tuple(
    "data models transfer sources tasks arms baselines evaluate choose report recipes".split(),
)

__all__ = ["__version__", *_HOME, *_PACKAGES]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    if name in _PACKAGES:
        return importlib.import_module(f"tfxfer.{name}")
    raise AttributeError(f"module 'tfxfer' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
