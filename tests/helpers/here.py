"""Training commands for tests: in this process, which saves the start of TensorFlow, or in one of their own."""

import base64
import contextlib
import io
import os
import subprocess
import sys
from dataclasses import dataclass

from tfxfer import train
from tfxfer.cli import main
from tfxfer.config import check_values, with_options
from tfxfer.recipes import RECIPES
from tfxfer.recipes.source_seeds import check_source_seeds


@dataclass(frozen=True)
class Done:
    """What a command left: as `subprocess.run` has it."""

    returncode: int
    stdout: str
    stderr: str


def command(*words, data_dir):
    """Run `python -m tfxfer.train` with these words and this folder of prepared data, in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(train.work, [*map(str, words), "--data-dir", str(data_dir)])
    return Done(code, out.getvalue(), err.getvalue())


def process(*words, data_dir):
    """Run `python -m tfxfer.train` with these words and this folder of prepared data, in a process of its own."""
    environment = os.environ | {"TFXFER_DATA": str(data_dir), "TF_CPP_MIN_LOG_LEVEL": "3"}
    argv = [sys.executable, "-m", "tfxfer.train", *map(str, words)]
    return subprocess.run(argv, capture_output=True, text=True, env=environment)


def config_of(recipe, **options):
    """Return a recipe's config with some options changed, by their flat names."""
    return with_options(RECIPES[recipe].config(), **options)


def check(recipe, **options):
    """Check a recipe's config as the command does before TensorFlow starts; return it."""
    config = config_of(recipe, **options)
    check_values(config)
    RECIPES[recipe].check(config)
    check_source_seeds(config)
    return config


def shown_images(comparison):
    """Return the images of a comparison's examples, uint8 [N, H, W, C], as the models got them."""
    import numpy as np
    from PIL import Image

    opened = [np.asarray(Image.open(io.BytesIO(base64.b64decode(each["png"])))) for each in comparison.examples]
    return np.stack([image if image.ndim == 3 else image[..., None] for image in opened])


class Quiet:
    """A run that keeps what is said, and has no folder.

    Attributes:
        said: The lines.
        metrics: The rows, each with its phase.
    """

    def __init__(self):
        self.said, self.metrics = [], []

    def say(self, message, style=""):
        self.said.append(message)

    def caution(self, message):
        self.said.append(message)

    def metric(self, phase, **values):
        self.metrics.append({"phase": phase, **values})

    def phase(self, name):
        return contextlib.nullcontext()

    def progress(self):
        from rich.progress import Progress

        return Progress(disable=True)
