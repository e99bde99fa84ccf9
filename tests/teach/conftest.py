"""Fixtures of the tests of the course."""

import sys
import types

import pytest


@pytest.fixture
def outputs(monkeypatch):
    """What a notebook would show: a list of (data, metadata)."""
    shown = []
    display = types.ModuleType("IPython.display")
    display.display = lambda data, metadata, raw: shown.append((data, metadata))
    monkeypatch.setitem(
        sys.modules, "IPython", types.SimpleNamespace(get_ipython=object, display=display, version_info=(9,))
    )
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return shown
