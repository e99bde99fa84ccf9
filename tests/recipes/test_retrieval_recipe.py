"""The retrieval recipe as people run it: shrunk, through the command, with its report and its model."""

import json

import here
import numpy as np
import pytest
from PIL import Image
from sklearn.feature_extraction.text import TfidfVectorizer

import tfxfer
from tfxfer import predict, train
from tfxfer.baselines.retrieval import NGRAMS, Named, anchors, closed_form
from tfxfer.cli import main
from tfxfer.data.images import read_image
from tfxfer.errors import UserError
from tfxfer.recipes.diagnostics.retrieval import guessing
from tfxfer.records import Comparison
from tfxfer.report.panel import read_panels
from tfxfer.tasks.image_text_pairs import ImageTextPairs

pytestmark = pytest.mark.tensorflow
ARMS = {"transfer", "random", "random_text_encoder", "shuffled", "anchors", "closed_form", "closed_form_random"}


@pytest.fixture(scope="module")
def run(data_dir, tmp_path_factory):
    """The default experiment, shrunk; (folder, what was printed)."""
    folder = tmp_path_factory.mktemp("runs") / "retrieval"
    done = here.command("retrieval", "--smoke", "--explain", "--seeds", 1, "--run-dir", folder, data_dir=data_dir)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    return folder, " ".join(done.stdout.split())


@pytest.fixture(scope="module")
def several(data_dir, samples, tmp_path_factory):
    """Images with several captions each, in this process, with few arms."""
    folder = tmp_path_factory.mktemp("runs") / "several"
    head, *rows = (samples / "captions" / "captions.csv").read_text(encoding="utf-8").splitlines()
    rows = [f"{samples / 'captions' / 'pictures'}/{row},{'test' if row < '05' else 'train'}" for row in rows]
    (folder.parent / "c.csv").write_text("\n".join([f"{head},split", *rows]) + "\n", encoding="utf-8")
    words = ["--target", f"captions:{folder.parent / 'c.csv'}", "--image-encoder", "fresh:cnn"]
    words += ["--arms", "transfer", "random_image_encoder", "random_text_encoder", "anchors", "closed_form"]
    words += ["--image-size", "24", "--max-length", "6", "--checkpoints", "2"]
    words += ["--data-dir", str(data_dir), "--run-dir", str(folder), "--smoke"]
    assert main(train.work, ["retrieval", *words]) == 0
    return folder


def test_the_default_run_leaves_everything_it_promises(run):
    folder, printed = run
    names = {path.name for path in folder.iterdir()}
    assert {"config.yaml", "metrics.jsonl", "report.html", "log.txt", "comparison.json", "panels.json"} <= names
    assert {"model.keras", "gallery.npz", "model.json"} <= names
    comparison = Comparison.load(folder)
    assert set(comparison.arms) == ARMS and comparison.unit == "pairs"
    assert not [record.error for record in comparison.records if record.status == "failed"]
    assert {r.budget for r in comparison.records if r.arm == "shuffled"} == {16}
    assert "are longer than 16 word pieces" in printed and "of unseen texts" in printed
    assert not [name for name in names if name.endswith(".keras") and name != "model.keras"]


def test_both_directions_are_reported_beside_chance(run):
    panels = {panel.title: panel for panel in read_panels(run[0])}
    panel = panels["Retrieval in both directions"]
    comparison = Comparison.load(run[0])
    assert "16 pairs" in panel.paragraphs[1]
    tables = {table["caption"]: {row[0]: row[1:] for row in table["rows"]} for table in panel.tables}
    assert set(tables) == {"Image to text", "Text to image"}
    for caption, rows in tables.items():
        assert set(rows) == ARMS | {"chance"}
        direction = caption.lower().replace(" ", "_")
        for arm in ARMS:
            for place, k in enumerate((1, 5, 10)):
                means = [record.metrics[f"{direction}_recall_at_{k}"] for record in comparison.select(arm, 16)]
                assert rows[arm][place] == pytest.approx(np.mean(means))
            assert rows[arm][0] <= rows[arm][1] <= rows[arm][2] and float(rows[arm][3]) >= 1
        assert rows["chance"][1] == pytest.approx(0.1)


