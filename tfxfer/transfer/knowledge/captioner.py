"""A picture encoder and a BERT that says what it sees, taught from pairs: the logit of a word y is f(X)·g(y) + h(X, y).

    X     pictures as maps of a locked encoder, standardised; computed once, so a step costs words only   [B, h, w, E]
    h     the BERT made a decoder, which looks at every place of the map for every word          `caption_model`
    f·g   what the picture as a whole says for a word; f begins where it explains the captions best     `ImageWordLogits`

`python -m tfxfer.train knowledge` runs the same beside its controls; alone it cannot tell what BERT was good for.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from tfxfer.errors import UserError
from tfxfer.models.decoder import prefix_of, room_of
from tfxfer.models.randomness import reseed
from tfxfer.models.tokenizer import WordPieceTokenizer
from tfxfer.transfer.graph import clone, unfreeze
from tfxfer.transfer.knowledge.callbacks import DecoderLearningRate, WarmupCosine
from tfxfer.transfer.knowledge.caption_decoding import CaptionGenerator, Captions
from tfxfer.transfer.knowledge.caption_model import caption_model, image_word_logits_of, feature_map_encoder, new_weight_paths, resized_encoder, whole
from tfxfer.models.standardize import mean_and_deviation
from tfxfer.transfer.knowledge.caption_training import Lessons, DiscriminativeAdam, batches, compiled
from tfxfer.models.batching import in_batches
from tfxfer.transfer.knowledge.image_word_logits import bags_of_words
from tfxfer.transfer.knowledge.image_word_logits import fit as fit_image_word_logits
from tfxfer.transfer.knowledge.question_batches import warn_truncated


class Captioner:
    """A picture encoder, locked unless `fit` is told to unlock it, and a decoder that is warm-started from a BERT.

    Args:
        encoder: A convolutional picture model; its last map is what the decoder looks at. It keeps its weights: a copy
            trains where one does.
        language_model: A KerasHub `BertBackbone` or `BertMaskedLM`, whose weights are carried over.
        words: Its vocabulary.
        image_shape: (H, W, C) of the pictures.
        places: Side of the map that words look at, at most; the encoder's is averaged down to it (0: as it is).
        cross_attention: "fresh", or "copied" from self-attention.
        prefix_length: Above 0, the picture becomes so many vectors before the words, and there is no cross-attention
            (ClipCap, Mokady et al. 2021).
        evidence: Whether f·g stands beside h.
        seed: Seed of the new layers.

    Attributes:
        encoder: Pictures [B, H, W, C] → standardised maps [B, h, w, E].
        reader: {"grid", "token_ids", "padding_mask"} → logits [B, T, V]; what `fit` trains.
        weight_map: What of the decoder came from where.

    Raises:
        UserError: The encoder has no map, or language model and vocabulary do not belong together.

    Example:
        >>> captioner = Captioner(cnn, bert, words, (32, 32, 1))                        # doctest: +SKIP
        >>> captioner.fit(pictures, [["a red square", "a square"], ["a circle"]])       # doctest: +SKIP
        >>> captioner.tell(more_pictures, num_beams=4, max_length=50).texts             # doctest: +SKIP
    """

    def __init__(
        self,
        encoder: keras.Model,
        language_model: keras.Model,
        words: WordPieceTokenizer,
        image_shape: tuple[int, int, int],
        *,
        places: int = 4,
        cross_attention: str = "fresh",
        prefix_length: int = 0,
        evidence: bool = True,
        seed: int = 0,
    ) -> None:
        table = getattr(language_model, "backbone", language_model).get_layer("token_embedding").input_dim
        if table != len(words.vocabulary):
            raise UserError(f"the language model knows {table} word pieces, the vocabulary {len(words.vocabulary)}")
        grid = resized_encoder(feature_map_encoder(encoder), image_shape, places)
        fixed = {"center": False, "scale": False, "epsilon": 1e-12, "trainable": False}
        self._standardise = keras.layers.BatchNormalization(**fixed, name="standardise")
        self.encoder = keras.Model(grid.input, self._standardise(grid.output), name="encoder")
        self._unscaled, self._scaled = in_batches(grid), in_batches(self.encoder)
        self.words = words
        self.reader, self.weight_map = caption_model(
            self.encoder.output.shape[1:],
            language_model,
            cross_attention=cross_attention,
            prefix_length=prefix_length,
            evidence=evidence,
            seed=seed,
        )
        self._teller, self._taught = CaptionGenerator(self.reader, words), False
        self._unlocked: keras.Model | None = None  # encoder and reader as one, once the encoder is to train

    def fit(
        self,
        pictures: np.ndarray,
        captions: Sequence[Sequence[str] | str],
        *,
        steps: int = 150,
        batch_size: int = 16,
        learning_rate: float = 3e-3,
        length: int = 16,
        word_dropout: float = 0.0,
        label_smoothing: float = 0.1,
        frozen: float = 0.0,
        carried_rate: float = 1.0,
        unlocked: float = 0.0,
        encoder_rate: float = 0.1,
        seed: int = 0,
        jit: bool = True,
    ) -> keras.callbacks.History:
        """Learn from pictures and all their captions, by teacher forcing.

        The first call also sets the scale of the maps, and f of f·g where it explains the captions as bags of words.

        Args:
            pictures: uint8 or float [N, H, W, C].
            captions: For each picture its captions, or its only one.
            steps: Batches to learn from.
            batch_size: Captions in a batch.
            learning_rate: The largest; it rises over a sixth of the steps and falls as half a cosine.
            length: Tokens of a caption, its begin and end among them; longer ones are cut, with a warning.
            word_dropout: Share of the caption so far that is hidden from the decoder, so that the picture must give it.
                It made a decoder of photographs look (docs/results.md), but captions no better (benchmarks/looking.md).
            label_smoothing: ε.
            frozen: Share of the steps at the start in which the carried weights do not train (1: never).
            carried_rate: Learning rate of the carried weights, as a share of the new ones'.
            unlocked: Share of the steps at the end in which the encoder trains too (1: all). Such a step runs it
                forwards and backwards, where the others read maps that were made once. Its batch statistics and its
                scale stay.
            encoder_rate: Its learning rate, as a share of the new weights'.
            seed: Seed of the order and of the hidden words.
            jit: Compile with XLA; it costs ten seconds or more and then saves half of each step.

        Returns:
            Keras' history, of one epoch: the mean loss in nats; of a second one where the encoder is unlocked.

        Raises:
            UserError: A picture has no caption or is no number, the decoder has fewer positions than `length`, there
                are no steps, or a share is not from 0 to 1.
            TfxferError: The loss is no number any more.
        """
        if steps < 1:
            raise UserError(f"steps {steps}: nothing would be learned; give 1 or more")
        _check_shares(frozen=frozen, unlocked=unlocked, word_dropout=word_dropout)
        lessons = self._lessons(pictures, captions, length)
        locked = steps - round(unlocked * steps)

        def part(model: keras.Model, optimizer: DiscriminativeAdam, taught: Lessons, first: int, last: int) -> Any:
            reseed(model, seed)
            order = seed + 1 if first else seed
            rows = batches(taught, self.words, batch_size, seed=order, word_dropout=word_dropout, updates=last - first)
            if model is self._unlocked:
                rows = rows.map(_with_pictures)
            still = max(0, round(frozen * steps) - first)
            watch = [WarmupCosine(learning_rate, steps, first), DecoderLearningRate(optimizer, carried_rate, still)]
            return model.fit(rows, verbose=0, shuffle=False, callbacks=watch)

        parts = []
        if locked:
            parts += [part(self.reader, self._compile(label_smoothing, jit), lessons, 0, locked)]
        if locked < steps:
            optimizer = self._unlock(label_smoothing, jit, encoder_rate)
            lessons = replace(lessons, grids=np.asarray(pictures, np.float32))
            parts += [part(self._unlocked, optimizer, lessons, locked, steps)]
        for later in parts[1:]:
            for name, values in later.history.items():
                parts[0].history[name] += values
        return parts[0]

    def maps(self, pictures: np.ndarray) -> np.ndarray:
        """Return what the decoder looks at, float32 [N, h, w, E].

        Raises:
            UserError: There are no pictures, or one has values that are no numbers; some networks hide them.
        """
        if not len(pictures):
            raise UserError("there are no pictures")
        given = np.asarray(pictures)
        found = self._scaled(given)
        for values in (given, found):
            lost = np.flatnonzero(~np.isfinite(values).all((1, 2, 3)))
            if len(lost):
                raise UserError(
                    f"picture {lost[0]} has values that are no numbers, as have {len(lost) - 1} others; are the "
                    "pictures and the encoder's weights finite?"
                )
        return found

    def tell(self, pictures: np.ndarray, *, num_beams: int = 4, max_length: int | None = None, **options: Any) -> Captions:
        """Return captions of pictures by beam search; see `CaptionGenerator.tell`, of which these are the options.

        Args:
            pictures: [N, H, W, C].
            num_beams: Hypotheses kept at each step.
            max_length: Longest caption in tokens; 50, or as many as the decoder has positions for.
            options: num_return, length_penalty, no_repeat_ngram and further settings of `tfxfer.generate.Search`.
        """
        longest = min(50, self._room()) if max_length is None else max_length
        return self._teller.tell(self.maps(pictures), num_beams=num_beams, max_length=longest, **options)

    def log_likelihood(self, pictures: np.ndarray, captions: Sequence[str], length: int = 16) -> np.ndarray:
        """Return float [N]: the mean log-probability of a caption's tokens, in nats; one caption a picture.

        Captions of more than `length` tokens are cut, with a warning; so they are below.
        """
        return self._teller.log_likelihood(*self._pairs(pictures, captions, length))

    def terms(self, pictures: np.ndarray, captions: Sequence[str], length: int = 16) -> tuple[np.ndarray, np.ndarray]:
        """Return what each term of K gives each token of a caption: (f·g, h), the logits' parts, each float [N, T − 1].

        A token of the caption, from the second on, has the logit f·g + h; both are 0 behind its end.

        Args:
            pictures: [N, H, W, C].
            captions: One a picture.
            length: Tokens T of a caption.
        """
        return self._teller.terms(*self._pairs(pictures, captions, length))

    def looks(self, picture: np.ndarray, caption: str, length: int = 16) -> np.ndarray:
        """Return where each token of a caption was looking when it was chosen, float [T − 1, h, w]; not for prefixes.

        Raises:
            UserError: The decoder reads a prefix and looks at no places.
        """
        if prefix_of(self.reader.get_layer("causal_decoder")):
            raise UserError("a decoder that reads a prefix has no cross-attention to show")
        self._check_length(length)
        numbers = self._numbers([caption], length)[0]
        return self._teller.looks(self.maps(picture[None])[0], numbers[numbers != self.words.pad_id])

    def model(self) -> keras.Model:
        """Return all as one model to save: {"image" [B, H, W, C], "token_ids", "padding_mask"} → logits [B, T, V]."""
        return whole(self.encoder, self.reader)

    def _lessons(self, pictures: np.ndarray, captions: Sequence[Sequence[str] | str], length: int) -> Lessons:
        """Return what is to be learned; of the first lessons, set the scale of the maps and where f begins."""
        given = _listed(captions, len(pictures))
        self._check_length(length)
        if not self._taught:
            mean, deviation = mean_and_deviation(self._unscaled(pictures).mean((1, 2)))
            self._standardise.set_weights([mean, deviation**2])
        lessons = Lessons.of(self.maps(pictures), given, self.words, length)
        self._numbers([text for each in given for text in each], length)
        fg = image_word_logits_of(self.reader)
        if fg is not None and not self._taught:
            bags = bags_of_words(lessons.numbers, len(self.words.vocabulary), (self.words.pad_id, self.words.start_id))
            fg.f.assign(fit_image_word_logits(np.asarray(fg.g), lessons.grids.mean((1, 2))[lessons.picture], bags))
        self._taught = True
        return lessons

    def _pairs(self, pictures: np.ndarray, captions: Sequence[str], length: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the maps [N, h, w, E] and the token numbers [N, T] of pictures and one caption each."""
        given = _listed(captions, len(pictures))
        self._check_length(length)
        return self.maps(pictures), self._numbers([each[0] for each in given], length)

    def _numbers(self, captions: Sequence[str], length: int) -> np.ndarray:
        """Return token numbers int32 [N, length], and warn of captions that are longer."""
        numbers, cut = self.words.encode(captions, length)
        room = f"give a greater `length`, at most {self._room()}"
        warn_truncated(lambda: cut, len(captions), "captions", length, room)
        return numbers

    def _compile(self, smoothing: float, jit: bool) -> DiscriminativeAdam:
        """Compile once; a second training starts with a fresh optimizer and needs no second compilation."""
        done = self.reader.compiled and self.reader.jit_compile == jit and self.reader.loss.smoothing == smoothing
        if not done:
            compiled(self.reader, sorted(new_weight_paths(self.reader)), smoothing=smoothing, jit=jit)
        for variable in self.reader.optimizer.variables:
            variable.assign(keras.ops.zeros_like(variable))
        return self.reader.optimizer

    def _unlock(self, smoothing: float, jit: bool, rate: float) -> DiscriminativeAdam:
        """Let a copy of the encoder train, as one model with the reader; return the optimizer of both."""
        if self._unlocked is None:
            self.encoder = clone(self.encoder)
            unfreeze(self.encoder)
            self.encoder.get_layer("standardise").trainable = False  # its statistics are those of all pictures
            self._scaled = in_batches(self.encoder)
            self._unlocked = whole(self.encoder, self.reader)
        shares = {variable.path: rate for variable in self.encoder.trainable_variables}
        return compiled(self._unlocked, sorted(new_weight_paths(self.reader)), smoothing=smoothing, jit=jit, shares=shares)

    def _room(self) -> int:
        return room_of(self.reader.get_layer("causal_decoder"))

    def _check_length(self, length: int) -> None:
        if length > self._room():
            raise UserError(
                f"length {length}: the decoder has {self._room()} positions for words; give at most so many"
            )


def _with_pictures(given: dict[str, Any], *rest: Any) -> tuple[Any, ...]:
    """Return a batch of `batches` whose lessons held pictures, as a model of `whole` takes it."""
    return {"image": given["grid"]} | {name: given[name] for name in ("token_ids", "padding_mask")}, *rest


def _check_shares(**shares: float) -> None:
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise UserError(f"{name} {share}: is a share; give a number from 0 to 1")


def _listed(captions: Sequence[Sequence[str] | str], pictures: int) -> list[list[str]]:
    """Return a list of captions for each picture, or say which has none."""
    given = [[each] if isinstance(each, str) else list(each) for each in captions]
    if len(given) != pictures:
        raise UserError(f"{pictures} pictures and captions for {len(given)} are no pairs")
    empty = next((i for i, each in enumerate(given) if not each or not all(text.strip() for text in each)), None)
    if empty is not None:
        raise UserError(f"picture {empty} has no caption, or an empty one")
    return given
