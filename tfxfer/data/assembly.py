"""What the loaders share: complete splits, class checks, and making a `Dataset`."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from tfxfer.data.dataset import Dataset, Split
from tfxfer.data.image_files import ImageInfo
from tfxfer.data.overlap import digests_of
from tfxfer.data.rows import ImageFiles, Rows
from tfxfer.data.splits import SHARES, SPLITS, class_order, cut, same_text
from tfxfer.errors import UserError, suggest


def image_digests(names: list[str], infos: list[ImageInfo]) -> list[str]:
    """Return what an image adds to the fingerprint: its path within the data set, and the hash of its bytes.

    Of a path from the root of the disk its last part counts: the folder is that of one machine.
    """
    paths = [name.rpartition("/")[2] if name.startswith("/") else name for name in names]
    return [f"{name}\0{info.sha256}" for name, info in zip(paths, infos)]


def assemble(
    name: str,
    columns: Mapping[str, list | np.ndarray],
    labels: list[str] | None,
    files: ImageFiles | None,
    digests: list[str] | None,
    index: dict[str, np.ndarray],
    notes: list[str],
    references: Sequence[Sequence[str]] = (),
) -> Dataset:
    """Make a `Dataset` of a table of M rows.

    Args:
        name: The spec.
        columns: key -> M values.
        labels: M class names, or None.
        files: Image files.
        digests: M strings that represent the images in the fingerprint.
        index: split -> rows.
        notes: See `Dataset`.
        references: M lists of captions, where examples have several.
    """
    class_names = class_order(labels) if labels is not None else ()
    if labels is not None:
        columns = {**columns, "label": numbered(labels, class_names)}
    notes = [*notes, *notes_on_classes(class_names)]
    whole = Rows.of(columns, files)
    parts: dict[str, Split] = {split: whole.take(index[split]) for split in SPLITS}
    fingerprint = fingerprint_of(parts, class_names, digests)
    hashes = [digest.split("\0")[1] for digest in digests or []]  # as `image_digests` joins them
    return Dataset(
        name, class_names, parts, fingerprint, tuple(notes), tuple(map(tuple, references)), digests_of(hashes)
    )


def notes_on_classes(class_names: Iterable[str]) -> list[str]:
    """Return a note when names of classes differ in case or blanks only: they may be one class written in two ways.

    >>> notes_on_classes(["Cat", "cat", "dog"])
    ["classes differ in case or blanks only: 'Cat' and 'cat'; write them alike if they are the same"]
    """
    alike: dict[str, list[str]] = defaultdict(list)
    for name in class_names:
        alike[same_text(name)].append(name)
    groups = [" and ".join(map(repr, names)) for names in alike.values() if len(names) > 1]
    if not groups:
        return []
    more = f" and {len(groups) - 5} more" if len(groups) > 5 else ""
    return [
        f"classes differ in case or blanks only: {', '.join(groups[:5])}{more}; write them alike if they are the same"
    ]


def numbered(labels: list[str], class_names: tuple[str, ...]) -> np.ndarray:
    """Return int32 [M], the place of each label among the class names."""
    number = {name: i for i, name in enumerate(class_names)}
    return np.array([number[label] for label in labels], np.int32)


def complete_splits(
    keys: list[str], labels: list[str] | None, given: list[str], place: str, seed: int, draw: bool = True
) -> dict[str, np.ndarray]:
    """Return split -> rows; what `given` does not name is cut from the rest, or from train, by content.

    With `draw` off nothing is cut: a row without a split is in test, and a split may be empty.
    """
    assigned = np.array(given)
    if not draw:
        assigned = np.where(assigned == "", "test", assigned)
        return {split: np.flatnonzero(assigned == split) for split in SPLITS}
    named = [split for split in SPLITS if (assigned == split).any()]
    if named and "train" not in named:
        raise UserError(
            f"{place}: no example is in split 'train', only in {', '.join(named)}; name the training examples"
        )
    pool = np.flatnonzero(assigned == ("train" if named else ""))
    missing = [split for split in SPLITS if split not in named and split != "train"]
    index = {split: np.flatnonzero(assigned == split) for split in named}
    if missing:
        shares = {"train": 1 - sum(SHARES[split] for split in missing), **{s: SHARES[s] for s in missing}}
        salted = [f"{seed} {keys[i]}" if seed else keys[i] for i in pool]
        chosen = cut(salted, [labels[i] for i in pool] if labels else None, shares, place)
        index |= {split: pool[rows] for split, rows in chosen.items()}
    return index


def check_classes(labels: list[str] | None, index: dict[str, np.ndarray], place: Callable[[int], str]) -> None:
    """Refuse a single class, and a class that is not in train; `place` names a row for the message.

    Where no row is in train, nothing is learned from the data, and any classes will do.
    """
    if labels is None or not len(index["train"]):
        return
    if len(set(labels)) < 2:
        raise UserError(f"{place(0)}: every example is of class '{labels[0]}', as this one; a task needs two classes")
    known = {labels[i] for i in index["train"]}
    for split in ("validation", "test"):
        unknown = next((i for i in index[split] if labels[i] not in known), None)
        if unknown is not None:
            count = Counter(labels[i] for i in index[split])[labels[unknown]]
            raise UserError(
                f"{place(int(unknown))}: class '{labels[unknown]}' is in {split} ({count} examples) but "
                f"not in train; {suggest(labels[unknown], sorted(known))} Add training examples of it, or remove it"
            )


def fingerprint_of(parts: dict[str, Split], class_names: tuple[str, ...], digests: list[str] | None) -> str:
    """Return 16 hexadecimal digits that change with any content, order, split or label."""
    total = hashlib.sha256("\0".join(class_names).encode("utf-8", "surrogatepass"))

    def add(values: np.ndarray) -> None:
        if values.dtype != object:
            total.update(np.ascontiguousarray(values).tobytes())
            return
        total.update(np.array([len(value) for value in values], np.int64).tobytes())
        total.update(b"".join(values))

    for split, part in parts.items():
        total.update(f"{split} {len(part)}".encode())
        table = part if isinstance(part, Rows) else part.table
        for key in table.columns:
            if key == "image" and digests is not None:
                continue
            total.update(key.encode())
            add(table.column(key))
        if digests is not None:
            add(np.array([digests[i].encode("utf-8", "surrogatepass") for i in table.index], object))
    return total.hexdigest()[:16]
