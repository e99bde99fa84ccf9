"""A source model: given by its spec, or trained on a data set (once, then cached)."""

from pathlib import Path

import keras

import tfxfer
from tfxfer.config import RunConfig, SourceConfig
from tfxfer.data.dataset import Dataset
from tfxfer.errors import UserError
from tfxfer.models import spec as model_spec
from tfxfer.models.tokenizer import WordPieceTokenizer
from tfxfer.runs import Run
from tfxfer.sources.pretrain import Pretraining, trained_language_model, trained_source
from tfxfer.transfer.feature.image_values import remark_on_values


def load_source(source: SourceConfig, config: RunConfig, run: Run, *, image_size: int = 0) -> keras.Model:
    """Return the model that brings knowledge.

    Args:
        source: A model's spec, or a data set and how it is learned.
        config: Seed, device, arithmetic and folders.
        run: The run, which shows progress and counts seconds.
        image_size: Side in pixels that its images are resized to; 0 takes them as they are, 64 when they vary.
    """
    if model_spec.is_model(source.spec):
        shape = (*(image_size or 64,) * 2, 3) if source.spec.startswith("keras:") else None
        model = tfxfer.source(
            source.spec, input_shape=shape, seed=config.seed, download=config.download, rescale=source.rescale
        )
        run.say(f"source: {source.spec}, {model.count_params():,} parameters")
        if source.spec.startswith("file:") and source.rescale is None:
            remark = remark_on_values(model)
            if remark:
                run.say(f"source: {source.spec}: {remark}", style="yellow")
        return model
    training = _pretraining(source, config, run, image_size)
    with run.phase("source"):
        return trained_source(training, run)


def load_language_model(source: SourceConfig, config: RunConfig, run: Run) -> tuple[keras.Model, WordPieceTokenizer]:
    """Return a BERT and its tokenizer: trained on texts as a masked language model, or read from a folder.

    Raises:
        UserError: The spec is a model without a tokenizer.
    """
    if not model_spec.is_model(source.spec):
        training = _pretraining(source, config, run)
        with run.phase("source"):
            return trained_language_model(training, run)
    kind, _, name = source.spec.partition(":")
    if kind != "preset":
        raise UserError(f"{source.spec}: give a data set of texts, or preset:DIR with its tokenizer")
    tokenizer = WordPieceTokenizer.from_folder(Path(name).expanduser())
    return load_source(source, config, run), tokenizer


def source_data(source: SourceConfig, config: RunConfig, run: Run) -> Dataset:
    """Return the data set that a source learns."""
    with run.phase("data"):
        columns = {name: value for name, value in (("label", source.label), ("text", source.text)) if value}
        return tfxfer.load(source.spec, data_dir=config.data_dir, download=config.download, **columns)


def _pretraining(source: SourceConfig, config: RunConfig, run: Run, image_size: int = 0) -> Pretraining:
    return Pretraining.of(source, config, source_data(source, config, run), image_size)
