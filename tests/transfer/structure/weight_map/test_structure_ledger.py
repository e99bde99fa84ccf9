"""Output for readers: the ledger, the explanation of a row, and the sentence of a proof."""

import io

import keras
import numpy as np
import pytest
from nets import batch, cnn, holder, randomise
from rich.console import Console

from tfxfer.errors import UserError
from tfxfer.transfer.structure import plan
from tfxfer.transfer.structure.weight_map.ledger import entries

pytestmark = pytest.mark.tensorflow
layers = keras.layers


def printed(weight_map, width=200, **options):
    file = io.StringIO()
    weight_map.summary(Console(file=file, width=width), **options)
    return file.getvalue()


def blocks(count):
    x = inputs = keras.Input((4,))
    for i in range(count):
        x = layers.Dense(4, name=f"block_{i}")(x)
    return keras.Model(inputs, layers.Dense(2, name="top")(x), name=f"blocks{count}")


def test_the_ledger_shows_sources_operations_and_sizes():
    arrays = {"a": np.ones((2, 3), np.float32), "unused": np.ones(7, np.float32)}
    target = holder(moved=(3, 2), made=(2,), random=(2,))
    weight_map = plan(arrays, target, [("a", "m/moved", "transpose"), (None, "m/made", "zero")])
    text = printed(weight_map)
    row = next(line for line in text.splitlines() if line.strip().startswith("m/moved"))
    assert row.split() == ["m/moved", "3×2", "transpose", "a", "6", "60.0%"]
    assert "moved: 6 parameters (60.0%) of 10 in 3 tensors" in text
    assert "made without a source: 2 parameters (20.0%): m/made" in text
    assert (
        "stay as they are, random if nothing was loaded (apply() refuses unless you allow them): 2 parameters" in text
    )
    assert "read by no row: 1 tensors, 7 parameters: unused" in text
    assert "promise: none" in text
    assert weight_map.coverage == pytest.approx(0.6)
    assert weight_map.unmatched == {"target": ["m/random"], "source": ["unused"]}


def test_equal_blocks_are_one_line_by_default():
    weight_map = plan(blocks(3), blocks(3))
    assert "block_*/kernel ×3" in printed(weight_map) and "block_1/kernel" not in printed(weight_map)
    assert "block_1/kernel" in printed(weight_map, group=False) and "block_1/kernel" in str(weight_map)
    for group in (True, False):
        found = entries(weight_map, group)
        assert sum(entry["parameters"] for entry in found) == blocks(3).count_params()
        assert sum(entry["share"] for entry in found) == pytest.approx(1)
        assert sum(entry["tensors"] for entry in found) == 8


def test_narrow_terminals_show_everything():
    text = printed(plan(blocks(1), blocks(1)), width=60).replace(" ", "").replace("\n", "")
    assert "copy" in text and "100.0%" in text


def test_names_are_printed_as_they_are():
    """Square brackets are markup to rich; a name with them must be printed."""
    weight_map = plan({"[red]w": np.ones(2, np.float32)}, holder(x=(2,)), [("[red]w", "m/x", "copy")])
    assert "[red]w" in printed(weight_map)


def test_a_row_is_explained():
    weight_map = plan(randomise(cnn(classes=2)), cnn(classes=3))
    told = weight_map.explain("conv1/kernel")
    assert told.startswith("conv1/kernel: float32 [3, 3, 2, 3], 54 parameters")
    assert "reads source:conv1/kernel" in told and "copy: Copy the tensor unchanged." in told
    assert "why: same path" in told and "preserves the outputs by itself: yes" in told
    assert "not allowed: apply() refuses" in weight_map.explain("classes/bias")
    with pytest.raises(UserError, match="no tensor 'conv1/kernl'; did you mean 'conv1/kernel'"):
        weight_map.explain("conv1/kernl")


# Proof


def test_a_proof_distinguishes_equal_from_different():
    source, target = randomise(cnn()), cnn()
    weight_map = plan(source, target)
    before = weight_map.verify(batch(target))
    assert before.kept is False and before.relative > 1e-3
    assert before.sentence.startswith("The target does NOT compute what the source computes; on 4 inputs")
    weight_map.apply()
    after = weight_map.verify(batch(target))
    assert after.kept and after.agreement == 1 and str(after) == after.sentence
    assert after.sentence.startswith("The target computes what the source computes; on 4 inputs")


