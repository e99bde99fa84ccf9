"""Visual question answering: K = f(X)·g(Y) + h(X, Y) over a picture's places and a question, pooled to an answer.

    f   the picture encoder: by default a CNN that learned to tell other characters apart, locked
    g   the question encoder: by default a BERT that read names of characters, trained on
    h   the question's tokens look at the picture's places
    K   pooled over the places: by default answers to questions about characters that no training split has shown

Command:   python -m tfxfer.train vqa
Replay:    python -m tfxfer.train vqa --config runs/vqa-<time>/config.yaml
A question often says enough to guess the answer; so what is answered without the picture stands beside what is
answered with it. Time, scores and machine: docs/results.md. Seeds: 0, 1, 2.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import keras
import numpy as np

import tfxfer
from tfxfer.arms.controls import has_model
from tfxfer.arms.feature import fresh_copy
from tfxfer.arms.vqa import MEASURE, VQAArm, Lessons, majority, native, prior
from tfxfer.cache import key_of
from tfxfer.config import RetrievalConfig, TaskConfig, VqaConfig
from tfxfer.data.dataset import Dataset
from tfxfer.experiment import Arm, Experiment
from tfxfer.models.randomness import seeded
from tfxfer.models.tokenizer import WordPieceTokenizer
from tfxfer.recipes.device import prepare
from tfxfer.recipes.feature import conclude, load_source, records_folder, run_arms
from tfxfer.recipes.panels import vqa_diagnostics as answering
from tfxfer.recipes.retrieval import load_language
from tfxfer.runs import Run
from tfxfer.tasks.classification import SHOWN, png
from tfxfer.tasks.visual_questions import Questions, answer_names, load_questions, load_target, say_unseen
from tfxfer.transfer.bridges.tokens import learn_vocabulary
from tfxfer.transfer.graph import clone, fingerprint
from tfxfer.models.batching import in_batches
from tfxfer.transfer.knowledge.question_batches import QuestionBatch
from tfxfer.transfer.knowledge.text_towers import TextTower, bert_tower, small_tower
from tfxfer.transfer.knowledge.visual_qa import VisualQA, pooled_encoder


def run(config: VqaConfig) -> Path:
    """Run the experiment that `config` describes; return the run's folder."""
    config = smoke(config) if config.smoke else config
    this = Run("vqa", config)
    try:
        this.say(f"tfxfer {tfxfer.__version__} · visual question answering · {prepare(config)} · {this.folder}")
        language = None if config.texts == "small" else load_language(language_config(config), this)
        dataset = load_target(config, this)
        encoder, shape = load_encoder(config, dataset, this)
        questions = load_questions(dataset, config, shape[:2], shape[2], this)
        names = answer_names(questions["train"], config.max_answers)
        with this.phase("features"):
            made = Arms(encoder, shape, language, questions, names, config, this)
        drawn = made.lessons(*made.transfer.keep).questions["train"]
        unseen = say_unseen(questions, names, drawn, this)
        told = unseen | answering.say_read(made.transfer.qa.questions, questions, this)
        experiment = Experiment(
            title=f"{config.target}: questions about pictures",
            class_names=(),
            labels=np.zeros(len(questions["test"].images), np.int32),
            arms=tuple(arm for arm in made.arms() if arm.name in config.arms),
            budgets=tuple(sorted(config.pictures)),
            seeds=tuple(range(config.seed, config.seed + config.seeds)),
            examples=tuple(examples(questions["test"])),
            measures=(MEASURE,),
            unit="pictures",
            recipe="vqa",
        )
        keys = (dataset.fingerprint, fingerprint(language[0]) if language else "small", fingerprint(encoder))
        with this.phase("arms"):
            comparison = run_arms(experiment, this, records_folder(config, ("controls_at",), *keys, key_of(names)))
        with this.phase("saving and report"):
            if has_model(comparison, this):
                answering.save(made.transfer.final(), shape, this)
                answering.write(made.transfer, made.lessons(*made.transfer.keep), comparison, told, this)
        conclude(comparison, this)
        return this.folder
    finally:
        this.close()


def smoke(config: VqaConfig) -> VqaConfig:
    """Return the config shrunk to seconds: the same code, so little data that the figures mean nothing."""
    few: dict[str, Any] = {"pictures": (8, 16), "controls_at": (16,), "updates": 2, "learning_rates": (1e-3,)}
    few |= {"encoder_epochs": 1, "texts_epochs": 1, "texts_max": 512, "max_validation": 12, "max_test": 24}
    return replace(config, seeds=min(config.seeds, 2), batch_size=8, **few)


