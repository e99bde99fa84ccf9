"""`tfxfer compare RUN RUN …`: paired tests between runs on the same test set, labels saved, and quality against cost.

It reads what the runs kept, and starts no TensorFlow, unless `--inference` asks how long their models take.
"""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfxfer import cli
from tfxfer.errors import UserError
from tfxfer.run_folder import is_run
from tfxfer.terminal import console, json_text, printable

if TYPE_CHECKING:
    from rich.table import Table

    from tfxfer.evaluate.run_comparison import ComparedRuns

COLUMNS = 5  # budgets that fit in 80 columns
REPEATS = 5  # of a timing, after one that is not counted
LEAST, MOST = 0.5, 0.999  # confidence levels
DESCRIPTION = """Compare runs that were scored on the same test examples, with an interval by example and by seed.
docs/compare.md says how to read each figure."""


def parser() -> cli.CommandParser:
    """Return the parser of this command."""
    made = cli.CommandParser(cli.program("compare"), DESCRIPTION)
    made.add_argument(
        "runs", nargs="+", metavar="RUN", help="folders of finished runs, e.g. runs/feature-20261123-090000"
    )
    made.add_argument(
        "--arms", nargs="+", default=["transfer"], metavar="NAME", help="arms of each (default: transfer)"
    )
    made.add_argument("--measure", metavar="NAME", help="score that decides (default: the first that all runs have)")
    made.add_argument(
        "--margin", type=float, metavar="X", help="difference that would not matter: adds equivalent, non-inferior"
    )
    made.add_argument(
        "--level", type=float, default=0.95, metavar="X", help="confidence of the intervals (default: 0.95)"
    )
    made.add_argument("--inference", action="store_true", help="also time the saved models on the shown examples")
    made.add_argument("--html", metavar="FILE", help="also write a page with tables and figures")
    made.add_argument("--json", action="store_true", help="all figures as JSON")
    return made


def work(argv: Sequence[str]) -> None:
    """Compare the runs, and print what was found."""
    asked = parser().parse_args(argv)
    check(asked)
    from tfxfer.evaluate.run_comparison import compare_runs

    found = compare_runs(*asked.runs, arms=asked.arms, measure=asked.measure, margin=asked.margin, level=asked.level)
    if asked.inference:
        found = found.with_inference(inference_times(found))
    if asked.html:
        from tfxfer.report.compared import write_page

        page = write_page(found, asked.html)
    if asked.json:
        print(json_text(found.to_dict(), indent=1))
    else:
        show(found)
    if asked.html:
        cli.note(f"the page: {page}")


def check(asked: Namespace) -> None:
    """Raise `UserError` for what can be seen to be wrong without the runs."""
    if not LEAST <= asked.level <= MOST:
        raise UserError(f"--level {asked.level:g}: must lie between {LEAST:g} and {MOST:g}; try 0.95")
    if asked.html and asked.html.endswith(("/", "\\")):
        raise UserError(f"--html {asked.html}: name a file, such as {asked.html}compare.html")
    if asked.html and is_run(Path(asked.html).expanduser().parent):
        raise UserError(f"--html {asked.html}: stands in the folder of a run, which is kept; name another place")


# === Inference ===


def inference_times(found: "ComparedRuns") -> dict[str, float]:
    """Return name of a system -> milliseconds that its saved model takes for one example, the median of a few calls.

    All models answer the same examples, those that the first run's report shows.
    """
    from tempfile import TemporaryDirectory

    cli.start_tensorflow()
    times = {}
    with TemporaryDirectory(prefix="tfxfer-compare-") as folder:
        given = shown_examples(found.systems[0].comparison.examples, folder)
        for system in found.systems:
            if system.arm == "transfer" and (system.folder / "model.keras").is_file():
                times[system.name] = 1000 * seconds_an_example(system.folder, given)
    return times


def shown_examples(examples: Sequence[Mapping[str, Any]], folder: str) -> dict[str, list[str]]:
    """Return the texts of the shown examples, and files of their images, which are written into a folder."""
    import base64

    texts = [one["text"] for one in examples if one.get("text")]
    truths = [str(one["true"]) for one in examples if one.get("true")]
    files = []
    for place, one in enumerate(examples):
        if one.get("png"):
            file = Path(folder) / f"{place}.png"
            file.write_bytes(base64.b64decode(one["png"]))
            files.append(str(file))
    return {"text": texts or truths, "image": files}


def seconds_an_example(folder: Path, given: Mapping[str, list[str]]) -> float:
    """Return the seconds that a run's model takes for one of the given examples, as `tfxfer predict` asks it."""
    import statistics
    import time

    from tfxfer.models.saved_folder import describe_folder
    from tfxfer.recipes import predictors_by_class
    from tfxfer.saved import from_run

    folder, described = describe_folder(folder)
    predictor = predictors_by_class()[described["class"]]
    takes = predictor.takes or (described["input"],)
    kind = next((name for name in takes if given.get(name)), None)
    if kind is None:
        raise UserError(
            f"{folder}: no example is at hand that its model takes ({', '.join(takes)}); leave --inference out"
        )
    request = Namespace(run=str(folder), text=[], image=[], question=[], top=1, num_beams=None, max_length=None)
    setattr(request, kind, given[kind])
    if "question" in takes:
        request.question = given["text"][:1] or ["what is it?"]
    model, spent = from_run(folder), []
    for _ in range(REPEATS + 1):
        started = time.perf_counter()
        predictor.rows(model, described | {"folder": folder}, request)
        spent.append(time.perf_counter() - started)
    return statistics.median(spent[1:]) / len(given[kind])


