"""Every built-in transform by its name on the command line: the classifier it makes, its proof, its refusals."""

from dataclasses import replace

import here
import numpy as np
import pytest

from tfxfer import source
from tfxfer.errors import UserError
from tfxfer.recipes.structure import DEFAULTS, TRANSFORMS, StructureConfig, resolved
from tfxfer.records import Comparison

pytestmark = pytest.mark.tensorflow


class Letters:
    """A task of two classes of images, and of texts, without any data set behind it."""

    def __init__(self, key):
        self.key, self.class_names, self.image_shape = key, ("a", "b"), (40, 40, 1)
        self.dataset, self.reading = self, {}

    def texts(self, split):
        return ["abba", "baab cc"]


def transform_of(name, model, key, **change):
    from tfxfer.arms.structure_transfer import STRUCTURE_TRANSFERS

    config = replace(resolved(StructureConfig(transfer=name)), max_length=16, **change)
    return STRUCTURE_TRANSFERS[name](model, Letters(key), config)


@pytest.fixture(scope="module")
def cnn():
    return source("fresh:cnn", num_classes=12, seed=0)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(0, 255, (3, 40, 40, 1)).astype("float32")


@pytest.mark.parametrize("name", ["widen", "deepen", "resize_input"])
def test_an_image_model_made_anew_computes_the_same_and_then_gets_a_fresh_head(name, cnn, images):
    transform = transform_of(name, cnn, "image")
    weight_map = transform.plan(cnn, "all", 0)
    assert "computes what the source computes" in transform.proof(weight_map, images)
    model = transform.model(cnn, "all", 0)
    assert model(images).shape == (3, 2)
    assert model.trainable_weights and not [v for v in model.non_trainable_weights if "moving" not in v.path]
    assert transform.unchanged(0)(images).shape == (3, 2)


def test_shrink_halves_and_widen_doubles_what_is_not_named(cnn):
    sizes = {name: transform_of(name, cnn, "image").model(cnn, "all", 0).get_layer("conv2").filters for name in GROWN}
    assert sizes == {"widen": 2 * 32, "shrink": 16}


GROWN = ("widen", "shrink")


def test_named_layers_alone_change(cnn):
    model = transform_of("widen", cnn, "image", units=("conv1=20",)).model(cnn, "all", 0)
    assert [model.get_layer(f"conv{i}").filters for i in (1, 2, 3, 4)] == [20, 32, 64, 128]
    model = transform_of("deepen", cnn, "image", after=("relu1", "relu2")).model(cnn, "all", 0)
    assert len(model.layers) == len(cnn.layers) + 2


def test_merge_lies_between_two_models_from_one_start(cnn, tmp_path, images):
    other = source("fresh:cnn", num_classes=12, seed=0)
    other.get_layer("conv1").kernel.assign(cnn.get_layer("conv1").kernel + 1.0)
    other.save(tmp_path / "other.keras")
    transform = transform_of("merge", cnn, "image", second=f"file:{tmp_path / 'other.keras'}")
    made = transform.model(cnn, "all", 0).get_layer("conv1").kernel
    np.testing.assert_allclose(made, cnn.get_layer("conv1").kernel + 0.5, rtol=1e-5)


@pytest.fixture(scope="module")
def vit():
    return source("fresh:vit", num_classes=12, seed=0)


def test_a_vision_transformers_blocks_take_text(vit):
    transform = transform_of("vision_to_encoder", vit, "text")
    model = transform.model(vit, "fpt", 0)
    answers = model(np.array(["abba", "", "cccccccccccccccccccccccccc"], object))
    assert answers.shape == (3, 2) and np.isfinite(answers).all()
    kernel = "feedforward_intermediate_dense/kernel"
    ours = next(v for v in model.variables if v.path.endswith(f"transformer_layer_1/{kernel}"))
    theirs = next(v for v in vit.variables if v.path.endswith("transformer_block_2/mlp/dense_1/kernel"))
    np.testing.assert_array_equal(ours, theirs)
    trains = {v.path for v in model.trainable_variables}
    assert any("token_embedding" in path for path in trains) and not any(path.endswith(kernel) for path in trains)
    assert len(transform.model(vit, "all", 0).trainable_variables) > len(trains)


def test_padding_does_not_count(vit):
    """A text answers the same whatever stands behind it in the batch."""
    model = transform_of("vision_to_encoder", vit, "text").model(vit, "fpt", 0)
    alone = model(np.array(["ab"], object))
    np.testing.assert_allclose(model(np.array(["ab", "abbaabba"], object))[:1], alone, atol=1e-6)


def test_a_model_of_the_other_modality_is_refused(cnn):
    with pytest.raises(UserError, match="--transfer encoder_to_vision: makes a model for images out of one for texts"):
        transform_of("encoder_to_vision", cnn, "image")


def test_more_tokens_than_positions_are_refused(vit):
    transform = transform_of("vision_to_encoder", vit, "text")
    transform.config = replace(transform.config, max_length=65)
    with pytest.raises(UserError, match="the source has 64 positions"):
        transform.model(vit, "fpt", 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"transfer": "merge"}, "--second file:MODEL.keras"),
        ({"transfer": "merge", "second": "file:nowhere.keras"}, "nowhere.keras does not exist"),
        ({"transfer": "widen", "units": ("conv1",)}, "--units conv1: write LAYER=NUMBER"),
        ({"transfer": "deepen", "units": ("conv1=3",)}, "--units is for --transfer widen or shrink, not deepen"),
        ({"transfer": "shrink", "noise": 0.1}, "--noise is for --transfer widen"),
        ({"after": ("relu1",)}, "--after is for --transfer deepen, not encoder_to_vision"),
    ],
)
def test_options_that_do_not_go_with_a_transfer_are_refused_before_tensorflow_starts(change, message):
    with pytest.raises(UserError, match=message):
        here.check("structure", **change)


def test_every_transform_has_defaults_and_passes_the_checks():
    assert set(DEFAULTS) == set(TRANSFORMS)
    for name in TRANSFORMS:
        found = resolved(StructureConfig(transfer=name))
        assert "auto" not in (found.source.spec, found.target.spec) and "transfer" in found.arms
        if name != "merge":  # which needs a second model
            here.check("structure", transfer=name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["widen", "deepen", "shrink", "resize_input", "vision_to_encoder"])
def test_every_transfer_runs_through_the_command(name, data_dir, tmp_path):
    words = ("structure", "--smoke", "--transfer", name, "--run-dir", tmp_path / "run")
    done = here.process(*words, data_dir=data_dir)
    assert done.returncode == 0, done.stderr
    comparison = Comparison.load(tmp_path / "run")
    assert {"transfer", "random", "finetune", "native", "majority"} <= set(comparison.arms)
    assert not [record.error for record in comparison.records if record.status == "failed"]
