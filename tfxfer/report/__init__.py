"""Records to tables, figures and one HTML page. Reads finished runs; starts no TensorFlow.

- `write(run_folder)`: `report.html`, one self-contained file.
- `terminal(comparison, console)`: the same table and verdict as text.
- `tfxfer.report.figures`: the figures, for notebooks.
- `tfxfer.report.panel`: `Panel`, a section that a recipe adds to the page.
"""

from tfxfer.report.console import terminal
from tfxfer.report.page import write

__all__ = ["terminal", "write"]
