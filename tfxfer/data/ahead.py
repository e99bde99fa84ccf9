"""Prepare built-in data sets in processes of their own while this one does something else, such as start TensorFlow.

python -m tfxfer.data.ahead SPEC FOLDER
"""

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tfxfer.data.spec import BUILT_IN, parse


def missing(specs: Iterable[str | None], folder: Path) -> list[str]:
    """Return the specs of built-in sets that were never prepared in a folder; no TensorFlow is loaded to find out."""
    found = {}
    for spec in specs:
        if spec and spec.partition("/")[0] in BUILT_IN:
            parsed = parse(spec)
            place = folder / "tfds" / parsed.name / (parsed.config or "")
            if not any(place.glob("*/dataset_info.json")):
                found[place] = spec
    return list(found.values())


@contextmanager
def ahead(specs: Iterable[str], folder: Path) -> Iterator[None]:
    """Prepare what is `missing` beside the block; wait for it at the end.

    A failure is told by the load that follows, which tries again.

    Args:
        specs: The specs of data sets; those that are not built in need no preparation.
        folder: Where data are kept.
    """
    without_gpu = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    silent = subprocess.DEVNULL
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "tfxfer.data.ahead", spec, str(folder)],
                    env=without_gpu,
                    stdout=silent,
                    stderr=silent,
                )
            )
            for spec in missing(specs, folder)
        ]
        try:
            yield
        except BaseException:
            for process in processes:
                process.terminate()
            raise


if __name__ == "__main__":
    from tfxfer.data.prepared import built_in

    built_in(parse(sys.argv[1]), Path(sys.argv[2]) / "tfds").download_and_prepare()
