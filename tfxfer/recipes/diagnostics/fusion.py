"""Diagnostics of knowledge fusion: each head against the better side, a side missing or noisy, shares of both sides."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfxfer.arms.fusion import FusionArm
from tfxfer.evaluate import verdicts
from tfxfer.evaluate.arms import describe, outcome
from tfxfer.evaluate.comparison import budget_words
from tfxfer.evaluate.holm import with_adjusted
from tfxfer.evaluate.modality_shares import Shares, modality_shares
from tfxfer.evaluate.verdict import Verdict, signed
from tfxfer.records import Comparison
from tfxfer.report.panel import Panel
from tfxfer.runs import Run
from tfxfer.tasks.examples import evenly_spaced, png
from tfxfer.tasks.fused_pairs import FusedPairs, vectors
from tfxfer.transfer.knowledge.fusion.training import Sides

MISSING = (0.0, 0.25, 0.5, 0.75, 1.0)  # share of the test examples that lose a side
NOISE = (0.0, 0.5, 1.0, 2.0, 4.0)  # standard deviations of the noise, in those of the feature
BACKGROUND, SHOWN = 16, 8  # training pairs that stand for an absent side, answers that are shown
SINGLE, ALONE = "better_single", ("image_only", "text_only")


def fusion_panels(
    arms: Mapping[str, FusionArm],
    pairs: FusedPairs,
    images: np.ndarray,
    comparison: Comparison,
    about: Mapping[str, Any],
    run: Run,
) -> tuple[Panel, ...]:
    """Return the panels, from the heads of the greatest budget and the first seed.

    Args:
        arms: Name -> the arms of heads that ran; "transfer" is the one under study.
        pairs: The task.
        images: Test images, uint8 [N, H, W, C].
        comparison: The records.
        about: "arms": arm -> its description.
        run: Where the verdict is printed.
    """
    panel = heads_panel(comparison, arms, about, run)
    curves = {name: robust(arm) for name, arm in arms.items()}
    shares = shared_out(arms["transfer"])
    return (*panel, robustness_panel(curves, comparison), shares_panel(shares, arms["transfer"], pairs, images))


def heads_panel(
    comparison: Comparison, arms: Mapping[str, FusionArm], about: Mapping[str, Any], run: Run
) -> tuple[Panel, ...]:
    """Return the panel of each head against the better single modality, with Holm's adjustment; print the verdict."""
    compared = {name: verdicts(comparison, name, SINGLE)[-1:] for name in arms if name not in ALONE}
    rows = with_adjusted([row for found in compared.values() for row in found])
    own = next((row for row in rows if row["a"] == "transfer"), None)
    if own is None:
        return ()
    several = len(own["budgets"]) > 1
    where = f"{'averaged over' if several else 'at'} {budget_words(own['budgets'], comparison.unit)}"
    verdict = Verdict.from_dict({name: value for name, value in own.items() if name not in ("p_adjusted", "adjusted")})
    said = verdict.sentence("accuracy", where, about)
    run.say(f"fusion: {said}")
    table = [
        [row["a"], arms[row["a"]].trainer.model.count_params(), row["difference"],
         f"{signed(row['low'])} to {signed(row['high'])}", outcome(row["adjusted"], row["a"], describe(about, SINGLE))]
        for row in rows
    ]  # fmt: skip
    columns = ["head", "parameters", "difference", "95 % interval", "verdict, adjusted"]
    caption = f"Accuracy of each head less that of the better single modality, {where}"
    return (
        Panel(
            "Did fusion help?",
            paragraphs=(said,),
            tables=({"caption": caption, "columns": columns, "rows": table},),
            notes=(
                "The better single modality is image_only or text_only, whichever validates better at a budget with a "
                "seed. Verdicts are adjusted for all heads together (Holm). The head under study is transfer, and was "
                "chosen before the run: the best row of several is better by chance too.",
            ),
        ),
    )


def with_weights(arm: FusionArm) -> Sides:
    """Put the weights of the greatest budget and the first seed into an arm's head; return its test examples."""
    arm.final()
    return arm.sides("test", *arm.keep)


def robust(arm: FusionArm) -> dict[str, list[float]]:
    """Return "image missing" … -> accuracy at each rate of `MISSING` or `NOISE`, on the same examples for every arm."""
    sides = with_weights(arm)
    train = arm.sides("train", *arm.keep)
    found: dict[str, list[float]] = {}
    for side in ("image", "text"):
        deviation = vectors(getattr(train, side)).std(0)
        found[f"{side} missing"] = [_accuracy(arm, _with_missing(sides, side, rate)) for rate in MISSING]
        found[f"{side} noisy"] = [_accuracy(arm, _with_noise(sides, side, rate * deviation)) for rate in NOISE]
    return found


def _accuracy(arm: FusionArm, sides: Sides) -> float:
    return float((arm.trainer.log_probabilities(sides.image, sides.text).argmax(1) == sides.labels).mean())


def _with_missing(sides: Sides, side: str, rate: float) -> Sides:
    """Return the examples, a share of them without a side; at a higher rate those of a lower one are among them."""
    order = np.random.default_rng(0).permutation(len(sides.labels))
    rows = np.array(getattr(sides, side))
    rows[order[: round(rate * len(order))]] = 0
    return sides._replace(**{side: rows})


