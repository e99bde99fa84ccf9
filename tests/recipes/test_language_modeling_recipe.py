"""`--transfer encoder_to_decoder`: through the command with and without images, its n-gram baseline, its refusals."""

import json

import here
import numpy as np
import pytest

from tfxfer import predict
from tfxfer.cli import main
from tfxfer.errors import UserError
from tfxfer.recipes.structure import StructureConfig, resolved
from tfxfer.records import Comparison
from tfxfer.report.panel import read_panels
from tfxfer.transfer.structure import WeightMap

pytestmark = pytest.mark.tensorflow
WORDS = ("GREEK SMALL LETTER", "LATIN CAPITAL LETTER", "CYRILLIC SMALL LETTER")


def command(*arguments, data_dir):
    words = ("structure", "--smoke", "--transfer", "encoder_to_decoder", "--seeds", "1")
    return here.command(*words, *arguments, data_dir=data_dir)


@pytest.fixture(scope="module")
def run(data_dir, tmp_path_factory):
    """The decoder as it is tried by default: on the names of characters, with their images."""
    folder = tmp_path_factory.mktemp("runs") / "decoder"
    done = command("--run-dir", folder, data_dir=data_dir)
    assert done.returncode == 0, done.stderr
    return folder, " ".join(done.stdout.split())


@pytest.fixture(scope="module")
def without_images(data_dir, tmp_path_factory):
    """The same on texts of a file."""
    folder = tmp_path_factory.mktemp("runs")
    rows = [f"{begin} {chr(65 + i % 26)}{chr(65 + i // 26)}" for begin in WORDS for i in range(60)]
    (folder / "texts.csv").write_text("\n".join(["text", *rows]) + "\n", encoding="utf-8")
    words = ("--target", f"csv:{folder / 'texts.csv'}", "--checkpoints", 2, "--run-dir", folder / "run")
    done = command(*words, data_dir=data_dir)
    assert done.returncode == 0, done.stderr
    return folder / "run", " ".join(done.stdout.split())


def test_the_run_leaves_ledger_proof_records_and_report(run):
    folder, printed = run
    assert "Before any training, the mean likelihood of 64 test texts is" in printed and "cross_attention" in printed
    rows = WeightMap.from_json(folder / "weight_map.json").rows
    fresh = {row.target.path for row in rows if not row.origins}
    assert fresh and all("cross_attention" in name for name in fresh)
    (panel,) = read_panels(folder)
    assert panel.title == "The weight map: the source of each parameter" and panel.tables[0]["rows"]
    assert any("Before any training" in text for text in panel.paragraphs)
    comparison = Comparison.load(folder)
    assert comparison.arms == ["transfer", "random", "native"] and comparison.unit == "texts"
    assert not [record.error for record in comparison.records if record.status == "failed"]
    assert all(record.scores["log_likelihood"].mean() < 0 for record in comparison.records)
    primary = next(row for row in comparison.verdicts if row["role"] == "primary")
    assert (primary["a"], primary["b"], primary["measure"]) == ("transfer", "random", "log_likelihood")
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "M = T(S)" in page and "nats a token" in page and panel.title in page


def test_all_arms_are_trained_alike(run):
    records = [r for r in Comparison.load(run[0]).records if r.arm != "native"]
    assert len({record.trainable for record in records}) == 1
    assert {record.settings["steps"] for record in records} == {2}


