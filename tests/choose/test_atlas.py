"""The atlas: its table, predictions from it, coverage and regret against brute force, and its page."""

from dataclasses import fields, replace

import numpy as np
import pytest

from benchmarks import atlas_pages
from tfxfer.choose import atlas, track_record
from tfxfer.choose.atlas import PAIRS, Pilot, Predictor, predict, quantile
from tfxfer.choose.atlas_table import METHODS, Cell, load, save
from tfxfer.choose.track_record import coverage, regrets, situations
from tfxfer.errors import UserError

PROBE = ("render", "probe")


def cell(target="a", labels=5, pair=PROBE, source="s", accuracy=0.5, random=0.4, native=0.6, validation=None, **other):
    """A cell whose gains follow from its accuracies; by default it validates as it tests."""
    values = {item.name: 0 for item in fields(Cell)} | dict.fromkeys(("gives", "takes", "training"), "text")
    values |= {"letters": False, "knn_probe": None, "source": source, "target": target, "labels": labels}
    values |= {"bridge": pair[0], "method": pair[1], "accuracy": accuracy, "random": random, "native": native}
    values |= {"validation": accuracy if validation is None else validation}
    values |= {"validation_random": random, "validation_native": native}
    values |= {"over_random": accuracy - random, "over_native": accuracy - native}
    return Cell(**values | other)


def table(seed=0, targets="abcdefgh", noise=0.02):
    """Cells whose gain is that of their pilot, an offset of the pair, and noise."""
    rng, found = np.random.default_rng(seed), []
    for target in targets:
        for pair in (PROBE, ("read", "ngrams"), ("none", "probe")):
            base = rng.uniform(0.3, 0.5)
            for labels in (5, 20):
                accuracy = base + 0.05 * (labels == 20) + 0.1 * (pair[0] == "read") + rng.normal(0, noise)
                found.append(cell(target, labels, pair, accuracy=accuracy, random=0.35, native=0.45, letters=True))
    return found


# === Prediction ===


def test_the_line_is_least_squares_with_a_penalty_on_offsets():
    cells, k = table(), 3 + len(PAIRS)
    rows = [(one, a.pilot) for one in cells for a in cells if a.run == one.run and a.labels <= one.labels]
    X, y = np.zeros((len(rows), k)), np.array([one.over_native for one, _ in rows])
    for n, (one, pilot) in enumerate(rows):
        X[n, :3] = 1, pilot.transfer - pilot.native, np.log2(one.labels / pilot.labels)
        X[n, 3 + PAIRS.index((one.bridge, one.method))] = 1
    D = np.diag([0.0] * 3 + [atlas.PENALTY] * len(PAIRS))
    weights = np.linalg.pinv(X.T @ X + D) @ X.T @ y
    asked = np.zeros(k)
    asked[[0, 1, 2, 3 + PAIRS.index(PROBE)]] = 1, 0.5 - 0.45, 1, 1
    found = Predictor(cells).predict(*PROBE, labels=10, pilot=Pilot(5, 0.5, 0.35, 0.45))
    assert found.over_native.mean == pytest.approx(asked @ weights) and found.cells == 16


def test_a_prediction_does_not_depend_on_order_nor_on_names():
    cells = table()
    renamed = [replace(one, target=f"target {one.target}", source="another") for one in cells]
    asked = {"bridge": "read", "method": "ngrams", "labels": 20, "pilot": Pilot(5, 0.6, 0.35, 0.45)}
    first = Predictor(cells).predict(**asked)
    for others in (cells[::-1], renamed):
        again = Predictor(others).predict(**asked)
        assert again.over_native.mean == pytest.approx(first.over_native.mean)
        assert again.over_random.high == pytest.approx(first.over_random.high)


def test_a_better_pilot_never_predicts_less_and_the_interval_holds_its_mean():
    found = [predict(*PROBE, labels=20, pilot=Pilot(5, share, 0.3, 0.5)) for share in np.linspace(0, 1, 11)]
    for gain in atlas.GAINS:
        ends = [getattr(one, gain) for one in found]
        assert all(-1 <= one.low <= one.mean <= one.high <= 1 for one in ends)
        assert (np.diff([one.mean for one in ends]) >= 0).all()
    wide = predict(*PROBE, labels=20).over_native
    assert wide.high - wide.low > ends[5].high - ends[5].low


def test_every_pair_can_be_predicted_without_a_cell_of_it():
    for bridge, methods in METHODS.items():
        for method in methods:
            assert predict(bridge, method, labels=5).cells >= 0
    assert Predictor(table()).predict("tokens", "structure", labels=5).cells == 0


def test_the_interval_of_conformal_errors():
    errors = np.random.default_rng(0).permutation(np.arange(1, 100) / 100)
    assert quantile(errors) == 0.9 and quantile(errors[:3]) == errors[:3].max()
    with pytest.raises(UserError, match="no errors"):
        quantile(np.zeros(0))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"bridge": "rendr"}, "no bridge 'rendr'; did you mean 'render'"),
        ({"method": "ngrams"}, "bridge render has no method 'ngrams'"),
        ({"labels": 0}, "at least 1"),
        ({"pilot": Pilot(5, 1.2, 0.3, 0.3)}, "accuracy of transfer is 1.2"),
        ({"pilot": Pilot(5, 0.3, 0.3, float("nan"))}, "accuracy of native is nan"),
        ({"pilot": Pilot(50, 0.3, 0.3, 0.3)}, "at most the 20 asked about"),
    ],
)
def test_a_wrong_question_is_refused(asked, message):
    with pytest.raises(UserError, match=message):
        predict(**{"bridge": "render", "method": "probe", "labels": 20} | asked)


