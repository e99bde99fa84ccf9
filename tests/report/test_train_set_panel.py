"""The panel of `--train-set`: a row for each train set, with its costs, and each against `all` and `head`."""

from dataclasses import replace

import fake
import numpy as np

from tfxfer.models.train_sets import parse_all
from tfxfer.recipes.panels.train_sets import train_set_panels
from tfxfer.recipes.train_sets import contrasts_of, said_of
from tfxfer.report.figures import quality_by_cost

ARMS = {"head": "transfer", "lora:4": "train_lora_4", "all": "train_all"}
TRAINED = {"transfer": 100, "train_lora_4": 2000, "train_all": 100_000}


def comparison():
    """A made-up comparison whose arms are called as those of three train sets."""
    names = dict(zip(("random", "transfer", "scratch"), ARMS.values()))
    made = fake.make(examples=200, seeds=2)
    own = [row for row in made.records if row.arm in ("random", "transfer", "scratch") and row.status == "ok"]
    costs = {"parameters": 100_000, "settings": {"learning_rate": 0.01}}
    records = [
        replace(r, arm=names[r.arm], trainable=TRAINED[names[r.arm]], optimizer_bytes=8 * 2**20, **costs) for r in own
    ]
    return replace(made, records=tuple(records))


def test_the_panel_has_each_train_set_with_its_costs_and_its_verdicts():
    found = comparison()
    (panel,) = train_set_panels(found, ARMS)
    (table,) = panel.tables
    rows = [dict(zip(table["columns"], row)) for row in table["rows"]]
    budgets = [n for n in found.budgets if found.select("train_all", n)]
    assert {row["train set"] for row in rows} == set(ARMS)
    last = next(row for row in rows if row["train set"] == "lora:4")
    assert (last["trained parameters"], last["of all"], last["learning rate"]) == (2000, "2 %", "0.01")
    assert last["optimizer state, MiB"] == 8
    assert {row["against all"] for row in rows if row["train set"] == "all"} == {None}
    assert any(text.startswith("lora:4 against all: ") for text in panel.points)
    assert any(text.startswith("lora:4 against head: ") for text in panel.points)
    points = [one for each in panel.figures[0]["arguments"]["panels"] for one in each["points"]]
    assert {one["x"] for one in points} == set(TRAINED.values()) and len(budgets) >= 1
    assert np.isfinite([one["score"] for one in points]).all()
    assert quality_by_cost(**panel.figures[0]["arguments"]) is not None
    assert train_set_panels(found, {"head": "transfer"}) == ()


def test_arms_of_train_sets_are_described_and_compared():
    names = [one.arm for one in parse_all(ARMS)[1:]]
    assert names == list(said_of(ARMS)) and "rank 4" in said_of(ARMS)["train_lora_4"]["text"]
    assert contrasts_of(ARMS) == (("train_lora_4", "train_all"),)
