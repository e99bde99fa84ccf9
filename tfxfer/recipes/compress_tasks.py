"""The examples that a saved run was validated and tested on, and how its model is scored on them.

A row of `KINDS` says for a class of saved model how its data are loaded again and what a model scores on each example,
with the run's own first measure.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tfxfer.config import options_of, with_options
from tfxfer.errors import UserError
from tfxfer.records import Comparison
from tfxfer.runs import Run

HELD = ("validation", "test")
Scored = Callable[[Any, str], "Answers"]


@dataclass(frozen=True)
class Answers:
    """What a model answers on a split.

    Attributes:
        scores: Measure -> float [N], higher is better.
        given: What was answered, to count where two models differ: [N], or for each question where N are images.
        probabilities: float32 [N, C] of a classifier, else None.
        texts: What it answered, where the task has texts.
    """

    scores: dict[str, np.ndarray]
    given: np.ndarray
    probabilities: np.ndarray | None = None
    texts: np.ndarray | None = None


@dataclass(frozen=True)
class Examples:
    """The validation and test examples of a run.

    Attributes:
        score: (model, split) -> its answers.
        inputs: Arguments of `predict` for some test examples, to measure what a prediction costs.
        calibration: (Keras model of the run, number) -> inputs of it: some training examples, without their labels.
        task: The classification task, where there is one; a narrower model is trained again on it.
        finish: (folder, model) -> writes what else belongs into the folder of a run.
    """

    score: Scored
    inputs: Callable[[], dict[str, np.ndarray]]
    calibration: Callable[[Any, int], Any]
    task: Any = None
    finish: Callable[[Path, Any], None] = field(default=lambda folder, model: None)


@dataclass(frozen=True)
class CompressedRun:
    """A finished run whose model is to be compressed, as far as it can be seen without TensorFlow.

    Attributes:
        folder: Its folder.
        described: Its model.json.
        comparison: Its records.
        config: Its recipe's config, as its config.yaml has it.
        recipe: The recipe's name.
        own_test: Whether its own test examples are asked, and not more or fewer.
    """

    folder: Path
    described: Mapping[str, Any]
    comparison: Comparison
    config: Any
    recipe: str
    own_test: bool = True

    @property
    def measure(self) -> str:
        """What its arms were compared by."""
        return self.comparison.measures[0]

    @property
    def saved(self) -> tuple[int | None, int]:
        """The budget and the seed of the model that was saved: the greatest budget and the first seed."""
        budgets = [record.budget for record in self.comparison.records if record.budget is not None]
        return max(budgets, default=None), self.config.seed


def config_of(folder: Path, data_dir: str | None) -> tuple[Any, str]:
    """Return the config of a run and the name of its recipe.

    Raises:
        UserError: There is no config.yaml, or it names no recipe.
    """
    import yaml

    from tfxfer.recipes import RECIPES

    try:
        told = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{folder}: its config.yaml cannot be read, so its data cannot be loaded again") from error
    name = told.get("recipe") if isinstance(told, dict) else None
    if name not in RECIPES:
        raise UserError(f"{folder}: its config.yaml is of '{name}'; runs of {', '.join(RECIPES)} are compressed")
    config = RECIPES[name].config()
    known = options_of(type(config))
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in told.items() if key in known}
    if data_dir:
        given["data_dir"] = data_dir
    return with_options(config, **given | {"run_dir": None}), name


# === Each kind of model ===


def _classes(run: CompressedRun, log: Run) -> Examples:
    from tfxfer.tasks.classification import Task, load_target

    described, target = run.described, run.config.target
    dataset = load_target(target, run.config, log)
    names, key = tuple(described["class_names"]), described["input"]
    dataset = dataset if tuple(dataset.class_names) == names else dataset.with_classes(names)
    limits = {"validation": target.max_validation or None, "test": target.max_test or None}
    dataset = dataset.with_at_most(**limits, seed=0)
    size = described.get("image_size")
    reading = {"image_size": tuple(size) if size else None, "channels": described.get("channels")}
    task = Task(dataset, key, reading if key == "image" else {})

    def inputs(split: str) -> Any:
        return dataset.texts(split) if key == "text" else dataset.arrays(split, **task.reading)["image"]

    held = {split: inputs(split) for split in HELD}

    def score(model: Any, split: str) -> Answers:
        probabilities = model.predict(held[split])
        places = probabilities.argmax(1)
        right = places == task.labels(split)
        return Answers({"accuracy": right.astype(float)}, places, np.asarray(probabilities, np.float32))

    def calibration(model: Any, count: int) -> Any:
        few = dataset.with_at_most(train=count, seed=run.config.seed)
        rows = few.texts("train") if key == "text" else few.arrays("train", **task.reading)["image"]
        return _cast(model.inputs[0], rows)

    return Examples(score, lambda: {key: np.asarray(held["test"][:32])}, calibration, task)


def _captions(run: CompressedRun, log: Run) -> Examples:
    from tfxfer.models.saved_folder import load_folder
    from tfxfer.models.tokenizer import WordPieceTokenizer
    from tfxfer.tasks.captioned_images import load_target, one_image_per_caption
    from tfxfer.transfer.knowledge.captioner import caption_measures

    config = run.config
    dataset = load_target(config.target, config, log)
    encoder = _ImageShape(load_folder(run.folder, "Captioner")[0].input["image"])
    tokenizer = WordPieceTokenizer(run.described["vocabulary"], run.described["lowercase"])
    limits = {"validation": config.target.max_validation, "test": config.target.max_test}
    size = config.target.image_size
    held = {split: one_image_per_caption(dataset, split, limit, size, encoder) for split, limit in limits.items()}

    def score(model: Any, split: str) -> Answers:
        images, references = held[split]
        maps = model.encode(images)
        length = config.training.max_length
        texts = [found[0] for found in model.predict(maps, max_length=length).texts]
        scores = caption_measures(texts, references, model.tokenizer)
        if split == "test":
            scores["log_likelihood"] = model.caption_likelihoods(maps, references, length)
        given = np.array(texts, dtype=np.str_)
        return Answers(scores, given, texts=given)

    def calibration(model: Any, count: int) -> Any:
        images, captions = one_image_per_caption(dataset, "train", count, size, encoder)
        token_ids = tokenizer.encode([texts[0] for texts in captions], config.training.max_length)[0]
        rows = {"image": images, "token_ids": token_ids, "padding_mask": token_ids != tokenizer.pad_id}
        return {name: _cast(model.input[name], one) for name, one in rows.items()}

    return Examples(score, lambda: {"images": held["test"][0][:32]}, calibration)


@dataclass(frozen=True)
class _ImageShape:
    """What `one_image_per_caption` asks of an encoder."""

    input: Any


def _answers(run: CompressedRun, log: Run) -> Examples:
    from tfxfer.evaluate.vqa import scores_by_image
    from tfxfer.tasks import visual_questions as task

    config, described = run.config, run.described
    dataset = task.load_target(config.target, config, log)
    shape = (*described["image_size"], described["channels"])
    made = task.made_here(dataset)
    limits = {"validation": config.target.max_validation, "test": config.target.max_test}

    def load(split: str, limit: int) -> Any:
        rows = task.about_characters(dataset, split) if made else task.from_columns(dataset, split)
        return task.few(dataset, split, rows, limit, shape)

    held = {split: load(split, limit) for split, limit in limits.items()}

    def score(model: Any, split: str) -> Answers:
        asked = held[split]
        texts = model.predict(asked.images, asked.texts, asked.image_index).texts
        right = np.array(texts) == np.array(asked.answers)
        shown = np.array([texts[i] for i in asked.first], dtype=np.str_)
        scores = {task.MEASURE: scores_by_image(right, asked.image_index)}
        return Answers(scores, np.array(texts, dtype=np.str_), texts=shown)

    def inputs() -> dict[str, np.ndarray]:
        asked = held["test"]
        few = asked.first[:32]
        return {"images": asked.images[asked.image_index[few]], "questions": np.array([asked.texts[i] for i in few])}

    def calibration(model: Any, count: int) -> Any:
        asked = load("train", count)
        questions = [asked.texts[i] for i in asked.first]
        rows = {"image": asked.images[asked.image_index[asked.first]], "question": questions}
        return {name: _cast(model.input[name], one) for name, one in rows.items()}

    return Examples(score, inputs, calibration)


def _pairs(run: CompressedRun, log: Run) -> Examples:
    from tfxfer.tasks import image_text_pairs as task

    config, described = run.config, run.described
    whole = task.load_pairs(config.target, config, 1, log)
    data = whole.with_at_most(train=1)  # nothing is asked about training images
    size = described["image_size"]
    how = {"image_size": tuple(size) if size else (data.image_shape or (64, 64))[:2], "channels": described["channels"]}
    images = {split: data.arrays(split, **how)["image"] for split in HELD}
    pairs = task.ImageTextPairs({}, task.captions_of(data), task.image_ids(data, how), None, config.ranking)

    def k(model: Any, split: str) -> np.ndarray:
        return model.predict(model.features(images[split]), pairs.texts(split))

    def score(model: Any, split: str) -> Answers:
        if split == "validation":
            scores = pairs.score(k(model, split), split)
            return Answers(scores, scores[run.measure])
        found = pairs.outcome(k(model, split), {}, validation=lambda: k(model, "validation"))
        return Answers(found.scores, found.scores[run.measure], texts=np.array(found.answers, dtype=np.str_))

    def finish(folder: Path, model: Any) -> None:
        features = {"test": model.features(images["test"])}
        every = replace(pairs, features=features, captions=task.captions_of(whole))
        task.save_gallery(folder, model, whole, every)

    def inputs() -> dict[str, np.ndarray]:
        texts = [captions[0] for captions in pairs.captions["test"][:32]]
        return {"images": images["test"][:32], "texts": np.array(texts)}

    def calibration(model: Any, count: int) -> Any:
        few = whole.with_at_most(train=count, seed=config.seed)
        rows = {"image": few.arrays("train", **how)["image"], "text": [one[0] for one in few.captions("train")]}
        return {name: _cast(model.input[name], one) for name, one in rows.items()}

    return Examples(score, inputs, calibration, finish=finish)


def _cast(wanted: Any, rows: Any) -> Any:
    """Return rows as an input of a model takes them."""
    import tensorflow as tf

    return tf.constant(list(rows)) if wanted.dtype == "string" else tf.cast(tf.constant(rows), wanted.dtype)


KINDS: dict[str, Callable[[CompressedRun, Run], Examples]] = {  # class of a saved model -> its examples
    "FeatureClassifier": _classes,
    "Classifier": _classes,
    "Captioner": _captions,
    "VisualQA": _answers,
    "DualEncoder": _pairs,
}
OTHERS = {  # class of a saved model -> why it is not compressed
    "Dictionary": "its maps are fitted in closed form and its texts are kept beside them",
    "LanguageModel": "a language model is scored by likelihood, and no margin has been chosen for that",
}
