"""Image captioning by a frozen image encoder and a BERT made a decoder: the logit of a word y is f(X)·g(y) + h(X, y).

    X     images as feature maps of the encoder, standardised; computed once, so a step costs words only  [B, h, w, E]
    h     the BERT as a decoder, with cross-attention to every position of the map                `caption_model`
    f·g   a logit for each word from the image as a whole; f starts at the least loss        `image_word_logits`

`python -m tfxfer.train captioning` runs this class beside its controls; alone it cannot show what BERT was good for.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import keras
import numpy as np

from tfxfer.cache import atomic_file
from tfxfer.config import CaptionModelConfig, CaptionTrainingConfig
from tfxfer.errors import TfxferError, UserError
from tfxfer.evaluate.captions import captions as caption_scores
from tfxfer.evaluate.cider import cider
from tfxfer.fit import fit_batches, rate_schedule
from tfxfer.models.batching import in_batches
from tfxfer.models.coded_weights import with_decoded
from tfxfer.models.decoder import max_text_length, prefix_length_of
from tfxfer.models.randomness import reset_seed_generators
from tfxfer.models.saved_folder import load_folder, save_folder
from tfxfer.models.standardize import mean_and_deviation
from tfxfer.models.tokenizer import WordPieceTokenizer
from tfxfer.own_files import read_own_npz, reading_own
from tfxfer.transfer.graph import clone, unfreeze
from tfxfer.transfer.knowledge.callbacks import PretrainedScale, StepRates
from tfxfer.transfer.knowledge.caption_candidates import CandidatePool, checked_candidates
from tfxfer.transfer.knowledge.caption_decoding import CaptionGenerator, Captions
from tfxfer.transfer.knowledge.caption_model import (
    caption_model,
    end_to_end,
    feature_map_encoder,
    image_word_logits_of,
    inside,
    new_weight_paths,
    resized_encoder,
)
from tfxfer.transfer.knowledge.caption_ranking import RidgeCaptionScorer, choose_weight
from tfxfer.transfer.knowledge.caption_training import (
    CaptionExamples,
    DiscriminativeAdam,
    caption_batches,
    compile_caption_model,
)
from tfxfer.transfer.knowledge.closed_form import ClosedFormCaptioner
from tfxfer.transfer.knowledge.image_word_logits import bags_of_words, fit_image_word_logits
from tfxfer.transfer.knowledge.knowledge_matrix import rebuilding
from tfxfer.transfer.knowledge.question_batches import warn_truncated
from tfxfer.transfer.structure import WeightMap

AT_A_TIME = 1000  # images whose maps are repeated for all candidates of their pools
LONGEST = 512  # tokens of a reference caption when a generated one is scored
Weights = tuple[list[np.ndarray], list[np.ndarray]]  # of the caption model and of the encoder
RANKING, CANDIDATES = "ranking.npz", "candidates.npz"  # files beside a saved model
MEASURES = ("cider_d", "log_likelihood", "exact_match", "token_f1")


class FeatureMaps(NamedTuple):
    """Images as the decoder gets them, computed once: standardised maps float32 [N, h, w, E]."""

    maps: np.ndarray


class Captioner:
    """An image encoder, frozen unless the training unfreezes it, and a decoder that is warm-started from a BERT.

    Args:
        image_encoder: A convolutional image model; the decoder attends to its last feature map. It keeps its weights: a
            copy trains where the training unfreezes it. A model without weights whose output is a map is taken as it
            is.
        language_model: A KerasHub `BertBackbone` or `BertMaskedLM`, whose weights are carried over.
        tokenizer: Its tokenizer.
        image_shape: (H, W, C) of the images.
        config: Cross-attention or a prefix, positions of the map, f·g beside h.
        seed: Seed of the new layers.

    Attributes:
        encoder: Images [B, H, W, C] → standardised maps [B, h, w, E].
        model: {"feature_map", "token_ids", "padding_mask"} → logits [B, T, V]; what `fit` trains.
        weight_map: What of the decoder came from where; None after `load`.

    Raises:
        UserError: The encoder has no map, or language model and tokenizer do not belong together.

    Example:
        >>> captioner = Captioner(cnn, bert, tokenizer, (32, 32, 1))                    # doctest: +SKIP
        >>> captioner.fit(images, [["a red square", "a square"], ["a circle"]])         # doctest: +SKIP
        >>> captioner.predict(more_images, num_beams=4, max_length=50).texts            # doctest: +SKIP
    """

    def __init__(
        self,
        image_encoder: keras.Model,
        language_model: keras.Model,
        tokenizer: WordPieceTokenizer,
        image_shape: tuple[int, int, int],
        config: CaptionModelConfig = CaptionModelConfig(),
        seed: int = 0,
    ) -> None:
        table = getattr(language_model, "backbone", language_model).get_layer("token_embedding").input_dim
        if table != len(tokenizer.vocabulary):
            raise UserError(f"the language model knows {table} word pieces, the tokenizer {len(tokenizer.vocabulary)}")
        fixed = not image_encoder.weights and len(image_encoder.output.shape) == 4
        maps = image_encoder if fixed else feature_map_encoder(image_encoder)
        maps = resized_encoder(maps, image_shape, config.positions)
        scale = {"center": False, "scale": False, "epsilon": 1e-12, "trainable": False}
        layer = keras.layers.BatchNormalization(**scale, name="standardise")
        encoder = keras.Model(maps.input, layer(maps.output), name="encoder")
        self.weight_map: WeightMap | None
        model, self.weight_map = caption_model(
            encoder.output.shape[1:],
            language_model,
            cross_attention=config.cross_attention,
            prefix_length=config.prefix,
            image_word_logits=config.image_word_logits,
            seed=seed,
        )
        self._set(encoder, model, tokenizer)

    def _set(self, encoder: keras.Model, model: keras.Model, tokenizer: WordPieceTokenizer) -> None:
        self.encoder, self.model, self.tokenizer = encoder, model, tokenizer
        self._standardise = encoder.get_layer("standardise")
        self._unscaled = in_batches(keras.Model(encoder.input, self._standardise.input))
        self._scaled = in_batches(encoder)
        self._generator = CaptionGenerator(model, tokenizer)
        self._unfrozen: keras.Model | None = None  # encoder and decoder as one, once the encoder trains
        self._first_f: dict[bytes, np.ndarray] = {}  # digest of g and the examples -> where f of f·g starts
        self.scorer: RidgeCaptionScorer | None = None  # f·g of whole captions
        self.weight = 0.0  # λ of f·g in the ranking of beam search
        self.pool: CandidatePool | None = None  # candidates, and β of h beside f·g
        self.search = {"num_beams": 4, "length_penalty": 1.0}  # what predict uses where nothing is given

    @property
    def max_positions(self) -> int:
        """Tokens that the decoder has positions for."""
        return max_text_length(self.model.get_layer("causal_decoder"))

    def adapt(self, images: np.ndarray) -> None:
        """Set the scale of the feature maps, channel by channel: mean 0 and deviation 1 over images [N, H, W, C].

        `fit` does it on its own images where it was not done before.
        """
        mean, deviation = mean_and_deviation(self._unscaled(np.asarray(images)).mean((1, 2)))
        self._standardise.set_weights([mean, deviation**2])

    def encode(self, images: Any) -> FeatureMaps:
        """Return the feature maps of images [N, H, W, C], to be computed once and used often.

        Raises:
            UserError: There are no images, or one has values that are not finite; some networks hide them.
        """
        if isinstance(images, FeatureMaps):
            return images
        given = np.asarray(images)
        if not len(given):
            raise UserError("there are no images")
        found = self._scaled(given)
        for values in (given, found):
            lost = np.flatnonzero(~np.isfinite(values).all((1, 2, 3)))
            if len(lost):
                raise UserError(
                    f"image {lost[0]} has values that are not finite, as have {len(lost) - 1} others; are the images "
                    "and the encoder's weights finite?"
                )
        return FeatureMaps(found)

    def fit(
        self,
        images: Any,
        captions: Sequence[Sequence[str] | str],
        *,
        validation: tuple[Any, Sequence[Sequence[str] | str]] | None = None,
        training: CaptionTrainingConfig = CaptionTrainingConfig(),
        seed: int = 0,
        jit: bool = True,
        on_validation: Callable[[dict[str, Any]], None] | None = None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
    ) -> keras.callbacks.History:
        """Train on images and all their captions, by teacher forcing, at `training.learning_rate`.

        The first call also sets the scale of the maps, and f of f·g where it explains the captions as bags of words.

        Args:
            images: uint8 or float [N, H, W, C], or their `FeatureMaps`.
            captions: For each image its captions, or its only one.
            validation: Images and captions whose likelihood is measured `training.num_validations` times; the model
                ends with the weights that were best.
            training: Steps, learning rate, freezing, word dropout and label smoothing.
            seed: Seed of the order and of the hidden words.
            jit: Compile with XLA; it costs ten seconds or more and then saves half of each step.
            on_validation: Called with a row of figures after each validation.
            callbacks: Further callbacks of Keras.

        Returns:
            Keras' history: "loss" in nats, one value a part of the training; "validation", the mean log-likelihood of a
            validation caption in nats a token.

        Raises:
            UserError: An image has no caption or is not finite, or the decoder has fewer positions than max_length.
            TfxferError: The loss or the likelihood is not finite.
        """
        if training.steps < 1:
            raise UserError(f"steps {training.steps}: nothing would be learned; give 1 or more")
        _check_fractions(training)
        given = (images, validation[0]) if validation else (images,)
        if training.unfreeze_encoder_fraction and any(isinstance(one, FeatureMaps) for one in given):
            raise UserError("unfreeze_encoder_fraction: an encoder that trains needs images, not their feature maps")
        examples = self._examples(images, captions, training.max_length)
        held = validation and self._examples(*validation, training.max_length, warn=False)
        steps, frozen = training.steps, training.steps - round(training.unfreeze_encoder_fraction * training.steps)
        ends = {steps, frozen} | {round(steps * i / training.num_validations) for i in range(training.num_validations)}
        parts = sorted(end for end in (ends if held else {steps, frozen}) if end)
        best: tuple[float, Weights] | None = None
        history, first = None, 0
        for place, last in enumerate(parts):
            part_seed = len(parts) * seed + place
            trained = self._train_part(examples, images, training, first, last, frozen, part_seed, jit, callbacks)
            history, first = _joined(history, trained), last
            if held:
                score = float(self._likelihoods(validation[0], held).mean())  # type: ignore[index]
                if not np.isfinite(score):
                    raise TfxferError(f"the likelihood of the validation captions became {score}")
                history.history.setdefault("validation", []).append(score)
                if on_validation:
                    on_validation({"step": last, "loss": trained.history["loss"][-1], "validation": score})
                if best is None or score > best[0]:
                    best = score, (self.model.get_weights(), self.encoder.get_weights())
        if best:
            for model, weights in zip((self.model, self.encoder), best[1]):
                model.set_weights(weights)
        assert history is not None  # there is at least one part
        return history

    def fit_ranking(self, images: Any, captions: Sequence[Sequence[str] | str], validation: tuple[Any, Any]) -> float:
        """Fit f·g of whole captions by ridge regression, and choose its weight λ beside h by CIDEr-D on validation.

        Args:
            images: Training images, or their `FeatureMaps`.
            captions: Their captions.
            validation: Images and captions that choose λ.

        Returns:
            λ, which `predict` uses from now on to rank the hypotheses of beam search; 0 keeps their order.
        """
        plain = [self._plain(each) for each in _listed(captions, len(self.encode(images).maps))]
        self.scorer, self.weight = RidgeCaptionScorer().fit(mean_features(self.encode(images)), plain), 0.0
        maps, references = self.encode(validation[0]), _listed(validation[1], len(self.encode(validation[0]).maps))
        beams = int(self.search["num_beams"])
        found = self._generated(maps, num_beams=beams, num_return_sequences=beams)
        ranks = [[texts[place] for texts in found.texts] for place in range(beams)]
        worth = np.stack([caption_measures(each, references, self.tokenizer)["cider_d"] for each in ranks], 1)
        self.weight = choose_weight(found.scores, self.scorer.terms(mean_features(maps), found.texts), worth)
        return self.weight

    def fit_candidates(
        self,
        images: Any,
        captions: Sequence[Sequence[str] | str],
        validation: tuple[Any, Any],
        *,
        candidates: Sequence[str] | None = None,
        max_length: int = 16,
    ) -> float:
        """Let `predict` choose among retrieved and generated captions by K = f·g + β·h; choose β on validation.

        f·g is ridge regression in closed form (`ClosedFormCaptioner`), its strength, its consensus and β chosen by
        CIDEr-D.

        Args:
            images: Training images, or their `FeatureMaps`.
            captions: Their captions.
            validation: Images and captions that choose the strength, the consensus and β.
            candidates: Captions to retrieve from, of images or of none (default: the training captions).
            max_length: Tokens of a caption.

        Returns:
            β; 0 where the decoder's opinion does not help.

        Raises:
            UserError: There are fewer than two candidates, or an image has no caption.
        """
        maps, held = self.encode(images), self.encode(validation[0])
        plain, references = (
            [as_written(each, self.tokenizer) for each in _listed(given, len(rows.maps))]
            for given, rows in ((captions, maps), (validation[1], held))
        )
        texts = None if candidates is None else checked_candidates(as_written(list(candidates), self.tokenizer))
        known = held.maps, references
        closed_form = ClosedFormCaptioner().fit(maps.maps, plain, validation=known, candidates=texts)
        self.pool = CandidatePool(closed_form, checked_candidates(closed_form.candidates))

        def worth(texts: list[str]) -> np.ndarray:
            return cider(texts, references)["cider_d"]

        beams = int(self.search["num_beams"])
        found = self._generated(held, max_length, num_beams=beams, num_return_sequences=beams)
        return self.pool.choose(held.maps, found.texts, self._likelihood_of_pools(max_length), worth)

    def predict(
        self,
        images: Any,
        *,
        candidates: Sequence[str] | None = None,
        num_beams: int | None = None,
        max_length: int | None = None,
        num_return_sequences: int = 1,
        length_penalty: float | None = None,
        **options: Any,
    ) -> Captions:
        """Return the best captions of images with their scores: of beam search, or of candidates and beam search.

        After `fit_candidates`, retrieved candidates and the hypotheses of beam search are ranked by f·g + β·h. After
        `fit_ranking`, the hypotheses are ranked by h + λ f·g. The scores are h, in this order.

        Args:
            images: [N, H, W, C], or their `FeatureMaps`.
            candidates: Captions to choose from, besides beam search (default: those of `fit_candidates`; an empty list:
                beam search alone).
            num_beams: Hypotheses kept at each step (default: 4, or what was saved).
            max_length: Longest caption in tokens (default: 50, or as many as the decoder has positions for).
            num_return_sequences: Captions an image, the best first.
            length_penalty: Above 0 favours long captions (default: 1, or what was saved).
            options: Further settings of `tfxfer.generate.GenerationConfig`.

        Raises:
            UserError: There are candidates, but `fit_candidates` was not called, or there is only one.
        """
        maps, beams = self.encode(images), num_beams or int(self.search["num_beams"])
        texts = None if candidates is None else as_written(list(candidates), self.tokenizer)
        if texts and self.pool is None:
            raise UserError("candidates: call `fit_candidates` first, which fits how well an image and a text match")
        pool = self.pool if texts is None or texts else None
        wanted = max(beams, num_return_sequences) if self.weight else num_return_sequences
        wanted = beams if pool else wanted
        penalty = self.search["length_penalty"] if length_penalty is None else length_penalty
        found = self._generated(
            maps, max_length, num_beams=beams, num_return_sequences=wanted, length_penalty=penalty, **options
        )
        if pool is not None:
            length, given = found.token_ids.shape[2], texts and checked_candidates(texts)
            ranked, h = pool.rank(maps.maps, found.texts, self._likelihood_of_pools(length), given)
            best = [row[:num_return_sequences] for row in ranked]
            encoded = self.tokenizer.encode([text for row in best for text in row], length)[0]
            token_ids = encoded.reshape(len(best), -1, length)
            for i, row in enumerate(best):  # a generated caption keeps its own: it may have no end
                for place, text in enumerate(row):
                    if text in found.texts[i]:
                        token_ids[i, place] = found.token_ids[i, found.texts[i].index(text)]
            return Captions(best, h[:, :num_return_sequences], token_ids)
        if self.weight and self.scorer is not None:
            both = found.scores + self.weight * self.scorer.terms(mean_features(maps), found.texts)
            order = np.argsort(-both, axis=1, kind="stable")
            ranked = [[row[i] for i in places] for row, places in zip(found.texts, order)]
            rows = np.arange(len(order))[:, None]
            found = Captions(ranked, found.scores[rows, order], found.token_ids[rows, order])
        few = slice(num_return_sequences)
        return Captions([row[few] for row in found.texts], found.scores[:, few], found.token_ids[:, few])

    def score(self, images: Any, captions: Sequence[Sequence[str] | str], max_length: int = 16) -> dict[str, float]:
        """Return CIDEr-D, exact match and token F1 of the predicted captions, and the log-likelihood of the given ones.

        Args:
            images: [N, H, W, C], or their `FeatureMaps`.
            captions: For each image its captions, or its only one.
            max_length: Tokens of a caption.
        """
        maps = self.encode(images)
        references = _listed(captions, len(maps.maps))
        answers = [texts[0] for texts in self.predict(maps, max_length=max_length).texts]
        found = caption_measures(answers, references, self.tokenizer)
        found["log_likelihood"] = self.caption_likelihoods(maps, references, max_length)
        return {name: float(found[name].mean()) for name in MEASURES}

    def caption_likelihoods(self, images: Any, captions: Sequence[Sequence[str]], max_length: int) -> np.ndarray:
        """Return float [N]: the mean log-likelihood of an image's captions, in nats a token."""
        examples = CaptionExamples.of(self.encode(images).maps, captions, self.tokenizer, max_length)
        each = self._generator.log_likelihood(examples.images[examples.image_index], examples.token_ids)
        return np.bincount(examples.image_index, each) / np.bincount(examples.image_index)

    def log_likelihood(self, images: Any, captions: Sequence[str], max_length: int = 16) -> np.ndarray:
        """Return float [N]: the mean log-probability of a caption's tokens, in nats; one caption an image.

        Captions of more than `max_length` tokens are cut, with a warning; so they are below.
        """
        return self._generator.log_likelihood(*self._pairs(images, captions, max_length))

    def terms(self, images: Any, captions: Sequence[str], max_length: int = 16) -> tuple[np.ndarray, np.ndarray]:
        """Return each term of K for each token of a caption: (f·g, h), the logits' parts, each float [N, T − 1].

        A token of the caption, from the second on, has the logit f·g + h; both are 0 after its end.

        Args:
            images: [N, H, W, C], or their `FeatureMaps`.
            captions: One an image.
            max_length: Tokens T of a caption.
        """
        return self._generator.terms(*self._pairs(images, captions, max_length))

    def attention_maps(self, image: Any, caption: str, max_length: int = 16) -> np.ndarray:
        """Return the cross-attention of each token of a caption when it was chosen, float [T − 1, h, w].

        Args:
            image: [H, W, C], or the `FeatureMaps` of one image.
            caption: Its caption.
            max_length: Tokens T of a caption.

        Raises:
            UserError: The decoder has a prefix and no cross-attention.
        """
        if not self.attends:
            raise UserError("a decoder with a prefix has no cross-attention to show")
        maps = image if isinstance(image, FeatureMaps) else np.asarray(image)[None]
        given, token_ids = self._pairs(maps, [caption], max_length)
        return self._generator.attention_maps(given[0], token_ids[0][token_ids[0] != self.tokenizer.pad_id])

    def attention_of(self, feature_map: np.ndarray, token_ids: np.ndarray) -> np.ndarray:
        """Return the same for a feature map [h, w, E] and the token ids [T] of a caption."""
        return self._generator.attention_maps(feature_map, token_ids)

    @property
    def attends(self) -> bool:
        """Whether the decoder has cross-attention, and no prefix."""
        return not prefix_length_of(self.model.get_layer("causal_decoder"))

    def end_to_end(self) -> keras.Model:
        """Return all as one Keras model: {"image" [B, H, W, C], "token_ids", "padding_mask"} → logits [B, T, V]."""
        return end_to_end(self.encoder, self.model)

    def save(self, path: str | Path) -> Path:
        """Write `model.keras`, `model.json`, the ranking and the candidates into a folder."""
        height, width, channels = self.encoder.input.shape[1:]
        own: dict[str, Any] = {"class": "Captioner", "task": "captions", "input": "image"}
        own |= {"vocabulary": self.tokenizer.vocabulary, "lowercase": self.tokenizer.lowercase, **self.search}
        folder = save_folder(path, self.end_to_end(), own | {"image_size": [height, width], "channels": channels})
        if self.scorer is not None:
            _write(folder / RANKING, {"weight": np.array(self.weight)} | self.scorer.state())
        if self.pool is not None:
            _write(folder / CANDIDATES, self.pool.state())
        return folder

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Return the captioner that `save` wrote, by its folder or the .keras file in it.

        Raises:
            UserError: It holds a model of another class, or is damaged.
        """
        model, described = load_folder(path, cls.__name__)
        with rebuilding(path, model, "causal_decoder"):
            own = cls.of(*inside(model), WordPieceTokenizer(described["vocabulary"], described["lowercase"]))
            own.search = {name: described[name] for name in ("num_beams", "length_penalty")}
        folder = Path(path).expanduser()
        folder = folder.parent if folder.suffix == ".keras" else folder
        if (folder / RANKING).is_file():
            with _kept(folder / RANKING, "weight") as kept:
                own.scorer, own.weight = RidgeCaptionScorer.from_state(kept), float(kept["weight"])
        if (folder / CANDIDATES).is_file():
            with _kept(folder / CANDIDATES, "beta") as kept:
                own.pool = CandidatePool.from_state(kept)
        return own

    @classmethod
    def of(cls, encoder: keras.Model, model: keras.Model, tokenizer: WordPieceTokenizer) -> Self:
        """Return a captioner over an encoder and a caption model that are there already."""
        own = cls.__new__(cls)
        own.weight_map = None
        own._set(encoder, model, tokenizer)
        return own

    def _generated(self, maps: FeatureMaps, max_length: int | None = None, **options: Any) -> Captions:
        longest = min(50, self.max_positions) if max_length is None else max_length
        options.setdefault("length_penalty", self.search["length_penalty"])
        return self._generator.generate(maps.maps, max_length=longest, **options)

    def _likelihood_of_pools(self, max_length: int) -> Callable[[np.ndarray, list[list[str]]], np.ndarray]:
        """Return a function from maps [N, h, w, E] and texts [N][R] to log p(text | image) a token, float [N, R]."""

        def h(maps: np.ndarray, texts: list[list[str]]) -> np.ndarray:
            found = []
            for start in range(0, len(maps), AT_A_TIME):
                rows = texts[start : start + AT_A_TIME]
                token_ids = self.tokenizer.encode([text for row in rows for text in row], max_length)[0]
                own = start + np.repeat(np.arange(len(rows)), [len(row) for row in rows])
                found.append(self._generator.log_likelihood(maps[own], token_ids).reshape(len(rows), -1))
            return np.concatenate(found)

        return h

    def _plain(self, captions: Sequence[str]) -> list[str]:
        """Return captions as the tokenizer writes them."""
        return self.tokenizer.decode(self.tokenizer.encode(captions, LONGEST)[0])

    def _examples(
        self, images: Any, captions: Sequence[Sequence[str] | str], max_length: int, warn: bool = True
    ) -> CaptionExamples:
        """Return training examples over feature maps; set the scale of the maps if nothing has set it."""
        given = _listed(captions, len(images.maps if isinstance(images, FeatureMaps) else images))
        self._check_length(max_length)
        if not isinstance(images, FeatureMaps) and not self._adapted():
            self.adapt(images)
        if warn:
            self._token_ids([text for each in given for text in each], max_length)
        return CaptionExamples.of(self.encode(images).maps, given, self.tokenizer, max_length)

    def _adapted(self) -> bool:
        """Return whether the scale of the maps was set; the weights tell, so that it is forgotten with them."""
        mean, variance = self._standardise.get_weights()
        return bool(np.any(mean != 0) or np.any(variance != 1))

    def _train_part(
        self,
        examples: CaptionExamples,
        images: Any,
        training: CaptionTrainingConfig,
        first: int,
        last: int,
        frozen: int,
        seed: int,
        jit: bool,
        callbacks: Sequence[keras.callbacks.Callback] = (),
    ) -> keras.callbacks.History:
        """Train the steps from `first` to `last`; those from `frozen` on train the encoder too."""
        if first >= frozen:
            model, optimizer = self._unfreeze(training, jit, fresh=first == frozen)
            examples = replace(examples, images=np.asarray(images, np.float32))
        else:
            if not first:
                self._start_f(examples)
            model, optimizer = self.model, self._compile(training, jit, fresh=not first)
        reset_seed_generators(model, seed)
        rows = caption_batches(
            examples,
            self.tokenizer,
            training.batch_size,
            seed=seed,
            word_dropout=training.word_dropout,
            steps=last - first,
            name="feature_map" if model is self.model else "image",
        )
        still = max(0, round(training.freeze_decoder_fraction * training.steps) - first)
        each_step = [
            StepRates(rate_schedule(training, training.steps), first),
            PretrainedScale(optimizer, training.decoder_lr_scale, still),
            *callbacks,
        ]
        return fit_batches(model, rows, each_step)

    def _start_f(self, examples: CaptionExamples) -> None:
        """Set f of f(X)·g(y) where it explains the captions as bags of words, if it is still zero."""
        fg = image_word_logits_of(self.model)
        if fg is None or np.any(np.asarray(fg.f)):
            return
        g = np.asarray(fg.g)
        digest = hashlib.sha256()
        for part in (g, examples.images, examples.token_ids, examples.image_index):
            digest.update(np.ascontiguousarray(part).tobytes())
        key = digest.digest()
        if key not in self._first_f:
            special = (self.tokenizer.pad_id, self.tokenizer.start_id)
            bags = bags_of_words(examples.token_ids, len(self.tokenizer.vocabulary), special)
            means = examples.images.mean((1, 2))[examples.image_index]
            self._first_f[key] = fit_image_word_logits(g, means, bags)
        fg.f.assign(self._first_f[key])

    def _likelihoods(self, images: Any, examples: CaptionExamples) -> np.ndarray:
        """Return the log-likelihood of each caption; of images anew where the encoder has trained."""
        maps = examples.images if self._unfrozen is None else self.encode(images).maps
        return self._generator.log_likelihood(maps[examples.image_index], examples.token_ids)

    def _pairs(self, images: Any, captions: Sequence[str], max_length: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the maps [N, h, w, E] and the token ids [N, T] of images and one caption each."""
        maps = self.encode(images).maps
        given = _listed(captions, len(maps))
        self._check_length(max_length)
        return maps, self._token_ids([each[0] for each in given], max_length)

    def _token_ids(self, captions: Sequence[str], max_length: int) -> np.ndarray:
        """Return token ids int32 [N, max_length], and warn of captions that are longer."""
        token_ids, cut = self.tokenizer.encode(captions, max_length)
        remedy = f"give a greater `max_length`, at most {self.max_positions}"
        warn_truncated(cut, len(captions), "captions", max_length, remedy, stacklevel=4)
        return token_ids

    def _compile(self, training: CaptionTrainingConfig, jit: bool, fresh: bool) -> DiscriminativeAdam:
        """Compile once; a second training starts with a fresh optimizer and needs no second compilation."""
        model = self.model
        done = model.compiled and model.jit_compile == jit and model.loss.smoothing == training.label_smoothing
        if not done:
            compile_caption_model(model, sorted(new_weight_paths(model)), smoothing=training.label_smoothing, jit=jit)
        for variable in model.optimizer.variables if fresh else ():
            variable.assign(keras.ops.zeros_like(variable))
        return model.optimizer

    def _unfreeze(
        self, training: CaptionTrainingConfig, jit: bool, fresh: bool
    ) -> tuple[keras.Model, DiscriminativeAdam]:
        """Let a copy of the encoder train, as one model with the decoder; return it and its optimizer."""
        if self._unfrozen is None:
            self.encoder = clone(self.encoder)
            unfreeze(self.encoder)
            self.encoder.get_layer("standardise").trainable = False  # its statistics are those of all images
            self._scaled = in_batches(self.encoder)
            self._unfrozen = end_to_end(self.encoder, self.model)
        if fresh:  # the scales may be others than in an earlier training
            scales = {variable.path: training.encoder_lr_scale for variable in self.encoder.trainable_variables}
            new, smoothing = sorted(new_weight_paths(self.model)), training.label_smoothing
            compile_caption_model(self._unfrozen, new, smoothing=smoothing, jit=jit, scales=scales)
        return self._unfrozen, self._unfrozen.optimizer

    def _check_length(self, max_length: int) -> None:
        if max_length > self.max_positions:
            raise UserError(
                f"max_length {max_length}: the decoder has {self.max_positions} positions for words; give at most that"
            )


