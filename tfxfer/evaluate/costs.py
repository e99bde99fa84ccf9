"""What the score of an arm costs: training and inference time, bytes; and which no other beats (Pareto front)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfxfer.errors import UserError
from tfxfer.evaluate.comparable import System
from tfxfer.evaluate.comparison import measure_name

OWN_FILES = {  # of a run's folder: what is no part of the saved model
    *("comparison.json", "config.yaml", "log.txt", "metrics.jsonl", "panels.json", "probabilities.npz"),
    *("report.html", "splits.npz", "trained_on.npz", "weight_map.json"),
}
COSTS = ("training_seconds", "inference_ms", "bytes")  # of one system, where they are known


def cost_row(system: System, scores: Sequence[Mapping[str, Any]], measure: str) -> dict[str, Any]:
    """Return a system's score at its greatest budget, the seconds of its training, and the bytes of its saved model.

    A run saves one model: that of `transfer`. Of other arms the bytes are unknown.

    Args:
        system: The system.
        scores: Rows of `summary` with `system`, budgets ascending.
        measure: The score.
    """
    rows = [row for row in scores if row["system"] == system.name and row["score"] is not None]
    if not rows:
        raise UserError(f"{system.folder}: the arm '{system.arm}' has no {measure_name(measure)}")
    last = rows[-1]
    row = {"system": system.name, "budget": last["budget"], **{key: last[key] for key in ("score", "low", "high")}}
    saved = system.arm == "transfer" and (system.folder / "model.keras").is_file()
    size = sum(path.stat().st_size for path in _model_files(system.folder)) if saved else None
    return row | {"training_seconds": last["seconds"], "inference_ms": None, "bytes": size}


def _model_files(folder: Path) -> list[Path]:
    return [p for p in folder.rglob("*") if p.is_file() and p.name not in OWN_FILES and not p.name.startswith(".")]


def with_fronts(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with `best_for`: the costs for which no other is as good and cheaper, or better and no dearer.

    >>> rows = [{"score": 0.9, "bytes": 10}, {"score": 0.8, "bytes": 20}, {"score": 0.7, "bytes": 5}]
    >>> [row["best_for"] for row in with_fronts(rows)]
    [['bytes'], [], ['bytes']]
    """

    def beaten(row: Mapping[str, Any], cost: str) -> bool:
        rivals = [other for other in rows if other.get(cost) is not None]
        return any(
            other["score"] >= row["score"]
            and other[cost] <= row[cost]
            and (other["score"], other[cost]) != (row["score"], row[cost])
            for other in rivals
        )

    return [
        {**row, "best_for": [cost for cost in COSTS if row.get(cost) is not None and not beaten(row, cost)]}
        for row in rows
    ]
