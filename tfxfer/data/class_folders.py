"""Class folders of images: which folders are classes, which are splits, and what is left out.

ROOT/CLASS/… has no splits. ROOT/train/CLASS/… has, whatever exactly the split folders are called: `seg_train`,
`training_set`, `val2017`. A folder may stand once more in itself, as in `seg_train/seg_train/CLASS` of some archives. A
layout that can be read in two ways is refused: a split must not become a class. Hidden folders are left out.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tfxfer.errors import UserError, suggest
from tfxfer.given_files import shown

SUFFIXES = frozenset([".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff"])
SPLIT_NAMES = {  # column values -> split
    "train": "train",
    "training": "train",
    "restval": "train",  # Karpathy's name for the validation images of COCO that are trained on
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "validate": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
_EVALUATION = "evaluation"  # validation, or test where another folder is validation
_SPLIT_WORDS = SPLIT_NAMES | {  # words in folder names -> split
    "trn": "train",
    "tst": "test",
    "holdout": "test",
    "development": "validation",
    "eval": _EVALUATION,
    "evaluate": _EVALUATION,
    "evaluation": _EVALUATION,
}
_SPLIT_WORD = re.compile(rf"({'|'.join(sorted(_SPLIT_WORDS, key=len, reverse=True))})(?:set|data|images?|imgs?|split)?")
_SHOWN = 5  # names in one message
_OF_SYSTEMS = ("__MACOSX", "__pycache__", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found")


class ClassFolder(NamedTuple):
    """A folder that holds the images of a class; `split` is "" where the images are to be cut into splits."""

    path: Path
    split: str


def split_of_folder(name: str) -> str | None:
    """Return the split that a folder is named like: "train", "validation", "test" or "evaluation"; else None.

    >>> [split_of_folder(name) for name in ("seg_train", "Test-Set", "valid", "val2017", "eval", "trainers")]
    ['train', 'test', 'validation', 'validation', 'evaluation', None]
    """
    words = re.findall(r"[a-z]+", name.lower())
    found = {_SPLIT_WORDS[match[1]] for word in words if (match := _SPLIT_WORD.fullmatch(word))}
    return found.pop() if len(found) == 1 else None


def named_splits(values: Sequence[str], place: Callable[[int], str]) -> list[str]:
    """Return M split names of the values of a column or field; `place` names a row for the message."""
    known = {value: SPLIT_NAMES.get(value.strip().lower()) for value in set(values)}
    if None in known.values():
        row, value = next((row, value) for row, value in enumerate(values) if known[value] is None)
        raise UserError(f"{place(row)}: no split is called '{value}'; {suggest(value, SPLIT_NAMES)}")
    return [SPLIT_NAMES[value.strip().lower()] for value in values]


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder, sorted, without hidden ones.

    Raises:
        UserError: the folder may not be read.
    """
    try:
        with os.scandir(folder) as entries:  # knows folders without a look at each of a million images
            return sorted(folder / entry.name for entry in entries if entry.is_dir() and not _hidden(entry.name))
    except PermissionError as error:
        raise _unreadable(error) from error


def files_under(folder: Path) -> Iterator[Path]:
    """Yield the files under a folder, folder by folder; not those that are hidden or stand in a hidden folder."""
    for parent, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not _hidden(name))
        for name in sorted(names):
            if not name.startswith(".") and name.lower() not in ("thumbs.db", "desktop.ini"):
                yield Path(parent, name)


def find_class_folders(root: Path) -> tuple[list[ClassFolder], list[str]]:
    """Return the class folders under a folder, and notes on images that stand in none of them.

    Raises:
        UserError: there are no class folders, or it is not clear which folders are classes and which are splits.
    """
    tops = subfolders(root)
    if not tops:
        raise UserError(f"{root}: there are no class folders in it; put the images of each class into a sub-folder")
    inner = {top: [folder for folder in subfolders(_opened(top)) if _holds_images(folder)] for top in tops}
    named = {top: split_of_folder(top.name) for top in tops}
    with_classes = {split for top, split in named.items() if inner[top]}
    filled = [top for top in tops if inner[top] or _holds_images(top)]
    if not filled:
        raise UserError(f"{root}: there are no class folders with images under {_listed(top.name for top in tops)}")
    notes = _loose(root, root)
    if "train" in with_classes or (with_classes - {None} and all(named[top] for top in filled)):
        found, more = _split_folders(root, named, inner)
        return found, notes + more
    if {split_of_folder(top.name) for top in filled} >= {"train", "test"} and all(named[top] for top in filled):
        raise UserError(
            f"{root}: {_listed(top.name for top in filled)} are named like splits and hold no class folders; put the "
            "images of each class into a folder of its own, as in train/CLASS"
        )
    _refuse_classes_below(root, inner)
    return [ClassFolder(top, "") for top in tops], notes


