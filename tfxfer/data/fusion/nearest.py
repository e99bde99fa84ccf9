"""What joins images and texts by nearest neighbour: a contract, whose methods stand where models are known.

This package knows no model. `tfxfer.transfer.knowledge.alignment` puts the method in `METHODS` when this module is
imported (see `tfxfer/__init__.py`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfxfer.data.dataset import Dataset
from tfxfer.data.fusion.query import Query
from tfxfer.errors import TfxferError


@dataclass(frozen=True)
class Nearest:
    """The nearest text of each image.

    Attributes:
        best: split -> int [N], places among the candidates of the split; a split without candidates is not there.
        confidence: split -> float [N], 0 to 1: the estimated chance that the text is the image's own, if it is there.
        said: A sentence on how often that is right, measured on held-out true pairs.
    """

    best: dict[str, np.ndarray]
    confidence: dict[str, np.ndarray]
    said: str


# (true pairs, images, split -> candidates, query, {"data_dir", "download"}) -> the nearest
Method = Callable[[Dataset, Dataset, Mapping[str, Sequence[str]], Query, Mapping[str, Any]], Nearest]
METHODS: dict[str, Method] = {}


def aligner() -> Method:
    """Return the method: "closed_form"."""
    if not METHODS:
        raise TfxferError("on=nearest needs tfxfer.transfer.knowledge.alignment, which was not loaded")
    return METHODS["closed_form"]
