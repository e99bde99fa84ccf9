"""The arms of captioning: one reader, compiled once, taught from different starts or with something taken away.

transfer   the decoder begins as the language model
random     it begins with fresh weights
blind      as transfer, and every picture is the mean one
shuffled   as transfer, and captions stand under other pictures
neighbour  no decoder: the caption of the training picture that looks most alike
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from tfxfer.arms.classifier import warmed
from tfxfer.arms.controls import deranged
from tfxfer.config import KnowledgeConfig
from tfxfer.errors import TfxferError
from tfxfer.evaluate.captions import captions as caption_scores
from tfxfer.experiment import Outcome, sweep
from tfxfer.fit import train
from tfxfer.models.randomness import reseed
from tfxfer.models.tokenizer import WordPieceTokenizer
from tfxfer.records import Record
from tfxfer.transfer.knowledge.caption_decoding import CaptionGenerator, Captions
from tfxfer.transfer.knowledge.caption_model import image_word_logits_of, new_weight_paths
from tfxfer.transfer.knowledge.caption_ranking import RidgeCaptionScorer, rerank, choose_weight
from tfxfer.transfer.knowledge.caption_training import Lessons, batches, compiled, slower
from tfxfer.transfer.knowledge.image_word_logits import bags_of_words
from tfxfer.transfer.knowledge.image_word_logits import fit as fit_image_word_logits

LONGEST = 512  # tokens of a true caption when it is judged


@dataclass(frozen=True)
class Gallery:
    """Pictures as maps, with their captions: what all arms share.

    Attributes:
        grids: split -> float32 [N, h, w, E].
        captions: split -> N lists of captions.
    """

    grids: dict[str, np.ndarray]
    captions: dict[str, list[list[str]]]

    def drawn(self, pairs: int, seed: int) -> "Gallery":
        """Return the gallery with `pairs` training pictures; a smaller draw is part of a greater one."""
        rows = np.random.default_rng(seed).permutation(len(self.grids["train"]))[:pairs]
        captions = [self.captions["train"][i] for i in rows]
        return Gallery(self.grids | {"train": self.grids["train"][rows]}, self.captions | {"train": captions})

    def through(self, layer: keras.layers.Layer) -> "Gallery":
        """Return the gallery with a layer applied to its maps."""
        return replace(self, grids={split: np.asarray(layer(grids)) for split, grids in self.grids.items()})

    def blind(self) -> "Gallery":
        """Return the gallery in which every picture is the mean training picture."""
        mean = self.grids["train"].mean(0, keepdims=True)
        return replace(self, grids={split: np.repeat(mean, len(g), 0) for split, g in self.grids.items()})

    def shuffled(self, seed: int) -> "Gallery":
        """Return the gallery whose training captions stand under other pictures."""
        order = deranged(len(self.captions["train"]), seed + 1)
        return replace(self, captions=self.captions | {"train": [self.captions["train"][i] for i in order]})


class CaptioningArm:
    """An arm that teaches a decoder for every budget, seed and learning rate.

    Args:
        start: (seed) -> weights of the reader that teaching begins with.
        reader: The reader, the same object for all arms: it is compiled once.
        words: The vocabulary.
        gallery: (pairs, seed) -> what is learned and answered.
        config: The training.
        on_epoch: Called with a row a few times in each training.
        keep: The (pairs, seed) whose weights `kept` holds afterwards.
    """

    each_budget = False  # whether every budget chooses a learning rate of its own, or the greatest one for all
    looks_back = 2  # times in a training that validation may choose its weights

    def __init__(
        self,
        start: Callable[[int], list[np.ndarray]],
        reader: keras.Model,
        words: WordPieceTokenizer,
        gallery: Callable[[int, int], Gallery],
        config: KnowledgeConfig,
        on_epoch: Callable[[dict[str, Any]], None] | None = None,
        keep: tuple[int, int] | None = None,
    ) -> None:
        self.start, self.reader, self.words, self.gallery, self.config = start, reader, words, gallery, config
        self.on_epoch, self.keep = on_epoch, keep
        self.teller = CaptionGenerator(reader, words)
        self.kept: list[np.ndarray] | None = None
        self.chosen: dict[int | None, tuple[float, dict[str, float]]] = {}  # pairs -> learning rate, what was tried
        self.taught: dict[tuple[int, int], list[np.ndarray]] = {}  # (pairs, seed) -> weights, until they are asked for
        self.captions = RidgeCaptionScorer()
        self._evidence: dict[tuple[int, int], np.ndarray] = {}  # (pairs, seed) -> f to begin with
        self.weight = 0.0  # λ of f·g

    def __call__(self, pairs: int | None, seed: int) -> Outcome:
        """Teach, choose the learning rate by the likelihood of validation captions, and caption the test pictures."""
        assert pairs is not None
        rate, tried = self._rate(pairs, seed)
        weights = self.taught.pop((pairs, seed), None) or self._attempt(rate, pairs, seed)[1]
        self.reader.set_weights(weights)
        if (pairs, seed) == self.keep:
            self.kept = weights
        gallery = self.gallery(pairs, seed)
        settings = {"learning_rate": rate, "validation": tried, "updates": self.updates(pairs)}
        if self.config.ranking == "both":
            settings["weight of f·g"] = self._learn_ranking(gallery)
        answers, measured = self.answer(gallery.grids["test"], gallery.captions["test"])
        trainable = sum(int(np.prod(v.shape)) for v in self.reader.trainable_variables)
        return Outcome(None, settings, trainable, scores=measured, answers=answers)

    def _rate(self, pairs: int, seed: int) -> tuple[float, dict[str, float]]:
        """Return the learning rate that validates best, and the scores of all that were tried."""
        at, seed = (pairs, seed) if self.each_budget else (max(self.config.pairs), self.config.seed)
        if at not in self.chosen:
            rate, self.taught[at, seed], tried = sweep(
                self.config.learning_rates, lambda rate: self._attempt(rate, at, seed)
            )
            self.chosen[at] = rate, tried
        return self.chosen[at]

    def answer(self, grids: np.ndarray, wanted: Sequence[Sequence[str]]) -> tuple[list[str], dict[str, np.ndarray]]:
        """Return the captions of pictures by beam search, and what they are worth."""
        told = self.tell(grids)
        answers = [texts[place] for texts, place in zip(told.texts, self.places(grids, told))]
        lessons = Lessons.of(grids, wanted, self.words, self.config.length)
        gains = self.teller.log_likelihood(grids[lessons.picture], lessons.numbers)
        likelihood = np.bincount(lessons.picture, gains) / np.bincount(lessons.picture)  # the mean of a picture's
        return answers, measures(answers, wanted, self.words) | {"log_likelihood": likelihood}

    def tell(self, grids: np.ndarray) -> Captions:
        """Return what beam search finds for pictures: all its beams."""
        config, beams = self.config, self.config.num_beams
        return self.teller.tell(
            grids, num_beams=beams, num_return=beams, max_length=config.length, length_penalty=config.length_penalty
        )

    def places(self, grids: np.ndarray, told: Captions) -> np.ndarray:
        """Return int [N]: which of its beams is a picture's caption."""
        if not self.weight:
            return np.zeros(len(grids), int)
        return rerank(told.scores, self.captions.terms(mean(grids), told.texts), self.weight)

    def _learn_ranking(self, gallery: Gallery) -> float:
        """Fit f·g on the same pairs, and choose by CIDEr-D on validation what weight it has beside h."""
        self.captions.fit(mean(gallery.grids["train"]), [self._plain(each) for each in gallery.captions["train"]])
        grids, captions = gallery.grids["validation"], gallery.captions["validation"]
        told = self.tell(grids)
        ranks = [[texts[place] for texts in told.texts] for place in range(self.config.num_beams)]
        worth = np.stack([measures(answers, captions, self.words)["cider_d"] for answers in ranks], 1)  # [N, R]
        self.weight = choose_weight(told.scores, self.captions.terms(mean(grids), told.texts), worth)
        return self.weight

    def _plain(self, captions: Sequence[str]) -> list[str]:
        """Return captions as the vocabulary writes them."""
        return self.words.decode(self.words.encode(captions, LONGEST)[0])

    def recall(self, record: Record) -> None:
        """Go on with the learning rate that an earlier run chose."""
        at = record.budget if self.each_budget else max(self.config.pairs)
        self.chosen.setdefault(at, (record.settings["learning_rate"], record.settings["validation"]))

    def final(self) -> keras.Model:
        """Return the reader with the weights of `keep`, taught again when its record came from elsewhere."""
        assert self.keep is not None
        if self.kept is None:
            self(*self.keep)
        assert self.kept is not None
        self.reader.set_weights(self.kept)
        if self.config.ranking == "both":
            self._learn_ranking(self.gallery(*self.keep))
        return self.reader

    def _attempt(self, rate: float, pairs: int, seed: int) -> tuple[float, list[np.ndarray]]:
        """Teach once; return the mean log-likelihood of a validation caption's tokens, and the weights."""
        config, reader, gallery = self.config, self.reader, self.gallery(pairs, seed)
        start = self.start(seed)
        reader.set_weights(start)
        lessons = Lessons.of(gallery.grids["train"], gallery.captions["train"], self.words, config.length)
        self._begin_evidence(lessons, pairs, seed)
        if not reader.compiled:
            compiled(reader, sorted(new_weight_paths(reader)), smoothing=config.label_smoothing)
        for variable in reader.optimizer.variables:
            variable.assign(keras.ops.zeros_like(variable))
        held = Lessons.of(gallery.grids["validation"], gallery.captions["validation"], self.words, config.length)
        updates = self.updates(pairs)
        schedule = slower(reader.optimizer, config.carried_rate, round(config.frozen * updates), warmed(rate, updates))
        best: tuple[float, list[np.ndarray]] = (-math.inf, start)
        for part in range(self.looks_back):
            loss = self._part(part, updates, lessons, seed, schedule)
            score = float(self.teller.log_likelihood(held.grids[held.picture], held.numbers).mean())
            if not math.isfinite(score):
                raise TfxferError(f"learning rate {rate:g} ended in a likelihood of {score}")
            if score > best[0]:
                best = score, reader.get_weights()
            if self.on_epoch:
                row = {"part": part + 1, "loss": loss, "validation": score}
                self.on_epoch({**row, "learning_rate": rate, "pairs": pairs, "seed": seed})
        return best

    def _begin_evidence(self, lessons: Lessons, pairs: int, seed: int) -> None:
        """Let f of f(X)·g(y) begin where it explains the training captions as bags of words."""
        fg = image_word_logits_of(self.reader)
        if fg is None:
            return
        if (pairs, seed) not in self._evidence:
            bags = bags_of_words(lessons.numbers, len(self.words.vocabulary), (self.words.pad_id, self.words.start_id))
            self._evidence[pairs, seed] = fit_image_word_logits(np.asarray(fg.g), mean(lessons.grids)[lessons.picture], bags)
        fg.f.assign(self._evidence[pairs, seed])

    def updates(self, pairs: int) -> int:
        """Return the steps of a training: fewer pairs get fewer, by the square root of their share of the greatest."""
        return max(1, round(self.config.updates * math.sqrt(pairs / max(self.config.pairs))))

    def _part(self, part: int, updates: int, lessons: Lessons, seed: int, schedule: Callable[[int], float]) -> float:
        """Teach one of `looks_back` parts of the updates; return its mean loss."""
        config = self.config
        steps = math.ceil(updates / self.looks_back)
        first, seed = part * steps, self.looks_back * seed + part
        reseed(self.reader, seed)
        data = batches(
            lessons,
            self.words,
            config.batch_size,
            seed=seed,
            word_dropout=config.word_dropout,
            updates=max(1, min(steps, updates - first)),
        )
        history = train(self.reader, lambda epoch, skip: data, 1, step_rate=lambda i: schedule(first + i))
        return history.rows[-1]["loss"]


