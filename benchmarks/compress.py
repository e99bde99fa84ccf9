"""What compressing a run's model costs, method by method, as rows of a Markdown table (docs/compress.md).

    python -m benchmarks.compress runs/feature runs/vqa runs/captioning --to int8,int4 [--calibrate 0]

Each run is compressed as `tfxfer compress RUN --no-costs` does, into a folder beside it, `<run>-compressed-<time>`.
With `--keras`, the network is quantised by `Model.quantize("int8")` of Keras too: its bytes, or why not.
"""

import contextlib
import io
import json
import sys
import time
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

from tfxfer import __main__ as front
from tfxfer import cli

HEAD = """| | bytes | times smaller | numbers | test | difference | bound | non-inferior |
|---|---|---|---|---|---|---|---|"""


def rows_of(run, words):
    """Compress a run, and return what was found."""
    out = io.StringIO()
    folder = f"{run}-compressed-{time.strftime('%H%M%S')}"
    with contextlib.redirect_stdout(out):
        code = cli.main(front.work, ["compress", run, *words, "--no-costs", "--json", "--run-dir", folder])
    if code:
        raise SystemExit(code)
    return json.loads(out.getvalue())


def cells(row):
    """Return the cells of a row."""
    span = f"{row['score']:.3f} ({row['low']:.3f}–{row['high']:.3f})"
    found = [row["name"], f"{row['bytes']:,}", f"{row['ratio']:.2f}", f"{row['numbers']:,}", span]
    if "shown" not in row:
        return [*found, "", "", ""]
    return [
        *found,
        f"{row['difference']:+.3f}",
        f"{row['bound']:+.3f}",
        "yes" if row["shown"] else f"missed by {-row['bound'] - row['margin']:.3f}",
    ]


def by_keras(run):
    """Return in words what `Model.quantize` of Keras makes of a run's network."""
    from tfxfer.models import load_model

    model = load_model(Path(run) / "model.keras")
    with warnings.catch_warnings(record=True) as caught, TemporaryDirectory() as folder:
        warnings.simplefilter("always")
        try:
            model.quantize("int8")
        except ValueError as error:
            return f"refuses it: {error}"
        model.save(Path(folder) / "model.keras")
        return f"{(Path(folder) / 'model.keras').stat().st_size:,} bytes of model.keras, {len(caught)} warnings"


def main(words):
    """Print a table for each run."""
    first = next((place for place, word in enumerate(words) if word.startswith("-")), len(words))
    options = [word for word in words[first:] if word != "--keras"]
    for run in words[:first]:
        found = rows_of(run, options)
        print(f"\n{run}: {found['measure']}, margin {found['margin']:g}, zipped {found['zipped']:,} bytes\n")
        print(HEAD)
        for row in found["rows"]:
            print(f"| {' | '.join(cells(row | {'margin': found['margin']}))} |")
        if "--keras" in words:
            print(f'\nModel.quantize("int8") of Keras: {by_keras(run)}')


if __name__ == "__main__":
    main(sys.argv[1:])