def _with_noise(sides: Sides, side: str, deviation: np.ndarray) -> Sides:
    """Return the examples with one noise vector added to all rows of a side that are not padding."""
    rows = getattr(sides, side)
    noise = np.random.default_rng(0).standard_normal((len(rows), 1, rows.shape[-1])) * deviation
    kept = (rows != 0).any(-1, keepdims=True)
    return sides._replace(**{side: (rows + noise * kept).astype(np.float32)})


def robustness_panel(curves: Mapping[str, dict[str, list[float]]], comparison: Comparison) -> Panel:
    """Return the panel with the curves, and a table of both ends."""
    axis = {"missing": ("share of test examples without it", MISSING), "noisy": ("noise, standard deviations", NOISE)}
    plots = []
    for how, (label, rates) in axis.items():
        for side in ("image", "text"):
            key = f"{side} {how}"
            values = {name: found[key] for name, found in curves.items()}
            plots.append({"title": key, "x": label, "rates": list(rates), "accuracy": values})
    rows = [
        [name, own["image missing"][0], own["image missing"][-1], own["text missing"][-1], own["image noisy"][2],
         own["text noisy"][2]]
        for name, own in curves.items()
    ]  # fmt: skip
    columns = ["head", "both there", "no image", "no text", "image noise 1", "text noise 1"]
    where = budget_words([comparison.budgets[-1]], comparison.unit)
    return Panel(
        "When one side is missing or noisy",
        paragraphs=(
            "The same trained heads, tested with damaged test examples. For a missing side stands the mean of the "
            "training examples. Noise is normal, and its standard deviation counts in those of each feature over the "
            "training examples. A head that falls below the line of the undamaged side alone leans too much on the "
            "damaged one.",
        ),
        figures=(
            {
                "name": "robustness",
                "arguments": {"plots": plots, "names": list(curves)},
                "description": "Accuracy of each head against the share of examples without image or text, and against "
                "noise of image or text.",
                "caption": f"Accuracy at {where}, one seed.",
            },
        ),
        tables=({"caption": f"Accuracy at {where}, one seed", "columns": columns, "rows": rows},),
        notes=(
            "One trained model of each head, so differences of a few hundredths between heads are no finding. "
            "--modality-dropout 0.3 trains heads that lose one side in 30 % of the examples.",
        ),
    )


def shared_out(arm: FusionArm) -> dict[str, Any]:
    """Return the predicted classes, the true ones, and the shares of both sides in the predicted one's probability."""
    sides, train = with_weights(arm), arm.sides("train", *arm.keep)
    rows = evenly_spaced(len(train.labels), BACKGROUND)
    log_probabilities = arm.trainer.log_probabilities
    given = log_probabilities(sides.image, sides.text).argmax(1)
    background = train.image[rows], train.text[rows]
    shares = {
        name: modality_shares(log_probabilities, sides.image, sides.text, background, classes)
        for name, classes in (("given", given), ("true", sides.labels))
    }
    return {"given": given, "labels": sides.labels, "shares": shares}


def shares_panel(found: dict[str, Any], arm: FusionArm, pairs: FusedPairs, images: np.ndarray) -> Panel:
    """Return the panel with single answers, and the mean shares by class."""
    names, given, labels = pairs.class_names, found["given"], found["labels"]
    own: Shares = found["shares"]["given"]
    texts = pairs.dataset.texts("test")
    cards = [
        {
            "png": png(images[row]),
            "text": texts[row],
            "given": names[given[row]],
            "true": names[labels[row]],
            "image_share": round(float(own.first[row]), 3),
            "text_share": round(float(own.second[row]), 3),
        }
        for row in evenly_spaced(len(labels), SHOWN)
    ]
    true: Shares = found["shares"]["true"]
    rows = []
    for label in np.unique(labels):
        at = labels == label
        rows.append([names[label], int(at.sum()), float((given == labels)[at].mean()), float(true.first[at].mean()),
                     float(true.second[at].mean())])  # fmt: skip
    rows.append(
        ["all", len(labels), float((given == labels).mean()), float(true.first.mean()), float(true.second.mean())]
    )
    leads = float((own.first > own.second).mean())
    return Panel(
        "What image and text give to each answer",
        paragraphs=(
            f"The image gives more than the text to {leads:.0%} of the answers. The share of a side is its Shapley "
            "value: how much it raises the log-probability of the answer, on average over both orders in which image "
            "and text can come. Both shares add up to the log-probability with both sides, less that without either. "
            "A share below 0 speaks against the answer.",
        ),
        figures=(
            {
                "name": "modality_shares",
                "arguments": {"cards": cards},
                "description": "Test examples with their text, the answer, and a bar for the share of image and of "
                "text.",
                "caption": "Test examples, evenly spaced, with the shares in the log-probability of the answer given.",
            },
        ),
        tables=(
            {
                "caption": "Mean shares in the log-probability of the true class, nats",
                "columns": ["class", "test examples", "accuracy", "image", "text"],
                "rows": rows,
            },
        ),
        notes=(
            f"For an absent side stand those of {BACKGROUND} training examples, and values are means over them. "
            "Another background gives other shares. Shares explain this "
            "model, not the data.",
        ),
        folded=True,
    )
