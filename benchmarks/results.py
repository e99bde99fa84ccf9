"""The table "what helped" of README.md and README.zh-CN.md, made from kept records.

    python -m benchmarks.results                      judge the kept records again, write the table into both files
    python -m benchmarks.results --run default vqa    run these rows' commands, keep their records, then as above
    python -m benchmarks.results --keep vqa=RUN       keep the records of a run that was made with the row's command

benchmarks/records/ holds the scores of every arm, seed and test example. A change of the verdict judges them again
without running anything.
"""

import argparse
import json
import re
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from benchmarks.__main__ import HERE, machine
from tfxfer.evaluate import verdicts
from tfxfer.evaluate.arms import describe
from tfxfer.evaluate.comparison import MEASURES
from tfxfer.evaluate.verdict import signed
from tfxfer.records import Comparison, Record

KEPT = HERE / "records"
BEGIN, END = "<!-- made by python -m benchmarks.results -->", "<!-- end -->"


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        run: Name of the kept run.
        source, task: What the first two columns say, in English and Chinese.
        subject: The arm that the row is about.
        control: The arm of the third column: the same with random weights.
        baseline: The arm of the last column; None: there is none by this measure.
        measure: By which score; the run's first by default.
    """

    run: str
    source: tuple[str, str]
    task: tuple[str, str]
    subject: str = "transfer"
    control: str = "random"
    baseline: str | None = "native"
    measure: str | None = None


READ = "feature --bridge read --source languages/other --target languages/latin --width 352 --source-epochs 8"
COMMANDS = {  # name of a run -> what follows `python -m tfxfer.train`
    "default": "feature",
    "read": READ,
    "captioning": "captioning",
    "vqa": "vqa",
    "retrieval": "retrieval",
    "structure": "structure",
}
CNN = ("CNN trained on characters", "在字符上训练的 CNN")
TEXT_CNN = (
    "text CNN that learned ten other languages from pictures of text",
    "从文字图片学会另外十种语言的文本 CNN",
)
BERT = ("BERT trained on names", "在名称上训练的 BERT")
BOTH = ("CNN and BERT", "CNN 与 BERT")
SAME = ("", "")
ROWS = (
    Row("default", CNN, ("language of a phrase, drawn and averaged", "短语是什么语言：画成图像，取平均")),
    Row("read", TEXT_CNN, ("the same, drawn and read", "同上：画成图像，再读出来")),
    Row(
        "read",
        SAME,
        ("the same, beside n-grams of what is read", "同上，加上读出文字的 n-gram"),
        subject="with_ngrams",
        control="random_with_ngrams",
    ),
    Row(
        "captioning",
        CNN,
        ("name of a new character, in closed form", "新字符的名称，闭式解"),
        subject="closed_form",
        control="closed_form_random",
        baseline="neighbour",
    ),
    Row(
        "captioning",
        ("BERT trained on names, made a captioner", "在名称上训练的 BERT，改成图像描述模型"),
        ("the same", "同上"),
        baseline="neighbour",
    ),
    Row(
        "captioning",
        SAME,
        ("its likelihood, after 200 steps", "它的似然，200 步之后"),
        baseline=None,
        measure="log_likelihood",
    ),
    Row(
        "vqa",
        CNN,
        ("questions about new characters, one linear model", "关于新字符的问题，一个线性模型"),
        subject="linear",
        control="linear_random",
    ),
    Row("vqa", BOTH, ("the same, by a network", "同上，用网络")),
    Row(
        "retrieval",
        CNN,
        (
            "image–text retrieval, new characters and their names, in closed form",
            "图文检索，新字符与它们的名称，闭式解",
        ),
        subject="closed_form",
        control="closed_form_random",
        baseline="anchors",
    ),
    Row(
        "retrieval",
        BOTH,
        ("the same, by a text tower", "同上，用文本塔"),
        baseline="anchors",
    ),
    Row(
        "structure",
        ("BERT trained on names", "在名称上训练的 BERT"),
        ("diacritic of a new letter", "新字母带什么变音符号"),
    ),
)
WORDS = {  # word of a verdict -> English, Chinese
    "helped": ("**helped**", "**有帮助**"),
    "hurt": ("**hurt**", "**有害**"),
    "no evidence": ("no evidence", "没有证据"),
}
NAMES = {"accuracy": "准确率", "nats a token": "每词元的 nats"}  # of a measure, in Chinese


def keep(name, run):
    """Keep the scores of a run, its arms and how it was made."""
    comparison = Comparison.load(Path(run))
    arrays, rows = {}, []
    for record in comparison.records:
        rows.append({key: record.plain()[key] for key in ("arm", "budget", "seed", "status", "error", "trainable")})
        for measure in comparison.measures if record.status == "ok" else ():
            scores = record.scores.get(measure)
            if scores is None and record.probabilities is not None:
                scores = (record.probabilities.argmax(-1) == comparison.labels).astype(np.uint8)
            if scores is not None:
                arrays[f"{record.key}/{measure}"] = scores
    about = {
        "title": comparison.title,
        "measures": comparison.measures,
        "unit": comparison.unit,
        "recipe": comparison.recipe,
        "source_seeds": comparison.source_seeds,
        "about": {"arms": comparison.about.get("arms", {})},
        "examples": len(comparison.labels),
        "records": rows,
        "command": f"python -m tfxfer.train {COMMANDS[name]}",
        "date": str(date.today()),
        "machine": machine(),
    }
    KEPT.mkdir(exist_ok=True)
    np.savez_compressed(KEPT / f"{name}.npz", about=json.dumps(about, ensure_ascii=False), **arrays)


def kept(name):
    """Return a kept run: its comparison, and how and when it was made."""
    with np.load(KEPT / f"{name}.npz") as arrays:
        about = json.loads(str(arrays["about"]))
        records = []
        for row in about["records"]:
            own = f"{Record(**row).key}/"
            scores = {one.removeprefix(own): arrays[one].astype(float) for one in arrays if one.startswith(own)}
            records.append(Record(**row, scores=scores))
    fields = {key: about[key] for key in ("unit", "recipe", "source_seeds", "about")}
    measures = tuple(about["measures"])
    labels = np.zeros(about["examples"], np.int32)
    return Comparison(about["title"], (), labels, tuple(records), measures=measures, **fields), about


def cells(row):
    """Return the last two columns of a row, in English and in Chinese."""
    comparison, _ = kept(row.run)
    measure = row.measure or comparison.measures[0]
    against = verdicts(comparison, row.subject, row.control, measure=measure)[-1]  # the pooled one comes last
    unit = MEASURES.get(measure, measure)
    low, high = signed(against["low"]), signed(against["high"])
    figure = signed(against["difference"])
    control = (
        f"{WORDS[against['word']][0]}, {figure} {unit} ({low} to {high})",
        f"{WORDS[against['word']][1]}，{NAMES.get(unit, unit)} {figure}（{low} 到 {high}）",
    )
    if row.baseline is None:
        return control, ("–", "–")
    other = verdicts(comparison, row.subject, row.baseline, measure=measure)[-1]
    by, phrase = f"{abs(other['difference']):.3f}", describe(comparison.about, row.baseline).phrase
    baseline = {
        "helped": (f"better than {phrase} by {by}", f"比基线好 {by}"),
        "hurt": (f"{phrase} better by {by}", f"基线好 {by}"),
        "no evidence": ("no evidence of a difference", "没有证据表明有差别"),
    }[other["word"]]
    return control, baseline


def table(language):
    """Return the table in a language: 0 English, 1 Chinese."""
    heads = (
        "| source | task | against the same network with random weights | against the target field's own baseline |",
        "| 源 | 任务 | 与同样的网络、随机权重相比 | 与目标领域自己的基线相比 |",
    )
    lines = [BEGIN, heads[language], "|---|---|---|---|"]
    for row in ROWS:
        if (KEPT / f"{row.run}.npz").exists():
            columns = (row.source, row.task, *cells(row))
            lines.append(f"| {' | '.join(column[language] for column in columns)} |")
    return "\n".join([*lines, END])


def write(file, text):
    """Replace what stands between the two marks of a file."""
    before = file.read_text(encoding="utf-8")
    after = re.sub(f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: text, before, flags=re.DOTALL)
    file.write_text(after, encoding="utf-8")


def main():
    """Run and keep what is asked for, then write the table into both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", nargs="*", default=[], choices=list(COMMANDS), help="rows whose commands are run")
    parser.add_argument("--keep", nargs="*", default=[], metavar="NAME=RUN", help="runs whose records are kept")
    asked = parser.parse_args()
    for name in asked.run:
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder) / name
            words = [sys.executable, "-m", "tfxfer.train", *shlex.split(COMMANDS[name]), "--run-dir", str(run)]
            subprocess.run(words, check=True)
            keep(name, run)
    for name, equals, run in (pair.partition("=") for pair in asked.keep):
        if name not in COMMANDS or not equals:
            parser.error(f"--keep {name}{equals}{run}: give NAME=RUN, with a NAME of {', '.join(COMMANDS)}")
        keep(name, run)
    for language, name in enumerate(("README.md", "README.zh-CN.md")):
        write(HERE.parent / name, table(language))
    print(table(0))
    return 0


if __name__ == "__main__":
    sys.exit(main())
