"""Parse the spec of a data set, with the checks that need neither TensorFlow nor a pass over the data."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from tfxfer.cache import DataDirs, data_dirs
from tfxfer.data.class_folders import find_class_folders
from tfxfer.data.column_roles import (
    CAPTION_NAMES,
    CONTENT_ROLES,
    USUAL_NAMES,
    caption_columns,
    find_columns,
    several_columns,
    table_columns,
)
from tfxfer.data.fusion.query import parse_query
from tfxfer.errors import UserError, suggest
from tfxfer.given_files import file_problem

EMOJI_LANGUAGES = {  # ISO 639-1 code -> name of the language
    "en": "English",
    "de": "German",
    "es": "Spanish",
    "fr": "French",
    "it": "Italian",
    "pt": "Portuguese",
    "ru": "Russian",
    "tr": "Turkish",
    "zh": "Chinese",
    "ja": "Japanese",
    "ko": "Korean",
    "ar": "Arabic",
    "fa": "Persian",
    "id": "Indonesian",
}
BUILT_IN: dict[str, tuple[str, ...]] = {  # name -> configurations, the default first
    "glyphs": ("by_character", "by_face"),
    "names": ("all", "listed"),
    "languages": ("all", "latin", "other"),
    "emoji": (*EMOJI_LANGUAGES, "noto"),
}
TEXTS_ALONE = ("names", "languages")  # those of them without images
PREPARED = {  # name -> configuration -> what is prepared for it, where several are views of one
    "emoji": dict.fromkeys(EMOJI_LANGUAGES, "openmoji"),
}
CREDITS = {  # name -> who is to be named where the data are shown
    "glyphs": "characters drawn in the DejaVu typefaces; names and facts from Unicode (Unicode License v3)",
    "names": "names from Unicode (Unicode License v3)",
    "languages": "phrases from Unicode CLDR (Unicode License v3)",
    "emoji": "emoji designed by OpenMoji, the open-source emoji and icon project, openmoji.org (CC BY-SA 4.0); names "
    "from Unicode CLDR (Unicode License v3)",
    "emoji/noto": "emoji of the Noto colour font by Google (SIL Open Font License 1.1); names from Unicode CLDR "
    "(Unicode License v3)",
}
BUILT_IN_LABELS: dict[str, tuple[str, ...]] = {  # name -> columns that can be the label, the default first
    "glyphs": (
        "label",
        "script",
        "category",
        "case",
        "diacritic",
        "numeric",
        "braille_dots",
        "face",
        "codepoint",
    ),
    "names": (),
    "languages": ("label", "kind"),
    "emoji": ("label",),
}
PATH_KINDS = {  # kind -> what its path is
    "folder": "a folder of class folders",
    "csv": "a CSV file",
    "jsonl": "a file with one JSON object a line",
    "captions": "a file of images and captions: CSV, JSON, COCO's, Karpathy's, Flickr8k's or Parquet",
    "coco": "a JSON file of captions in COCO's format, or in Karpathy's",
    "vqa": "a file of questions about images: CSV, JSON, VQAv2's, CLEVR's, GQA's or Parquet",
    "parquet": "a Parquet or Arrow file, or a folder of them",
    "text": "a file with one text a line",
}
TABLES = ("csv", "jsonl", "vqa", "parquet")  # kinds whose rows have columns of any role
FUSED = "fuse"  # kind of a spec that names others
WITHOUT_COLUMNS = {"folder": "a folder", "coco": "a COCO file", "text": "a text file"}

__all__ = ["CAPTION_NAMES", "CONTENT_ROLES", "USUAL_NAMES", "Spec", "caption_columns", "check", "credit"]
__all__ += ["existing_file", "find_columns", "given_path", "parse", "several_columns", "table_columns"]


@dataclass(frozen=True)
class Spec:
    """A parsed spec: `kind` is a built-in name, "tfds", "fuse" or a key of `PATH_KINDS`.

    Attributes:
        source: The string it was parsed from.
        kind: What to load it with.
        name: Built-in name, TFDS name (with configuration), path, or what follows "fuse:".
        config: Configuration of a built-in set.
        split: TFDS split to use alone, e.g. "train[:10%]", or None.
        image_dir: Folder of the images that a file names, or None to look for it near the file.
        draw_splits: Whether examples whose split the source does not name are cut into splits.
        drop_empty: Roles of a table, such as "image"; rows in which one of them is empty are left out.
        bad_items: "refuse" or "skip" images and rows that cannot be used.
    """

    source: str
    kind: str
    name: str
    config: str | None = None
    split: str | None = None
    image_dir: str | None = None
    draw_splits: bool = field(default=True, repr=False)
    drop_empty: tuple[str, ...] = field(default=(), repr=False)
    bad_items: str = field(default="refuse", repr=False)

    @property
    def prepared(self) -> str | None:
        """The configuration that is prepared: several configurations may be views of one."""
        return PREPARED.get(self.name, {}).get(self.config or "", self.config)


def credit(spec: str) -> str:
    """Return who made the content of a built-in set, and under which licence; "" for other data.

    >>> credit("languages/latin")
    'phrases from Unicode CLDR (Unicode License v3)'
    """
    if spec.startswith(f"{FUSED}:"):
        return "; ".join(dict.fromkeys(said for part in parse_query(spec).parts if (said := credit(part))))
    return CREDITS.get(spec) or CREDITS.get(spec.partition("/")[0], "")


def parse(spec: str) -> Spec:
    """Parse a spec; raises `UserError` with the nearest known name for a typo.

    >>> parse("languages/latin")
    Spec(source='languages/latin', kind='languages', name='languages', config='latin', split=None, image_dir=None)
    >>> parse("tfds:mnist:train[:10%]").split
    'train[:10%]'
    """
    if not isinstance(spec, str) or not spec.strip():
        raise UserError(f"data spec {spec!r} is empty; {_known_forms()}")
    kind, colon, rest = spec.partition(":")
    if not colon:
        return _parse_built_in(spec)
    if kind not in ("tfds", FUSED) and kind not in PATH_KINDS:
        raise UserError(f"data spec '{spec}': there is no '{kind}:'; {suggest(kind, ['tfds', FUSED, *PATH_KINDS])}")
    if not rest:
        raise UserError(f"data spec '{spec}': nothing follows the colon; {_known_forms()}")
    if kind == FUSED:
        for part in parse_query(spec).parts:
            parse(part)
    if kind == "tfds":
        found = re.fullmatch(r"([\w/.\-]+(?::(?:\d+|\*)(?:\.(?:\d+|\*)){2})?)(?::(.+))?", rest)
        if not found:
            raise UserError(f"data spec '{spec}': expected tfds:NAME or tfds:NAME:SPLIT")
        return Spec(spec, kind, found[1], split=found[2])
    return Spec(spec, kind, rest)


def _parse_built_in(spec: str) -> Spec:
    name, slash, config = spec.partition("/")
    if name not in BUILT_IN:
        if os.path.exists(given_path(spec)):  # noqa: PTH110 - see `existing_file`
            raise UserError(f"data spec '{spec}' is a path: say how to read it, as in folder:{spec} or csv:{spec}")
        raise UserError(f"data spec '{spec}': unknown data set; {suggest(name, BUILT_IN)} Or: {_known_forms()}")
    configs = BUILT_IN[name]
    if slash and config not in configs:
        raise UserError(f"data spec '{spec}': '{name}' has no configuration '{config}'; {suggest(config, configs)}")
    return Spec(spec, name, name, config or (configs[0] if configs else None))


def _known_forms() -> str:
    paths = ", ".join(f"{kind}:PATH" for kind in PATH_KINDS)
    return f"use {', '.join(BUILT_IN)}, tfds:NAME[:SPLIT], {paths}, fuse:A+B?…"


def check(
    spec: str,
    *,
    data_dir: str | Path | None = None,
    download: bool = False,
    image_dir: str | None = None,
    **columns: str | None,
) -> Spec:
    """Do every check of `load` that is cheap, and return the parsed spec.

    Checks that the file or folder exists, that the given columns are in its header, and that a TFDS data set is
    prepared or may be downloaded. Starts no TensorFlow.

    Args:
        spec: As for `load`.
        data_dir: As for `load`.
        download: As for `load`.
        image_dir: As for `load`.
        **columns: text, label, image, question, answer, caption: column names or None.

    Raises:
        UserError: naming the spec, file or column, and the remedy.
    """
    unknown = [role for role in columns if role not in USUAL_NAMES]
    if unknown:
        raise UserError(f"column option '{unknown[0]}' does not exist; {suggest(unknown[0], USUAL_NAMES)}")
    parsed = parse(spec)
    given = {role: name for role, name in columns.items() if name}
    if image_dir and parsed.kind not in (*TABLES, "captions", "coco"):
        raise UserError(f"data spec '{spec}': no file names its images; leave image_dir={image_dir!r} out")
    if parsed.kind == FUSED:
        _check_fused(parsed, given, data_dir, download)
    elif parsed.kind in BUILT_IN:
        _check_built_in(parsed, given)
    elif parsed.kind == "tfds":
        _check_prepared(parsed, data_dirs(data_dir), download)
    else:
        _check_path(parsed, given)
    return parsed


def _check_fused(spec: Spec, given: dict[str, str], data_dir: str | Path | None, download: bool) -> None:
    """Check each set of a fused one, and that the first of a join has images."""
    if given:
        role, name = next(iter(given.items()))
        raise UserError(
            f"data spec '{spec.source}': whose {role} is {name!r}? Name columns in the spec, as in "
            f"a.{role}={name} for the first set and b.{role}={name} for the second"
        )
    query = parse_query(spec.source)
    for part, columns in query.named():
        check(part, data_dir=data_dir, download=download, **columns)
    if query.via:
        check(query.via, data_dir=data_dir, download=download)
    first = parse(query.parts[0]).kind
    if query.way != "mix" and (first == "text" or first in TEXTS_ALONE):
        raise UserError(
            f"data spec '{spec.source}': {query.parts[0]} has no images; name the set with the images first"
        )


def _check_path(spec: Spec, given: dict[str, str]) -> None:
    if given and spec.kind in WITHOUT_COLUMNS:
        role, what = next(iter(given)), WITHOUT_COLUMNS[spec.kind]
        raise UserError(f"data spec '{spec.source}': {what} has no columns; leave out {role}={given[role]!r}")
    if spec.kind == "folder":
        _check_folder(spec)
        return
    path = existing_file(spec)
    if spec.kind == "captions":
        caption_columns(given, path)
    elif spec.kind in TABLES:
        table_columns(given, path, spec.kind)


def _check_built_in(spec: Spec, given: dict[str, str]) -> None:
    labels = BUILT_IN_LABELS[spec.name]
    for role, name in given.items():
        if role != "label":
            raise UserError(f"data spec '{spec.source}': its {role} is fixed; leave {role}={name!r} out")
        if not labels:
            raise UserError(f"data spec '{spec.source}' has no labels: it is text to pre-train on")
        if name not in labels:
            raise UserError(f"data spec '{spec.source}': no label column '{name}'; {suggest(name, labels)}")


def _check_prepared(spec: Spec, caches: DataDirs, download: bool) -> None:
    base = spec.name.partition(":")[0].partition("/")[0]
    folders = [folder / "tfds" for folder in caches.searched]
    if base not in BUILT_IN and not any((folder / base).is_dir() for folder in folders) and not download:
        raise UserError(
            f"data spec '{spec.source}': '{base}' is not prepared in {' or '.join(map(str, folders))}, and nothing is "
            "downloaded unless you ask for it: give --download (or download=True)"
        )


def _check_folder(spec: Spec) -> None:
    path = given_path(spec.name)
    if not os.path.isdir(path):  # noqa: PTH112 - see `existing_file`
        exists = os.path.exists(path)  # noqa: PTH110
        what = "is a file, not a folder" if exists else "does not exist"
        raise UserError(f"data spec '{spec.source}': {path} {what}; {_nearest_beside(path)}")
    find_class_folders(path)


def given_path(text: str) -> Path:
    """Return a path that somebody typed; `~` is the home folder, and a `~user` whom nobody knows stays as it is."""
    return Path(os.path.expanduser(text))  # noqa: PTH111 - Path.expanduser fails for an unknown user


def existing_file(spec: Spec) -> Path:
    """Return the path of a file spec; raises `UserError` when there is no such file, or it is a pipe or a device."""
    path = given_path(spec.name)
    if spec.kind in ("parquet", "captions", "vqa") and path.is_dir():
        return path
    if not os.path.exists(path):  # noqa: PTH110 - also answers for a name that no file can have: too long, or with NUL
        raise UserError(f"data spec '{spec.source}': {path} does not exist; {_nearest_beside(path)}")
    problem = file_problem(path.stat())
    if problem:
        raise UserError(f"data spec '{spec.source}': {path} {problem}")
    return path


def _nearest_beside(path: Path) -> str:
    if not os.path.isdir(path.parent):  # noqa: PTH112
        return f"the folder {path.parent} does not exist either"
    return suggest(path.name, sorted(p.name for p in path.parent.iterdir()))
