"""`--transfer encoder_to_decoder`: a BERT made a decoder models texts, beside the same decoder with fresh weights.

    S   a BERT that learned one kind of text: by default the names of characters that have no image here
    M   a decoder with causal masks and cross-attention, its head tied to the word embeddings (Rothe et al. 2020)
    it predicts texts, and attends to the patches of their images; where a target has none, to a blank

Every arm trains all of M with the same steps, so that scratch is `random` and finetune `transfer`. The measure is the
mean log-likelihood of a test text in nats a token; arms can be compared because they share the tokenizer.

Command:   python -m tfxfer.train structure --transfer encoder_to_decoder
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import keras
import numpy as np

import tfxfer
from tfxfer.arms.captioning import LanguageModelArm, captioner_for, in_graph
from tfxfer.arms.logging import report_training
from tfxfer.baselines.language_ngrams import native_language, nats
from tfxfer.config import CaptionModelConfig, CaptionTrainingConfig
from tfxfer.data.dataset import Dataset
from tfxfer.errors import UserError
from tfxfer.experiment import Arm, Outcome
from tfxfer.models.fresh import fresh_language_model
from tfxfer.models.train_sets import TrainSet, arms_of, key_of, train_sets_of, training_for
from tfxfer.recipes.recipe import Plan
from tfxfer.recipes.weight_maps import keep_ledger
from tfxfer.runs import Run
from tfxfer.sources.load import load_language_model
from tfxfer.tasks.captioned_images import CaptionedMaps, one_image_per_caption
from tfxfer.tasks.examples import evenly_spaced, png
from tfxfer.tasks.overlap import check_overlap
from tfxfer.transfer.graph import fingerprint
from tfxfer.transfer.knowledge import Captioner
from tfxfer.transfer.knowledge.caption_model import caption_model
from tfxfer.transfer.knowledge.language_model import LanguageModel

VERIFIED_ON = 64  # test texts whose likelihood is measured before anything trains


def build_decoder(config: Any, run: Run) -> Plan:
    """Load source and target, make the decoder, and lay out the arms.

    Args:
        config: A `StructureConfig`, "auto" resolved.
        run: The run.
    """
    texts = Texts.load(config, run)  # before anything is trained for them
    language_model, tokenizer = load_language_model(config.source, config, run)
    model = CaptionModelConfig(positions=0, cross_attention=config.cross_attention, image_word_logits=False)
    captioner = Captioner(texts.encoder, language_model, tokenizer, texts.shape, model, seed=config.seed)
    shape = captioner.encoder.output.shape[1:]

    first, others = train_sets_of(config)

    def model_of(source: Any, seed: int) -> keras.Model:
        return caption_model(shape, source, cross_attention=config.cross_attention, seed=seed)[0]

    def weights(source: Any, seed: int, by: TrainSet | None = first) -> list[np.ndarray]:
        return in_graph(model_of(source, seed), by, seed).get_weights()

    @cache
    def captioner_of(by: TrainSet | None) -> Captioner:
        made = model_of(language_model, config.seed) if by else captioner.model
        return captioner_for(captioner, made, by, config.seed)

    starts: dict[str, tuple[TrainSet | None, Callable[[int], list[np.ndarray]]]] = {
        "transfer": (first, lambda seed: weights(language_model, seed)),
        "random": (first, lambda seed: weights(fresh_language_model(language_model, seed), seed)),
    }
    starts |= {by.arm: (by, partial(weights, language_model, by=by)) for by in others}
    own = config.training
    training = {  # nothing is hidden or smoothed: the measure is the likelihood itself
        name: CaptionTrainingConfig(
            steps=own.steps,
            batch_size=own.batch_size,
            learning_rates=training_for(config, by).learning_rates,
            max_length=config.max_length,
            word_dropout=0.0,
            label_smoothing=0.0,
            num_validations=5,
            schedule=own.schedule,
            checkpoints=own.checkpoints,
        )
        for name, (by, _) in starts.items()
    }
    keep = (max(config.training_texts), config.seed)
    arms = {
        name: LanguageModelArm(
            captioner_of(by), start, texts.task.drawn, training[name], keep, "decoder", report_training(run, name)
        )
        for name, (by, start) in starts.items()
    }
    assert captioner.weight_map is not None  # the captioner is new
    panel = keep_ledger(
        captioner.weight_map,
        before_training(captioner_of(first), [starts[name][1] for name in ("transfer", "random")], texts.task, config),
        run,
    )

    def native(budget: int | None, seed: int) -> Outcome:
        drawn = texts.task.drawn(budget or 0, seed).captions
        train, held, test = ([each[0] for each in drawn[split]] for split in ("train", "validation", "test"))
        return native_language(train, held, test, tokenizer, config.max_length)

    def save(folder: Any) -> None:
        trained = arms["transfer"].final_captioner()
        (trained if texts.images is not None else LanguageModel(trained, config.max_length)).save(folder)

    return Plan(
        title=f"{config.source.spec} → {config.target.spec} by {config.transfer}",
        arms=(
            *(
                Arm(name, arm, recall=arm.recall, key=key_of(starts[name][0]), asked=name.startswith("train_"))
                for name, arm in arms.items()
            ),
            Arm("native", native),
        ),
        budgets=tuple(sorted(config.training_texts)),
        keys=(texts.dataset.fingerprint, fingerprint(language_model)),
        labels=np.zeros(len(texts.task.captions["test"]), np.int32),
        dataset=texts.dataset,
        test_rows=tuple(map("\n".join, texts.task.captions["test"])),
        examples=tuple(texts.examples()),
        measures=("log_likelihood",),
        unit="texts",
        panels=(panel,),
        save=save,
        train_sets=arms_of(config),
    )


def before_training(captioner: Captioner, starts: Sequence[Any], task: CaptionedMaps, config: Any) -> str:
    """Return a sentence on the likelihood of test texts before training, with the source's and with fresh weights."""
    maps, texts = task.pairs("test")
    few = type(maps)(maps.maps[:VERIFIED_ON])
    found = []
    for start in starts:
        captioner.model.set_weights(start(config.seed))
        likelihoods = captioner.caption_likelihoods(few, texts[:VERIFIED_ON], config.max_length)
        found += nats(likelihoods.mean(keepdims=True))
    return (
        "A decoder cannot compute what its encoder did, since a causal mask hides the following tokens. Before any "
        f"training, the mean likelihood of {len(few.maps)} test texts is {found[0]} with the source's weights, "
        f"{found[1]} with fresh ones."
    )


