"""What ratings say, as plain data: preferences, means, agreement, strengths, and how automatic scores compare."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfxfer.evaluate.intervals import wilson
from tfxfer.evaluate.verdict import interval, too_few
from tfxfer.rate.agreement import (
    alpha_interval,
    bootstrap,
    bradley_terry,
    cohen_kappa,
    krippendorff_alpha,
    rank_correlation,
)
from tfxfer.rate.database import Session
from tfxfer.rate.disagreements import disagreements
from tfxfer.rate.ratings import Ratings, measures_of, over_raters, rater_rows, read, units

PRIOR = 1.0  # imagined ties between each two systems, for strengths
STRENGTH_DRAWS = 400


def figures(session: Session, only_attentive: bool = False) -> dict[str, Any]:
    """Return everything that a report says, JSON-like; see docs/rate.md for each figure.

    Args:
        session: The session.
        only_attentive: Leave out raters who failed more than a third of their attention checks.
    """
    raters = rater_rows(session)
    used = [row["rater"] for row in raters if row["attentive"] or not only_attentive]
    ratings = read(session, used)
    about = session.about
    labels = [one["label"] for one in about["systems"]]
    found: dict[str, Any] = {
        "session": about["id"],
        "title": about["title"],
        "kind": about["kind"],
        "ask": about["ask"],
        "scales": about["scales"],
        "systems": about["systems"],
        "items": len(ratings.items),
        "examples": about["counts"]["examples"],
        "raters": [row | {"used": row["rater"] in used} for row in raters],
        "rated": int((~np.isnan(ratings.preferred).all(2) | ~np.isnan(ratings.scores).all((2, 3))).sum()),
    }
    found["preference"] = [_preference(ratings, p, labels, about) for p in range(len(ratings.pairs))]
    found["means"] = _means(ratings, labels, about["scales"])
    found["differences"] = _differences(ratings, labels, about["scales"])
    found["agreement"] = _agreement(ratings, session)
    found["strengths"] = _strengths(ratings, labels)
    found["first_shown"] = _first_shown(session, used)
    found["automatic"] = [_automatic(ratings, labels, name) for name in measures_of(ratings)]
    found["disagreements"] = disagreements(ratings, session, labels)
    return found


def _first_shown(session: Session, raters: Sequence[str]) -> dict[str, Any] | None:
    """Return how often the text that was shown first was preferred, among screens of two texts without a tie."""
    kinds = {item.id: item.kind for item in session.items}
    first = []
    for name, answers in session.current().items():
        for answer in answers if name in raters else ():
            if kinds[answer["item"]] == "item" and len(answer["shown"]) == 2:
                one, other = (_value(answer, candidate) for candidate in answer["shown"])
                first += [one > other] if one != other else []
    if not first:
        return None
    low, high = wilson(sum(first), len(first)) or (0.0, 1.0)
    return {"share": sum(first) / len(first), "low": low, "high": high, "screens": len(first)}


def _value(answer: dict[str, Any], candidate: str) -> float:
    if "choice" in answer:
        return float(answer["choice"] == candidate)
    return round(float(np.mean(list(answer["scores"][candidate].values()))), 9)


# === Preferences and means ===


def _preference(ratings: Ratings, p: int, labels: Sequence[str], about: dict[str, Any]) -> dict[str, Any]:
    """Return how often the first of a pair is preferred, a tie as half; over items, and over the whole test set."""
    i, j = ratings.pairs[p]
    given = ratings.preferred[:, :, p]
    by_item = over_raters(given)
    by_item = by_item[~np.isnan(by_item)]
    found: dict[str, Any] = {"a": labels[i], "b": labels[j], "items": len(by_item)}
    found |= {"wins": int((given == 1).sum()), "ties": int((given == 0.5).sum()), "losses": int((given == 0).sum())}
    if not len(by_item):
        return found | {"share": None, "low": None, "high": None, "word": "no ratings"}
    share, low, high = interval(by_item)
    if too_few(by_item - 0.5, 0.95):
        low, high = min(low, 0.5), max(high, 0.5)
    different, examples = about["counts"]["different"][f"{i}-{j}"], about["counts"]["examples"]
    word = "preferred" if low > 0.5 else "less preferred" if high < 0.5 else "no evidence"
    found |= {"share": share, "low": low, "high": high, "word": word, "different": different, "examples": examples}
    if about["ask"] == "choice":  # only items with different answers were asked; the others are ties
        part = different / examples
        found["whole"] = {key: 0.5 + part * (found[key] - 0.5) for key in ("share", "low", "high")}
    return found


def _means(ratings: Ratings, labels: Sequence[str], scales: Sequence[str]) -> list[dict[str, Any]]:
    """Return the mean of each system on each scale and over them, over items."""
    rows = []
    for system, label in enumerate(labels):
        own = ratings.scores[:, :, system]  # [R, I, K]
        parts = {name: own[:, :, k] for k, name in enumerate(scales)} | {"mean": own.mean(2) if scales else own.sum(2)}
        for name, values in parts.items():
            by_item = over_raters(values)
            by_item = by_item[~np.isnan(by_item)]
            if len(by_item) and scales:
                mean, low, high = interval(by_item)
                ends = {"low": max(1.0, low), "high": min(5.0, high)}
                rows.append({"system": label, "scale": name, "mean": mean, **ends, "items": len(by_item)})
    return rows


def _differences(ratings: Ratings, labels: Sequence[str], scales: Sequence[str]) -> list[dict[str, Any]]:
    """Return the difference of the means of each pair on each scale, over the same items."""
    rows = []
    for i, j in ratings.pairs:
        for k, name in enumerate(scales):
            values = over_raters(ratings.scores[:, :, i, k] - ratings.scores[:, :, j, k])
            values = values[~np.isnan(values)]
            if len(values):
                mean, low, high = interval(values)
                if too_few(values, 0.95):
                    low, high = min(low, 0.0), max(high, 0.0)
                own = {"a": labels[i], "b": labels[j], "scale": name, "difference": mean, "low": low, "high": high}
                rows.append(own)
    return rows


def _strengths(ratings: Ratings, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Return Bradley–Terry strengths where there are more than two systems, with the chance to beat the first."""
    if len(labels) < 3 or np.isnan(ratings.preferred).all():
        return []
    wins = np.zeros((len(ratings.items), len(labels), len(labels)))
    for p, (i, j) in enumerate(ratings.pairs):
        wins[:, i, j] = np.nansum(ratings.preferred[:, :, p], 0)
        wins[:, j, i] = np.nansum(1 - ratings.preferred[:, :, p], 0)
    wins = wins[wins.sum((1, 2)) > 0]
    best = bradley_terry(wins.sum(0), PRIOR)

    def of_draw(weights: np.ndarray) -> np.ndarray:
        return bradley_terry(np.tensordot(weights, wins, 1), PRIOR)

    low, high = bootstrap(len(wins), of_draw, draws=STRENGTH_DRAWS)
    rows = [
        {"system": label, "strength": float(best[s]), "low": float(low[s]), "high": float(high[s])}
        for s, label in enumerate(labels)
    ]
    for s, row in enumerate(rows):
        row["beats_average"] = float(np.mean([1 / (1 + np.exp(o - best[s])) for n, o in enumerate(best) if n != s]))
    return sorted(rows, key=lambda row: -row["strength"])


