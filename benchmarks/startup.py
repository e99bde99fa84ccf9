"""Seconds to the help text, and to the error for a misspelt option: the best of 7, in fresh processes."""

import json
import subprocess
import sys
import time


def seconds(*arguments: str) -> float:
    times = []
    for _ in range(7):
        started = time.perf_counter()
        subprocess.run([sys.executable, *arguments], capture_output=True)
        times.append(time.perf_counter() - started)
    return round(min(times), 3)


def main() -> None:
    found = {
        "python_s": seconds("-c", "pass"),
        "import_s": seconds("-c", "import tfxfer"),
        "help_s": seconds("-m", "tfxfer.train", "--help"),
        "typo_s": seconds("-m", "tfxfer.train", "--sorce", "x"),
    }
    for name, value in found.items():
        print(f"{name:10s} {value:.3f}")
    promises = {"seconds to `python -m tfxfer.train --help`": [found["help_s"], "<=", 0.5]}
    print(json.dumps({"benchmark": "startup", **found, "promises": promises}))


if __name__ == "__main__":
    main()
