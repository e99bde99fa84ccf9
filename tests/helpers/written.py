"""Files of weights written by hand, valid and inconsistent ones."""

import json
import struct

import keras
import numpy as np
from safetensors.numpy import save_file


def write_raw(path, header, body=b"", length=None):
    """Write a safetensors file with any header, as a dictionary or as bytes, and any length in front of it."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + body)
    return path


def entry(shape=(2,), start=0, dtype="F32", stop=None):
    """Return the header entry of a tensor; consistent for float32."""
    return {
        "dtype": dtype,
        "shape": list(shape),
        "data_offsets": [start, start + 4 * int(np.prod(shape)) if stop is None else stop],
    }


def folder(root, tensors, config, shards=1):
    """Write a model folder of Hugging Face: config.json and weights in one file or several with an index."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "config.json").write_text(json.dumps(config))
    if shards == 1:
        save_file(tensors, root / "model.safetensors")
        return root
    listed = {}
    for i in range(shards):
        file = f"model-{i + 1:05d}-of-{shards:05d}.safetensors"
        part = {name: tensor for n, (name, tensor) in enumerate(tensors.items()) if n % shards == i}
        save_file(part, root / file)
        listed |= dict.fromkeys(part, file)
    (root / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": listed}))
    return root


def weights_of(model):
    return [np.array(keras.ops.convert_to_numpy(v)) for v in model.variables]


def unchanged(model, before):
    return all(np.array_equal(one, other) for one, other in zip(weights_of(model), before, strict=True))
