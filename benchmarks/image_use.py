"""How much a captioner uses its images: one setting changed at a time, judged on validation images only.

    python -m benchmarks.image_use            writes benchmarks/image_use.md; about twenty minutes on 2 CPU cores
    python -m benchmarks.image_use --smoke    two settings, few steps, one seed; writes nothing

Each row is a training with three seeds. CIDEr-D is measured three times: with each image's own feature map, with that
of another image, and with the mean map. What is lost without the own image is what the captioner takes from images.
"""

import argparse
import json
import tempfile
import warnings
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from tfxfer.config import with_options
from tfxfer.recipes.captioning import CaptioningConfig, captioning_arms, load_image_encoder
from tfxfer.runs import Run
from tfxfer.sources.language_model import pretraining_texts
from tfxfer.sources.load import load_language_model
from tfxfer.tasks.captioned_images import CaptionedImages, CaptionedMaps
from tfxfer.transfer.knowledge import Captioner
from tfxfer.transfer.knowledge.captioner import FeatureMaps
from tfxfer.transfer.knowledge.question_batches import TruncationWarning

FILE = Path(__file__).with_suffix(".md")
PLAIN = {
    "word_dropout": 0.0,
    "label_smoothing": 0.0,
    "freeze_decoder_fraction": 0.0,
    "decoder_lr_scales": (1.0,),
    "ranking": "decoder",
    "candidates": "none",
    "image_word_logits": False,
}
NOT_STANDARDISED = "plain, maps not standardised"
SETTINGS: dict[str, dict[str, Any]] = {
    NOT_STANDARDISED: {},
    "plain": {},
    "plain, no text-only pre-training": {"pretrain_steps": 0},
    "word dropout 0.3": {"word_dropout": 0.3},
    "decoder frozen for half of the steps": {"freeze_decoder_fraction": 0.5},
    "decoder frozen": {"freeze_decoder_fraction": 1.0},
    "decoder's learning rate a tenth": {"decoder_lr_scales": (0.1,)},
    "label smoothing 0.1": {"label_smoothing": 0.1},
    "cross-attention copied": {"cross_attention": "copied"},
    "prefix": {"conditioning": "prefix"},
    "f·g ranks": {"ranking": "both"},
    "f·g beside h": {"image_word_logits": True},
    "f·g beside h, word dropout 0.3": {"image_word_logits": True, "word_dropout": 0.3},
    "f·g beside h, label smoothing 0.1": {"image_word_logits": True, "label_smoothing": 0.1},
    "f·g beside h and ranks": {"image_word_logits": True, "ranking": "both"},
    "prefix, f·g beside h": {"conditioning": "prefix", "image_word_logits": True},
    "f·g beside h and ranks, word dropout 0.3": {"image_word_logits": True, "word_dropout": 0.3, "ranking": "both"},
}
PAIRS, SEEDS = (150, 1200), 3
BRIEF: dict[str, Any] = {"steps": 140, "image_encoder_epochs": 2}
CONFIG = with_options(CaptioningConfig(), pairs=PAIRS, learning_rates=(3e-3,), max_validation=400, **BRIEF)
SMOKE: dict[str, Any] = {
    "pairs": (4, 8),
    "steps": 2,
    "pretrain_steps": 2,
    "batch_size": 4,
    "max_validation": 8,
    "max_test": 4,
    "language_model_max_examples": 512,
    "image_encoder_epochs": 1,
    "image_encoder_max_examples": 512,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="two settings, few steps, one seed; writes nothing")
    smoke = parser.parse_args().smoke
    warnings.simplefilter("ignore", TruncationWarning)
    config = with_options(CONFIG, **SMOKE) if smoke else CONFIG
    settings = {name: SETTINGS[name] for name in (NOT_STANDARDISED, "f·g beside h and ranks")} if smoke else SETTINGS
    with tempfile.TemporaryDirectory() as folder:
        rows = measured(with_options(config, run_dir=f"{folder}/run"), settings, 1 if smoke else SEEDS)
    if not smoke:
        FILE.write_text(page(rows), encoding="utf-8")
    print(json.dumps({"benchmark": "image_use", "rows": rows}))


