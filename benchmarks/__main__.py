"""`python -m benchmarks [NAME …]`: run the benchmarks one after another, write `benchmarks/results.json` and `.md`.

Each benchmark is a module with a `main`; the last line it prints is one JSON object: {"benchmark": name, figures…,
"promises": {what: [measured, comparison, bound]}}.

Not in this table: `benchmarks.verdict` (how often a verdict is wrong) and `benchmarks.results` (the table "what helped"
of README.md). Nor, because they promise nothing and take longer: `benchmarks.default` (how the default experiment was
chosen), `benchmarks.image_use` and `benchmarks.unfreezing` (settings of a captioner), `benchmarks.reader` (how well the
`read` bridge reads), `benchmarks.fuse` (what pairs that are no true ones add), `benchmarks.fusion_sets`
(the real sets of docs/fusion.md), `benchmarks.multitask` (writes
easy-VQA as a table), and `benchmarks.picture` (the figure in
README.md).
"""

import json
import operator
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
NAMES = (
    "startup",
    "train",
    "reading",
    "render",
    "extract",
    "cached_features",
    "probe",
    "scores",
    "doctor",
    "captions",
    "checkpoint",
    "generation",
    "dual_encoder",
    "ending",
    "reseeding",
)
COMPARE = {"<=": operator.le, ">=": operator.ge}


def run(name: str) -> dict:
    """Run one benchmark in a process of its own and return its figures."""
    print(f"\n=== {name}", flush=True)
    command = [sys.executable, "-m", f"benchmarks.{name}"]
    quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    process = subprocess.Popen(command, cwd=HERE.parent, stdout=subprocess.PIPE, text=True, env=quiet)
    assert process.stdout is not None
    last = ""
    for line in process.stdout:
        print(line, end="", flush=True)
        last = line if line.startswith("{") else last
    if process.wait() or not last:
        return {"benchmark": name, "failed": f"exit code {process.returncode}", "promises": {}}
    return json.loads(last)


def machine() -> str:
    """Return the machine in words: cores, architecture, Python, TensorFlow."""
    import tensorflow as tf

    return (
        f"{os.cpu_count()} CPU cores ({platform.machine()}), no GPU, Python {platform.python_version()}, "
        f"TensorFlow {tf.__version__}"
    )


def table(results: dict) -> str:
    """Return the promises as a Markdown table."""
    lines = [
        "# Benchmarks",
        "",
        f"`make bench` on {results['date']}: {results['machine']}.",
        "",
        "| promise | measured | bound | kept |",
        "|---|---|---|---|",
    ]
    for figures in results["benchmarks"]:
        for why in ("failed", "skipped"):
            if why in figures:
                lines.append(f"| {figures['benchmark']} | {why}: {figures[why]} | | no |")
        for what, (measured, sign, bound) in figures["promises"].items():
            kept = "yes" if COMPARE[sign](measured, bound) else "**no**"
            lines.append(f"| {what} | {measured:g} | {sign} {bound:g} | {kept} |")
    return "\n".join([*lines, "", "All figures: [results.json](results.json).", ""])


def main() -> int:
    """Run what is asked for; keep the figures of benchmarks that are not run now."""
    names = sys.argv[1:] or NAMES
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        print(f"there is no benchmark '{unknown[0]}'; known: {', '.join(NAMES)}", file=sys.stderr)
        return 2
    file = HERE / "results.json"
    old = json.loads(file.read_text())["benchmarks"] if file.exists() else []
    found = {figures["benchmark"]: figures for figures in old}
    lost = [name for name in found if name not in NAMES]
    if lost:
        print(f"{file.name} has figures of '{lost[0]}', which is no benchmark; rename or remove them", file=sys.stderr)
        return 2
    for name in names:
        figures = run(name)
        if "skipped" not in figures or name not in found:  # what was measured elsewhere stays
            found[name] = figures
    results = {"date": time.strftime("%Y-%m-%d"), "machine": machine()}
    results |= {"benchmarks": [found[name] for name in NAMES if name in found]}
    file.write_text(json.dumps(results, indent=1) + "\n")
    (HERE / "results.md").write_text(table(results))
    print("\n" + table(results))
    return int(any("failed" in figures for figures in results["benchmarks"]))


if __name__ == "__main__":
    sys.exit(main())
