"""Keras' h5 files as sources, new and legacy, and other specs that open one."""

import h5py
import keras
import keras_hub
import numpy as np
import pytest
from architectures import HEADS, INNER, LENGTH, WIDTH, WORDS, bert
from written import folder, unchanged, weights_of

from tfxfer.errors import TfxferError, UserError
from tfxfer.transfer.structure import KerasSource, WeightMap, plan
from tfxfer.transfer.structure.checkpoints import ModelFolder, WeightsH5, open_source
from tfxfer.transfer.structure.checkpoints.choosing import table_rules
from tfxfer.transfer.structure.weight_map.sources import tensors_of

pytestmark = pytest.mark.tensorflow
layers = keras.layers


def network(name="net", scale=True, seed=0):
    """A model with nested layers, many layers under Keras' own names, and every kind of tensor."""
    keras.utils.set_random_seed(seed)
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, name="stem")(x)
    x = layers.BatchNormalization(name="norm", scale=scale)(x)
    x = layers.SeparableConv2D(4, 3)(x)
    x = layers.Reshape((16, 4))(x)
    x = layers.MultiHeadAttention(2, 3, name="look")(x, x)
    x = layers.LayerNormalization(name="even")(x)
    x = layers.LSTM(4, name="memory")(x)
    for _ in range(12):
        x = layers.Dense(4)(x)
    inner = keras.Sequential(
        [keras.Input((4,)), layers.Dense(5, name="up"), layers.Dense(4, use_bias=False)], name="in"
    )
    return keras.Model(inputs, layers.Dense(2, name="classes")(inner(x)), name=name)


def small():
    x = keras.Input((4,))
    return keras.Model(x, layers.Dense(3, name="classes")(x), name="small")


def saved(tmp_path, model, form):
    path = tmp_path / {"weights": "x.weights.h5", "legacy": "x.h5", "keras": "x.keras"}[form]
    model.save_weights(path) if form == "weights" else model.save(path)
    return path


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")
@pytest.mark.parametrize("form", ["weights", "legacy", "keras"])
def test_a_saved_model_fills_a_new_one_by_names(tmp_path, form):
    trained = network(seed=1)
    trained.compile("adam", "mse")
    trained.optimizer.build(trained.trainable_variables)  # the optimiser's state is saved too, and is no weight
    path = saved(tmp_path, trained, form)
    fresh = network(seed=2)
    weight_map = plan(str(path), fresh)
    assert weight_map.coverage == 1 and not weight_map.unmatched["source"]
    model = weight_map.apply()
    for one, other in zip(model.variables, trained.variables, strict=True):
        if not one.path.endswith("seed_generator_state"):
            np.testing.assert_array_equal(one.numpy(), other.numpy(), err_msg=one.path)


def test_a_kerashub_backbone_is_read_back(tmp_path):
    sizes = (WORDS, 3, HEADS, WIDTH, INNER)
    trained = keras_hub.models.BertBackbone(*sizes, max_sequence_length=LENGTH)
    trained.save_weights(tmp_path / "x.weights.h5")
    source = WeightsH5(tmp_path / "x.weights.h5")
    assert not source.unnamed
    for name in source.names():
        variable = {v.path: v for v in trained.variables}[name]
        np.testing.assert_array_equal(source.read(name), variable.numpy(), err_msg=name)
    fewer = keras_hub.models.BertBackbone(WORDS, 2, HEADS, WIDTH, INNER, max_sequence_length=LENGTH)
    assert plan(source, fewer).coverage == 1


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_dtypes_are_kept(tmp_path, dtype):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(3, dtype=dtype, name="d")(inputs))
    model.save_weights(tmp_path / "x.weights.h5")
    source = WeightsH5(tmp_path / "x.weights.h5")
    assert source.dtype("d/kernel") == str(source.read("d/kernel").dtype) == dtype
    np.testing.assert_array_equal(source.read("d/kernel"), keras.ops.convert_to_numpy(model.variables[0]))


