"""The results of an experiment: one `Record` for each arm, label budget and seed, and their `Comparison`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tfxfer.cache import atomic_file
from tfxfer.errors import UserError
from tfxfer.own_files import check_kinds, read_own_json, read_own_npz, reading_own, write_own_json

FORMAT = 3
SHIFT, BEFORE, AFTER = "shift", "source before", "source after"  # names of other test sets in `Record.elsewhere`
AGAIN = "run the experiment again with --config"
KINDS: dict[str, type] = {  # keys of comparison.json -> the types of their values
    "title": str,
    "class_names": list,
    "records": list,
    "verdicts": list,
    "examples": list,
    "costs": dict,
    "measures": list,
    "unit": str,
}
ARRAYS = (
    "probabilities",
    "scores",
    "answers",
    "checkpoints",
    "elsewhere",
)  # attributes of a record that do not go into JSON


@dataclass(frozen=True)
class Record:
    """One arm, trained once.

    Attributes:
        arm: Name of the arm: "transfer", "random", "scratch", "finetune", "native", "majority", …
        budget: Number of training examples, counted in the comparison's `unit` (labels a class, pairs, …); None when
            all were used.
        seed: Seed of the draw of training examples, of fresh weights and of the order of batches.
        status: "ok" or "failed".
        error: The error of a failed arm, in one sentence.
        metrics: Scores on the test split; has every measure of the comparison when status is "ok".
        settings: Hyperparameters chosen on the validation split, e.g. {"l2": 1e-3} or {"learning_rate": 3e-3}, and
            the validation score of each value that was tried.
        trainable: Number of trained parameters.
        seconds: Wall time of fitting and predicting, in seconds.
        probabilities: float32 [N, C] on the test split; None when the arm failed, or its predictions are not classes.
        scores: measure -> float [N] on the test split, higher is better, of tasks whose predictions are not classes.
        answers: Predicted texts [N], where the task has them.
        checkpoints: Step -> measure -> float [N] on the test split: what the network scored after that step of the
            training that gave this record; empty unless asked for, and for arms that train no network.
        elsewhere: Other test set -> float [M], the score of each of its examples, higher is better: "shift" of another
            domain, "source before" and "source after" of the source's own task, around fine-tuning. Empty without one.
        parameters: Number of all parameters of the network that trained; 0 where none did.
        optimizer_bytes: Size in bytes of the state of its optimizer; 0 where none trained.
    """

    arm: str
    budget: int | None
    seed: int
    status: str = "ok"
    error: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    trainable: int = 0
    seconds: float = 0.0
    probabilities: np.ndarray | None = field(default=None, repr=False, compare=False)
    scores: dict[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)
    answers: np.ndarray | None = field(default=None, repr=False, compare=False)
    checkpoints: dict[int, dict[str, np.ndarray]] = field(default_factory=dict, repr=False, compare=False)
    elsewhere: dict[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)
    parameters: int = 0
    optimizer_bytes: int = 0

    def plain(self) -> dict[str, Any]:
        """Return the record without its arrays, as JSON can hold it."""
        return {k: v for k, v in asdict(self).items() if k not in ARRAYS}

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the record's arrays by name, for an .npz file."""
        found = {"probabilities": self.probabilities, "answers": self.answers}
        found |= {f"score/{name}": values for name, values in self.scores.items()}
        found |= {f"elsewhere/{name}": values for name, values in self.elsewhere.items()}
        for step, scores in self.checkpoints.items():
            found |= {f"checkpoint/{step}/{name}": values for name, values in scores.items()}
        return {name: values for name, values in found.items() if values is not None}

    @classmethod
    def of(cls, plain: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> "Record":
        """Return the record that `plain` and `arrays` were made of."""
        scores = {name.removeprefix("score/"): arrays[name] for name in arrays if name.startswith("score/")}
        elsewhere = {name.removeprefix("elsewhere/"): arrays[name] for name in arrays if name.startswith("elsewhere/")}
        checkpoints: dict[int, dict[str, np.ndarray]] = {}
        for name in arrays:
            if name.startswith("checkpoint/"):
                _, step, measure = name.split("/", 2)
                checkpoints.setdefault(int(step), {})[measure] = arrays[name]
        return cls(
            **plain,
            probabilities=arrays.get("probabilities"),
            scores=scores,
            answers=arrays.get("answers"),
            checkpoints=checkpoints,
            elsewhere=elsewhere,
        )

    @property
    def key(self) -> str:
        """A name for this record that is unique within a comparison."""
        return f"{self.arm}-{self.budget or 'all'}-{self.seed}"


@dataclass(frozen=True)
class Comparison:
    """All records of one experiment on one test split, and their verdicts.

    Attributes:
        title: One line, e.g. "glyphs → languages by render".
        class_names: Names of the C classes; empty where predictions are not classes.
        labels: int32 [N], true classes of the test split; zeros where predictions are not classes.
        records: One `Record` for each arm, budget and seed.
        verdicts: One dict for each comparison of `transfer` with another arm at one budget, as
            `tfxfer.evaluate.Verdict.to_dict` writes it.
        examples: A few test examples that the report shows, JSON-like dicts with "index" and "text" or "png".
        costs: Time and memory of the run, e.g. {"source": 31.2, "features": 4.0} in seconds and "peak_memory_mib".
        measures: The metrics by which arms are compared; the first decides the primary verdict.
        unit: The unit of a budget: "labels a class", "pairs".
        recipe: Name of the recipe, to show it and to run it again; "" when unknown.
        source_seeds: Number of sources that were trained, each with a seed of its own: the i-th seed of an arm used the
            source i modulo this number. Intervals then hold the luck of the source's training too.
        contrasts: Pairs of arms that are compared besides transfer and each other arm, named before the run.
        about: The recipe's description of itself, JSON-like; every key may be missing. "equation" and "explanation"
            (texts), "arms" (arm -> its description, a text or a dict as `tfxfer.evaluate.arms.describe` reads it),
            "smoke" (whether it was a smoke run), "cautions" (sentences beside the verdict) and "command" (the command
            line).
    """

    title: str
    class_names: tuple[str, ...]
    labels: np.ndarray = field(repr=False)
    records: tuple[Record, ...] = ()
    verdicts: tuple[dict[str, Any], ...] = ()
    examples: tuple[dict[str, Any], ...] = ()
    costs: dict[str, float] = field(default_factory=dict)
    measures: tuple[str, ...] = ("accuracy",)
    unit: str = "labels a class"
    recipe: str = ""
    source_seeds: int = 1
    contrasts: tuple[tuple[str, str], ...] = ()
    about: dict[str, Any] = field(default_factory=dict)

    def select(self, arm: str, budget: int | None) -> list[Record]:
        """Return the successful records of one arm and budget, ordered by seed."""
        rows = [r for r in self.records if (r.arm, r.budget) == (arm, budget)]
        return sorted((r for r in rows if r.status == "ok"), key=lambda r: r.seed)

    @property
    def arms(self) -> list[str]:
        """Names of the arms, in the order in which they first appear."""
        return list(dict.fromkeys(r.arm for r in self.records))

    @property
    def budgets(self) -> list[int | None]:
        """The label budgets, ascending; None (all labels) last."""
        return sorted({r.budget for r in self.records}, key=lambda n: (n is None, n or 0))

    def correct(self, arm: str, budget: int | None) -> np.ndarray:
        """Return bool [S, N]: whether each seed's model classified each test example correctly."""
        rows = [r.probabilities for r in self.select(arm, budget) if r.probabilities is not None]
        if not rows:
            return np.zeros((0, len(self.labels)), bool)
        return np.stack([p.argmax(-1) == self.labels for p in rows])  # [S, N]

    def scores(self, arm: str, budget: int | None, measure: str | None = None) -> np.ndarray:
        """Return float [S, N]: each seed's score on each test example, by the first measure unless another is named."""
        measure = measure or self.measures[0]
        rows = [r.scores[measure] for r in self.select(arm, budget) if measure in r.scores]
        if measure == "accuracy" and not rows:
            return self.correct(arm, budget)
        return np.stack(rows) if rows else np.zeros((0, len(self.labels)))

    def at_checkpoint(self, halvings: int) -> "Comparison":
        """Return the records as they stood after 1/2^`halvings` of their steps; 0 is the last step of the training.

        Records without that checkpoint are left out. Their only setting is "steps".
        """
        found = []
        for record in self.records:
            steps = sorted(record.checkpoints, reverse=True)
            if len(steps) > halvings:
                scores = record.checkpoints[steps[halvings]]
                then: dict[str, Any] = {"scores": scores, "settings": {"steps": steps[halvings]}, "probabilities": None}
                found.append(replace(record, **then, checkpoints={}))
        return replace(self, records=tuple(found))

    def elsewhere(self, name: str) -> "Comparison":
        """Return the records with their scores on another test set of M examples in the place of their own.

        Records without that set are left out; `labels` is zeros [M], as for answers that are not classes.
        """
        measure = self.measures[0]
        found = [
            replace(record, scores={measure: record.elsewhere[name]}, probabilities=None, checkpoints={}, elsewhere={})
            for record in self.records
            if name in record.elsewhere
        ]
        count = len(found[0].scores[measure]) if found else 0
        return replace(self, records=tuple(found), labels=np.zeros(count, np.int32), measures=(measure,))

    def save(self, folder: str | Path) -> None:
        """Write `comparison.json` and `probabilities.npz` into `folder`, each atomically."""
        folder = Path(folder)
        plain = {
            "format": FORMAT,
            "title": self.title,
            "class_names": list(self.class_names),
            "records": [record.plain() for record in self.records],
            "verdicts": list(self.verdicts),
            "examples": list(self.examples),
            "costs": self.costs,
            "measures": list(self.measures),
            "unit": self.unit,
            "recipe": self.recipe,
            "source_seeds": self.source_seeds,
            "contrasts": [list(pair) for pair in self.contrasts],
            "about": self.about,
        }
        arrays = {f"{r.key}/{name}": values for r in self.records for name, values in r.arrays().items()}
        with atomic_file(folder / "probabilities.npz") as path, path.open("wb") as file:
            np.savez_compressed(file, labels=self.labels, **arrays)  # type: ignore[arg-type]
        write_own_json(folder / "comparison.json", plain)

    @classmethod
    def load(cls, folder: str | Path) -> "Comparison":
        """Read what `save` wrote.

        Raises:
            UserError: The folder holds no comparison, or one of another version of tfxfer.
            DamagedFile: One of the two files is damaged.
        """
        folder = Path(folder)
        try:
            plain = read_comparison(folder)
            arrays = read_own_npz(folder / "probabilities.npz", AGAIN, needed=("labels",))
        except FileNotFoundError as error:
            raise UserError(f"{folder}: not a finished run ({error.filename} is missing)") from error
        records = []
        with reading_own(folder / "comparison.json", AGAIN):
            for row in plain["records"]:
                own = f"{Record(**row).key}/"
                records.append(Record.of(row, {n.removeprefix(own): a for n, a in arrays.items() if n.startswith(own)}))
            source_seeds = int(plain.get("source_seeds", 1))
            contrasts = tuple((a, b) for a, b in plain.get("contrasts", []))
        return cls(
            title=plain["title"],
            class_names=tuple(plain["class_names"]),
            labels=arrays["labels"],
            records=tuple(records),
            verdicts=tuple(plain["verdicts"]),
            examples=tuple(plain["examples"]),
            costs=plain["costs"],
            measures=tuple(plain["measures"]),
            unit=plain["unit"],
            recipe=plain.get("recipe", ""),
            source_seeds=source_seeds,
            contrasts=contrasts,
            about=plain.get("about", {}),
        )


def read_comparison(folder: Path) -> dict[str, Any]:
    """Return what `comparison.json` holds, as `Comparison.save` wrote it.

    Raises:
        FileNotFoundError: There is none.
        DamagedFile: It is damaged.
        UserError: It was written by another version of tfxfer.
    """
    plain = read_own_json(folder / "comparison.json", AGAIN, {"format": int})
    if plain["format"] != FORMAT:
        raise UserError(f"{folder}: was written by another version of tfxfer; run it again with --config")
    check_kinds(folder / "comparison.json", plain, KINDS, AGAIN)
    return plain
