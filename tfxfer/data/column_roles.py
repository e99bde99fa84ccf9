"""Which columns of a file are images, texts, labels, captions, questions, answers: those given, or of usual names."""

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from tfxfer.data.tables import read_header, table_form
from tfxfer.errors import UserError, suggest

USUAL_NAMES: dict[str, tuple[str, ...]] = {  # role -> column names that are recognised, best first
    "text": ("text", "sentence", "title", "phrase", "review", "content", "document", "description", "name"),
    "label": ("label", "labels", "class", "category", "target", "sentiment", "topic", "language"),
    "image": (
        *("image", "picture", "photo", "img", "image_path", "filename", "file", "path"),
        *("file_name", "image_name", "image_file", "filepath", "image_filename"),
    ),
    "question": ("question", "questions"),
    "answer": ("answer", "answers"),
    "caption": ("caption", "captions"),
}
CAPTION_NAMES = {  # as above, for a captions file, where a text is a caption
    "image": USUAL_NAMES["image"],
    "caption": ("caption", "captions", "comment", "sentence", "text", "description", "title"),
}
CONTENT_ROLES = ("text", "image", "question", "caption")


def table_columns(given: dict[str, str], path: Path, kind: str) -> dict[str, tuple[str, ...]]:
    """Return role -> columns of a file of rows, "split" among them where it has such a column.

    Raises:
        UserError: A column that is needed is missing, or its name occurs twice.
    """
    header = read_header(path, kind)
    if kind == "vqa":
        given = {role: name for role, name in given.items() if role in ("image", "question", "answer", "key")}
    roles = find_columns(given, header, path.name)
    for role in ("image", "question", "answer") if kind == "vqa" else ():
        if role not in roles:
            raise UserError(
                f"{path.name}: none of the columns {', '.join(map(repr, header))} is called like one of {role}s; "
                f"name it with --target-{role} / {role}=COLUMN"
            )
    split = next((column for column in header if column.strip().lower() == "split"), None)
    roles |= {"split": (split,)} if split else {}
    refuse_repeated([column for columns in roles.values() for column in columns], header, path.name)
    return roles


def refuse_repeated(columns: Sequence[str], header: Sequence[str], place: str) -> None:
    """Refuse columns in use whose name another column has too."""
    twice = next((name for name in columns if header.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"{place} row 1: two columns are called '{twice}'; rename one")


def find_columns(given: dict[str, str], header: Sequence[str], place: str) -> dict[str, tuple[str, ...]]:
    """Return role -> columns: those given, else the first usual name that the header has.

    Args:
        given: role -> column name; for text and caption also several, "title,description" or "title+description".
        header: Names of the columns there are.
        place: File name for messages.

    >>> find_columns({"text": "title+body"}, ["title", "body", "Class"], "a.csv")
    {'text': ('title', 'body'), 'label': ('Class',)}
    """
    found: dict[str, tuple[str, ...]] = {}
    for role, name in given.items():
        found[role] = _named_columns(role, name, header, place)
    taken = {column for names in found.values() for column in names}
    free = {column.strip().lower(): column for column in reversed(header) if column not in taken}
    for role, usual in USUAL_NAMES.items():
        if role not in found:
            match = next((free.pop(name) for name in usual if name in free), None)
            if match is not None:
                found[role] = (match,)
            elif role == "caption" and (several := _numbered_captions(header, taken)):
                found[role] = several
    if not any(role in found for role in CONTENT_ROLES):
        raise UserError(
            f"{place}: none of the columns {', '.join(map(repr, header))} looks like text or images; "
            "name one with --target-text / text=COLUMN (or image=COLUMN)"
        )
    return found


def _named_columns(role: str, name: str, header: Sequence[str], place: str) -> tuple[str, ...]:
    """Return the columns that a name means; of texts and captions there may be several."""
    several = role in ("text", "caption") and name not in header
    names = tuple(re.split(r"\s*[,+]\s*", name)) if several else (name,)
    for column in names:
        if column not in header:
            raise UserError(f"{place}: there is no column '{column}' ({role}); {suggest(column, header)}")
    return names


def _numbered_captions(header: Sequence[str], taken: Collection[str] = ()) -> tuple[str, ...]:
    """Return the columns that are called caption_1, caption_2, …, in the order of the header."""
    pattern = re.compile(r"captions?[ _-]?\d+", re.IGNORECASE)
    return tuple(name for name in header if pattern.fullmatch(name.strip()) and name not in taken)


def caption_columns(given: dict[str, str], path: Path) -> tuple[str, list[str], dict[str, str]]:
    """Return the form, the header, and role -> column of a captions file: "image", "caption" and those given.

    Several columns of captions come as "caption_1,caption_2". COCO's form has no columns.

    Raises:
        UserError: when there is no column of images or captions, or the file is of another kind.
    """
    unknown = next((role for role in given if role not in ("image", "caption", "label", "key")), None)
    if unknown:
        raise UserError(f"{path.name}: a captions file has images and captions; leave out {unknown}={given[unknown]!r}")
    form = table_form(path, "captions")
    header = read_header(path, "captions")
    if form == "coco":
        return form, header, {}
    free = {column.strip().lower(): column for column in reversed(header) if column not in given.values()}
    found = {
        role: match
        for role, usual in CAPTION_NAMES.items()
        if (match := next((free[n] for n in usual if n in free), ""))
    } | given
    if "caption" not in found and (several := _numbered_captions(header)):
        found["caption"] = ",".join(several)
    for role, column in found.items():
        refuse_repeated(_named_columns(role, column, header, path.name), header, path.name)
    for role in CAPTION_NAMES:
        if role not in found:
            raise UserError(
                f"{path.name}: none of the columns {', '.join(map(repr, header))} is called like one of {role}s; "
                f"name it with --target-{role} / {role}=COLUMN"
            )
    return form, header, found


def several_columns(name: str, header: Sequence[str]) -> tuple[str, ...]:
    """Return the columns that a name of captions means: one, or several divided by commas.

    >>> several_columns("a,b", ["a", "b"])
    ('a', 'b')
    """
    return _named_columns("caption", name, header, "captions")