def test_two_targets_make_no_prediction():
    with pytest.raises(UserError, match="2 targets"):
        Predictor(table(targets="ab"))


# === Its record ===


def test_coverage_and_regret_equal_brute_force():
    cells = table(noise=0.05)
    held, lost = (
        [],
        {name: [] for name in ("prediction", "always native", "static rule", "best pilot", "random choice")},
    )
    for target in "abcdefgh":
        line = Predictor([one for one in cells if one.target != target])
        for labels in (5, 20):
            here = [one for one in cells if (one.target, one.labels) == (target, labels)]
            pilots = [next(a.pilot for a in cells if a.run == one.run and a.labels == 5) for one in here]
            gains = [
                line.predict(one.bridge, one.method, labels=labels, pilot=pilot).over_native
                for one, pilot in zip(here, pilots)
            ]
            held += [gain.low <= one.over_native <= gain.high for gain, one in zip(gains, here)]
            shares, native = [one.accuracy for one in here], 0.45
            best = max([*shares, native])
            means = [gain.mean for gain in gains]
            lost["prediction"].append(best - (shares[np.argmax(means)] if max(means) > 0 else native))
            lost["always native"].append(best - native)
            lost["static rule"].append(best - shares[1])
            tried = [pilot.transfer for pilot in pilots]
            lost["best pilot"].append(best - (shares[np.argmax(tried)] if max(tried) > native else native))
            lost["random choice"].append(best - np.mean([*shares, native]))
    found = situations(cells)
    assert coverage(found)["over_native"] == pytest.approx(np.mean(held))
    for name, values in lost.items():
        assert regrets(found)[name] == pytest.approx(values), name


def test_a_score_chooses_by_its_own_figure():
    high, low = (dict.fromkeys(track_record.SCORES, value) for value in (2.0, 1.0))
    cells = [cell(t, source=s, accuracy=a, **v) for t in "abcd" for s, a, v in (("x", 0.3, high), ("y", 0.5, low))]
    found = regrets(situations(cells))
    name = next(name for name in found if name.startswith("best single score"))
    assert found[name] == pytest.approx([0.3] * 4)  # native has .6


def test_a_cell_says_nothing_of_its_own_target():
    cells = table()
    changed = [replace(one, over_native=0.9) if one.target == "a" else one for one in cells]
    one, other = (next(s for s in situations(c) if s.target == "a") for c in (cells, changed))
    assert [p.over_native.mean for p in one.predictions] == pytest.approx(
        [p.over_native.mean for p in other.predictions]
    )


# === The table and the page ===


def test_the_table_holds_what_it_has_to():
    cells = load()
    assert len(cells) >= 60 and len({one.target for one in cells}) >= 8
    assert {one.bridge for one in cells} == set(METHODS)
    assert len({(*one.run, one.labels) for one in cells}) == len(cells)
    for one in cells:
        for gain, other in (("over_random", one.random), ("over_native", one.native)):
            value, low, high = (getattr(one, gain + end) for end in ("", "_low", "_high"))
            assert low <= value <= high and value == pytest.approx(one.accuracy - other, abs=3e-4)
        assert one.method == "ngrams" or one.bridge not in ("render", "none") or one.seconds > 0
    words = [atlas_pages.verdict(one, "over_random") for one in cells if one.source == "untrained CNN"]
    assert words and words.count("no evidence") >= 0.8 * len(words)


def test_intervals_hold_as_many_outcomes_as_they_say():
    for share in coverage(situations(load())).values():
        assert 0.8 <= share <= 0.97


def test_the_page_and_its_pictures_are_what_the_command_prints():
    cells = load()
    made, pages = atlas_pages.blocks(cells), [page.read_text(encoding="utf-8") for page in atlas_pages.PAGES]
    assert pages == [atlas_pages.filled(page, made) for page in pages]
    assert all(text in "".join(pages) for text in made.values())
    for gain in atlas.GAINS:
        picture = atlas_pages.heat_map(cells, gain)
        assert (atlas_pages.DOCS / atlas_pages.figure_name(gain)).read_text(encoding="utf-8") == picture


def test_a_table_is_read_as_it_was_written(tmp_path):
    save(load(), tmp_path / "again.csv")
    assert load(tmp_path / "again.csv") == load()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("labels", "label"), "is no table of the atlas; its first row lacks labels"),
        (lambda text: "", "lacks source"),
        (lambda text: text.replace(",render,", ",rendr,", 1), "row 2: there is no bridge 'rendr'"),
        (lambda text: text.replace("0.5000", "1.5", 1), "row 2: accuracy is 1.5; an accuracy is within 0 and 1"),
        (lambda text: text.replace("0.5000", "nan", 1), "row 2: accuracy is 'nan', which is no number"),
        (lambda text: text.replace(",no,", ",No,", 1), "row 2: letters is 'No', which is no yes or no"),
        (lambda text: text + "a,b\n", "row 3: 2 values"),
    ],
)
def test_another_table_is_refused(tmp_path, change, message):
    file = tmp_path / "cells.csv"
    save([cell()], file)
    file.write_text(change(file.read_text()))
    with pytest.raises(UserError, match=message):
        load(file)
    with pytest.raises(UserError, match=r"missing\.csv: cannot be read"):
        load(tmp_path / "missing.csv")
