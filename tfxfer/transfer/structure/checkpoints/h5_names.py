"""The names of the tensors in an h5 file, as far as they can be derived.

A legacy .h5 file stores the names of its weights. A .weights.h5 file of Keras 3 stores "layers/dense_1/vars/0", a class
and numbers, and the layer's own name as an attribute. The layer's class and the number and shapes of its tensors
usually identify the kernel. Where they do not, the tensor is called "LAYER/vars/0".
"""

import re
from collections.abc import Mapping, Sequence

from tfxfer.transfer.structure.weight_map.tensors import Shape

KERNEL, VECTORS = ("kernel", "bias"), ("gamma", "beta", "moving_mean", "moving_variance")
# End of a class's or attribute's name -> the tensors of the layer, in order, for every number of tensors that is
# unambiguous. A BatchNormalization with three has no scale or no offset; the file does not state which.
LAYER_TENSORS: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...] = (
    (
        r"separable_conv\dd",
        (("depthwise_kernel", "pointwise_kernel"), ("depthwise_kernel", "pointwise_kernel", "bias")),
    ),
    (r"dense|conv\dd(_transpose)?", (KERNEL[:1], KERNEL)),
    (r"reversible_embedding", (("embeddings",), ("embeddings", "reverse_embeddings"))),
    (r"embedding", (("embeddings",),)),
    (r"batch_norm(alization)?", (VECTORS[2:], VECTORS)),
    (r"rms_norm(alization)?", (("scale",),)),
    (r"(layer|group)_norm(alization)?", (VECTORS[:2],)),
    (r"normalization", (("mean", "variance", "count"),)),
    (r"cell", (("kernel", "recurrent_kernel"), ("kernel", "recurrent_kernel", "bias"))),
    (r"p_re_lu", (("alpha",),)),
)
CONTAINERS = ("layers", "_layer_checkpoint_dependencies", "container")


def names_of(group: str, shapes: Sequence[Shape]) -> tuple[str, ...] | None:
    """Return the names of a layer's tensors, or None when they are ambiguous.

    Args:
        group: The layer's place in the file: its class in lower case, or the attribute that contains it.
        shapes: Shapes of its tensors, in order.

    >>> names_of("dense_1", [(8, 4), (4,)])
    ('kernel', 'bias')
    >>> names_of("batch_normalization", [(4,), (4,), (4,)])
    """
    place = re.sub(r"_\d+$", "", group)
    for ending, possible in LAYER_TENSORS:
        if re.search(f"(^|_)({ending})$", place):
            fitting = [names for names in possible if len(names) == len(shapes) and _fit(names, shapes)]
            if fitting:
                return fitting[0]
            break
    return KERNEL if len(shapes) == 2 and len(shapes[0]) > 1 and _fit(KERNEL, shapes) else None


def _fit(names: Sequence[str], shapes: Sequence[Shape]) -> bool:
    """Return whether tensors of these names can have these shapes."""
    kinds = dict(zip(names, shapes))
    if names[0] in VECTORS:
        return len(set(shapes)) == 1 and len(shapes[0]) == 1
    if names[0] == "embeddings":
        return all(len(shape) == 2 for shape in shapes)
    if names == KERNEL:
        bias, kernel = kinds["bias"], kinds["kernel"]
        return len(bias) < len(kernel) and kernel[len(kernel) - len(bias) :] == bias
    return names != KERNEL[:1] or len(kinds["kernel"]) > 1


def path_of(group: str, layer_names: Mapping[str, str]) -> str:
    """Return the path of a layer in its model: the names of the layers that contain it, and its own.

    Args:
        group: Its place in the file, such as "layers/transformer_encoder/_feedforward_output_dense".
        layer_names: Place → name of each layer in the file; the model itself has the place "".

    >>> path_of("layers/dense/x", {"": "net", "layers/dense": "classes", "layers/dense/x": "inner"})
    'classes/inner'
    """
    places = group.split("/")
    above = ["/".join(places[: i + 1]) for i in range(len(places))]
    found = [layer_names[place] for place in above if place in layer_names]
    return "/".join(name.rsplit("/", 1)[-1] for name in found)
