"""The table of scores: what each needs, its range, its direction, and what it means in words."""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from tfxfer.choose.cka import cka
from tfxfer.choose.domain_gap import mmd, proxy_a_distance
from tfxfer.choose.gbc import gbc
from tfxfer.choose.h_score import h_score
from tfxfer.choose.leep import leep, nce
from tfxfer.choose.logme import logme
from tfxfer.choose.neighbours import knn_probe, mutual_knn
from tfxfer.choose.probe import cross_validated_probe
from tfxfer.choose.transrate import transrate
from tfxfer.errors import UserError, suggest

ARRAYS = {  # what a score may need -> what it is
    "features": "φ of the target's examples, [N, D]",
    "labels": "the target's classes, [N]",
    "probabilities": "the source's own class probabilities of the target's examples, [N, Z]",
    "other": "another representation of the target's examples, [N, E]",
    "source_features": "φ of the source's examples, [M, D]",
}


@dataclass(frozen=True)
class Score:
    """A row of the table of scores.

    Attributes:
        function: Takes the arrays of `needs`, in this order; returns a float.
        needs: Keys of `ARRAYS`.
        bounds: C -> the least and the greatest value for C classes.
        higher: What a higher value means, in plain words.
        better: Whether a higher value promises more of a transfer; for a domain gap, a lower one does.
        invariant: What changes nothing: "rows" (their order), "rotation" (of features), "labels" (their names).
        source: The paper.
    """

    function: Callable[..., float]
    needs: tuple[str, ...]
    bounds: Callable[[int], tuple[float, float]]
    higher: str
    better: bool
    invariant: tuple[str, ...]
    source: str


LABELLED, ANSWERS, ALIKE, GAP = (
    ("features", "labels"),
    ("probabilities", "labels"),
    ("features", "other"),
    ("source_features", "features"),
)
ALL = ("rows", "rotation", "labels")
BETWEEN = "class means lie further apart, in units of the spread"
OVERLAP = "classes, as Gaussians, overlap less"
NATS = "classes make the features shorter to code"
SAME = "two representations are more alike"
APART = "source and target lie further apart"


def _share(classes: int) -> tuple[float, float]:
    return 0.0, 1.0


def _information(classes: int) -> tuple[float, float]:
    return -math.log(classes), 0.0


def _between(classes: int) -> tuple[float, float]:
    return 0.0, classes - 1.0


def _overlap(classes: int) -> tuple[float, float]:
    return -classes * (classes - 1.0), 0.0


SCORES: dict[str, Score] = {
    "logme": Score(
        logme,
        LABELLED,
        lambda classes: (-1.42, 5.99),
        "a linear model fits the labels better",
        True,
        ALL,
        "You et al. 2021",
    ),
    "h_score": Score(h_score, LABELLED, _between, BETWEEN, True, ALL, "Bao et al. 2019"),
    "h_score_shrunk": Score(
        partial(h_score, shrinkage=True), LABELLED, _between, BETWEEN, True, ALL, "Ibrahim et al. 2021"
    ),
    "transrate": Score(
        transrate, LABELLED, lambda classes: (-math.inf, math.inf), NATS, True, ALL, "Huang et al. 2022, released code"
    ),
    "transrate_paper": Score(
        partial(transrate, weighting="paper"),
        LABELLED,
        lambda classes: (0.0, math.inf),
        NATS,
        True,
        ALL,
        "Huang et al. 2022",
    ),
    "gbc_diagonal": Score(gbc, LABELLED, _overlap, OVERLAP, True, ALL, "Pándy et al. 2022"),
    "gbc_spherical": Score(
        partial(gbc, covariance="spherical"), LABELLED, _overlap, OVERLAP, True, ALL, "Pándy et al. 2022"
    ),
    "knn_probe": Score(
        knn_probe,
        LABELLED,
        _share,
        "neighbours are more often of one class",
        True,
        ALL,
        "Cover and Hart 1967",
    ),
    "cross_validated_probe": Score(
        cross_validated_probe,
        LABELLED,
        _share,
        "a linear probe is right more often",
        True,
        ("labels",),
        "Alain and Bengio 2016",
    ),
    "leep": Score(
        leep,
        ANSWERS,
        _information,
        "the source's probabilities predict the label better",
        True,
        ("rows", "labels"),
        "Nguyen et al. 2020",
    ),
    "nce": Score(
        nce,
        ANSWERS,
        _information,
        "the source's answers predict the label better",
        True,
        ("rows", "labels"),
        "Tran et al. 2019",
    ),
    "cka": Score(cka, ALIKE, _share, SAME, True, ("rows", "rotation"), "Kornblith et al. 2019"),
    "cka_unbiased": Score(
        partial(cka, unbiased=True),
        ALIKE,
        lambda classes: (-math.inf, math.inf),
        SAME,
        True,
        ("rows", "rotation"),
        "Kornblith et al. 2019, Song et al. 2012",
    ),
    "mutual_knn": Score(
        mutual_knn, ALIKE, lambda classes: (-1.0, 1.0), SAME, True, ("rows", "rotation"), "Huh et al. 2024"
    ),
    "mmd": Score(mmd, GAP, lambda classes: (-2.0, 2.0), APART, False, ("rows", "rotation"), "Gretton et al. 2012"),
    "proxy_a_distance": Score(
        proxy_a_distance, GAP, lambda classes: (-2.0, 2.0), APART, False, (), "Ben-David et al. 2007"
    ),
}


@dataclass(frozen=True)
class Scored:
    """What a score gave.

    Attributes:
        name: A key of `SCORES`.
        value: The score; None where these arrays give none.
        seconds: What it took.
        why_not: Why there is no value.
    """

    name: str
    value: float | None
    seconds: float
    why_not: str = ""


def score(arrays: Mapping[str, Any], names: Iterable[str] | None = None) -> list[Scored]:
    """Compute the scores whose arrays are given, in the order of `SCORES`.

    Args:
        arrays: Keys of `ARRAYS` -> the arrays.
        names: Which scores; by default all whose needs are met.

    Returns:
        A `Scored` of each. Arrays that a score refuses give no value and a reason, and do not stop the others.

    Raises:
        UserError: There is no such array or score, or a named score lacks an array.

    Example:
        >>> found = score({"probabilities": [[1, 0], [1, 0], [0, 1]], "labels": ["a", "a", "b"]})
        >>> [(one.name, one.value) for one in found]
        [('leep', 0.0), ('nce', 0.0)]
    """
    chosen = None if names is None else set(names)
    for given, known, what in ((arrays, ARRAYS, "array"), (chosen or (), SCORES, "score")):
        for name in given:
            if name not in known:
                raise UserError(f"there is no {what} '{name}'; {suggest(name, known)}")
    for name in chosen or ():
        lacking = [need for need in SCORES[name].needs if need not in arrays]
        if lacking:
            raise UserError(f"{name} needs '{lacking[0]}': {ARRAYS[lacking[0]]}")
    asked = SCORES if chosen is None else [name for name in SCORES if name in chosen]
    return [_scored(name, arrays) for name in asked if set(SCORES[name].needs) <= set(arrays)]


def _scored(name: str, arrays: Mapping[str, Any]) -> Scored:
    row, started = SCORES[name], time.perf_counter()
    try:
        value, why_not = row.function(*(arrays[need] for need in row.needs)), ""
    except UserError as error:
        value, why_not = None, str(error)
    return Scored(name, value, time.perf_counter() - started, why_not)
