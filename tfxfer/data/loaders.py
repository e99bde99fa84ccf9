"""`load(spec)`: one function for each kind of source, and what they share."""

import hashlib
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

from tfxfer.cache import data_dir as default_data_dir
from tfxfer.data.dataset import Dataset, Split
from tfxfer.data.pictures import SUFFIXES, Facts, inspect
from tfxfer.data.rows import Files, Rows
from tfxfer.data.spec import CONTENT_ROLES, SPLIT_NAMES, Spec, check, existing_file, find_columns
from tfxfer.data.splits import SHARES, SPLITS, class_order, cut, same_text
from tfxfer.data.tables import read_header, read_table
from tfxfer.errors import UserError, suggest


def load(
    spec: str,
    *,
    text: str | None = None,
    label: str | None = None,
    image: str | None = None,
    question: str | None = None,
    answer: str | None = None,
    caption: str | None = None,
    data_dir: str | Path | None = None,
    download: bool = False,
    seed: int = 0,
) -> Dataset:
    """Load the data set that a spec names.

    Args:
        spec: "glyphs", "glyphs/by_face", "names", "languages", "languages/latin", "tfds:NAME[:SPLIT]",
            "folder:PATH" (class folders of pictures, perhaps under train/validation/test), "csv:PATH" or
            "jsonl:PATH" (pictures are paths beside the file, or in one folder beside it).
        text: Column to use as text; several, as "title,description", are joined by a blank. Without it the
            usual names are found by themselves; so too for the following.
        label: Column to use as label. For "glyphs" also a fact: "script", "case", "diacritic", "face", …
        image: Column of pictures.
        question: Column of questions.
        answer: Column of answers.
        caption: Column of captions.
        data_dir: Folder for prepared data; default `$TFXFER_DATA` or the user's cache folder.
        download: Whether a TFDS data set may be downloaded.
        seed: Another seed cuts other splits, where the source names none.

    Returns:
        A `Dataset`. Splits that the source does not name are cut 80/10/10 by a hash of the content (the
        picture's bytes, else the text without case): equal content never falls into two splits, in whatever
        order it comes. Empty texts are kept and noted.

    Raises:
        UserError: when something is missing or cannot be used, naming file, row and remedy.
    """
    columns = {"text": text, "label": label, "image": image}
    columns |= {"question": question, "answer": answer, "caption": caption}
    parsed = check(spec, data_dir=data_dir, download=download, **columns)
    given = {role: name for role, name in columns.items() if name}
    folder = default_data_dir(data_dir)
    if parsed.kind in LOADERS:
        return LOADERS[parsed.kind](parsed, given, folder, seed)
    from tfxfer.data.prepared import from_tfds  # slow to import, and tables do not need it

    return from_tfds(parsed, given, folder, seed, download)


def from_folder(spec: Spec, given: dict[str, str], folder: Path, seed: int) -> Dataset:
    """Load class folders of pictures: PATH/CLASS/…, or PATH/train/CLASS/… and so on."""
    root = Path(spec.name).expanduser()
    tops = _subfolders(root)
    named = {top: SPLIT_NAMES.get(top.name.lower()) for top in tops}
    has_splits = "train" in named.values() and all(named.values())
    refused: list[Path] = []
    paths, labels, splits = [], [], []
    for top in tops:
        for class_folder in _subfolders(top) if has_splits else [top]:
            found = list(_pictures(class_folder, refused))
            if not found:
                raise UserError(f"{class_folder}: there is no picture in this class folder; add some or remove it")
            paths += found
            labels += [class_folder.name] * len(found)
            splits += [(named[top] or "") if has_splits else ""] * len(found)
    if not paths:
        raise UserError(f"{root}: there are no class folders with pictures under {', '.join(t.name for t in tops)}")
    _warn_refused(refused, root)
    relative = [path.relative_to(root).as_posix() for path in paths]
    facts = inspect(paths, relative, root, folder)
    files = Files.of(map(str, paths), facts)
    notes = [f"{len(refused)} files that are not pictures were left out"] if refused else []
    index = complete_splits([fact.sha256 for fact in facts], labels, splits, str(root), seed)
    check_classes(labels, index, relative.__getitem__)
    return assemble(spec.source, {}, labels, files, _picture_digests(relative, facts), index, notes)


