"""Matching of the source's tensors with the target's by names, shapes and order, without guessing.

Tensors are matched by layers. A layer of the target is matched with the source's layer of (1) the same path; (2) the
same path except for numbers in automatic names ("conv2d_7"), in order among layers of one shape; (3) the same end of
the path, as when a model was nested in another; (4) the same part of a transformer (query, key, …), in order. An
ambiguous match is an error that lists the candidates. Equal shapes alone are not evidence.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tfxfer.errors import UserError
from tfxfer.transfer.structure.weight_map.names import CONTAINERS, PART_OF, kind, part, split
from tfxfer.transfer.structure.weight_map.tensors import Shape, Tensor

Key = tuple[str, ...]
MOST_SHOWN = 5


@dataclass(eq=False)
class Layer:
    """Tensors of one layer: those under an automatically named layer (not a whole model), or with one parent.

    Attributes:
        path: Their common path.
        key: The same without the numbers of automatic names.
        tensors: The rest of each path → the tensor.
    """

    path: str
    key: Key
    tensors: dict[str, Tensor]

    @property
    def main(self) -> tuple[str, Shape]:
        """Name and shape of the largest tensor, which distinguish layers of one name; a bias may be missing."""
        rest, tensor = max(self.tensors.items(), key=lambda item: item[1].size)
        return rest, tensor.shape


@dataclass(frozen=True)
class Match:
    """A tensor of the source, and the reason for the match."""

    tensor: Tensor
    why: str


class Matching:
    """The search, stage by stage; `found` has the matches, by the target's paths."""

    def __init__(self, targets: Sequence[Tensor], sources: Sequence[Tensor]):
        self.found: dict[str, Match] = {}
        self.unclear: list[tuple[list[Layer], list[Layer]]] = []
        self.left, self.right = layers_of(targets), layers_of(sources)
        self._by_key()
        self._by_ending()
        self._by_part()

    def refuse_unclear(self, source: str) -> None:
        """Raise `UserError` for ambiguous matches, with the candidates and a rule that would decide."""
        if not self.unclear:
            return
        shown = [_show(targets, sources) for targets, sources in self.unclear[:MOST_SHOWN]]
        more = len(self.unclear) - MOST_SHOWN
        target, candidate = self.unclear[0][0][0], self.unclear[0][1][0]
        raise UserError(
            f"{source}: {len(self.unclear)} matches are ambiguous:\n"
            + "\n".join(shown)
            + (f"\n  and {more} more" if more > 0 else "")
            + f"\nchoose with a rule, such as ('{_pattern(candidate)}', '{_pattern(target)}', 'copy')"
        )

    def resembling(self, target: Tensor) -> Tensor | None:
        """Return the only unmatched source tensor of the same kind and shape, for a hint."""
        taken = {match.tensor.path for match in self.found.values()}
        alike = [
            tensor
            for layer in self.right
            for tensor in layer.tensors.values()
            if tensor.path not in taken and (tensor.shape, kind(tensor.path)) == (target.shape, kind(target.path))
        ]
        return alike[0] if len(alike) == 1 else None

    def _by_key(self) -> None:
        for key in dict.fromkeys(layer.key for layer in self.left):
            ours = [layer for layer in self.left if layer.key == key]
            theirs = [layer for layer in self.right if layer.key == key]
            if theirs:
                self._pair(ours, theirs, "name")

    def _by_ending(self) -> None:
        ours, theirs = _by_keys(self.left), _by_keys(self.right)
        best_of_ours = {key: _nearest(key, theirs) for key in ours}
        best_of_theirs = {key: _nearest(key, ours) for key in theirs}
        mutual = {
            key: [other for other in others if key in best_of_theirs[other]] for key, others in best_of_ours.items()
        }
        for key, others in mutual.items():
            fitting = [o for o in others if _same_shapes(ours[key], theirs[o])] if len(others) > 1 else others
            rivals = [k for k, o in mutual.items() if fitting and fitting[0] in o]
            if len(rivals) > 1:
                rivals = [k for k in rivals if _same_shapes(ours[k], theirs[fitting[0]])]
            if len(fitting) == 1 and rivals == [key]:
                self._pair(ours[key], theirs[fitting[0]], "ending")
            elif fitting and key in rivals:
                self._leave(ours[key], [layer for o in fitting for layer in theirs[o]])

    def _by_part(self) -> None:
        for word in dict.fromkeys(part(layer.key) for layer in self.left):
            ours = [layer for layer in self.left if part(layer.key) == word]
            theirs = [layer for layer in self.right if part(layer.key) == word]
            if word and theirs:
                self._pair(ours, theirs, word)

    def _pair(self, ours: list[Layer], theirs: list[Layer], evidence: str) -> None:
        """Match layers with the same evidence, in order where shapes are unambiguous."""
        if [layer.path for layer in ours] == [layer.path for layer in theirs]:
            for our, their in zip(ours, theirs):
                self._take(our, their, "same path")
            return
        us, them = list(ours), list(theirs)  # those still unmatched
        for main in dict.fromkeys(layer.main for layer in ours):
            alike = [layer for layer in ours if layer.main == main]
            theirs_alike = [layer for layer in theirs if layer.main == main]
            if not theirs_alike:
                continue
            us = [layer for layer in us if layer not in alike]
            them = [layer for layer in them if layer not in theirs_alike]
            if len(alike) != len(theirs_alike):
                self._leave(alike, theirs_alike)
                continue
            for i, (our, their) in enumerate(zip(alike, theirs_alike), start=1):
                self._take(our, their, _why(evidence, our, their, i, len(alike)))
        if len(us) == len(them) == 1 and evidence in ("name", "ending"):  # other shapes: the plan reports it
            self._take(us[0], them[0], _why(evidence, us[0], them[0]))

    def _leave(self, ours: list[Layer], theirs: list[Layer]) -> None:
        """Record layers that could be matched in several ways."""
        self.unclear.append((ours, theirs))
        self.left = [layer for layer in self.left if layer not in ours]
        self.right = [layer for layer in self.right if layer not in theirs]

    def _take(self, our: Layer, their: Layer, why: str) -> None:
        self.left = [layer for layer in self.left if layer is not our]
        self.right = [layer for layer in self.right if layer is not their]
        for rest, tensor in our.tensors.items():
            if rest in their.tensors:
                self.found[tensor.path] = Match(their.tensors[rest], why)


