"""The results of a run on the terminal: the table of arms, failed arms, and the verdict."""

from typing import TYPE_CHECKING, Any

from tfxfer.evaluate import story, summary
from tfxfer.evaluate.comparison import POOLED, budget_words, measure_name
from tfxfer.evaluate.remarks import remarks
from tfxfer.evaluate.training_steps import by_budget, sentences_by_steps, verdicts_by_steps
from tfxfer.evaluate.verdict import signed
from tfxfer.records import Comparison
from tfxfer.report.words import budget_name
from tfxfer.terminal import console as printable_console

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

COLUMNS = 5  # budgets that fit in 80 columns; further ones go into a second table
SMOKE = "Smoke run: it only shows that the code runs; its figures mean nothing."


def terminal(comparison: Comparison, console: "Console | None" = None) -> None:
    """Print each measure with its interval for each arm and budget, failed arms, the verdict and its cautions.

    After a smoke run (`comparison.about["smoke"]`) the last line states that the figures mean nothing.

    Args:
        comparison: The records.
        console: A rich console; standard output by default.
    """
    from rich.text import Text

    console = console or printable_console()
    budgets = comparison.budgets
    for measure in comparison.measures:
        rows = summary(comparison, measure=measure)
        for start in range(0, len(budgets), COLUMNS):
            console.print(_table(comparison, measure, rows, budgets[start : start + COLUMNS]))
    for row in rows:
        for error in row["errors"]:
            where = f"{row['arm']} at {budget_words([row['budget']], comparison.unit)}"
            share = f"{row['failed']} of {row['failed'] + row['seeds']} seeds"
            console.print(Text(f"* failed: {where}, {share}: {error}", style="red"))
    smoke = bool(comparison.about.get("smoke"))
    first, *others = story(comparison)
    console.print(Text(first, style="" if smoke else "bold"))
    for sentence in [*others, *remarks(comparison)]:
        console.print(Text(sentence))
    curve = verdicts_by_steps(comparison)
    if curve:
        console.print(_steps_table(curve))
        for measure in comparison.measures:
            for sentence in sentences_by_steps(comparison, measure)[:1]:
                console.print(Text(sentence))
    for sentence in comparison.about.get("cautions", ()):
        console.print(Text(f"Caution: {sentence}", style="yellow"))
    if smoke:
        console.print(Text(SMOKE, style="bold yellow"))


def _table(comparison: Comparison, measure: str, rows: list[dict[str, Any]], budgets: list[int | None]) -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    title = Text(f"{comparison.title}\n{measure_name(measure)} (95 % interval) by {comparison.unit}")
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("arm")
    for budget in budgets:
        table.add_column(budget_name(budget), justify="right", no_wrap=True)
    cells = {(row["arm"], row["budget"]): row for row in rows if row["score"] is not None or row["failed"]}
    for arm in comparison.arms:
        style = "bold" if arm == "transfer" else ""
        table.add_row(Text(arm, style=style), *(_cell(cells.get((arm, n)), style) for n in budgets))
    return table


def _steps_table(rows: list[dict[str, Any]]) -> "Table":
    """Return the table of `--checkpoints`: the difference of the trained pair, a column for each share of the steps."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    shares = list(dict.fromkeys(row["share"] for row in rows))[-COLUMNS:]
    title = f"{rows[0]['a']} − {rows[0]['b']} by share of the steps\n{measure_name(rows[0]['measure'])} (95 % interval)"
    table = Table(title=Text(title), box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("budget", *shares):
        table.add_column(name, justify="left" if name == "budget" else "right", no_wrap=True)
    for budget, group in by_budget(rows).items():
        cells = {row["share"]: row for row in group}
        name = "all" if budget == POOLED else budget_name(budget)
        table.add_row(name, *(_difference(cells.get(share)) for share in shares))
    return table


def _difference(row: dict[str, Any] | None) -> Any:
    from rich.text import Text

    if row is None:
        return Text("–", style="dim")
    first = Text(f"{signed(row['difference'])}\n", style="" if row["word"] == "no evidence" else "bold")
    return first + Text(f"{signed(row['low'])[:-1]} {signed(row['high'])[:-1]}", style="dim")


def _cell(row: dict[str, Any] | None, style: str) -> Any:
    from rich.text import Text

    if row is None:
        return Text("–", style="dim")
    if row["score"] is None:
        return Text("failed", style="red")
    mark = "*" if row["failed"] else ""
    first = Text(f"{row['score']:.3f}{mark}\n", style=style)
    return first + Text(f"{row['low']:.3f}–{row['high']:.3f}", style="dim")
