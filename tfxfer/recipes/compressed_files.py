"""Making a run's model smaller: the files of each result, by the steps that `--to` names.

float16, int8, int4, lowrank, prune    the matrices of the file are coded, then biases corrected
shrink                                 fewer units, trained again, beside the same from fresh weights
merge-lora                             the layers with LoRA become plain ones
"""

import io
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tfxfer.arms.classifier import TaskBatches, compiled
from tfxfer.config import TrainingConfig
from tfxfer.errors import UserError
from tfxfer.fit import rate_schedule, train, validation_score
from tfxfer.models.batch_statistics import take_statistics
from tfxfer.models.coded_weights import CodedWeight, Matrix, encoded_arrays, read_weights, write_coded
from tfxfer.models.fresh import fresh_copy
from tfxfer.models.randomness import reset_seed_generators
from tfxfer.models.saved import load_model
from tfxfer.models.saved_folder import without_optimizer
from tfxfer.own_files import read_own_json, read_own_npz, write_own_json
from tfxfer.recipes.compress_methods import QUANTISERS, Step, Wanted
from tfxfer.recipes.compress_tasks import Answers, CompressedRun, Examples
from tfxfer.transfer.graph import unfreeze
from tfxfer.transfer.structure.compression.calibration import correct, moments_of
from tfxfer.transfer.structure.compression.lora import without_lora
from tfxfer.transfer.structure.compression.low_rank import factored
from tfxfer.transfer.structure.compression.matrices import Layout, matrices_in, variables_of
from tfxfer.transfer.structure.compression.narrowing import narrowed
from tfxfer.transfer.structure.compression.pruning import pruned, pruned_in_groups
from tfxfer.transfer.structure.compression.quantisation import quantised

MODEL, DESCRIBED = "model.keras", "model.json"
STATES = ("candidates.npz", "ranking.npz")  # what a captioner keeps beside its network
FITTED = "weights"  # the matrix in them that was fitted
BATCHES = 20  # whose statistics batch normalisation gets before a narrower model is trained again
AGAIN = "run the experiment again"


@dataclass(frozen=True)
class Result:
    """A model and what it takes.

    Attributes:
        name: "source", or what `--to` said.
        folder: Where it stands.
        numbers: How many numbers its file holds; a number that was pruned is none.
        notes: What else was done, in sentences.
        answers: Split -> what it answers.
        model: The opened model.
        cost: What `inference_cost.measure` found; empty where that was not asked for.
        control: Whether it is there for comparison only.
    """

    name: str
    folder: Path
    numbers: int
    notes: tuple[str, ...] = ()
    answers: dict[str, Answers] = field(default_factory=dict, repr=False)
    model: Any = field(default=None, repr=False)
    cost: dict[str, float] = field(default_factory=dict)
    control: bool = False

    @property
    def bytes(self) -> int:
        """Bytes of all files that the model is made of."""
        return sum((self.folder / name).stat().st_size for name in model_files(self.folder))


def model_files(folder: Path) -> list[str]:
    """Return the names of the files that a model is made of."""
    return [name for name in (MODEL, DESCRIBED, *STATES) if (folder / name).is_file()]


def numbers_of(path: Path) -> int:
    """Return how many numbers a model's file holds."""
    return sum(array.size for array in read_weights(path)[0].values())


