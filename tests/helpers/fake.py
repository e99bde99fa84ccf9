"""A simulated comparison of realistic size and difficulty, and panels, to test reports without a run."""

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
ACCURACY = {  # of each arm at each budget
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

ABOUT = {
    "equation": "f(x) = W · φ(x) + b",
    "explanation": "φ is a source network with frozen weights. Only W and b are fitted on the labels of the new task.",
    "arms": {
        "transfer": "The method under study: features of the source network.",
        "random": "The same network with fresh random weights. If it does as well, nothing was transferred.",
        "scratch": "Every weight is trained from fresh weights.",
        "finetune": "Every weight is trained, from the weights of the source.",
        "native": {"text": "The usual method of the target's field.", "phrase": "the native baseline"},
        "majority": "Always predicts the most frequent class.",
    },
    "smoke": False,
    "command": "python -m tfxfer.train feature --seeds 3",
}


def make(examples=1300, seeds=3, class_names=LANGUAGES, seed=0):
    rng = np.random.default_rng(seed)
    classes = len(class_names)
    labels = rng.integers(0, classes, examples).astype(np.int32)
    difficulty = rng.normal(size=examples)
    kinship = rng.normal(size=(classes, classes))  # similarity of the classes
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
            {"index": i, "text": PHRASES[i % len(PHRASES)], "png": _image(PHRASES[i % len(PHRASES)])} for i in range(8)
        ),
        costs={"source": 31.2, "features": 4.04, "peak_memory_mib": 1234.5},
        recipe="feature",
        about=ABOUT,
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


def _image(text):
    image = Image.new("L", (200, 32), 255)
    font = ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", 16)
    ImageDraw.Draw(image).text((4, 6), text, fill=0, font=font)
    buffer = io.BytesIO()
    image.save(buffer, "png")
    return base64.b64encode(buffer.getvalue()).decode()


def png(value, mode="L", size=(8, 8)):
    """A base64 PNG of one colour."""
    buffer = io.BytesIO()
    Image.new(mode, size, value).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def glyph(text):
    """A base64 PNG of a letter."""
    image = Image.new("L", (32, 32), 255)
    font = ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", 24)
    ImageDraw.Draw(image).text((16, 16), text, fill=0, font=font, anchor="mm")
    buffer = io.BytesIO()
    image.save(buffer, "png")
    return base64.b64encode(buffer.getvalue()).decode()


LETTERS = "AbgΔЖñשع7&ßœĐψωQ"
NAMES = [f"LATIN OR OTHER LETTER {letter}" for letter in LETTERS]
FLOWS = {
    "flows": [
        ["embedding", "positions", "interpolate", 400],
        ["block_0", "block_0", "copy", 8000],
        ["block_0", "block_1", "copy", 4000],
        [None, "head", "fresh", 10],
    ],
    "unread": [["words", 6000]],
}


def ledger():
    """Arguments of `ledger_panel`."""
    entry = {"target": "block_*/kernel", "shape": [3, 4], "operation": "copy", "sources": ["source:<b>x</b>"]}
    entry |= {"parameters": 12000, "share": 0.5, "tensors": 2, "why": "same path"}
    fresh = {"target": "head/bias", "shape": [], "operation": "fresh", "sources": [], "parameters": 10, "share": 0.01}
    rows = [entry, fresh | {"tensors": 1, "why": ""}]
    titles = {"source": "bert", "target": "vision"}
    return {
        "entries": rows,
        "totals": ["moved: 12,000 parameters"],
        "proof": "It computes the same.",
        "flows": FLOWS,
        "titles": titles,
    }


def ablation(gain=0.3, measure="CIDEr-D"):
    """A result of `image_ablation`."""
    from tfxfer.evaluate.image_ablation import image_ablation

    other = np.random.default_rng(0).normal(size=80)
    scores = {"correct": other + gain, "shuffled": other - 0.2, "blank": other}
    return image_ablation(scores, ["the same"] * 20 + [str(i) for i in range(60)], measure=measure)