@dataclass(frozen=True)
class Texts:
    """The target: texts, and the images that the decoder attends to.

    Attributes:
        dataset: The target.
        task: Feature maps of patches [N, h, w, E], or blanks [N, 1, 1, 1], and each one's text.
        encoder: Images to maps, without weights.
        images: Test images uint8 [N, H, W, C]; None where the target has no images.
    """

    dataset: Dataset
    task: CaptionedMaps
    encoder: keras.Model
    images: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C) of the images."""
        return self.encoder.input.shape[1:]

    @classmethod
    def load(cls, config: Any, run: Run) -> "Texts":
        """Load the target, each text once; texts of a split are drawn in an order of their own.

        Raises:
            UserError: There is no text, the splits overlap, or there are fewer training texts than a budget asks for.
        """
        with run.phase("data"):
            columns = config.target.columns("text", "image", "label")
            dataset = tfxfer.load(config.target.spec, data_dir=config.data_dir, download=config.download, **columns)
        check_overlap(dataset, config.target, config, run)
        most = max(config.training_texts)
        limits = {"train": 2 * most, "validation": config.target.max_validation, "test": config.target.max_test}
        if {"image", "caption"} <= set(dataset.keys):
            found = cls._with_images(dataset, limits, config)
        else:
            key = next((key for key in ("text", "caption") if key in dataset.keys), None)
            if key is None:
                raise UserError(f"{config.target.spec}: has no texts; name the column with --target-text")
            captions = {split: [[text] for text in once(dataset.texts(split, key), n)] for split, n in limits.items()}
            blank = {split: np.zeros((len(rows), 1, 1, 1), np.float32) for split, rows in captions.items()}
            image = keras.Input((1, 1, 1), name="image")
            encoder = keras.Model(image, keras.layers.Identity(name="blank")(image), name="encoder")
            found = cls(dataset, CaptionedMaps(blank, captions), encoder)
        sizes = {split: len(rows) for split, rows in found.task.captions.items()}
        short = next((split for split, n in sizes.items() if n < (most if split == "train" else 1)), None)
        if short is not None:
            raise UserError(
                f"{config.target.spec}: {sizes[short]} {short} texts that differ, and --training-texts asks for "
                f"{most}; ask for fewer, or give more"
            )
        beside = "with their images" if found.images is not None else "with a blank, as there are no images"
        run.say(f"target: {config.target.spec}, {', '.join(f'{n:,} {s}' for s, n in sizes.items())} texts, {beside}")
        return found

    @classmethod
    def _with_images(cls, dataset: Dataset, limits: dict[str, int], config: Any) -> "Texts":
        stored, side = dataset.image_shape, config.target.image_size
        height, width = (side,) * 2 if side else stored[:2] if stored else (64, 64)
        encoder = patch_encoder((height, width, stored[2] if stored else 3), config.patch_size)
        found = {split: one_image_per_caption(dataset, split, n, side, encoder) for split, n in limits.items()}
        maps = {
            split: np.asarray(encoder.predict(rows, batch_size=128, verbose=0), np.float32)
            for split, (rows, _) in found.items()
        }
        task = CaptionedMaps(maps, {split: [each[:1] for each in captions] for split, (_, captions) in found.items()})
        return cls(dataset, task, encoder, found["test"][0])

    def examples(self) -> list[dict[str, Any]]:
        """Return test texts for people, evenly spaced."""
        texts = [each[0] for each in self.task.captions["test"]]
        rows = evenly_spaced(len(texts))
        images = [{} if self.images is None else {"png": png(self.images[i])} for i in rows]
        return [{"index": int(i), "true": texts[i], **image} for i, image in zip(rows, images)]


def patch_encoder(image_shape: tuple[int, int, int], side: int) -> keras.Model:
    """Return a model without weights from images [B, H, W, C] to their patches [B, H/side, W/side, side · side · C].

    White becomes 0 and black 1.

    Raises:
        UserError: The patches do not tile the image.
    """
    height, width, channels = image_shape
    if side < 1 or height % side or width % side:
        raise UserError(
            f"--patch-size {side}: such patches do not tile an image of {height} x {width}; give one that divides "
            "both, or resize the images with --image-size"
        )
    images = keras.Input(image_shape, name="image")
    x = keras.layers.Rescaling(-1 / 255, offset=1.0, name="invert")(images)
    x = keras.layers.Reshape((height // side, side, width // side, side * channels), name="rows")(x)
    x = keras.layers.Permute((1, 3, 2, 4), name="transpose")(x)
    maps = keras.layers.Reshape((height // side, width // side, side * side * channels), name="patches")(x)
    return keras.Model(images, maps, name="encoder")


def once(texts: list[str], limit: int) -> list[str]:
    """Return the texts that differ, in a drawn order; at most `limit` of them, or all with 0."""
    kept = list(dict.fromkeys(text for text in texts if text.strip()))
    order = np.random.default_rng(0).permutation(len(kept))
    return [kept[i] for i in order[: limit or None]]
