"""`plan`: the weight map between any source and a Keras model, with the rules that come with known checkpoints."""

from collections.abc import Sequence
from typing import Any

from tfxfer.transfer.structure.checkpoints.choosing import table_rules
from tfxfer.transfer.structure.weight_map.planning import make_plan
from tfxfer.transfer.structure.weight_map.rules import parse
from tfxfer.transfer.structure.weight_map.sources import KerasSource, as_sources, keras_model, tensors_of
from tfxfer.transfer.structure.weight_map.unit_map import UnitMap
from tfxfer.transfer.structure.weight_map.weight_map import WeightMap


def plan(
    source: Any,
    target: Any,
    rules: Sequence[Any] | None = None,
    *,
    match: str = "names",
    combine: Any = None,
    allow: str | Sequence[str] = (),
    unit_maps: Sequence[UnitMap] = (),
    cast: bool = False,
) -> WeightMap:
    """Plan M = T(S): for every tensor of the target, which source tensors it is made of and how.

    No values are read or changed yet. A target tensor without a rule and without a match gets a row "keep", and
    `apply` refuses such rows unless `allow` names them.

    Args:
        source: S: a Keras model; a spec such as "run:DIR", "hf:DIR" or "x.safetensors"; a dictionary of arrays; a
            `Source`; or a dictionary name → any of these, for maps with several sources.
        target: M before the transfer: a built Keras model. Its weights are assigned by `apply`, never by `plan`.
        rules: Each (source pattern, target pattern, operation); they come before any matching. See
            `structure.weight_map.rules` for patterns and `OPERATIONS` for operations. Checkpoints of other libraries
            come with rules of their own (`structure.checkpoints.rules_for`), which follow yours.
        match: "names": tensors without a rule are matched by names, shapes and order; "position": the source is the
            same model under other names, tensor for tensor; "none": rules alone.
        combine: With several sources of one architecture, the operation that makes one tensor of theirs, such as
            "average", ("mix", {"share": 0.3}) or ("delta", {"scale": [0.5]}). Without it, every tensor must match
            in one source only.
        allow: Patterns of target tensors that may keep their values.
        unit_maps: Maps that rules refer to by name.
        cast: Allow numbers to be rounded where the target's dtype is narrower than the source's.

    Returns:
        The plan. Print it with `.summary()`, carry it out with `.apply()`.

    Raises:
        UserError: A rule does not fit, a match is ambiguous, or a model is not built.

    Example:
        >>> plan(encoder, decoder, [("*_layer_norm/*", "norm/*", "copy")]).summary()  # doctest: +SKIP
    """
    sources = as_sources(source)
    tensors = tensors_of(KerasSource(keras_model(target, "target")))
    tables = table_rules(sources, tensors, given=rules is not None)
    return make_plan(
        sources,
        target,
        [*parse(rules), *tables],
        match=match,
        combine=combine,
        allow=allow,
        unit_maps=unit_maps,
        cast=cast,
    )
