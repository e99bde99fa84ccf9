"""A rating session: one SQLite file in a run's folder. Every rating is on disk before the page is told so.

Nothing is ever changed or removed in the table `ratings`: a later row of the same rater and item replaces an earlier
one, and a row with "undo" takes it back.
"""

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tfxfer.cache import atomic_file, full_disk_named, sha256_file
from tfxfer.config import flag
from tfxfer.errors import DamagedFile, TfxferError, UserError
from tfxfer.rate.answers import checked, rater_name
from tfxfer.rate.items import Candidate, Item, digest_of, new_id
from tfxfer.rate.test_set import media_type

FORMAT = 1
WAIT = 20  # seconds for another process's write
TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE items (id TEXT PRIMARY KEY, place INTEGER, row INTEGER, kind TEXT, question TEXT, text TEXT,
    reference TEXT, scores TEXT, image BLOB);
CREATE TABLE candidates (id TEXT PRIMARY KEY, item TEXT, place INTEGER, text TEXT, systems TEXT, role TEXT);
CREATE TABLE ratings (number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT UNIQUE, rater TEXT, item TEXT, answer TEXT,
    origin TEXT, at REAL);
"""
AGAIN = "put a copy of it back, or begin another session with --session NAME"


class Moved(TfxferError):
    """The session's file is no longer where it was opened: its folder was moved or removed."""


def session_path(folder: Path, name: str | None = None) -> Path:
    """Return the file of a session in a run's folder.

    Raises:
        UserError: The name is not made of letters, digits, '-' and '_'.
    """
    if name is not None and not name.replace("-", "").replace("_", "").isalnum():
        raise UserError(f"--session {name}: use letters, digits, '-' and '_' only")
    return folder / ("ratings.sqlite3" if name is None else f"ratings-{name}.sqlite3")


def create(path: Path, about: Mapping[str, Any], items: Sequence[Item]) -> None:
    """Write a new session, whole or not at all.

    Args:
        path: Its file, which is not there yet.
        about: "title", "kind", "ask", "scales", "systems" (as `System.plain` gives them), "counts" and what else is
            to be kept; JSON-like.
        items: In the order in which they are shown.
    """
    meta = {"format": FORMAT, "id": new_id() + new_id(), "created": time.time(), "items": digest_of(items), **about}
    with atomic_file(path) as temporary:
        connection = sqlite3.connect(temporary)
        try:
            connection.executescript(TABLES)
            connection.executemany("INSERT INTO meta VALUES (?, ?)", [(k, json.dumps(v)) for k, v in meta.items()])
            for place, item in enumerate(items):
                row = (item.id, place, item.row, item.kind, item.question, item.text, json.dumps(item.references))
                connection.execute(
                    "INSERT INTO items VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*row, json.dumps(item.scores), item.image)
                )
                for number, one in enumerate(item.candidates):
                    kept = (one.id, item.id, number, one.text, json.dumps(one.systems), one.role)
                    connection.execute("INSERT INTO candidates VALUES (?, ?, ?, ?, ?, ?)", kept)
            connection.commit()
        finally:
            connection.close()


