"""What `tfxfer distill` says: sentences for the terminal and the page, and the page itself, made of panels."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfxfer.evaluate.comparison import measure_name
from tfxfer.evaluate.verdict import signed
from tfxfer.report.command_page import write_command_page
from tfxfer.report.panel import Panel
from tfxfer.run_folder import LAST_FILE

PHRASES = {
    "distilled": "the distilled student",
    "alone": "the student alone",
    "random_teacher": "the student of a random teacher",
    "teacher": "the teacher",
}
METHOD = (
    "All students have one architecture and one number of steps. Each arm's learning rate is chosen on the validation "
    "split with the first seed. Each training is validated four times and ends with its best weights. Then every model "
    "answers the test split, once.",
    "One comparison is named before: the student with its teacher against the student alone. Differences are taken "
    "example by example and seed by seed; their 95 % intervals hold both. The teacher is one model as it is.",
    "The hypothesis compares I(teacher; student) with I(student; label), between the classes that teacher and students "
    "alone answer on the validation split, in bits, less what shuffled classes seem to tell. Its interval is the "
    "bootstrap over validation examples (Xie et al. 2025, who compare representations).",
)


def sentences(found: Any) -> list[str]:
    """Return what was found, in sentences, the comparison that was named before first.

    Args:
        found: `tfxfer.recipes.distilling.Distilled`.
    """
    said = [_sentence(row) for row in found.comparison.verdicts]
    if found.kept is not None:
        measure = measure_name(found.comparison.measures[0])
        said.append(f"The student keeps {found.kept:.1%} of the teacher's {measure}.")
    if len(found.costs) == 2:
        teacher, student = found.costs
        size = _times(teacher["bytes"] / student["bytes"], "smaller", "larger")
        one, many = (_times(teacher[name] / student[name], "faster", "slower") for name in ("ms_1", "ms_32"))
        said.append(f"The student is {size} on disk, {one} with one example, and {many} with 32.")
    if found.equivalence:
        said.append(_within(found.equivalence))
    if found.hypothesis is not None:
        said.append(_hypothesis(found))
    return said


def _times(ratio: float, more: str, less: str) -> str:
    return f"{ratio:.1f} times {more}" if ratio >= 1 else f"{1 / ratio:.1f} times {less}"


def _sentence(row: Mapping[str, Any]) -> str:
    a, b = PHRASES[row["a"]], PHRASES[row["b"]]
    span = f"95 % interval {signed(row['low'])} to {signed(row['high'])}, {row['examples']:,} test examples"
    shown = f"{signed(row['difference'])} {measure_name(row['measure'])}"
    words = {"helped": f"{a} is better than {b}", "hurt": f"{a} is worse than {b}"}
    claim = words.get(row["word"], f"no evidence of a difference between {a} and {b}")
    return f"{claim[0].upper()}{claim[1:]}: {shown} ({span})."


def _within(row: Mapping[str, Any]) -> str:
    word = "not shown to be non-inferior" if row["word"] == "not shown" else row["word"]
    span = f"90 % interval of the difference {signed(row['low'])} to {signed(row['high'])}"
    return f"Within a margin of {row['margin']:g} the student is {word} to the teacher ({span})."


def _hypothesis(found: Any) -> str:
    row = found.hypothesis
    outcome = {"right": "It was right", "wrong": "It was wrong", "undecided": "So it decided nothing"}[found.agreement]
    sides = f"I(teacher; student) {row.teacher_student:.3f} bits, I(student; label) {row.student_label:.3f} bits"
    span = f"95 % interval of the difference {signed(row.low)} to {signed(row.high)}"
    said = "was undecided" if row.predicts == "undecided" else f"predicted {row.predicts}"
    return f"The complementarity hypothesis {said}: {sides}, {span}. {outcome}."


def score_cells(row: Mapping[str, Any]) -> list[str]:
    """Return the cells of an arm's row."""
    span = f"{row['low']:.3f}–{row['high']:.3f}"
    return [PHRASES[row["arm"]], f"{row['score']:.3f}", span, str(row["seeds"]), row["settings"]]


def cost_cells(row: Mapping[str, Any]) -> list[str]:
    """Return the cells of a model's costs."""
    size = f"{row['bytes'] / 1e6:.2f}"
    return [PHRASES[row["model"]], f"{row['parameters']:,}", size, f"{row['ms_1']:.1f}", f"{row['ms_32']:.1f}"]


def write_page(found: Any, folder: Path) -> Path:
    """Write the report of a distillation into its run's folder, and return its path."""
    said = found.comparison
    cautions = said.about.get("cautions", ())
    return write_command_page(
        folder / LAST_FILE, "distill", said.title, sentences(found), panels(found), METHOD, cautions
    )


def panels(found: Any) -> list[Panel]:
    """Return the sections of the page."""
    measure = measure_name(found.comparison.measures[0])
    arms, tested = found.comparison.about["arms"], len(found.comparison.labels)
    points = tuple(f"{PHRASES[name]}: {about['text']}" for name, about in arms.items() if name in found.comparison.arms)
    scores = {
        "caption": measure,
        "columns": ["", "test", "95 % interval", "seeds", "chosen by validation"],
        "rows": [score_cells(row) for row in found.rows],
    }
    first = Panel(
        "The student beside its controls", (f"{measure} on {tested:,} test examples.",), points=points, tables=(scores,)
    )
    costs = {
        "caption": "Size and time of one call, the median of five, on the machine of this run",
        "columns": ["", "parameters", "MB on disk", "ms, 1 example", "ms, 32 examples"],
        "rows": [cost_cells(row) for row in found.costs],
    }
    return [first, _differences(found, measure), Panel("What they cost", (), tables=(costs,))]


def _differences(found: Any, measure: str) -> Panel:
    rows = [row for row in found.comparison.verdicts if row["measure"] == found.comparison.measures[0]]
    words = {"helped": "better", "hurt": "worse"}
    drawn = [
        {"name": f"{row['a']} − {row['b']}", "sure": row["word"] != "no evidence",
         "outcome": words.get(row["word"], row["word"]), **{key: row[key] for key in ("difference", "low", "high")}}
        for row in rows
    ]  # fmt: skip
    figure = {
        "name": "pair_differences",
        "arguments": {"rows": drawn, "xlabel": f"difference in {measure}"},
        "description": "Interval chart of the differences between the arms. The numbers are in the table below.",
        "caption": "Right of 0: the first is better. Across 0, with a hollow marker: no evidence.",
    }
    table = {
        "caption": "Table of these differences",
        "columns": ["first − second", "difference", "95 % interval", "verdict"],
        "rows": [
            [row["name"], signed(row["difference"]), f"{signed(row['low'])} to {signed(row['high'])}", row["outcome"]]
            for row in drawn
        ],
    }
    return Panel("Differences", figures=(figure,), tables=(table,))
