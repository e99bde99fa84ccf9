"""What the checks of `tfxfer doctor` return."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

SEVERITIES = {
    "error": "test scores would be wrong, or the task cannot be learned as it stands",
    "warning": "scores would be harder to trust, or examples are wasted",
    "note": "worth knowing, or a check that could not be made",
}


@dataclass(frozen=True)
class Row:
    """An example that a finding is about.

    Attributes:
        split: Its split, such as "test"; "source train" for a second data set.
        place: Its position in the split, from 0.
        row: Its number in the set as it was loaded, from 0: the order of the file, or of the sorted images.
        content: Its text, or the name of its image.
        why: What was found about it.
    """

    split: str
    place: int
    row: int
    content: str
    why: str = ""


@dataclass(frozen=True)
class Finding:
    """One fault, or one thing worth knowing.

    Attributes:
        check: Name of the check, a key of `tfxfer.doctor.CHECKS`.
        severity: A key of `SEVERITIES`.
        sentence: What was found.
        remedy: What to do about it; "" for a note that asks for nothing.
        rows: The examples that it is about.
    """

    check: str
    severity: str
    sentence: str
    remedy: str = ""
    rows: tuple[Row, ...] = field(default=(), repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return it as a dict, its rows too."""
        return asdict(self)


@dataclass(frozen=True)
class Diagnosis:
    """All findings about one or two data sets.

    Attributes:
        name: Spec of the data set.
        description: Its sizes and classes, as `Dataset.describe` gives them.
        findings: Errors first.
        checked: Check -> what was looked at, or why it was not made.
    """

    name: str
    description: str
    findings: tuple[Finding, ...]
    checked: Mapping[str, str]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that are errors."""
        return tuple(one for one in self.findings if one.severity == "error")

    def of(self, check: str) -> tuple[Finding, ...]:
        """Return the findings of one check."""
        return tuple(one for one in self.findings if one.check == check)

    def rows(self) -> list[dict[str, Any]]:
        """Return every example that a finding is about, as dicts: check, severity, and the attributes of `Row`."""
        return [
            {"check": one.check, "severity": one.severity, **asdict(row)} for one in self.findings for row in one.rows
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a dict, for JSON."""
        return {"name": self.name, "findings": [one.to_dict() for one in self.findings], "checked": dict(self.checked)}


def in_order(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return findings with errors first, then warnings, then notes."""
    ranks = list(SEVERITIES)
    return tuple(sorted(findings, key=lambda one: ranks.index(one.severity)))
