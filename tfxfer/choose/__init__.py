"""Transferability scores: figures that say, before anything is trained, how well features suit a task.

Arrays in, a float out. `SCORES` is the table: what each score needs, its range, its direction and its paper. None of
them is right everywhere (docs/scores.md); compare each with what random weights give.

- `logme`, `h_score`, `transrate`, `gbc`, `knn_probe`, `cross_validated_probe`: features and labels of the target.
- `leep`, `nce`: the source's own class probabilities and the target's labels.
- `cka`, `mutual_knn`: two representations of the same examples.
- `mmd`, `proxy_a_distance`: source and target examples in one feature space.
- `score`: all whose arrays are given.
- `advise`: pilots of all candidates within a budget, ranked by what finished transfers lead one to expect.
"""

from tfxfer.choose.advice import advise
from tfxfer.choose.cka import cka
from tfxfer.choose.domain_gap import mmd, proxy_a_distance
from tfxfer.choose.gbc import gbc
from tfxfer.choose.h_score import h_score
from tfxfer.choose.leep import leep, nce
from tfxfer.choose.logme import logme
from tfxfer.choose.neighbours import Alignment, knn_probe, mutual_knn, mutual_knn_alignment
from tfxfer.choose.probe import cross_validated_probe
from tfxfer.choose.scores import ARRAYS, SCORES, Score, Scored, score
from tfxfer.choose.transrate import transrate

__all__ = [
    "ARRAYS",
    "SCORES",
    "Alignment",
    "Score",
    "Scored",
    "advise",
    "cka",
    "cross_validated_probe",
    "gbc",
    "h_score",
    "knn_probe",
    "leep",
    "logme",
    "mmd",
    "mutual_knn",
    "mutual_knn_alignment",
    "nce",
    "proxy_a_distance",
    "score",
    "transrate",
]
