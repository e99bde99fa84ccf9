"""The feature recipe as people run it: a subprocess with `--smoke`, and the commands that stand beside it."""

import html.parser
import json

import here
import pytest

from tfxfer import predict, train
from tfxfer.cli import main
from tfxfer.errors import UserError
from tfxfer.evaluate import __main__ as evaluate
from tfxfer.records import Comparison

pytestmark = pytest.mark.tensorflow
TINY = ["--labels-per-class", "2", "--controls-at", "2", "--seeds", "1", "--epochs", "1", "--learning-rates", "1e-3"]


@pytest.fixture(scope="module")
def run(data_dir, tmp_path_factory):
    """The default experiment, shrunk; (folder, what was printed)."""
    folder = tmp_path_factory.mktemp("runs") / "default"
    done = here.process("--smoke", "--run-dir", folder, data_dir=data_dir)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_the_default_run_leaves_everything_it_promises(run):
    folder, printed = run
    names = {path.name for path in folder.iterdir()}
    assert {"config.yaml", "metrics.jsonl", "model.keras", "report.html", "log.txt", "comparison.json"} <= names
    assert {"model.json", "panels.json"} <= names
    assert str(folder / "report.html") in printed.replace("\n", "")
    comparison = Comparison.load(folder)
    assert comparison.arms == ["transfer", "random", "native", "majority", "scratch", "finetune"]
    controls = {record.budget for record in comparison.records if record.arm in ("scratch", "finetune")}
    assert controls == {5} and comparison.budgets == [2, 5]  # of the budgets, the one nearest to 20
    assert not [record.error for record in comparison.records if record.status == "failed"]
    assert any(verdict["role"] == "primary" for verdict in comparison.verdicts)
    for row in (folder / "metrics.jsonl").read_text().splitlines():
        assert json.loads(row)["phase"]


def test_the_report_asks_nothing_of_the_network(run):
    asked = []

    class Reader(html.parser.HTMLParser):
        def handle_starttag(self, tag, attributes):
            asked.extend(v for k, v in attributes if k in ("src", "href") and v and v.startswith(("http", "//")))

    Reader().feed((run[0] / "report.html").read_text(encoding="utf-8"))
    assert not asked


def test_the_saved_model_answers_raw_text(run, capsys):
    assert main(predict.work, [str(run[0]), "--json", "--text", "Österreich", "", "日本" * 50000]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["input"] for row in rows][:2] == ["Österreich", ""]
    for row in rows:
        assert set(row) == {"input", "top"} and len(row["top"]) == 3 and 0 < row["top"][0][1] <= 1


def test_the_saved_model_is_the_transfer_arm(run):
    """It gives the test split the probabilities that the records hold."""
    import numpy as np
    import tensorflow as tf

    from tfxfer.models import load_model
    from tfxfer.transfer.feature.stream import compiled

    comparison = Comparison.load(run[0])
    model = load_model(run[0] / "model.keras")
    shown = [e for e in comparison.examples if "text" in e]
    given = np.asarray(model(np.array([e["text"] for e in shown], object)))
    kept = comparison.select("transfer", 5)[0].probabilities[[e["index"] for e in shown]]
    # `extract` folds BatchNorm into the convolutions; the same rounding has to be compared
    model.trainable = False
    off = np.abs(np.asarray(compiled(model)(tf.constant([e["text"] for e in shown]))) - kept)
    # How a sum is split between threads changes the last digits of some rows, and W, fitted on few labels, is large
    assert np.median(off) < 1e-5 and off.max() < 1e-3
    np.testing.assert_array_equal(given.argmax(-1), kept.argmax(-1))


