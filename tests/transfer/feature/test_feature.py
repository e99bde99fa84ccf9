"""φ, the head on φ, and what fine-tuning may touch."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny import TinyDataset, tiny_cnn

from tfxfer.errors import UserError
from tfxfer.transfer.feature import attach, extract, extractor, finetune, linear_probe, mlp_head
from tfxfer.transfer.graph import fingerprint

pytestmark = pytest.mark.tensorflow


@keras.saving.register_keras_serializable("tests")
class LengthPicture(keras.layers.Layer):
    """A stand-in for RenderText: strings [B] → uint8 [B, 6, 10, 1] whose grey level is the length."""

    def call(self, texts):
        level = tf.cast(tf.strings.length(texts), tf.uint8)
        return tf.tile(level[:, None, None, None], [1, 6, 10, 1])

    def compute_output_spec(self, texts):
        return keras.KerasTensor((texts.shape[0], 6, 10, 1), dtype="uint8")


def pictures(n=4, side=8):
    return np.random.default_rng(3).integers(0, 256, (n, side, side, 3)).astype(np.float32)


def by_hand(model, layer, x):
    """Run a chain of layers one by one up to `layer`, in inference mode."""
    for each in model.layers[1:]:
        x = each(x, training=False) if isinstance(each, keras.layers.BatchNormalization) else each(x)
        if each.name == layer:
            return np.asarray(x)
    raise AssertionError(layer)


def test_without_a_layer_phi_ends_before_the_classification_head():
    model = tiny_cnn()
    phi = extractor(model)
    assert phi.output.shape == (None, 9)
    np.testing.assert_allclose(phi.predict(pictures(), verbose=0), by_hand_without_dropout(model), rtol=1e-5)
    assert not phi.trainable_variables


def by_hand_without_dropout(model):
    chain = keras.Sequential([la for la in model.layers[1:-2] if not isinstance(la, keras.layers.Dropout)])
    return np.asarray(chain(pictures(), training=False))


@pytest.mark.parametrize(("pooling", "reduce"), [("auto", np.mean), ("avg", np.mean), ("max", np.max), ("none", None)])
def test_maps_are_pooled(pooling, reduce):
    model = tiny_cnn()
    maps = by_hand(model, "conv_high", pictures())  # [4, 4, 4, 7]
    expected = maps if reduce is None else reduce(maps, axis=(1, 2))
    found = extractor(model, "conv_high", pooling=pooling).predict(pictures(), verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_sequences_are_pooled():
    inputs = keras.Input((5, 3))
    model = keras.Model(inputs, keras.layers.Dense(4)(keras.layers.Flatten()(keras.layers.Dense(2, name="d")(inputs))))
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    expected = np.asarray(model.get_layer("d")(x)).mean(1)
    np.testing.assert_allclose(extractor(model, "d").predict(x, verbose=0), expected, rtol=1e-5)


def test_layers_are_shared_and_frozen():
    model = tiny_cnn()
    phi = extractor(model, "conv_high")
    assert phi.get_layer("conv_high") is model.get_layer("conv_high")
    before = [w.copy() for w in phi.get_weights()]
    head = keras.layers.Dense(2, activation="softmax")
    f = keras.Model(phi.input, head(phi.output))
    f.compile("sgd", "sparse_categorical_crossentropy")
    f.fit(pictures(8), np.arange(8) % 2, verbose=0)
    for old, new in zip(before, phi.get_weights()):
        np.testing.assert_array_equal(old, new)


def nested():
    """A Keras application's layout: a body inside a model, inside a sequential model."""
    body = tiny_cnn()
    body = keras.Model(body.input, body.get_layer("conv_high").output, name="body")
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.GlobalMaxPooling2D()(body(keras.layers.Rescaling(2.0)(inputs)))
    wrapped = keras.Model(inputs, x, name="wrapped")
    return keras.Sequential([keras.Input((8, 8, 3)), wrapped, keras.layers.Dense(3, activation="softmax")])


@pytest.mark.parametrize("name", ["conv_low", "wrapped/body/conv_low"])
def test_layers_inside_nested_models_are_found(name):
    model = nested()
    body = model.layers[0].get_layer("body")
    low = keras.Model(body.input, body.get_layer("conv_low").output)
    expected = np.asarray(low(2 * pictures())).mean((1, 2))
    np.testing.assert_allclose(extractor(model, name).predict(pictures(), verbose=0), expected, rtol=1e-4, atol=1e-4)