def test_tensors_without_a_name_are_reported_with_a_remedy(tmp_path):
    trained = network(scale=False, seed=1)
    path = saved(tmp_path, trained, "weights")
    source = WeightsH5(path)
    assert source.unnamed == ["norm/vars/0", "norm/vars/1", "norm/vars/2"]
    fresh = network(scale=False)
    before = weights_of(fresh)
    with pytest.raises(
        UserError, match=r"which tensor of layer 'norm' is which.*\('norm/vars/0', 'norm/beta', 'copy'\)"
    ):
        plan(source, fresh)
    with pytest.raises(UserError, match="3 tensors of net would stay as they are"):
        plan(source, fresh, []).apply()
    assert unchanged(fresh, before)
    names = dict(zip(source.unnamed, ("norm/beta", "norm/moving_mean", "norm/moving_variance")))
    rules = [(ours, theirs, "copy") for ours, theirs in names.items()]
    assert table_rules({"source": source}, tensors_of(KerasSource(fresh)), given=True) == []
    assert plan(source, fresh, rules).coverage == 1
    assert plan(WeightsH5(path, names=names), fresh).coverage == 1
    with pytest.raises(UserError, match=r"there is no tensor 'norm/vars/9'; did you mean 'norm/vars/2'\?"):
        WeightsH5(path, names={"norm/vars/9": "x"})
    with pytest.raises(UserError, match="two tensors are called 'norm/beta'"):
        WeightsH5(path, names=dict.fromkeys(source.unnamed, "norm/beta"))


def rewritten(path, change):
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def _nameless(file):
    file.visititems(lambda _, item: item.attrs.clear())


def _soft(file):
    del file["layers/dense"]
    file["layers/dense"] = h5py.SoftLink("/layers/dense_1")


def _external(file):
    del file["layers/dense"]
    file["layers/dense"] = h5py.ExternalLink("other.h5", "/layers/dense")


def _elsewhere(file):
    del file["layers/dense/vars/0"]
    file["layers/dense/vars"].create_dataset("0", (4, 4), "f4", external=[("/etc/hostname", 0, 64)])


def _unwritten(file):
    del file["layers/dense/vars/0"]
    file["layers/dense/vars"].create_dataset("0", (2**20, 2**20), "f4")


def _text(file):
    del file["layers/dense/vars/0"]
    file["layers/dense/vars/0"] = "text"


def _empty(file):
    for name in list(file):
        del file[name]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (_nameless, "contains no names of layers.*call load_weights on it"),
        (_soft, "'layers/dense' is a link, which Keras never writes"),
        (_external, "'layers/dense' is a link, which Keras never writes"),
        (_elsewhere, "tensor 'dense_.*/kernel' is stored in another file"),
        (_unwritten, r"tensor 'dense_.*' should have shape \[1048576, 1048576\], but its values are missing"),
        (_text, "has the dtype .*, which cannot be read here"),
        (_empty, "contains no weights of Keras"),
    ],
)
def test_files_that_keras_would_not_write_are_refused(tmp_path, change, problem):
    path = rewritten(saved(tmp_path, network(), "weights"), change)
    fresh = small()
    before = weights_of(fresh)
    with pytest.raises(UserError, match=problem) as error:
        plan(str(path), fresh)
    assert "x.weights.h5" in str(error.value) and unchanged(fresh, before)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda f: f["model_weights"].__delitem__("stem"), "layer 'stem' is listed and missing"),
        (
            lambda f: f["model_weights/stem/stem"].__delitem__("bias"),
            "tensor 'stem/bias' of layer 'stem' is listed and",
        ),
    ],
)
def test_legacy_files_that_lack_what_they_list_are_refused(tmp_path, change, problem):
    path = rewritten(saved(tmp_path, network(), "legacy"), change)
    with pytest.raises(UserError, match=problem):
        WeightsH5(path)


@pytest.mark.parametrize("cut", [0, 10, 1000])
def test_a_truncated_file_is_refused(tmp_path, cut):
    path = saved(tmp_path, small(), "weights")
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(UserError, match=r"x.weights.h5: is not a complete h5 file .*save or download it again"):
        WeightsH5(path)


