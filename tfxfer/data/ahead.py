"""Prepare a built-in data set in a process of its own while this one does something else, such as train a source.

python -m tfxfer.data.ahead SPEC FOLDER
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tfxfer.data.prepared import built_in
from tfxfer.data.spec import BUILT_IN, parse


@contextmanager
def ahead(source: str, folder: Path) -> Iterator[None]:
    """Prepare the data set of a spec beside the block, when it is built in and not there yet; wait for it at the end.

    A failure is told by the load that follows, which tries again.

    Args:
        source: The spec of a data set; whatever else it is, there is nothing to prepare.
        folder: Where data are kept.
    """
    if source.partition("/")[0] not in BUILT_IN or built_in(parse(source), folder / "tfds").is_prepared():
        yield
        return
    command = [sys.executable, "-m", "tfxfer.data.ahead", source, str(folder)]
    without_gpu = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    silent = subprocess.DEVNULL
    with subprocess.Popen(command, env=without_gpu, stdout=silent, stderr=silent) as process:
        try:
            yield
        except BaseException:
            process.terminate()
            raise


if __name__ == "__main__":
    built_in(parse(sys.argv[1]), Path(sys.argv[2]) / "tfds").download_and_prepare()