def test_the_saved_run_is_scored_on_new_data(run, tmp_path, capsys):
    names = Comparison.load(run[0]).class_names
    file = tmp_path / "new.csv"
    rows = [f"phrase {i},{names[i % 2]},test" for i in range(10)] + [
        f"other {i},{names[i % 2]},train" for i in range(4)
    ]
    file.write_text("\n".join(["text,label,split", *rows, f"a,{names[0]},validation"]) + "\n", encoding="utf-8")
    assert main(evaluate.work, [str(run[0]), "--data", f"csv:{file}", "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["examples"] == 15 and 0 <= scores["accuracy"] <= 1  # whatever splits they name
    file.write_text("text,label\n" + "".join(f"x{i},{n}\n" for i in range(20) for n in ("Klingon", names[0])), "utf-8")
    assert main(evaluate.work, [str(run[0]), "--data", f"csv:{file}"]) == 2
    assert "'Klingon' is none of the classes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["{run}"], "give either --text"),
        (["{run}", "--image", "a.png"], "this model takes text"),
        (["{run}x", "--text", "a"], "there is no such folder"),
        (["{data}", "--text", "a"], "not a finished run"),
        (["{run}", "--text", "a", "--top", "0"], "--top 0"),
    ],
)
def test_requests_that_a_saved_run_cannot_answer_are_named(run, samples, argv, message, capsys):
    words = [word.format(run=run[0], data=samples) for word in argv]
    assert main(predict.work, words) == 2
    assert message in capsys.readouterr().err


def test_a_run_is_replayed_from_its_config_and_says_the_same(run, data_dir, tmp_path):
    again = tmp_path / "again"
    done = here.command("--config", run[0] / "config.yaml", "--run-dir", again, data_dir=data_dir)
    assert done.returncode == 0, done.stderr
    assert "is taken from the cache" in done.stdout
    first, second = Comparison.load(run[0]), Comparison.load(again)
    for a, b in zip(first.records, second.records, strict=True):
        assert a.key == b.key
        assert abs(a.metrics["accuracy"] - b.metrics["accuracy"]) < 0.02, a.key


def test_an_earlier_run_is_never_written_over(run, data_dir, capsys):
    assert main(train.work, ["--smoke", "--run-dir", str(run[0]), "--data-dir", str(data_dir)]) == 2
    assert "holds an earlier run, which is kept" in " ".join(capsys.readouterr().err.split())
    assert (run[0] / "report.html").exists()


FEW = ["--arms", "transfer", "random", "native"]
CROSSINGS = {
    "images to text by render": ["--target", "csv:{samples}/reviews.csv", *FEW],
    "images to text by tokens": ["--target", "csv:{samples}/reviews.csv", "--bridge", "tokens"],
    "text to images by tokens": [
        *(
            "--source",
            "names",
            "--source-max-examples",
            "512",
            "--target",
            "folder:{samples}/shapes",
            "--patch-size",
            "8",
            *FEW,
        ),
    ],
    "images to images, in windows": [
        *("--target", "folder:{samples}/shapes", "--pooling", "windows", "--windows", "4", *FEW, "finetune"),
    ],
    "images to images, with the article's head": ["--target", "folder:{samples}/shapes", "--head", "mlp", *FEW],
}


@pytest.mark.parametrize("crossing", CROSSINGS)
def test_every_crossing_runs(crossing, data_dir, samples, tmp_path):
    words = [word.format(samples=samples) for word in CROSSINGS[crossing]]
    smoke = ["--source-epochs", "1", "--source-max-examples", "512", *TINY]
    words += smoke if "--source" not in words else [*smoke[:2], *TINY]
    done = here.command(*words, "--run-dir", tmp_path / "run", data_dir=data_dir)
    assert done.returncode == 0, done.stderr + done.stdout
    comparison = Comparison.load(tmp_path / "run")
    assert {r.arm: r.error for r in comparison.records if r.status == "failed"} == {}
    assert (tmp_path / "run" / "model.keras").exists()


def test_a_budget_beyond_the_data_is_named(data_dir, samples, tmp_path, capsys):
    words = ["--target", f"csv:{samples}/reviews.csv", "--labels-per-class", "5000", "--source-epochs", "1"]
    words += ["--source-max-examples", "512", "--run-dir", str(tmp_path / "run"), "--data-dir", str(data_dir)]
    assert main(train.work, words) == 2
    assert "5000 training labels a class" in " ".join(capsys.readouterr().err.split())


def test_the_report_says_what_the_recipe_says_of_itself(run):
    from tfxfer.recipes import RECIPES

    recipe, about = RECIPES["feature"], Comparison.load(run[0]).about
    assert (about["equation"], about["explanation"]) == (recipe.equation, recipe.explanation)
    assert about["arms"] == dict(recipe.arms) and about["smoke"] is True
    page = (run[0] / "report.html").read_text(encoding="utf-8")
    assert "f(x) = W · φ(x) + b" in page and "python -m tfxfer.train feature --config" in page


