"""The panel of what transfer changed in each class, for short and long texts, and for texts that are cut."""

from collections.abc import Sequence
from typing import Any

from tfxfer.evaluate.comparison import budget_words
from tfxfer.evaluate.transfer_gain import THIRDS, Part, by_length, negative_transfer_rate, parts, relative_gain
from tfxfer.evaluate.verdict import signed
from tfxfer.records import Comparison
from tfxfer.report.panel import Panel

A, B = "transfer", "random"


def transfer_gain_panel(
    comparison: Comparison, texts: Sequence[str] | None = None, drawn: Sequence[str] | None = None
) -> Panel | None:
    """Return the panel at the greatest budget; None where the arms do not classify, or one of them did not run.

    Args:
        comparison: The records.
        texts: The test texts, N; None where the model takes images.
        drawn: How each of them fits into its image, N words; None where none is drawn.
    """
    if len(comparison.class_names) < 2 or not comparison.budgets:
        return None
    budget = comparison.budgets[-1]
    a, b = comparison.correct(A, budget), comparison.correct(B, budget)
    if not len(a) or not len(b):
        return None
    slices: dict[str, Sequence[str]] = {"class": [comparison.class_names[label] for label in comparison.labels]}
    if texts is not None and len(texts) == len(comparison.labels):
        slices["length"] = by_length(texts)
    if drawn is not None and len(drawn) == len(comparison.labels) and len(set(drawn)) > 1:
        slices["rendering"] = drawn
    found = parts(a, b, slices)
    where = budget_words([budget], comparison.unit)
    return Panel(
        "Where transfer helped",
        points=tuple(_points(found, float(a.mean()), float(b.mean()), where)),
        tables=tuple(_table(name, [part for part in found if part.slice == name], where) for name in slices),
        notes=(
            "Each part has its own interval. The words are adjusted for all parts together (Holm), since of many parts "
            "one in twenty would look different by chance. Parts of fewer than 10 examples get no word.",
        ),
        folded=True,
    )


def _points(found: Sequence[Part], a: float, b: float, where: str) -> list[str]:
    classes = [part for part in found if part.slice == "class"]
    below = [part for part in classes if part.gain < 0]
    words = {word: [p.name for p in classes if p.verdict and p.verdict.word == word] for word in ("helped", "hurt")}
    relative = relative_gain(a, b)
    points = []
    if relative is not None:
        errors = f"removes {relative:.1%} of" if relative >= 0 else f"adds {-relative:.1%} to"
        points.append(
            f"Relative gain at {where}: transfer {errors} the errors of random weights ({a:.3f} against {b:.3f})."
        )
    rate = f"{negative_transfer_rate(classes):.0%}"
    points.append(
        f"Negative transfer: in {len(below)} of {len(classes)} classes ({rate}) transfer is below random weights."
    )
    points.append(
        "Beyond chance it " + " and ".join(f"{word} {_listed(names)}" for word, names in words.items() if names) + "."
        if any(words.values())
        else "In no single class is the difference beyond chance."
    )
    return points


def _listed(names: Sequence[str], most: int = 5) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def _table(name: str, rows: Sequence[Part], where: str) -> dict[str, Any]:
    return {
        "caption": f"accuracy by {name} at {where}",
        "columns": [name, "test examples", A, B, "difference", "95 % interval", "result"],
        "rows": [
            [
                part.name,
                part.examples,
                part.a,
                part.b,
                signed(part.gain),
                f"{signed(part.verdict.low)} to {signed(part.verdict.high)}" if part.verdict else None,
                part.verdict.word if part.verdict else None,
            ]
            for part in sorted(rows, key=lambda part: THIRDS.index(part.name) if name == "length" else -part.gain)
        ],
    }
