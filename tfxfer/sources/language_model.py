"""Text-only pre-training of a decoder: a BERT made a decoder continues on texts, without images, before it captions.

A BERT predicts masked words from both sides. The decoder made of it predicts from left to right, and can learn that
from texts alone: teacher forcing beside a blank feature map. The new weights, cross-attention among them, are reset
after.
"""

import logging
import time
from collections.abc import Sequence

import numpy as np

import tfxfer
from tfxfer.cache import atomic_file, data_dirs, key_of
from tfxfer.config import CaptionTrainingConfig, RunConfig, SourceConfig, deciding
from tfxfer.errors import DamagedFile, UserError
from tfxfer.models import spec as model_spec
from tfxfer.own_files import read_own_npz
from tfxfer.runs import Run
from tfxfer.transfer.graph import fingerprint
from tfxfer.transfer.knowledge.caption_model import new_weight_paths
from tfxfer.transfer.knowledge.captioner import Captioner, FeatureMaps

log = logging.getLogger("tfxfer")


def pretraining_texts(source: SourceConfig, texts: str | None, config: RunConfig, run: Run) -> list[str]:
    """Return the texts that a decoder continues on: a data set's, by default the language model's own.

    Args:
        source: The language model.
        texts: Spec of a data set of texts, or None.
        config: Folders and downloads.
        run: The run.
    """
    if texts is None and model_spec.is_model(source.spec):
        run.say(f"source: {source.spec} comes without texts for pre-training; --pretrain-texts names some")
        return []
    columns = {"text": source.text} if source.text and not texts else {}
    spec = texts or source.spec
    dataset = tfxfer.load(spec, data_dir=config.data_dir, download=config.download, **columns)
    if "text" not in dataset.keys:
        raise UserError(f"--pretrain-texts {spec}: has no texts; name a set that has, such as text:FILE")
    return dataset.texts("train")


def pretrain_decoder(
    captioner: Captioner, texts: Sequence[str], training: CaptionTrainingConfig, config: RunConfig, run: Run
) -> dict[str, np.ndarray]:
    """Train a decoder on texts; return path -> its pretrained weights, from the cache where they are there.

    Args:
        captioner: As the language model left it; its weights are changed.
        texts: What it learns.
        training: Steps, batch size, learning rate and max_length.
        config: Seed, device, arithmetic and folders.
        run: The run.
    """
    shape = captioner.encoder.output.shape[1:]
    run_key = deciding(config, RunConfig)
    key = key_of("pretrained decoder", deciding(training), run_key, shape, fingerprint(captioner.model), list(texts))
    caches, names = data_dirs(config.data_dir), ("sources", f"decoder-{key}.npz")
    file = caches.own.joinpath(*names)
    for cached in (*caches.shared(*names), file):
        try:
            kept = read_own_npz(cached, "the decoder is trained again")
            run.say(f"source: the decoder's text-only pre-training is taken from the cache ({key})")
            return kept
        except FileNotFoundError:
            continue
        except DamagedFile as error:
            log.warning("%s", error)
    started = time.perf_counter()
    blank = FeatureMaps(np.zeros((1, *shape), np.float32))
    history = captioner.fit(blank, [list(texts)], training=training, seed=config.seed)
    loss = history.history["loss"][-1]
    run.metric("pre-training", loss=loss, steps=training.steps)
    run.say(
        f"source: text-only pre-training of the decoder, {training.steps} steps of {training.batch_size} texts, in "
        f"{time.perf_counter() - started:.0f} s (loss {loss:.3f})"
    )
    new = new_weight_paths(captioner.model)
    pretrained = {v.path: np.asarray(v) for v in captioner.model.trainable_variables if v.path not in new}
    with atomic_file(file) as temporary, temporary.open("wb") as opened:
        np.savez(opened, **pretrained)  # type: ignore[arg-type]
    return pretrained
