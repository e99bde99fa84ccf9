"""`report.html`: one page a stranger understands, without a request to anywhere."""

import base64
import binascii
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tfxfer.cache import atomic_file
from tfxfer.evaluate import classification, story, summary, verdicts
from tfxfer.evaluate.comparison import POOLED, budget_words, measure_name
from tfxfer.evaluate.verdict import signed
from tfxfer.records import Comparison, Record
from tfxfer.report import run, words

PICTURE_BYTES = 1_000_000  # of base64 for all example pictures together, so that a page stays below 2 MB
TEXT_LENGTH = 240
EXAMPLES = 24


def write(run_folder: str | Path) -> Path:
    """Write `report.html` into a finished run's folder and return its path.

    Reads `comparison.json` and `probabilities.npz`, and `config.yaml` and `metrics.jsonl` where they exist.

    Args:
        run_folder: The folder of a run.

    Raises:
        UserError: The folder holds no comparison.
    """
    folder = Path(run_folder)
    comparison = Comparison.load(folder)
    log, unreadable = run.training_log(folder)
    config, recipe = run.configuration(folder)
    recipe = comparison.recipe or recipe
    finished = datetime.fromtimestamp((folder / "comparison.json").stat().st_mtime)
    context = {
        **_results(comparison),
        **_errors(comparison),
        **_ledger(folder),
        **_looking(folder),
        **_answers(folder),
        **_pairs(folder),
        "training": _svg("training", log),
        "unreadable": unreadable,
        "equation": words.explanation(recipe),
        "config": config,
        "replay": run.replay(folder, recipe) if config else None,
        "versions": run.versions(),
        "date": f"{finished:%Y-%m-%d %H:%M}",
    }
    with atomic_file(folder / "report.html") as path:
        path.write_text(_template().render(context), encoding="utf-8", errors="replace")
    return folder / "report.html"


def _template() -> Any:
    loader = PackageLoader("tfxfer", "report")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        signed=signed,
        percent=lambda share: f"{share * 100:.0f}\u00a0%",
        keep=lambda text: text.replace(" %", "\u00a0%"),
        budget=words.budget_name,
        measure=measure_name,
        duration=words.duration,
    )
    css = environment.loader.get_source(environment, "report.css")[0]  # type: ignore[union-attr]
    environment.globals.update(css=Markup(css), POOLED=POOLED, budget_words=budget_words)
    return environment.get_template("report.html")


def _results(comparison: Comparison) -> dict[str, Any]:
    """Return what the page says about the arms' scores: sentences, tables and their figures."""
    rows, tests = summary(comparison), verdicts(comparison)
    for row in rows:
        records = [r for r in comparison.records if (r.arm, r.budget) == _place(row)]
        row["chosen"] = words.chosen(r.settings for r in records)
    primary = [v for v in tests if v["role"] == "primary"]
    curve = "label_efficiency" if len(comparison.budgets) > 1 else "accuracies"
    return {
        "title": comparison.title,
        "story": story(comparison),
        "word": primary[0]["word"] if primary else "no verdict",
        "plainly": _plainly(primary[0]["difference"]) if primary and comparison.class_names else None,
        "arms": [(arm, words.ARMS.get(arm, ""), _methods(comparison, arm)) for arm in comparison.arms],
        "budgets": comparison.budgets,
        "rows": rows,
        "tables": [(measure_name(measure), _cells(comparison, measure)) for measure in comparison.measures],
        "measure": measure_name(comparison.measures[0]),
        "unit": comparison.unit,
        "verdicts": tests,
        "curve": _svg(curve, comparison),
        "differences": _svg("differences", comparison, tests) if tests else None,
        "costs": [words.cost(name, value) for name, value in comparison.costs.items()],
        "test_examples": len(comparison.labels),
        "classes": len(comparison.class_names),
        "failures": [row for row in rows if row["errors"]],
    }


def _cells(comparison: Comparison, measure: str) -> dict[tuple[str, int | None], dict[str, Any]]:
    """Return the row of each arm and budget, with "best" set on the best arm of a budget."""
    rows = [row | {"best": False} for row in summary(comparison, measure=measure)]
    for budget in comparison.budgets:
        scored = [row for row in rows if row["budget"] == budget and row["score"] is not None]
        for row in scored:
            row["best"] = row["score"] == max(other["score"] for other in scored)
    return {_place(row): row for row in rows if row["score"] is not None or row["failed"]}