def language_config(config: VqaConfig) -> RetrievalConfig:
    """Return the config by which the question encoder reads texts, as the retrieval recipe's text tower does."""
    own = {name: getattr(config, name) for name in ("texts", "texts_epochs", "texts_max", *SHARED)}
    return RetrievalConfig(**own)


SHARED = ("seed", "precision", "jit", "download", "data_dir")


def load_encoder(config: VqaConfig, dataset: Dataset, this: Run) -> tuple[keras.Model, tuple[int, int, int]]:
    """Return the picture encoder, and the pictures' height, width and channels as it takes them."""
    stored = dataset.image_shape
    size = (config.image_size,) * 2 if config.image_size else stored[:2] if stored else (64, 64)
    channels = stored[2] if stored else next(iter(dataset.splits.values())).channels
    if config.encoder.startswith("fresh:"):
        encoder = tfxfer.source(config.encoder, input_shape=(*size, channels), seed=config.seed)
    else:
        encoder = load_source(encoder_config(config), this, size)
    height, width, channels = encoder.input.shape[1:]
    return encoder, (height or size[0], width or size[1], channels)


def encoder_config(config: VqaConfig) -> TaskConfig:
    """Return the config by which the picture encoder is trained or loaded, as the knowledge recipe's is."""
    return TaskConfig(
        source=config.encoder,
        source_label=config.encoder_label,
        source_epochs=config.encoder_epochs,
        source_max=512 if config.smoke else TaskConfig.source_max,
        image_size=config.image_size,
        **{name: getattr(config, name) for name in SHARED},
    )


