"""Structured pruning of a whole model: a share of the units of every layer that can lose some.

The units with the smallest L1 norm of their kernels go (Li et al. 2017), by the weight map `shrink`. The outputs
change, so the narrower model is trained again for a while.
"""

import keras

from tfxfer.errors import UserError
from tfxfer.transfer.structure.transforms.shrinking import shrink
from tfxfer.transfer.structure.transforms.unit_flow import follow_units


def narrowed(model: keras.Model, share: float) -> tuple[keras.Model, dict[str, tuple[int, int]]]:
    """Return a model with a share of the units of its layers, and layer -> (units before, units after).

    Args:
        model: A functional model; it is not changed.
        share: Of the units that stay, above 0 and below 1.

    Raises:
        UserError: No layer can lose units.
    """
    flow, wanted = follow_units(model), {}
    for roles in flow.roles.values():
        for role in roles:
            for units in role.label.units if role.makes and role.own else ():
                after = max(1, round(share * units.size))
                if not units.fixed and after < units.size:
                    wanted[units.name] = (units.size, after)
    if not wanted:
        raise UserError(f"shrink:{share:g}: no layer of the model can lose units")
    plan = shrink(model, {name: after for name, (_, after) in wanted.items()}, how="norm")
    return plan.apply(), wanted
