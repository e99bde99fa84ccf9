"""Arms over the `read` bridge: pictures of text → letters → a frozen language model → W·φ + b.

transfer     φ of the read text, φ the source      random       the same network with random weights, the same reader
with_ngrams  φ of the read text beside its n-grams random_with_ngrams  the same, φ with random weights
read_ngrams  n-grams of the text that was read
native       n-grams of the true text, where there is one, else raw pixels          majority  no input at all
true_text    φ of the true text: what a reader without errors would give; an upper bound, no competitor
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import keras
import numpy as np

from tfxfer.arms.beside_ngrams import beside_ngrams
from tfxfer.arms.feature import FeatureArms, named_errors
from tfxfer.arms.frozen_features import FrozenArm
from tfxfer.baselines.classification import most_frequent, native
from tfxfer.data.dataset import Dataset
from tfxfer.experiment import Arm, Outcome
from tfxfer.models.fresh import cheap_to_repeat, fresh_copy
from tfxfer.models.pooling import Pooling
from tfxfer.models.tokenizer import WordPieceTokenizer
from tfxfer.runs import Run
from tfxfer.tasks.classification import Task
from tfxfer.tasks.readings import Readings, ReadTask, check_letters
from tfxfer.transfer.bridges.read import HEIGHT, ReadText, TrimTokens
from tfxfer.transfer.bridges.render import RenderText
from tfxfer.transfer.feature import FeatureClassifier, extractor
from tfxfer.transfer.knowledge.text_towers import MeanOfKnown, WordPieces

LONGEST = 128  # tokens of a text; padding costs nothing
Network = Callable[[keras.Model], keras.Model]  # a body -> strings [B] to features [B, D]


def token_features(tokenizer: WordPieceTokenizer, pooling: Pooling) -> Network:
    """Return a function from a BERT to the frozen φ over it: strings [B] → word pieces → BERT → features [B, D].

    Args:
        tokenizer: Of the BERT.
        pooling: How the features of its tokens become one vector.
    """

    def network(backbone: keras.Model) -> keras.Model:
        texts = keras.Input((), dtype="string", name="text")
        length = min(LONGEST, getattr(backbone, "max_sequence_length", LONGEST))
        pieces = WordPieces(tokenizer.vocabulary, length, tokenizer.lowercase, name="tokenizer")
        pieces(np.array(["a"], object))  # builds its tokenizer, which is part of the fingerprint of φ from then on
        token_ids = TrimTokens(name="trim")(pieces(texts))
        known = token_ids != 0
        inputs = {"token_ids": token_ids, "segment_ids": keras.ops.zeros_like(token_ids), "padding_mask": known}
        tokens = backbone(inputs)["sequence_output"]  # [B, T, D]
        pooled = tokens[:, 0] if pooling.tokens == "cls" else MeanOfKnown(name="mean")(tokens, mask=known)
        if pooling.normalised:
            pooled = keras.layers.UnitNormalization(name="unit_length")(pooled)
        return _frozen(keras.Model(texts, pooled, name="phi"))

    return network


def string_features(layer: str | None) -> Network:
    """Return a function from a model of strings to its features up to a layer, by default before its head."""
    return lambda model: extractor(model, layer)


def _frozen(phi: keras.Model) -> keras.Model:
    phi.trainable = False
    return phi


@dataclass(frozen=True)
class OverReader:
    """What `FrozenArm` is over: a task of texts that were read, or of true texts.

    Attributes:
        task: The task.
        config: A `FeatureConfig`.
        run: Where phases are timed.
        network: From a source's body to φ.
        readings: Reads what the saved model is given; None where texts are true.
    """

    task: Task
    config: Any
    run: Run
    network: Network
    readings: Readings | None
    bridge = None  # texts are read before they are features

    def frozen(self, model_of: Callable[[int], keras.Model]) -> "TextArm":
        """Return an arm: W and b fitted on φ, φ frozen."""
        return TextArm(self, model_of)


class TextArm(FrozenArm):
    """A linear head on a frozen φ of texts; its classifier takes what the user has: pictures, or texts that are drawn.

    Args:
        over: The task of texts.
        model_of: seed -> the source's body.
    """

    over: OverReader  # type: ignore[assignment]

    def __init__(self, over: OverReader, model_of: Callable[[int], keras.Model]) -> None:
        super().__init__(over, model_of)  # type: ignore[arg-type]

    @lru_cache(maxsize=1)  # noqa: B019 - one object a run
    def phi(self, model: keras.Model) -> keras.Model:
        """Return φ of a source's body: strings -> features [B, D]."""
        return self.over.network(model)

    def final(self) -> FeatureClassifier:
        """Return the classifier of the greatest budget and the first seed, from raw input to probabilities."""
        classifier = super().final()
        if self.over.readings is None:
            return classifier
        raw, read = self.over.readings.ends()
        return classifier.on(_frozen(keras.Model(raw, classifier.phi(read["text"]), name="phi")))

    def beside_ngrams(self, budget: int | None, seed: int) -> Outcome:
        """Fit one linear model on φ beside n-grams of the same texts."""
        features, held, small = self.features(budget, seed), self.task.dataset, self.task.train(budget, seed)
        return beside_ngrams(
            (small.texts("train"), features["train"][0], features["train"][1]),
            (held.texts("validation"), features["validation"][0], features["validation"][1]),
            (held.texts("test"), features["test"][0]),
            len(self.task.class_names),
        )


