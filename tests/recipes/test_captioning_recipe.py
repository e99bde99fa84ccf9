"""The captioning recipe as people run it: shrunk, through the command, with its diagnostics and its model."""

import json

import here
import numpy as np
import pytest
from PIL import Image

from tfxfer import predict, train
from tfxfer.cli import main
from tfxfer.config import options_in
from tfxfer.errors import UserError
from tfxfer.evaluate import __main__ as evaluate
from tfxfer.evaluate import story
from tfxfer.records import Comparison
from tfxfer.report.panel import read_panels

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def run(data_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "captioning"
    done = here.command("captioning", "--smoke", "--seeds", 1, "--run-dir", folder, data_dir=data_dir)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr and "note:" not in done.stderr
    return folder, " ".join(done.stdout.split())


@pytest.fixture
def image(tmp_path):
    pixels = np.full((32, 32), 255, np.uint8)
    pixels[8:24, 14:18] = 0
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_the_default_run_leaves_everything_it_promises(run):
    folder, printed = run
    names = {path.name for path in folder.iterdir()}
    assert {
        "config.yaml",
        "weight_map.json",
        "panels.json",
        "model.keras",
        "model.json",
        "report.html",
        "comparison.json",
    } <= names
    comparison = Comparison.load(folder)
    trained, plain = {"transfer", "random", "blind", "shuffled"}, {"closed_form", "closed_form_random", "neighbour"}
    assert set(comparison.arms) == trained | plain
    assert not [record.error for record in comparison.records if record.status == "failed"]
    assert "text-only pre-training of the decoder" in printed or "text-only pre-training is taken from" in printed
    for measure in ("CIDEr-D", "nats a token", "exact match", "token F1"):
        assert f"{measure} (95 % interval) by pairs" in printed


def test_every_arm_answers_in_words_and_is_judged_by_four_measures(run):
    for record in Comparison.load(run[0]).records:
        decodes = record.arm not in ("closed_form", "closed_form_random", "neighbour", "neighbour_consensus")
        measures = {"cider_d", "exact_match", "token_f1"} | ({"log_likelihood"} if decodes else set())
        assert measures <= set(record.metrics), record.arm
        assert ("new captions" in record.settings) == decodes
        assert len(record.answers) == 30


def test_it_says_whether_the_model_uses_its_images(run):
    folder, printed = run
    panels = {panel.title: panel for panel in read_panels(folder)}
    scores = panels["Image ablation: does the model use its images?"]
    page = (folder / "report.html").read_text(encoding="utf-8")
    table = scores.tables[0]
    assert [row[0] for row in table["rows"]] == [
        "the correct image",
        "the image of another example",
        "the mean training image",
    ]
    assert len(table["columns"]) == 3  # CIDEr-D and log-likelihood
    for row in table["rows"]:
        for mean in row[1:]:
            assert f"{mean:.3f}".replace("-", "−") in page
    *sentences, frequent = scores.points
    assert len(sentences) == 2 and all(" ".join(sentence.split()) in printed for sentence in sentences)
    answers = Comparison.load(folder).select("transfer", 16)[0].answers.tolist()
    share = max(map(answers.count, answers)) / len(answers)
    assert frequent == f"The most frequent caption is {share * 100:.0f} % of all captions."
    assert frequent in page.replace("\u00a0", " ")
    (matrix,) = panels["Likelihood of captions under images"].figures
    assert np.shape(matrix["arguments"]["values"]) == (12, 12)
    (attention,) = panels["Attention of each word"].figures
    for shown in attention["arguments"]["captions"]:
        for word in shown["words"]:
            assert np.shape(word["heat"]) == (4, 4)
            assert abs(np.sum(word["heat"]) - 1) < 0.01


def test_the_report_shows_captions_under_the_equation(run):
    page = (run[0] / "report.html").read_text(encoding="utf-8")
    assert "K = f(X) · g(Y) + h(X, Y)" in page and "python -m tfxfer.train captioning --config" in page
    shown = Comparison.load(run[0]).examples[0]["true"]
    assert shown in page


def test_the_saved_model_captions_images(run, image, capsys):
    asked = [str(run[0]), "--json", "--image", str(image), str(image), "--num-beams", "3", "--max-length", "6"]
    assert main(predict.work, asked) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 2 and rows[0] == rows[1] == {"input": str(image), "top": rows[0]["top"]}
    scores = [score for _, score in rows[0]["top"]]
    assert len(scores) == 3 and max(scores) < 0


def test_the_report_says_how_many_captions_are_new_and_what_the_closed_form_gives(run):
    folder, printed = run
    comparison = Comparison.load(folder)
    (panel,) = [panel for panel in read_panels(folder) if panel.title == "Where the captions come from"]
    rows = {row[0]: row[1:] for row in panel.tables[0]["rows"]}
    for arm in ("transfer", "random", "shuffled"):
        found = [comparison.select(arm, budget) for budget in comparison.budgets]
        assert rows[arm] == [each[0].settings["new captions"] if each else None for each in found]
    (share,) = panel.points
    openings = ("The closed form f·g", "No evidence of a difference between the closed form f·g")
    closed_form = [sentence for sentence in story(comparison) if sentence.startswith(openings)]
    assert share.startswith(f"{rows['transfer'][-1] * 100:.0f} % of the captions of transfer are new at 16 pairs")
    assert ["over random features" in closed_form[0], "nearest-neighbour" in closed_form[1]] == [True, True]
    assert all(" ".join(sentence.split()) in printed for sentence in (share, *closed_form))


def test_the_saved_model_is_the_transfer_arm(run):
    """`from_run` captions the test images of the report as the records do, and finds their captions as likely."""
    import tfxfer

    comparison = Comparison.load(run[0])
    record = next(each for each in comparison.select("transfer", 16) if each.seed == 0)
    captioner, images = tfxfer.from_run(run[0]), here.shown_images(comparison)
    places = [example["index"] for example in comparison.examples]
    found = captioner.predict(images, max_length=16)
    assert [texts[0] for texts in found.texts] == [record.answers[i] for i in places]
    true = [example["true"].split(" · ") for example in comparison.examples]
    likelihoods = captioner.caption_likelihoods(images, true, 16)
    np.testing.assert_allclose(likelihoods, record.scores["log_likelihood"][places], atol=1e-3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--text", "a"], "this model takes image"),
        (["--image", "{image}", "--num-beams", "0"], "--num-beams 0"),
        (["--image", "{image}", "--max-length", "2"], "--max-length 2"),
        (["--image", "{image}", "--max-length", "1000"], "positions for words"),
        (["--image", "nowhere.png"], "there is no such image"),
    ],
)
def test_questions_that_cannot_be_asked_are_named(run, image, words, message, capsys):
    assert main(predict.work, [str(run[0]), *(word.format(image=image) for word in words)]) == 2
    assert message in capsys.readouterr().err


