"""What every row of `SCORES` promises: a float within its bounds, its invariances, and a clear error for the rest."""

from pathlib import Path

import numpy as np
import pytest

from tfxfer.choose import ARRAYS, SCORES, gbc, mmd, mutual_knn, score, transrate
from tfxfer.errors import UserError

CLASSES = 3
SHAPES = {"tall": (48, 5), "wide": (48, 90), "one feature": (48, 1)}
every_score = pytest.mark.parametrize("name", SCORES)


def arrays(rows=48, width=5, seed=0, dtype=np.float64):
    """All arrays that a score may need, with some signal."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(rows) % 4 % CLASSES)
    F = (rng.normal(size=(CLASSES, width))[y] + rng.normal(size=(rows, width))) * np.linspace(0.5, 2, width) + 1
    theta = rng.dirichlet(np.ones(4), rows)
    other = F[:, :3] + rng.normal(size=(rows, min(3, width)))
    given = {"features": F, "probabilities": theta, "other": other, "source_features": F[: rows // 2] + 0.3}
    return {need: array.astype(dtype) for need, array in given.items()} | {"labels": y}


def of(name, given):
    return SCORES[name].function(*(given[need] for need in SCORES[name].needs))


@pytest.mark.parametrize("shape", SHAPES)
@every_score
def test_it_is_a_float_within_its_bounds(name, shape):
    value = of(name, arrays(*SHAPES[shape]))
    low, high = SCORES[name].bounds(CLASSES)
    assert type(value) is float and np.isfinite(value)
    assert low - 1e-9 <= value <= high + 1e-9


@pytest.mark.parametrize("width", [5, 90])
@every_score
def test_it_is_invariant_to_what_its_row_names(name, width):
    given, rng = arrays(48, width), np.random.default_rng(1)
    value, invariant = of(name, given), SCORES[name].invariant
    order = rng.permutation(48)
    rotation = np.linalg.qr(rng.normal(size=(width, width)))[0]
    changes = {
        "rows": {need: a[order if len(a) == 48 else order[order < 24]] for need, a in given.items()},
        "rotation": given | {need: given[need] @ rotation for need in ("features", "source_features")},
        "labels": given | {"labels": np.array(["zebra", "ant", "mole"])[given["labels"]]},
    }
    for change in invariant:
        assert of(name, changes[change]) == pytest.approx(value, rel=1e-7, abs=1e-9), change


@every_score
def test_copies_of_rows_a_constant_feature_and_float32_are_no_trouble(name):
    given = arrays()
    low, high = SCORES[name].bounds(CLASSES)
    copied = {need: np.concatenate([array, array]) for need, array in given.items()}
    assert low - 1e-9 <= of(name, copied) <= high + 1e-9
    constant = {need: np.pad(array, ((0, 0), (0, 1))) for need, array in given.items() if array.ndim == 2}
    if name != "h_score_shrunk":  # which shrinks towards the mean variance of all D features
        assert of(name, given | constant) == pytest.approx(of(name, given), rel=1e-6)
    assert of(name, arrays(dtype=np.float32)) == pytest.approx(of(name, given), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("name", [name for name, row in SCORES.items() if "labels" in row.needs])
def test_it_is_higher_with_the_labels_than_with_shuffled_ones(name):
    given, rng = arrays(120), np.random.default_rng(2)
    given["probabilities"] = 0.5 * given["probabilities"] + 0.5 * np.eye(4)[given["labels"]]
    shuffled = [of(name, given | {"labels": rng.permutation(given["labels"])}) for _ in range(5)]
    assert of(name, given) > max(shuffled) and SCORES[name].better


@pytest.mark.parametrize("name", [name for name, row in SCORES.items() if "source_features" in row.needs])
def test_a_gap_is_larger_where_the_samples_lie_apart(name):
    given = arrays()
    assert of(name, given | {"source_features": given["source_features"] + 3}) > of(name, given)
    assert not SCORES[name].better


def with_value(array, value):
    changed = array.copy()
    changed[7, 0] = value
    return changed


BAD_ROWS = {  # what is done to an array of numbers -> what the error says
    "nan": (lambda a: with_value(a, np.nan), "1 of 48 rows are not finite, the first is row 7"),
    "infinite": (lambda a: with_value(a, np.inf), "not finite, the first is row 7"),
    "huge": (lambda a: with_value(a, 1e200), r"row 7 has a value beyond 1e\+100; scale"),
    "tiny": (lambda a: a * 1e-200, "no value is beyond .*e-20[01]; scale"),
    "text": (lambda a: a.astype(str), "must be numbers .* not <U"),
    "flat": (lambda a: a[:, 0], r"must be \[N, D\], a row an example, not \[48\]; one number a row is .*reshape"),
    "empty": (lambda a: a[:0], r"must be \[N, D\]"),
}
BAD_LABELS = {
    "one class": (lambda y: np.full(48, "cat"), "every row is of class 'cat'; a score needs two classes or more"),
    "own class": (lambda y: np.arange(48), "each of the 48 rows is a class of its own"),
    "too few": (lambda y: y[:-1], r"labels must be \[48\], one for each row of .*, not \[47\]"),
    "fraction": (lambda y: y + 0.5, "row 0 has .*.5; a score needs classes, not numbers with a fraction"),
    "nan": (lambda y: np.where(np.arange(48) == 3, np.nan, y), "1 rows have none, the first is row 3"),
    "none": (lambda y: np.array([None, *y[1:]], object), "1 rows have none, the first is row 0"),
    "mixed": (lambda y: np.array(["a", *y[1:]], object), "labels are of several types"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
@every_score
def test_bad_rows_are_named(name, case):
    change, message = BAD_ROWS[case]
    first = SCORES[name].needs[0]
    given = {need: array[:48] for need, array in arrays(96).items()}
    with pytest.raises(UserError, match=message):
        of(name, given | {first: change(given[first])})


@pytest.mark.parametrize("case", BAD_LABELS)
@pytest.mark.parametrize("name", [name for name, row in SCORES.items() if "labels" in row.needs])
def test_bad_labels_are_named(name, case):
    change, message = BAD_LABELS[case]
    given = arrays()
    with pytest.raises(UserError, match=message):
        of(name, given | {"labels": change(given["labels"])})


@every_score
def test_one_row_and_rows_that_are_all_equal_are_refused(name):
    given = arrays()
    with pytest.raises(UserError, match="one row says nothing"):
        of(name, {need: array[:1] for need, array in given.items()})
    if "probabilities" not in SCORES[name].needs:  # answers that are all alike have a right value: −H(Y)
        alike = {need: np.ones_like(array) for need, array in given.items() if array.ndim == 2}
        with pytest.raises(UserError, match=r"all \d+ rows are equal"):
            of(name, given | alike)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("leep", {"probabilities": np.ones((48, 2))}, "48 rows are no distribution, the first is row 0: .* sum 2"),
        ("nce", {"probabilities": np.tile([-0.5, 1.5], (48, 1))}, "least value -0.5"),
        ("cka", {"other": np.eye(47)}, "row i of both must be the same example, but there are 48 and 47 rows"),
        ("mmd", {"source_features": np.eye(4)}, "4 wide, target features 5; use one φ"),
        ("proxy_a_distance", {"source_features": np.ones((1, 5))}, "one row says nothing"),
        ("cross_validated_probe", {"labels": [0] * 24 + [1] * 23 + [2]}, "row 47 is alone in its class"),
    ],
)
def test_what_does_not_fit_together_is_named(name, change, message):
    with pytest.raises(UserError, match=message):
        of(name, arrays() | change)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda F, y: transrate(F, y, weighting="papr"), "no weighting 'papr'; did you mean 'paper'?"),
        (lambda F, y: transrate(F, y, epsilon=0), "epsilon is 0"),
        (lambda F, y: gbc(F, y, covariance="full"), "no covariance 'full'"),
        (lambda F, y: gbc(F, y, components=0), "components is 0"),
        (lambda F, y: mutual_knn(F, F, k=48), "k is 48; with 48 rows it can be 1 to 47"),
        (lambda F, y: mmd(F, F, bandwidth=0.0), "bandwidth is 0.0"),
        (lambda F, y: score({"features": F, "lables": y}), "no array 'lables'; did you mean 'labels'?"),
        (lambda F, y: score({"features": F, "labels": y}, ["logm"]), "no score 'logm'; did you mean 'logme'?"),
        (lambda F, y: score({"features": F, "labels": y}, ["leep"]), "leep needs 'probabilities': the source's own"),
    ],
)
def test_a_wrong_setting_is_named(call, message):
    given = arrays()
    with pytest.raises(UserError, match=message):
        call(given["features"], given["labels"])


def test_score_gives_a_reason_where_there_is_no_value():
    given = arrays()
    found = {one.name: one for one in score(given)}
    assert list(found) == list(SCORES) and all(one.value == of(one.name, given) for one in found.values())
    alone = given | {"labels": np.array([0] * 24 + [1] * 23 + [2])}
    refused = [one for one in score(alone) if one.value is None]
    assert [one.name for one in refused] == ["cross_validated_probe"] and "alone" in refused[0].why_not


def test_each_row_is_documented():
    text = (Path(__file__).parents[2] / "docs" / "scores.md").read_text("utf-8")
    for name, row in SCORES.items():
        doc = getattr(row.function, "func", row.function).__doc__
        assert f"| `{name}` |" in text and set(row.needs) <= set(ARRAYS)
        if name != "mutual_knn":  # whose parts are explained at `mutual_knn_alignment`
            assert all(part in doc for part in ("Args:", "Returns:", "Raises:", "References:", ">>> ")), name
