"""The figures of the lessons: an alt text for each, no labels that overlap, and a background that is opaque."""

import ast
import base64
import importlib
import io
import types
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot, rc_context
from matplotlib.axis import Tick, XTick
from matplotlib.text import Text
from PIL import Image

from tfxfer.evaluate import Verdict
from tfxfer.evaluate.complementarity import Decomposition
from tfxfer.report.figures.style import STYLE
from tfxfer.teach import figures, showing

pytestmark = pytest.mark.drawing
pyplot.switch_backend("Agg")
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (10, 32, 32, 1), dtype=np.uint8)
NAMES = ["latin small letter e with acute", "greek capital letter omega", "braille pattern dots-23", "cyrillic short i"]


def verdict_of(difference, low, high, word):
    return Verdict("transfer", "random", difference, low, high, word, 0.95, 3, 3, 600)


def lead(arm, difference, low, high, word):
    return {"a": "transfer", "b": arm, "difference": difference, "low": low, "high": high, "word": word}


def point(l2):
    return types.SimpleNamespace(
        l2=l2, train_loss=1 + 0.2 * np.log10(l2 / 1e-5), validation_loss=2.0, validation_accuracy=0.4 - l2 / 100
    )


LEADS = [
    lead("majority", 0.134, 0.09, 0.179, "helped"),
    lead("scratch, the source's rate", 0.051, -0.054, 0.155, "no evidence"),
    lead("scratch", -0.029, -0.088, 0.031, "no evidence"),
    lead("random", 0.015, -0.022, 0.051, "no evidence"),
]
ARMS = {"transfer": 0.235, "random": 0.22, "majority": 0.1, "scratch": 0.264}
TREE = [
    [("the", "", 0.55, True), ("a", "", 0.45, True)],
    [("the cat", "the", 0.22, True), ("the dog", "the", 0.193, False), ("a cat", "a", 0.405, True)],
]
TENSORS = [(f"{layer}/{part}", "source") for layer in ("words", "lstm", "classes") for part in ("kernel", "bias")]
CALLS = {  # lesson and function -> arguments
    "00 overview": (),
    "00 bridges": (),
    "00 verdict_words": (
        {
            "58 % against 40 %": verdict_of(0.175, 0.12, 0.23, "helped"),
            "41 % against 40 %": verdict_of(0.016, -0.01, 0.05, "no evidence"),
            "30 % against 40 %": verdict_of(-0.116, -0.15, -0.08, "hurt"),
        },
    ),
    "00 matrix": ([[0.9, 0.1], [0.2, 0.8]], ["image of É", "image of Б"], ["“e acute”", "“be”"]),
    "01 gallery": (IMAGES[:4], NAMES, ["script: Canadian Aboriginal"] * 2 + ["braille_dots: 3", "case: upper"]),
    "01 typefaces": ({"é": IMAGES[:6], "Ω": IMAGES[:4]},),
    "01 lookalikes": (IMAGES[:6], ["MATHEMATICAL SANS-SERIF BOLD CAPITAL ALPHA"] * 6),
    "01 leak": (
        IMAGES[:5],
        IMAGES[:5],
        IMAGES[:5],
        {"split at\nrandom": 0.81, "groups\nheld out": 0.72, "most\nfrequent": 0.38},
        [("Canadian Aboriginal", "Inherited")] * 5,
    ),
    "01 lengths": ({"German": [3, 20, 50], "Turkish": [4, 12, 30]},),
    "02 forward_pass": (
        "Österreich",
        RNG.integers(0, 256, (32, 224, 1)),
        {"relu1": RNG.random((16, 112, 16)), "relu4": RNG.random((8, 56, 128))},
        RNG.normal(size=128),
    ),
    "02 l2_path": ([point(10.0**p) for p in range(-5, 2)], 1e-4),
    "02 class_evidence": (
        NAMES[:3],
        RNG.integers(0, 256, (3, 32, 224, 1)),
        RNG.normal(size=(3, 56)),
        [("German", 0.81), ("Italian", 0.79), ("Portuguese", 0.4)],
        ["German", "French", "Portuguese"],
    ),
    "02 equation": (128, 10),
    "02 order_of_letters": (
        ["listen", "silent"],
        RNG.integers(0, 256, (2, 32, 96, 1)),
        RNG.random((2, 24, 128)),
        RNG.dirichlet([0.1] * 6, (2, 24)),
        "linst",
    ),
    "02 letters_by_column": (RNG.integers(0, 256, (32, 224, 1)), RNG.dirichlet([0.1] * 7, 56), "a $_bc", "b $_a"),
    "03 arms": (),
    "03 leads": (LEADS, ("scratch", "random")),
    "03 two_sources": (
        {"counts dots": LEADS[3], "reads letters": LEADS[0]},
        {"counts dots": ARMS, "reads letters": {**ARMS, "transfer": 0.296, "native": 0.543}},
    ),
    "03 bootstrap": (RNG.normal(0.076, 0.01, 2000), 0.076, 0.033, 0.117, [0.058, 0.07, 0.099]),
    "03 false_alarms": ([(0.01, -0.02, 0.04), (0.05, 0.01, 0.09)] * 10, 3, 0.5),
    "04 dual_encoder": (),
    "04 similarity_matrices": (
        {"after 1 step": RNG.normal(size=(4, 4)), "after 300 steps": 10 * np.eye(4)},
        IMAGES[:4],
        NAMES,
    ),
    "04 embeddings_2d": (
        {"after 1 step": (RNG.normal(size=(60, 8)), RNG.normal(size=(60, 8)) + 2)}
        | {"after 300 steps": (RNG.normal(size=(60, 8)), RNG.normal(size=(60, 8)))},
    ),
    "04 accuracies": (
        {
            "zero-shot: which script is this image from?": {"pairs": 0.28, "shuffled": 0.17, "most frequent": 0.56},
            "a head fitted on images: which script is this name of?": {"pairs": 0.76, "shuffled": 0.47},
        },
    ),
    "04 emoji_names": (RNG.integers(0, 256, (2, 36, 36, 3)), {"en": ["cat", "dog"], "de": ["Katze", "Hund"]}),
    "04 languages_matrix": ({"images": RNG.random((3, 3)), "letters": RNG.random((3, 3))}, ["en", "de", "zh"]),
    "05 attention_masks": (["latin", "small", "letter", "e", "with", "acute"],),
    "05 beam_tree": (TREE, "two hypotheses: “a cat”"),
    "05 captions": (IMAGES[:8], NAMES * 2, ["latin small letter o with diaeresis"] * 8, NAMES * 2),
    "06 vqa_model": (IMAGES[0], "what is the number of dots?"),
    "06 questions": (IMAGES[:5], [[("which diacritic is it?", "dot above"), ("what is the case?", "upper")] * 2] * 5),
    "06 answer_priors": ({"script": {"latin": 60, "arabic": 20, "greek": 15}, "number": {"2": 10, "5": 9}},),
    "06 accuracy_by_kind": (
        {form: {"script": 0.4, "dots": 0.25} for form in ("prior", "f·g alone", "h: film", "h: cross-attention")},
        {"script": 711, "dots": 40},
    ),
    "06 logit_terms": (
        IMAGES[:2],
        "upper or lower case?",
        ["lower", "upper", "5", "inverted breve"],
        {name: RNG.normal(5, 4, (2, 4)) for name in ("f·g", "h", "K")},
        ["upper", "lower"],
    ),
    "06 answers_by_image": (
        [
            {
                "question": "which script is it?",
                "images": IMAGES[:2],
                "true": ["braille", "arabic"],
                "answers": ["braille", "arabic", "greek", "canadian aboriginal"],
                "given": {model: np.array([[0.94, 0.02, 0.02, 0.01], [0.0, 0.7, 0.05, 0.16]]) for model in "ab"},
            }
        ]
        * 2,
        ["a", "b"],
    ),
    "06 biased_training": (
        [
            {"share": 0.5, "own": 0.82, "even": 0.82, "another": 0.49},
            {"share": 0.7, "own": 0.83, "even": 0.75, "another": 0.51},
            {"share": 0.9, "own": 0.92, "even": 0.53, "another": 0.49},
            {"share": 1.0, "own": 1.0, "even": 0.5, "another": 0.5},
        ],
    ),
    "07 net2wider": ([[1, -2], [0.5, 3]], [4, 6], [0, 1, 1]),
    "07 logits_before_after": (
        RNG.normal(size=(50, 3)),
        {"widened by a map": RNG.normal(size=(50, 3)), "copied into a corner": RNG.normal(size=(50, 3))},
    ),
    "07 learning_curves": (
        {
            "widened": [0.812, 0.84, 0.839],
            "not widened": [0.812, 0.83, 0.844],
            "copied into a corner": [0.53, 0.7, 0.81],
            "fresh": [0.43, 0.53, 0.79],
        },
        0.812,
        640,
    ),
    "07 occlusion_maps": (IMAGES[:6], RNG.random((6, 4, 4)), ["psili and varia"] * 6, 8),
    "07 vision_from_text": (IMAGES[0], 4),
    "08 workflow": (),
    "08 source_and_target": (IMAGES, RNG.integers(0, 256, (4, 120, 224, 1))),
    "09 head_sizes": ({"Flatten, Dense 512, Dense": 12_850_698, "average, W, b": 5_130}, 200),
    "09 features_as_token_ids": (IMAGES[:2], RNG.random((2, 12)), np.zeros((2, 12), int), 0.0),
    "09 loaded_tensors": ({"a CNN into an LSTM": TENSORS, "two names exchanged": TENSORS},),
    "10 score_ranges": ({"logme": (-0.19, [-0.2, -0.198, -0.203]), "knn_probe": (0.2, [0.21, 0.25, 0.2])},),
    "10 gains": (
        {"CNN of characters, render, probe": {"ten languages": 0.05, "case": -0.3}, "BERT, read": {"case": 0.21}},
        "gain over random weights, in points of accuracy",
    ),
    "10 scores_and_gains": (
        {name: (RNG.normal(size=20), RNG.normal(size=20)) for name in ("logme", "h_score_shrunk", "knn_probe", "size")},
        "gain over random weights",
    ),
    "10 predicted": ([(0.1, 0.0, 0.2, 0.12), (-0.1, -0.2, 0.0, 0.05), (0.0, -0.1, 0.1, 0.01)], 0.9),
    "10 regret_bars": ({"prediction": 0.011, "always native": 0.02, "best single score (logme)": 0.12},),
    "11 power_curve": (3, [0.0, 0.1, 0.2], [0.02, 0.5, 0.95], 0.16, 0.12),
    "11 margin_band": (0.05, -0.016, -0.06, 0.03, "not shown"),
    "11 to_rate": (IMAGES[:5], [("latin small letter e with acute and a long tail", "braille pattern dots-23")] * 5),
    "11 choices": ({"you": [1, 0, -1, -1] * 3, "words shared": [1, 1, -1, 0] * 3},),
    "11 metrics_fooled": (
        "latin small letter e with acute",
        {
            text: {"CIDEr-D": 0.6, "ROUGE-L": 0.8, "token F1": 0.8}
            for text in ("latin capital letter e with acute", "e")
        },
    ),
    "11 lead_by_choice": (
        {"CIDEr-D": [0.4, -0.2, 0.0, 1.0], "ROUGE-L": [0.1, -1.0, 0.0, 0.3], "token F1": [0.1, -1.0, 0.0, 0.3]},
        [1, -1, 0, 1],
    ),
    "12 parts": ("what image and text tell of the script", Decomposition(0.13, 0.13, 0.42, 0.08)),
    "12 pairs": (IMAGES[:6], [*NAMES, *NAMES[:2]], ["Latin", "Canadian Aboriginal", "Braille"] * 2),
    "12 heads": ({"image_only": 0.6, "text_only": 0.7, "cross_attention": 0.8, "shuffled partner": 0.5},),
    "12 missing": (
        [0.0, 0.5, 1.0],
        {(side, name): [0.8, 0.6, 0.4] for side in ("text", "image") for name in ("average", "low_rank", "gated")},
    ),
    "12 shares": (
        IMAGES[:4],
        NAMES,
        ["Latin", "Greek", "Braille", "Cyrillic"],
        [0.4, -0.2, 1.3, 0.0],
        [0.1, 2, 0.2, 1],
    ),
    "12 who_helped_whom": (
        ("script", "case"),
        {
            ("script", "case"): verdict_of(0.05, 0.01, 0.09, "helped"),
            ("case", "script"): verdict_of(-0.02, -0.05, 0.01, "no evidence"),
        },
        {"script": 0.6, "case": 0.8},
    ),
    "13 episode": (np.stack([IMAGES[:1]] * 3), np.stack([IMAGES[:2]] * 3), np.array([[0, 0], [1, 2], [2, 2]])),
    "13 shots_curve": (
        {"φ": {1: (0.9, 0.89, 0.91), 3: (0.95, 0.94, 0.96)}, "random φ": {1: (0.5, 0.48, 0.52), 3: (0.7, 0.6, 0.8)}},
        0.05,
    ),
    "13 moons": (
        RNG.normal(size=(40, 2)),
        np.arange(40) % 2,
        [0, 1],
        {"one": np.arange(40) % 2, "other": np.zeros(40)},
    ),
    "13 pseudo_labels": ({0.5: [150, 20], 0.9: [80, 2]}, 720),
    "13 edits": ({"original": IMAGES[:8], "moved": IMAGES[:8], "mirrored": IMAGES[:8, :, ::-1]},),
    "13 label_curves": (
        {"random": RNG.random((3, 4)), "margin": RNG.random((3, 4)), "core-set": RNG.random((3, 4))},
        (20, 40, 80, 160),
    ),
}
each_figure = pytest.mark.parametrize("name", CALLS)


