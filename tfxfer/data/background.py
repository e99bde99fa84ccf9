"""Prepare built-in data sets in background processes, for example while this process imports TensorFlow.

python -m tfxfer.data.background SPEC FOLDER
"""

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tfxfer.data.spec import BUILT_IN, parse


def unprepared(specs: Iterable[str | None], *folders: Path) -> list[str]:
    """Return the specs of built-in sets that are prepared in none of the data folders; loads no TensorFlow."""
    found = {}
    for spec in specs:
        if spec and spec.partition("/")[0] in BUILT_IN:
            parsed = parse(spec)
            place = Path("tfds", parsed.name, parsed.prepared or "")
            if not any(any((folder / place).glob("*/dataset_info.json")) for folder in folders):
                found[place] = spec
    return list(found.values())


@contextmanager
def prepare_in_background(specs: Iterable[str], folder: Path) -> Iterator[None]:
    """Prepare the data sets that are `unprepared` while the block runs; wait for them at its end.

    A failure is not reported here: the `load` that follows prepares again and reports it.

    Args:
        specs: The specs of data sets; only built-in ones are prepared.
        folder: Where data are kept.
    """
    without_gpu = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    silent = subprocess.DEVNULL
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "tfxfer.data.background", spec, str(folder)],
                    env=without_gpu,
                    stdout=silent,
                    stderr=silent,
                )
            )
            for spec in unprepared(specs, folder)
        ]
        try:
            yield
        except BaseException:
            for process in processes:
                process.terminate()
            raise


if __name__ == "__main__":
    from tfxfer.data.prepared import prepare_built_in

    prepare_built_in(parse(sys.argv[1]), Path(sys.argv[2]) / "tfds")
