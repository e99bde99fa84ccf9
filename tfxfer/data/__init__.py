"""Where examples come from: `load(spec)` gives a `Dataset`, whatever the spec names.

Nothing here starts TensorFlow until it is used, so that a command line can check a spec first
(`tfxfer.data.spec`). Importing this package registers the builders `glyphs`, `names` and `languages`
with TensorFlow Datasets: at once when that package is loaded already, else as soon as it is.
"""

import importlib
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_HOME = {  # public name -> module that defines it
    "load": "tfxfer.data.loaders",
    "Dataset": "tfxfer.data.dataset",
    "readable_errors": "tfxfer.data.pictures",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'tfxfer.data' has no attribute '{name}'")


class _RegisterAfterTFDS:
    """An import finder that waits for `tensorflow_datasets` and then registers our builders."""

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != "tensorflow_datasets":
            return None
        sys.meta_path.remove(cls)  # once is enough, and the next line must not find us
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_register(module: ModuleType) -> None:
            execute(module)
            importlib.import_module("tfxfer.data.builders")

        spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec


if "tensorflow_datasets" in sys.modules:
    importlib.import_module("tfxfer.data.builders")
else:
    sys.meta_path.insert(0, _RegisterAfterTFDS)
