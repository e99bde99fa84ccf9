"""How many labels a class, and how many pairs, a target allows is asked before anything is trained."""

from types import SimpleNamespace

import pytest
from here import Quiet, config_of

import tfxfer
from tfxfer.errors import UserError
from tfxfer.tasks.captioned_images import pairs_there_are
from tfxfer.tasks.classification import labels_there_are


@pytest.fixture
def texts(tmp_path):
    """12 training texts of a, 7 of b and 3 of c, and two of each in the other splits."""
    file = tmp_path / "texts.csv"
    counts = {
        "train": {"a": 12, "b": 7, "c": 3},
        "validation": dict.fromkeys("abc", 2),
        "test": dict.fromkeys("abc", 2),
    }
    rows = [f"{name} {split} {i},{name},{split}" for split, each in counts.items() for name, n in each.items()
            for i in range(n)]  # fmt: skip
    file.write_text("\n".join(["text,label,split", *rows]), "utf-8")
    return tfxfer.load(f"csv:{file}")


def allowed(texts, **options):
    run = Quiet()
    return labels_there_are(config_of("feature", **options), texts, run), run.said


def test_the_default_shrinks_to_the_smallest_class_and_says_so(texts):
    found, said = allowed(texts)
    assert found == (3,)
    assert said == ["labels a class: 3, as class 'c' has 3 training examples; --labels-per-class says otherwise"]


def test_a_class_that_is_left_out_does_not_count(texts):
    assert allowed(texts, leave_out=("c",))[0] == (5, 7)


def test_what_fits_stays_and_is_not_mentioned(texts):
    assert allowed(texts, labels_per_class=(1, 3)) == ((1, 3), [])


def test_what_was_asked_for_is_never_changed(texts):
    with pytest.raises(UserError, match="class 'c' has 3"):
        allowed(texts, labels_per_class=(2, 5))


def test_the_default_number_of_pairs_shrinks_to_what_there_is_and_what_was_asked_for_does_not(tmp_path):
    captioned = SimpleNamespace(captions=lambda split: [[f"caption {i // 2}"] for i in range(1600)])  # 800 of their own
    run = Quiet()
    assert pairs_there_are(config_of("captioning", target="captions:a.csv"), captioned, run) == (150, 500, 800)
    assert run.said == [
        "pairs: 150, 500, 800, as captions:a.csv has 800 training images with captions of their own; --pairs says "
        "otherwise"
    ]
    assert pairs_there_are(config_of("captioning", pairs=(150, 900)), captioned, run) == (150, 900)