def test_a_file_written_again_is_not_read(tmp_path):
    path = saved(tmp_path, small(), "weights")
    source = WeightsH5(path)
    saved(tmp_path, network(), "weights")
    with pytest.raises(TfxferError, match="has changed since it was opened"):
        source.read("classes/kernel")


# Specs.


def test_specs_open_the_right_source(tmp_path):
    model = small()
    saved(tmp_path, model, "keras")
    (tmp_path / "run").mkdir()
    model.save(tmp_path / "run" / "model.keras")
    folder(tmp_path / "hf", *bert())
    kinds = {
        f"run:{tmp_path / 'run'}": KerasSource,
        f"file:{tmp_path / 'x.keras'}": KerasSource,
        f"{tmp_path / 'x.keras'}": KerasSource,
        f"hf:{tmp_path / 'hf'}": ModelFolder,
        f"file:{saved(tmp_path, model, 'weights')}": WeightsH5,
    }
    for spec, kind in kinds.items():
        assert type(open_source(spec)) is kind
    assert open_source(tmp_path / "hf" / "model.safetensors").names()


def test_a_plan_is_bound_to_a_spec(tmp_path):
    trained = small()
    path = saved(tmp_path, trained, "weights")
    text = plan(path, small()).to_json()
    for spec in (path, str(path)):
        model = WeightMap.from_json(text, source=spec, target=small()).apply()
        np.testing.assert_array_equal(model.get_layer("classes").kernel, trained.get_layer("classes").kernel)


@pytest.mark.parametrize("name", ["model.bin", "x.pt", "x.pth", "x.ckpt", "x.pkl"])
def test_pickles_are_refused_with_the_reason(tmp_path, name):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / name).write_bytes(b"\x80\x02}q\x00.")
    for spec in (f"{tmp_path / name}", f"file:{tmp_path / name}", f"hf:{tmp_path}"):
        with pytest.raises(UserError, match=f"{name}: is a pickled checkpoint, .*can run any code.*safetensors"):
            plan(spec, small())


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("hf:{0}/absent", "the folder .*absent does not exist; did you mean"),
        ("hf:{0}/empty", "contains no model.safetensors; download"),
        ("hf:{0}/bare", "has no config.json, which states the architecture"),
        ("hf:{0}/several", "and 2 others: a.safetensors, b.safetensors; name one"),
        ("hf:{0}/list", "config.json: contains a list and not a dictionary"),
        ("{0}/bare", "is a folder; state its kind: 'hf:"),
        ("{0}/x.onnx", "is not a source of weights; give 'hf:DIR'"),
        ("{0}/absent.h5", "absent.h5: does not exist"),
        ("{0}/absent.keras", "absent.keras does not exist"),
    ],
)
def test_wrong_specs_are_refused(tmp_path, spec, problem):
    tensors, config = bert()
    for name in ("empty", "absen", "several"):
        (tmp_path / name).mkdir()
    (folder(tmp_path / "bare", tensors, config) / "config.json").unlink()
    folder(tmp_path / "list", tensors, [])
    for name in ("a", "b"):
        (tmp_path / "several" / f"{name}.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match=problem):
        open_source(spec.format(tmp_path))


def test_a_folder_with_one_file_of_another_name_is_read(tmp_path):
    folder(tmp_path / "m", *bert())
    (tmp_path / "m" / "model.safetensors").rename(tmp_path / "m" / "weights.safetensors")
    assert ModelFolder(tmp_path / "m").architecture == "bert"


def test_config_must_not_be_a_link_out_of_the_folder(tmp_path):
    folder(tmp_path / "m", *bert())
    (tmp_path / "m" / "config.json").rename(tmp_path / "config.json")
    (tmp_path / "m" / "config.json").symlink_to(tmp_path / "config.json")
    with pytest.raises(UserError, match="is a link to .*outside of the folder"):
        ModelFolder(tmp_path / "m")