def test_the_report_shows_k_the_gallery_and_the_head_on_texts(run):
    page = (run[0] / "report.html").read_text(encoding="utf-8")
    assert "K = f(X) · g(Y)" in page and "python -m tfxfer.train retrieval --config" in page
    titles = [panel.title for panel in read_panels(run[0])]
    assert titles == [
        "Images retrieved for a text",
        "Retrieval in both directions",
        "The similarity matrix K",
        "A classifier fitted on images, applied to texts",
        "Zero-shot classification in closed form",
        "Where the gain came from",
        "What the source forgot",
    ]
    assert all(title in page for title in titles)
    assert page.count("<svg") >= 5 and "Image to text" in page and "chance" in page


def test_an_image_is_answered_with_texts_and_a_text_with_images(run, tmp_path, capsys):
    Image.new("L", (40, 20), 200).save(tmp_path / "a.png")
    assert main(predict.work, [str(run[0]), "--json", "--image", str(tmp_path / "a.png")]) == 0
    assert main(predict.work, [str(run[0]), "--json", "--top", "2", "--text", "LATIN SMALL LETTER A", "🙂"]) == 0
    found, *texts = map(json.loads, capsys.readouterr().out.splitlines())
    assert len(found["top"]) == 3 and found["top"][0][0].isupper()
    with np.load(run[0] / "gallery.npz") as gallery:
        known, named = gallery["images"].tolist(), gallery["texts"].tolist()
    assert {name for name, _ in found["top"]} <= set(named)
    assert [row["input"] for row in texts] == ["LATIN SMALL LETTER A", "🙂"]
    assert len(known) == 50 and all(len(row["top"]) == 2 and row["top"][0][0] in known for row in texts)
    for row in (found, *texts):
        shares = [share for _, share in row["top"]]
        assert set(row) == {"input", "top"} and shares == sorted(shares, reverse=True) and 0 < shares[0] <= 1
    assert main(predict.work, [str(run[0]), "--json", "--text", "LATIN SMALL LETTER A", ""]) == 2
    assert "text 1 is empty" in capsys.readouterr().err


def test_the_saved_model_gives_the_k_that_is_answered_from(several, capsys):
    """An image's texts, a text's images and `from_run` give the same K, up to its softmax over the gallery."""
    described = json.loads((several / "model.json").read_text(encoding="utf-8"))
    with np.load(several / "gallery.npz") as gallery:
        files, texts = gallery["images"].tolist(), gallery["texts"].tolist()
    assert len(files) == 5 and len(texts) == len(set(texts))
    encoder = tfxfer.from_run(several)
    read = [np.asarray(read_image(file, tuple(described["image_size"]), described["channels"])) for file in files]
    k = encoder.predict(np.stack(read), texts)
    for flag, inputs, names, rows in (("--image", files, texts, k), ("--text", texts, files, k.T)):
        assert main(predict.work, [str(several), "--json", "--top", str(len(names)), flag, *inputs]) == 0
        answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        shares = np.exp(rows - rows.max(1, keepdims=True))
        shares /= shares.sum(1, keepdims=True)
        for answer, wanted in zip(answers, shares, strict=True):
            found = dict(answer["top"])
            np.testing.assert_allclose([found[name] for name in names], wanted, atol=1e-3)


def test_the_saved_model_is_the_transfer_arm(several):
    """Its ranks of the test pairs give the figures that the records hold."""
    comparison = Comparison.load(several)
    with np.load(several / "gallery.npz") as gallery:
        vectors, texts = gallery["image_vectors"], gallery["texts"].tolist()
        text_vectors = gallery["text_vectors"]
    true = [example["true"].split(" · ") for example in sorted(comparison.examples, key=lambda e: e["index"])]
    own = [text for each in true for text in each]
    columns = [texts.index(text) for text in own]
    best = (vectors @ text_vectors[columns].T).argmax(1)
    (record,) = [r for r in comparison.select("transfer", max(comparison.budgets)) if r.seed == 0]
    assert [own[i] for i in best] == list(record.answers)


