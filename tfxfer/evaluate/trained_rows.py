"""The rows that a run's model was trained on: their digests in the run's folder, to find them in other data."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfxfer.cache import atomic_file
from tfxfer.own_files import read_own_npz

FILE = "trained_on.npz"
REMEDY = "remove it, and rows that the run was trained on can no longer be told from others; or run again"


@dataclass(frozen=True)
class TrainedRows:
    """Digests of rows, uint64 as `Dataset.digests` gives them.

    Attributes:
        train: Rows that the model's weights were fitted to.
        validation: Rows that its settings were chosen by.
    """

    train: np.ndarray
    validation: np.ndarray

    def save(self, folder: Path) -> None:
        """Write `trained_on.npz` into a run's folder, whole or not at all."""
        with atomic_file(folder / FILE) as path, path.open("wb") as file:
            np.savez(file, train=np.unique(self.train), validation=np.unique(self.validation))

    @classmethod
    def load(cls, folder: Path) -> "TrainedRows | None":
        """Return what `save` wrote; None where the folder does not have it, as those of older versions.

        Raises:
            DamagedFile: The file is damaged.
        """
        try:
            found = read_own_npz(folder / FILE, REMEDY, ("train", "validation"))
        except FileNotFoundError:
            return None
        return cls(found["train"], found["validation"])

    def find(self, digests: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return bool [N] twice: which rows the model was trained on, and which others it was validated on.

        >>> TrainedRows(np.array([1, 2]), np.array([2, 3])).find(np.array([1, 2, 3, 4]))
        (array([ True,  True, False, False]), array([False, False,  True, False]))
        """
        trained = np.isin(digests, self.train)
        return trained, np.isin(digests, self.validation) & ~trained
