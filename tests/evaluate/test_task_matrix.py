"""Who helped whom: planted effects are found where they were planted, and nowhere else."""

import numpy as np
import pytest

from tfxfer.evaluate.task_matrix import ALL, WITH, task_matrix
from tfxfer.records import Comparison, Record
from tfxfer.report.figures import task_matrix as figure

MEASURES = {"a": "a_accuracy", "b": "b_accuracy", "c": "c_token_f1"}
GAIN = {("a", "b"): 0.3, ("a", ALL): 0.3, ("c", ALL): -0.3}  # (task, what trained beside it) -> a planted effect


def made(arms=("transfer", "alone", "pairs"), examples=400):
    rng = np.random.default_rng(0)
    difficulty = {task: rng.random(examples) for task in MEASURES}

    def scores(task, other=None):
        chance = 0.5 + GAIN.get((task, other), 0.0)
        return (difficulty[task] + rng.normal(0, 0.05, examples) < chance).astype(np.float32)

    found = []
    for seed in range(3):
        rows = {
            "alone": {name: scores(task) for task, name in MEASURES.items()},
            "transfer": {name: scores(task, ALL) for task, name in MEASURES.items()},
            "pairs": {
                f"{name}{WITH}{other}": scores(task, other)
                for task, name in MEASURES.items()
                for other in MEASURES
                if other != task
            },
        }
        found += [Record(arm, 10, seed, trainable=1, scores=rows[arm]) for arm in arms]
    return Comparison("t", (), np.zeros(examples), tuple(found), measures=tuple(MEASURES.values()), unit="images")


def test_planted_effects_are_found_and_no_others():
    cells = task_matrix(made(), MEASURES)
    words = {(cell["task"], cell["with"]): cell["adjusted"] for cell in cells if "difference" in cell}
    assert len(words) == 9
    for place, word in words.items():
        assert word == {0.3: "helped", -0.3: "hurt"}.get(GAIN.get(place), "no evidence"), place
    alone = {cell["task"]: cell["score"] for cell in cells if "score" in cell}
    assert alone == pytest.approx(dict.fromkeys(MEASURES, 0.5), abs=0.06)


def test_arms_that_were_not_run_leave_no_cell():
    assert {cell["with"] for cell in task_matrix(made(("transfer", "alone")), MEASURES)} == {*MEASURES, ALL}
    assert not [cell for cell in task_matrix(made(("transfer",)), MEASURES) if "difference" in cell]


def test_the_figure_says_every_number():
    cells = task_matrix(made(), MEASURES)
    drawn = figure([*MEASURES, ALL], list(MEASURES), cells)
    texts = [text.get_text() for text in drawn.axes[0].texts]
    assert len(texts) == 3 * 12 and texts.count("alone") == 3 and texts.count("hurt") == 1
    assert figure([], [], []) is None


def test_the_panel_names_each_task_its_helpers_and_the_common_budget():
    from tfxfer.recipes.panels.multitask import matrix_panel

    panel = matrix_panel(made(), MEASURES, {"a": 4, "b": 4, "c": 8})
    assert "4 of a, 4 of b, 8 of c" in panel.paragraphs[0] and "10 images in training" in panel.paragraphs[0]
    assert [point.split(",")[0] for point in panel.points] == ["a", "b", "c"]
    assert panel.points[0].count("helped") == 2 and panel.points[2].count("hurt") == 1
    assert panel.notes == ("Holm's adjustment for 9 comparisons takes back none of the words.",)
    assert matrix_panel(made(("transfer",)), MEASURES, {}) is None