def test_each_training_is_scored_within_it(several):
    trained = [r for r in Comparison.load(several).records if r.arm not in ("anchors", "closed_form")]
    for record in trained:
        steps = record.settings["steps"]
        assert set(record.checkpoints) == {max(1, steps // 2), steps}
        for name, values in record.checkpoints[record.settings["steps"]].items():
            np.testing.assert_array_equal(values, record.scores[name])


def test_every_caption_of_an_image_counts(several):
    comparison = Comparison.load(several)
    assert {record.status for record in comparison.records} == {"ok"}
    panels = {panel.title: panel for panel in read_panels(several)}
    words = panels["Retrieval in both directions"].paragraphs[0].split()
    texts, images = (int(words[words.index("all", start) + 1]) for start in (0, words.index("image:")))
    assert texts > images == len(comparison.labels)
    assert images == 5 and " · " in comparison.examples[1]["true"]
    assert "A classifier fitted on images, applied to texts" not in panels  # these images have no labels
    assert "texts are longer than 6 word pieces" in (several / "log.txt").read_text(encoding="utf-8")


CAPTIONS = [["a", "b"], ["c"], ["d", "e", "f"]]


@pytest.fixture
def pairs():
    """Three images with two, one and three texts in every split."""
    splits = ("train", "validation", "test")
    features = np.eye(3, dtype="float32")
    return ImageTextPairs(*(dict.fromkeys(splits, each) for each in (features, CAPTIONS, np.arange(3))))


def test_an_image_retrieves_any_of_its_texts_and_each_text_its_image(pairs):
    k = np.array([[0, 5, 1, 2, 0, 0], [3, 4, 2, 0, 0, 0], [9, 0, 0, 0, 0, 8]], float)
    of_images, of_texts = pairs.ranks(k, "test")
    assert of_images.tolist() == [1, 3, 2] and of_texts.tolist() == [3, 1, 1, 3, 3, 1]
    score = pairs.score(k, "test")
    np.testing.assert_allclose(score["image_to_text_recall_at_1"], [1, 0, 0])
    np.testing.assert_allclose(score["text_to_image_recall_at_1"], [0.5, 1, 1 / 3])
    np.testing.assert_allclose(score["recall_at_1"], [0.75, 0.5, 1 / 6])
    np.testing.assert_allclose(score["text_to_image_reciprocal_rank"], [(1 / 3 + 1) / 2, 1, (1 / 3 + 1 / 3 + 1) / 3])
    outcome = pairs.outcome(k, {})
    assert outcome.answers == ["b", "b", "a"] and outcome.settings["median_ranks"] == [2, 2]


@pytest.mark.parametrize("ranking", ["similarity", "inverted_softmax", "csls"])
def test_the_named_ranking_judges_both_directions_by_their_own_queries(ranking):
    splits, rng = ("train", "validation", "test"), np.random.default_rng(0)
    ids = dict.fromkeys(splits, np.arange(30))
    captions = {split: [[f"text {i}"] for i in range(30)] for split in splits}
    pairs = ImageTextPairs(dict.fromkeys(splits, np.eye(30)), captions, ids, None, ranking).drawn(20, 0)
    k = 2 * np.eye(30) + rng.normal(0, 0.3, (30, 30)) + rng.normal(0, 1.3, 30)  # some texts are near to every image
    found = pairs.outcome(k, {}, validation=lambda: k)
    right = {d: found.scores[f"{d}_recall_at_1"].mean() for d in ("image_to_text", "text_to_image")}
    assert right["text_to_image"] == 1  # of one text, all images are moved alike
    assert right["image_to_text"] < 0.5 if ranking == "similarity" else right["image_to_text"] > 0.9
    assert found.settings.get("ranking", "similarity") == ranking and ("beta" in found.settings) == ("inv" in ranking)


def test_a_smaller_draw_is_part_of_a_greater_one_and_shuffling_moves_whole_images(pairs):
    one, two = pairs.drawn(1, 5), pairs.drawn(2, 5)
    assert two.captions["train"][:1] == one.captions["train"] and len(one.features["train"]) == 1
    mixed = pairs.shuffled(0)
    assert sorted(mixed.captions["train"]) == sorted(CAPTIONS)
    assert all(new != own for new, own in zip(mixed.captions["train"], CAPTIONS))
    assert mixed.captions["test"] == CAPTIONS and pairs.image_index("train").tolist() == [0, 0, 1, 2, 2, 2]


@pytest.mark.parametrize("arm", [anchors, closed_form])
def test_baselines_without_a_text_tower_use_the_words_of_the_texts(arm):
    words = ("red", "green", "blue", "white")
    captions = [[f"a {word} thing", f"something {word}"] for word in words for _ in range(5)]
    rng = np.random.default_rng(0)
    features = np.repeat(np.eye(4), 5, 0) + 0.05 * rng.normal(size=(20, 4))
    ids = np.repeat(np.arange(4), 5)
    splits = ("train", "validation", "test")
    found = arm(ImageTextPairs(*(dict.fromkeys(splits, each) for each in (features.astype("float32"), captions, ids))))
    assert found.scores["recall_at_1"].mean() == 1


def by_hand(rows, wanted, strength, asked, centred):
    """Ridge regression by the normal equations over features, float64."""
    x, mean = (rows - rows.mean(0), wanted.mean(0)) if centred else (rows, np.zeros(wanted.shape[1]))
    size = np.square(x).sum(1).mean() if centred else 1.0
    weights = np.linalg.solve(x.T @ x + strength * size * np.eye(x.shape[1]), x.T @ (wanted - mean))
    found = (asked - rows.mean(0) * centred) @ weights + mean
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_transfer_in_closed_form_is_two_ridge_regressions():
    rng = np.random.default_rng(0)
    words = np.array(["red", "green", "blue", "white", "round", "small"])
    shown = {split: rng.random((n, 6)) < 0.5 for split, n in (("train", 30), ("validation", 20), ("test", 20))}
    captions = {s: [[f"a {' '.join(words[row])} thing {i}"] for i, row in enumerate(rows)] for s, rows in shown.items()}
    positions = {s: (rows + 0.3 * rng.normal(size=rows.shape)).astype("float32") for s, rows in shown.items()}
    ids = {split: np.arange(len(rows)) for split, rows in shown.items()}
    pairs = ImageTextPairs({s: rows[:, :1] for s, rows in positions.items()}, captions, ids, positions)
    found = closed_form(pairs)

    grams = TfidfVectorizer(**NGRAMS).fit(pairs.texts("train"))
    texts = {s: grams.transform(pairs.texts(s)).toarray() for s in shown}
    mean, deviation = positions["train"].mean(0), positions["train"].std(0)
    images = {s: (rows.astype(float) - mean) / deviation for s, rows in positions.items()}
    wanted = images["train"] / np.linalg.norm(images["train"], axis=1, keepdims=True)
    k = {}
    for s in ("validation", "test"):
        unit = images[s] / np.linalg.norm(images[s], axis=1, keepdims=True)
        to_images = by_hand(texts["train"], wanted, found.settings["strength"], texts[s], centred=False)
        strength = found.settings["strength_image_to_text"]
        k[s] = unit @ to_images.T, by_hand(images["train"], texts["train"], strength, images[s], True) @ texts[s].T
    summed = sum(test / validation.std() for test, validation in zip(k["test"], k["validation"]))
    np.testing.assert_allclose(found.scores["reciprocal_rank"], pairs.score(summed, "test")["reciprocal_rank"])
    assert found.scores["recall_at_1"].mean() > 0.3  # chance is .05


def test_guessing_is_what_a_random_order_reaches():
    rng = np.random.default_rng(0)
    firsts = np.array([np.flatnonzero(rng.permutation(30) < 3)[0] + 1 for _ in range(20_000)])
    told = guessing(30, 3)
    for k in (1, 5, 10):
        assert told[f"recall@{k}"] == pytest.approx(np.mean(firsts <= k), abs=0.01)
    assert told["median rank"] == pytest.approx(np.median(firsts), abs=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 1}, "--batch-size 1: with one pair a step there are no negatives"),
        ({"pairs": (1, 50)}, "--pairs 1: must be 2 or more"),
        ({"max_length": 2}, "--max-length 2: leaves no room"),
        ({"temperature": 0.001}, "--temperature 0.001"),
        ({"controls_at": (7,)}, r"--controls-at \[7\]: must be among --pairs"),
        ({"arms": ("random",)}, "'transfer' is the method under study"),
        ({"steps": 0}, "--steps 0: nothing would be learned"),
        ({"language_model": "fresh:bert"}, "--language-model fresh:bert: give a data set of texts"),
        ({"image_encoder": "fresh:cnn", "image_encoder_label": "x"}, "is a trained model and learns no labels; leave"),
        ({"target": "captions:nowhere.csv"}, "nowhere.csv does not exist"),
        ({"target_caption": "x"}, "its caption is fixed"),
    ],
)
def test_a_request_that_cannot_be_met_is_named_before_anything_starts(options, message):
    with pytest.raises(UserError, match=message):
        here.check("retrieval", **options)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--target", "names"], "pairs need images and captions"),
        (["--target", "csv:{empty}"], "no image with a text"),
        (["--target", "captions:{samples}/captions/captions.csv", "--pairs", "900"], "--pairs 900"),
    ],
    ids=["texts alone", "empty texts", "more pairs than there are"],
)
def test_data_that_cannot_be_used_is_named(words, message, data_dir, samples, tmp_path, capsys):
    rows = "".join(f"{samples}/captions/pictures/{i:02}.png,\n" for i in range(12))
    (tmp_path / "empty.csv").write_text("image,caption\n" + rows, encoding="utf-8")
    words = [word.format(samples=samples, empty=tmp_path / "empty.csv") for word in words]
    options = ["--language-model-max-examples", "64", "--image-encoder", "fresh:cnn", "--data-dir", str(data_dir)]
    assert main(train.work, ["retrieval", *words, *options, "--run-dir", str(tmp_path / "run")]) == 2
    assert message in capsys.readouterr().err


