"""TRANSITION: the old path; delete this file when its importers use `tfxfer.data.images`."""

from tfxfer.data.images import read_image as read
from tfxfer.data.images import readable_errors

__all__ = ["read", "readable_errors"]
