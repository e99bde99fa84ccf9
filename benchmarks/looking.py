"""What makes a captioner look: one setting changed at a time, judged on validation pictures that no test will use.

    python -m benchmarks.looking          writes benchmarks/looking.md; about twenty minutes on 2 CPU cores

Each row is a training with three seeds. CIDEr-D is measured three times: with each picture's own
map, with another's, and with the mean one. What is lost without the own picture comes from looking.
"""

import json
import tempfile
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np

from tfxfer.arms.captioning import Gallery
from tfxfer.config import KnowledgeConfig
from tfxfer.recipes import captioning as knowledge
from tfxfer.runs import Run
from tfxfer.sources.language_model import load_language, texts_to_read
from tfxfer.tasks.captioned_images import Pictures
from tfxfer.transfer.knowledge.caption_model import feature_map_encoder, resized_encoder, standardized

PLAIN = {
    "word_dropout": 0.0,
    "label_smoothing": 0.0,
    "frozen": 0.0,
    "carried_rate": 1.0,
    "ranking": "decoder",
    "evidence": False,
}
SETTINGS = {
    "plain, maps as they are": {},
    "plain": {},
    "plain, no reading": {"text_updates": 0},
    "words hidden 0.3": {"word_dropout": 0.3},
    "cross-attention first (half)": {"frozen": 0.5},
    "decoder frozen": {"frozen": 1.0},
    "carried at a tenth": {"carried_rate": 0.1},
    "label smoothing 0.1": {"label_smoothing": 0.1},
    "cross-attention copied": {"cross_attention": "copied"},
    "prefix": {"looking": "prefix"},
    "f·g ranks too": {"ranking": "both"},
    "f·g beside h": {"evidence": True},
    "f·g beside h, words hidden 0.3": {"evidence": True, "word_dropout": 0.3},
    "f·g beside h, label smoothing 0.1": {"evidence": True, "label_smoothing": 0.1},
    "f·g beside h and ranks": {"evidence": True, "ranking": "both"},
    "prefix, f·g beside h": {"looking": "prefix", "evidence": True},
    "f·g beside h and ranks, hidden 0.3": {"evidence": True, "word_dropout": 0.3, "ranking": "both"},
}
PAIRS, SEEDS = (150, 1200), 3
HOW = {"pairs": PAIRS, "learning_rates": (3e-3,), "max_validation": 400}


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        config = KnowledgeConfig(run_dir=str(Path(folder) / "run"), **HOW)
        this = Run("knowledge", config)
        language, words = load_language(config, this)
        encoder = feature_map_encoder(knowledge.load_encoder(config, this))
        pictures = Pictures.load(config, encoder, this)
        texts = texts_to_read(config, this)
        for name, change in SETTINGS.items():
            settings = replace(config, **{**PLAIN, **change})
            eyes = resized_encoder(encoder, pictures.images["train"].shape[1:], settings.places)
            gallery = pictures.gallery(eyes)
            if "as they are" not in name:
                gallery = gallery.through(standardized(eyes, gallery.grids["train"]).get_layer("standardized"))
            judged = held_out(gallery)
            read = texts if settings.text_updates else []
            arms, warm = knowledge.plan(language, words, read, judged, settings, this)
            cold = next(arm.run for arm in arms if arm.name == "random")
            for pairs in PAIRS:
                for start, writer in (("BERT", warm), ("fresh", cold)):
                    rows.append(one(name, start, writer, pairs, judged))
                    print(rows[-1], flush=True)
        this.close()
    Path(__file__).with_name("looking.md").write_text(page(rows), encoding="utf-8")
    print(json.dumps({"benchmark": "looking", "rows": rows}))


def held_out(gallery: Gallery) -> Gallery:
    """Return the gallery with half of the validation pictures to choose by, and the other half in the test's place."""
    middle = len(gallery.captions["validation"]) // 2
    cut = {"validation": slice(0, middle), "test": slice(middle, None)}
    grids = gallery.grids | {split: gallery.grids["validation"][part] for split, part in cut.items()}
    captions = gallery.captions | {split: gallery.captions["validation"][part] for split, part in cut.items()}
    return Gallery(grids, captions)


def one(name: str, start: str, writer, pairs: int, gallery: Gallery) -> dict:
    """Train with each seed and ask about the right, another's and the mean picture; return the means over seeds."""
    grids, captions = gallery.grids["test"], gallery.captions["test"]
    mean = np.zeros_like(grids) + gallery.grids["train"].mean(0)
    seen = {"another's": np.roll(grids, 1, 0), "blank": mean}
    found: dict[str, list[float]] = {}
    for seed in range(SEEDS):
        own = writer(pairs, seed).scores
        found.setdefault("nats", []).append(own["log_likelihood"].mean())
        found.setdefault("CIDEr-D", []).append(own["cider_d"].mean())
        for kind, maps in seen.items():
            found.setdefault(kind, []).append(writer.answer(maps, captions)[1]["cider_d"].mean())
    means = {kind: round(float(np.mean(values)), 3) for kind, values in found.items()}
    spread = round(float(np.std(found["CIDEr-D"], ddof=1)), 3)
    return {"setting": name, "start": start, "pairs": pairs, **means, "spread": spread}


def page(rows: list[dict]) -> str:
    """Return the table as Markdown."""
    heads = ("setting", "start", "pairs", "nats", "CIDEr-D", "spread", "another's", "blank")
    lines = [
        "# What makes a captioner look",
        "",
        f"`python -m benchmarks.looking`, {date.today()}, 2 CPU cores. Names of characters that neither encoder nor",
        f"decoder has met; means of {SEEDS} seeds, learning rate 3e-3, {KnowledgeConfig.updates} steps at 1,200 pairs;",
        f"judged on {HOW['max_validation'] // 2} validation pictures. nats: log-likelihood a token; spread: standard",
        "deviation of CIDEr-D over the seeds; another's, blank: CIDEr-D without the own picture.",
        "",
        "| " + " | ".join(heads) + " |",
        "|" + "---|" * len(heads),
    ]
    lines += [
        "| "
        + " | ".join((row[head] if head == "setting" else str(row[head]).replace("-", "−")) for head in heads)
        + " |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
