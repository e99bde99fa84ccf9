"""Structure transfer, M = T(S): a target model M is made from a source model S, tensor by tensor.

    weight_map = plan(source, target, rules=[("pooled_dense/*", "head/*", "copy")])      T, as data
    weight_map.summary()                      the ledger: target ← operation(source), parameters, share
    weight_map.explain("head/kernel")         the reason for this row
    weight_map.to_json("plan.json")           for review; WeightMap.from_json reads it back
    model = weight_map.apply()                M: all tensors or none; refuses tensors that would stay random
    weight_map.verify(inputs).sentence        both models run: are their outputs equal?

`load_weights` matches by position and reports nothing. Here every tensor of the target has a row, and every row a
reason.

Transforms build the target too, and return the plan: `widen`, `deepen`, `shrink`, `resize_input`, `merge`,
`image_cnn_to_text_cnn`, `encoder_to_decoder`, `encoder_to_vision`, `vision_to_encoder`. So
`widen(cnn, {"conv1": 64}).apply()` is a wider network with the same outputs.

The packages, from the bottom up: `weight_map` (the plan itself), `checkpoints` (weights in files, and rules for
checkpoints of other libraries), `transforms`.
"""

import importlib
from typing import Any

from tfxfer.transfer.structure.planning import plan
from tfxfer.transfer.structure.weight_map.operations import OPERATIONS
from tfxfer.transfer.structure.weight_map.proof import Proof
from tfxfer.transfer.structure.weight_map.rows import Origin, Row
from tfxfer.transfer.structure.weight_map.sources import ArraySource, KerasSource
from tfxfer.transfer.structure.weight_map.tensors import Source, Tensor
from tfxfer.transfer.structure.weight_map.unit_map import UnitMap
from tfxfer.transfer.structure.weight_map.weight_map import WeightMap

_TRANSFORMS = {  # transform -> module that defines it; loaded when first used, since these modules start TensorFlow
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
    *_TRANSFORMS,
]


def __getattr__(name: str) -> Any:
    if name in _TRANSFORMS:
        return getattr(importlib.import_module(f"tfxfer.transfer.structure.transforms.{_TRANSFORMS[name]}"), name)
    raise AttributeError(f"module 'tfxfer.transfer.structure' has no attribute '{name}'")
