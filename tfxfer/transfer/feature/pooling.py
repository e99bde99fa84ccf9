"""How the maps of φ become one vector: averaged over all positions, or with the order of their columns kept.

A picture of a line of text is wide. A mean over its width is the same for "no" and for "on", as far as a column of the
map sees one letter: the order of the letters is lost. Means in windows keep it roughly, all columns keep it exactly.

    pooling     maps [B, H, W, D] →    what it is
    avg         [B, D]                 mean over all positions
    max         [B, D]                 largest activation
    avg+max     [B, 2·D]               both, the means first
    windows     [B, K·D]               means in K equal windows along the width, from left to right
    columns     [B, W·D]               means of the W columns, from left to right

Of sequences [B, T, D], tokens take the place of columns. Windows are a spatial pyramid (Lazebnik, Schmid & Ponce
2006) of one level along one axis; a linear head on them can do what it can do on the mean, which is their mean.
"""

from typing import Any

import keras
from keras import ops

from tfxfer.errors import UserError, suggest
from tfxfer.transfer.graph import Call

POOLING = ("auto", "avg", "max", "avg+max", "columns", "windows", "none")
OF_MAPS = ("max", "avg+max", "columns", "windows")  # needs maps: φ ends before the source's own pooling
ORDERED = ("columns", "windows")  # features are longer, and columns need a known width
WINDOWS = 2


@keras.saving.register_keras_serializable("tfxfer")
class WindowPooling(keras.layers.Layer):
    """Average maps in equal windows along their width: [B, H, W, D] → [B, K·D], or [B, T, D] → [B, K·D].

    Feature k·D + d is the mean of channel d over the whole height and over window k, the columns ⌊k·W/K⌋ to
    ⌈(k+1)·W/K⌉ − 1, as in adaptive average pooling. Where K does not divide W, neighbours share a column. Windows
    divide the picture, not the text in it: blank paper is averaged too. Maps of any width give the same number of
    features; of one with fewer columns than windows, columns are repeated.

    Args:
        windows: K; None: each column is a window, and W must be known.
    """

    def __init__(self, windows: int | None = WINDOWS, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.windows = windows

    def call(self, maps: Any) -> Any:
        """Return the means, [B, K·D]."""
        columns = ops.mean(maps, 1) if len(maps.shape) == 4 else maps  # [B, W, D]
        if self.windows is not None:
            columns = ops.einsum("bwd,wk->bkd", columns, self._shares(ops.shape(columns)[1], columns.dtype))
        return ops.reshape(columns, (-1, self._count(maps.shape) * maps.shape[-1]))

    def _shares(self, width: Any, dtype: Any) -> Any:
        """Return the share of each column in each window, [W, K]."""
        window = ops.arange(self.windows, dtype="int32")
        first, end = window * width // self.windows, -(-(window + 1) * width // self.windows)
        column = ops.arange(width, dtype="int32")[:, None]
        inside = ops.logical_and(column >= first, column < end)
        return ops.cast(inside, dtype) / ops.cast(end - first, dtype)

    def _count(self, shape: Any) -> int:
        return self.windows or shape[-2]

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, int]:
        """Return (B, K·D)."""
        return input_shape[0], self._count(input_shape) * input_shape[-1]

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds the layer."""
        return super().get_config() | {"windows": self.windows}


def pool(features: Any, pooling: str, windows: int = WINDOWS) -> Any:
    """Return maps [B, H, W, D] or sequences [B, T, D] as one vector each; see the table above.

    Args:
        features: Symbolic. Features [B, D] stay as they are under "auto", "avg", "max" and "none".
        pooling: One of `POOLING`.
        windows: K of "windows".

    Raises:
        UserError: There is no such pooling, the features have no positions, or fewer columns than windows.
    """
    if pooling not in POOLING:
        raise UserError(f"there is no pooling '{pooling}'; {suggest(pooling, POOLING)}")
    if not isinstance(features, keras.KerasTensor):
        raise UserError("this layer gives several tensors; cut at one that gives a single tensor")
    rank = len(features.shape)
    if pooling == "none" or (rank == 2 and pooling in ("auto", "avg", "max")):
        return features
    if rank not in (3, 4):
        remedy = "cut at a layer of maps [B, H, W, D]" if rank == 2 else "pass pooling='none' or cut at another layer"
        raise UserError(f"cannot pool {shape_of(features)} by '{pooling}'; {remedy}")
    if pooling in ORDERED:
        _check_width(features, pooling, windows)
        return WindowPooling(windows if pooling == "windows" else None, name="pool")(features)
    kind = {3: "1D", 4: "2D"}[rank]
    if pooling == "avg+max":
        both = [getattr(keras.layers, f"Global{name}Pooling{kind}")() for name in ("Average", "Max")]
        return keras.layers.Concatenate(name="pool")([layer(features) for layer in both])
    name = "GlobalMaxPooling" if pooling == "max" else "GlobalAveragePooling"
    return getattr(keras.layers, name + kind)(name="pool")(features)


def _check_width(features: Any, pooling: str, windows: int) -> None:
    width = features.shape[-2]
    if pooling == "columns":
        if width is None:
            raise UserError(
                f"pooling='columns' of maps {shape_of(features)}, whose width is not known: give the size of the "
                "pictures, image_size=(height, width), or use pooling='windows'"
            )
        return
    if isinstance(windows, bool) or not isinstance(windows, int) or windows < 1:
        raise UserError(f"windows={windows}: give a whole number from 1")
    if width is not None and windows > width:
        raise UserError(
            f"windows={windows}: the map {shape_of(features)} has {width} columns; ask for at most {width} windows, "
            "or for wider pictures"
        )


def last_maps(calls: list[Call], model: keras.Model) -> Any:
    """Return the last maps [B, H, W, D] or tokens [B, T, D] with more than one position along their width.

    Raises:
        UserError: The model has none.
    """
    for call in reversed(calls):
        shape: tuple[int | None, ...] = getattr(call.output, "shape", ())
        if len(shape) in (3, 4) and shape[-2] != 1:
            return call.output
    raise UserError(f"{model.name} has no maps [B, H, W, D] or tokens [B, T, D] that could be pooled")


def shape_of(tensor: Any) -> str:
    """Return a symbolic tensor's shape in words, such as "[B, 8, 56, 128]"."""
    return "[" + ", ".join(["B", *map(str, tensor.shape[1:])]) + "]"
