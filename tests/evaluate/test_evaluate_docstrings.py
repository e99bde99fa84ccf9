import doctest
import importlib

import pytest


@pytest.mark.parametrize("name", ["classification", "comparison", "verdict"])
def test_examples_in_docstrings(name):
    result = doctest.testmod(importlib.import_module(f"tfxfer.evaluate.{name}"))
    assert result.attempted
    assert not result.failed