def measured(config: CaptioningConfig, settings: dict[str, dict[str, Any]], seeds: int) -> list[dict[str, Any]]:
    """Return a row for each setting, start and budget."""
    run = Run("captioning", config)
    language_model, tokenizer = load_language_model(config.language_model, config, run)
    encoder = load_image_encoder(config, run)
    task = CaptionedImages.load(config.target, config, encoder, max(config.pairs), run)
    texts = pretraining_texts(config.language_model, config.pretrain_texts, config, run)
    rows = []
    for name, change in settings.items():
        own = with_options(config, **PLAIN | change)
        captioner = Captioner(encoder, language_model, tokenizer, task.images["train"].shape[1:], own.model)
        if name != NOT_STANDARDISED:
            captioner.adapt(task.images["train"])
        maps = held_out({split: captioner.encode(rows).maps for split, rows in task.images.items()}, task.captions)
        read = texts if own.pretrain_steps else []
        transfer, arms = captioning_arms(captioner, language_model, read, maps, own, run)
        random = next(arm.run for arm in arms if arm.name == "random")
        for pairs in own.pairs:
            for start, arm in (("BERT", transfer), ("fresh", random)):
                rows.append(row(name, start, arm, pairs, maps, seeds))
                print(rows[-1], flush=True)
    run.close()
    return rows


def held_out(maps: dict[str, np.ndarray], captions: dict[str, list[list[str]]]) -> CaptionedMaps:
    """Return half of the validation images to choose by, and the other half as the test split."""
    middle = len(captions["validation"]) // 2
    cut = {"validation": slice(0, middle), "test": slice(middle, None)}
    return CaptionedMaps(
        maps | {split: maps["validation"][part] for split, part in cut.items()},
        captions | {split: captions["validation"][part] for split, part in cut.items()},
    )


def row(name: str, start: str, arm: Any, pairs: int, task: CaptionedMaps, seeds: int) -> dict[str, Any]:
    """Train with each seed; caption with the own, another and the mean image; return the means over seeds."""
    maps, captions = task.maps["test"], task.captions["test"]
    mean = np.zeros_like(maps) + task.maps["train"].mean(0)
    others = {"another image": np.roll(maps, 1, 0), "mean image": mean}
    found: dict[str, list[float]] = {}
    for seed in range(seeds):
        own = arm(pairs, seed).scores
        found.setdefault("nats", []).append(own["log_likelihood"].mean())
        found.setdefault("CIDEr-D", []).append(own["cider_d"].mean())
        for kind, given in others.items():
            found.setdefault(kind, []).append(arm.caption(FeatureMaps(given), captions)[1]["cider_d"].mean())
    means = {kind: round(float(np.mean(values)), 3) for kind, values in found.items()}
    spread = round(float(np.std(found["CIDEr-D"], ddof=1)), 3) if seeds > 1 else 0.0
    return {"setting": name, "start": start, "pairs": pairs, **means, "spread": spread}


def page(rows: list[dict[str, Any]]) -> str:
    """Return the table as Markdown."""
    heads = ("setting", "start", "pairs", "nats", "CIDEr-D", "spread", "another image", "mean image")
    lines = [
        "# How much a captioner uses its images",
        "",
        f"`python -m benchmarks.image_use`, {date.today()}, 2 CPU cores. Names of characters that neither encoder nor",
        f"decoder has met; means of {SEEDS} seeds, learning rate 3e-3, {CONFIG.training.steps} steps at 1,200 pairs;",
        f"judged on {CONFIG.target.max_validation // 2} validation images. nats: log-likelihood a token; spread:",
        "standard deviation of CIDEr-D over the seeds; another image, mean image: CIDEr-D without the own image.",
        "",
        "| " + " | ".join(heads) + " |",
        "|" + "---|" * len(heads),
    ]
    for one in rows:
        cells = (one[head] if head == "setting" else str(one[head]).replace("-", "−") for head in heads)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
