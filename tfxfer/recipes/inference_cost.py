"""What a prediction of a saved model costs, in a process of its own: `python -m tfxfer.recipes.inference_cost`.

A process of its own, because the peak of memory is that of a process, and because two models in one would share caches.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from tfxfer.errors import TfxferError

BATCHES = (1, 32)
LEAST, MOST, SECONDS = 5, 50, 2.0  # calls that are timed, and how long at most


def measure(folder: Path, inputs: dict[str, np.ndarray]) -> dict[str, float]:
    """Return "ms_1" and "ms_32", the median time of a prediction of so many examples, "mib" and "start_mib".

    Args:
        folder: Of a run or a saved model.
        inputs: Arguments of its `predict`, 32 examples each.

    Returns:
        Milliseconds, and the greatest resident memory in MiB: of the whole process, and before the model was loaded.
    """
    with TemporaryDirectory(prefix="tfxfer-") as temporary:
        file = Path(temporary) / "inputs.npz"
        np.savez(file, **{name: np.asarray(rows, np.str_) if _is_text(rows) else rows for name, rows in inputs.items()})  # type: ignore[arg-type]
        command = [sys.executable, "-m", "tfxfer.recipes.inference_cost", str(folder), str(file)]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no reason was given"]
        raise TfxferError(f"{folder}: its cost could not be measured: {lines[-1][:300]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def _is_text(rows: Any) -> bool:
    return np.asarray(rows).dtype.kind in "OUS"


def peak_mib(since_now: bool = False) -> float:
    """Return the greatest resident memory of this process, in MiB; on Linux that of its own memory alone.

    `getrusage` also counts what the process that started this one had.

    Args:
        since_now: Let the peak begin anew, so that it is not that of the imports; on Linux only.
    """
    from tfxfer.runs import peak_memory_mib

    try:
        if since_now:
            Path("/proc/self/clear_refs").write_text("5")
        lines = Path("/proc/self/status").read_text().splitlines()
        return round(int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024, 1)
    except (OSError, StopIteration, ValueError):
        return peak_memory_mib()


def main(folder: str, file: str) -> None:
    """Measure, and print the figures as JSON."""
    from tfxfer.saved import from_run

    start = peak_mib(since_now=True)
    model = from_run(folder)
    with np.load(file) as arrays:
        inputs = [arrays[name].tolist() if arrays[name].dtype.kind == "U" else arrays[name] for name in arrays.files]
    found: dict[str, float] = {}
    for batch in BATCHES:
        some = [rows[:batch] for rows in inputs]
        model.predict(*some)  # the first call traces and compiles
        times: list[float] = []
        while len(times) < LEAST or (sum(times) < SECONDS and len(times) < MOST):
            began = time.perf_counter()
            model.predict(*some)
            times.append(time.perf_counter() - began)
        found[f"ms_{batch}"] = round(1000 * float(np.median(times)), 3)
    print(json.dumps(found | {"mib": peak_mib(), "start_mib": start}))


if __name__ == "__main__":
    main(*sys.argv[1:])
