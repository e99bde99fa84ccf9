"""A simulated comparison of realistic size and difficulty, so that reports can be looked at without a run."""

import base64
import io

import numpy as np
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont

from tfxfer.records import Comparison, Record

LANGUAGES = (
    "Deutsch",
    "English",
    "español",
    "français",
    "italiano",
    "Nederlands",
    "polski",
    "suomi",
    "svenska",
    "Türkçe",
)
PHRASES = ("Österreichischer Schilling", "ığdır ve çevresi", "Schweizer Franken", "livre égyptienne")
BUDGETS = (5, 20, 50, 150, 400)
ACCURACY = {  # of each arm at each budget, near what the design measured
    "transfer": (0.23, 0.40, 0.50, 0.57, 0.61),
    "random": (0.18, 0.28, 0.35, 0.44, 0.50),
    "scratch": (0.16, 0.30, 0.45, 0.56, 0.63),
    "finetune": (0.22, 0.44, 0.54, 0.61, 0.66),
    "native": (0.42, 0.61, 0.69, 0.77, 0.82),
    "majority": (0.10, 0.10, 0.10, 0.10, 0.10),
}
FAILED = ("finetune", 400, 2)
ERROR = "the loss became NaN in epoch 4; the weights of epoch 3 are kept in finetune-400-2.keras"
TRAINABLE = {"transfer": 2570, "random": 2570, "scratch": 98_410, "finetune": 98_410, "native": 51_210}


def make(examples=1300, seeds=3, class_names=LANGUAGES, seed=0):
    rng = np.random.default_rng(seed)
    classes = len(class_names)
    labels = rng.integers(0, classes, examples).astype(np.int32)
    difficulty = rng.normal(size=examples)
    kinship = rng.normal(size=(classes, classes))  # which classes look alike
    base = kinship[labels] * 0.6 + rng.normal(size=(examples, classes)) * 0.6  # [N, C], shared by all arms
    records = []
    for arm, accuracies in ACCURACY.items():
        for budget, accuracy in zip(BUDGETS, accuracies):
            for s in range(1 if arm == "majority" else seeds):
                if (arm, budget, s) == FAILED:
                    records.append(Record(arm, budget, s, status="failed", error=ERROR))
                    continue
                target = np.clip(accuracy + rng.normal(0, 0.008), 0.02, 0.98) if arm != "majority" else None
                probabilities = _probabilities(rng, labels, base, difficulty, target)
                right = float((probabilities.argmax(-1) == labels).mean())
                records.append(
                    Record(
                        arm,
                        budget,
                        s,
                        metrics={"accuracy": right},
                        settings={"l2": 10.0 ** -rng.integers(1, 4)},
                        trainable=TRAINABLE.get(arm, 0),
                        seconds=float({"finetune": 9.5, "scratch": 9.1}.get(arm, 0.4) * (1 + budget / 400)),
                        probabilities=probabilities,
                    )
                )
    return Comparison(
        title="glyphs → languages by render",
        class_names=tuple(class_names),
        labels=labels,
        records=tuple(records),
        examples=tuple(
            {"index": i, "text": PHRASES[i % len(PHRASES)], "png": _picture(PHRASES[i % len(PHRASES)])}
            for i in range(8)
        ),
        costs={"source": 31.2, "features": 4.04, "peak_memory_mib": 1234.5},
    )


def write_side_files(folder):
    (folder / "config.yaml").write_text("recipe: feature\nsource: glyphs\ntarget: languages\n", "utf-8")
    rows = []
    for epoch in range(8):
        rows.append(
            f'{{"phase": "source", "epoch": {epoch}, "loss": {3 * 0.7**epoch:.3f}, '
            f'"accuracy": {1 - 0.8 * 0.7**epoch:.3f}, "val_accuracy": {1 - 0.85 * 0.75**epoch:.3f}}}'
        )
        for seed in range(3):
            loss = 2.2 * (0.8 + 0.02 * seed) ** epoch
            rows.append(
                f'{{"phase": "scratch", "budget": 20, "seed": {seed}, "epoch": {epoch}, '
                f'"loss": {loss:.3f}, "val_accuracy": {0.5 - loss / 5:.3f}}}'
            )
    (folder / "metrics.jsonl").write_text("\n".join(rows) + "\n", "utf-8")


def _probabilities(rng, labels, base, difficulty, accuracy):
    n, classes = base.shape
    if accuracy is None:
        return np.tile(np.eye(classes, dtype=np.float32)[3], (n, 1))
    noise = base + rng.normal(size=base.shape)
    true = np.eye(classes)[labels]

    def logits(strength):
        return noise + true * (strength - 0.5 * difficulty)[:, None]

    low, high = -6.0, 12.0
    for _ in range(30):  # bisection for the strength that gives the accuracy
        middle = (low + high) / 2
        reached = (logits(np.full(n, middle)).argmax(-1) == labels).mean()
        low, high = (middle, high) if reached < accuracy else (low, middle)
    z = 1.4 * logits(np.full(n, high))  # over-confident, as networks are
    e = np.exp(z - z.max(-1, keepdims=True))
    return (e / e.sum(-1, keepdims=True)).astype(np.float32)


def _picture(text):
    image = Image.new("L", (200, 32), 255)
    font = ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", 16)
    ImageDraw.Draw(image).text((4, 6), text, fill=0, font=font)
    buffer = io.BytesIO()
    image.save(buffer, "png")
    return base64.b64encode(buffer.getvalue()).decode()