def test_differences_are_those_of_the_outputs():
    source, target = randomise(cnn()), randomise(cnn(), 5)
    x = batch(target, n=70)
    ours, theirs = np.asarray(target(x), np.float64), np.asarray(source(x), np.float64)
    proof = plan(source, target).verify(x, batch_size=32)
    assert proof.examples == 70
    assert proof.absolute == pytest.approx(np.abs(ours - theirs).max(), rel=1e-5)
    assert proof.relative == pytest.approx(proof.absolute / np.abs(theirs).max())
    assert proof.agreement == (ours.argmax(-1) == theirs.argmax(-1)).mean()


def test_where_equality_is_not_promised_agreement_is_reported():
    source, target = randomise(cnn(classes=3)), randomise(cnn(classes=3), 1)
    weight_map = plan(source, target, [(None, "classes/bias", "keep")])
    weight_map.apply()
    proof = weight_map.verify(batch(target))
    assert proof.expected == "agree" and proof.kept is None
    assert "does not promise equal outputs" in proof.sentence and "the same prediction in" in proof.sentence
    assert weight_map.verify(batch(target), expect="equal").kept is False


def test_a_promise_with_a_condition_names_it():
    source, target = randomise(cnn(channels=3)), randomise(cnn(channels=1), 1)
    weight_map = plan(source, target, [("conv1/kernel", "conv1/kernel", "channels")])
    weight_map.apply()
    grey = batch(target)
    assert weight_map.preserves == "if all channels of an image are equal"
    assert weight_map.verify(grey, source_inputs=np.repeat(grey, 3, -1)).kept
    coloured = weight_map.verify(grey, source_inputs=batch(source))
    assert "(the map promises it only if all channels of an image are equal)" in coloured.sentence


def test_files_of_weights_are_verified_against_a_reference():
    source, target = randomise(cnn()), cnn()
    arrays = {v.path: v.numpy() for v in source.variables}
    weight_map = plan(arrays, target)
    weight_map.apply()
    x = batch(target)
    with pytest.raises(UserError, match="cannot run; give reference="):
        weight_map.verify(x)
    assert weight_map.verify(x, reference=lambda inputs: source(inputs)).kept
    assert weight_map.verify(x, reference=np.asarray(source(x))).kept
    assert not weight_map.verify(x, reference=np.zeros((4, 3))).kept


def test_models_with_several_outputs_are_compared_on_common_outputs():
    def net(also):
        a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b")
        joined = layers.Dense(2, name="join")(layers.Concatenate()([a, b]))
        outputs = {"joined": joined} | ({"more": layers.Dense(1, name="more")(a)} if also else {})
        return keras.Model({"a": a, "b": b}, outputs)

    source, target = randomise(net(False)), randomise(net(True), 1)
    weight_map = plan(source, target, allow="more/*")
    weight_map.apply()
    x = {"a": np.ones((5, 3), np.float32), "b": np.zeros((5, 3), np.float32)}
    assert weight_map.verify(x, expect="equal").kept
    with pytest.raises(UserError, match=r"inputs have \[4, 5\] examples"):
        weight_map.verify({"a": x["a"], "b": x["b"][:4]})
    with pytest.raises(UserError, match=r"inputs have \[0\] examples"):
        weight_map.verify({name: value[:0] for name, value in x.items()})


def test_outputs_that_cannot_be_compared_are_refused():
    weight_map = plan(randomise(cnn(classes=2)), cnn(classes=3), allow="classes/*")
    with pytest.raises(UserError, match=r"\[4, 3\] from the target and \[4, 2\] from the source"):
        weight_map.verify(batch(cnn()))
    with pytest.raises(UserError, match="did you mean 'equal'"):
        weight_map.verify(batch(cnn()), expect="equla")
    with pytest.raises(UserError, match="nothing to compare"):
        weight_map.verify(batch(cnn()), reference={"a": np.zeros((4, 3)), "b": np.zeros((4, 3))})


def test_outputs_that_are_not_finite_are_never_equal():
    source, target = randomise(cnn()), cnn()
    weight_map = plan(source, target)
    weight_map.apply()
    target.get_layer("classes").bias.assign([np.nan, 0, 0])
    assert weight_map.verify(batch(target)).kept is False
