"""Where examples come from: `load(spec)` returns a `Dataset` for every kind of spec.

Importing this package starts no TensorFlow: a command line can check a spec first (`tfxfer.data.spec`). It also
registers the builders `glyphs`, `names` and `languages` with TensorFlow Datasets, as soon as that is imported.
"""

import importlib
from typing import Any

from wrapt import register_post_import_hook

_HOME = {  # public name -> module that defines it
    "load": "tfxfer.data.loaders",
    "from_arrays": "tfxfer.data.arrays",
    "Dataset": "tfxfer.data.dataset",
    "readable_errors": "tfxfer.data.images",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'tfxfer.data' has no attribute '{name}'")


# TFDS has no entry point and no variable by which a package can name its builders before TFDS is imported.
register_post_import_hook(lambda tfds: importlib.import_module("tfxfer.data.builders"), "tensorflow_datasets")