def function_of(name):
    lesson, function = name.split()
    return getattr(importlib.import_module(f"tfxfer.teach.figures.lesson_{lesson}"), function)


def drawn(name):
    """The figure and its alt text."""
    with rc_context({**STYLE, "figure.dpi": 100}):
        return function_of(name).__wrapped__(*CALLS[name])


@pytest.fixture(autouse=True)
def closed():
    yield
    pyplot.close("all")


def test_every_figure_is_called():
    found = ["04 accuracies"]  # drawn for several lessons
    for path in sorted(Path(figures.__file__).parent.glob("lesson_*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef) and "notebook_figure" in [ast.unparse(d) for d in node.decorator_list]:
                found.append(f"{path.stem[-2:]} {node.name}")
    assert sorted(CALLS) == sorted(found)


@each_figure
def test_a_figure_has_an_alt_text(name):
    _, alt = drawn(name)
    assert isinstance(alt, str) and 40 < len(alt) < 1500
    assert alt.rstrip().endswith(".")


def in_view(tick):
    axis = tick.axes.xaxis if isinstance(tick, XTick) else tick.axes.yaxis
    low, high = sorted(axis.get_view_interval())
    return low <= tick.get_loc() <= high


def overlapping(figure):
    """Pairs of texts that cover each other by more than a pixel; rotated texts have no useful boxes."""
    figure.canvas.draw()
    texts = [
        text
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip() and text.get_rotation() % 90 == 0 and text.get_alpha() != 0
    ]
    hidden = {id(label) for tick in figure.findobj(Tick) if not in_view(tick) for label in (tick.label1, tick.label2)}
    texts = [text for text in texts if id(text) not in hidden]
    boxes = {id(text): text.get_window_extent() for text in texts if text.axes is None or text.axes.get_visible()}
    pairs = []
    for a, b in combinations([text for text in texts if id(text) in boxes], 2):
        one, other = boxes[id(a)], boxes[id(b)]
        width = min(one.x1, other.x1) - max(one.x0, other.x0)
        height = min(one.y1, other.y1) - max(one.y0, other.y0)
        if width > 1.5 and height > 2.5:
            pairs.append((a.get_text(), b.get_text()))
    return pairs


@each_figure
def test_no_labels_overlap(name):
    figure, _ = drawn(name)
    assert not overlapping(figure)


def test_labels_that_overlap_would_be_seen():
    figure = pyplot.figure()
    figure.text(0.5, 0.5, "random")
    figure.text(0.55, 0.5, "scratch")
    assert overlapping(figure) == [("random", "scratch")]


@pytest.mark.parametrize("gap", [0.0, 0.004, 0.015, 0.03, 0.1])
def test_names_of_arms_do_not_overlap_whatever_their_scores(gap):
    from tfxfer.teach.figures.lesson_03 import two_sources

    arms = ("majority", "random", "transfer", "scratch", "native")
    scores = {"counts dots": {arm: 0.2 + gap * i for i, arm in enumerate(arms)}}
    with rc_context(STYLE):
        figure, _ = two_sources.__wrapped__({"counts dots": LEADS[3]}, scores)
    assert not overlapping(figure)


@each_figure
def test_a_notebook_gets_an_opaque_image_with_its_alt_text(name, outputs):
    assert function_of(name)(*CALLS[name]) is None
    ((data, metadata),) = outputs
    alt = metadata["image/png"]["alt"]
    assert data["text/plain"] == alt
    assert f'<img alt="{showing.escape(alt)}" width="' in data["text/html"]
    assert f"data:image/png;base64,{data['image/png']}" in data["text/html"]
    image = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
    assert image.mode == "P" and "transparency" not in image.info
    assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
    assert not pyplot.get_fignums()


def test_text_keeps_its_colour_beside_an_image_of_many_colours():
    """The green of a correct class must not turn into the blue of its evidence."""
    figure, _ = drawn("02 class_evidence")
    image = Image.open(io.BytesIO(base64.b64decode(showing._png(figure)[0]))).convert("RGB")
    green = np.array([0x00, 0x7A, 0x5E])
    assert np.abs(np.asarray(image, int) - green).max(-1).min() < 8


def test_outside_a_notebook_a_figure_is_drawn_and_not_shown(capsys):
    function_of("02 equation")(128, 10)
    assert capsys.readouterr().out == ""
