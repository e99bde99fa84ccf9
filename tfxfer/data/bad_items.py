"""Items of a source that cannot be used: missing and broken images, rows without a value.

All of them are found before any is reported. They are refused together, or left out and noted. When there are more than
a message can name, a file lists them all.
"""

from pathlib import Path

from tfxfer.cache import atomic_file, key_of
from tfxfer.errors import UserError, suggest
from tfxfer.given_files import shown

MODES = ("refuse", "skip")
_NAMED = 5  # items in one message
SKIP = "leave them out with --bad-items skip / bad_items='skip'"


def check_mode(mode: str) -> str:
    """Return the mode; raises `UserError` for another word."""
    if mode not in MODES:
        raise UserError(f"bad_items={mode!r}: {suggest(mode, MODES)}")
    return mode


class BadItems:
    """What cannot be used of one source.

    Args:
        source: The spec; it names the list.
        mode: "refuse" or "skip".
        folder: Where a list of all is written, if there are many; None for nowhere.
    """

    def __init__(self, source: str, mode: str = "refuse", folder: Path | None = None) -> None:
        """Start without any."""
        self.source, self.mode, self.folder = source, check_mode(mode), folder
        self.found: list[tuple[str, str]] = []

    @property
    def skipped(self) -> bool:
        """Whether they are left out."""
        return self.mode == "skip"

    def add(self, place: str, why: str) -> None:
        """Add an item: where it is named, and what is wrong with it and can be done."""
        self.found.append((shown(place), why))

    def settle(self, total: int, what: str = "rows") -> list[str]:
        """Refuse all items, or return a note on those that are left out.

        Args:
            total: How many items there are, the bad ones among them.
            what: What they are called.

        Raises:
            UserError: They are refused, or none is left.
        """
        if not self.found:
            return []
        named = "\n".join(f"{place}: {why}" for place, why in self.found[:_NAMED])
        more = f"\n… and {len(self.found) - _NAMED} more" if len(self.found) > _NAMED else ""
        head = f"{len(self.found):,} of {total:,} {what} cannot be used:\n" if total > 1 else ""
        if not self.skipped:
            advice = f"\n{SKIP[0].upper()}{SKIP[1:]}" if len(self.found) < total else ""
            raise UserError(head + named + more + self._listed() + advice)
        if len(self.found) >= total:
            raise UserError(f"{head}{named}{more}{self._listed()}\nNothing is left; see the first of them")
        first, why = self.found[0]
        left = f"{len(self.found):,} of {total:,} {what} are left out (e.g. {first}: {why.partition(';')[0]})"
        return [left + self._listed().replace("\n", "; ")]

    def _listed(self) -> str:
        """Write all items into a file, if they are more than a message names, and return where it is."""
        if self.folder is None or len(self.found) <= _NAMED:
            return ""
        path = self.folder / f"{key_of(self.source)}.txt"
        with atomic_file(path) as temporary:
            lines = [f"{place}: {why}\n" for place, why in [(self.source, "cannot be used:"), *self.found]]
            temporary.write_text("".join(lines), encoding="utf-8", errors="backslashreplace")
        return f"\nall of them: {path}"