def by_position(targets: Sequence[Tensor], sources: Sequence[Tensor], source: str) -> dict[str, Match]:
    """Match a renamed copy of a model: the same kinds and shapes of all tensors in the same order.

    Raises:
        UserError: The two differ; the first difference is shown.
    """
    for i, (ours, theirs) in enumerate(zip(targets, sources), start=1):
        if (ours.shape, kind(ours.path)) != (theirs.shape, kind(theirs.path)):
            raise UserError(
                f"{source}: not the same model under other names: tensor {i} is '{theirs.path}' {list(theirs.shape)}, "
                f"and the target's is '{ours.path}' {list(ours.shape)}"
            )
    if len(targets) != len(sources):
        raise UserError(f"{source}: {len(sources)} tensors, and the target has {len(targets)}: not the same model")
    total = len(targets)
    return {
        ours.path: Match(theirs, f"by position alone (match='position'): tensor {i} of {total}")
        for i, (ours, theirs) in enumerate(zip(targets, sources), start=1)
    }


def layers_of(tensors: Sequence[Tensor]) -> list[Layer]:
    """Group tensors by layer, in their order."""
    layers: dict[str, Layer] = {}
    for tensor in tensors:
        places, key = split(tensor.path), tensor.key
        made_up = [i for i, place in enumerate(key[:-1], 1) if place.endswith("#") and place[:-1] not in CONTAINERS]
        cut = made_up[-1] if made_up else len(key) - 1
        path = "/".join(places[:cut])
        layer = layers.setdefault(path, Layer(path, key[:cut], {}))
        layer.tensors["/".join(places[cut:])] = tensor
    return list(layers.values())


def _by_keys(layers: list[Layer]) -> dict[Key, list[Layer]]:
    found: dict[Key, list[Layer]] = {}
    for layer in layers:
        if layer.key:
            found.setdefault(layer.key, []).append(layer)
    return found


def _nearest(key: Key, others: dict[Key, list[Layer]]) -> list[Key]:
    """Return the keys with the longest common end with this key."""
    common = {other: _common_end(key, other) for other in others if other[-1] == key[-1]}
    most = max(common.values(), default=0)
    return [other for other, length in common.items() if length == most] if most else []


def _common_end(key: Key, other: Key) -> int:
    """Return how many last components two keys share; 0 when these do not identify a layer."""
    length = 0
    while length < min(len(key), len(other)) and key[-1 - length] == other[-1 - length]:
        length += 1
    identifying = any(not place.endswith("#") and place not in PART_OF for place in key[len(key) - length :])
    return length if identifying or length == min(len(key), len(other)) else 0


def _same_shapes(ours: list[Layer], theirs: list[Layer]) -> bool:
    return bool({layer.main for layer in ours} & {layer.main for layer in theirs})


def _why(evidence: str, our: Layer, their: Layer, number: int = 1, total: int = 1) -> str:
    among = f", number {number} of {total} of this shape" if total > 1 else ""
    if evidence == "name":
        return f"same name except for Keras' numbers{among}"
    if evidence == "ending":
        end = _common_end(our.key, their.key)
        return f"same end of the path, '{'/'.join(our.key[len(our.key) - end :])}'{among}"
    return f"both are the {evidence}{among}"


def _show(targets: list[Layer], sources: list[Layer]) -> str:
    def listed(layers: list[Layer]) -> str:
        names = [f"'{layer.path}' {list(layer.main[1])}" for layer in layers[:MOST_SHOWN]]
        return ", ".join(names) + (f" and {len(layers) - MOST_SHOWN} more" if len(layers) > MOST_SHOWN else "")

    return f"  target {listed(targets)}\n    could come from {listed(sources)}"


def _pattern(layer: Layer) -> str:
    first = next(iter(layer.tensors.values())).path
    return f"{first[: len(layer.path)]}{first[len(layer.path) : len(layer.path) + 1]}**"
