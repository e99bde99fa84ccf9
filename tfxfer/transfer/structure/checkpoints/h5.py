"""Keras' h5 files as sources: `.weights.h5` of Keras 3, and legacy `.h5` of a model or of its weights alone."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfxfer.errors import TfxferError, UserError, reason, suggest
from tfxfer.given_files import reading_given, regular_file
from tfxfer.transfer.structure.checkpoints.h5_heaps import check_heaps
from tfxfer.transfer.structure.checkpoints.h5_names import names_of, path_of
from tfxfer.transfer.structure.checkpoints.paths import beside, stamp_of
from tfxfer.transfer.structure.weight_map.tensors import SEED_STATE, Shape

AGAIN = "save or download it again"
MOST_COMPRESSED = 1032  # how many times its size zlib can pack, at most
DEEPEST = 64  # levels of nested groups
BFLOAT16 = np.dtype("V2")  # as Keras writes it, with the attribute dtype="bfloat16"
NOT_WEIGHTS = ("optimizer", "optimizer_weights", "metrics", "loss")
ALLOWED_KINDS = "fiub"  # floating point, integers, booleans


@dataclass(frozen=True)
class _Place:
    """The place of a tensor in the file, its shape and its dtype."""

    path: str
    shape: Shape
    dtype: str


class WeightsH5:
    """An h5 file of Keras as a source of named tensors, read one by one.

    A `.weights.h5` file stores the names of layers but not of their tensors. Their names follow from the layer's class
    where that is unambiguous. The others are called "LAYER/vars/0" and so on, and a rule can name them.

    Args:
        path: The file.
        names: Other names for tensors, as a dictionary from this source's name to the new one.

    Attributes:
        title: The file's name.
        unnamed: Tensors whose name in their layer is unknown.

    Raises:
        UserError: The file is missing, damaged, not written by Keras, without layer names, or links to other files.
    """

    def __init__(self, path: str | Path, names: Mapping[str, str] | None = None):
        self.path = Path(path).expanduser()
        self.title = self.path.name
        with self._open() as file, reading_given(self.path, AGAIN):
            self._stamp = stamp_of(self.path.stat())
            found = dict(_legacy(file, self.path) if _is_legacy(file) else _weights_only(file, self.path))
        if not found:
            raise UserError(f"{self.path}: contains no weights of Keras")
        for name in names or {}:
            if name not in found:
                raise UserError(f"{self.path}: there is no tensor '{name}'; {suggest(name, found)}")
        renamed = [(names or {}).get(name, name) for name in found]
        twice = next((name for name, count in Counter(renamed).items() if count > 1), None)
        if twice is not None:
            raise UserError(f"{self.path}: two tensors are called '{twice}'; give names={{…}} that differ")
        self._places = dict(zip(renamed, found.values()))
        self.unnamed = [name for name in self._places if "/vars/" in name]

    def names(self) -> list[str]:
        """Return the tensors' paths, in the order of the file."""
        return list(self._places)

    def shape(self, name: str) -> Shape:
        """Return a tensor's shape."""
        return self._place(name).shape

    def dtype(self, name: str) -> str:
        """Return a tensor's dtype."""
        return self._place(name).dtype

    def read(self, name: str) -> np.ndarray:
        """Return a tensor.

        Raises:
            TfxferError: The file has changed since it was opened, or is damaged at the tensor's place.
        """
        import ml_dtypes  # noqa: F401  # registers "bfloat16" with NumPy

        place = self._place(name)
        with self._open() as file:
            if stamp_of(self.path.stat()) != self._stamp:
                raise TfxferError(f"{self.path}: the file has changed since it was opened; make the plan again")
            try:
                array = file[place.path][()]
            except Exception as error:  # h5py raises many types for changed bytes
                raise TfxferError(f"{self.path}: '{name}' cannot be read ({error}); the file is damaged") from error
        return array.view(place.dtype) if array.dtype == BFLOAT16 else np.asarray(array)

    def _place(self, name: str) -> _Place:
        if name not in self._places:
            raise UserError(f"{self.path}: there is no tensor '{name}'; {suggest(name, self._places)}")
        return self._places[name]

    def _open(self) -> Any:
        import h5py

        if not self.path.exists():
            raise UserError(f"{self.path}: does not exist{beside(self.path)}")
        try:
            check_heaps(regular_file(self.path))
            return h5py.File(self.path, "r")
        except UserError:
            raise
        except Exception as error:  # h5py raises many types for changed bytes
            raise UserError(f"{self.path}: is not a complete h5 file ({reason(error)}); {AGAIN}") from error


def _is_legacy(file: Any) -> bool:
    return "layer_names" in file.attrs or ("model_weights" in file and "layer_names" in file["model_weights"].attrs)


