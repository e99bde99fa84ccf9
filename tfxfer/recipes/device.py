"""Device, precision and seeds: what is set once, before the first model is built."""

import keras
import tensorflow as tf

from tfxfer.config import RunConfig
from tfxfer.errors import UserError


def prepare(config: RunConfig) -> str:
    """Make TensorFlow use the device, precision and seed of a config; return the device's name for the log.

    Raises:
        UserError: a GPU was asked for by name and TensorFlow sees none (or fewer).
    """
    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(config.precision)
    gpus = tf.config.list_physical_devices("GPU")
    kind, _, number = config.device.partition(":")
    if kind == "gpu":
        index = int(number or 0)
        if index >= len(gpus):
            raise UserError(
                f"--device {config.device}: TensorFlow sees {len(gpus)} GPU(s) here; use --device auto or cpu"
            )
        _show_only(gpus[index : index + 1])
        return f"GPU {index}"
    if kind == "cpu":
        _show_only([])
    elif gpus:
        return f"{len(gpus)} GPU(s)"
    return f"CPU ({tf.config.threading.get_intra_op_parallelism_threads() or 'all'} threads)"


def _show_only(gpus: list) -> None:
    try:
        tf.config.set_visible_devices(gpus, "GPU")
    except RuntimeError as error:  # TensorFlow has started in this process already
        raise UserError("--device must be chosen before TensorFlow starts; use a fresh process") from error
