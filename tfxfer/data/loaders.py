"""`load(spec)`: one function for each kind of source."""

import json
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from tfxfer.cache import DataDirs, data_dirs
from tfxfer.data.assembly import assemble, check_classes, complete_splits, image_digests
from tfxfer.data.bad_items import check_mode
from tfxfer.data.captions import from_captions
from tfxfer.data.cells import class_name
from tfxfer.data.class_folders import SUFFIXES, files_under, find_class_folders
from tfxfer.data.dataset import Dataset
from tfxfer.data.fusion.join import join
from tfxfer.data.fusion.mix import mix
from tfxfer.data.fusion.query import parse_query
from tfxfer.data.image_files import inspect_images
from tfxfer.data.json_files import forget
from tfxfer.data.rows import ImageFiles
from tfxfer.data.spec import CONTENT_ROLES, FUSED, Spec, check, existing_file, given_path, parse
from tfxfer.data.splits import same_text
from tfxfer.data.table_rows import bad_items_of, read_table_rows
from tfxfer.data.text_files import read_lines
from tfxfer.errors import UserError
from tfxfer.given_files import shown

ANSWERS = "answers"  # column of all answers that people gave to a question, a JSON list


def load(
    spec: str,
    *,
    text: str | None = None,
    label: str | None = None,
    image: str | None = None,
    question: str | None = None,
    answer: str | None = None,
    caption: str | None = None,
    image_dir: str | None = None,
    data_dir: str | Path | None = None,
    download: bool = False,
    seed: int = 0,
    draw_splits: bool = True,
    drop_empty: Sequence[str] = (),
    bad_items: str = "refuse",
) -> Dataset:
    """Load the data set that a spec names.

    Args:
        spec: "glyphs", "glyphs/by_face", "names", "languages", "languages/latin", "tfds:NAME[:SPLIT]",
            "folder:PATH" (class folders of images, perhaps under train/validation/test, see
            `tfxfer.data.class_folders`), "csv:PATH" or "jsonl:PATH" (images are paths beside the file, or in one folder
            beside it), "captions:PATH" (image and caption in any form of docs/formats.md; all rows of an image are one
            example), "coco:PATH" (captions in COCO's JSON), "vqa:PATH" (questions about images), "parquet:PATH" (a file
            or a folder), "text:PATH" (one text a line), "fuse:A+B?on=COLUMN" (pairs
            of two sets) or "fuse:A+B?mix=0.7,0.3" (a mixture), see docs/fuse.md.
        text: Column to use as text; several, as "title,description", are joined by a blank. Without it a
            column with one of the usual names is taken; the same holds for the following.
        label: Column to use as label: names or, in JSON, whole numbers, true and false. Blanks at the ends do not
            count, nor whether a letter with an accent is one character or two. For "glyphs" also "script", "case",
            "diacritic", "face", …
        image: Column of images, as paths.
        question: Column of questions.
        answer: Column of answers; of a JSON list the commonest is taken.
        caption: Column of captions.
        image_dir: Folder of the images that a file names, if it is not found beside the file.
        data_dir: Folder for prepared data, or several as in a PATH, see `tfxfer.cache.data_dirs`; default
            `$TFXFER_DATA` or the user's cache folder.
        download: Whether a TFDS data set may be downloaded.
        seed: Another seed gives other splits, where the source names none.
        draw_splits: Off: nothing is cut, and examples whose split the source does not name are all in "test". For data
            that are only scored.
        drop_empty: Of a table, roles such as "image" and "text": rows in which one of them is empty are left out and
            noted. By default an empty image is refused, and an empty text is kept.
        bad_items: "skip" leaves out images that are missing or cannot be decoded, and rows in which something is empty
            or missing, with a note. "refuse" names them, and lists all of them in a file if there are many.

    Returns:
        A `Dataset`. Splits that the source does not name are cut 80/10/10 by a hash of the content (the image's bytes,
        else the text without case): equal content never falls into two splits, whatever the order. Empty texts are kept
        and noted.

    Raises:
        UserError: when something is missing or cannot be used, naming file, row and remedy.
    """
    columns = {"text": text, "label": label, "image": image}
    columns |= {"question": question, "answer": answer, "caption": caption}
    parsed = check(spec, data_dir=data_dir, download=download, image_dir=image_dir, **columns)
    parsed = replace(parsed, image_dir=image_dir, draw_splits=draw_splits, drop_empty=tuple(drop_empty))
    parsed = replace(parsed, bad_items=check_mode(bad_items))
    given = {role: name for role, name in columns.items() if name}
    try:
        return _loaded(parsed, given, data_dir, seed, download)
    finally:
        forget()


def _loaded(parsed: Spec, given: dict[str, str], data_dir: str | Path | None, seed: int, download: bool) -> Dataset:
    """Load what was checked."""
    if parsed.kind == FUSED:

        def part(spec: str, columns: dict[str, str]) -> Dataset:
            return _loaded(replace(parse(spec), draw_splits=parsed.draw_splits), columns, data_dir, seed, download)

        query = parse_query(parsed.source)
        if query.way == "mix":
            return mix(query, part, seed, parsed.draw_splits)
        return join(query, part, seed, parsed.draw_splits, {"data_dir": data_dir, "download": download})
    caches = data_dirs(data_dir)
    if parsed.kind in LOADERS:
        return LOADERS[parsed.kind](parsed, given, caches, seed)
    from tfxfer.data.prepared import from_tfds  # slow to import, and tables do not need it

    return from_tfds(parsed, given, caches, seed, download)


