"""Does it pay to let a captioner's picture encoder train along? Locked, unlocked in the second half, and all the time.

    python -m benchmarks.unlocking                             names of characters
    python -m benchmarks.unlocking SOURCE ENCODER TARGET       other data, as `tfxfer.train knowledge` takes them

A `Captioner` with 500 pictures, three seeds, judged on validation pictures: CIDEr-D with the own and with another's
picture, nats a token of the first true caption, and the seconds of the training, its compilation among them. All at one
learning rate, 3e-3, with the encoder's a tenth of it.
"""

import argparse
import json
import tempfile
import time
from dataclasses import replace

import numpy as np

from tfxfer.arms.captioning import measures
from tfxfer.config import KnowledgeConfig
from tfxfer.recipes import captioning as knowledge
from tfxfer.runs import Run
from tfxfer.sources.language_model import load_language
from tfxfer.tasks.captioned_images import Pictures
from tfxfer.transfer.knowledge import Captioner
from tfxfer.transfer.knowledge.caption_model import feature_map_encoder

PAIRS, SEEDS, STEPS, LENGTH = 500, 3, 140, 24
UNLOCKED = {"locked": 0.0, "unlocked in the second half": 0.5, "unlocked": 1.0}


def asked() -> KnowledgeConfig:
    """Return what is to be learned."""
    plain = KnowledgeConfig()
    parser = argparse.ArgumentParser("python -m benchmarks.unlocking")
    for name in ("source", "encoder", "target"):
        parser.add_argument(name, nargs="?", default=getattr(plain, name))
    given = parser.parse_args()
    return KnowledgeConfig(**vars(given), pairs=(PAIRS,), max_validation=200)


def main() -> None:
    config = asked()
    with tempfile.TemporaryDirectory() as folder:
        this = Run("knowledge", replace(config, run_dir=f"{folder}/run"))
        language, words = load_language(config, this)
        encoder = knowledge.load_encoder(config, this)
        pictures = Pictures.load(config, feature_map_encoder(encoder), this)
        this.close()
    images, captions = (kept["train"][:PAIRS] for kept in (pictures.images, pictures.captions))
    seen, wanted = pictures.images["validation"], pictures.captions["validation"]
    rows = []
    for name, unlocked in UNLOCKED.items():
        found: dict[str, list[float]] = {}
        for seed in range(SEEDS):
            captioner = Captioner(encoder, language, words, images.shape[1:], seed=seed)
            started = time.perf_counter()
            captioner.fit(images, captions, steps=STEPS, length=LENGTH, unlocked=unlocked, seed=seed)
            found.setdefault("seconds", []).append(time.perf_counter() - started)
            nats = captioner.log_likelihood(seen, [each[0] for each in wanted], LENGTH)
            found.setdefault("nats", []).append(nats.mean())
            for what, shown in (("CIDEr-D", seen), ("another's", np.roll(seen, 1, 0))):
                told = captioner.tell(shown, max_length=LENGTH).texts
                score = measures([texts[0] for texts in told], wanted, words)["cider_d"].mean()
                found.setdefault(what, []).append(score)
        means = {kind: round(float(np.mean(values)), 3) for kind, values in found.items()}
        rows.append({"encoder": name, **means, "spread": round(float(np.std(found["CIDEr-D"], ddof=1)), 3)})
        print(rows[-1], flush=True)
    print(json.dumps({"benchmark": "unlocking", "target": config.target, "rows": rows}))


if __name__ == "__main__":
    main()
