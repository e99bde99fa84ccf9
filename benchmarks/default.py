"""How the default experiment's source and rendering were chosen, on languages that the experiment does not use.

    python -m benchmarks.default              (about five minutes on 2 CPU cores)

Ten Latin-script languages that are not in `languages/latin` stand in for the target. For each learning rate of the
source CNN and each way of rendering a phrase, W and b are fitted as in the experiment; half of these languages'
validation phrases choose the L2 penalty, and the accuracy on the other half is the score. No test phrase, no control
arm and no language of the experiment is used. Writes benchmarks/default.md.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console

import tfxfer
from benchmarks.__main__ import HERE, machine
from tfxfer.config import with_options
from tfxfer.recipes.feature import FeatureConfig
from tfxfer.runs import Run
from tfxfer.sources.pretrain import Pretraining, trained_source
from tfxfer.transfer.bridges.render import RenderText
from tfxfer.transfer.feature import extract, extractor, linear_probe

LANGUAGES = (
    *("Czech", "Danish", "Estonian", "Finnish", "Hungarian"),
    *("Indonesian", "Lithuanian", "Romanian", "Slovak", "Vietnamese"),
)
RATES = (1e-3, 3e-3, 1e-2, 3e-2)
RENDERINGS = ((24, 192, 18), (32, 224, 20), (32, 224, 24), (32, 256, 24), (32, 288, 24))  # height, width, font size
BUDGETS, SEEDS = (5, 20, 50, 150), (0, 1, 2)


def score(phi, phrases, folder):
    """Return the accuracy at each budget, the mean over seeds."""
    held = np.asarray(extract(phi, phrases, split="validation", folder=folder))
    labels = phrases.labels("validation")
    found = np.zeros((len(BUDGETS), len(SEEDS)))
    for j, seed in enumerate(SEEDS):
        largest = phrases.with_labels(BUDGETS[-1], seed)
        features = np.asarray(extract(phi, largest, split="train", folder=folder))
        for i, budget in enumerate(BUDGETS):
            rows = np.isin(largest.indices("train"), phrases.with_labels(budget, seed).indices("train"))
            probe = linear_probe(features[rows], largest.labels("train")[rows], validation=(held[::2], labels[::2]))
            found[i, j] = np.mean(probe.predict_proba(held[1::2]).argmax(1) == labels[1::2])
    return found.mean(1)


def cut_share(bridge, phrases):
    """Return the share of validation phrases that do not fit into the image."""
    return float(np.mean(np.asarray(bridge.count(np.array(phrases.texts("validation"), object))["cut"]) > 0))


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    phrases = tfxfer.load("languages").with_classes(LANGUAGES)
    glyphs = tfxfer.load("glyphs/by_face")
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for rate in RATES:
            config = with_options(FeatureConfig(), source_learning_rate=rate, run_dir=f"{name}/{rate:g}")
            run = Run("feature", config, Console(quiet=True))
            cnn = trained_source(Pretraining.of(config.source, config, glyphs), run)
            run.close()
            for height, width, size in RENDERINGS:
                bridge = RenderText(height, width, size)
                found = score(extractor(cnn, input_bridge=bridge), phrases, Path(name))
                rows.append((found.mean(), rate, f"{height} x {width}, font {size}", cut_share(bridge, phrases), found))
                print(f"learning rate {rate:g}, {rows[-1][2]}: {found.mean():.4f}", flush=True)
    (HERE / "default.md").write_text(table(rows, len(phrases.labels("validation"))))


def table(rows, count) -> str:
    """Return the scores as a Markdown table, the best first."""
    budgets = " | ".join(str(b) for b in BUDGETS)
    lines = [
        "# How the default was chosen",
        "",
        f"`python -m benchmarks.default` on {machine()}. Validation phrases: {count:,} of ten languages that the",
        "experiment does not use; half of them choose the L2 penalty, the score is the accuracy on the other half.",
        "",
        f"| learning rate of the source | rendering | cut | mean | {budgets} labels a class |",
        "|---" * (4 + len(BUDGETS)) + "|",
    ]
    for mean, rate, rendering, cut, found in sorted(rows, key=lambda row: -row[0]):
        shown = " | ".join(f"{value:.3f}" for value in found)
        lines.append(f"| {rate:g} | {rendering} | {cut:.0%} | {mean:.3f} | {shown} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
