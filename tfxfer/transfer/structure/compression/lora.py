"""LoRA layers of Keras become the layers that they stand on.

A Keras layer with LoRA saves its kernel with the update merged already, W + α/R · A·B, and its config says "lora_rank".
Without that, the file opens as a model with plain layers, which answers the same. The file is no smaller: the factors
were not in it. The loaded model is: it has no factors.
"""

import json
from typing import Any

KEYS = ("lora_rank", "lora_alpha")


def without_lora(config: bytes) -> tuple[bytes, int]:
    """Return config.json of a `.keras` file without LoRA, and how many layers had it.

    >>> without_lora(b'{"config": {"units": 2, "lora_rank": 4, "lora_alpha": 4}}')
    (b'{"config": {"units": 2}}', 1)
    """
    count = 0

    def visit(value: Any) -> Any:
        nonlocal count
        if isinstance(value, dict):
            count += bool(value.get("lora_rank"))
            return {key: visit(one) for key, one in value.items() if key not in KEYS}
        return [visit(one) for one in value] if isinstance(value, list) else value

    found = visit(json.loads(config))
    return json.dumps(found).encode(), count
