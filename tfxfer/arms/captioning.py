"""The arms of captioning: one `Captioner`, compiled once, trained from different starts or with something taken away.

transfer   the decoder starts as the language model
random     it starts with fresh weights
blind      as transfer, and every image is the mean training image
shuffled   as transfer, and captions belong to other images
neighbour  no decoder: the caption of the training image with the nearest features
closed_form         no decoder: the caption of the greatest f·g, by ridge regression
closed_form_random  the same over an image encoder with fresh weights
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from tfxfer.arms.trained import Report, Trained, TrainedArm, Weights
from tfxfer.baselines.language_ngrams import nats
from tfxfer.config import CaptionTrainingConfig, middle
from tfxfer.experiment import Outcome
from tfxfer.fit import sweep
from tfxfer.models.decoder import prefix_length_of
from tfxfer.models.tokenizer import WordPieceTokenizer
from tfxfer.models.train_sets import TrainSet
from tfxfer.records import Record
from tfxfer.tasks.captioned_images import CaptionedMaps
from tfxfer.transfer.knowledge.caption_model import new_weight_paths
from tfxfer.transfer.knowledge.captioner import Captioner, FeatureMaps, as_written, caption_measures
from tfxfer.transfer.structure.train_set import changed, choose

CHOICES = {  # option with a grid -> the setting of a record that an arm chooses from it
    "decoder_lr_scales": "decoder_lr_scale",
    "freeze_decoder_fractions": "freeze_decoder_fraction",
}
NEW = "new captions"  # setting of a record: the share of its answers that are not among the training captions
Drawn = Callable[[int, int], CaptionedMaps]  # (pairs, seed) -> what is learned and answered


class CaptioningArm(TrainedArm):
    """An arm that trains a `Captioner` for every budget and seed.

    Args:
        captioner: The same object for all arms.
        start: seed -> weights of its model that training begins with.
        drawn: (pairs, seed) -> what is learned and answered.
        training: Steps, learning rates and the rest.
        keep: The (pairs, seed) whose weights `final` returns.
        ranking: "both" ranks the hypotheses of beam search by h + λ f·g, "decoder" by h alone.
        report: Called with a row after each validation.
        candidates: "none" answers by beam search; "train" ranks training captions and hypotheses by f·g + β·h; a list
            of captions does the same with these.
    """

    def __init__(
        self,
        captioner: Captioner,
        start: Callable[[int], Weights],
        drawn: Drawn,
        training: CaptionTrainingConfig,
        keep: tuple[int, int],
        ranking: str = "both",
        report: Report | None = None,
        candidates: str | Sequence[str] = "none",
    ) -> None:
        super().__init__(training, start, keep)
        self.captioner, self.drawn, self.ranking, self.on_validation = captioner, drawn, ranking, report
        self.candidates = candidates
        # budget -> option -> the value chosen, and the validation score of each that was tried
        self.chosen: dict[int | None, dict[str, tuple[float, dict[str, float]]]] = {}

    @property
    def model(self) -> keras.Model:
        """The caption model."""
        return self.captioner.model

    def train(self, learning_rate: float, budget: int | None, seed: int) -> tuple[float, dict[str, Any]]:
        """Train once; return the mean log-likelihood of the validation captions' tokens."""
        task, training = self.drawn(budget or 0, seed), self.training_at(learning_rate, budget)
        history = self.captioner.fit(
            *task.pairs("train"),
            validation=task.pairs("validation"),
            training=training,
            seed=seed,
            on_validation=self.on_validation and self._row(learning_rate, budget, seed),
            callbacks=self.watching(training.steps),
        )
        return max(history.history["validation"]), {}

    def search(self, budget: int | None, seed: int) -> tuple[float, Trained, dict[str, float]]:
        """Choose the learning rate at the middle of the other grids, then from each of these at that rate."""
        self.chosen[budget] = {}
        rate, trained, tried = super().search(budget, seed)
        score = tried[f"{rate:g}"]
        for option in CHOICES:
            grid, begun = getattr(self.training, option), (score, trained)

            def at(value: float, option: str = option, begun: tuple[float, Trained] = begun) -> tuple[float, Trained]:
                if value == middle(getattr(self.training, option)):
                    return begun
                self.chosen[budget][option] = value, {}
                return self._trained(rate, budget, seed)

            value, trained, values = sweep(grid, at)
            self.chosen[budget][option], score = (value, values), values[f"{value:g}"]
        return rate, trained, tried

    def recall(self, record: Record) -> None:
        """Go on with what an earlier run's first seed chose."""
        super().recall(record)
        settings, chosen = record.settings, self.chosen.setdefault(record.budget, {})
        for option, name in CHOICES.items():
            if name in settings:
                chosen.setdefault(option, (settings[name], settings[f"validation of {name}"]))

    def training_at(self, learning_rate: float, budget: int | None) -> CaptionTrainingConfig:
        """Return the training at one learning rate, with the steps and the choices of a budget."""
        training: Any = self.training.at(learning_rate)
        share = (budget or 0) / (self.keep[0] or 1)
        single = {option: (self._value(option, budget),) for option in CHOICES}
        return replace(training, steps=training.steps_for(budget or 0, share), **single)

    def _value(self, option: str, budget: int | None) -> float:
        """Return what was chosen at a budget, or where its search begins."""
        chosen = self.chosen.get(budget, {})
        return chosen[option][0] if option in chosen else middle(getattr(self.training, option))

    def answer(self, budget: int | None, seed: int) -> Outcome:
        """Caption the test images by beam search."""
        task = self.drawn(budget or 0, seed)
        settings = self.length(budget) | self._fit_choice(task)
        answers, scores = self.caption(*task.pairs("test"))
        settings[NEW] = share_new(answers, task.captions["train"], self.captioner.tokenizer)
        return Outcome(None, settings, scores=scores, answers=answers)

    def length(self, budget: int | None) -> dict[str, Any]:
        """Return the steps of a training, and what was chosen where there is a choice."""
        settings: dict[str, Any] = {"steps": self.training_at(self.training.learning_rate, budget).steps}
        for option, name in CHOICES.items():
            if len(set(getattr(self.training, option))) > 1:
                _, tried = self.chosen.get(budget, {}).get(option, (None, {}))
                settings |= {name: self._value(option, budget), f"validation of {name}": tried}
        return settings

    def _fit_choice(self, task: CaptionedMaps) -> dict[str, Any]:
        """Fit how `predict` chooses among captions; return what validation chose."""
        captioner = self.captioner
        captioner.weight, captioner.pool = 0.0, None
        train, held = task.pairs("train"), task.pairs("validation")
        if self.candidates != "none":
            texts = None if isinstance(self.candidates, str) else self.candidates
            length = self.training.max_length  # type: ignore[attr-defined]
            beta = captioner.fit_candidates(*train, held, candidates=texts, max_length=length)
            assert captioner.pool is not None  # the line above sets it
            closed_form = captioner.pool.closed_form
            return {"weight of h": beta, "strength": closed_form.strength, "consensus": closed_form.consensus}
        if self.ranking == "both":
            return {"weight of f·g": captioner.fit_ranking(*train, held)}
        return {}

    def caption(self, maps: FeatureMaps, references: list[list[str]]) -> tuple[list[str], dict[str, np.ndarray]]:
        """Return the captions of images, and their scores by measure, [N] each."""
        length = self.training.max_length  # type: ignore[attr-defined]
        answers = [texts[0] for texts in self.captioner.predict(maps, max_length=length).texts]
        likelihoods = self.captioner.caption_likelihoods(maps, references, length)
        return answers, caption_measures(answers, references, self.captioner.tokenizer) | {
            "log_likelihood": likelihoods
        }

    def final_captioner(self) -> Captioner:
        """Return the captioner of `keep`, with its ranking."""
        budget, seed = self.keep
        self.final()
        self._fit_choice(self.drawn(budget or 0, seed))
        return self.captioner

    def _row(self, learning_rate: float, budget: int | None, seed: int) -> Callable[[dict[str, Any]], None]:
        def report(row: dict[str, Any]) -> None:
            assert self.on_validation is not None
            self.on_validation({**row, "learning_rate": learning_rate, "budget": budget, "seed": seed})

        return report


