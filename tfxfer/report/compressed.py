"""What `tfxfer compress` says: sentences for the terminal and the page, and the page itself, made of panels."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfxfer.evaluate.comparison import measure_name
from tfxfer.evaluate.verdict import signed
from tfxfer.report.command_page import write_command_page
from tfxfer.report.panel import Panel
from tfxfer.run_folder import LAST_FILE

LARGE = 0.1  # share of the source's score above which a margin is named as large
METHOD = (
    "Which result is saved is chosen on the validation split: the smallest of those that validate within the margin of "
    "the source, else the one that validates best. Each then answers the test split, once.",
    "Non-inferior is a claim of its own. That no difference is found does not show it. The paired difference on the "
    "test examples, smaller model minus source, gets a one-sided 95 % lower bound: the lower end of its 90 % interval. "
    "The model is non-inferior where that bound is above minus the margin (Walker and Nowacki 2011). The bound is over "
    "the draw of the test examples, about these two models as they are.",
    "The bound is that of the paired bootstrap. Where fewer than five answers differ, it is no better "
    "than the bound of Clopper and Pearson on their share, as a bootstrap cannot see what is rare.",
    "Bytes are those of all files that the model is made of. Quantised, factored and pruned weights are made whole "
    "again when the model is loaded: the file is smaller, but predictions take as long and as much memory as before. "
    "Fewer units make the model itself smaller.",
)


def sentences(found: Any) -> list[str]:
    """Return what was found, in sentences, the saved result first.

    Args:
        found: `tfxfer.recipes.compressing.Compressed`.
    """
    source, *others = found.rows
    ordered = sorted(others, key=lambda row: row["name"] != found.saved)
    said = [_sentence(row, found) for row in ordered]
    packed = source["bytes"] / found.zipped
    said.append(f"Packed without any loss, the source's files would be {packed:.2f} times smaller: {found.zipped:,} "
                "bytes.")  # fmt: skip
    if found.margin > LARGE * source["score"]:
        said.append(f"The margin is {found.margin / max(source['score'], 1e-9):.0%} of what the source scores, so that "
                    "non-inferior says little here; choose a smaller one, and have more test examples.")  # fmt: skip
    return [*said, *found.notes]


def _sentence(row: Mapping[str, Any], found: Any) -> str:
    unit, smaller = measure_name(found.measure), f"{row['ratio']:.2f} times smaller"
    shown = row["shown"]
    what = f"{row['name']}: {smaller} and {'' if shown else 'not shown '}non-inferior within {found.margin:g} {unit}"
    bound = f"{signed(row['difference'])}, one-sided 95 % bound {signed(row['bound'])}"
    missed = "" if shown else f"; the bound misses the margin by {-found.margin - row['bound']:.3f}"
    changed = f"{row['changed']:,} of {row['answers']:,} test answers differ"
    return f"{what} ({bound}; {changed}{missed})."


def score_cells(row: Mapping[str, Any]) -> list[str]:
    """Return validation, test and its interval."""
    return [f"{row['validation']:.3f}", f"{row['score']:.3f}", f"{row['low']:.3f}–{row['high']:.3f}"]


def bound_cell(row: Mapping[str, Any]) -> str:
    """Return how much a result loses at most, at 95 %, and whether that is within the margin."""
    if "shown" not in row:
        return ""
    return f"{max(0.0, -row['bound']):.3f} {'non-inferior' if row['shown'] else 'not shown'}"


def cost_rows(found: Any) -> list[tuple[Any, ...]]:
    """Return a row for each model whose costs were measured: name, ms of batch 1 and 32, MiB, and before loading."""
    measured = [row for row in found.rows if row["mib"]]
    return [(row["name"], row["ms_1"], row["ms_32"], row["mib"], row["start_mib"]) for row in measured]


def on_front(rows: Sequence[Mapping[str, Any]]) -> list[bool]:
    """Return which rows no other beats: none is at most as large and scores at least as high, and one of both more."""
    return [
        not any(
            other["bytes"] <= row["bytes"]
            and other["score"] >= row["score"]
            and (other["bytes"] < row["bytes"] or other["score"] > row["score"])
            for other in rows
        )
        for row in rows
    ]


def write_page(found: Any, folder: Path) -> Path:
    """Write the report of a compression into its run's folder, and return its path."""
    said = found.comparison
    cautions = said.about.get("cautions", ())
    return write_command_page(
        folder / LAST_FILE, "compress", said.title, sentences(found), panels(found), METHOD, cautions
    )


