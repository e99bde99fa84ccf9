"""The default run from an empty cache, from a warm one, and with every arm run again: time, memory, verdict."""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def run(folder: Path, name: str, *options: str) -> dict:
    command = [sys.executable, "-m", "tfxfer.train", "--run-dir", str(folder / name), *options]
    started = time.perf_counter()
    subprocess.run(command, check=True, env=os.environ | {"TFXFER_DATA": str(folder / "data")}, cwd=folder)
    seconds = time.perf_counter() - started
    comparison = json.loads((folder / name / "comparison.json").read_text())
    primary = next(v for v in comparison["verdicts"] if v["role"] == "primary")
    return {"seconds": round(seconds, 1), "costs": comparison["costs"], "verdict": primary}


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        cold = run(Path(name), "cold")
        warm = run(Path(name), "warm")
        again = run(Path(name), "again", "--fresh")
    peak = round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20, 2)  # GiB on Linux
    same = all(cold["verdict"][k] == again["verdict"][k] for k in ("difference", "low", "high"))
    print(f"cold {cold['seconds']} s, warm {warm['seconds']} s, arms again {again['seconds']} s, peak {peak} GiB")
    print(f"the same verdict when every arm is run again: {same}")
    promises = {
        "seconds of the default `make train`, empty cache": [cold["seconds"], "<=", 120],
        "seconds of the default `make train`, warm cache": [warm["seconds"], "<=", 40],
        "GiB of memory at its peak": [peak, "<=", 3],
        "transfer − random in accuracy, lower end of the 95 % interval": [
            cold["verdict"]["low"],
            ">=",
            0,
        ],
    }
    found = {"cold": cold, "warm": warm, "again": again, "peak_gib": peak, "repeatable": same}
    print(json.dumps({"benchmark": "train", **found, "promises": promises}))


if __name__ == "__main__":
    main()
