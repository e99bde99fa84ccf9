"""Does it help to train a captioner's image encoder too? Frozen, unfrozen in the second half, and unfrozen throughout.

    python -m benchmarks.unfreezing                                            names of characters
    python -m benchmarks.unfreezing LANGUAGE_MODEL IMAGE_ENCODER TARGET        other data, as `tfxfer.train captioning`
    python -m benchmarks.unfreezing --smoke                                    few images and steps, one seed

A `Captioner` with 500 images, three seeds, judged on validation images: CIDEr-D with the own and with another image,
nats a token of the first true caption, and the seconds of the training, its compilation among them. All at one learning
rate, 3e-3, with the encoder's a tenth of it.
"""

import argparse
import json
import tempfile
import time
import warnings
from dataclasses import replace
from typing import Any

import numpy as np

from tfxfer.config import with_options
from tfxfer.recipes.captioning import CaptioningConfig, load_image_encoder
from tfxfer.runs import Run
from tfxfer.sources.load import load_language_model
from tfxfer.tasks.captioned_images import CaptionedImages
from tfxfer.transfer.knowledge import Captioner
from tfxfer.transfer.knowledge.captioner import caption_measures
from tfxfer.transfer.knowledge.question_batches import TruncationWarning

PAIRS, SEEDS = 500, 3
HOW: dict[str, Any] = {"steps": 140, "learning_rates": (3e-3,), "max_length": 24, "max_validation": 200}
UNFROZEN = {"frozen": 0.0, "unfrozen in the second half": 0.5, "unfrozen": 1.0}
SMOKE: dict[str, Any] = {
    "pairs": (8,),
    "steps": 2,
    "batch_size": 4,
    "max_validation": 4,
    "max_test": 4,
    "language_model_max_examples": 512,
    "image_encoder_epochs": 1,
    "image_encoder_max_examples": 512,
}


def asked() -> tuple[CaptioningConfig, bool]:
    """Return what is to be learned, and whether it is a smoke run."""
    plain = CaptioningConfig()
    parser = argparse.ArgumentParser("python -m benchmarks.unfreezing", description=__doc__.splitlines()[0])
    for name in ("language_model", "image_encoder", "target"):
        parser.add_argument(name, nargs="?", default=getattr(plain, name).spec)
    parser.add_argument("--smoke", action="store_true", help="few images and steps, one seed")
    given = vars(parser.parse_args())
    smoke = given.pop("smoke")
    config = with_options(plain, **given, pairs=(PAIRS,), **HOW)
    return (with_options(config, **SMOKE) if smoke else config), smoke


def main() -> None:
    config, smoke = asked()
    warnings.simplefilter("ignore", TruncationWarning)
    with tempfile.TemporaryDirectory() as folder:
        run = Run("captioning", with_options(config, run_dir=f"{folder}/run"))
        language_model, tokenizer = load_language_model(config.language_model, config, run)
        encoder = load_image_encoder(config, run)
        task = CaptionedImages.load(config.target, config, encoder, max(config.pairs), run)
        run.close()
    images, captions = (kept["train"][: max(config.pairs)] for kept in (task.images, task.captions))
    shown, wanted = task.images["validation"], task.captions["validation"]
    rows = []
    for name, fraction in UNFROZEN.items():
        training = replace(config.training, unfreeze_encoder_fraction=fraction, encoder_lr_scale=0.1)
        found: dict[str, list[float]] = {}
        for seed in range(1 if smoke else SEEDS):
            captioner = Captioner(encoder, language_model, tokenizer, images.shape[1:], config.model, seed=seed)
            started = time.perf_counter()
            captioner.fit(images, captions, training=training, seed=seed)
            found.setdefault("seconds", []).append(time.perf_counter() - started)
            nats = captioner.log_likelihood(shown, [each[0] for each in wanted], training.max_length)
            found.setdefault("nats", []).append(nats.mean())
            for what, given in (("CIDEr-D", shown), ("another image", np.roll(shown, 1, 0))):
                answers = [texts[0] for texts in captioner.predict(given, max_length=training.max_length).texts]
                found.setdefault(what, []).append(caption_measures(answers, wanted, tokenizer)["cider_d"].mean())
        means = {kind: round(float(np.mean(values)), 3) for kind, values in found.items()}
        spread = round(float(np.std(found["CIDEr-D"], ddof=1)), 3) if len(found["CIDEr-D"]) > 1 else 0.0
        rows.append({"encoder": name, **means, "spread": spread})
        print(rows[-1], flush=True)
    print(json.dumps({"benchmark": "unfreezing", "target": config.target.spec, "rows": rows}))


if __name__ == "__main__":
    main()