# === Agreement ===


def _agreement(ratings: Ratings, session: Session) -> list[dict[str, Any]]:
    """Return α and κ of the raters for each scale, or for the choice; nothing for a single rater."""
    if len(ratings.raters) < 2:
        return []
    rows = []
    for name, table, groups in units(ratings, session):
        weights = None if name == "choice" else "quadratic"
        kappas = [
            {"a": ratings.raters[a], "b": ratings.raters[b], "kappa": cohen_kappa(table[a], table[b], weights)}
            for b in range(len(table))
            for a in range(b)
        ]
        alpha = krippendorff_alpha(table)
        ends = alpha_interval(table, "ordinal", groups) if alpha is not None else None
        both = int(((~np.isnan(table)).sum(0) > 1).sum())
        low, high = ends or (None, None)
        rows.append({"scale": name, "alpha": alpha, "low": low, "high": high, "units": both, "kappas": kappas})
    return rows


# === Automatic scores ===


def _automatic(ratings: Ratings, labels: Sequence[str], measure: str) -> dict[str, Any]:
    """Return how an automatic score goes with people: rank correlation over texts, and over pairs who agrees."""
    metric = np.full((len(ratings.items), len(labels)), np.nan)
    for n, item in enumerate(ratings.items):
        for system, scores in item.scores.items():
            metric[n, system] = scores.get(measure, np.nan)
    found: dict[str, Any] = {"measure": measure, "correlation": None, "low": None, "high": None, "texts": 0}
    human = over_raters(ratings.scores.mean(3)) if ratings.scores.shape[3] else np.full(metric.shape, np.nan)
    both = ~(np.isnan(human) | np.isnan(metric))
    if both.any():
        found |= _correlation(human, metric, both)
    return found | _same_direction(ratings, metric)


def _correlation(human: np.ndarray, metric: np.ndarray, both: np.ndarray) -> dict[str, Any]:
    """Return Spearman's correlation over texts, [I, S], with its bootstrap over items."""
    kept = np.flatnonzero(both.any(1))
    value = rank_correlation(human[both], metric[both])
    found = {"correlation": value, "texts": int(both.sum())}
    if value is None:
        return found

    def of_draw(weights: np.ndarray) -> float:
        rows = np.repeat(kept, weights)
        there = both[rows]
        drawn = rank_correlation(human[rows][there], metric[rows][there])
        return np.nan if drawn is None else drawn

    low, high = (float(end) for end in bootstrap(len(kept), of_draw, draws=500))
    return found | {"low": None if np.isnan(low) else low, "high": None if np.isnan(high) else high}


def _same_direction(ratings: Ratings, metric: np.ndarray) -> dict[str, Any]:
    """Return in what share of pairs, of those that people and score both decide, they name the same text."""
    right = total = undecided = 0
    for p, (i, j) in enumerate(ratings.pairs):
        human, score = over_raters(ratings.preferred[:, :, p]) - 0.5, metric[:, i] - metric[:, j]
        decided = ~np.isnan(human) & ~np.isnan(score) & (human != 0)
        right += int((np.sign(human) == np.sign(score))[decided].sum())
        total += int((decided & (score != 0)).sum())
        undecided += int((decided & (score == 0)).sum())
    low, high = wilson(right, total) or (None, None)
    share = right / total if total else None
    return {"same": share, "same_low": low, "same_high": high, "pairs": total, "score_tied": undecided}