def mean_features(maps: FeatureMaps) -> np.ndarray:
    """Return the mean feature [N, E] of feature maps [N, h, w, E]."""
    return maps.maps.mean((1, 2))


def caption_measures(
    answers: Sequence[str], references: Sequence[Sequence[str]], tokenizer: WordPieceTokenizer
) -> dict[str, np.ndarray]:
    """Return CIDEr-D, exact match and token F1 of each caption, [N], on words as the tokenizer splits a text."""
    written = [as_written(each, tokenizer) for each in references]
    each = caption_scores(answers, written, per_caption=True)["per_caption"]
    return {name: np.asarray(each[name]) for name in ("cider_d", "exact_match", "token_f1")}


def as_written(texts: Sequence[str], tokenizer: WordPieceTokenizer) -> list[str]:
    """Return references as the tokenizer writes them; a text that it cannot write stays as it is.

    Else all unknown words would be one word, which a model that writes [UNK] gets right.
    """
    plain = tokenizer.decode(tokenizer.encode(list(texts), LONGEST)[0])
    unknown = tokenizer.vocabulary[tokenizer.unknown_id]
    kept = [" ".join((text.casefold() if tokenizer.lowercase else text).split()) for text in texts]
    return [own if unknown in written.split() else written for own, written in zip(kept, plain)]