def _ledger(folder: Path) -> dict[str, Any]:
    """Return what the page says about a weight map, where the run has one."""
    told = run.ledger(folder)
    if told is None:
        return {"ledger": None, "ribbons": None}
    return {"ledger": told, "ribbons": _svg("ribbons", told["flows"]["flows"], told["flows"]["unread"], told["titles"])}


def _looking(folder: Path) -> dict[str, Any]:
    """Return what the page says about whether the model looks, where the run has asked."""
    told = run.looking(folder)
    if told is None:
        return {"looking": None, "word_looks": None, "matrix": None}
    return {
        "looking": told["measures"],
        "word_looks": _svg("word_looks", told["words"]),
        "matrix": _svg("matrix", told["matrix"]),
    }


def _pairs(folder: Path) -> dict[str, Any]:
    """Return what the page says about pictures and texts that find one another, where the run is about that."""
    told = run.pairs(folder)
    if told is None:
        return {"pairs": None, "heat": None, "gallery": None}
    k = told["matrix"]
    heat = _svg("heat", k["k"], k["pictures"], k["texts"], k["right"])
    return {"pairs": told, "heat": heat, "gallery": _svg("gallery", told["gallery"])}


def _answers(folder: Path) -> dict[str, Any]:
    """Return what the page says about questions and their answers, where the run is about them."""
    told = run.answers(folder)
    return {"answers": told, "answer_cards": None if told is None else _svg("answers", told["gallery"])}


def _errors(comparison: Comparison) -> dict[str, Any]:
    """Return confusions, calibration and examples of the largest budget at which transfer succeeded."""
    budget, record = _last_success(comparison, "transfer")
    if record is None or record.probabilities is None:
        found: dict[str, Any] = dict.fromkeys(("confusion", "reliability", "shown"))
        found |= {"confusions": [], "examples": []}
        arms = [a for a in comparison.arms if any(r.answers is not None for r in comparison.select(a, budget))]
        if record is None or not arms:
            return found
        unit = budget_words([budget], comparison.unit)
        return found | {"examples": _examples(comparison, budget, arms), "shown": unit}
    from tfxfer.report.figures.models import MOST_CLASSES

    names = comparison.class_names
    counts = np.sum(
        [
            classification(comparison.labels, r.probabilities, names)["confusion"]
            for r in comparison.select("transfer", budget)
            if r.probabilities is not None
        ],
        axis=0,
    )  # [C, C], all seeds together
    arms = [arm for arm in ("transfer", "random") if comparison.correct(arm, budget).size]
    return {
        "confusion": _svg("confusion", counts, names),
        "confusions": _top_confusions(counts, names),
        "all_classes_shown": len(names) <= MOST_CLASSES,
        "reliability": _svg("reliability", comparison, arms, budget),
        "examples": _examples(comparison, budget, arms),
        "shown": budget_words([budget], comparison.unit),
    }


def _svg(name: str, *arguments: Any) -> Markup | None:
    """Return a figure of `tfxfer.report.figures` as safe SVG: matplotlib escapes the texts in it."""
    from tfxfer.report import figures, svg

    figure = getattr(figures, name)(*arguments)
    return None if figure is None else Markup(svg.inline(figure, name, DESCRIPTIONS[name]))


DESCRIPTIONS = {
    "label_efficiency": "Line chart: accuracy of each arm against the number of labels a class. "
    "The numbers are in the table above.",
    "accuracies": "Dot chart: accuracy of each arm with its interval. The numbers are in the table above.",
    "differences": "Interval chart: accuracy of transfer minus that of each other arm at each budget. "
    "The numbers are in the table below.",
    "confusion": "Confusion matrix: how often each true class was predicted as each class. The most frequent "
    "confusions are listed in words beside it.",
    "reliability": "Reliability diagram: accuracy against confidence, for transfer and random.",
    "ribbons": "Picture of the weight map: layers of the source left, of the target right, ribbons for what is "
    "carried. The numbers are in the table below.",
    "word_looks": "Pictures with the caption's words; under each word the places of the picture it looked at.",
    "matrix": "Heat map of K: pictures down, captions across; right pairs are framed.",
    "heat": "Heat map of K: test pictures down, their texts across; right pairs are framed.",
    "gallery": "Texts, each with the test pictures it finds, best first; right ones are framed and ticked.",
    "answers": "Test pictures, each beside the places that its answer came from, with question and answers below.",
    "training": "Training curves: loss and accuracy by epoch for each phase of training.",
}


