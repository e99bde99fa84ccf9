"""Sessions for raters elsewhere: a page without a server, Label Studio, Potato; and the files that come back."""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from tfxfer.cache import atomic_file
from tfxfer.errors import UserError
from tfxfer.given_files import read_given_json
from tfxfer.rate.answers import canonical, rater_name
from tfxfer.rate.database import Session
from tfxfer.rate.items import SCALES, Candidate, Item
from tfxfer.rate.page import FILE_FORMAT, page

LARGEST_FILE = 20_000_000  # bytes of a file of ratings
SAVE_AGAIN = "ask the rater to save the file again"


@dataclass(frozen=True)
class Export:
    """A form in which a session is given to raters elsewhere.

    Attributes:
        summary: What it is for.
        write: Takes a session and the name of the file; makes file name ending -> content, "" for the file itself.
    """

    summary: str
    write: Callable[[Session, str], dict[str, str]]


def export(session: Session, path: Path, name: str) -> list[Path]:
    """Write a session for raters elsewhere; return the files, the one that was named first.

    Raises:
        UserError: A file of that name is there already, and is kept.
    """
    made = EXPORTS[name].write(session, path.name)
    files = {path.with_name(path.stem + ending) if ending else path: text for ending, text in made.items()}
    there = next((file for file in files if file.exists()), None)
    if there is not None:
        raise UserError(f"--export {there}: is there already, and is kept; give another name")
    for file, text in files.items():
        with atomic_file(file) as temporary:
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
    return list(files)


# === Files that come back ===


def read_file(path: Path, session: Session) -> tuple[str, list[dict[str, Any]], bool]:
    """Return the rater of a file that the page saved, the ratings in it, and whether its digest fits.

    The digest shows that a file was changed by accident or by hand. It is no signature: whoever has the page can make
    one. So each rating is checked as the server does, when it is added.

    Raises:
        UserError: It is no such file, of another session, or lacks something.
    """
    plain = read_given_json(path, SAVE_AGAIN, LARGEST_FILE)
    if plain.get("format") != FILE_FORMAT:
        raise UserError(f"{path}: holds no ratings of this page; give a file that it saved")
    if plain.get("session") != session.about["id"] or plain.get("items") != session.about["items"]:
        raise UserError(
            f"{path}: holds ratings of another session than {session.path}; name the run that it was made for"
        )
    answers = plain.get("answers")
    if not isinstance(answers, list) or not all(isinstance(one, dict) for one in answers):
        raise UserError(f"{path}: 'answers' is no list of ratings; {SAVE_AGAIN}")
    items = [one.get("item") for one in answers]
    double = next((item for item in items if items.count(item) > 1), None)
    if double is not None:
        raise UserError(f"{path}: item {double!s:.40} is rated twice; {SAVE_AGAIN}")
    try:
        rater = rater_name(plain.get("rater"))
        digest = hashlib.sha256(canonical({k: v for k, v in plain.items() if k != "digest"}).encode()).hexdigest()
    except ValueError as error:  # UserError, or half a surrogate pair in a text
        raise UserError(f"{path}: {error}; {SAVE_AGAIN}") from error
    return rater, answers, plain.get("digest") == digest


def add_file(path: Path, session: Session, edited: bool = False) -> tuple[str, int, int]:
    """Add the ratings of a file to a session, all or none; return the rater, how many are new, and how many there are.

    Args:
        path: The file.
        session: The session that it was made for.
        edited: Take it although its digest does not fit.

    Raises:
        UserError: As `read_file`; a rating is not valid; or the file was changed and `edited` is off.
    """
    rater, answers, whole = read_file(path, session)
    if not whole and not edited:
        raise UserError(
            f"{path}: was changed after the page saved it (its digest does not fit); {SAVE_AGAIN}, or take it as it is "
            "with --edited"
        )
    try:
        new = session.add(rater, answers, f"file {path.name}" + ("" if whole else ", edited"))
    except UserError as error:
        raise UserError(f"{path}: {error}; nothing of this file was taken") from error
    return rater, new, len(answers)


def in_any_order(item: Item) -> list[Candidate]:
    """Return what is rated in the order of its random ids, which says nothing about the systems."""
    return sorted(item.candidates, key=lambda one: one.id)


# === Label Studio ===


def label_studio(session: Session, name: str) -> dict[str, str]:
    """Return the tasks as JSON, and the labelling interface as XML, for a project of Label Studio."""
    most = max(len(item.candidates) for item in session.items)
    tasks = [{"id": place, "data": _labelled(item, session, most)} for place, item in enumerate(session.items, 1)]
    return {"": json.dumps(tasks, ensure_ascii=False, indent=1), "-config.xml": _label_config(session, most)}