class Maker:
    """Makes the results of one run.

    Args:
        run: The run.
        examples: Its examples, which a narrower model is trained on again.
        training: How.
        calibrate: How many training examples correct biases; 0 for none.
        work: Gets a folder for each result.
        say: Called with a line on each step.
    """

    def __init__(
        self,
        run: CompressedRun,
        examples: Examples,
        training: TrainingConfig,
        calibrate: int,
        work: Path,
        say: Callable[[str], None],
    ) -> None:
        self.run, self.examples, self.training, self.calibrate = run, examples, training, calibrate
        self.work, self.say = work, say

    def results(self, wanted: Wanted) -> Iterator[Result]:
        """Yield what was asked for, and its control where it has one."""
        shrinking = next((step for step in wanted.steps if step.name == "shrink"), None)
        if shrinking is None:
            yield self._coded(wanted, self.run.folder / MODEL, wanted.name)
            return
        narrow, note = self._narrowed(shrinking)
        fresh = fresh_copy(narrow, self.run.config.seed)
        for name, model in ((wanted.name, narrow), (f"{wanted.name} from fresh weights", fresh)):
            trained, rate = self._trained(model)
            self.say(f"{name}: trained again, learning rate {rate:g}")
            path = self.work / f"{_file_name(name)}.keras"
            without_optimizer(trained).save(path)
            yield replace(
                self._coded(wanted, path, name), notes=() if model is fresh else (note,), control=model is fresh
            )

    def _coded(self, wanted: Wanted, path: Path, name: str) -> Result:
        """Write the files of a result."""
        folder = self.work / _file_name(name)
        folder.mkdir()
        config, steps = self._config(path, wanted.steps), [s for s in wanted.steps if s.name in CODE]
        if steps:
            arrays, groups = read_weights(path)
            model = load_model(path)
            known = matrices_in(model, arrays)
            coded = code(known, arrays, steps)
            if self.calibrate:
                coded = self._calibrated(model, known, coded, folder)
            write_coded(path, folder / MODEL, coded, groups, config)
            numbers = sum(one.stored if isinstance(one, CodedWeight) else one.size for one in coded.values())
        else:
            _with_config(path, folder / MODEL, config)
            numbers = numbers_of(path)
        described = read_own_json(self.run.folder / DESCRIBED, AGAIN)
        write_own_json(folder / DESCRIBED, described | {"compressed": wanted.name})
        for state in STATES:
            if (self.run.folder / state).is_file():
                _write_state(self.run.folder / state, folder / state, steps)
        return Result(name, folder, numbers)

    def _calibrated(
        self, model: Any, known: Mapping[str, Layout], coded: Mapping[str, Any], folder: Path
    ) -> dict[str, Any]:
        """Return the weights with biases and statistics that belong to the coded matrices."""
        inputs = self.examples.calibration(model, self.calibrate)
        wanted, variables = moments_of(model, inputs), variables_of(model)
        for name, layout in known.items():
            variables[layout.path].assign(coded[name].decoded())
        correct(model, inputs, wanted)
        path = folder / "calibrated.keras"
        model.save(path)
        arrays = read_weights(path)[0]
        path.unlink()
        return {name: one if name in known else arrays[name] for name, one in coded.items()}

    def _config(self, path: Path, steps: Sequence[Step]) -> bytes | None:
        if not any(step.name == "merge-lora" for step in steps):
            return None
        with zipfile.ZipFile(path) as archive:
            config, count = without_lora(archive.read("config.json"))
        if not count:
            raise UserError(
                f"--to merge-lora: no layer of {self.run.folder} has LoRA; it is for models with Keras' `enable_lora`"
            )
        return config

    # === Fewer units ===

    def _narrowed(self, step: Step) -> tuple[Any, str]:
        if self.examples.task is None:
            raise UserError(
                f"--to {step}: the model of {self.run.folder} is a {self.run.described['class']}; the widths of its "
                "parts depend on each other; classifiers can lose units. For this one, use int8, lowrank or prune"
            )
        try:
            model, units = narrowed(load_model(self.run.folder / MODEL), step.number)
        except UserError as error:
            raise UserError(f"--to {step}: {self.run.folder}: {error}") from error
        shown = ", ".join(f"{name} {before} → {after}" for name, (before, after) in list(units.items())[:6])
        more = f" and {len(units) - 6} more" if len(units) > 6 else ""
        return model, f"{step}: units of {shown}{more}; the smallest L1 norms go."

    def _trained(self, model: Any) -> tuple[Any, float]:
        """Train all weights of a model again on the run's own labels; return it at the rate that validates best."""
        task, (budget, seed) = self.examples.task, self.run.saved
        unfreeze(model)
        data, batches = task.train(budget, seed), TaskBatches(task)
        size = min(self.training.batch_size, data.sizes["train"])
        take_statistics(model, batches.training(data, size, BATCHES, seed).map(lambda inputs, labels: inputs))
        network = compiled(model, jit=False)
        first, best = [np.array(weight) for weight in network.get_weights()], None
        for rate in self.training.learning_rates:
            network.set_weights(first)
            reset_seed_generators(network, seed)
            for variable in network.optimizer.variables:
                variable.assign(np.zeros(variable.shape, variable.dtype))
            steps = self.training.steps_for(data.sizes["train"])
            rows = batches.training(data, size, steps, seed)
            train(network, lambda epoch, skip, rows=rows: rows, 1,  # type: ignore[misc]
                  step_rate=rate_schedule(self.training.at(rate), steps))  # fmt: skip
            probabilities = np.asarray(network.predict(batches.inputs("validation"), verbose=0), np.float32)
            score = validation_score(probabilities, task.labels("validation"))
            if best is None or score > best[0]:
                best = score, rate, [np.array(weight) for weight in network.get_weights()]
        assert best is not None  # there is a learning rate
        model.set_weights(best[2])
        return model, best[1]