def _plainly(difference: float) -> str:
    """Say a difference in accuracy in numbers of answers."""
    count = f"{abs(difference) * 100:.0f}"
    if count == "0":
        return "less than one answer in 100 differs"
    return f"about {count} {'more' if difference > 0 else 'fewer'} right answers in every 100"


def _place(row: dict[str, Any]) -> tuple[str, int | None]:
    return row["arm"], row["budget"]


def _methods(comparison: Comparison, arm: str) -> str:
    """Return what a recipe says about an arm in `settings["method"]`, e.g. "character n-grams"."""
    found = (str(r.settings["method"]) for r in comparison.records if r.arm == arm and "method" in r.settings)
    return next(found, "")


def _last_success(comparison: Comparison, arm: str) -> tuple[int | None, Record | None]:
    for budget in reversed(comparison.budgets):
        for record in comparison.select(arm, budget):
            return budget, record
    return None, None


def _top_confusions(counts: np.ndarray, names: tuple[str, ...], top: int = 5) -> list[dict[str, Any]]:
    """Return the largest off-diagonal cells: both classes, the count and its share of the true class."""
    off = counts - np.diag(np.diag(counts))
    order = np.argsort(-off, axis=None, kind="stable")[:top]
    total = counts.sum(1)  # [C]
    rows = []
    for i, j in (divmod(int(place), len(names)) for place in order):
        if off[i, j]:
            share = {"count": int(off[i, j]), "of": int(total[i]), "share": off[i, j] / total[i]}
            rows.append({"true": names[i], "predicted": names[j], **share})
    return rows


def _examples(comparison: Comparison, budget: int | None, arms: list[str]) -> list[dict[str, Any]]:
    """Return example cards: the input, its class, and each arm's answer with the first seed."""
    records = [comparison.select(arm, budget)[0] for arm in arms]
    cards, left = [], PICTURE_BYTES
    for example in comparison.examples[:EXAMPLES]:
        index = example.get("index")
        if not isinstance(index, int) or not 0 <= index < len(comparison.labels):
            continue
        picture = _picture(example.get("png"))
        picture = picture if len(picture) <= left else ""
        left -= len(picture)
        text = " ".join(str(example.get("text") or "").split())
        cards.append(
            {
                "text": text if len(text) <= TEXT_LENGTH else text[: TEXT_LENGTH - 1] + "…",
                "picture": picture,
                "true": _true(comparison, example),
                "answers": [_answer(record, index, comparison) for record in records],
            }
        )
    return cards


def _true(comparison: Comparison, example: dict[str, Any]) -> str:
    """Return the right answer to an example: its class, or the texts that a recipe gives as "true"."""
    return str(example["true"]) if "true" in example else comparison.class_names[comparison.labels[example["index"]]]


def _answer(record: Record, index: int, comparison: Comparison) -> dict[str, Any]:
    if record.probabilities is None:
        assert record.answers is not None  # only arms that answer are asked
        return {"arm": record.arm, "name": str(record.answers[index]), "probability": None, "right": None}
    row = record.probabilities[index]  # [C]
    best = int(row.argmax())
    return {
        "arm": record.arm,
        "name": comparison.class_names[best],
        "probability": float(row[best]),
        "right": best == int(comparison.labels[index]),
    }


def _picture(given: Any) -> str:
    """Return the base64 text of a PNG, or "" when it is not one: nothing else may stand in a data URI."""
    try:
        raw = base64.b64decode(given, validate=True) if isinstance(given, str) else b""
    except binascii.Error:
        return ""
    return base64.b64encode(raw).decode("ascii") if raw.startswith(b"\x89PNG\r\n\x1a\n") else ""
