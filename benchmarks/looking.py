"""What makes a captioner look: one setting changed at a time, judged on validation pictures that no test will use.

    python -m benchmarks.looking          writes benchmarks/looking.md; about twenty minutes on 2 CPU cores

Each row is a whole training. CIDEr-D is measured three times: with each picture's own
map, with another's, and with the mean one. What is lost without the own picture comes from looking.
"""

import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from tfxfer.config import KnowledgeConfig
from tfxfer.recipes import knowledge
from tfxfer.recipes.captioned import Pictures
from tfxfer.recipes.language import load_language, texts_to_read
from tfxfer.recipes.writers import Gallery
from tfxfer.runs import Run
from tfxfer.transfer.knowledge.captioner import grid_of, sized, standardized

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
    "words hidden 0.5": {"word_dropout": 0.5},
    "cross-attention first (half)": {"frozen": 0.5},
    "decoder frozen": {"frozen": 1.0},
    "carried at a tenth": {"carried_rate": 0.1},
    "label smoothing 0.1": {"label_smoothing": 0.1},
    "cross-attention copied": {"cross_attention": "copied"},
    "prefix": {"looking": "prefix"},
    "f·g ranks too": {"ranking": "both"},
    "f·g beside h": {"evidence": True},
    "prefix, f·g beside h": {"looking": "prefix", "evidence": True},
    "f·g beside h and ranks, hidden 0.3": {"evidence": True, "word_dropout": 0.3, "ranking": "both"},
}
PAIRS = (150, 1200)
HOW = {"pairs": PAIRS, "learning_rates": (3e-3,), "max_validation": 400}


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        config = KnowledgeConfig(run_dir=str(Path(folder) / "run"), **HOW)
        this = Run("knowledge", config)
        language, words = load_language(config, this)
        encoder = grid_of(knowledge.load_encoder(config, this))
        pictures = Pictures.load(config, encoder, this)
        texts = texts_to_read(config, this)
        for name, change in SETTINGS.items():
            settings = replace(config, **{**PLAIN, **change})
            eyes = sized(encoder, pictures.images["train"].shape[1:], settings.places)
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
    """Train once and ask about the right, another's and the mean picture."""
    started = time.perf_counter()
    outcome = writer(pairs, 0)
    found = {"setting": name, "start": start, "pairs": pairs, "seconds": round(time.perf_counter() - started, 1)}
    own = {measure: float(values.mean()) for measure, values in outcome.scores.items()}
    found |= {"nats": round(own["log_likelihood"], 3), "exact": round(own["exact_match"], 3)}
    grids, captions = gallery.grids["test"], gallery.captions["test"]
    mean = np.zeros_like(grids) + gallery.grids["train"].mean(0)
    found["cider_d"] = round(own["cider_d"], 3)
    for kind, seen in (("another's", np.roll(grids, 1, 0)), ("blank", mean)):
        found[kind] = round(float(writer.answer(seen, captions)[1]["cider_d"].mean()), 3)
    return found


def page(rows: list[dict]) -> str:
    """Return the table as Markdown."""
    heads = ("setting", "start", "pairs", "nats", "exact", "cider_d", "another's", "blank", "seconds")
    lines = [
        "# What makes a captioner look",
        "",
        "`python -m benchmarks.looking`, 2 CPU cores. Names of characters that neither encoder nor decoder has met;",
        f"one seed, learning rate 3e-3, {KnowledgeConfig.updates} steps at 1,200 pairs; judged on",
        f"{HOW['max_validation'] // 2} validation pictures. nats: log-likelihood a token; another's, blank: CIDEr-D",
        "without the own picture.",
        "",
        "| " + " | ".join(heads) + " |",
        "|" + "---|" * len(heads),
    ]
    lines += ["| " + " | ".join(str(row[head]) for head in heads) + " |" for row in rows]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
