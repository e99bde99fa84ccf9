"""A training command in the process of the tests, which saves it the seconds in which TensorFlow starts."""

import contextlib
import io
from dataclasses import dataclass

from tfxfer import train
from tfxfer.cli import main


@dataclass(frozen=True)
class Done:
    """What a command left: as `subprocess.run` has it."""

    returncode: int
    stdout: str
    stderr: str


def command(*words, data_dir):
    """Run `python -m tfxfer.train` with these words and this folder of prepared data."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(train.work, [*map(str, words), "--data-dir", str(data_dir)])
    return Done(code, out.getvalue(), err.getvalue())
