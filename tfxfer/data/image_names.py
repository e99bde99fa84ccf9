"""Find the images that a file names: in its folder or near it, whatever the case, the slashes and the ending.

A name that is there as it is written is taken as it is. For the others all images in the folder are listed once, and
compared without case: `IMAGES\\A.JPG` with `images/a.jpg`, `n327615` with `n327615.jpg`, `/export/a.jpg` with `a.jpg`.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from tfxfer.data.class_folders import SUFFIXES, files_under, subfolders
from tfxfer.data.spec import given_path
from tfxfer.errors import UserError
from tfxfer.given_files import shown

MOST_LISTED = 500_000  # files of a folder that are looked at
_OF_IMAGES = re.compile(  # names of folders that belong to a file beside them, and not to another data set
    r".*(images?|imgs?|photos?|photographs|pics?|pictures?|frames|figures|scans)|jpe?gs?|pngs?|(train|val|test)\d*|"
    r"(flickr|flicker|coco)[\w-]*",
    re.IGNORECASE,
)
_COCO = re.compile(r"coco_[a-z]+\d*_(\d{12})")  # COCO's names of 2014; those of 2017 are the number alone


class FoundImages:
    """Where the M images that a file names are.

    Attributes:
        root: The folder that was searched.
        paths: M paths, or None where an image is not there.
        why: Row -> why there is none, and what to do.
    """

    def __init__(self, root: Path, names: Sequence[str], near: Sequence[Path] = ()) -> None:
        """Look for names in a folder, in all folders in it, and then in other folders near it."""
        self.root = root
        self.why: dict[int, str] = {}
        self.paths: list[Path | None] = [
            path if os.path.isfile(path := root / name) else None  # noqa: PTH113 - `Path.is_file` fails for long names
            for name in names
        ]
        lost = [row for row, path in enumerate(self.paths) if path is None and names[row]]
        if not lost:
            return
        sample = lost[:: max(1, len(lost) // 20)]
        listed = ListedImages(root)
        if not any(listed.matching(names[row]) for row in sample):
            for folder in near:
                other = ListedImages(folder)
                if any(other.matching(names[row]) for row in sample):
                    self.root, listed = folder, other
                    break
        for row in lost:
            self._look_up(row, names[row], listed)

    @property
    def matched(self) -> bool:
        """Whether a name can mean an image that is there, or several."""
        return any(self.paths) or any(why.startswith("is it ") for why in self.why.values())

    def kept(self, rows: Sequence[int]) -> "FoundImages":
        """Return what was found for some of the names."""
        some = object.__new__(FoundImages)
        some.root, some.paths = self.root, [self.paths[row] for row in rows]
        some.why = {place: self.why[row] for place, row in enumerate(rows) if row in self.why}
        return some

    def _look_up(self, row: int, name: str, listed: "ListedImages") -> None:
        found = listed.matching(name)
        if len(found) == 1:
            self.paths[row] = found[0]
        elif found:
            both = " and ".join(shown(path.relative_to(self.root).as_posix()) for path in found[:2])
            self.why[row] = f"is it {both} in {self.root}? Write the folder before the name"
        elif _is_something(self.root / name):
            self.paths[row] = self.root / name  # a folder, a device: its reader says so
        else:
            self.why[row] = (
                f"is not in {self.root}, nor in a folder in it; put it there, or name its folder with --image-dir "
                "/ image_dir=FOLDER"
            )


def _is_something(path: Path) -> bool:
    """Return whether a path leads to anything, or cannot be asked for, as when it is too long."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError:
        return True
    return True


class ListedImages:
    """The images in a folder and in the folders in it, by their names without case."""

    def __init__(self, root: Path) -> None:
        """List them, once."""
        self.by_name: dict[str, list[Path]] = defaultdict(list)  # with and without its ending
        readable = os.access(root, os.R_OK | os.X_OK)
        for _, path in zip(range(MOST_LISTED), _images_under(root) if readable else ()):
            name = path.name.lower()
            for key in {name, _without_ending(name)}:
                self.by_name[key].append(path)

    def matching(self, name: str) -> list[Path]:
        """Return the images that a name can mean; of several those that share most of its folders."""
        parts = [part for part in name.lower().split("/") if part not in ("", ".", "..")]
        if not parts:
            return []
        last = parts[-1]
        number = _COCO.match(last)
        keys = [last, _without_ending(last), *([number[1], str(int(number[1]))] if number else [])]
        found = next((self.by_name[key] for key in keys if key in self.by_name), [])
        if len(found) > 1:
            shared = [_shared_end(parts[:-1], path) for path in found]
            found = [path for path, count in zip(found, shared) if count == max(shared)]
        return found


