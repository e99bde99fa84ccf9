"""The ratings of a session as arrays, and what each rater did."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfxfer.rate.answers import TIE
from tfxfer.rate.database import Session
from tfxfer.rate.items import Item

FAILED = 1 / 3  # of the attention checks: a rater who fails more is named


@dataclass(frozen=True)
class Ratings:
    """The ratings of a session as arrays: R raters, I items (no attention checks), S systems, K scales, P pairs.

    Attributes:
        raters: Their names.
        items: The items.
        pairs: (i, j) with i < j.
        scores: float [R, I, S, K], 1 to 5; NaN where there is none.
        preferred: float [R, I, P]: 1 where i is preferred to j, 0 where j is, 0.5 for a tie, NaN for no rating. From
            scales: whose mean over the scales is higher.
    """

    raters: list[str]
    items: list[Item]
    pairs: list[tuple[int, int]]
    scores: np.ndarray
    preferred: np.ndarray


def read(session: Session, raters: Sequence[str] | None = None) -> Ratings:
    """Return the ratings of a session.

    Args:
        session: The session.
        raters: Whose; by default everybody's.
    """
    given = session.current()
    names = [name for name in sorted(given) if raters is None or name in raters]
    items = [item for item in session.items if item.kind == "item"]
    place = {item.id: n for n, item in enumerate(items)}
    count, scales = len(session.about["systems"]), session.about["scales"]
    pairs = [(i, j) for j in range(count) for i in range(j)]
    scores = np.full((len(names), len(items), count, len(scales)), np.nan)
    preferred = np.full((len(names), len(items), len(pairs)), np.nan)
    for r, name in enumerate(names):
        for answer in given[name]:
            if answer["item"] in place:
                at = place[answer["item"]]
                _enter(answer, items[at], scales, scores[r, at], preferred[r, at], pairs)
    return Ratings(names, items, pairs, scores, preferred)


def _enter(
    answer: dict[str, Any],
    item: Item,
    scales: Sequence[str],
    scores: np.ndarray,
    preferred: np.ndarray,
    pairs: Sequence[tuple[int, int]],
) -> None:
    """Write one rating into scores [S, K] and preferences [P]."""
    systems = {system: one.id for one in item.candidates for system in one.systems}
    if "scores" in answer:
        for system, candidate in systems.items():
            scores[system] = [answer["scores"][candidate][name] for name in scales]
        means = scores.mean(1).round(9)
        values = {system: means[system] for system in systems}
    else:
        choice = answer["choice"]
        values = {system: 0.5 if choice == TIE else float(candidate == choice) for system, candidate in systems.items()}
    for p, (i, j) in enumerate(pairs):
        if i in values and j in values:
            preferred[p] = 0.5 + 0.5 * np.sign(values[i] - values[j])


def over_raters(values: np.ndarray) -> np.ndarray:
    """Return the mean over the first axis, of the ratings that are there; NaN without any."""
    there = ~np.isnan(values)
    count = there.sum(0)
    return np.where(count > 0, np.where(there, values, 0).sum(0) / np.maximum(1, count), np.nan)


def measures_of(ratings: Ratings) -> list[str]:
    """Return the automatic scores that the items have."""
    names = [name for item in ratings.items for scores in item.scores.values() for name in scores]
    return list(dict.fromkeys(names))


def units(ratings: Ratings, session: Session) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Return (scale or "choice", ratings [R, U], the item of each unit [U]): a unit is a text, or a choice.

    A choice is −1, 0 (a tie) or 1; texts that several systems share count once.
    """
    if session.about["ask"] == "choice":
        one = np.nanmax(np.where(np.isnan(ratings.preferred), -np.inf, ratings.preferred), 2)
        return [("choice", np.where(np.isinf(one), np.nan, 2 * one - 1), np.arange(len(ratings.items)))]
    places = [(n, one.systems[0]) for n, item in enumerate(ratings.items) for one in item.candidates]
    at, system = (np.array(part, int) for part in zip(*places))
    return [(name, ratings.scores[:, at, system, k], at) for k, name in enumerate(session.about["scales"])]


# === Raters ===


def rater_rows(session: Session) -> list[dict[str, Any]]:
    """Return for each rater: screens rated, seconds a screen, attention checks passed and taken."""
    items = {item.id: item for item in session.items}
    rows = []
    for name, answers in sorted(session.current().items()):
        checks = [passed(answer, items[answer["item"]]) for answer in answers if items[answer["item"]].kind == "check"]
        seconds = [answer["milliseconds"] / 1000 for answer in answers if answer["milliseconds"]]
        rows.append(
            {
                "rater": name,
                "screens": len(answers),
                "of": len(session.items),
                "seconds": float(np.median(seconds)) if seconds else None,
                "checks": len(checks),
                "passed": sum(checks),
                "attentive": sum(checks) >= len(checks) * (1 - FAILED) - 1e-9,
            }
        )
    return rows


def passed(answer: dict[str, Any], check: Item) -> bool:
    """Return whether an attention check was answered right: what is true of the example got more than what is not.

    With scales, by correctness where it is asked, else by the mean.
    """
    true, foreign = ({one.role: one.id for one in check.candidates}[role] for role in ("true", "foreign"))
    if "choice" in answer:
        return bool(answer["choice"] == true)

    def value(candidate: str) -> float:
        own = answer["scores"][candidate]
        return float(own.get("correctness", np.mean(list(own.values()))))

    return value(true) > value(foreign)
