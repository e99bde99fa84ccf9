"""Parse the spec of a data set, with the checks that need neither TensorFlow nor a pass over the data."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tfxfer.cache import DataDirs, data_dirs
from tfxfer.data.class_folders import find_class_folders
from tfxfer.data.fusion.query import parse_query
from tfxfer.data.tables import looks_like_json_lines, read_header
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
    "captions": "a CSV or JSON-lines file with an image and a caption a row",
    "coco": "a JSON file of captions in COCO's format",
    "text": "a file with one text a line",
}
FUSED = "fuse"  # kind of a spec that names others
WITHOUT_COLUMNS = {"folder": "a folder", "coco": "a COCO file", "text": "a text file"}
USUAL_NAMES: dict[str, tuple[str, ...]] = {  # role -> column names that are recognised, best first
    "text": ("text", "sentence", "title", "phrase", "review", "content", "document", "description", "name"),
    "label": ("label", "labels", "class", "category", "target", "sentiment", "topic", "language"),
    "image": ("image", "picture", "photo", "img", "image_path", "filename", "file", "path"),
    "question": ("question", "questions"),
    "answer": ("answer", "answers"),
    "caption": ("caption", "captions"),
}
CAPTION_NAMES = {  # as above, for a captions file, where a text is a caption
    "image": (*USUAL_NAMES["image"], "image_name", "file_name", "image_file", "filepath"),
    "caption": ("caption", "captions", "comment", "sentence", "text", "description", "title"),
}
CONTENT_ROLES = ("text", "image", "question", "caption")


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
    """

    source: str
    kind: str
    name: str
    config: str | None = None
    split: str | None = None
    image_dir: str | None = None
    draw_splits: bool = field(default=True, repr=False)

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
    if image_dir and parsed.kind not in ("csv", "jsonl", "captions", "coco"):
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
    elif spec.kind in ("csv", "jsonl"):
        find_columns(given, read_header(path, spec.kind), path.name)


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


def find_columns(given: dict[str, str], header: Sequence[str], place: str) -> dict[str, tuple[str, ...]]:
    """Return role -> columns: those given, else the first usual name that the header has.

    Args:
        given: role -> column name; for text also several, "title,description" or "title+description".
        header: Names of the columns there are.
        place: File name for messages.

    >>> find_columns({"text": "title+body"}, ["title", "body", "Class"], "a.csv")
    {'text': ('title', 'body'), 'label': ('Class',)}
    """
    found: dict[str, tuple[str, ...]] = {}
    for role, name in given.items():
        names = (name,) if name in header or role != "text" else tuple(re.split(r"\s*[,+]\s*", name))
        for column in names:
            if column not in header:
                raise UserError(f"{place}: there is no column '{column}' ({role}); {suggest(column, header)}")
        found[role] = names
    taken = {column for names in found.values() for column in names}
    free = {column.strip().lower(): column for column in reversed(header) if column not in taken}
    for role, usual in USUAL_NAMES.items():
        if role not in found:
            match = next((free.pop(name) for name in usual if name in free), None)
            if match is not None:
                found[role] = (match,)
    if not any(role in found for role in CONTENT_ROLES):
        raise UserError(
            f"{place}: none of the columns {', '.join(map(repr, header))} looks like text or images; "
            "name one with --target-text / text=COLUMN (or image=COLUMN)"
        )
    return found


def caption_columns(given: dict[str, str], path: Path) -> tuple[str, list[str], dict[str, str]]:
    """Return "csv" or "jsonl", the header, and role -> column of a captions file: "image", "caption" and those given.

    Raises:
        UserError: when there is no column of images or captions, or the file is of another kind.
    """
    unknown = next((role for role in given if role not in ("image", "caption", "label", "key")), None)
    if unknown:
        raise UserError(f"{path.name}: a captions file has images and captions; leave out {unknown}={given[unknown]!r}")
    kind = "jsonl" if looks_like_json_lines(path) else "csv"
    header = read_header(path, kind)
    if {"images", "annotations"} <= set(header):
        raise UserError(f"{path.name}: this is COCO's JSON; give it as coco:{path}")
    free = {column.strip().lower(): column for column in reversed(header) if column not in given.values()}
    found = {
        role: match
        for role, usual in CAPTION_NAMES.items()
        if (match := next((free[n] for n in usual if n in free), ""))
    } | given
    for role, column in found.items():
        if column not in header:
            raise UserError(f"{path.name}: there is no column '{column}' ({role}); {suggest(column, header)}")
    for role in CAPTION_NAMES:
        if role not in found:
            raise UserError(
                f"{path.name}: none of the columns {', '.join(map(repr, header))} is called like one of {role}s; "
                f"name it with --target-{role} / {role}=COLUMN"
            )
    return kind, header, found