def _images_under(root: Path) -> Iterator[Path]:
    return (path for path in files_under(root) if path.suffix.lower() in SUFFIXES or not path.suffix)


def _without_ending(name: str) -> str:
    stem, dot, ending = name.rpartition(".")
    return stem if dot and f".{ending}" in SUFFIXES else name


def _shared_end(folders: list[str], path: Path) -> int:
    """Return how many folders before the name are the same, from the last one."""
    count = 0
    for one, other in zip(reversed(folders), reversed([part.lower() for part in path.parts[:-1]])):
        if one != other:
            break
        count += 1
    return count


def written(name: str) -> str:
    """Return the name of an image as a path: without blanks at its ends, with slashes, in its shortest form.

    >>> written(" images" + chr(92) + "a.jpg")
    'images/a.jpg'
    """
    name = name.strip()
    if "\\" in name and "/" not in name:
        name = name.replace("\\", "/")
    return os.path.normpath(name) if name else ""


def find_images(file: Path, names: Sequence[str], image_dir: str | None = None) -> FoundImages:
    """Find the images that a file names.

    Args:
        file: The file that names the images, or a folder of such files.
        names: The names, M paths as `written` returns them.
        image_dir: The folder, as a path from here or from the file's folder. Without it the file's own folder, one
            in it, or one beside it (`annotations/` beside `train2017/`) is taken: the first with the most of
            up to 20 names spread over the file.

    Raises:
        UserError: `image_dir` is no folder.
    """
    parent = file if file.is_dir() else file.parent
    if image_dir:
        candidates = (given_path(image_dir), parent / image_dir)
        folder = next((folder for folder in candidates if os.path.isdir(folder)), None)  # noqa: PTH112
        if folder is None:
            raise UserError(f"image_dir='{image_dir}': is no folder, neither here nor beside {file.name}")
        return FoundImages(folder, names)
    sample = names[:: max(1, len(names) // 20)][:20]

    def found(folder: Path) -> int:  # Path.is_file fails for a name that is too long, as a text taken for a path is
        return sum(os.path.isfile(folder / name) for name in sample)  # noqa: PTH113

    folders = [parent, *(inner for top in _readable(parent) for inner in (top, *_readable(top)))]
    if any(map(found, folders)):
        best = max(folders, key=found)
        return FoundImages(best, names) if found(best) == len(sample) else _widened(parent, best, names)
    inside = FoundImages(parent, names)
    beside = [folder for folder in _readable(parent.resolve().parent) if _OF_IMAGES.fullmatch(folder.name)]
    if inside.matched or not beside:  # under another spelling: better than the same spelling in another folder
        return inside
    if any(map(found, beside)):
        return FoundImages(max(beside, key=found), names)
    return FoundImages(parent, names, [folder for folder in beside if folder != parent.resolve()])


def _widened(parent: Path, best: Path, names: Sequence[str]) -> FoundImages:
    """Look in the folder of most images, and for those that are not there in all folders beside the file."""
    found = FoundImages(best, names)
    if best != parent and None in found.paths:
        lost = [row for row, path in enumerate(found.paths) if path is None and names[row]]
        others = FoundImages(parent, [names[row] for row in lost])
        for place, row in enumerate(lost):
            found.paths[row] = others.paths[place]
            found.why.pop(row, None)
            if place in others.why:
                found.why[row] = others.why[place]
    return found


def _readable(folder: Path) -> list[Path]:
    """Return the folders in a folder; none if it may not be read, since images are not looked for there."""
    return subfolders(folder) if os.access(folder, os.R_OK | os.X_OK) else []
