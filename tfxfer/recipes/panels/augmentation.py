"""The panels of `--augment`: whether it helped, and examples beside their edited copies."""

from collections.abc import Sequence
from typing import Any

from tfxfer.evaluate.arms import capitalised, describe, outcome
from tfxfer.evaluate.augmentation import augmentation_gains, labels_saved_by_augmentation, plain_name
from tfxfer.evaluate.comparison import POOLED, budget_words, measure_name
from tfxfer.evaluate.verdict import Verdict, signed
from tfxfer.records import Comparison
from tfxfer.report.panel import Panel

SHOWN = 4  # copies of an example
NEAR = 1e-2  # of the greatest budget: an interval of labels that ends so near to it holds it


def augmentation_panel(comparison: Comparison, policy: str) -> Panel | None:
    """Return the panel of what augmentation changed; None where no arm ran with and without it.

    Args:
        comparison: The records.
        policy: Of `--augment`.
    """
    rows = augmentation_gains(comparison)
    if not rows:
        return None
    measure = measure_name(comparison.measures[0])
    last = {row["a"]: row for row in rows}  # the one over all budgets, where there are several
    points = [_sentence(comparison, row, measure) for row in last.values()]
    points += _saved(comparison)
    return Panel(
        "Did augmentation help?",
        paragraphs=(
            f"Each arm was also trained with edited copies of its training examples (--augment {policy}): the same "
            "labelled examples, the same number of steps where a network trains. Validation and test are not edited.",
        ),
        points=tuple(points),
        figures=(_figure(comparison, rows, measure),),
        tables=(_table(comparison, rows, measure),),
        notes=_notes(comparison, rows),
    )


def _place(comparison: Comparison, row: dict[str, Any]) -> str:
    return f"all {comparison.unit}" if row["budget"] == POOLED else budget_words([row["budget"]], comparison.unit)


def _sentence(comparison: Comparison, row: dict[str, Any], measure: str) -> str:
    where = budget_words(row["budgets"], comparison.unit)
    by = f"{'averaged over' if len(row['budgets']) > 1 else 'at'} {where}"
    return Verdict.from_dict(row).sentence(measure, by, comparison.about)


def _saved(comparison: Comparison) -> list[str]:
    """Return with how many labels each arm with augmentation scores what it does without, with the most labels."""
    found = []
    for arm, saved in labels_saved_by_augmentation(comparison).items():
        name = capitalised(describe(comparison.about, arm).phrase)
        if saved is None:
            found.append(f"{name}: with augmentation it does not reach what it scores without it; no label is saved.")
        else:
            needs = f"{'at most ' if saved['at_most'] else ''}{saved['needs']:.0f}"
            none = saved["high"] >= saved["at"] * (1 - NEAR)
            result = "which may be no saving at all" if none else f"so {saved['saved']:.0f} are saved"
            found.append(
                f"{name}: what it scores without augmentation at {saved['at']:,} {comparison.unit}, it scores with it "
                f"at {needs} (95 % interval {saved['low']:.0f} to {saved['high']:.0f}), {result}."
            )
    return found


def _figure(comparison: Comparison, rows: Sequence[dict[str, Any]], measure: str) -> dict[str, Any]:
    shown = [
        {
            "name": f"{plain_name(row['a'])}, {_short(row, comparison)}",
            **{name: row[name] for name in ("difference", "low", "high")},
            "sure": row["word"] != "no evidence",
            "outcome": row["word"],
        }
        for row in rows
    ]
    return {
        "name": "pair_differences",
        "arguments": {"rows": shown, "xlabel": f"{measure} with augmentation − without"},
        "description": "Interval chart: score with augmentation minus score without it, for each arm and budget. The "
        "numbers are in the table below.",
    }


def _short(row: dict[str, Any], comparison: Comparison) -> str:
    return "all budgets" if row["budget"] == POOLED else budget_words([row["budget"]], comparison.unit)


def _table(comparison: Comparison, rows: Sequence[dict[str, Any]], measure: str) -> dict[str, Any]:
    def score(arm: str, row: dict[str, Any]) -> float:
        means = [float(comparison.scores(arm, n, row["measure"]).mean()) for n in row["budgets"]]
        return sum(means) / len(means)

    return {
        "caption": f"{measure} with and without augmentation",
        "columns": ["arm", "budget", "without", "with", "difference", "95 % interval", "result", "chosen"],
        "rows": [
            [
                plain_name(row["a"]),
                _short(row, comparison),
                score(row["b"], row),
                score(row["a"], row),
                signed(row["difference"]),
                f"{signed(row['low'])} to {signed(row['high'])}",
                outcome(row["word"], "with", describe(None, "random")),
                _chosen(comparison, row),
            ]
            for row in rows
        ],
    }


def _chosen(comparison: Comparison, row: dict[str, Any]) -> str | None:
    """Return the policy of one strength that validation chose at a budget."""
    if row["budget"] == POOLED:
        return None
    return next((record.settings.get("policy") for record in comparison.select(row["a"], row["budget"])), None)


def _notes(comparison: Comparison, rows: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    said = ["The saved model is that of transfer without augmentation."]
    if any(row["word"] == "hurt" for row in rows):
        said.append(
            "Where it hurt: an edit may take away what tells classes apart, or make training examples unlike those of "
            "the test. Try less, such as half the strength, or several strengths with 0 among them (0,0.05,0.1), from "
            "which validation chooses."
        )
    return tuple(said)


def image_gallery(examples: Sequence[dict[str, Any]], policy: str) -> Panel:
    """Return the panel of images beside their copies.

    Args:
        examples: Dicts with "name", "images" (base64 PNGs, the original first) and "under" (a text for each).
        policy: Of one strength each.
    """
    figure = {
        "name": "augmented_images",
        "arguments": {"examples": list(examples)},
        "description": "Grid of images: each training example, then edited copies of it.",
    }
    return Panel("Edited copies", paragraphs=(_about(policy),), figures=(figure,))


def text_gallery(examples: Sequence[Sequence[str]], policy: str) -> Panel:
    """Return the panel of texts, the original of each first, and their copies."""
    rows = [["original" if not i else f"copy {i}", text] for each in examples for i, text in enumerate(each)]
    table = {"caption": "training texts and edited copies", "columns": ["", "text"], "rows": rows}
    return Panel("Edited copies", paragraphs=(_about(policy),), tables=(table,))


def _about(policy: str) -> str:
    return (
        f"Training examples, and copies of them by {policy}, the strongest edits that were tried. A copy has the label "
        "of its example, unless labels are mixed; then the shares stand below it."
    )