# === The terminal ===


def show(found: "ComparedRuns") -> None:
    """Print what is compared, the scores, the pairs, what they say, and quality against cost."""
    from rich.text import Text

    from tfxfer.evaluate.comparison import measure_name
    from tfxfer.report.compared import STAR, efficiency_sentences, sentences

    out = console(highlight=False)
    for system in found.systems:
        out.print(Text(printable(f"{system.name}  {system.folder} · {system.arm} · {system.comparison.title}")))
    out.print(f"{found.examples:,} test examples\n")
    name = f"{measure_name(found.measure)}, {found.level * 100:g} % interval"
    out.print(Text(f"{name}, by {found.unit}"))
    for table in [*score_tables(found), pair_table(found), *model_table(found)]:
        out.print(table)
    lines = sentences(found) if len(found.pairs) == 1 else [legend(found), *efficiency_sentences(found)]
    for sentence in lines:
        out.print(Text(sentence))
    out.print(cost_table(found))
    out.print(STAR, markup=False)
    for sentence in found.cautions:
        out.print(Text(f"Caution: {sentence}", style="yellow"))


def plain_table(*columns: str, gap: int = 2) -> "Table":
    """Return an empty table, with spaces between columns; the first column is to the left, the others to the right."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, padding=(0, gap - 1, 0, 0), pad_edge=False)
    for place, column in enumerate(columns):
        made.add_column(column, justify="right" if place else "left")
    return made


def score_tables(found: "ComparedRuns") -> list["Table"]:
    """Return the scores, a column for each budget and five in a table."""
    from rich.text import Text

    from tfxfer.report.words import budget_name

    budgets = sorted({row["budget"] for row in found.scores}, key=lambda n: (n is None, n or 0))
    cells = {(row["system"], row["budget"]): row for row in found.scores}
    tables = []
    for start in range(0, len(budgets), COLUMNS):
        some = budgets[start : start + COLUMNS]
        table = plain_table("", *map(budget_name, some))
        for system in found.systems:
            rows = [cells.get((system.name, n)) for n in some]
            table.add_row(system.name, *(Text("–") if row is None else _score(row) for row in rows))
        tables.append(table)
    return tables


def _score(row: Mapping[str, Any]) -> Any:
    from rich.text import Text

    if row["score"] is None:
        return Text("failed", style="red")
    return Text(f"{row['score']:.3f}\n") + Text(f"{row['low']:.3f}–{row['high']:.3f}", style="dim")


def pair_table(found: "ComparedRuns") -> "Table":
    """Return the differences, each with its plain word and, where there are several, the word after Holm."""
    from tfxfer.evaluate.verdict import signed

    several, margin = len(found.pairs) > 1, "equivalence" in found.pairs[0]
    columns = ["pair", "differ", f"{found.level * 100:g} % interval", "verdict", *["Holm"] * several, "detects"]
    table = plain_table(*columns, *["margin"] * margin, gap=1)
    for row in found.pairs:
        cells = [f"{row['a']} − {row['b']}", signed(row["difference"]), f"{signed(row['low'])} {signed(row['high'])}"]
        cells += [row["outcome"], *[row["adjusted_outcome"]] * several]
        cells.append("–" if row["detectable"] is None else f"{row['detectable']:.3f}")
        table.add_row(*cells, *([row["equivalence"]["outcome"]] if margin else []))
    return table


def legend(found: "ComparedRuns") -> str:
    """Return what the columns of the table of pairs mean."""
    several = f"Holm: what remains after the adjustment for {len(found.pairs)} pairs. " * (len(found.pairs) > 1)
    margin = found.pairs[0].get("equivalence", {}).get("margin")
    within = f" margin: what two one-sided tests show within ±{margin:g}." if margin else ""
    return f"{several}detects: the true difference that such a comparison finds in 80 % of cases.{within}"


def model_table(found: "ComparedRuns") -> list["Table"]:
    """Return McNemar's test of the first seed's models at the greatest budget, and how many pairs differ; if any."""
    from tfxfer.report.words import budget_name

    if not any(row["mcnemar"] for row in found.pairs):
        return []
    table = plain_table("McNemar", found.unit, "only 1st right", "only 2nd", "p", "p < 0.05 in")
    for row in found.pairs:
        tests = row["mcnemar"]
        if tests:
            last = next(one for one in tests if one["budget"] == tests[-1]["budget"])
            small = sum(one["p"] < 0.05 for one in tests)
            cells = [budget_name(last["budget"]), str(last["only_a"]), str(last["only_b"]), f"{last['p']:.3g}"]
            table.add_row(f"{row['a']} − {row['b']}", *cells, f"{small} of {len(tests)}")
    return [table]


def cost_table(found: "ComparedRuns") -> "Table":
    """Return quality and cost of each system."""
    from tfxfer.evaluate.comparison import measure_name
    from tfxfer.report.compared import COSTS, cost_texts

    table = plain_table("", measure_name(found.measure), *(name for name, _ in COSTS.values()))
    for row in found.costs:
        table.add_row(row["system"], f"{row['score']:.3f}", *cost_texts(row))
    return table