def share_new(answers: Sequence[str], captions: Sequence[Sequence[str]], tokenizer: WordPieceTokenizer) -> float:
    """Return the share of answers, 0 to 1, that are not among the training captions as the tokenizer writes them."""
    known = set(as_written([text for each in captions for text in each], tokenizer))
    return float(np.mean([text not in known for text in answers]))


def in_graph(model: keras.Model, train_set: TrainSet | None, seed: int) -> keras.Model:
    """Return a caption model with what a train set needs in its graph.

    With --conditioning prefix the image is the prefix already, and the set `prefix` needs nothing more: the new layers
    that make it train, and the decoder is frozen (ClipCap, Mokady et al. 2021).
    """
    if train_set is None:
        return model
    is_prefix = train_set.kind == "prefix" and prefix_length_of(model.get_layer("causal_decoder"))
    return model if is_prefix else changed(model, train_set, seed)


def captioner_for(captioner: Captioner, model: keras.Model, train_set: TrainSet | None, seed: int) -> Captioner:
    """Return a captioner with the same encoder and tokenizer, of whose own caption model a train set trains.

    Args:
        captioner: It stays as it is, and is returned where there is no train set.
        model: A model of `caption_model`.
        train_set: The train set.
        seed: Of new layers.
    """
    if train_set is None:
        return captioner
    made = in_graph(model, train_set, seed)
    new = new_weight_paths(made)
    choose(made, [variable for variable in made.trainable_variables if variable.path not in new], train_set)
    own = Captioner.of(captioner.encoder, made, captioner.tokenizer)
    own.weight_map, own.search = captioner.weight_map, captioner.search
    return own


class LanguageModelArm(CaptioningArm):
    """An arm that is judged by the likelihood of test texts alone."""

    def answer(self, budget: int | None, seed: int) -> Outcome:
        """Return the likelihoods of the test texts, as words and as numbers."""
        task = self.drawn(budget or 0, seed)
        maps, texts = task.pairs("test")
        likelihoods = self.captioner.caption_likelihoods(maps, texts, self.training.max_length)  # type: ignore[attr-defined]
        return Outcome(None, self.length(budget), scores={"log_likelihood": likelihoods}, answers=nats(likelihoods))