def test_the_command_that_scores_classes_says_what_it_cannot_score(run, samples, capsys):
    assert main(evaluate.work, [str(run[0]), "--data", f"csv:{samples}/reviews.csv"]) == 2
    said = capsys.readouterr().err
    assert "this command scores classes, and this run's model is a Captioner" in said and "tfxfer.predict" in said


@pytest.mark.filterwarnings("ignore:CIDEr of one")
@pytest.mark.slow
def test_a_prefix_a_table_of_captions_and_own_texts(data_dir, samples, tmp_path):
    """Several captions an image; the language model learns a text file; the image becomes a prefix."""
    texts = tmp_path / "texts.txt"
    texts.write_text("".join(f"a {c} {s} on {b}\n" for c in ("red", "blue") for s in ("circle", "square", "cup")
                             for b in ("paper", "sand", "grass", "snow", "stone", "wood")))  # fmt: skip
    done = here.command(
        *(
            "captioning",
            "--smoke",
            "--language-model",
            f"text:{texts}",
            "--image-encoder",
            f"folder:{samples}/shapes",
            "--target",
            f"captions:{samples}/captions/captions.csv",
        ),
        *(
            "--pairs",
            "4",
            "--controls-at",
            "4",
            "--conditioning",
            "prefix",
            "--candidates",
            f"text:{texts}",
            "--max-length",
            "5",
        ),
        *("--arms", "transfer", "random", "--seeds", "1", "--run-dir", tmp_path / "run"),
        *("--checkpoints", "2", "--decoder-lr-scales", "0.3", "1"),
        data_dir=data_dir,
    )
    assert done.returncode == 0, done.stderr
    printed = " ".join(done.stdout.split())
    assert "transfer − random by share of the steps" in printed
    assert "captions have more than 3 word pieces and are cut there" in printed
    comparison = Comparison.load(tmp_path / "run")
    assert not [record.error for record in comparison.records if record.status == "failed"]
    for record in comparison.records:
        assert list(record.checkpoints) == [2, 5] and set(record.checkpoints[2]) == set(record.scores)
        tried = record.settings["validation of decoder_lr_scale"]
        assert set(tried) == {"0.3", "1"} and f"{record.settings['decoder_lr_scale']:g}" == max(tried, key=tried.get)
    assert any(" · " in example["true"] for example in comparison.examples)
    titles = [panel.title for panel in read_panels(tmp_path / "run")]
    assert {"Likelihood of captions under images", "The verdict over the steps of training"} <= set(titles)
    assert "Attention of each word" not in titles  # a prefix has no cross-attention


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": "captions:nowhere.csv"}, "nowhere.csv"),
        ({"pretrain_texts": "glyfs"}, "glyphs"),
        ({"candidates": "trian"}, "--candidates trian: give train, none, or text:FILE"),
        ({"candidates": "text:nowhere.txt"}, "nowhere.txt does not exist"),
        ({"max_length": 2}, "--max-length 2: leaves no room for a word"),
        ({"word_dropout": 1.5}, "--word-dropout 1.5"),
        ({"controls_at": (7,)}, "--controls-at"),
        ({"arms": ("random",)}, "'transfer' is the method under study"),
        ({"language_model": "preset:nowhere", "language_model_text": "t"}, "--language-model-text: .* learns no texts"),
        ({"image_encoder": "keras:VGG16"}, "give --download"),
        ({"image_encoder": "fresh:vit"}, "--image-encoder fresh:vit"),
        ({"image_encoder_epochs": 0}, "--image-encoder-epochs 0"),
        ({"language_model": "fresh:bert"}, "--language-model fresh:bert"),
        ({"steps": 0}, "--steps 0"),
        ({"learning_rates": (float("nan"),)}, "--learning-rates nan"),
        ({"max_length": 500}, "--max-length 500: the BERT that is trained here has 64 positions"),
        ({"conditioning": "prefix", "prefix_length": 0}, "--prefix-length 0"),
        ({"conditioning": "prefix", "prefix_length": 60}, "--max-length 16 and --prefix-length 60"),
    ],
)
def test_a_request_that_cannot_work_is_refused_before_tensorflow_starts(change, message, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(UserError, match=message):
        here.check("captioning", **change)


@pytest.mark.parametrize(("text", "message"), [("", "has no caption"), ("one\n\none\n", "has only one caption, 'one'")])
def test_a_file_that_leaves_nothing_to_choose_is_refused(text, message, tmp_path):
    (tmp_path / "c.txt").write_text(text)
    with pytest.raises(UserError, match=f"c.txt {message}.*two or more lines"):
        here.check("captioning", candidates=f"text:{tmp_path / 'c.txt'}")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--target", "glyphs", "--language-model", "fresh:cnn"], "--language-model fresh:cnn"),
        (["--target", "languages/latin"], "has no images"),
    ],
)
def test_what_only_the_data_show_is_named_too(data_dir, tmp_path, words, message):
    done = here.command("captioning", "--smoke", "--run-dir", tmp_path / "run", *words, data_dir=data_dir)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert message in " ".join(done.stderr.split())


OLD = {
    "--source": ("names/listed", "--language-model"),
    "--text-updates": (5, "--pretrain-steps"),
    "--encoder": ("fresh:cnn", "--image-encoder"),
    "--updates": (2, "--steps"),
    "--length": (8, "--max-length"),
    "--looking": ("cross_attention", "--conditioning"),
}


def test_the_recipe_and_its_options_are_accepted_by_their_old_names(data_dir, monkeypatch, capsys):
    """What would run is looked at; a run by old names is in test_feature_recipe.py."""
    asked = []
    monkeypatch.setattr(train, "run", lambda *recipe_and_config: asked.append(recipe_and_config))
    given = [str(word) for name, (value, _) in OLD.items() for word in (name, value)]
    assert main(train.work, ["knowledge", "--smoke", *given, "--data-dir", str(data_dir)]) == 0
    renamed = [f"note: {old} is now called {new}" for old, (_, new) in OLD.items()]
    assert capsys.readouterr().err.splitlines() == ["note: the recipe knowledge is now called captioning", *renamed]
    ((recipe, config),) = asked
    found = options_in(config)
    assert recipe.name == "captioning"
    for value, new in OLD.values():  # smoke leaves what is given
        assert found[new.removeprefix("--").replace("-", "_")] == value