def from_folder(spec: Spec, given: dict[str, str], caches: DataDirs, seed: int) -> Dataset:
    """Load class folders of images: PATH/CLASS/…, or PATH/train/CLASS/… and so on."""
    root = given_path(spec.name)
    class_folders, notes = find_class_folders(root)
    refused: list[Path] = []
    paths, labels, splits = [], [], []
    for class_folder, split in class_folders:
        images = list(_images_in(class_folder, refused))
        name = class_name(class_folder.name)
        if not images or not name:
            what = "there is no image in this class folder; add some" if name else "its name is blank; rename it"
            raise UserError(f"{shown(str(class_folder))}: {what} or remove it")
        paths += images
        labels += [name] * len(images)
        splits += [split] * len(images)
    _warn_refused(refused, root)
    relative = [path.relative_to(root).as_posix() for path in paths]
    bad = bad_items_of(spec, caches)
    found = inspect_images(paths, relative, root, caches, bad)
    notes += bad.settle(len(found), "images")
    kept = [i for i, info in enumerate(found) if info is not None]
    infos = [info for info in found if info is not None]
    paths = [paths[i] for i in kept]
    relative, labels, splits = ([each[i] for i in kept] for each in (relative, labels, splits))
    files = ImageFiles.of(map(str, paths), infos)
    notes += [f"{len(refused)} files that are not images were left out"] if refused else []
    index = complete_splits([info.sha256 for info in infos], labels, splits, str(root), seed, spec.draw_splits)
    check_classes(labels, index, relative.__getitem__)
    return assemble(spec.source, {}, labels, files, image_digests(relative, infos), index, notes)


def _images_in(folder: Path, refused: list[Path]) -> Iterable[Path]:
    """Yield the images under a class folder in order; other files, but for hidden ones, go into `refused`."""
    for path in sorted(files_under(folder)):
        if path.suffix.lower() in SUFFIXES:
            yield path
        else:
            refused.append(path)


def _warn_refused(refused: list[Path], root: Path) -> None:
    if refused:
        names = ", ".join(shown(path.relative_to(root).as_posix()) for path in refused[:5])
        more = f" and {len(refused) - 5} more" if len(refused) > 5 else ""
        warnings.warn(
            f"{root}: {len(refused)} files are refused, as their endings are not those of images we read "
            f"({' '.join(sorted(SUFFIXES))}): {names}{more}",
            stacklevel=4,
        )


def from_table(spec: Spec, given: dict[str, str], caches: DataDirs, seed: int) -> Dataset:
    """Load a file of rows: CSV, JSON lines, or another form of `tfxfer.data.forms`."""
    bad = bad_items_of(spec, caches)
    rows = read_table_rows(spec, given, caches, bad)
    total, files, digests, keys = len(rows), None, None, _content_keys(rows.columns)
    if rows.found is not None:
        places = [rows.image_place(row) for row in range(len(rows))]
        infos = inspect_images(rows.found.paths, places, rows.found.root, caches, bad)
        notes = bad.settle(max(total, rows.total), "images and rows")
        rows = rows.kept([row for row, info in enumerate(infos) if info is not None])
        used = [info for info in infos if info is not None]
        assert rows.found is not None and rows.names is not None
        files = ImageFiles.of(map(str, rows.found.paths), used)
        digests, keys = image_digests(rows.names, used), [info.sha256 for info in used]
    else:
        notes = bad.settle(rows.total)
    columns = rows.columns
    notes = [
        f"{count:,} rows have an empty {role}"
        for role in columns
        if (count := sum(not v.strip() for v in columns[role]))
    ] + [*rows.notes, *notes]
    if rows.answers:
        columns = columns | {ANSWERS: [json.dumps(each, ensure_ascii=False) for each in rows.answers]}
    index = complete_splits(keys, rows.labels, rows.splits, rows.path.name, seed, spec.draw_splits)
    check_classes(rows.labels, index, rows.place)
    return assemble(spec.source, columns, rows.labels, files, digests, index, notes, rows.captions)


def _content_keys(columns: dict[str, list[str]]) -> list[str]:
    """Return the key of a row's split when there is no image: its first text, compared without case."""
    role = next((role for role in CONTENT_ROLES if role in columns), None)
    return [same_text(value) for value in columns[role]] if role else []


def from_text(spec: Spec, given: dict[str, str], caches: DataDirs, seed: int) -> Dataset:
    """Load a file with one text a line; blank lines are left out."""
    path = existing_file(spec)
    lines = read_lines(path)
    texts = [line.strip() for line in lines if line.strip()]
    if not texts:
        raise UserError(f"{path}: there is no text in it; check that it is the file you mean")
    blank = len(lines) - len(texts)
    notes = [f"{blank:,} blank lines are left out"] if blank else []
    index = complete_splits(_content_keys({"text": texts}), None, [""] * len(texts), path.name, seed, spec.draw_splits)
    return assemble(spec.source, {"text": texts}, None, None, None, index, notes)


LOADERS: dict[str, Callable[[Spec, dict[str, str], DataDirs, int], Dataset]] = {
    "folder": from_folder,
    "csv": from_table,
    "jsonl": from_table,
    "vqa": from_table,
    "parquet": from_table,
    "captions": from_captions,
    "coco": from_captions,
    "text": from_text,
}