def test_with_images_it_is_a_captioner(run, tmp_path, capsys):
    from PIL import Image

    Image.fromarray(np.full((32, 32), 255, np.uint8)).save(tmp_path / "a.png")
    assert main(predict.work, [str(run[0]), "--json", "--image", str(tmp_path / "a.png")]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["top"] and all(isinstance(text, str) and score < 0 for text, score in row["top"])


def test_each_training_is_scored_within_it(without_images):
    folder, printed = without_images
    assert "transfer − random by share of the steps nats a token" in printed
    assert all(list(r.checkpoints) == [1, 2] for r in Comparison.load(folder).records if r.arm != "native")


def test_without_images_it_tells_how_likely_a_text_is(without_images, capsys):
    folder, printed = without_images
    assert "with a blank, as there are no images" in printed
    shown = Comparison.load(folder).examples
    assert shown and not any("png" in example for example in shown)
    texts = [example["true"] for example in shown[:3]]
    assert main(predict.work, [str(folder), "--json", "--text", *texts]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["input"] for row in rows] == texts and all(len(row["top"]) == 1 for row in rows)
    asked = [value for row in rows for _, value in row["top"]]
    kept = Comparison.load(folder).select("transfer", 16)[0].scores["log_likelihood"]
    np.testing.assert_allclose(asked, [kept[example["index"]] for example in shown[:3]], atol=2e-3)
    assert main(predict.work, [str(folder), "--text", texts[0]]) == 0
    assert "nats a token" in capsys.readouterr().out


def test_what_is_saved_is_opened_by_from_run(run, without_images):
    import tfxfer

    captioner, language_model = (tfxfer.from_run(folder) for folder in (run[0], without_images[0]))
    assert (type(captioner).__name__, type(language_model).__name__) == ("Captioner", "LanguageModel")
    comparison = Comparison.load(without_images[0])
    texts = [example["true"] for example in comparison.examples]
    kept = comparison.select("transfer", 16)[0].scores["log_likelihood"]
    likelihoods = language_model.predict(texts)
    np.testing.assert_allclose(likelihoods, [kept[e["index"]] for e in comparison.examples], atol=1e-3)
    score = language_model.score(texts)
    assert score["log_likelihood"] == pytest.approx(likelihoods.mean())
    assert score["perplexity"] == pytest.approx(np.exp(-likelihoods.mean()))


def test_patches_are_pieces_of_the_image():
    from tfxfer.recipes.language_modeling import patch_encoder

    image = np.random.default_rng(0).integers(0, 256, (1, 8, 12, 3)).astype(np.uint8)
    grid = np.asarray(patch_encoder((8, 12, 3), 4)(image))
    assert grid.shape == (1, 2, 3, 48)
    np.testing.assert_allclose(grid[0, 1, 2].reshape(4, 4, 3), 1 - image[0, 4:, 8:] / 255, atol=1e-6)
    with pytest.raises(UserError, match="--patch-size 5: such patches do not tile an image of 8 x 12"):
        patch_encoder((8, 12, 3), 5)


def test_n_grams_are_smoothed_after_witten_and_bell():
    """By hand: after 1 came 2 twice and 1 once; of five pieces 2 and 1 came two and three times; V = 4."""
    from tfxfer.baselines.language_ngrams import NGrams

    rows = [[0, 1, 2], [0, 1, 1, 2]]
    alone, pairs = NGrams(rows, 1, 4), NGrams(rows, 2, 4)
    assert alone.probability((), 2) == pytest.approx((2 + 2 / 4) / (5 + 2))
    assert pairs.probability((1,), 2) == pytest.approx((2 + 2 * alone.probability((), 2)) / (3 + 2))
    assert pairs.probability((3,), 2) == alone.probability((), 2)  # after what was never seen
    by_hand = (np.log(pairs.probability((0,), 1)) + np.log(pairs.probability((1,), 2))) / 2
    assert pairs.log_likelihood([0, 1, 2]) == pytest.approx(by_hand)


@pytest.mark.parametrize("history", [(), (1,), (0, 1), (3, 1), (3, 3)])
def test_probabilities_of_all_pieces_sum_to_one(history):
    from tfxfer.baselines.language_ngrams import NGrams

    model = NGrams([[0, 1, 2, 1, 1, 2], [0, 2, 2, 1]], 3, 5)
    assert sum(model.probability(history, piece) for piece in range(5)) == pytest.approx(1)


def test_auto_is_names_of_characters_without_and_with_images():
    found = resolved(StructureConfig(transfer="encoder_to_decoder"))
    assert (found.source.spec, found.target.spec, found.target.label) == ("names", "glyphs/by_character", None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels_per_class": (5,)}, "--labels-per-class: a decoder learns from texts, not labels"),
        ({"steps": 0}, "--steps 0: a decoder"),
        ({"max_length": 2}, "--max-length 2: leaves no room"),
        ({"trainable": "all"}, "--trainable is for --transfer encoder_to_vision or vision_to_encoder"),
        ({"transfer": "widen", "training_texts": (9,)}, "--training-texts is for --transfer encoder_to_decoder"),
        ({"transfer": "widen", "cross_attention": "copied"}, "--cross-attention is for --transfer encoder_to_decoder"),
    ],
)
def test_what_a_decoder_cannot_use_is_refused_before_tensorflow_starts(change, message):
    with pytest.raises(UserError, match=message):
        here.check("structure", **{"transfer": "encoder_to_decoder"} | change)


def test_too_few_texts_are_refused_with_their_number(data_dir, tmp_path):
    (tmp_path / "few.csv").write_text("text\n" + "".join(f"LETTER {i}\n" for i in range(15)), encoding="utf-8")
    done = command("--target", f"csv:{tmp_path / 'few.csv'}", "--run-dir", tmp_path / "run", data_dir=data_dir)
    assert done.returncode == 2
    assert "train texts that differ, and --training-texts asks for 16" in " ".join(done.stderr.split())
