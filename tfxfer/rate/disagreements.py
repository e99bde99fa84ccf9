"""The items to look at: where raters disagree, and where people and an automatic score do."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfxfer.evaluate.comparison import measure_name
from tfxfer.rate.database import Session
from tfxfer.rate.ratings import Ratings, measures_of, over_raters, units

SHOWN = 8  # of each kind
RATERS_NAMED = 5
LEAST_SPREAD = 2  # of the ratings of one text; two votes for different texts are 2 apart


def disagreements(ratings: Ratings, session: Session, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Return the items on which raters disagree most, then those on which people and the first score do."""
    measures = measures_of(ratings)
    found = [(n, f"raters differ by {spread:g}") for n, spread in _most_spread(ratings, session)]
    for n, gap in _against_score(ratings, measures[0]) if measures else ():
        found.append((n, f"people and {measure_name(measures[0])} prefer opposite texts (by {gap:.2f})"))
    return [_card(ratings, n, why, labels, measures[:1]) for n, why in found]


def _most_spread(ratings: Ratings, session: Session) -> list[tuple[int, float]]:
    spreads: dict[int, float] = {}
    for _, table, items in units(ratings, session) if len(ratings.raters) > 1 else ():
        several = (~np.isnan(table)).sum(0) > 1
        for unit in np.flatnonzero(several):
            spread = float(np.nanmax(table[:, unit]) - np.nanmin(table[:, unit]))
            spreads[int(items[unit])] = max(spread, spreads.get(int(items[unit]), 0.0))
    order = sorted(spreads, key=lambda n: -spreads[n])
    return [(n, spreads[n]) for n in order if spreads[n] >= LEAST_SPREAD][:SHOWN]


def _against_score(ratings: Ratings, measure: str) -> list[tuple[int, float]]:
    gaps: dict[int, float] = {}
    for p, (i, j) in enumerate(ratings.pairs):
        human = over_raters(ratings.preferred[:, :, p]) - 0.5
        for n, item in enumerate(ratings.items):
            if i in item.scores and j in item.scores and measure in item.scores[i] and human[n]:
                gap = item.scores[i][measure] - item.scores[j][measure]
                if gap * human[n] < 0:
                    gaps[n] = max(abs(gap), gaps.get(n, 0.0))
    return [(n, gaps[n]) for n in sorted(gaps, key=lambda n: -gaps[n])][:SHOWN]


def _card(ratings: Ratings, n: int, why: str, labels: Sequence[str], measures: Sequence[str]) -> dict[str, Any]:
    """Return an item with its answers and what people said of each."""
    item = ratings.items[n]
    texts = {system: one.text for one in item.candidates for system in one.systems}
    answers = []
    for system in sorted(texts):
        said = _said(ratings, n, system)
        answer = {"system": labels[system], "text": texts[system], "people": said}
        answers.append(answer | {name: item.scores[system].get(name) for name in measures})
    about = {"item": item.id, "row": item.row, "why": why, "true": " · ".join(item.references)}
    return about | {"question": item.text or item.question, "answers": answers}


def _said(ratings: Ratings, n: int, system: int) -> str:
    """Return what each rater said of a system's answer to an item: the mean over the scales, or who chose it."""
    scores = ratings.scores[:, n, system]
    if scores.shape[1]:
        means = [(name, row.mean()) for name, row in zip(ratings.raters, scores) if not np.isnan(row).any()]
        return _first_few([f"{name} {mean:.1f}" for name, mean in means])
    chose = [name for r, name in enumerate(ratings.raters) if _chose(ratings, n, system, r)]
    return f"chosen by {_first_few(chose)}" if chose else "not chosen"


def _first_few(texts: Sequence[str]) -> str:
    return ", ".join(texts[:RATERS_NAMED]) + (" …" if len(texts) > RATERS_NAMED else "")


def _chose(ratings: Ratings, n: int, system: int, r: int) -> bool:
    return any(
        ratings.preferred[r, n, p] == (1 if system == i else 0)
        for p, (i, j) in enumerate(ratings.pairs)
        if system in (i, j)
    )
