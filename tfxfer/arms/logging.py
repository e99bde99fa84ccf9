"""What the trainings of an arm leave in a run's `metrics.jsonl`."""

from collections.abc import Callable
from typing import Any

from tfxfer.runs import Run


def report_training(run: Run, arm: str) -> Callable[[dict[str, Any]], None]:
    """Return a function that writes a row of figures for each training of an arm."""

    def report(row: dict[str, Any]) -> None:
        run.metric("arm training", arm=arm, **row)

    return report