def panels(found: Any) -> list[Panel]:
    """Return the sections of the page."""
    made = [_table_panel(found), _front_panel(found), _difference_panel(found)]
    return made + ([_cost_panel(found)] if cost_rows(found) else [])


def _table_panel(found: Any) -> Panel:
    columns = ["model", "bytes", "times smaller", "numbers", "validation", "test", "95 % interval"]
    rows = [
        [row["name"], f"{row['bytes']:,}", f"{row['ratio']:.2f}", f"{row['numbers']:,}", *score_cells(row)]
        for row in found.rows
    ]
    tested, unit = len(found.comparison.labels), measure_name(found.measure)
    return Panel(
        "Before and after",
        paragraphs=(f"{unit} on {found.validation:,} validation and {tested:,} test examples.",),
        tables=({"caption": "Size and score", "columns": columns, "rows": rows},),
    )


def _front_panel(found: Any) -> Panel:
    points = [
        {"name": row["name"], "x": row["bytes"], "best": best, **{key: row[key] for key in ("score", "low", "high")}}
        for row, best in zip(found.rows, on_front(found.rows))
    ]
    figure = {
        "name": "quality_by_cost",
        "arguments": {
            "panels": [{"xlabel": "bytes on disk (log scale)", "points": points}],
            "ylabel": measure_name(found.measure),
        },
        "description": "Scatter chart: score against bytes on disk. The numbers are in the table above.",
        "caption": "The line joins the models that no other beats, neither in bytes nor in score (the Pareto front).",
    }
    return Panel("Score against bytes", figures=(figure,))


def _difference_panel(found: Any) -> Panel:
    rows = found.rows[1:]
    drawn = [
        {"name": row["name"], "difference": row["difference"], "low": row["difference_low"],
         "high": row["difference_high"], "sure": row["shown"],
         "outcome": "non-inferior" if row["shown"] else "not shown"}
        for row in rows
    ]  # fmt: skip
    unit = measure_name(found.measure)
    figure = {
        "name": "pair_differences",
        "arguments": {"rows": drawn, "xlabel": f"difference in {unit}", "margin": found.margin},
        "description": "Interval chart: each model minus the source. The numbers are in the table below.",
        "caption": "95 % intervals; the grey band is the margin. A hollow marker: not shown to be non-inferior.",
    }
    cells = [
        [row["name"], signed(row["difference"]), f"{signed(row['difference_low'])} to {signed(row['difference_high'])}",
         signed(row["bound"]), f"{row['changed']:,} of {row['answers']:,}",
         "yes" if row["shown"] else "not shown"]
        for row in rows
    ]  # fmt: skip
    columns = ["model − source", "difference", "95 % interval", "one-sided 95 % bound", "answers that differ",
               f"non-inferior within {found.margin:g}"]  # fmt: skip
    table = {"caption": "Differences to the source", "columns": columns, "rows": cells}
    return Panel("Is it non-inferior?", figures=(figure,), tables=(table,))


def _cost_panel(found: Any) -> Panel:
    columns = ["model", "ms, batch 1", "ms, batch 32", "peak memory, MiB", "of it before the model"]
    rows = [[name, *(f"{cell:,.1f}" for cell in cells)] for name, *cells in cost_rows(found)]
    return Panel(
        "Time and memory of a prediction",
        paragraphs=("Each model in its own process: the median time of a call, and the greatest resident memory.",),
        tables=({"caption": "Costs", "columns": columns, "rows": rows},),
    )