def test_a_nested_model_itself_and_an_index_are_cuts_too():
    model = nested()
    expected = model.layers[0].predict(pictures(), verbose=0)
    for layer in ("wrapped", 0, -2, None):
        found = extractor(model, layer).predict(pictures(), verbose=0)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_headless_body_is_used_as_it_is():
    body = nested().layers[0]
    assert extractor(body).output.shape == (None, 7)


def test_a_layer_that_does_not_exist_is_named_with_the_nearest():
    with pytest.raises(UserError, match=r"'conv_hihg' does not exist in tiny_cnn; did you mean 'conv_high'\?"):
        extractor(tiny_cnn(), "conv_hihg")
    with pytest.raises(UserError, match="did you mean 'norm'"):
        finetune(tiny_cnn(), "nrom")
    with pytest.raises(UserError, match="10 layers; there is no layer 99"):
        extractor(tiny_cnn(), 99)
    with pytest.raises(UserError, match="did you mean 'none'"):
        extractor(tiny_cnn(), pooling="non")


def test_models_without_a_graph_are_refused():
    class Coded(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(UserError, match="Coded"):
        extractor(Coded())
    with pytest.raises(UserError, match=r"keras\.Input"):
        extractor(keras.Sequential([keras.layers.Dense(3)]))


def test_ambiguous_names_ask_for_a_path():
    inputs = keras.Input((8, 8, 3))
    twins = [keras.Model((m := tiny_cnn(seed)).input, m.output, name=f"twin{seed}") for seed in (0, 1)]
    model = keras.Model(inputs, keras.layers.Concatenate()([twin(inputs) for twin in twins]))
    with pytest.raises(UserError, match="twin0/norm, twin1/norm"):
        extractor(model, "norm")
    one = extractor(model, "twin1/norm").predict(pictures(), verbose=0)
    np.testing.assert_allclose(one, extractor(twins[1], "norm").predict(pictures(), verbose=0), rtol=1e-5)


def test_a_bridge_makes_phi_read_text():
    model = tiny_cnn()
    phi = extractor(model, "conv_high", input_bridge=LengthPicture())
    assert phi.input.dtype == "string"
    grey = np.broadcast_to(np.float32([3, 0, 5])[:, None, None, None], (3, 8, 8, 3))
    expected = extractor(model, "conv_high").predict(grey, verbose=0)
    np.testing.assert_allclose(phi(tf.constant(["abc", "", "äöü.."])).numpy()[:2], expected[:2], rtol=1e-5)


def test_the_real_bridge():
    render = pytest.importorskip("tfxfer.transfer.bridges.render")
    phi = extractor(tiny_cnn(), "conv_high", input_bridge=render.RenderText())
    features = phi(tf.constant(["Österreich", "Österreich", ""])).numpy()
    assert features.shape == (3, 7)
    np.testing.assert_array_equal(features[0], features[1])
    assert np.abs(features[0] - features[2]).max() > 1e-4


def test_a_bridge_that_does_not_meet_the_model_is_refused():
    with pytest.raises(UserError, match=r"bridge gives \[B, 4\], tiny_cnn takes \[B, 8, 8, 3\]"):
        extractor(tiny_cnn(), input_bridge=lambda text: keras.ops.one_hot(keras.ops.zeros_like(text, "int32"), 4))


@pytest.mark.parametrize("reads", ["image", "text"])
def test_one_saved_model_from_raw_input_to_classes(tmp_path, reads):
    data = TinyDataset()
    phi = extractor(tiny_cnn(), "conv_high", input_bridge=LengthPicture() if reads == "text" else None)
    features = extract(phi, data, folder=tmp_path)
    probe = linear_probe(features, features.labels, strengths=[1e-2])
    attach(phi, probe).save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    raw = data.columns[reads]
    found = loaded.predict(tf.constant(raw) if reads == "text" else raw, verbose=0)
    np.testing.assert_allclose(found, probe.predict_proba(features), atol=1e-5)


def test_heads_of_another_width_are_refused():
    phi = extractor(tiny_cnn(), "conv_high")
    rng = np.random.default_rng(0)
    probe = linear_probe(rng.normal(size=(20, 4)), np.arange(20) % 2, strengths=[1.0])
    for head in (probe, mlp_head(4, 2), probe.as_layer()):
        with pytest.raises(UserError, match=r"features \[B, 7\], the head takes \[B, 4\]"):
            attach(phi, head)
    with pytest.raises(UserError, match=r"features \[B, 4, 4, 7\], the head takes \[B, 7\]"):
        attach(extractor(tiny_cnn(), "conv_high", pooling="none"), mlp_head(7, 2))


def test_mlp_head_learns_what_a_line_cannot():
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(400, 2)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] > 0).astype(int)
    head = mlp_head(2, 2, hidden=64)
    assert [la.name for la in head.layers] == ["features", "hidden", "dropout", "classes"]
    assert mlp_head(10, 3).count_params() == 10 * 512 + 512 + 512 * 3 + 3
    head.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    head.fit(x, y, epochs=30, verbose=0)
    assert head.evaluate(x, y, verbose=0)[1] > 0.9
    assert linear_probe(x, y, strengths=[1e-3]).predict_proba(x).argmax(1).tolist() != y.tolist()


