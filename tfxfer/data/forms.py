"""Forms of files that data sets of the field have: each is recognised by its content, and read as rows.

A form gives rows with columns of the usual names (image, caption, question, answer, split), so that all further steps
are those of CSV files. `form_of` recognises; `FORMS` holds them.

Karpathy's splits: Karpathy and Fei-Fei 2015. COCO captions: Chen et al. 2015. VQAv2: Goyal et al. 2017. CLEVR: Johnson
et al. 2017. GQA: Hudson and Manning 2019. Flickr8k: Hodosh et al. 2013. Flickr30k: Young et al. 2014.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tfxfer.data.arrow_files import arrow_columns, arrow_rows, is_arrow
from tfxfer.data.json_files import begins_as_json, is_whole, json_lines, read_json
from tfxfer.data.text_files import lines_of, read_text
from tfxfer.errors import UserError

Row = tuple[str, dict[str, Any]]  # where it stands, for messages; column -> value as the file has it


class Form(NamedTuple):
    """A form of a file.

    Attributes:
        says: What it is, for people.
        columns: The names of its columns; None where the file names them.
        rows: Reads its rows.
    """

    says: str
    columns: tuple[str, ...] | None
    rows: Callable[[Path], Iterator[Row]]


# === Recognising ===


def form_of(path: Path) -> str:
    """Return the form of a file or folder: "csv", "jsonl", "coco", or a key of `FORMS`.

    Raises:
        UserError: It is JSON of a form that holds no data set which can be read, such as LLaVA's conversations.
    """
    if is_arrow(path):
        return "arrow"
    if not begins_as_json(path):
        return "token" if _looks_like_tokens(path) else "csv"
    if not is_whole(path):
        return "jsonl"
    try:
        return _form_of_json(path, read_json(path))
    except UserError:
        with path.open("rb") as file:
            if not file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
                raise
        if _named_whole(path):
            raise
        return "jsonl"  # its reader names the row


def _named_whole(path: Path) -> bool:
    """Return whether the beginning of a file has the keys of a whole JSON file, one that cannot be parsed."""
    with path.open("rb") as file:
        head = file.read(4096)
    return re.match(rb'(?:\xef\xbb\xbf)?\s*\{\s*"(?:images|annotations|questions|info|dataset)"\s*:', head) is not None


def _form_of_json(path: Path, whole: Any) -> str:
    if isinstance(whole, list):
        return _form_of_list(path, whole)
    first = {key: _first(value) for key, value in whole.items()} if isinstance(whole, dict) else {}
    images, notes, questions = (first.get(key, {}) for key in ("images", "annotations", "questions"))
    if "sentences" in images:
        return "karpathy"
    if "images" in first and "annotations" in first:
        return "coco"
    if "image_filename" in questions:
        return "clevr"
    if "question_id" in questions or ("question_id" in notes and ("answers" in notes or "answer" in notes)):
        return "vqa"
    values = list(whole.values())[:20] if isinstance(whole, dict) else []
    if values and all(isinstance(value, dict) and "question" in value for value in values):
        return "gqa"
    if "caption" in notes:
        return "coco"  # its reader says that the images are missing
    return "jsonl"


def _form_of_list(path: Path, whole: list[Any]) -> str:
    if whole and isinstance(whole[0], dict) and "conversations" in whole[0]:
        raise UserError(
            f"{path.name} [0]: these are LLaVA's conversations, turns of a talk about an image; write a row for each "
            "image with a question and an answer (vqa:), or with a caption (captions:)"
        )
    return "array"


def _first(value: Any) -> dict[str, Any]:
    """Return the first object of a list, or an empty one."""
    return value[0] if isinstance(value, list) and value and isinstance(value[0], dict) else {}


# === Text ===

_TOKEN = re.compile(r"(?P<image>[^\t]+?)#\d+\t(?P<caption>.*)")


def _looks_like_tokens(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(4096).decode("utf-8-sig", "replace")
    return _TOKEN.match(head.lstrip("\r\n")) is not None


def _token_rows(path: Path) -> Iterator[Row]:
    """Yield image and caption of lines such as `a.jpg#0<TAB>A dog runs .`."""
    for number, line in enumerate(lines_of(read_text(path)), 1):
        if not line.strip():
            continue
        found = _TOKEN.fullmatch(line)
        place = f"{path.name} row {number}"
        if found is None:
            raise UserError(f"{place}: expected IMAGE#NUMBER, a tab, and a caption")
        yield place, found.groupdict()


# === JSON ===


def _objects(path: Path, whole: Any, key: str) -> Iterator[Row]:
    """Yield (place, object) of a list in a JSON object."""
    for i, each in enumerate(whole[key]):
        if not isinstance(each, dict):
            raise UserError(f"{path.name} {key}[{i}]: is no object {{…}}")
        yield f"{path.name} {key}[{i}]", each


def _with_splits(rows: list[Row]) -> Iterator[Row]:
    """Yield rows; a split that all of them have is left out: it says which file of several this is."""
    several = len({row.get("split") for _, row in rows}) > 1
    for place, row in rows:
        yield place, row if several else {key: value for key, value in row.items() if key != "split"}


def _array_rows(path: Path) -> Iterator[Row]:
    for i, each in enumerate(read_json(path)):
        if not isinstance(each, dict):
            raise UserError(f"{path.name} [{i}]: a {type(each).__name__}; each element must be an object {{…}}")
        yield f"{path.name} [{i}]", {key: value for key, value in each.items() if value is not None}


def _karpathy_rows(path: Path) -> Iterator[Row]:
    """Yield a row for each image: its folder and name, all `sentences[].raw`, and its split."""
    rows = []
    for place, image in _objects(path, read_json(path), "images"):
        name, folder = image.get("filename"), image.get("filepath")
        if not isinstance(name, str):
            raise UserError(f"{place}: 'filename' is missing; it has {', '.join(map(repr, image)) or 'no key'}")
        captions = [_sentence(one, place) for one in image.get("sentences") or []]
        row = {"image": f"{folder}/{name}" if folder else name, "caption": captions, "split": image.get("split")}
        rows.append((place, {key: value for key, value in row.items() if value is not None}))
    return _with_splits(rows)


def _sentence(sentence: Any, place: str) -> Any:
    if isinstance(sentence, dict) and "raw" in sentence:
        return sentence["raw"]
    if isinstance(sentence, dict) and isinstance(sentence.get("tokens"), list):
        return " ".join(map(str, sentence["tokens"]))
    raise UserError(f"{place}: a sentence has neither 'raw' nor 'tokens'; the file may be of another form")


def _clevr_rows(path: Path) -> Iterator[Row]:
    names = {"image": "image_filename", "question": "question", "answer": "answer", "split": "split"}
    rows = []
    for place, one in _objects(path, read_json(path), "questions"):
        rows.append((place, {role: one[name] for role, name in names.items() if one.get(name) is not None}))
    return _with_splits(rows)


def _gqa_rows(path: Path) -> Iterator[Row]:
    """Yield a row for each question; images are named without an ending, as n327615."""
    for number, one in read_json(path).items():
        if not isinstance(one, dict):
            raise UserError(f"{path.name} '{number}': is no object {{…}}")
        names = {"image": one.get("imageId"), "question": one.get("question"), "answer": one.get("answer")}
        yield f"{path.name} '{number}'", {role: value for role, value in names.items() if value is not None}


# === VQAv2: two files ===


def _vqa_rows(path: Path) -> Iterator[Row]:
    """Yield a row for each question of VQA v1 or v2, with all answers of its annotation.

    The questions are in one file and the answers in another, joined by `question_id`. The other one is looked for in
    the same folder.
    """
    questions, answers = _both_files(path)
    given, asked = read_json(answers), {}
    for place, one in _objects(answers, given, "annotations"):
        asked[one.get("question_id")] = place, one
    whole = read_json(questions)
    folder = str(whole.get("data_subtype") or given.get("data_subtype") or "")
    for place, one in _objects(questions, whole, "questions"):
        found = asked.get(one.get("question_id"), ("", {}))[1]
        row = {"image": _coco_image(one.get("image_id"), folder), "question": one.get("question")}
        row |= {"answer": found.get("answers", found.get("multiple_choice_answer", found.get("answer")))}
        yield place, {key: value for key, value in row.items() if value is not None}


def _coco_image(number: Any, folder: str) -> str | None:
    """Return the name that COCO gives to an image; other data sets have names.

    >>> _coco_image(9, "train2014"), _coco_image("n1", "")
    ('COCO_train2014_000000000009.jpg', 'n1')
    """
    if isinstance(number, int) and folder:
        return f"COCO_{folder}_{number:012d}.jpg"
    return None if number is None else str(number)


def _both_files(path: Path) -> tuple[Path, Path]:
    """Return the file of questions and that of answers, of which one is given."""
    whole = read_json(path)
    has = "questions" if "questions" in whole else "annotations"
    other = "annotations" if has == "questions" else "questions"
    if other in whole:
        return path, path
    beside = [each for each in sorted(path.parent.glob("*.json")) if each != path and _begins_with(each, other)]
    if not beside:
        raise UserError(
            f"{path.name}: holds the {has} of VQA; the file of its {other}, with the same question_id, is not in "
            f"{path.parent.resolve()}: put it there"
        )
    found = max(beside, key=lambda each: _shared_words(path.name, each.name))
    return (path, found) if has == "questions" else (found, path)


def _begins_with(path: Path, key: str) -> bool:
    """Return whether a JSON file has a list of this name whose objects have a question_id, by its beginning or end."""
    size, span = path.stat().st_size, 65536
    with path.open("rb") as file:
        head = file.read(span)
        file.seek(max(0, size - span))
        text = head + file.read(span)
    return f'"{key}"'.encode() in text and b'"question_id"' in text


def _shared_words(one: str, other: str) -> int:
    words = [set(re.findall(r"[a-z]+\d*|\d+", name.lower())) for name in (one, other)]
    return len(words[0] & words[1])


# === Rows of the others ===


def _json_line_rows(path: Path) -> Iterator[Row]:
    for number, row in json_lines(path):
        yield f"{path.name} row {number}", row


FORMS: dict[str, Form] = {
    "jsonl": Form("JSON lines", None, _json_line_rows),
    "array": Form("one JSON array of objects", None, _array_rows),
    "token": Form("Flickr8k's token file", ("image", "caption"), _token_rows),
    "karpathy": Form("Karpathy's JSON", ("image", "caption", "split"), _karpathy_rows),
    "vqa": Form("VQA's questions and annotations", ("image", "question", "answer"), _vqa_rows),
    "clevr": Form("CLEVR's questions", ("image", "question", "answer", "split"), _clevr_rows),
    "gqa": Form("GQA's questions", ("image", "question", "answer"), _gqa_rows),
    "arrow": Form("Parquet or Arrow files", None, arrow_rows),
}
SAYS = {"csv": "CSV", "coco": "COCO's captions", **{name: form.says for name, form in FORMS.items()}}


def form_columns(path: Path, form: str) -> list[str]:
    """Return the names of the columns of a file in a form of `FORMS`."""
    if form == "arrow":
        return arrow_columns(path)
    names: dict[str, None] = {}
    for _, row in FORMS[form].rows(path):  # the first may lack a key that others have
        names.update(dict.fromkeys(row))
    columns = FORMS[form].columns
    return [name for name in columns if name in names] if columns is not None else list(names)