def neighbour(gallery: Gallery, words: WordPieceTokenizer) -> Outcome:
    """Answer with the caption of the training picture whose mean feature is nearest by its cosine."""
    vectors = {split: unit(mean(gallery.grids[split])) for split in ("train", "test")}
    nearest = (vectors["test"] @ vectors["train"].T).argmax(1)
    answers = own_words([gallery.captions["train"][i][0] for i in nearest], words)
    return Outcome(
        None,
        {"method": "nearest picture's caption"},
        scores=measures(answers, gallery.captions["test"], words),
        answers=answers,
    )


def measures(answers: Sequence[str], wanted: Sequence[Sequence[str]], words: WordPieceTokenizer) -> dict[str, np.ndarray]:
    """Return CIDEr-D, exact match and token F1 of each caption, on words as the vocabulary splits a text."""
    references = [own_words(each, words) for each in wanted]
    each = caption_scores(answers, references, per_caption=True)["per_caption"]
    return {name: np.asarray(each[name]) for name in ("cider_d", "exact_match", "token_f1")}


def own_words(texts: Sequence[str], words: WordPieceTokenizer) -> list[str]:
    """Return what people wrote, as the vocabulary writes it; a text that it cannot write stays as it is.

    Else all words that are unknown would be one word, which a model that says [UNK] gets right.
    """
    plain = words.decode(words.encode(list(texts), LONGEST)[0])
    unknown = words.vocabulary[words.unknown_id]
    kept = [" ".join((text.casefold() if words.lowercase else text).split()) for text in texts]
    return [own if unknown in written.split() else written for own, written in zip(kept, plain)]


def mean(grids: np.ndarray) -> np.ndarray:
    """Return the mean feature [N, E] of grids [N, h, w, E]."""
    return grids.mean((1, 2))


def unit(vectors: np.ndarray) -> np.ndarray:
    """Return vectors [N, E] scaled to length 1."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