def test_smoke_does_not_replace_what_is_given(data_dir, tmp_path):
    words = ["--smoke", "--source", "fresh:cnn", "--target", "languages/latin", "--labels-per-class", "3"]
    words += ["--seeds", "1", "--max-test", "7", "--arms", "transfer", "majority", "--run-dir", tmp_path / "run"]
    done = here.command(*words, data_dir=data_dir)
    assert done.returncode == 0, done.stderr
    comparison = Comparison.load(tmp_path / "run")
    assert (comparison.budgets, len(comparison.labels)) == ([3], 7)
    assert {record.seed for record in comparison.records} == {0}


def test_old_option_names_are_accepted_with_a_note(data_dir, samples, tmp_path):
    words = ["--source", "fresh:cnn", "--target", f"csv:{samples}/reviews.csv", "--labels-per-class", "2"]
    words += ["--seeds", "1", "--epochs", "0", "--updates", "3", "--trained-at", "2", "--learning-rates", "1e-3"]
    words += ["--arms", "transfer", "scratch", "--run-dir", tmp_path / "run"]
    done = here.command(*words, data_dir=data_dir)
    assert done.returncode == 0, done.stderr
    assert sorted(line for line in done.stderr.splitlines() if line) == [
        "note: --trained-at is now called --controls-at",
        "note: --updates is now called --steps",
    ]
    (scratch,) = Comparison.load(tmp_path / "run").select("scratch", 2)
    assert scratch.settings["steps"] == 3


def test_several_trained_sources_and_more_seeds_for_what_costs_little(data_dir, tmp_path):
    arms = ["--arms", "transfer", "random", "native", "scratch"]
    counts = ["--source-seeds", "2", "--probe-seeds", "3", "--seeds", "2"]
    done = here.command("--smoke", *arms, *counts, "--labels-per-class", "2", "--run-dir", tmp_path, data_dir=data_dir)
    assert done.returncode == 0, done.stderr
    comparison = Comparison.load(tmp_path)
    seeds = {arm: [record.seed for record in comparison.select(arm, 2)] for arm in comparison.arms}
    assert seeds == {"transfer": [0, 1, 2], "random": [0, 1, 2], "native": [0, 1, 2], "scratch": [0, 1]}
    assert comparison.source_seeds == 2 and "3 seeds over 2 trained sources" in " ".join(done.stdout.split())
    assert done.stdout.count("source: training") + done.stdout.count("is taken from the cache") == 2
    first, second = (comparison.select("transfer", 2)[i].probabilities for i in (0, 1))
    assert not (first == second).all()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--pooling", "windows", "--windows", "57"], "windows=57: the map [B, 8, 56, 128] has 56 columns; ask for at"),
        (["--pooling", "columns", "--layer", "norm_pool"], "cannot pool [B, 128] by 'columns'; cut at a layer of maps"),
    ],
)
def test_what_cannot_be_pooled_is_refused_before_the_source_is_trained(words, message, data_dir, tmp_path, capsys):
    words += ["--run-dir", str(tmp_path / "run"), "--data-dir", str(data_dir)]
    assert main(train.work, words) == 2
    printed = capsys.readouterr()
    assert message in " ".join(printed.err.split()) and "source:" not in printed.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"windows": 8}, "--windows 8: only --pooling windows has windows"),
        ({"bridge": "read", "source": "names", "pooling": "windows"}, "--pooling windows: --bridge read reads"),
        ({"source_seeds": 3, "seeds": 2}, "--source-seeds 3: each source needs a run of its own; add --seeds 3"),
        ({"source_seeds": 2, "source": "fresh:cnn"}, "--source fresh:cnn is not trained here, so no seed changes it"),
        ({"seed": 2**32 - 5}, "the last of 10 seeds must be at most"),
        ({"arms": ("transfer", "with_ngrams")}, "--arms with_ngrams: --bridge auto has no such arm; leave it out"),
        (
            {"arms": ("transfer", "scratch"), "bridge": "read", "source": "names"},
            "--arms scratch: --bridge read has no",
        ),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(UserError, match=message):
        here.check("feature", **options)