class Arms:
    """The arms over one `VisualQA`.

    Args:
        encoder: The picture encoder; never changed.
        shape: (H, W, C) of the pictures.
        language: A BERT and its word pieces, never changed; None for a small question encoder.
        questions: split → questions.
        names: The answers.
        config: The request.
        this: The run.
    """

    def __init__(
        self,
        encoder: keras.Model,
        shape: tuple[int, int, int],
        language: tuple[keras.Model, WordPieceTokenizer] | None,
        questions: dict[str, Questions],
        names: tuple[str, ...],
        config: VqaConfig,
        this: Run,
    ) -> None:
        self.encoder, self.shape, self.language = encoder, shape, language
        self.questions, self.names, self.config, self.this = questions, names, config, this
        self._held: dict[str, QuestionBatch] = {}
        self.words = [] if language else learn_vocabulary(questions["train"].texts, "words")
        self.qa = self.build(self.encoder_of(config.seed), self.bert(config.seed), config.seed)
        self.transfer = self.answerer("transfer", self.lessons)

    def arms(self) -> list[Arm]:
        """Return all arms."""
        controls = self.config.controls_at or (max(self.config.pictures),)
        networks: list[tuple[str, VQAArm, tuple[int, ...] | None]] = [("transfer", self.transfer, None)]
        networks += [("random", self.answerer("random", self.by_fresh_eyes, fresh_f=True, fresh_g=True), None)]
        networks += [("random_f", self.answerer("random_f", self.by_fresh_eyes, fresh_f=True), controls)]
        networks += [("random_g", self.answerer("random_g", self.lessons, fresh_g=True), controls)]
        changed: dict[str, Callable[[int | None, int], Lessons]] = {
            "question_only": lambda budget, seed: self.lessons(budget, seed).blind(),
            "shuffled": lambda budget, seed: self.lessons(budget, seed).shuffled(seed),
        }
        networks += [(name, self.answerer(name, lessons), controls) for name, lessons in changed.items()]
        arms = [Arm(name, network, budgets, recall=network.recall) for name, network, budgets in networks]
        plain: dict[str, Callable[[dict[str, Questions]], Any]] = {
            "prior": prior,
            "native": lambda drawn: native(drawn, self.names),
            "majority": majority,
        }
        return arms + [Arm(name, self.plainly(how)) for name, how in plain.items()]

    def plainly(self, how: Callable[[dict[str, Questions]], Any]) -> Callable[[int | None, int], Any]:
        """Return an arm that needs no network."""
        return lambda budget, seed: how(self.drawn(budget, seed))

    def answerer(
        self, name: str, lessons: Callable[[int | None, int], Lessons], fresh_f: bool = False, fresh_g: bool = False
    ) -> VQAArm:
        """Return an arm that trains the model from its start."""

        def report(row: dict[str, Any]) -> None:
            self.this.metric("arm training", arm=name, **row)

        fresh_f = fresh_f and self.config.train_encoder  # a locked encoder is none of the weights that train
        return VQAArm(self.qa, lambda seed: self.start(fresh_f, fresh_g, seed), lessons, self.config, report)

    @lru_cache(maxsize=8)  # noqa: B019 - one object a run
    def start(self, fresh_f: bool, fresh_g: bool, seed: int) -> list[np.ndarray]:
        """Return the weights that a training begins with."""
        begun = self.build(self.encoder_of(seed, fresh_f), self.bert(seed, fresh_g), seed)
        return [np.array(weight) for weight in begun.trained.get_weights()]

    def build(self, encoder: keras.Model, bert: keras.Model | None, seed: int) -> VisualQA:
        """Return a model over an encoder and a BERT, the rest of it fresh."""
        seeded(seed)
        config = self.config
        h = None if config.interaction == "bilinear" else config.interaction
        sizes = {name: getattr(config, name) for name in ("dim", "heads", "dropout", "train_encoder")}
        return VisualQA(encoder, self.tower(bert), self.names, self.shape, h=h, **sizes)

    def tower(self, bert: keras.Model | None) -> TextTower:
        """Return the question encoder: over a BERT, or a small one that knows the words of the training questions."""
        if bert is None or self.language is None:
            return small_tower(self.words, self.config.length, "words", self.config.dim)
        words = self.language[1]
        return bert_tower(bert, words.vocabulary, self.config.length, words.lowercase)

    def bert(self, seed: int, fresh: bool = False) -> keras.Model | None:
        """Return a BERT to train: a copy of the one that has read, or one with fresh weights."""
        if self.language is None:
            return None
        return fresh_copy(self.language[0], seed) if fresh else clone(self.language[0])

    def encoder_of(self, seed: int, fresh: bool = False) -> keras.Model:
        """Return a picture encoder: fresh, or the learned one (a copy of it where it trains)."""
        if fresh or self.config.encoder.startswith("fresh:"):
            return fresh_copy(self.encoder, seed)
        return clone(self.encoder) if self.config.train_encoder else self.encoder

    @lru_cache(maxsize=4)  # noqa: B019
    def drawn(self, budget: int | None, seed: int) -> dict[str, Questions]:
        """Return the questions with `budget` pictures in training."""
        return self.questions | {"train": self.questions["train"].drawn(budget, seed)}

    @lru_cache(maxsize=4)  # noqa: B019
    def lessons(self, budget: int | None, seed: int) -> Lessons:
        """Return the questions as the learned picture encoder sees their pictures."""
        drawn = self.drawn(budget, seed)
        if not self._held:
            self._held = {split: self.qa.asked(*pairs(drawn[split])) for split in ("validation", "test")}
        return Lessons(drawn, {"train": self.qa.asked(*pairs(drawn["train"])), **self._held})

    @lru_cache(maxsize=4)  # noqa: B019
    def by_fresh_eyes(self, budget: int | None, seed: int) -> Lessons:
        """Return the questions as a picture encoder of the same architecture sees them that never learned anything."""
        lessons = self.lessons(budget, seed)
        if self.config.train_encoder:  # then the model reads pixels, and its own encoder begins fresh
            return lessons
        grids = in_batches(pooled_encoder(self.encoder_of(seed, fresh=True), self.shape))
        images = {split: asked.images for split, asked in lessons.questions.items()}
        return replace(lessons, asked={s: a._replace(sight=grids(images[s])) for s, a in lessons.asked.items()})


def pairs(questions: Questions) -> tuple[np.ndarray, Any, list[str], list[str]]:
    """Return what `VisualQA.asked` takes."""
    return questions.images, questions.picture, questions.texts, questions.answers


def examples(test: Questions) -> Iterator[dict[str, Any]]:
    """Yield test pictures for people, evenly spaced, with their first question and its answer."""
    count = len(test.images)
    for row in np.unique(np.linspace(0, count - 1, min(SHOWN, count)).astype(int)):
        asked = test.first[row]
        shown = {"text": test.texts[asked], "true": test.answers[asked]}
        yield {"index": int(row), "png": png(test.images[row]), **shown}
