"""Feature transfer, f(x) = W·φ(x) + b: a frozen piece φ of a source model, a head W, b for the target.

    phi = extractor(cnn, "conv3", input_bridge=RenderText(32, 256))     φ : text → pixels → features [B, D]
    train = extract(phi, data, split="train")                           φ(x), once, on disk  [N, D]
    held_out = extract(phi, data, split="validation")
    probe = linear_probe(train, train.labels, validation=(held_out, held_out.labels))      W [D, C], b [C]
    model = attach(phi, probe)                                          f : text → class probabilities [B, C]

Chollet's Keras guide on transfer learning describes the same steps for one modality.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from tfxfer.cache import data_dirs, locked
from tfxfer.data import readable_errors
from tfxfer.errors import UserError, suggest
from tfxfer.in_use import use
from tfxfer.models.pixels import is_plane
from tfxfer.transfer.feature.image_values import warn_of_application
from tfxfer.transfer.feature.pooling import OF_MAPS, WINDOWS, last_maps, pool, shape_of
from tfxfer.transfer.feature.probe import Probe, linear_probe
from tfxfer.transfer.feature.store import Features, Store
from tfxfer.transfer.feature.stream import compiled_once, stream, view_of
from tfxfer.transfer.graph import before_head, clone, find, fingerprint, input_of, like_inputs, name_of, trace, unfreeze

__all__ = ["Features", "Probe", "attach", "extract", "extractor", "finetune", "linear_probe", "mlp_head"]

SHARD_ROWS = 2048
log = logging.getLogger("tfxfer")


def extractor(
    model: keras.Model,
    layer: str | int | None = None,
    *,
    input_bridge: Callable[[Any], Any] | None = None,
    pooling: str = "auto",
    windows: int = WINDOWS,
    image_size: tuple[int, int] | None = None,
    trainable: bool = False,
) -> keras.Model:
    """Return φ: the layers of `model` up to `layer`, shared and frozen, in inference mode.

    The layers are the source's own, so they are frozen in `model` too; `tfxfer.transfer.graph.clone` copies a
    model.

    Args:
        model: A functional or sequential model; nested models are opened.
        layer: Where to cut: a layer's name, "nested/name" inside a nested model, or an index into
            `model.layers`. None cuts before the classification head: from the output back over softmax and
            dropout; when a `Dense` or a convolution over one position stands there, its input, otherwise the output
            itself.
        input_bridge: A layer or function from strings [B] to the model's input, e.g. `RenderText(...)`.
            Images of another size are resized, and grey ones repeated over three channels.
            A model of square images [B, H, H] without a channel axis gets one: φ takes [B, H, H, 1].
        pooling: What happens to maps [B, H, W, D] and sequences [B, T, D]: "avg" ("auto" is the same) and
            "max" give [B, D], "avg+max" [B, 2·D], "windows" [B, K·D], "columns" [B, W·D] (`pooling`); "none" leaves
            them. Without a `layer`, all but "auto", "avg" and "none" cut at the last maps, before the source's own
            pooling.
        windows: K of "windows", from left to right.
        image_size: (H, W) of the images, for a model that takes any; "columns" needs it there.
        trainable: Return a φ of copied layers that trains (its BatchNorm and dropout too).

    Returns:
        A model from `model`'s input, or from strings, to features [B, D].

    Raises:
        UserError: No such layer (the nearest is named), a model without a graph, shapes that do not meet, or more
            windows than columns.
    """
    model = clone(model) if trainable else model
    source = inputs = like_inputs(model)
    raw = True  # values 0..255 enter the model
    if input_bridge is not None:
        inputs = keras.Input((), dtype="string", name="text")
        bridged = input_bridge(inputs)
        source, raw = _meet(bridged, model), getattr(bridged, "dtype", "") == "uint8"
    elif isinstance(source, keras.KerasTensor) and is_plane(source.shape):
        inputs = keras.Input((*source.shape[1:], 1), dtype=source.dtype, name="image")
        source = keras.layers.Reshape(source.shape[1:], name="one_channel")(inputs)
    elif image_size is not None and isinstance(source, keras.KerasTensor) and len(source.shape) == 4:
        source = inputs = _of_size(source, image_size)
    calls, outputs = trace(model, source, frozen=not trainable)
    if raw:
        warn_of_application(model, calls, stacklevel=2)
    if layer is None:
        features = last_maps(calls, model) if pooling in OF_MAPS else before_head(calls, outputs, model)
    else:
        features = calls[find(calls, name_of(layer, model), model)].output
    phi = keras.Model(inputs, pool(features, pooling, windows), name="phi")
    if trainable:
        unfreeze(phi)
    else:
        phi.trainable = False
    return phi


def extract(
    phi: keras.Model,
    dataset: Any,
    *,
    split: str = "train",
    folder: str | Path | None = None,
    data_dir: str | Path | None = None,
    key: str | None = None,
    image_size: tuple[int, int] | None = None,
    batch_size: int = 64,
    shard_rows: int = SHARD_ROWS,
    jit: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Features:
    """Stream one split through φ once and keep the features on disk; the next call only opens them.

    The same features are found again for the same architecture, weights, preprocessing, data and tfxfer
    version, whatever the batch size. After a crash the finished shards are verified and kept. A second
    process with the same request waits for the first. Memory does not grow with N.

    Args:
        phi: From `extractor`, or any model with one input and one output.
        dataset: A `tfxfer.data.Dataset`: `sizes`, `fingerprint`, `class_names`, `labels(split)`,
            `batches(...)`.
        split: "train", "validation" or "test".
        folder: Where feature folders stand; `<data_dir>/features` by default.
        data_dir: As for `tfxfer.load`: finished features of a shared folder are opened there, and nothing is written.
        key: Column that φ reads: by default "text" when it takes strings, "image" otherwise.
        image_size: Height and width for a φ that takes any; otherwise φ's own input size is used.
        batch_size: Rows in one call of φ.
        shard_rows: Rows in one file.
        jit: Compile φ with XLA; on CPUs this helps transformers and slows down convolutions.
        progress: Called as `progress(rows_done, rows)` after each shard.

    Returns:
        `Features` [N, D] with labels [N], verified.

    Raises:
        UserError: An unknown or empty split.
        TfxferError: Features that are not finite (rows named), or a full disk (finished shards are kept).
    """
    if split not in dataset.sizes:
        raise UserError(f"there is no split '{split}'; {suggest(split, dataset.sizes)}")
    rows = int(dataset.sizes[split])
    if rows == 0:
        raise UserError(f"split '{split}' is empty: there is nothing to extract")
    view = view_of(phi, key, image_size)
    identity = {"phi": fingerprint(phi), "data": dataset.fingerprint, "split": split, "view": view}
    shape = (rows, *phi.outputs[0].shape[1:])
    labels = dataset.labels(split) if dataset.class_names else None
    caches = data_dirs(data_dir)
    store = Store(folder or caches.own / "features", identity, shape, shard_rows)
    for shared in [] if folder else caches.shared("features", store.folder.name):
        found = store.finished(shared, labels)
        if found is not None:
            return found
    use(store.folder)
    with locked(store.folder):
        found = store.finished(store.folder, labels)
        if found is not None:
            return found
        gaps = store.recover()
        log.info("features %s: %d of %d rows to compute", store.folder, sum(b - a for a, b in gaps), rows)
        forward = compiled_once(phi, identity["phi"], jit)
        with readable_errors(dataset):
            for gap in gaps:
                blocks = stream(forward, dataset, split, view, batch_size, gap)
                for done in store.write(*gap, blocks):
                    if progress is not None:
                        progress(done, rows)
        return store.finish(labels)


def attach(phi: keras.Model, head: Probe | keras.Model | keras.Layer) -> keras.Model:
    """Return f = head ∘ φ as one model, from raw text or images to class probabilities [B, C].

    Raises:
        UserError: φ's feature width is not the one the head was fitted on.
    """
    layer = head.as_layer() if isinstance(head, Probe) else head
    if isinstance(layer, keras.layers.Dense) and not layer.built:
        layer.build(phi.output.shape)
    width = layer.kernel.shape[0] if isinstance(layer, keras.layers.Dense) else layer.input_shape[-1]
    if phi.output.shape[1:] != (width,):
        raise UserError(
            f"φ gives features {shape_of(phi.output)}, the head takes [B, {width}]; fit the head on "
            "features of this φ, or cut φ at the layer the head was fitted on"
        )
    return keras.Model(phi.input, layer(phi.output), name="transfer")


def mlp_head(feature_dim: int, num_classes: int, hidden: int = 512, dropout: float = 0.0) -> keras.Model:
    """Return a small head, not yet trained: Dense(hidden, relu) → dropout → Dense(num_classes, softmax).

    Features [B, feature_dim] in, probabilities [B, num_classes] out, in float32 under any precision policy.
    """
    features = keras.Input((feature_dim,), name="features")
    x = keras.layers.Dense(hidden, activation="relu", name="hidden")(features)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    x = keras.layers.Dense(num_classes, activation="softmax", dtype="float32", name="classes")(x)
    return keras.Model(features, x, name="mlp_head")


def finetune(model: keras.Model, from_layer: str | int) -> keras.Model:
    """Return a copy of `model` in which all from a layer upward trains, and all below is frozen.

    "Upward" is the order in which the layers run. Frozen BatchNorm layers stay in inference mode, and so does
    every layer of a frozen `extractor`. The caller's model, and the source whose layers it shares, keep
    their weights and flags.

    Raises:
        UserError: No such layer; the nearest name is given.
    """
    copy = clone(model)
    calls, _ = trace(copy, like_inputs(copy))
    name = name_of(from_layer, copy)
    first = find(calls, name, copy)
    inside = calls[first].path + "/"
    first = next((i for i, call in enumerate(calls) if call.path.startswith(inside)), first)
    unfreeze(copy)
    training = {id(call.layer) for call in calls[first:]}
    for call in calls[:first]:
        if isinstance(call.layer, keras.Layer) and id(call.layer) not in training:
            call.layer.trainable = False
    return copy


def _of_size(images: Any, size: tuple[int, int]) -> Any:
    """Return an input [B, H, W, C] of this size where a model takes any, else one of the model's own size."""
    height, width = (own or given for own, given in zip(images.shape[1:3], size, strict=True))
    return keras.Input((height, width, images.shape[3]), dtype=images.dtype, name=images.name)


