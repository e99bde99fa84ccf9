"""TRANSITION: the old path; delete this file when its importers use `tfxfer.data.background`."""

from tfxfer.data.background import prepare_in_background as ahead
from tfxfer.data.background import unprepared as missing

__all__ = ["ahead", "missing"]
