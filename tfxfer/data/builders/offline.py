"""Base class of the builders: nothing is downloaded, and of two processes preparing one data set, one waits."""

import errno
import shutil
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from tfxfer.cache import full_disk_named, locked

RELEASE_NOTES = {"1.0.0": "First version."}


class OfflineBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """A builder that makes its examples from installed packages.

    Attributes:
        views: Configuration of a spec -> key of an example -> feature, where
            several specs are views of one prepared set.
    """

    views: ClassVar[dict[str, dict[str, str]]] = {}
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = RELEASE_NOTES

    def is_prepared(self) -> bool:
        """Return whether all files are there; TFDS moves a finished folder into place in one step."""
        files = [path for split in self.info.splits.values() for path in split.filepaths]
        return (Path(self.data_dir) / "dataset_info.json").exists() and all(path.exists() for path in files)

    def download_and_prepare(self, **options: Any) -> None:
        """Prepare once; a second process waits for the first. The unfinished files of a killed process are removed."""
        folder = Path(self.data_dir)
        with locked(folder), full_disk_named(folder):
            if self.is_prepared():
                self.info.read_from_directory(folder)  # another process has prepared it meanwhile
                return
            for left in [folder, *folder.parent.glob(f"*incomplete*{folder.name}")]:
                shutil.rmtree(left, ignore_errors=not left.exists())
            try:
                super().download_and_prepare(**options)
            except Exception as error:
                if "No space left" not in str(error):  # TFDS wraps it in errors of several types
                    raise
                raise OSError(errno.ENOSPC, "No space left on device") from error