def _legacy(file: Any, path: Path) -> Iterator[tuple[str, _Place]]:
    """Yield name and place of each weight, from the lists of names in a legacy file."""
    root = file if "layer_names" in file.attrs else file["model_weights"]
    places = {at: dataset for at, dataset, _ in _datasets(root, path)}
    layers = [
        *_strings(root.attrs["layer_names"]),
        *(["top_level_model_weights"] if "top_level_model_weights" in root else []),
    ]
    names: list[tuple[str, str]] = []
    for layer in layers:
        if layer not in root:
            raise UserError(f"{path}: layer '{layer}' is listed and missing; the file is damaged")
        names += [(layer, name) for name in _strings(root[layer].attrs.get("weight_names", ()))]
    twice = {name for name, count in Counter(name for _, name in names).items() if count > 1}
    for layer, name in names:
        if f"{layer}/{name}" not in places:
            raise UserError(f"{path}: tensor '{name}' of layer '{layer}' is listed and missing; the file is damaged")
        plain = name.rsplit(":", 1)[0]
        if not plain.endswith(SEED_STATE):
            yield f"{layer}/{plain}" if name in twice else plain, _place(places[f"{layer}/{name}"], plain, path)


def _weights_only(file: Any, path: Path) -> Iterator[tuple[str, _Place]]:
    """Yield name and place of each tensor of a .weights.h5 file."""
    layers: dict[str, list[tuple[str, Any]]] = {}
    called: dict[str, str] = {}
    for at, dataset, layer_names in _datasets(file, path):
        group, slash, number = at.rpartition("/vars/")
        if at.startswith("vars/"):
            group, slash, number = "", "/vars/", at.removeprefix("vars/")
        if slash and group.split("/")[0] not in NOT_WEIGHTS and "seed_generator" not in group:
            layers.setdefault(group, []).append((number, dataset))
        called |= layer_names
    if layers and not called:
        raise UserError(
            f"{path}: contains no names of layers (an early Keras 3 wrote none), only classes and numbers, so tensors "
            "cannot be identified. Build its model, call load_weights on it, and give that model; or save it as .keras"
        )
    for group, members in layers.items():
        members.sort(key=lambda member: int(member[0]) if member[0].isdecimal() else -1)
        names = names_of(group.rsplit("/", 1)[-1], [dataset.shape for _, dataset in members])
        layer = path_of(group, called)
        for i, (number, dataset) in enumerate(members):
            own = number if not number.isdecimal() else names[i] if names else f"vars/{number}"
            name = f"{layer}/{own}" if layer else own
            yield name, _place(dataset, name, path)


def _datasets(group: Any, path: Path) -> list[tuple[str, Any, dict[str, str]]]:
    """Return every data set under a group: its place, the data set, and the names of layers by place.

    Raises:
        UserError: A link leads out of the file.
    """
    import h5py

    found: list[tuple[str, Any, dict[str, str]]] = []
    called: dict[str, str] = {}

    def visit(inner: Any, at: str, depth: int) -> None:
        if depth > DEEPEST:
            raise UserError(f"{path}: has more than {DEEPEST} levels of groups; Keras did not write it")
        if "name" in inner.attrs and (at == "vars" or at.endswith("/vars")):
            called[at.removesuffix("vars").rstrip("/")] = str(inner.attrs["name"])
        for name in sorted(inner, key=_in_order):
            place = f"{at}/{name}".lstrip("/")
            if not isinstance(inner.get(name, getlink=True), h5py.HardLink):
                raise UserError(f"{path}: '{place}' is a link, which Keras never writes; do not trust this file")
            item = inner[name]
            if isinstance(item, h5py.Group):
                visit(item, place, depth + 1)
            elif isinstance(item, h5py.Dataset):
                found.append((place, item, called))

    visit(group, "", 0)
    return found


def _place(dataset: Any, name: str, path: Path) -> _Place:
    """Return place, shape and dtype of a data set without reading it.

    Raises:
        UserError: Its values are in another file, are missing, or have an unknown dtype.
    """
    if dataset.is_virtual or dataset.external:
        raise UserError(f"{path}: tensor '{name}' is stored in another file, which Keras never writes; do not trust it")
    is_bfloat16 = dataset.dtype == BFLOAT16 and str(dataset.attrs.get("dtype", "")) == "bfloat16"
    if dataset.shape is None or (dataset.dtype.kind not in ALLOWED_KINDS and not is_bfloat16):
        raise UserError(
            f"{path}: tensor '{name}' has the dtype {dataset.dtype}, which cannot be read here; save the model "
            "in float32"
        )
    if dataset.chunks is None and dataset.id.get_storage_size() < dataset.nbytes:
        raise UserError(f"{path}: tensor '{name}' should have shape {list(dataset.shape)}, but its values are missing")
    if dataset.nbytes > path.stat().st_size * (MOST_COMPRESSED if dataset.chunks else 1):
        raise UserError(
            f"{path}: tensor '{name}' of shape {list(dataset.shape)} would have {dataset.nbytes:,} bytes, more than "
            f"the file can hold; {AGAIN}"
        )
    dtype = "bfloat16" if is_bfloat16 else dataset.dtype.newbyteorder("=").name
    return _Place(dataset.name, tuple(int(n) for n in dataset.shape), dtype)


def _in_order(name: str) -> list[Any]:
    """Return a key that sorts "dense_2" before "dense_10", as in the model."""
    return [int(piece) if piece.isdecimal() else piece for piece in re.split(r"(\d+)", name)]


def _strings(values: Any) -> list[str]:
    return [value.decode("utf-8") if isinstance(value, bytes) else str(value) for value in values]