def trained_step(model):
    model.compile(keras.optimizers.SGD(0.5), "sparse_categorical_crossentropy")
    before = {w.path: w.numpy().copy() for w in model.weights}
    model.fit(pictures(8), np.arange(8) % 5, verbose=0)
    return {w.path.split("/")[-2] for w in model.weights if not np.array_equal(before[w.path], w.numpy())}


def test_finetune_trains_from_the_named_layer_upward_only():
    source = tiny_cnn()
    extractor(source)  # freezes the source's own flags
    before = source.get_weights()
    assert trained_step(finetune(source, "conv_high")) == {"conv_high", "hidden", "logits"}
    assert trained_step(finetune(source, "conv_low")) >= {"conv_low", "norm", "conv_high", "hidden", "logits"}
    assert trained_step(finetune(source, -2)) == {"logits"}
    for old, new in zip(before, source.get_weights()):
        np.testing.assert_array_equal(old, new)
    assert not source.get_layer("conv_low").trainable


def test_a_trainable_phi_is_a_copy_that_trains():
    source = tiny_cnn()
    frozen = extractor(source, "conv_high")
    phi = extractor(source, "conv_high", trainable=True)
    np.testing.assert_allclose(phi.predict(pictures(), verbose=0), frozen.predict(pictures(), verbose=0), rtol=1e-5)
    before = source.get_weights()
    assert trained_step(attach(phi, keras.layers.Dense(5, activation="softmax", name="five"))) == {
        *("conv_low", "norm", "conv_high", "five")
    }
    for old, new in zip(before, source.get_weights()):
        np.testing.assert_array_equal(old, new)


def test_finetune_opens_nested_models():
    model = nested()
    assert trained_step(finetune(attach_five(model), "wrapped/body/conv_high")) == {"conv_high", "five"}
    assert trained_step(finetune(attach_five(model), "body")) >= {"conv_low", "norm", "conv_high", "five"}


def attach_five(model):
    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, keras.layers.Dense(5, activation="softmax", name="five")(model.layers[0](inputs)))


def test_finetune_keeps_a_vocabulary():
    words = keras.layers.TextVectorization(output_sequence_length=3)
    words.adapt(["one two three", "two three"])
    inputs = keras.Input((), dtype="string")
    x = keras.layers.Embedding(8, 4, name="embed")(words(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(x)))
    texts = tf.constant(["three one", "none two"])
    np.testing.assert_allclose(finetune(model, "embed")(texts), model(texts), rtol=1e-6)


def test_fingerprint_knows_weights_layer_and_vocabulary_but_not_names():
    one = fingerprint(extractor(tiny_cnn(), "conv_high"))
    keras.layers.Rescaling(1.0)  # moves Keras's counter of automatic names on
    assert fingerprint(extractor(tiny_cnn(), "conv_high")) == one
    others = [
        extractor(tiny_cnn(seed=1), "conv_high"),
        extractor(tiny_cnn(), "conv_low"),
        extractor(tiny_cnn(), "conv_high", pooling="max"),
        extractor(tiny_cnn(), "conv_high", input_bridge=LengthPicture()),
    ]
    moved = extractor(tiny_cnn(), "conv_high")
    weights = moved.get_weights()
    weights[0][0, 0, 0, 0] = np.nextafter(weights[0][0, 0, 0, 0], np.float32(9))
    moved.set_weights(weights)
    assert len({one, fingerprint(moved), *map(fingerprint, others)}) == 6
    vocabularies = []
    for text in ("a b", "a c"):
        words = keras.layers.TextVectorization(output_sequence_length=3)
        words.adapt([text])
        inputs = keras.Input((), dtype="string")
        vocabularies.append(fingerprint(keras.Model(inputs, words(inputs))))
    assert vocabularies[0] != vocabularies[1]