def test_the_closed_form_over_a_text_encoder_that_knows_meanings_finds_classes_by_their_names():
    """Vectors in which synonyms are alike: letters find nothing, and the names of classes are new words."""
    rng = np.random.default_rng(0)
    words = [["cat", "moggy", "feline"], ["dog", "hound", "canine"], ["car", "auto", "vehicle"]]
    meanings = rng.standard_normal((3, 16))
    vector_of = {word: meanings[i] + 0.1 * rng.standard_normal(16) for i, row in enumerate(words) for word in row}
    labels = {split: rng.integers(0, 3, 60) for split in ("train", "validation", "test")}
    turned = rng.standard_normal((16, 24))
    pairs = ImageTextPairs(
        {s: (meanings[y] @ turned + 0.3 * rng.standard_normal((60, 24))).astype(np.float32) for s, y in labels.items()},
        {s: [[words[i][0 if s == "train" else 1]] for i in y] for s, y in labels.items()},
        labels,
    )
    named = Named(tuple(row[2] for row in words), labels["test"])
    by_meaning = closed_form(pairs, lambda texts: np.stack([vector_of[text] for text in texts]), named)
    by_letters = closed_form(pairs, named=named)
    assert by_meaning.scores["zero_shot"].mean() > 0.95 and by_meaning.scores["recall_at_1"].mean() > 0.9
    assert by_letters.scores["zero_shot"].mean() < 0.6
    assert "text encoder" in by_meaning.settings["method"] and "zero_shot" not in closed_form(pairs).scores


@pytest.mark.slow
def test_the_arms_over_the_frozen_text_tower_and_their_zero_shot_panel(data_dir, tmp_path):
    words = ["--smoke", "--seeds", "2", "--arms", "transfer", "closed_form_tower", "closed_form_random_tower"]
    words += ["--image-encoder", "fresh:cnn", "--data-dir", str(data_dir), "--run-dir", str(tmp_path / "run")]
    assert main(train.work, ["retrieval", *words]) == 0
    comparison = Comparison.load(tmp_path / "run")
    assert not [record.error for record in comparison.records if record.status == "failed"]
    tower, random = (comparison.select(arm, 16) for arm in ("closed_form_tower", "closed_form_random_tower"))
    assert not np.array_equal(random[0].scores["recall_at_5"], random[1].scores["recall_at_5"])
    assert set(np.unique(tower[0].scores["zero_shot"])) <= {0.0, 1.0}
    panel = next(panel for panel in read_panels(tmp_path / "run") if panel.title.startswith("Zero-shot"))
    assert [row[0] for row in panel.tables[0]["rows"]] == [*comparison.arms[1:], "always the most frequent class"]
