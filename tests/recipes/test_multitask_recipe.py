"""The recipe of several tasks: what is refused, a small run through the command, its report and its saved model."""

import csv
import json

import here
import numpy as np
import pytest
from PIL import Image

from tfxfer import predict
from tfxfer.cli import main
from tfxfer.config import TargetConfig
from tfxfer.errors import UserError
from tfxfer.records import Comparison
from tfxfer.report.panel import read_panels

SHAPES, COLOURS = ("circle", "square"), ("blue", "red")


def table(folder, side=8, images=60, seed=0):
    """Write images of coloured shapes as noise, and a table with two questions about each; return the table."""
    rng = np.random.default_rng(seed)
    folder.mkdir(exist_ok=True)
    path = folder / "shapes.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "shape", "colour", "caption", "question", "answer"])
        for i in range(images):
            name, shape, colour = f"{seed}-{i}.png", SHAPES[i % 2], COLOURS[i // 2 % 2]
            Image.fromarray(rng.integers(0, 255, (side, side, 3)).astype(np.uint8)).save(folder / name)
            for question, answer in (("which shape?", shape), ("which colour?", colour)):
                rows.writerow([name, shape, colour, f"a {colour} {shape}", question, answer])
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tasks": ("classify", "captoin")}, "--tasks captoin: there is no such task; did you mean 'caption'"),
        ({"tasks": ("vqa",)}, "--tasks vqa: one task has nothing to share; .* `tfxfer train vqa`"),
        ({"tasks": ("vqa", "caption", "vqa")}, "vqa is there twice"),
        ({"tasks": ("vqa:answer", "caption")}, "only classify takes a column"),
        ({"loss_weights": "1,2"}, "2 numbers for 3 tasks; give one for each of classify, caption, vqa"),
        ({"loss_weights": "1,-1,2"}, "caption has -1; a weight is a number above 0"),
        ({"loss_weights": "gradnrom"}, "did you mean 'gradnorm'"),
        ({"sampling": "temperature:2"}, "--sampling temperature:2: give uniform, proportional"),
        ({"task_data": ("caption",)}, "--task-data caption: write TASK=SPEC"),
        ({"task_data": ("captions=glyphs",)}, "captions is none of --tasks; did you mean 'caption'"),
        ({"image_encoder": "fresh:cnn"}, "random is the same as transfer; leave random out"),
        ({"arms": ("alone",)}, "'transfer' is the method under study"),
    ],
)
def test_what_cannot_be_is_refused_before_tensorflow(change, message):
    with pytest.raises(UserError, match=message):
        here.check("multitask", **change)


@pytest.mark.tensorflow
def test_images_of_different_sizes_are_refused_or_resized(tmp_path):
    from tfxfer.recipes.multitask import MultiTaskConfig
    from tfxfer.runs import Run
    from tfxfer.tasks.multitask import load_data

    specs = {
        "classify:shape": f"csv:{table(tmp_path / 'a', 8)}",
        "caption": f"csv:{table(tmp_path / 'b', 12, seed=1)}",
    }
    run = Run("multitask", MultiTaskConfig(run_dir=str(tmp_path / "run")))
    with pytest.raises(UserError, match=r"different sizes \(classify:shape 8x8, caption 12x12\).*--image-size 64"):
        load_data(specs, TargetConfig(), MultiTaskConfig(), run)
    assert set(load_data(specs, TargetConfig(image_size=8), MultiTaskConfig(), run)) == set(specs)
    with pytest.raises(UserError, match="has no captions for the task caption; name the column with --target-caption"):
        rows = "".join(f"a/0-{i}.png,{SHAPES[i % 2]}\n" for i in range(40))
        (tmp_path / "c.csv").write_text(f"image,shape\n{rows}")
        load_data({"caption": f"csv:{tmp_path / 'c.csv'}"}, TargetConfig(), MultiTaskConfig(), run)
    run.close()


