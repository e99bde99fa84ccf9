"""The dictionary recipe as people run it: shrunk, through the command, with its report and its model."""

import json

import here
import numpy as np
import pytest

import tfxfer
from tfxfer import predict
from tfxfer.arms.dictionary import DictionaryArms, random_vectors
from tfxfer.cli import main
from tfxfer.config import TargetConfig
from tfxfer.data.spec import credit
from tfxfer.errors import UserError
from tfxfer.recipes.dictionary import ARMS, DictionaryConfig
from tfxfer.records import Comparison
from tfxfer.report.panel import read_panels
from tfxfer.runs import Run
from tfxfer.tasks.named_images import NamedImages
from tfxfer.transfer.knowledge import Dictionary

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def run(data_dir, tmp_path_factory):
    """The default experiment, shrunk; (folder, what was printed)."""
    folder = tmp_path_factory.mktemp("runs") / "dictionary"
    done = here.command("dictionary", "--smoke", "--run-dir", folder, data_dir=data_dir)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    return folder, " ".join(done.stdout.split())


@pytest.fixture(scope="module")
def task(data_dir, tmp_path_factory):
    config = DictionaryConfig(data_dir=str(data_dir), run_dir=str(tmp_path_factory.mktemp("runs") / "task"))
    return NamedImages.load(TargetConfig("emoji"), ("en", "zh"), config, Run("dictionary", config))


def test_the_default_run_leaves_everything_it_promises(run):
    folder, printed = run
    assert {"report.html", "model.keras", "model.json", "comparison.json"} <= {path.name for path in folder.iterdir()}
    comparison = Comparison.load(folder)
    assert set(comparison.arms) == set(ARMS) and comparison.unit == "images a language"
    assert not [record.error for record in comparison.records if record.status == "failed"]
    assert "both languages with the same images and the same images, each a random vector" in printed
    panel = next(panel for panel in read_panels(folder) if panel.title == "How to read recall@1")
    count = len(comparison.labels)
    assert f"1/{count} = {1 / count:.3f}" in panel.paragraphs[0]


def test_the_report_names_who_drew_the_images(run):
    page = (run[0] / "report.html").read_text(encoding="utf-8")
    assert credit("emoji") in page and page.count("data:image/png") > 10


def test_the_saved_dictionary_answers_on_the_command_line(run, capsys):
    assert main(predict.work, [str(run[0]), "--text", "roter Apfel", "Hund", "--top", "2", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    known = set(tfxfer.from_run(run[0]).known["fr"])
    assert [row["input"] for row in rows] == ["roter Apfel", "Hund"]
    assert all(len(row["top"]) == 2 and {name for name, _ in row["top"]} <= known for row in rows)


def test_the_saved_dictionary_is_the_arm_transfer(run, data_dir):
    config = DictionaryConfig(data_dir=str(data_dir), run_dir=str(run[0].parent / "again"))
    task = NamedImages.load(TargetConfig("emoji"), ("de", "fr"), config, Run("dictionary", config))
    record = next(r for r in Comparison.load(run[0]).select("transfer", 40) if r.seed == 0)
    candidates = task.names("fr", "test")
    answers = tfxfer.from_run(run[0]).predict(task.names("de", "test"), "de", "fr", candidates=candidates).texts
    assert [answer.split(" → ")[1] for answer in record.answers] == [row[0] for row in answers]


def test_no_image_and_no_concept_is_named_in_both_languages(task):
    concepts = np.array(task.concepts("train"))
    for seed in range(5):
        rows = task.drawn(task.most, seed)
        assert [len(each) for each in rows.values()] == [task.most] * 2
        one, two = (set(concepts[each]) for each in rows.values())
        assert not one & two
        smaller = task.drawn(50, seed)
        assert all((smaller[code] == rows[code][:50]).all() for code in rows)
    shared = task.drawn(50, 0, shared=True)
    np.testing.assert_array_equal(shared["en"], shared["zh"])


def test_each_concept_is_asked_once(task):
    for split in ("validation", "test"):
        assert len(set(task.concepts(split))) == task.dataset.sizes[split]


def test_the_same_images_are_a_bilingual_list_even_when_they_are_random_vectors(task):
    arms = DictionaryArms(task, Dictionary(task.languages))
    vectors = random_vectors(task.dataset.sizes["train"], 0)
    chance = 1 / task.dataset.sizes["test"]
    shared = arms.arm(lambda seed: vectors, shared=True)(500, 0)
    apart = arms.arm(lambda seed: vectors)(500, 0)
    assert shared.scores["recall_at_1"].mean() > 30 * chance  # Chinese and English share no letter
    assert apart.scores["recall_at_1"].mean() < 5 * chance


def test_more_images_than_there_are_for_two_languages(data_dir, tmp_path):
    done = here.command("dictionary", "--images", 900, "--run-dir", tmp_path / "run", data_dir=data_dir)
    assert done.returncode == 2 and "--images 900: emoji has at most" in done.stderr


def test_a_data_set_without_names_in_languages(data_dir, tmp_path):
    config = DictionaryConfig(data_dir=str(data_dir), run_dir=str(tmp_path / "run"))
    with pytest.raises(UserError, match="glyphs has no names in 'de'"):
        NamedImages.load(TargetConfig("glyphs"), ("de", "fr"), config, Run("dictionary", config))