def captions(count=12):
    """Arguments of `image_ablation_panels`."""
    rng = np.random.default_rng(1)
    rows = [
        {
            "png": glyph(letter),
            "true": name,
            "words": [{"word": w, "heat": rng.random((4, 4)).tolist()} for w in name.split()],
        }
        for letter, name in zip(LETTERS[:3], NAMES)
    ]
    values = rng.normal(-3, 0.3, (count, count)) + np.eye(count)
    matrix = {
        "png": [glyph(letter) for letter in LETTERS[:count]],
        "captions": NAMES[:count],
        "values": values.tolist(),
    }
    measures = {"cider_d": ablation(), "log_likelihood": ablation(0.5, "log-likelihood in nats a token")}
    return {"measures": measures, "words": rows, "matrix": matrix}


def pairs(count=14):
    """The argument of `retrieval_panels`."""
    rng = np.random.default_rng(2)
    k = rng.normal(size=(count, count)) + 2 * np.eye(count)
    images = [glyph(letter) for letter in LETTERS[:count]]
    gallery = [
        {
            "text": NAMES[i],
            "rank": 2 if i % 3 else 1234,
            "found": [{"png": images[(i + j) % count], "right": bool(i % 3) and j == 1} for j in range(8)],
        }
        for i in range(6)
    ]

    def ways(value):
        each = {"recall@1": value, "recall@5": value, "recall@10": value, "median rank": 10 * value}
        return {"image_to_text": each, "text_to_image": each}

    arms = {"transfer": ways(0.25), "random": ways(0.2), "guessing": ways(0.125)}
    return {
        "matrix": {"k": k.tolist(), "right": np.eye(count).tolist(), "images": images, "texts": NAMES[:count]},
        "gallery": gallery,
        "test": 1234,
        "texts": 6170,
        "temperature": 0.051,
        "ways": {"budget": 500, "arms": arms},
        "label": {"texts": 0.61, "images": 0.72, "zero_shot": 0.18, "majority": 0.33, "classes": 17, "gap": 0.4},
    }


def card(right=True, image=None, **changes):
    """A card of the figure `answers`."""
    given = [["$x_{1}$", 0.9], ["teal", 0.06], ["a very long answer that goes on and on", 0.04]]
    plain = {"png": image or glyph("Ж"), "heat": np.eye(8).tolist(), "question": "what is <b>it</b>? $\\frac"}
    return plain | {"true": "red", "given": given, "right": right} | changes


def answers():
    """The argument of `vqa_panels`."""
    kinds = [
        {"kind": "script", "questions": 1200, "accuracy": 0.7, "question_only": 0.3, "prior": 0.31},
        {"kind": "case", "questions": 34, "accuracy": 0.9, "question_only": None, "prior": 0.5},
    ]
    figures = {"questions": 1234, "accuracy": 0.71, "identical_share": 0.4, "prior_accuracy": 0.32, "by_kind": kinds}
    return {
        "looking": ablation(0.0, "accuracy"),
        "alone": "Transfer helped: +0.080 accuracy over the question without its image (+0.010 to +0.150).",
        "figures": figures,
        "without": {"f·g": 0.5, "h": 0.6},
        "unseen": 7,
        "unseen_answers": ["puce", "mauve"],
        "cut": 3,
        "strange": 2,
        "gallery": [card(i % 3 > 0, glyph(letter)) for i, letter in enumerate(LETTERS[:6])],
    }


def panels():
    """Panels of every kind."""
    from tfxfer.recipes.panels.image_ablation import image_ablation_panels
    from tfxfer.recipes.panels.ledger import ledger_panel
    from tfxfer.recipes.panels.retrieval import retrieval_panels
    from tfxfer.recipes.panels.vqa_diagnostics import vqa_panels

    found = [ledger_panel(**ledger()), *image_ablation_panels(**captions())]
    return [*found, *retrieval_panels(pairs()), *vqa_panels(answers())]
