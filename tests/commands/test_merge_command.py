"""`tfxfer merge`: merges beside their parents, a run folder that other commands open, and what is refused at once."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from tfxfer import __main__ as front
from tfxfer import cli

pytestmark = pytest.mark.tensorflow
NAMES = ("dark", "light", "striped")


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    """A csv of 96 images of 8x8 pixels, of three classes that overlap."""
    folder, rng, rows = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0), ["image,label,split"]
    for place in range(96):
        label = place % 3
        pixels = rng.integers(0, 200, (8, 8)) + (0, 50, 0)[label]
        if label == 2:
            pixels[::2] += 50
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{place}.png")
        rows.append(f"{place}.png,{NAMES[label]},{('train', 'train', 'validation', 'test')[place // 24]}")
    (folder / "pictures.csv").write_text("\n".join(rows), encoding="utf-8")
    return f"csv:{folder / 'pictures.csv'}"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A source that nobody trained: `merge` itself is what is tested."""
    import keras

    from tfxfer.models.cnn import glyph_cnn
    from tfxfer.models.randomness import set_initializer_seed

    set_initializer_seed(0)
    file = tmp_path_factory.mktemp("source") / "cnn.keras"
    model = glyph_cnn(4, filters=(8, 8), kernels=(3, 3), strides=(1, 2))
    keras.Model(model.input, model.output).save(file)
    return f"file:{file}"


def merge(*words):
    return cli.main(front.work, ["merge", *map(str, words)])


@pytest.fixture(scope="module")
def made(target, source, tmp_path_factory):
    """The run of three members that were fine-tuned first."""
    folder = tmp_path_factory.mktemp("merge") / "run"
    words = ["--target", target, "--source", source, "--members", 3, "--labels-per-class", 8, "--epochs", 3]
    words += ["--dare-seeds", 2, "--data-dir", folder.parent / "data", "--run-dir", folder]
    assert merge(*words) == 0
    return folder


@pytest.fixture(scope="module")
def found(made, tmp_path_factory):
    """What merging two of these members by their folders prints as JSON; and its folder."""
    import contextlib
    import io

    folder, out = tmp_path_factory.mktemp("again") / "run", io.StringIO()
    members = made / "members"
    before = {path: path.read_bytes() for path in members.rglob("*") if path.is_file()}
    words = [
        members / "1",
        members / "2",
        "--base",
        members / "start",
        "--json",
        "--statistics",
        "mean",
        "--scale",
        "0",
        "--alpha",
        "0",
    ]
    words += ["--run-dir", folder, "--data-dir", made.parent / "data", "--how", "soup", "task", "wise", "ensemble"]
    with contextlib.redirect_stdout(out):
        assert merge(*words) == 0
    assert before == {path: path.read_bytes() for path in before}  # the parents stay untouched
    return json.loads(out.getvalue()), folder


@pytest.mark.drawing
def test_every_merge_stands_beside_its_parents_in_a_finished_run(made):
    from tfxfer.records import Comparison
    from tfxfer.runs import saved_runs

    merges = {"soup", "greedy", "task", "ties", "dare", "wise", "ensemble"}
    comparison = Comparison.load(made)
    assert set(comparison.arms) == merges | {"start", "parent 1", "parent 2", "parent 3"}
    assert len(comparison.select("dare", None)) == 2 and comparison.verdicts[0]["role"] == "primary"
    pairs = {(row["a"], row["b"]) for row in comparison.verdicts}
    assert {(one, f"parent {place}") for one in merges for place in (1, 2, 3)} < pairs
    assert {(one, other) for one in merges for other in ("best parent", "mean parent", "start")} < pairs
    assert [run["name"] for run in saved_runs(made.parent)] == ["run"]
    page = (made / "report.html").read_text("utf-8")
    assert page.count("<svg") == 2 and "barrier" in page and "Wortsman" in page


def test_the_merged_model_predicts_and_is_scored_as_its_parents_are(made, target, capsys):
    folder = target.removeprefix("csv:").rpartition("/")[0]
    assert cli.main(front.work, ["predict", str(made), "--image", f"{folder}/95.png"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in NAMES)
    words = ["--data", target, "--split", "test", "--json"]
    assert cli.main(front.work, ["evaluate", str(made), *words]) == 0
    scored = json.loads(capsys.readouterr().out)
    assert cli.main(front.work, ["compare", str(made), "--arms", "soup", "parent 1", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["pairs"]) == 1
    assert scored["examples"] == 24 and scored["rows"]["trained_on"] == 0  # the digests of its parents' rows are kept


def test_runs_are_merged_by_their_folders(found):
    result, folder = found
    rows = {row["name"]: row for row in result["rows"]}
    assert list(rows) == ["start", "parent 1", "parent 2", "soup", "task", "wise", "ensemble"]
    assert (folder / "report.html").is_file() and result["run"] == str(folder)
    for name in ("task", "wise"):  # λ = 0 and α = 0 are the start
        assert rows[name]["score"] == rows["start"]["score"]
    assert min(result["similarity"].values()) > 0.5
    ends = [line["points"][place]["accuracy"] for line in result["lines"][:1] for place in (0, -1)]
    assert ends == [rows[f"parent {place}"]["validation"] for place in (1, 2)]


def test_models_of_other_starts_classes_and_architectures_are_refused(made, tmp_path, capsys):
    import keras

    from tfxfer import from_run

    first = made / "members" / "1"

    def refused(message, *words, other=tmp_path / "other"):
        assert merge(first, other, "--how", "soup", "--run-dir", tmp_path / "new", *words) == 2
        assert message in " ".join(capsys.readouterr().err.split())

    shutil.copytree(first, tmp_path / "other")
    model = from_run(first)
    rng = np.random.default_rng(0)
    model.model.set_weights([rng.permutation(one.ravel()).reshape(one.shape) for one in model.model.get_weights()])
    model.save(tmp_path / "other")
    refused("seems to have another start", "--data-dir", made.parent / "data")
    inputs = keras.Input((None, None, 1))
    pooled = keras.layers.GlobalMaxPooling2D()(keras.layers.Conv2D(4, 3)(inputs))
    model._set(keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(pooled)))
    model.save(tmp_path / "other")
    refused("has another architecture than")
    model.class_names = ("dark", "light", "red")
    model.save(tmp_path / "other")
    refused("has other classes than")
    (tmp_path / "other" / "model.keras").write_bytes(b"PK")
    shutil.copy(first / "model.json", tmp_path / "other")
    refused("other/model.keras")
    (tmp_path / "other" / "model.keras").unlink()
    refused("not a finished run or saved model (model.keras missing)")
    refused("is given twice", other=first)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["one"], "one run alone cannot be merged"),
        (["--alpha", "1.5"], "--alpha 1.5: is a fraction, from 0 to 1"),
        (["--drop", "-1"], "--drop -1.0: must not be negative"),
        (["--how", "tie"], "--how tie: not one of its values; did you mean 'ties'"),
        (["--how", "ensemble"], "has no weights that could be saved"),
        (["--base", "x"], "no run is given"),
        (["a", "b", "--members", "3"], "--members: is for fine-tuning"),
        (["a", "b"], "a: there is no such folder"),
    ],
)
def test_a_wrong_request_is_refused_at_once(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert merge(*words) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())
