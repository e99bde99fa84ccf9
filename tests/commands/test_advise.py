"""`tfxfer advise`: rule-outs, the schedule of pilots, the ranking and its commands, JSON, bad input, interruption."""

import io
import json
import shlex
from dataclasses import dataclass, replace

import pytest

from tfxfer import __main__ as front
from tfxfer import cli, train
from tfxfer.choose import advice, candidates
from tfxfer.choose.candidates import Machine, Source, Target, by_rule
from tfxfer.choose.pilots import OutOfBudget, Rung, rungs, successive_halving
from tfxfer.commands import advice_shown, advise, train_lines
from tfxfer.config import with_options
from tfxfer.errors import TfxferError, UserError
from tfxfer.terminal import console

TEXTS = Target("csv:a.csv", "text", 3, {"train": 90, "validation": 30}, 30, 30, (9, 20), None, 1.0, 1.0)
IMAGES = replace(TEXTS, key="image", lengths=None, image_size=(8, 8), readable=None, drawable=None)
CNN = Source("glyphs/by_face", "image", "cnn", 30_000, 9)
BERT = Source("preset:bert", "text", "bert", 22_000_000, 16, reads=True)
MACHINE = Machine(2, 4000.0)


@dataclass(frozen=True)
class Pilot:
    """A pilot that was not run."""

    rung: Rung
    score: float
    control: float | None = 0.2
    seconds: float = 1.0
    setup: float = 0.0
    trains: bool = False
    memory_mib: float = 100.0
    full_seconds: float = 60.0
    scores: tuple[int, int] | None = None

    def seconds_at(self, rung):
        return self.seconds * rung.work() / self.rung.work()