def _subfolders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith((".", "__")))


def _pictures(folder: Path, refused: list[Path]) -> Iterable[Path]:
    """Yield the pictures under a class folder in order; other files, but for hidden ones, go into `refused`."""
    for path in sorted(folder.rglob("*")):
        if path.name.startswith(".") or path.name.lower() in ("thumbs.db", "desktop.ini") or path.is_dir():
            continue
        if path.suffix.lower() in SUFFIXES:
            yield path
        else:
            refused.append(path)


def _warn_refused(refused: list[Path], root: Path) -> None:
    if refused:
        shown = ", ".join(path.relative_to(root).as_posix() for path in refused[:5])
        more = f" and {len(refused) - 5} more" if len(refused) > 5 else ""
        warnings.warn(
            f"{root}: {len(refused)} files are refused, as their endings are not those of pictures we read "
            f"({' '.join(sorted(SUFFIXES))}): {shown}{more}",
            stacklevel=4,
        )


def from_table(spec: Spec, given: dict[str, str], folder: Path, seed: int) -> Dataset:
    """Load a CSV or JSON-lines file."""
    path = existing_file(spec)
    header = read_header(path, spec.kind)
    roles = find_columns(given, header, path.name)
    split_column = next((column for column in header if column.strip().lower() == "split"), None)
    wanted = [*dict.fromkeys(c for columns in roles.values() for c in columns)]
    table, lines = read_table(path, spec.kind, wanted + ([split_column] if split_column else []))
    joined = {
        role: [" ".join(values) for values in zip(*(table[column] for column in columns))]
        for role, columns in roles.items()
    }
    labels = joined.pop("label", None)
    _refuse_missing(labels, roles.get("label", ("",))[0], path, lines)
    splits = _named_splits(table[split_column], path, lines) if split_column else [""] * len(lines)
    pictures = joined.pop("image", None)
    files, digests, keys = None, None, _content_keys(joined)
    if pictures is not None:
        places = [f"{path.name} row {line}: picture '{name}'" for line, name in zip(lines, pictures)]
        beside = _picture_folder(path.parent, pictures)
        facts = inspect([beside / name for name in pictures], places, beside, folder)
        files = Files.of([str(beside / name) for name in pictures], facts)
        digests, keys = _picture_digests(pictures, facts), [fact.sha256 for fact in facts]
    notes = [
        f"{count:,} rows have an empty {role}" for role in joined if (count := sum(not v.strip() for v in joined[role]))
    ]
    index = complete_splits(keys, labels, splits, path.name, seed)
    check_classes(labels, index, lambda row: f"{path.name} row {lines[row]}")
    return assemble(spec.source, joined, labels, files, digests, index, notes)


def _picture_folder(parent: Path, names: list[str]) -> Path:
    """Return the folder of the file, or a sub-folder such as images/ when the first pictures are there."""
    near = [parent, *_subfolders(parent)]
    return next((f for f in near if any((f / name).is_file() for name in names[:20])), parent)


def _refuse_missing(values: list[str] | None, column: str, path: Path, lines: list[int]) -> None:
    row = next((i for i, value in enumerate(values or []) if not value.strip()), None)
    if row is not None:
        raise UserError(f"{path.name} row {lines[row]}: '{column}' is empty; give the row a label or remove it")


def _named_splits(values: list[str], path: Path, lines: list[int]) -> list[str]:
    for value, line in zip(values, lines):
        if value.strip().lower() not in SPLIT_NAMES:
            raise UserError(f"{path.name} row {line}: no split is called '{value}'; {suggest(value, SPLIT_NAMES)}")
    return [SPLIT_NAMES[value.strip().lower()] for value in values]


