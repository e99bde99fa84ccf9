"""Verification of a transfer: both models run on the same inputs, and their outputs are compared."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfxfer.errors import UserError, suggest
from tfxfer.transfer.structure.weight_map.operation import NO, YES
from tfxfer.transfer.structure.weight_map.plan_rows import PlanRows
from tfxfer.transfer.structure.weight_map.sources import KerasSource

EXPECT = ("equal", "agree")


@dataclass(frozen=True)
class Proof:
    """The result of comparing both models' outputs.

    Attributes:
        expected: "equal" outputs, or predictions that "agree".
        promise: What the map promises: "yes", "no", or "if …".
        examples: Number of inputs.
        absolute: Greatest absolute difference of an output.
        relative: The same, divided by the greatest absolute output of the source.
        agreement: Share of predictions (argmax over the last axis) that are the same, 0..1; None for scalar outputs.
        tolerance: Limit of `relative` (or of `absolute`, for outputs below 1) up to which outputs count as equal.
    """

    expected: str
    promise: str
    examples: int
    absolute: float
    relative: float
    agreement: float | None
    tolerance: float

    @property
    def equal(self) -> bool:
        """The outputs are equal within the tolerance."""
        return bool(min(self.absolute, self.relative) <= self.tolerance)

    @property
    def kept(self) -> bool | None:
        """Whether outputs are equal as expected; None where equal outputs are not expected."""
        return self.equal if self.expected == "equal" else None

    @property
    def sentence(self) -> str:
        """The result in one sentence."""
        figures = f"greatest difference {self.absolute:.2g} ({self.relative:.2g} of the greatest output)"
        agreement = "" if self.agreement is None else f", the same prediction in {self.agreement:.1%} of places"
        found = f"on {self.examples} inputs: {figures}{agreement}"
        if self.expected == "agree":
            return f"The map does not promise equal outputs; {found}."
        if self.equal:
            return f"The target computes what the source computes; {found}."
        condition = f" (the map promises it only {self.promise})" if self.promise not in (YES, NO) else ""
        return f"The target does NOT compute what the source computes{condition}; {found}."

    def __str__(self) -> str:
        return self.sentence


def verify(
    weight_map: PlanRows,
    inputs: Any,
    *,
    source_inputs: Any = None,
    reference: Any = None,
    expect: str | None = None,
    tolerance: float = 1e-5,
    batch_size: int = 32,
) -> Proof:
    """Run source and target in inference mode on inputs and compare their outputs.

    Args:
        weight_map: An applied plan.
        inputs: What the target takes: an array, or a dictionary or list of arrays, each [N, …].
        source_inputs: What the source takes, when that is something else; N examples too.
        reference: What to compare with when the source cannot run, as a file of weights cannot: a function from
            inputs to outputs, or the outputs themselves. Else the first source that is a Keras model.
        expect: "equal" or "agree"; by default what the map promises.
        tolerance: Difference up to which outputs are equal, relative to the greatest output, or absolute.
        batch_size: Inputs that run at a time.

    Returns:
        The differences over all outputs that both give.

    Raises:
        UserError: There is no model to compare with, or the two give different shapes.
    """
    if weight_map.target is None:
        raise UserError("this plan was read without its models; give from_json(…, source=…, target=…)")
    if expect is not None and expect not in EXPECT:
        raise UserError(f"expect='{expect}' is unknown; {suggest(expect, EXPECT)}")
    ours = _run(weight_map.target.model, inputs, batch_size)
    given = inputs if source_inputs is None else source_inputs
    theirs = _reference(weight_map, given, reference, batch_size)
    return _compare(ours, theirs, expect or ("agree" if weight_map.preserves == NO else "equal"), weight_map, tolerance)


def _reference(weight_map: PlanRows, inputs: Any, reference: Any, batch_size: int) -> dict[str, np.ndarray]:
    models = [source.model for source in weight_map.sources.values() if isinstance(source, KerasSource)]
    if reference is None and not models:
        raise UserError("the source is not a Keras model and cannot run; give reference=FUNCTION or reference=OUTPUTS")
    if reference is not None and not callable(reference):
        return _named(reference)
    return _run(models[0] if reference is None else reference, inputs, batch_size)


def _run(model: Any, inputs: Any, batch_size: int) -> dict[str, np.ndarray]:
    """Return a model's outputs by name, each [N, …]."""
    import keras

    pieces: dict[str, list[np.ndarray]] = {}
    for batch in _batches(inputs, batch_size):
        given = model(batch, training=False) if isinstance(model, keras.Layer) else model(batch)
        for name, value in _named(given).items():
            pieces.setdefault(name, []).append(value)
    return {name: np.concatenate(values) for name, values in pieces.items()}


def _batches(inputs: Any, size: int) -> Iterator[Any]:
    import keras

    sizes = {len(leaf) for leaf in keras.tree.flatten(inputs)}
    if len(sizes) != 1 or 0 in sizes:
        raise UserError(f"inputs have {sorted(sizes)} examples; give the same number, at least 1, for each")
    for start in range(0, sizes.pop(), size):
        yield keras.tree.map_structure(lambda leaf, at=start: leaf[at : at + size], inputs)


def _named(outputs: Any) -> dict[str, np.ndarray]:
    import keras

    if isinstance(outputs, list | tuple):
        outputs = {str(i): value for i, value in enumerate(outputs)}
    named = outputs if isinstance(outputs, dict) else {"output": outputs}
    return {name: np.asarray(keras.ops.convert_to_numpy(value), np.float64) for name, value in named.items()}


def _compare(
    ours: dict[str, np.ndarray],
    theirs: dict[str, np.ndarray],
    expected: str,
    weight_map: PlanRows,
    tolerance: float,
) -> Proof:
    if len(ours) == len(theirs) == 1:  # one output each: names do not matter
        theirs = dict(zip(ours, theirs.values()))
    shared = [name for name in ours if name in theirs]
    if not shared:
        raise UserError(
            f"the target's outputs are {', '.join(ours)}, the source's are {', '.join(theirs)}: nothing to compare"
        )
    for name in shared:
        if ours[name].shape != theirs[name].shape:
            raise UserError(
                f"'{name}' is {list(ours[name].shape)} from the target and {list(theirs[name].shape)} from the source; "
                "only outputs of one shape can be compared"
            )
    absolute = max(_worst(ours[name] - theirs[name]) for name in shared)
    greatest = max(_worst(theirs[name]) for name in shared)
    agreeing = [
        (ours[name].argmax(-1) == theirs[name].argmax(-1)).ravel()
        for name in shared
        if ours[name].ndim > 1 and ours[name].shape[-1] > 1
    ]
    return Proof(
        expected=expected,
        promise=weight_map.preserves,
        examples=len(ours[shared[0]]),
        absolute=absolute,
        relative=absolute / greatest if greatest else absolute,
        agreement=float(np.concatenate(agreeing).mean()) if agreeing else None,
        tolerance=tolerance,
    )


def _worst(values: np.ndarray) -> float:
    """Return the greatest absolute value; infinity when there is a NaN."""
    worst = float(np.abs(values).max(initial=0.0))
    return worst if np.isfinite(worst) else float("inf")