def _meet(bridged: Any, model: keras.Model) -> Any:
    """Bring what the bridge made to the model's input: size, channels and number type."""
    wanted = input_of(model)
    if not isinstance(wanted, keras.KerasTensor):
        keras.tree.assert_same_structure(bridged, wanted)
        return bridged
    given, shape = bridged.shape, wanted.shape
    if len(given) == 4 and given[3] == 1 and is_plane(shape):
        bridged = keras.layers.Resizing(*shape[1:], name="resize")(bridged) if given[1:3] != shape[1:] else bridged
        bridged = keras.layers.Reshape(shape[1:], name="one_channel")(bridged)
    if len(given) == len(wanted.shape) == 4:
        if any(want not in (None, have) for want, have in zip(wanted.shape[1:3], given[1:3])):
            bridged = keras.layers.Resizing(*wanted.shape[1:3], name="resize")(bridged)
        if given[3] == 1 and wanted.shape[3] == 3:
            bridged = keras.layers.Concatenate(name="grey_to_rgb")([bridged] * 3)
    if len(bridged.shape) != len(wanted.shape) or any(
        want not in (None, have) for want, have in zip(wanted.shape[1:], bridged.shape[1:])
    ):
        raise UserError(f"the bridge gives {shape_of(bridged)}, {model.name} takes {shape_of(wanted)}")
    return bridged if bridged.dtype == wanted.dtype else keras.ops.cast(bridged, wanted.dtype)
