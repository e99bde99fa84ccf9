"""Systems that are rated: the answers of one arm of a run, with their automatic scores."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tfxfer.cache import sha256_file
from tfxfer.errors import UserError, suggest
from tfxfer.records import Comparison, Record
from tfxfer.run_folder import is_finished, is_run

KINDS = {"captions": "captions of images", "answers": "answers to questions", "classes": "classes of examples"}
SMALLEST = 1e-9  # of a probability, before its logarithm


@dataclass(frozen=True)
class System:
    """One arm of one run, trained with one seed.

    Attributes:
        label: Its name in a report; raters never see it.
        run: Name of the run's folder.
        key: SHA-256 of the run's `comparison.json`: another run, or the same run made again, has another.
        arm: Name of the arm.
        budget: Its budget; None for all examples.
        seed: Its seed.
        texts: What it answered to each test example [N].
        scores: Measure -> float [N], the automatic scores, higher is better.
    """

    label: str
    run: str
    key: str
    arm: str
    budget: int | None
    seed: int
    texts: list[str] = field(repr=False)
    scores: dict[str, np.ndarray] = field(repr=False)

    def plain(self) -> dict[str, Any]:
        """Return what a session keeps of it."""
        return {name: getattr(self, name) for name in ("label", "run", "key", "arm", "budget", "seed")}


@dataclass(frozen=True)
class RatedRun:
    """A finished run whose answers are texts.

    Attributes:
        folder: Its folder.
        comparison: Its records.
        kind: A key of `KINDS`.
    """

    folder: Path
    comparison: Comparison = field(repr=False)
    kind: str

    @classmethod
    def load(cls, given: str | Path) -> "RatedRun":
        """Read a run's folder.

        Raises:
            UserError: It is no run, it is not finished, or its answers are no texts.
        """
        folder = run_folder(given)
        comparison = Comparison.load(folder)
        kind = (
            "classes"
            if comparison.class_names
            else {"captioning": "captions", "vqa": "answers"}.get(comparison.recipe, "")
        )
        if not kind:
            raise UserError(
                f"{folder}: a run of '{comparison.recipe}', whose answers are no texts for people to rate; give a run "
                "of captioning, vqa, or a classification (feature, structure)"
            )
        return cls(folder, comparison, kind)

    def system(self, arm: str, budget: int | None, seed: int | None, label: str) -> System:
        """Return an arm as a system, at the greatest budget and with the first seed unless others are given.

        Raises:
            UserError: There is no such arm, budget or seed, or it failed.
        """
        record = self._record(arm, budget, seed)
        texts, scores = (_classes if self.kind == "classes" else _texts)(record, self.comparison)
        key = sha256_file(self.folder / "comparison.json")
        name = self.folder.resolve().name
        return System(label, name, key, arm, record.budget, record.seed, texts, scores)

    def _record(self, arm: str, budget: int | None, seed: int | None) -> Record:
        usable = [r for r in self.comparison.records if r.answers is not None or r.probabilities is not None]
        arms = list(dict.fromkeys(record.arm for record in usable))
        if arm not in arms:
            raise UserError(f"{self.folder}: there are no answers of an arm '{arm}'; {suggest(arm, arms)}")
        found = [record for record in usable if record.arm == arm and record.status == "ok"]
        wanted = {"--budget": budget, "--arm-seed": seed}
        greatest = max(found, key=lambda record: (record.budget is None, record.budget or 0)).budget
        wanted["--budget"] = greatest if budget is None else budget
        for option, name in (("--budget", "budget"), ("--arm-seed", "seed")):
            there = sorted({str(getattr(record, name)) for record in found})
            if wanted[option] is not None or option == "--budget":
                found = [record for record in found if getattr(record, name) == wanted[option]]
            if not found:
                raise UserError(f"{self.folder}: {option} {wanted[option]}: '{arm}' has {', '.join(there)}")
        return min(found, key=lambda record: record.seed)


def run_folder(given: str | Path) -> Path:
    """Return the folder of a finished run; raises `UserError` for anything else."""
    folder = Path(given).expanduser()
    if not folder.is_dir() or not is_run(folder):
        runs = folder.parent if folder.parent.is_dir() else Path("runs")
        near = [str(path) for path in runs.iterdir() if path.is_dir() and is_run(path)] if runs.is_dir() else []
        raise UserError(f"{folder}: is not the folder of a run; {suggest(str(folder), sorted(near))}")
    if not is_finished(folder):
        raise UserError(f"{folder}: this run is not finished; give its command again, and rate it then")
    return folder


def systems_of(
    runs: Sequence[RatedRun], arms: Sequence[str], budget: int | None, seed: int | None
) -> tuple[System, ...]:
    """Return the systems that a request names: each arm of each run.

    Raises:
        UserError: The runs have other tasks, test sets of other sizes, or other classes; or one is named twice.
    """
    for run in runs[1:]:
        _check_alike(runs[0], run)
    names = _short_names([run.folder for run in runs])
    found = []
    for run, name in zip(runs, names):
        for arm in arms:
            label = arm if len(runs) == 1 else name if len(arms) == 1 else f"{arm} of {name}"
            found.append(run.system(arm, budget, seed, label))
    seen: dict[tuple[Any, ...], str] = {}
    for system in found:
        place = (system.key, system.arm, system.budget, system.seed)
        if place in seen:
            raise UserError(f"{system.label}: is the same as {seen[place]}; name different runs, or --arms of one run")
        seen[place] = system.label
    return tuple(found)


def _check_alike(first: RatedRun, other: RatedRun) -> None:
    """Refuse two runs whose answers are no answers to the same test examples, and say what differs."""
    pair, one, two = f"{first.folder} and {other.folder}", first.comparison, other.comparison
    if first.kind != other.kind:
        raise UserError(f"{pair}: one has {KINDS[first.kind]}, the other {KINDS[other.kind]}; give runs of one task")
    if len(one.labels) != len(two.labels):
        raise UserError(
            f"{pair}: have other test sets: {len(one.labels):,} and {len(two.labels):,} examples; give runs with the "
            "same target and --max-test"
        )
    if one.class_names != two.class_names:
        odd = sorted(set(one.class_names) ^ set(two.class_names))
        what = f"'{odd[0]}' is in one of them only" if odd else "they stand in another order"
        raise UserError(f"{pair}: have other classes ({what}); give runs with the same target")


def _short_names(folders: Sequence[Path]) -> list[str]:
    """Return a name for each folder: its own, with its parent's where two are called alike."""
    own = [folder.resolve().name for folder in folders]
    return [n if own.count(n) == 1 else f"{f.resolve().parent.name}/{n}" for n, f in zip(own, folders)]


def _texts(record: Record, comparison: Comparison) -> tuple[list[str], dict[str, np.ndarray]]:
    assert record.answers is not None  # chosen so
    return [str(text) for text in record.answers], {k: np.asarray(v, float) for k, v in record.scores.items()}


def _classes(record: Record, comparison: Comparison) -> tuple[list[str], dict[str, np.ndarray]]:
    """Return the most likely class of each example, whether it is right, and the logarithm of the true class's."""
    assert record.probabilities is not None  # chosen so
    best, true = record.probabilities.argmax(-1), comparison.labels
    right = record.probabilities[np.arange(len(true)), true]
    scores = {"accuracy": (best == true).astype(float), "log_likelihood": np.log(np.maximum(right, SMALLEST))}
    return [comparison.class_names[i] for i in best], scores
