"""Records to tables, pictures and one HTML page. Reads finished runs; starts no TensorFlow.

- `write(run_folder)`: `report.html`, one file that needs nothing else.
- `terminal(comparison, console)`: the same table and verdict as text.
- `tfxfer.report.figures`: the figures, for notebooks.
"""

from tfxfer.report.console import terminal
from tfxfer.report.page import write

__all__ = ["terminal", "write"]
