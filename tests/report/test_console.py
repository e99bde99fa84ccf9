import io
import subprocess
import sys
from dataclasses import replace

import fake
from rich.console import Console

from tfxfer import evaluate, report


def printed(comparison, width=80):
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    report.terminal(comparison, console)
    return console.file.getvalue()


def test_table_failures_and_verdict_in_eighty_columns(comparison):
    text = printed(comparison)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    for row in evaluate.summary(comparison):
        assert f"{row['score']:.3f}" in text
        assert f"{row['low']:.3f}–{row['high']:.3f}" in text
    flat = " ".join(text.split())
    assert evaluate.headline(comparison) in flat
    assert f"* failed: finetune at 400 labels a class, 1 of 3 seeds: {fake.ERROR}" in flat


def test_markup_in_names_is_printed_as_it_is(comparison):
    assert "[bold]x[/red]" in printed(replace(comparison, title="[bold]x[/red]"))


def test_more_budgets_than_fit_go_into_a_second_table(comparison):
    more = tuple(replace(r, budget=n) for r in comparison.select("transfer", 5) for n in (1, 2, 3, 4, 5, 6, None))
    text = printed(replace(comparison, records=more))
    assert text.count("\n arm ") == 2
    assert " all" in text


def test_reports_and_verdicts_start_no_tensorflow():
    code = (
        "import sys, tfxfer.evaluate, tfxfer.report\n"
        "print([m for m in ('tensorflow', 'keras', 'sklearn', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_smoke_run_ends_with_a_warning(comparison):
    smoke = replace(comparison, about=comparison.about | {"smoke": True})
    assert printed(smoke).splitlines()[-1] == "Smoke run: it only shows that the code runs; its figures mean nothing."
    assert "Smoke" not in printed(comparison)


def test_the_native_baseline_is_better_and_transfer_did_not_hurt(comparison):
    flat = " ".join(printed(comparison).split())
    assert "The native baseline is better than transfer by 0.2" in flat and "hurt" not in flat