def _content_keys(columns: dict[str, list[str]]) -> list[str]:
    """Return what decides a row's split when there is no picture: its first text, compared without case."""
    role = next((role for role in CONTENT_ROLES if role in columns), None)
    return [same_text(value) for value in columns[role]] if role else []


def _picture_digests(names: list[str], facts: list[Facts]) -> list[str]:
    """Return what a picture adds to the fingerprint: its path within the set, and the hash of its bytes."""
    return [f"{name}\0{fact.sha256}" for name, fact in zip(names, facts)]


def assemble(
    name: str,
    columns: Mapping[str, list | np.ndarray],
    labels: list[str] | None,
    files: Files | None,
    digests: list[str] | None,
    index: dict[str, np.ndarray],
    notes: list[str],
) -> Dataset:
    """Make a `Dataset` of a table of M rows.

    Args:
        name: The spec.
        columns: key -> M values.
        labels: M class names, or None.
        files: Picture files.
        digests: M strings that stand for the pictures in the fingerprint.
        index: split -> rows.
        notes: What a person should know.
    """
    class_names = class_order(labels) if labels is not None else ()
    if labels is not None:
        columns = {**columns, "label": numbered(labels, class_names)}
    whole = Rows.of(columns, files)
    parts: dict[str, Split] = {split: whole.take(index[split]) for split in SPLITS}
    return Dataset(name, class_names, parts, fingerprint_of(parts, class_names, digests), tuple(notes))


def numbered(labels: list[str], class_names: tuple[str, ...]) -> np.ndarray:
    """Return int32 [M], the place of each label among the class names."""
    number = {name: i for i, name in enumerate(class_names)}
    return np.array([number[label] for label in labels], np.int32)


def complete_splits(
    keys: list[str], labels: list[str] | None, given: list[str], place: str, seed: int
) -> dict[str, np.ndarray]:
    """Return split -> rows; what `given` does not name is cut from the rest, or from train, by content."""
    where = np.array(given)
    named = [split for split in SPLITS if (where == split).any()]
    if named and "train" not in named:
        raise UserError(
            f"{place}: no example is in split 'train', only in {', '.join(named)}; name the training examples"
        )
    pool = np.flatnonzero(where == ("train" if named else ""))
    missing = [split for split in SPLITS if split not in named and split != "train"]
    index = {split: np.flatnonzero(where == split) for split in named}
    if missing:
        shares = {"train": 1 - sum(SHARES[split] for split in missing), **{s: SHARES[s] for s in missing}}
        salted = [f"{seed} {keys[i]}" if seed else keys[i] for i in pool]
        chosen = cut(salted, [labels[i] for i in pool] if labels else None, shares, place)
        index |= {split: pool[rows] for split, rows in chosen.items()}
    return index


def check_classes(labels: list[str] | None, index: dict[str, np.ndarray], place: Callable[[int], str]) -> None:
    """Refuse one class only, and a class that train does not show; `place` names a row for the message."""
    if labels is None:
        return
    if len(set(labels)) < 2:
        raise UserError(f"{place(0)}: every example is of class '{labels[0]}', as this one; a task needs two classes")
    taught = {labels[i] for i in index["train"]}
    for split in ("validation", "test"):
        stranger = next((i for i in index[split] if labels[i] not in taught), None)
        if stranger is not None:
            count = Counter(labels[i] for i in index[split])[labels[stranger]]
            raise UserError(
                f"{place(int(stranger))}: class '{labels[stranger]}' is in {split} ({count} examples) but "
                f"not in train; {suggest(labels[stranger], sorted(taught))} Add training examples of it, or remove it"
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
        facts = part if isinstance(part, Rows) else part.facts
        for key in facts.columns:
            if key == "image" and digests is not None:
                continue
            total.update(key.encode())
            add(facts.column(key))
        if digests is not None:
            add(np.array([digests[i].encode("utf-8", "surrogatepass") for i in facts.index], object))
    return total.hexdigest()[:16]


LOADERS: dict[str, Callable[[Spec, dict[str, str], Path, int], Dataset]] = {
    "folder": from_folder,
    "csv": from_table,
    "jsonl": from_table,
}