def _write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with atomic_file(path) as file, file.open("wb") as opened:
        np.savez(opened, **arrays)  # type: ignore[arg-type]


@contextmanager
def _kept(path: Path, needed: str) -> Iterator[Any]:
    """Give the arrays that `_write` wrote; a damaged file is named, with the remedy."""
    remedy = "save the model again, or run the experiment again"
    with reading_own(path, remedy):
        kept = with_decoded(read_own_npz(path, remedy))
        if needed not in kept:
            raise KeyError(needed)
        yield kept


def _joined(history: keras.callbacks.History | None, later: keras.callbacks.History) -> keras.callbacks.History:
    if history is None:
        return later
    for name, values in later.history.items():
        history.history[name] += values
    return history


def _check_fractions(training: CaptionTrainingConfig) -> None:
    for name in ("freeze_decoder_fractions", "unfreeze_encoder_fraction", "word_dropout"):
        given = getattr(training, name)
        for value in given if isinstance(given, tuple) else (given,):
            if not 0 <= value <= 1:
                raise UserError(f"{name} {value}: is a fraction; give a number from 0 to 1")


def _listed(captions: Sequence[Sequence[str] | str], images: int) -> list[list[str]]:
    """Return a list of captions for each image, or say which has none."""
    given = [[each] if isinstance(each, str) else list(each) for each in captions]
    if len(given) != images:
        raise UserError(f"{images} images and captions for {len(given)} are no pairs")
    empty = next((i for i, each in enumerate(given) if not each or not all(text.strip() for text in each)), None)
    if empty is not None:
        raise UserError(f"image {empty} has no caption, or an empty one")
    return given