class Clock:
    """Seconds that pass only when a pilot runs."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def labels(sources, target, machine=MACHINE):
    possible, ruled_out = candidates.candidates(sources, target, machine)
    return [one.label for one in possible], {one.label: one.why for one in ruled_out}


# === Rule-outs ===


def test_what_cannot_be_is_ruled_out_with_a_reason():
    possible, out = labels([CNN], TEXTS)
    assert set(possible) == {"render, frozen", "render, finetune", "tokens, frozen", "image_cnn_to_text_cnn"}
    assert set(out) == {"vision_to_encoder"} and "VIT" in out["vision_to_encoder"]
    assert "boxes" in labels([CNN], replace(TEXTS, drawable=0.1))[1]["render, frozen"]
    assert "Latin letters" in labels([BERT], replace(TEXTS, readable=0.2))[1]["read, frozen"]
    possible, out = labels([BERT], IMAGES)
    assert possible == [] and "no letters" in out["read, frozen"]
    assert "22 million" in out["encoder_to_vision"] and "GPU" in out["tokens, frozen"]
    assert "MiB are free" in labels([replace(BERT, parameters=10**10)], TEXTS)[1]["read, frozen"]
    assert labels([replace(CNN, trained=False)], TEXTS)[0] == ["render, frozen"]


def test_a_pair_of_modalities_that_nothing_bridges_is_said():
    other = replace(BERT, reads=False)
    possible, out = labels([other], TEXTS)
    assert possible == [] and all("vocabulary" in why for why in out.values())


def test_the_static_rule_reads_letters_and_leaves_the_rest_to_native():
    possible, _ = candidates.candidates([CNN, BERT], TEXTS, MACHINE)
    assert by_rule(possible, TEXTS).label == "read, frozen beside n-grams"
    assert by_rule(possible, IMAGES) is None and by_rule(possible, replace(TEXTS, readable=0.1)) is None


def test_a_line_that_is_read_is_wide_enough_for_most_texts():
    def widths(lengths):
        possible, _ = candidates.candidates([BERT, CNN], replace(TEXTS, lengths=lengths), MACHINE)
        return {one.how.bridge: one.options.get("width") for one in possible}

    assert widths((9, 20))["read"] is None and widths((41, 64)) == {"read": 960, "render": None, "tokens": None} | {
        "weights": None
    }
    assert widths((200, 900))["read"] == 1024


# === Successive halving ===


def schedule(costs, accuracies, budget, fail=None):
    """Run pilots that take `costs` seconds a unit of work; return what was run, and the outcome."""
    clock, run = Clock(), []

    def pilot(name, rung):
        seconds = costs[name] * rung.work() / rungs(80)[0].work()
        if name == fail:
            raise TfxferError("it is broken")
        clock.now += seconds
        run.append((name, rung.labels))
        return Pilot(rung, accuracies[name], seconds=seconds)

    return run, successive_halving(costs, pilot, rungs(80), budget, always="native", clock=clock), clock


COSTS = {"native": 1.0, "a": 1.0, "b": 1.0, "c": 1.0, "d": 1.0}
ACCURACIES = {"native": 0.1, "a": 0.5, "b": 0.7, "c": 0.6, "d": 0.4}


def test_the_better_half_goes_on_and_native_always():
    run, found, clock = schedule(COSTS, ACCURACIES, 1000)
    at = {n: [name for name, count in run if count == n] for n in (5, 20, 80)}
    assert at == {5: list(COSTS), 20: ["native", "b", "c"], 80: ["native", "b"]}
    assert set(found.stopped) == {"a", "c", "d"} and found.seconds == clock.now


def test_what_does_not_fit_is_not_begun_and_the_budget_holds():
    dear = COSTS | {"d": 50.0}
    run, found, clock = schedule(dear, ACCURACIES, 20)
    assert ("d", 5) not in run and "50 s" in found.stopped["d"]
    assert clock.now <= 20 and ("native", 20) in run and ("b", 80) not in run
    assert "of the budget are left" in found.stopped["b"]


def test_a_candidate_that_fails_is_left_out_and_the_others_go_on():
    run, found, _ = schedule(COSTS, ACCURACIES, 1000, fail="b")
    assert found.failed == {"b": "it is broken"} and ("c", 80) in run


def test_a_pilot_that_runs_away_is_stopped_not_failed():
    def pilot(name, rung):
        raise OutOfBudget("too long")

    found = successive_halving({"a": 1.0}, pilot, rungs(5), 10, clock=Clock())
    assert found.stopped == {"a": "too long"} and not found.failed


# === The ranking ===


def ranked(accuracies, sources=(CNN,), target=TEXTS, budget=1e6, interrupt=None, count=20):
    possible, ruled_out = candidates.candidates(sources, target, MACHINE, {"target": "csv:a.csv"})
    clock = Clock()

    def pilot(candidate, rung):
        name = candidate.label if candidate else advice.NATIVE
        if name == interrupt:
            raise KeyboardInterrupt
        clock.now += 1
        return Pilot(rung, accuracies.get(name, 0.3), None if candidate is None else 0.2)

    def command(candidate):
        asked = replace(advise.AdviseConfig(), target=replace(advise.LIKE.target, spec="csv:a.csv"))
        of = candidate or train_lines.native_candidate(possible, target)
        return train_lines.command(of, advise.general(asked), count, native=candidate is None)

    return advice.advise(
        possible, pilot, command, labels=count, budget=budget, ruled_out=ruled_out, clock=clock, native_seconds=1.0
    )


def test_native_comes_first_when_nothing_is_expected_to_beat_it():
    found = ranked({advice.NATIVE: 0.9})
    assert found.ranking[0].name == advice.NATIVE and found.answer.startswith("No transfer is expected to beat")
    assert all(one.over_native.low <= one.over_native.mean <= one.over_native.high for one in found.ranking)


def test_what_is_expected_to_beat_native_comes_first():
    found = ranked({advice.NATIVE: 0.1, "render, frozen": 0.95})
    assert found.ranking[0].method == "render, frozen" and "beat the native baseline" in found.answer
    assert "No transfer" not in found.answer and "0.95 correct" in found.ranking[0].reason


def test_random_weights_gain_nothing_over_themselves():
    found = ranked({}, sources=(replace(CNN, trained=False),))
    row = next(one for one in found.ranking if one.source)
    assert (row.over_random.low, row.over_random.high) == (0, 0) and "check" in row.reason


def test_an_interruption_gives_the_ranking_of_what_is_known():
    found = ranked({}, interrupt="render, finetune")
    assert found.interrupted and {one.tried for one in found.ranking} == {True, False}
    assert found.ranking[-1].reason.startswith("not tried")


def test_a_budget_too_small_for_one_pilot_is_refused():
    with pytest.raises(UserError, match="--budget"):
        ranked({}, budget=0.5)


def test_every_command_is_accepted_by_train(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("text,label\n" + "x,a\ny,b\n" * 20)
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text("{}")
    started = []
    monkeypatch.setattr(train, "run", lambda recipe, config: started.append(config))
    vit = replace(CNN, spec="fresh:vit", architecture="vit")
    bert = replace(BERT, spec="preset:./bert", parameters=10)
    rows = [
        row
        for target in (TEXTS, IMAGES, replace(IMAGES, readable=1.0))
        for row in ranked({}, (CNN, vit, bert), target).ranking
    ]
    assert {row.method for row in rows} >= {one.label for one in map(named, candidates.METHODS)}
    for command in {row.command for row in rows}:
        words = shlex.split(command)
        assert (
            words[:2] == ["tfxfer", "train"] and shlex.split(train_lines.broken(command).replace("\\\n", "")) == words
        )
        train.work(words[2:])
    assert all(config.labels_per_class == (20,) for config in started)


def named(how):
    return candidates.Candidate(CNN, how)


# === The command ===


@pytest.fixture
def printed(monkeypatch, capsys):
    """Run the command with what was ranked in place of the pilots; return exit code, output and errors."""
    looked = advice_shown.Looked(TEXTS, (CNN, replace(BERT, parameters=None)), MACHINE)

    def run(*words, found=None, pairs=()):
        found = found or ranked({advice.NATIVE: 0.6, "render, frozen": 0.4})
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.setattr(advise, "_advised", lambda asked, out, started: (looked, found, pairs))
        code = cli.main(front.work, ["advise", *words])
        return code, *capsys.readouterr()

    return run


def test_the_terminal_has_80_columns_and_says_how_often_it_was_right(printed):
    code, out, _ = printed()
    assert code == 0 and max(map(len, out.splitlines())) <= 80
    flat = " ".join(out.split())
    for part in ("Ruled out", "native baseline", "over random", "intervals held", "tfxfer train feature", "1. "):
        assert part in flat


def test_the_json_has_everything(printed):
    code, out, _ = printed("--json")
    found = json.loads(out)
    assert code == 0 and found["target"]["classes"] == 3 and len(found["sources"]) == 2
    assert {"over_random", "over_native", "command", "reason", "seconds"} <= set(found["ranking"][0])


def test_after_an_interruption_the_ranking_is_shown_and_the_code_is_130(printed):
    code, out, errors = printed(found=ranked({}, interrupt="render, finetune"))
    assert code == 130 and "native baseline" in out and "goes on from here" in errors


@pytest.mark.tensorflow
def test_pairs_are_shown_as_measured_and_their_commands_are_accepted(printed, monkeypatch, tmp_path):
    """What the pilots of pairs measure comes from records that were made up; one of them fails."""
    import numpy as np

    from tfxfer.recipes import pair_pilots
    from tfxfer.records import Comparison, Record

    def piloted(self, how, left):
        if how.label == "captioning, network":
            raise TfxferError("it is broken")
        rng = np.random.default_rng(0)
        measure = {"retrieval": "recall_at_1", "captioning": "cider_d"}[how.recipe]
        records = [
            Record(arm, 100, seed, metrics={}, scores={measure: rng.random(40) + (arm == how.arm)})
            for arm in (how.arm, how.control, how.native)
            for seed in range(3)
        ]
        return Comparison("", (), np.zeros(40, int), tuple(records), measures=(measure,), unit="pairs")

    monkeypatch.setattr(pair_pilots.Plans, "piloted", piloted)
    asked = with_options(advise.AdviseConfig(), pairs="glyphs/by_character")
    dataset = type("Pairs", (), {"captions": lambda self, split: [["a"], ["b"]]})()
    out = console(file=io.StringIO())
    rows = advise.tried_pairs(asked, dataset, tmp_path, lambda: 1e6, out)
    assert [row.score is None for row in rows] == [False, False, False, True]
    assert 0.8 < rows[0].over_random.low < rows[0].over_random.mean < rows[0].over_random.high < 1.2
    started = []
    monkeypatch.setattr(train, "run", lambda recipe, config: started.append(recipe.name))
    for row in rows:
        train.work(shlex.split(row.command)[2:])
    assert started == ["retrieval", "retrieval", "captioning", "captioning"]
    assert advise.tried_pairs(asked, dataset, tmp_path, lambda: 0.0, out)[0].reason.startswith("not tried")
    text = " ".join(printed(pairs=rows)[1].split())
    assert "as measured on validation" in text and "it is broken" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--budget", "soon"], "write a time such as 90s"),
        (["--budget", "10s"], "--budget 30s or more"),
        (["--budget", "-5m"], "write a time"),
        (["--target", "csv:none.csv"], "none.csv"),
        (["--source", "file:none.keras"], "none.keras"),
        (["--pairs", "captions:none.csv"], "none.csv"),
        (["--labels-per-class", "1"], "must be 2 or more"),
        (["--sorce", "names"], "did you mean"),
    ],
)
def test_bad_input_is_refused_before_anything_starts(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "start_tensorflow", lambda: pytest.fail("TensorFlow was started"))
    assert cli.main(front.work, ["advise", *words]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("text", ["5m", "300", "300s", "0.0833333333333h", "4m60s"])
def test_a_budget_is_written_in_several_ways(text):
    assert advise.seconds_of(text) == pytest.approx(300)


# === On data ===


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Write a table of texts with splits; return the function that writes it and gives its spec."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFXFER_DATA", str(tmp_path / "prepared"))

    def write(rows, columns="text,label,split"):
        (tmp_path / "t.csv").write_text("\n".join([columns, *rows]) + "\n")
        return "csv:t.csv"

    return write


def rows_of(sizes, classes=("a", "b")):
    words = {"a": "sun", "b": "rain", "c": "snow"}
    return [
        f"{words[name]} {split} {i},{name},{split}" for split, n in sizes.items() for name in classes for i in range(n)
    ]


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("rows", "columns", "words", "message"),
    [
        (rows_of({"train": 5, "validation": 4, "test": 4}), "text,other,split", [], "no labels"),
        (rows_of({"train": 5, "validation": 4, "test": 4}, ("a",)), None, [], "needs two classes"),
        (rows_of({"train": 1, "validation": 4, "test": 4}), None, [], "has 1 training examples"),
        (rows_of({"train": 5, "validation": 4, "test": 4}), None, ["--source", "fresh:text_cnn"], "takes"),
        (rows_of({"train": 5, "validation": 4, "test": 4}), None, ["--source", "fresh:bert"], "no modality is crossed"),
        (rows_of({"train": 5, "validation": 4, "test": 4}), None, ["--pairs", "csv:t.csv"], "nothing is paired"),
    ],
)
def test_unusable_data_are_refused_before_the_first_pilot(rows, columns, words, message, table, capsys, monkeypatch):
    spec = table(rows, *([columns] if columns else []))
    monkeypatch.setattr("tfxfer.recipes.pilot.Pilots.__call__", lambda *given: pytest.fail("a pilot was run"))
    code = cli.main(front.work, ["advise", "--source", "fresh:cnn", "--target", spec, *words])
    errors = " ".join(capsys.readouterr().err.split())
    assert code == 2 and message in errors, errors


@pytest.mark.tensorflow
def test_a_target_without_validation_is_refused(table):
    import numpy as np

    import tfxfer
    from tfxfer.recipes.looking import without_test

    whole = tfxfer.load(table(rows_of({"train": 5, "validation": 4, "test": 4})))
    none = replace(whole, splits=whole.splits | {"validation": whole.splits["validation"].take(np.arange(0))})
    with pytest.raises(UserError, match="no validation split"):
        without_test(none)


class Untouchable:
    """In the place of a test split: everything but its length ends the test."""

    def __len__(self):
        return 12

    def __getattr__(self, name):
        raise AssertionError(f"the test split was asked for its {name}")


@pytest.mark.tensorflow
def test_pilots_of_tiny_data_answer_and_never_touch_the_test_split(table, capsys, monkeypatch):
    import tfxfer

    tfxfer.source("fresh:cnn", num_classes=4, seed=0).save("cnn.keras")
    load = tfxfer.load

    def without_rows(*given, **options):
        whole = load(*given, **options)
        return replace(whole, splits=whole.splits | {"test": Untouchable()})

    spec = table(rows_of({"train": 6, "validation": 6, "test": 6}, ("a", "b", "c")))
    monkeypatch.setattr(tfxfer, "load", without_rows)
    monkeypatch.setattr(advice, "rungs", lambda labels: (Rung(labels, 1),))
    monkeypatch.setattr(candidates, "METHODS", candidates.METHODS[:1])  # frozen, over rendered texts
    words = ["advise", "--source", "file:cnn.keras", "--target", spec, "--leave-out", "c", "--labels-per-class", "2"]
    assert cli.main(front.work, [*words, "--json"]) == 0
    out, errors = capsys.readouterr()
    found = json.loads(out)
    assert [row["labels"] for row in found["ranking"]] == [2, 2] and "pilot: native baseline" in errors
    assert any("transferability scores" in row["reason"] for row in found["ranking"])
    assert found["target"]["classes"] == 2 and "test" not in found["target"]["sizes"]
    assert "--leave-out c" in found["ranking"][0]["command"]