class Session:
    """A session that is open.

    Attributes:
        path: Its file.
        about: What `create` was given, with "id", "items" (their digest) and "created".
        items: The items in the order in which they are shown, without images.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        if not path.is_file():
            raise UserError(f"{path}: there is no such session; name the runs to begin one: tfxfer rate RUN_A RUN_B")
        if not all(os.access(one, os.W_OK) for one in (path.parent, path)):  # SQLite says 'unable to open' then
            raise UserError(f"{path}: cannot be written; copy the run's folder to one of yours")
        with self._readable():
            self._connection = sqlite3.connect(path, timeout=WAIT, check_same_thread=False, isolation_level=None)
            broken = self._connection.execute("PRAGMA quick_check").fetchone()[0]
            if broken != "ok":
                raise sqlite3.DatabaseError(broken)
            self.about = {name: json.loads(value) for name, value in self._rows("SELECT * FROM meta")}
            if self.about.get("format") != FORMAT:
                raise UserError(f"{path}: was written by another version of tfxfer; {AGAIN}")
            self.items = self._read_items()
        with self._writable():
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")  # on disk when a write returns
        self._file = self._identity()
        self._known = {item.id: [one.id for one in item.candidates] for item in self.items}

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    # === Reading ===

    def image(self, item: str) -> tuple[bytes, str] | None:
        """Return an item's image and its media type; None where there is none."""
        rows = self._rows("SELECT image FROM items WHERE id = ?", (item,))
        return (rows[0][0], media_type(rows[0][0])) if rows and rows[0][0] else None

    def answers(self, rater: str) -> list[dict[str, Any]]:
        """Return the ratings of a rater that count, the oldest first."""
        return self.current().get(rater, [])

    def current(self) -> dict[str, list[dict[str, Any]]]:
        """Return rater -> the ratings that count, the oldest first, as `checked` returns them."""
        found: dict[str, dict[str, Any]] = {}
        for rater, text in self._rows("SELECT rater, answer FROM ratings ORDER BY number"):
            answer, own = json.loads(text), found.setdefault(rater, {})
            own.pop(answer["item"], None)
            if not answer.get("undo"):
                own[answer["item"]] = answer
        return {rater: list(own.values()) for rater, own in found.items() if own}

    # === Writing ===

    def add(self, rater: Any, answers: Sequence[Any], origin: str = "page") -> int:
        """Keep some ratings of a rater, all or none; one that is kept already is left alone.

        Args:
            rater: Name.
            answers: As `tfxfer.rate.answers.checked` takes them.
            origin: "page", or where an imported file comes from.

        Returns:
            How many are new. They are on disk.

        Raises:
            UserError: One is not valid.
            Moved: The file is no longer there.
        """
        name = rater_name(rater)
        scales = self.about["scales"]
        valid = [checked(answer, self._known, self.about["ask"], scales) for answer in answers]
        rows = [(one["key"], name, one["item"], json.dumps(one), origin, time.time()) for one in valid]
        with self._lock, self._writable():
            self._check_place()
            before = self._connection.total_changes
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                statement = (
                    "INSERT OR IGNORE INTO ratings (key, rater, item, answer, origin, at) VALUES (?, ?, ?, ?, ?, ?)"
                )
                self._connection.executemany(statement, rows)
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            return self._connection.total_changes - before

    def note(self, name: str, value: Any) -> None:
        """Keep a value of the session's own, such as which process serves it; replaces an earlier one."""
        with self._lock, self._writable():
            self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, json.dumps(value)))

    def noted(self, name: str) -> Any:
        """Return what `note` kept; None without it."""
        rows = self._rows("SELECT value FROM meta WHERE name = ?", (name,))
        return json.loads(rows[0][0]) if rows else None

    # === Inside ===

    def _rows(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._lock:
            return self._connection.execute(statement, values).fetchall()

    def _read_items(self) -> list[Item]:
        texts: dict[str, list[Candidate]] = {}
        for own, item, text, systems, role in self._rows(
            "SELECT id, item, text, systems, role FROM candidates ORDER BY item, place"
        ):
            texts.setdefault(item, []).append(Candidate(own, text, tuple(json.loads(systems)), role))
        found = []
        for own, row, kind, question, text, reference, scores in self._rows(
            "SELECT id, row, kind, question, text, reference, scores FROM items ORDER BY place"
        ):
            by_system = {int(system): values for system, values in json.loads(scores).items()}
            candidates, references = tuple(texts[own]), tuple(json.loads(reference))
            found.append(Item(own, row, kind, question, text, references, candidates, by_system))
        return found

    def _identity(self) -> tuple[int, int]:
        facts = self.path.stat()
        return facts.st_dev, facts.st_ino

    def _check_place(self) -> None:
        try:
            there = self._identity() == self._file
        except OSError:
            there = False
        if not there:
            raise Moved(f"{self.path} is no longer there: the run's folder was moved or removed")

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except UserError:
            raise
        except (sqlite3.Error, ValueError, KeyError, TypeError) as error:
            raise DamagedFile(f"{self.path}: is no rating session, or is damaged ({error}); {AGAIN}") from error

    @contextmanager
    def _writable(self) -> Iterator[None]:
        """Turn SQLite's errors while writing into ours: it says 'disk I/O error' and 'database or disk is full'."""
        with full_disk_named(self.path):
            try:
                yield
            except sqlite3.OperationalError as error:
                raise TfxferError(f"{self.path}: cannot be written ({error}); nothing of this was kept") from error


def check_belongs(session: Session, folder: Path) -> None:
    """Raise `UserError` where a session is that of another run than the one in whose folder it stands."""
    key, first = sha256_file(folder / "comparison.json"), session.about["systems"][0]
    if key != first["key"]:
        raise UserError(
            f"{session.path}: holds ratings of the run '{first['run']}', and comparison.json here is another's; move "
            "the file back to its run, or begin another session with --session NAME"
        )


def check_same(session: Session, options: Mapping[str, Any], folders: Sequence[Path]) -> None:
    """Refuse options, and runs, other than those that a session began with; what is not given is as it was."""
    another = "or begin another session with --session NAME"
    for option, before in session.about["options"].items():
        given = options.get(option)
        if given is not None and given != before:
            was = " ".join(map(str, before)) if isinstance(before, list) else before
            name = flag(option)
            raise UserError(f"{name}: {session.path} began with {name} {was}; leave it out, {another}")
    known = {one["key"]: one["run"] for one in session.about["systems"]}
    keys = [sha256_file(folder / "comparison.json") for folder in folders]
    for folder, key in zip(folders, keys):
        if key not in known:
            names = ", ".join(dict.fromkeys(known.values()))
            raise UserError(f"{folder}: is not in {session.path}, which compares {names}; give those, {another}")
    if len(keys) > 1 and len(known) > len(set(keys)):
        left = next(run for key, run in known.items() if key not in keys)
        raise UserError(f"{session.path}: compares {left} too; name all of its runs or the first alone, {another}")