def _labelled(item: Item, session: Session, most: int) -> dict[str, Any]:
    blind = in_any_order(item)
    texts = [one.text for one in blind] + [""] * (most - len(blind))
    found = {
        "item": item.id,
        "image": _data_address(item, session),
        "question": "\n".join(filter(None, (item.text, item.question))),
    }
    found |= {f"text_{n}": text for n, text in enumerate(texts, 1)}
    return found | {"candidates": [one.id for one in blind]}


def _label_config(session: Session, most: int) -> str:
    lines = ["<View>", '  <Image name="image" value="$image"/>'] if _with_images(session) else ["<View>"]
    lines.append('  <Text name="question" value="$question"/>')
    if session.about["ask"] == "choice":
        lines += [f'  <Text name="text_{n}" value="$text_{n}"/>' for n in range(1, most + 1)]
        lines.append('  <Choices name="choice" toName="question" choice="single-radio" required="true">')
        lines += [f'    <Choice value="{n}" hotkey="{n}"/>' for n in range(1, most + 1)]
        return "\n".join([*lines, '    <Choice value="tie" hotkey="0"/>', "  </Choices>", "</View>", ""])
    for n in range(1, most + 1):
        lines.append(f'  <Text name="text_{n}" value="$text_{n}"/>')
        for name in session.about["scales"]:
            scale = SCALES[name]
            title = escape(f"{scale.name}: {scale.question} 1 {scale.low}, 5 {scale.high}")
            lines.append(f'  <Header value="{title}" size="5"/>')
            lines.append(f'  <Rating name="{name}_{n}" toName="text_{n}" maxRating="5"/>')
    return "\n".join([*lines, "</View>", ""])


# === Potato ===


def potato(session: Session, name: str) -> dict[str, str]:
    """Return the data as one JSON object a line, and a configuration, for the annotation tool Potato.

    An image, the question and the texts stand in one HTML text, as Potato shows it.
    """
    lines = [
        json.dumps({"id": item.id, "text": _potato_html(item, session)}, ensure_ascii=False) for item in session.items
    ]
    return {"": "\n".join([*lines, ""]), "-config.yaml": _potato_config(session, name)}


def _potato_html(item: Item, session: Session) -> str:
    image = _data_address(item, session)
    parts = [f'<p><img src="{image}" alt="the image to judge" style="max-width:100%"></p>'] if image else []
    parts += [f"<p>{escape(text)}</p>" for text in (item.question, item.text) if text]
    return "".join([*parts, *(f"<p><b>{n}</b> {escape(one.text)}</p>" for n, one in enumerate(in_any_order(item), 1))])


def _potato_config(session: Session, name: str) -> str:
    import yaml

    most = max(len(item.candidates) for item in session.items)
    schemes: list[dict[str, Any]] = []
    if session.about["ask"] == "choice":
        labels = [*map(str, range(1, most + 1)), "tie"]
        about = {"annotation_type": "radio", "name": "choice", "description": "Which is better?"}
        schemes.append(about | {"labels": labels, "sequential_key_binding": True})
    for n in range(1, most + 1) if session.about["ask"] == "scales" else ():
        for scale in (SCALES[one] for one in session.about["scales"]):
            about = {
                "annotation_type": "likert",
                "name": f"{scale.name}_{n}",
                "description": f"Text {n}. {scale.question}",
            }
            schemes.append(about | {"min_label": scale.low, "max_label": scale.high, "size": 5})
    config = {
        "annotation_task_name": f"Rate {session.about['kind']}",
        "task_dir": ".",
        "output_annotation_dir": "annotation_output",
        "output_annotation_format": "json",
        "data_files": [name],
        "item_properties": {"id_key": "id", "text_key": "text"},
        "annotation_schemes": schemes,
    }
    return yaml.safe_dump(config, sort_keys=False, allow_unicode=True)


def _data_address(item: Item, session: Session) -> str:
    found = session.image(item.id)
    return f"data:{found[1]};base64,{base64.b64encode(found[0]).decode('ascii')}" if found else ""


def _with_images(session: Session) -> bool:
    return any(session.image(item.id) for item in session.items)


EXPORTS: Mapping[str, Export] = {
    "page": Export(
        "one HTML file without a server; its ratings come back with --import", lambda one, name: {"": page(one)}
    ),
    "label-studio": Export("tasks and labelling interface of Label Studio", label_studio),
    "potato": Export("data and configuration of Potato", potato),
}
