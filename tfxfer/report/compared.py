"""What `tfxfer compare` says: sentences for the terminal and the page, and the page itself, made of panels."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfxfer.evaluate.comparison import budget_words, measure_name
from tfxfer.evaluate.run_comparison import ComparedRuns
from tfxfer.evaluate.verdict import signed
from tfxfer.report import run
from tfxfer.report.command_page import write_command_page
from tfxfer.report.panel import Panel
from tfxfer.report.words import budget_name, duration

COSTS = {  # key of a row of costs -> name of its column, of its axis
    "training_seconds": ("training", "training, seconds a seed"),
    "inference_ms": ("inference", "inference, ms an example"),
    "bytes": ("saved model", "saved model, MiB"),
}
NO_BREAK, NO_BREAK_HYPHEN = "\u00a0", "\u2011"  # at which no line ends
STAR = "* No other is at least as good and no dearer."
MOST_SENTENCES = 6  # pairs with a sentence each
METHOD = (
    "Every difference is taken example by example, on the same test examples, and seed by seed. Its 95 % interval is "
    "that of every verdict: the bootstrap over examples, and the variance between seeds from Student's t distribution.",
    "With several pairs, Holm's step-down procedure keeps the chance of any wrong word at 5 %; the adjusted word "
    "stands beside the plain one. The minimal detectable effect is the true difference that such a comparison finds in "
    "80 % of cases. McNemar's test is about two trained models as they are: the luck of their seeds is no part of it.",
    "Between two budgets, a curve is a line over the logarithm of the budget. The interval of labels needed holds the "
    "budgets at which the difference to the other's score is undecided.",
)


# === Sentences ===


def sentences(found: ComparedRuns) -> list[str]:
    """Return what the comparison says: sentences on the pairs, then labels needed and crossings."""
    lines = []
    if len(found.pairs) > 1:
        plain, adjusted = (sum(row[key] != "no evidence" for row in found.pairs) for key in ("word", "adjusted"))
        lines.append(f"{plain} of {len(found.pairs)} pairs differ, {adjusted} after Holm's adjustment.")
    if len(found.pairs) <= MOST_SENTENCES:
        lines += [_pair_sentence(found, row) for row in found.pairs]
    return lines + efficiency_sentences(found)


def efficiency_sentences(found: ComparedRuns) -> list[str]:
    """Return the labels that the better of each pair saves, and where curves cross."""
    return [line for row in found.efficiency for line in _efficiency_sentences(found, row)]


def _pair_sentence(found: ComparedRuns, row: Mapping[str, Any]) -> str:
    where = "at" if len(row["budgets"]) == 1 else "averaged over"
    place = f"{where} {budget_words(row['budgets'], found.unit)}"
    seeds = " against ".join(str(n) for n in dict.fromkeys((row["seeds_a"], row["seeds_b"])))
    span = f"{row['level'] * 100:g} % interval {signed(row['low'])} to {signed(row['high'])}, {seeds} seeds"
    name = measure_name(found.measure)
    if row["difference"] == row["low"] == row["high"] == 0:
        return f"{row['a']} − {row['b']}: the same {name} in each of {row['examples']:,} test examples, {place}."
    said = row["outcome"] if row["outcome"] != "no evidence" else "no evidence of a difference"
    text = f"{row['a']} − {row['b']}: {said}, {signed(row['difference'])} {name}, {place} ({span})"
    if row["p"] is None:
        return f"{text.replace('1 seeds', '1 seed')}: with one seed each there is no verdict, seeds may differ by more."
    if len(found.pairs) > 1 and row["adjusted"] != row["word"]:
        text += "; no evidence after Holm's adjustment"
    if row["detectable"] is not None:
        text += f"; a true difference of {row['detectable']:.3f} is found in 80 % of cases"
    if "equivalence" in row:
        one = row["equivalence"]
        what = one["outcome"] if one["outcome"] != "not shown" else "neither equivalence nor non-inferiority shown"
        text += f"; within ±{one['margin']:g}: {what} (90 % interval {signed(one['low'])} to {signed(one['high'])})"
    return f"{text}."


def _efficiency_sentences(found: ComparedRuns, row: Mapping[str, Any]) -> list[str]:
    lines, saved = [], row["saved"]
    if saved is not None and saved["at_most"]:
        lines.append(
            f"{row['needs_fewer']} reaches with {saved['needs']:,.0f} {found.unit}, the fewest that were tried, what "
            f"{row['than']} reaches with {saved['at']:,}: at least {saved['saved']:,.0f} {found.unit} saved"
            f"{_span(saved) if round(saved['high']) > saved['needs'] else ''}."
        )
    elif saved is not None and round(saved["saved"]) > 0:
        lines.append(
            f"{row['needs_fewer']} reaches with {saved['needs']:,.0f} {found.unit} what {row['than']} reaches with "
            f"{saved['at']:,}: {saved['saved']:,.0f} {found.unit} saved{_span(saved)}."
        )
    for one in row["crossings"]:
        sure = "" if one["sure"] else ", but not both verdicts are decided"
        lines.append(
            f"The curves of {row['a']} and {row['b']} cross near {one['near']:,.0f} {found.unit}: "
            f"{one['ahead_before']} is ahead at {one['low']:,}, {one['ahead_after']} at {one['high']:,}{sure}."
        )
    return lines


def _span(saved: Mapping[str, Any]) -> str:
    return f" (95 % interval of what it needs: {saved['low']:,.0f} to {saved['high']:,.0f})"


# === The page ===


def write_page(found: ComparedRuns, path: str | Path) -> Path:
    """Write the comparison as one self-contained HTML file, and return its path."""
    path = Path(path).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    names = " and ".join(dict.fromkeys(system.folder.name for system in found.systems))
    title = f"{measure_name(found.measure)}: {names}" if len(names) < 80 else "Runs compared"
    return write_command_page(path, "compare", title, sentences(found), panels(found), METHOD, found.cautions)


def panels(found: ComparedRuns) -> list[Panel]:
    """Return the sections of the page."""
    made = [_systems_panel(found), _scores_panel(found), _pairs_panel(found)]
    made += [_budget_panel(found)] if found.by_budget else []
    made += [_models_panel(found)] if any(row["mcnemar"] for row in found.pairs) else []
    made += [_efficiency_panel(found)] if found.efficiency else []
    return [*made, _cost_panel(found)]


def _systems_panel(found: ComparedRuns) -> Panel:
    rows = [[s.name, run.shown_path(s.folder), s.arm, s.comparison.title] for s in found.systems]
    table = {"caption": "What is compared", "columns": ["name", "run", "arm", "experiment"], "rows": rows}
    return Panel(
        "What is compared",
        paragraphs=(
            f"All were scored on the same {found.examples:,} test examples by {measure_name(found.measure)}; higher is "
            "better. A letter stands for each.",
        ),
        tables=(table,),
    )


def _scores_panel(found: ComparedRuns) -> Panel:
    name = measure_name(found.measure)
    rows = [
        [r["system"], budget_name(r["budget"]), r["score"], f"{r['low']:.3f}–{r['high']:.3f}", r["seeds"]]
        for r in found.scores
        if r["score"] is not None
    ]
    figure = {
        "name": "score_curves",
        "arguments": {"curves": _curves(found), "xlabel": found.unit, "ylabel": f"{name} on the test split"},
        "description": f"Line chart: {name} of each system against the budget. The numbers are in the table below.",
        "caption": "A curve further to the left needs fewer for the same score. Bands are the 95 % intervals.",
    }
    columns = ["name", found.unit, name, "95 % interval", "seeds"]
    return Panel(
        "Scores by budget", figures=(figure,), tables=({"caption": "Scores", "columns": columns, "rows": rows},)
    )


def _curves(found: ComparedRuns) -> list[dict[str, Any]]:
    most = max((r["budget"] for r in found.scores if r["budget"] is not None), default=1)
    curves = []
    for system in found.systems:
        own = [r for r in found.scores if r["system"] == system.name and r["score"] is not None]
        points = [
            {
                "x": float(r["budget"] or most * 3),
                "name": budget_name(r["budget"]),
                **{k: r[k] for k in ("score", "low", "high")},
            }
            for r in own
        ]
        curves.append({"name": system.name, "points": points})
    return curves


def _pairs_panel(found: ComparedRuns) -> Panel:
    name, margin = measure_name(found.measure), found.pairs[0].get("equivalence", {}).get("margin")
    figure = {
        "name": "pair_differences",
        "arguments": {
            "rows": [_drawn(row) for row in found.pairs],
            "xlabel": f"difference in {name}",
            "margin": margin,
        },
        "description": f"Interval chart: difference in {name} of each pair. The numbers are in the table below.",
        "caption": "A bar wholly right of 0: the first is better. Wholly left: the second. Across 0, with a hollow "
        "marker: no evidence." + (" The grey band is the margin." if margin else ""),
    }
    table = {"caption": "Table of these differences", **_difference_table(found, found.pairs)}
    notes: tuple[str, ...] = ("Detectable: the true difference that such a comparison finds in 80 % of cases.",)
    if len(found.pairs) > 1:
        notes += (f"After Holm: what remains after the adjustment for {len(found.pairs)} pairs.",)
    return Panel("Differences", figures=(figure,), tables=(table,), notes=notes)


def _drawn(row: Mapping[str, Any]) -> dict[str, Any]:
    figures = {key: row[key] for key in ("difference", "low", "high", "outcome")}
    return {"name": f"{row['a']} − {row['b']}", "sure": row["word"] != "no evidence", **figures}


def _budget_panel(found: ComparedRuns) -> Panel:
    table = {"caption": "Table of the differences at each budget", **_difference_table(found, found.by_budget)}
    text = "The same for each budget alone. With so many intervals, some leave out 0 by chance: read the adjusted word."
    return Panel("Differences by budget", paragraphs=(text,), tables=(table,), folded=True)


def _difference_table(found: ComparedRuns, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    several, margin = len(rows) > 1, any("equivalence" in row for row in rows)
    columns = ["pair", found.unit, "difference", "95 % interval", "verdict", *(["after Holm"] if several else [])]
    columns += ["detectable", *(["within the margin"] if margin else [])]
    cells = []
    for row in rows:
        place = ", ".join(map(budget_name, row["budgets"]))
        line: list[Any] = [f"{row['a']} − {row['b']}", place, signed(row["difference"])]
        line += [f"{signed(row['low'])} to {signed(row['high'])}", row["outcome"]]
        line += [row["adjusted_outcome"]] if several else []
        line += [row["detectable"]]
        line += [row["equivalence"]["outcome"]] if margin else []
        cells.append(
            [
                cell.replace(" ", NO_BREAK).replace("-", NO_BREAK_HYPHEN) if isinstance(cell, str) else cell
                for cell in line
            ]
        )
    return {"columns": columns, "rows": cells}


def _models_panel(found: ComparedRuns) -> Panel:
    rows = [
        [f"{row['a']} − {row['b']}", budget_name(one["budget"]), one["seed"], one["only_a"], one["only_b"], one["p"],
         "binomial" if one["exact"] else "χ²"]
        for row in found.pairs
        for one in row["mcnemar"]
    ]  # fmt: skip
    columns = ["pair", found.unit, "seed", "only the first is right", "only the second", "p", "by"]
    return Panel(
        "Two models at a time: McNemar's test",
        paragraphs=(
            "Each row is two trained models with the same budget and seed, and the test examples on which exactly one "
            "of them is right. A small p: these two models differ. Whether other seeds would agree is what the "
            "intervals above say. The p are not adjusted for their number.",
        ),
        tables=({"caption": "McNemar's test of each pair of models", "columns": columns, "rows": rows},),
        folded=True,
    )


def _efficiency_panel(found: ComparedRuns) -> Panel:
    points = efficiency_sentences(found)
    things = found.unit.split(" ")[0]
    nothing = f"No curve reaches another's last score with fewer {things}, and none cross."
    return Panel(f"{things.capitalize()} saved", paragraphs=() if points else (nothing,), points=tuple(points))


def _cost_panel(found: ComparedRuns) -> Panel:
    name = measure_name(found.measure)
    figure = {
        "name": "quality_by_cost",
        "arguments": {"panels": [_cost_points(found, cost) for cost in COSTS], "ylabel": name},
        "description": f"Scatter charts: {name} against training time, inference time and bytes. The numbers are in "
        "the table below.",
        "caption": "Up and to the left is better (log scale). The line joins the systems that no other beats in both; "
        "a hollow marker is beaten.",
    }
    rows = [[row["system"], budget_name(row["budget"]), row["score"], *cost_texts(row)] for row in found.costs]
    columns = ["name", found.unit, name, *(column for column, _ in COSTS.values())]
    return Panel(
        "Quality and cost",
        figures=(figure,),
        tables=({"caption": "Quality and cost", "columns": columns, "rows": rows},),
        notes=(
            STAR,
            "Training: seconds of fitting and answering the test split, the mean of one seed, as its run measured them "
            "on its own machine; the source's training is not in it. Inference is measured now, with --inference. The "
            "saved model is that of the arm transfer.",
        ),
    )


def _cost_points(found: ComparedRuns, cost: str) -> dict[str, Any]:
    scale = 2**20 if cost == "bytes" else 1
    points = [
        {"name": row["system"], "x": row[cost] / scale, "best": cost in row["best_for"],
         **{key: row[key] for key in ("score", "low", "high")}}
        for row in found.costs
        if row[cost]
    ]  # fmt: skip
    return {"xlabel": COSTS[cost][1], "points": points}


def cost_texts(row: Mapping[str, Any]) -> list[str]:
    """Return the costs of a system as texts: "–" where one is unknown, "*" where no other beats it."""
    inference, size = row["inference_ms"], row["bytes"]
    texts = {
        "training_seconds": duration(row["training_seconds"]),
        "inference_ms": "–" if inference is None else f"{inference:.3g} ms",
        "bytes": "–" if size is None else f"{size / 2**20:,.2f} MiB",
    }
    return [f"{text} *" if cost in row["best_for"] else text for cost, text in texts.items()]
