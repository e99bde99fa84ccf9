"""The panel of `--train-set`: score against trained parameters, and each train set against `all` and `head`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfxfer.evaluate.comparison import (
    budget_words,
    compare_arms,
    measure_name,
    shared_budgets,
    summary,
)
from tfxfer.evaluate.verdict import Verdict, signed
from tfxfer.records import Comparison, Record
from tfxfer.report.panel import Panel

AGAINST = ("all", "head")
WORDS = {"helped": "better", "hurt": "worse", "no evidence": "no evidence"}
MIB = 2**20


def train_set_panels(comparison: Comparison, arms: Mapping[str, str]) -> tuple[Panel, ...]:
    """Return the panel; none where fewer than two train sets have a result.

    Args:
        comparison: The records.
        arms: Train set -> its arm.
    """
    arms = {name: arm for name, arm in arms.items() if any(comparison.select(arm, n) for n in comparison.budgets)}
    if len(arms) < 2:
        return ()
    rows = [row | {"set": name} for name, arm in arms.items() for row in _rows(comparison, arm)]
    measure = measure_name(comparison.measures[0])
    return (
        Panel(
            "What has to train?",
            paragraphs=(
                "Each train set changes another part of the pretrained network; new layers train in all of them. The "
                "examples, the steps and the seeds are the same. Each chose its own learning rate on validation, at "
                "each budget.",
            ),
            points=tuple(sentences(comparison, arms)),
            figures=(_figure(rows, comparison, measure),),
            tables=(_table(rows, comparison, arms, measure),),
            notes=(
                "Trained parameters and all parameters are those of the network that trains; a frozen encoder whose "
                "outputs are computed once is not counted. The optimizer's state is held in memory while it trains: "
                "two numbers a trained parameter, and with LoRA the two factors too. A step of LoRA computes the "
                "gradient of whole kernels, as Keras' own does, so its time is that of all. Seconds are of one seed, "
                "with the search for the learning rate in the first.",
            ),
        ),
    )


def sentences(comparison: Comparison, arms: Mapping[str, str]) -> list[str]:
    """Return a sentence on each train set against `all` and against `head`, averaged over the budgets they share."""
    measure, found = measure_name(comparison.measures[0]), []
    for to in AGAINST:
        for name, arm in arms.items() if to in arms else ():
            if name == to or (to == "head" and name == "all"):
                continue
            budgets = shared_budgets(comparison, arm, arms[to])
            one = _compared(comparison, arm, arms[to], budgets)
            if one is None:
                continue
            where = f"{'at' if len(budgets) == 1 else 'averaged over'} {budget_words(budgets, comparison.unit)}"
            found.append(f"{name} against {to}: {WORDS[one.word]}, {_span(one)} {measure} {where}.")
    return found


def _compared(comparison: Comparison, arm: str, other: str, budgets: Sequence[int | None]) -> Verdict | None:
    if arm == other or not budgets:
        return None
    return compare_arms((comparison, arm), (comparison, other), budgets)


def _span(one: Verdict) -> str:
    return f"{signed(one.difference)} (95 % interval {signed(one.low)} to {signed(one.high)})"


def _rows(comparison: Comparison, arm: str) -> list[dict[str, Any]]:
    found = []
    for row in summary(comparison):
        records = comparison.select(arm, row["budget"])
        if row["arm"] == arm and records:
            found.append(row | {"rates": _rates(records)})
    return found


def _rates(records: Sequence[Record]) -> str:
    rates = sorted({record.settings["learning_rate"] for record in records if "learning_rate" in record.settings})
    return " or ".join(f"{rate:g}" for rate in rates)


def _figure(rows: Sequence[dict[str, Any]], comparison: Comparison, measure: str) -> dict[str, Any]:
    panels = []
    for budget in comparison.budgets:
        own = [row for row in rows if row["budget"] == budget and row["score"] is not None and row["trainable"]]
        points = [
            {
                "name": row["set"],
                "x": row["trainable"],
                "best": not any(
                    o["trainable"] <= row["trainable"] and o["score"] > row["score"] for o in own if o is not row
                ),
                **{key: row[key] for key in ("score", "low", "high")},
            }
            for row in own
        ]
        panels.append({"xlabel": f"trained parameters,\n{budget_words([budget], comparison.unit)}", "points": points})
    return {
        "name": "quality_by_cost",
        "arguments": {"panels": panels, "ylabel": measure},
        "description": f"{measure} of each train set against its number of trained parameters, a chart for each "
        "budget. The numbers are in the table below.",
        "caption": f"{measure} with its 95 % interval against trained parameters (log scale). The line joins the train "
        "sets that no other one with as few parameters beats.",
    }


def _table(
    rows: Sequence[dict[str, Any]], comparison: Comparison, arms: Mapping[str, str], measure: str
) -> dict[str, Any]:
    against = [to for to in AGAINST if to in arms]
    return {
        "caption": f"{measure} and cost of each train set",
        "columns": [
            *("train set", "budget", measure, "95 % interval", "trained parameters", "of all"),
            *("optimizer state, MiB", "seconds a seed", "learning rate", *(f"against {to}" for to in against)),
        ],
        "rows": [
            [
                row["set"],
                budget_words([row["budget"]], comparison.unit),
                row["score"],
                f"{row['low']:.3f} to {row['high']:.3f}",
                row["trainable"],
                f"{100 * row['trainable'] / row['parameters']:.3g} %" if row["parameters"] else "–",
                float(np.round(row["optimizer_bytes"] / MIB, 3)),
                float(np.round(row["seconds"], 1)),
                row["rates"],
                *(_cell(comparison, row, arms[to]) for to in against),
            ]
            for row in rows
        ],
    }


def _cell(comparison: Comparison, row: Mapping[str, Any], other: str) -> str | None:
    one = _compared(comparison, row["arm"], other, [row["budget"]])
    if one is None:
        return None
    return f"{WORDS[one.word]}, {signed(one.difference)} ({signed(one.low)} to {signed(one.high)})"
