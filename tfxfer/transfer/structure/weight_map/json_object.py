"""Reading JSON objects without duplicate keys."""

from typing import Any

from tfxfer.errors import UserError


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object as a dictionary; an `object_pairs_hook` for `json.loads`.

    Raises:
        UserError: A key occurs twice. JSON would keep the last value.

    >>> unique_keys([("a", 1), ("b", 2)])
    {'a': 1, 'b': 2}
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise UserError(f"'{next(name for name in names if names.count(name) > 1)}' occurs twice in one object")
    return found