@pytest.fixture(scope="module")
def run(data_dir, tmp_path_factory):
    """Three tasks, two of them about the same images, the third with a table of its own; (folder, what was printed)."""
    place = tmp_path_factory.mktemp("multitask")
    other = table(place / "other", side=12, images=90, seed=1)
    words = ["--target", f"csv:{table(place / 'data')}", "--tasks", "classify:shape,caption,vqa", "--smoke"]
    words += ["--image-encoder", "fresh:cnn", "--arms", "transfer", "typical", "--seeds", "1"]
    words += ["--loss-weights", "uncertainty", "--task-data", f"caption=csv:{other}", "--image-size", "8"]
    done = here.command("multitask", *words, "--run-dir", place / "run", data_dir=data_dir)
    assert done.returncode == 0, done.stderr
    return place / "run", done.stdout


@pytest.mark.tensorflow
def test_a_run_scores_each_task_and_says_what_is_shared(run):
    comparison = Comparison.load(run[0])
    measures = ("classify:shape_accuracy", "caption_token_f1", "vqa_answers")
    assert comparison.measures == measures and comparison.unit == "images"
    assert not [record.error for record in comparison.records if record.status == "failed"]
    for record in comparison.records:
        lengths = [len(record.scores[name]) for name in measures]
        assert lengths[0] == lengths[2] == len(comparison.labels) != lengths[1]
    panels = {panel.title: panel for panel in read_panels(run[0])}
    *tasks, together, single = panels["Shared and private parameters"].tables[0]["rows"]
    assert [row[0] for row in tasks] == ["classify:shape", "caption", "vqa"]
    assert together[3] == tasks[0][1] + sum(row[2] for row in tasks) and single[3] == sum(row[3] for row in tasks)
    assert panels["Weights of the tasks"].tables[0]["rows"][0][1] == "uncertainty"


@pytest.mark.tensorflow
def test_the_saved_model_answers_with_each_head(run, capsys):
    image = str(next((run[0].parent / "data").glob("*.png")))
    asked = [str(run[0]), "--image", image, "--question", "which shape?", "which colour?", "--json"]
    assert main(predict.work, asked) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    ends = [row["input"].removeprefix(image) for row in rows]
    assert ends == [" (classify:shape)", " (caption)", ": which shape?", ": which colour?"]
    assert {name for name, _ in rows[0]["top"]} == set(SHAPES)


class Fixed:
    """An arm that answers with given scores, and validates with a given one."""

    def __init__(self, tasks, score, validation=0.5):
        self.tasks, self.score, self.validation, self.asked, self.recalled = tasks, score, validation, [], []

    def __call__(self, budget, seed):
        from tfxfer.experiment import Outcome
        from tfxfer.tasks.multitask import measure_of

        self.asked.append((budget, seed))
        scores = {measure_of(task): np.full(3, self.score) for task in self.tasks}
        return Outcome(None, {"validation": {"0.01": self.validation}}, 10, scores=scores)

    def recall(self, record):
        self.recalled.append(record.settings)


@pytest.mark.tensorflow
def test_pairs_keep_each_partner_and_their_mean_and_go_on_where_a_run_stopped():
    from tfxfer.arms.multitask import SeveralArms
    from tfxfer.records import Record

    pairs = [("classify", "vqa"), ("classify", "caption"), ("caption", "vqa")]
    several = SeveralArms([Fixed(pair, score) for pair, score in zip(pairs, (0.2, 0.4, 0.8))])
    found = several(10, 0)
    assert found.trainable == 30 and found.scores["classify_accuracy with vqa"][0] == pytest.approx(0.2)
    means = {name: found.scores[name][0] for name in ("classify_accuracy", "caption_token_f1", "vqa_answers")}
    assert means == pytest.approx({"classify_accuracy": 0.3, "caption_token_f1": 0.6, "vqa_answers": 0.5})
    several.recall(Record("pairs", 10, 0, settings=found.settings))
    assert [len(arm.recalled) for arm in several.arms.values()] == [1, 1, 1]


@pytest.mark.tensorflow
def test_weights_chosen_on_validation_stay_for_all_seeds_of_a_budget():
    from tfxfer.arms.multitask import ChosenArm

    arms = {name: Fixed(("vqa", "caption"), 1.0, v) for name, v in (("fixed", 0.3), ("gradnorm", 0.6))}
    chosen = ChosenArm(arms)
    assert chosen(10, 0).settings["loss weights"] == chosen(10, 1).settings["loss weights"] == "gradnorm"
    assert arms["fixed"].asked == [(10, 0)] and arms["gradnorm"].asked == [(10, 0), (10, 1)]
