"""Structure transfer, M = T(S): a target model M made out of a source model S, tensor by tensor.

    weight_map = plan(source, target, rules=[("pooled_dense/*", "head/*", "copy")])      T, as data
    weight_map.summary()                      the ledger: target ← operation(source), parameters, share
    weight_map.explain("head/kernel")         why this row
    weight_map.to_json("plan.json")           for review; WeightMap.from_json reads it back
    model = weight_map.apply()                M: all tensors or none; refuses what would stay random unasked
    weight_map.verify(inputs).sentence        both models run: do they compute the same?

`load_weights` matches by position and says nothing. Here every tensor of the target has a row, and every row a reason.
"""

from tfxfer.transfer.weights.operations import OPERATIONS
from tfxfer.transfer.weights.planning import plan
from tfxfer.transfer.weights.proof import Proof
from tfxfer.transfer.weights.rows import Origin, Row
from tfxfer.transfer.weights.tensors import ArraySource, KerasSource, Source, Tensor
from tfxfer.transfer.weights.unit_map import UnitMap
from tfxfer.transfer.weights.weight_map import WeightMap

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
]
