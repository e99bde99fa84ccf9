"""Weight-only quantisation: fewer bits for each number of a matrix, a scale for each output or group.

Rounding is symmetric and to the nearest, so 0 stays 0 and the error of an int8 entry is at most half a step, s/2 with
s = max|w| / 127 of its output (Krishnamoorthi 2018, section 3.1, per channel). int4 has a scale for 32 inputs of each
output (as Dettmers and Zettlemoyer 2023 find needed), the best of four by squared error.

These are the integers of `keras.quantizers.abs_max_quantize`, which `Model.quantize("int8")` uses too. That leaves
convolutions as they are, and changes the layers: what reads `kernel`, such as the beam search over a decoder, would not
find it. So the file holds the integers, and the loaded model float32.
"""

import numpy as np

from tfxfer.models.coded_weights import CodedWeight

LARGEST = float(np.finfo(np.float16).max)


def quantised(weight: CodedWeight, dtype: str) -> CodedWeight:
    """Return a weight, or both its factors, stored as "float16", "int8" or "int4".

    A weight with an entry beyond half precision stays as it is under "float16".
    """
    if dtype == "float16" and max(np.abs(part.values).max(initial=0) for part in weight.parts) > LARGEST:
        return weight
    return weight.stored_as(dtype)
