"""Structure transfer, M = T(S): a target model M made out of a source model S, tensor by tensor.

    weight_map = plan(source, target, rules=[("pooled_dense/*", "head/*", "copy")])      T, as data
    weight_map.summary()                      the ledger: target ← operation(source), parameters, share
    weight_map.explain("head/kernel")         why this row
    weight_map.to_json("plan.json")           for review; WeightMap.from_json reads it back
    model = weight_map.apply()                M: all tensors or none; refuses what would stay random unasked
    weight_map.verify(inputs).sentence        both models run: do they compute the same?

`load_weights` matches by position and says nothing. Here every tensor of the target has a row, and every row a reason.

Ready transfers build the target too, and return the plan: `widen`, `deepen`, `shrink`, `resize_input`, `merge`,
`image_cnn_to_text_cnn`, `encoder_to_decoder`, `encoder_to_vision`, `vision_to_encoder`. So
`widen(cnn, {"conv1": 64}).apply()` is a wider network that computes the same.
"""

import importlib
from typing import Any

from tfxfer.transfer.structure.weight_map.operations import OPERATIONS
from tfxfer.transfer.structure.weight_map.planning import plan
from tfxfer.transfer.structure.weight_map.proof import Proof
from tfxfer.transfer.structure.weight_map.rows import Origin, Row
from tfxfer.transfer.structure.weight_map.tensors import ArraySource, KerasSource, Source, Tensor
from tfxfer.transfer.structure.weight_map.unit_map import UnitMap
from tfxfer.transfer.structure.weight_map.weight_map import WeightMap

_READY = {  # ready transfer -> module that defines it; loaded when first used, since they start TensorFlow
    "widen": "widening",
    "deepen": "deepening",
    "shrink": "shrinking",
    "resize_input": "image_size",
    "merge": "merging",
    "image_cnn_to_text_cnn": "text_cnn",
    "encoder_to_decoder": "decoder",
    "encoder_to_vision": "vision",
    "vision_to_encoder": "vision",
}

__all__ = [
    "OPERATIONS",
    "ArraySource",
    "KerasSource",
    "Origin",
    "Proof",
    "Row",
    "Source",
    "Tensor",
    "UnitMap",
    "WeightMap",
    "plan",
    *_READY,
]


def __getattr__(name: str) -> Any:
    if name in _READY:
        return getattr(importlib.import_module(f"tfxfer.transfer.structure.transforms.{_READY[name]}"), name)
    raise AttributeError(f"module 'tfxfer.transfer.structure' has no attribute '{name}'")
