"""The order of classes: total, and the same in every process; no TensorFlow."""

import os
import subprocess
import sys

from tfxfer.data.splits import class_order

NUMBERS = ["-inf", "-0", "0", "01", "1", "1.0", "1e0", "١", "1_0", "9" * 400, "Infinity", "inf", "+nan", "NaN", "nan"]


def test_the_order_of_classes_is_the_same_whatever_the_hash_seed():
    code = f"from tfxfer.data.splits import class_order; print(ascii(class_order({NUMBERS[::-1]!r})))"
    for seed in ("0", "1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True).stdout
        assert found.decode().strip() == ascii(tuple(NUMBERS)), seed


def test_the_order_of_ordinary_names_stays():
    assert class_order(["10", "9", "-1", "2.5"]) == ("-1", "2.5", "9", "10")
    assert class_order(["nan", "10", "9", "naan"]) == ("10", "9", "naan", "nan")
    assert class_order(["b", "B", "a", "Ä", ""]) == ("", "B", "a", "b", "Ä")
