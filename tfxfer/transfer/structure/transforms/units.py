"""Which units change together: a unit that one layer makes is read, scaled and added to by other layers.

A unit is an output channel, a neuron or an attention head. Every tensor gets a label that states whose units lie on
its last axis, and every weight gets roles: along which axis it makes or reads which units. Layers whose outputs are
added share their units, so they can only change together.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from tfxfer.errors import UserError, suggest
from tfxfer.transfer.graph import find
from tfxfer.transfer.structure.transforms.rebuild import Step, steps_in
from tfxfer.transfer.structure.weight_map.unit_map import UnitMap


@dataclass(eq=False)
class Units:
    """Units that can only change together.

    Attributes:
        name: Path of the first layer that makes them.
        size: Their number.
        fixed: Why their number cannot change; "" when it can.
        mixed: Why copies of them would change the outputs, as under a softmax over them; "" when they would not.
        joined: The units that these were joined with.
    """

    name: str
    size: int
    fixed: str = ""
    mixed: str = ""
    joined: "Units | None" = None

    @property
    def root(self) -> "Units":
        """The units that stand for all that were joined."""
        return self.joined.root if self.joined else self

    def join(self, other: "Units") -> None:
        """Make these and others the same units."""
        first, second = self.root, other.root
        if first is second:
            return
        second.joined = first
        first.fixed = first.fixed or second.fixed
        first.mixed = first.mixed or second.mixed


@dataclass(frozen=True)
class Label:
    """The layout of an axis: [outer, spans], each span [units, inner].

    Attributes:
        spans: Consecutive units, as `Concatenate` joins them, each with the count of numbers per unit.
        grid: Sizes of the axes that a `Flatten` merged with the units' axis; empty when none did.
        joined: The grids of the inputs of a `Concatenate`.
    """

    spans: tuple[tuple[Units, int], ...]
    grid: tuple[int, ...] = ()
    joined: tuple[tuple[int, ...], ...] = ()

    @property
    def outer(self) -> int:
        """Number of places that all units are repeated for."""
        return math.prod(self.grid)

    @property
    def units(self) -> list[Units]:
        """The units, each represented by its root."""
        return [units.root for units, _ in self.spans]

    def size(self, sizes: Mapping[Units, UnitMap] | None = None) -> int:
        """Return the length of the axis, with the new numbers of units when these are given."""
        new = sizes or {}
        each = ((new[u.root].new if u.root in new else u.size) * inner for u, inner in self.spans)
        return self.outer * sum(each)


@dataclass(frozen=True)
class Role:
    """What a weight does along one axis: it makes units, or it reads them.

    Attributes:
        axis: The axis.
        makes: It has numbers for each unit that is made (a kernel's outputs, a bias, a norm's scale). Else it reads.
        label: The layout of the axis.
        layer: Path of the layer that the weight belongs to.
        own: The units are made by this layer, and not only passed on.
    """

    axis: int
    makes: bool
    label: Label
    layer: str
    own: bool = False


class Flow:
    """The units of a model: labels of its tensors and roles of its weights, filled by `unit_flow.follow_units`.

    Attributes:
        model: The model.
        steps: Its calls.
        labels: Label of each symbolic tensor's last axis, by id.
        roles: Roles of each weight, by path.
        owners: Units that each layer makes, by path of the layer.
        refused: Why the units of a layer cannot be followed, by path of the layer.
        norms: Labels over which a norm takes mean and variance, by path of the norm.
        resized: For layers whose config has a size: the label that decides it, and the changed config for a size.

    Raises:
        UserError: The model is not functional, or holds a `Lambda`.
    """

    def __init__(self, model: keras.Model):
        self.model = model
        self.steps, self.inputs, self.outputs = steps_in(model)
        self.labels: dict[int, Label] = {}
        self.roles: dict[str, list[Role]] = {}
        self.owners: dict[str, Units] = {}
        self.resized: dict[str, tuple[Label, Callable[[int], dict[str, Any]]]] = {}
        self.refused: dict[str, str] = {}
        self.norms: dict[str, Label] = {}

    def label(self, tensor: Any) -> Label | None:
        """Return a tensor's label; None for tensors without an axis of units."""
        return self.labels.get(id(tensor))

    def own(self, step: Step, size: int, config: Callable[[int], dict[str, Any]]) -> Label:
        """Give a layer units of its own, whose number is in its config."""
        label = Label(((Units(step.path, size), 1),))
        self.owners[step.path] = label.spans[0][0]
        self.resized[step.path] = (label, config)
        return label

    def role(self, step: Step, weight: str, axis: int, makes: bool, label: Label | None, own: bool = False) -> None:
        """Record what a layer's weight does along an axis; a weight that the layer does not have is skipped."""
        for variable in step.layer.variables:
            if label is not None and f"/{variable.path}".endswith(f"/{weight}"):
                self.roles.setdefault(variable.path, []).append(Role(axis, makes, label, step.path, own))

    def fix(self, label: Label | None, why: str) -> None:
        """Record that units cannot change their number."""
        for units in label.units if label else ():
            units.fixed = units.fixed or why

    def fix_tensor(self, tensor: Any, name: str, why: str) -> None:
        """Give a tensor units of its own whose number cannot change."""
        if isinstance(tensor, keras.KerasTensor) and len(tensor.shape) > 1 and tensor.shape[-1] is not None:
            self.labels[id(tensor)] = Label(((Units(name, tensor.shape[-1], fixed=why), 1),))

    def refuse(self, step: Step, why: str) -> None:
        """Record that the units that a layer reads and makes cannot be followed."""
        self.refused[step.path] = why
        if step.path in self.owners:
            self.fix(Label(((self.owners[step.path], 1),)), why)
        for tensor in step.tensors:
            self.fix(self.label(tensor), why)
        for tensor in keras.tree.flatten(step.output):
            self.fix_tensor(tensor, step.path, why)

    def same(self, step: Step, labels: Sequence[Label | None]) -> Label | None:
        """Return the label of values that are added, multiplied or compared unit by unit."""
        whole = [label for label in labels if label is not None]
        wide = [label for label in whole if label.size() > 1] or whole
        for label in wide[1:]:
            if [(u.size, i) for u, i in label.spans] == [(u.size, i) for u, i in wide[0].spans] and (
                label.outer == wide[0].outer
            ):
                for (mine, _), (theirs, _) in zip(wide[0].spans, label.spans):
                    mine.join(theirs)
            else:
                for one in (wide[0], label):
                    self.fix(one, f"'{step.path}' combines units in different orders")
        if len(whole) < len(labels):
            self.fix(wide[0] if wide else None, f"'{step.path}' combines them with values that are not units")
        for label in whole:
            if label not in wide:
                self.fix(label, f"'{step.path}' broadcasts one unit to many")
        return wide[0] if wide else None

    def find(self, name: str) -> tuple[str, Units]:
        """Return the path and the units of a layer, by name or path.

        Raises:
            UserError: There is no such layer, or it has no units of its own.
        """
        path = self.steps[find(list(self.steps), name, self.model)].path
        if path not in self.owners:
            kind = type(next(step.layer for step in self.steps if step.path == path)).__name__
            if path in self.refused:
                raise UserError(f"the number of units of '{name}' cannot change: {self.refused[path]}")
            raise UserError(
                f"layer '{name}' ({kind}) makes no units of its own whose number could change; "
                f"{suggest(name, self.owners)}"
            )
        return path, self.owners[path].root