def reading_of(task: Task, reader: ReadText, config: Any, run: Run) -> Readings:
    """Return what reads a task: its pictures, or its texts drawn as one line."""
    draw = RenderText(config.height, config.width, config.font_size) if task.key == "text" else None
    return Readings(task, reader, draw, config.width, config.data_dir, run)


def picture_task(task: Task, width: int) -> Task:
    """Return a task whose pictures are read for baselines and reports as the reader sees them: grey, 32 pixels high."""
    return task if task.key == "text" else replace(task, reading={"image_size": (HEIGHT, width), "channels": 1})


def check_texts(dataset: Dataset, alphabet: str, config: Any, run: Run, most: int) -> None:
    """Print what of the true texts cannot be read, or is cut; raises `UserError` where most of it cannot be read.

    Args:
        dataset: The target.
        alphabet: The letters of the reader.
        config: A `FeatureConfig`.
        run: The run.
        most: Only so many test texts are looked at.
    """
    if "text" not in dataset.keys:
        return
    texts = dataset.texts("test")[:most]
    check_letters(texts, config.target.spec, alphabet, run.say)
    if "image" not in dataset.keys:
        draw = RenderText(config.height, config.width, config.font_size)
        cut = np.count_nonzero(draw.count(np.array(texts, object))["cut"])
        run.say(
            f"bridge: read, of {len(texts):,} test texts {cut:,} are cut at the edge of a picture of {config.width} "
            "pixels (--width)"
        )


def read_arms(source: keras.Model, network: Network, readings: Readings, config: Any, run: Run) -> FeatureArms:
    """Return the arms over the `read` bridge.

    Args:
        source: The source's body, a BERT or a model of strings.
        network: From a body to φ.
        readings: Reads the task.
        config: A `FeatureConfig`.
        run: The run.
    """
    task, read = readings.task, ReadTask.of_readings(readings)
    probe = cheap_to_repeat(source, config.probe_seeds)
    over = OverReader(read, config, run, network, readings)

    @lru_cache(maxsize=1)
    def fresh(seed: int) -> keras.Model:
        return fresh_copy(source, seed)

    transfer, random = over.frozen(lambda seed: source), over.frozen(fresh)
    arms = [
        Arm("transfer", transfer, probe=probe),
        Arm("random", random, probe=probe),
        Arm("with_ngrams", transfer.beside_ngrams, probe=probe),
        Arm("random_with_ngrams", random.beside_ngrams, probe=probe),
        Arm("read_ngrams", partial(native, read), plain=True, probe=probe),
    ]
    known = task
    if "text" in task.dataset.keys:
        known = replace(task, key="text", reading={})
        bound = OverReader(known, config, run, network, None)
        arms.append(Arm("true_text", bound.frozen(lambda seed: source), probe=probe))
    arms += [
        Arm("native", named_errors(partial(native, known), known), plain=True, probe=probe),
        Arm("majority", partial(most_frequent, task), one_seed=True, plain=True),
    ]
    draw = readings.draw
    render = None if draw is None else (lambda texts: keras.ops.convert_to_numpy(draw(np.array(texts, object))))
    return FeatureArms("read", tuple(arms), render, transfer.final)