def _split_folders(
    root: Path, named: dict[Path, str | None], inner: dict[Path, list[Path]]
) -> tuple[list[ClassFolder], list[str]]:
    """Return the class folders of all split folders, and notes on images that stand in none."""
    splits = _without_evaluation({top: split for top, split in named.items() if split})
    twice = [split for split, count in Counter(splits.values()).items() if count > 1]
    if twice:
        tops = _listed(top.name for top, split in splits.items() if split == twice[0])
        raise UserError(f"{root}: {tops} are all named like split '{twice[0]}'; put them together, or rename one")
    found, notes = [], []
    for top in named:
        if top not in splits and (inner[top] or (len(splits) == 1 and _holds_images(top))):
            raise UserError(
                f"{top}: is not named like a split, but stands beside {_listed(top.name for top in splits)}; name it "
                "train, validation or test, or move it away. If none of them is a split, put the images of each class "
                "straight into its folder"
            )
        if inner[top] and top in splits:
            opened = _opened(top)
            found += [ClassFolder(folder, splits[top]) for folder in subfolders(opened)]
            notes += _loose(opened, root)
        elif top in splits or _holds_images(top):
            notes.append(_without_classes(top, splits.get(top)))
    return found, notes


def _without_evaluation(splits: dict[Path, str]) -> dict[Path, str]:
    """Return top folder -> split, where folders of evaluation are validation, or test beside a validation folder."""
    only = "test" if "validation" in splits.values() else "validation"
    return {top: only if split == _EVALUATION else split for top, split in splits.items()}


def _without_classes(top: Path, split: str | None) -> str:
    count = sum(_is_image(path) for path in files_under(top))
    if not count:
        return f"'{shown(top.name)}' holds no image; {split} is cut from train"
    then = f"; {split} is cut from train" if split not in (None, "train") else ""
    return f"'{shown(top.name)}' has no class folders: its {count:,} images are left out{then}"


def _refuse_classes_below(root: Path, inner: dict[Path, list[Path]]) -> None:
    """Refuse top folders as classes where the classes seem to stand one level deeper."""
    if len(inner) == 1:
        (top, below), *_ = inner.items()
        if len(below) > 1:
            raise UserError(
                f"{root}: holds only the folder '{top.name}', and in it {_listed(path.name for path in below)}; "
                f"give folder:{_opened(top)} if those are the classes or the splits"
            )
        return
    names = Counter(path.name.casefold() for below in inner.values() for path in below)
    shared = sorted(name for name, count in names.items() if count > 1)
    if len(shared) > 1:
        tops = [top.name for top, below in inner.items() if {path.name.casefold() for path in below} & set(shared)]
        raise UserError(
            f"{root}: {_listed(tops)} hold the same folders ({_listed(shared)}), so they do not look like classes. "
            "Name splits train, validation and test, with the classes below them; otherwise put the images of each "
            "class straight into its folder"
        )


def _opened(folder: Path) -> Path:
    """Return the folder that holds the class folders: this one, or the only one in it when it only wraps that."""
    while True:
        if any(map(_is_image, folder.iterdir())):
            return folder
        inside = [path for path in subfolders(folder) if _holds_images(path)]
        if len(inside) != 1:
            return folder
        wrapped = inside[0]
        classes = sum(map(_holds_images, subfolders(wrapped)))
        if classes < 2 and split_of_folder(wrapped.name) is None and wrapped.name.lower() != folder.name.lower():
            return folder
        folder = wrapped


def _loose(folder: Path, root: Path) -> list[str]:
    """Return a note on the images that stand beside the class folders."""
    images = [path for path in sorted(folder.iterdir()) if _is_image(path)]
    if not images:
        return []
    first = shown(images[0].relative_to(root).as_posix())
    return [f"{len(images):,} images beside the class folders are left out (e.g. {first})"]


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and not path.is_dir()


def _holds_images(folder: Path) -> bool:
    return any(path.suffix.lower() in SUFFIXES for path in files_under(folder))


def _hidden(name: str) -> bool:
    return name.startswith(".") or name in _OF_SYSTEMS


def _listed(names: Iterable[str]) -> str:
    all_names = list(names)
    more = f" and {len(all_names) - _SHOWN} more" if len(all_names) > _SHOWN else ""
    return ", ".join(map(shown, all_names[:_SHOWN])) + more


def _refuse(error: OSError) -> None:
    raise _unreadable(error) from error


def _unreadable(error: OSError) -> UserError:
    return UserError(f"{error.filename}: cannot be read ({error.strerror}); change its permissions, or move it away")
