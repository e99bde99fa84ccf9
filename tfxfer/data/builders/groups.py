"""Groups that share a member made one group."""

from collections.abc import Iterable


def joined(groups: Iterable[Iterable[str]]) -> dict[str, str]:
    """Return member -> the first member of its group, groups that share a member made one (union-find).

    >>> joined([("b", "a"), ("c", "b"), ("d",)])
    {'b': 'a', 'a': 'a', 'c': 'a', 'd': 'd'}
    """
    parent: dict[str, str] = {}

    def root(member: str) -> str:
        while parent[member] != member:
            parent[member] = parent[parent[member]]
            member = parent[member]
        return member

    for group in groups:
        members = list(group)
        for member in members:
            parent.setdefault(member, member)
        roots = {root(member) for member in members}
        for each in roots:
            parent[each] = min(roots)
    return {member: root(member) for member in parent}