CODE: dict[str, Callable[[CodedWeight, Step, Any], CodedWeight]] = {  # step -> what it does to one matrix
    **dict.fromkeys(
        QUANTISERS, lambda weight, step, layout: quantised(weight, "float16" if layout.small else step.name)
    ),
    "lowrank": lambda weight, step, layout: factored(weight, step.number) if layout.one_map else weight,
    "prune": lambda weight, step, layout: (
        pruned_in_groups(weight, *step.groups) if step.groups else pruned(weight, step.number, layout.path)
    ),
}


def code(known: Mapping[str, Layout], arrays: Mapping[str, np.ndarray], steps: Sequence[Step]) -> dict[str, Any]:
    """Return the weights of a file with its matrices coded, by the names in the file.

    Args:
        known: Which of the arrays are matrices.
        arrays: All arrays of the file.
        steps: Steps of `CODE`, in order.

    Raises:
        UserError: Nothing of a matrix would be left, or there is no matrix.
    """
    found: dict[str, Any] = dict(arrays)
    if not known:
        raise UserError("the model has no matrix of 256 entries or more; there is nothing to compress")
    for name, layout in known.items():
        weight = layout.coded(arrays[name])
        for step in steps:
            if not layout.small or step.name in QUANTISERS:
                weight = CODE[step.name](weight, step, layout)
        found[name] = weight
    return found


def _write_state(source: Path, path: Path, steps: Sequence[Step]) -> None:
    """Write what a captioner keeps beside its network, its fitted matrix in the type of the network's."""
    arrays = read_own_npz(source, AGAIN)
    dtype = next((step.name for step in steps if step.name in QUANTISERS), None)
    if dtype and FITTED in arrays:
        matrix = np.asarray(arrays.pop(FITTED), np.float32)
        coded = CodedWeight(matrix.shape, (Matrix(matrix.reshape(len(matrix), -1), dtype),))
        arrays = {f"plain/{name}": one for name, one in arrays.items()} | encoded_arrays({FITTED: coded}, [*arrays])
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def _with_config(source: Path, path: Path, config: bytes | None) -> None:
    """Copy a `.keras` file, with another config.json where there is one."""
    if config is None:
        shutil.copyfile(source, path)
        return
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for member in old.infolist():
            new.writestr(member.filename, config if member.filename == "config.json" else old.read(member))


def zipped_bytes(folder: Path, path: Path) -> int:
    """Return the bytes of a model's files when they are only packed: the control of every quantisation."""
    arrays, groups = read_weights(folder / MODEL)
    write_coded(folder / MODEL, path, arrays, groups)
    total = path.stat().st_size + (folder / DESCRIBED).stat().st_size
    for state in STATES:
        if (folder / state).is_file():
            buffer = io.BytesIO()
            np.savez_compressed(buffer, **read_own_npz(folder / state, AGAIN))  # type: ignore[arg-type]
            total += len(buffer.getvalue())
    return total


def _file_name(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)
