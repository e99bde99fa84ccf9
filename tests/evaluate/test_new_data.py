"""`tfxfer evaluate RUN --data SPEC`: all rows of new data, but for those that the run was trained on."""

import csv
import json

import here
import pytest

from tfxfer.cli import main
from tfxfer.data.overlap import digests_of
from tfxfer.evaluate import __main__ as evaluate
from tfxfer.evaluate.trained_rows import TrainedRows

pytestmark = pytest.mark.tensorflow
NAMES = ("good", "bad")
TINY = ["--smoke", "--seeds", "1", "--labels-per-class", "4", "--arms", "transfer", "majority", "--max-validation", "6"]


def write(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label", "split")[: len(rows[0])], *rows])
    return path


@pytest.fixture(scope="module")
def run(data_dir, tmp_path_factory):
    """(folder, table, what was printed) of a run whose test split has half of its texts from train."""
    folder = tmp_path_factory.mktemp("new")
    rows = [(f"text {i}", NAMES[i % 2], "train") for i in range(40)]
    rows += [(f"held {i}", NAMES[i % 2], "validation") for i in range(10)]
    rows += [(f"text {i}" if i < 10 else f"new {i}", NAMES[i % 2], "test") for i in range(20)]
    table = write(folder / "target.csv", rows)
    words = ["feature", *TINY, "--target", f"csv:{table}", "--allow-overlap", "--run-dir", folder / "run"]
    done = here.command(*words, data_dir=data_dir)
    assert done.returncode == 0, done.stderr
    return folder / "run", table, done.stdout


@pytest.fixture
def score(run, capsys):
    """Evaluate the run on a table; (its figures, the text that shows them), or an error's (code, message)."""

    def work(path, *words):
        argv = [str(run[0]), "--data", f"csv:{path}", "--json", *words]
        code = main(evaluate.work, argv)
        printed = capsys.readouterr()
        if code:
            return code, " ".join(printed.err.split())
        figures = json.loads(printed.out)
        evaluate.show(figures, evaluate.parser().parse_args(argv))
        return figures, " ".join(capsys.readouterr().out.split())

    return work


def test_an_overlap_that_is_allowed_stands_beside_the_verdict(run):
    folder, _, printed = run
    caution = "10 of 20 test examples (50.0 %) are also in train or validation"
    assert " ".join(printed.split()).count(caution) == 2  # when the data are loaded, and below the verdict
    page = (folder / "report.html").read_text("utf-8").replace("\N{NO-BREAK SPACE}", " ")
    assert caution in page.split('aria-label="Verdict"')[1].split("</section>")[0]


def test_rows_that_the_run_was_trained_on_are_left_out_unless_asked_for(run, score):
    figures, told = score(run[1])
    rows = figures["rows"]
    assert rows["read"] == 70 and rows["validated_on"] == 6
    assert rows["trained_on"] >= 8 and rows["left_out"] == rows["trained_on"] + 6  # 4 of each class, and copies in test
    assert figures["examples"] == 70 - rows["left_out"]
    assert f"{rows['left_out']} of 70 rows are left out" in told and "--include-training-rows" in told
    figures, told = score(run[1], "--split", "validation", "--include-training-rows")
    assert figures["examples"] == 10 and "6 of 10 rows are scored although the run has seen them" in told


def test_all_rows_of_new_data_are_scored_though_nothing_could_be_trained_on_them(score, tmp_path):
    path = write(tmp_path / "new.csv", [("quite new", "bad"), ("this too", "bad"), ("a third", "bad")])
    figures, told = score(path)
    assert figures["examples"] == 3 and "None of the 3 rows" in told and "95 % interval" in told
    low, high = figures["intervals"]["accuracy"]
    assert low <= figures["accuracy"] <= high and low < high and f"{low:.3f}–{high:.3f}" in told
    assert figures["per_class"][0]["intervals"].keys() == {"precision", "recall", "f1"}
    code, message = score(path, "--split", "train")
    assert code == 2 and "names no rows of the split 'train'" in message


def test_a_run_without_the_digests_of_its_rows_says_so(run, score):
    kept = run[0] / "trained_on.npz"
    content = kept.read_bytes()
    kept.unlink()
    try:
        figures, told = score(run[1])
        assert figures["examples"] == 70 and figures["rows"]["trained_on"] is None
        assert "does not say which rows the model was trained on" in told
        kept.write_bytes(content[:-9])
        assert "trained_on.npz: is damaged" in score(run[1])[1]
    finally:
        kept.write_bytes(content)


def test_data_of_which_the_run_has_seen_every_row(run, score, tmp_path):
    rows = [row[:2] for row in csv.reader(run[1].open(encoding="utf-8"))][1:]
    validated = TrainedRows.load(run[0]).find(digests_of(text for text, _ in rows))[1]
    path = write(tmp_path / "seen.csv", [row for row, seen in zip(rows, validated, strict=True) if seen])
    code, message = score(path)
    assert code == 2 and "trained or validated on each of its 6 rows" in message
