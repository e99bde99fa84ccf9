"""Train sets: what trains and what does not, LoRA against Keras' own, adapters and prompt tokens that are saved."""

import keras
import numpy as np
import pytest
from tiny import tiny_cnn

from tfxfer.errors import UserError
from tfxfer.models.low_rank import begin, optimizer_bytes, optimizer_for, trained_parameters
from tfxfer.models.train_sets import parse, parse_all
from tfxfer.transfer.structure.train_set import changed, choose

pytestmark = pytest.mark.tensorflow
IDS, CLASSES = np.random.default_rng(0).integers(1, 20, (6, 5)).astype(np.int32), 3
LABELS = np.arange(6) % CLASSES


def small_bert(seed=0):
    """Return a model from token ids [B, 5] to probabilities, two blocks with a mask, and its pretrained weights."""
    import keras_hub

    keras.utils.set_random_seed(seed)
    ids = keras.Input((5,), dtype="int32", name="token_ids")
    x = keras.layers.Embedding(20, 8, name="embedding")(ids)
    x = keras.layers.LayerNormalization(name="embeddings_norm")(x)
    for i in range(2):
        block = keras_hub.layers.TransformerEncoder(16, 2, dropout=0.1, name=f"block_{i}")
        x = block(x, padding_mask=ids != 0)
    body = keras.Model(ids, x, name="body")
    pooled = keras.layers.GlobalAveragePooling1D(name="pool")(body(ids))
    model = keras.Model(ids, keras.layers.Dense(CLASSES, activation="softmax", name="classes")(pooled), name="small")
    return model, list(body.trainable_variables)


def trained(name, model, pretrained, inputs=IDS, steps=2, seed=0, eagerly=True):
    """The model after some steps of a train set."""
    chosen = choose(changed(model, parse(name), seed), pretrained, parse(name))
    chosen.compile(optimizer_for(chosen), "sparse_categorical_crossentropy", run_eagerly=eagerly)
    begin(chosen, seed)
    chosen.optimizer.learning_rate = 0.05
    for _ in range(steps):
        chosen.train_on_batch(inputs, LABELS[: len(inputs)])
    return chosen


def moved(model, before):
    """Paths of the weights that are others than before."""
    now = {v.path: np.asarray(v) for v in model.weights if "seed" not in v.path}
    return {path for path, value in now.items() if path not in before or np.any(value != before[path])}


def is_norm(path):
    return path.endswith(("gamma", "beta"))


EXPECTED = {  # train set -> which weights of the small BERT move
    "head": lambda path: path.startswith("classes/"),
    "norms": lambda path: is_norm(path) or path.startswith("classes/"),
    "bias": lambda path: path.endswith(("bias", "beta")) or path.startswith("classes/"),
    "lora:2": lambda path: (path.endswith("kernel") and "block" in path) or path.startswith("classes/"),
    "adapter:2": lambda path: path.startswith(("adapter_", "classes/")),
    "prefix:3": lambda path: path.startswith(("prompt/", "classes/")),
    "all": lambda path: True,
}


@pytest.mark.parametrize("name", EXPECTED)
def test_only_what_a_train_set_names_changes_and_it_is_counted(name):
    model, pretrained = small_bert()
    before = {v.path: np.asarray(v) for v in model.weights}
    made = trained(name, model, pretrained)
    found = moved(made, before)
    every = {v.path for v in made.weights if "seed" not in v.path}
    still = {path for path in every if path.endswith("key/bias")}  # its gradient is 0: a softmax does not see it
    assert found - still == {path for path in every if EXPECTED[name](path)} - still
    sizes = {v.path: int(np.prod(v.shape)) for v in made.weights}
    count = sum(sizes[path] for path in every if EXPECTED[name](path))
    if name == "lora:2":  # D = 8, so 2 · (8 + 8) for each of four projections, 2 · (8 + 16) for each of two layers
        count = 2 * (4 * 2 * 16 + 2 * 2 * 24) + sizes["classes/kernel"] + sizes["classes/bias"]
    assert trained_parameters(made) == count
    factors = count - sizes["classes/kernel"] - sizes["classes/bias"] if name == "lora:2" else 0
    assert optimizer_bytes(made) == 4 * (2 * count + factors + 1) + 8  # Adam's moments, the rate, the number of steps


def test_lora_is_that_of_keras_and_its_kernel_holds_both_terms():
    x = np.random.default_rng(1).normal(size=(6, 7)).astype(np.float32)

    def network():
        keras.utils.set_random_seed(3)
        given = keras.Input((7,))
        dense = keras.layers.Dense(CLASSES, activation="softmax", use_bias=False, name="dense")
        return keras.Model(given, dense(given)), dense

    ours, dense = network()
    first = np.asarray(dense.kernel)
    plain = np.asarray(ours(x))
    made = trained("lora:2", ours, [dense.kernel], x, steps=0, seed=5, eagerly=False)
    np.testing.assert_array_equal(np.asarray(made(x)), plain)  # at first it is the model itself
    optimizer = made.optimizer
    optimizer.build(made.trainable_variables)
    first_a = np.asarray(optimizer._started(dense.kernel)[0])
    theirs, other = network()
    other.enable_lora(2, lora_alpha=2)
    other.lora_kernel_a.assign(first_a)
    theirs.compile(keras.optimizers.Adam(0.05, global_clipnorm=1.0), "sparse_categorical_crossentropy")
    for _ in range(3):
        losses = [one.train_on_batch(x, LABELS) for one in (made, theirs)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    np.testing.assert_allclose(np.asarray(dense.kernel), np.asarray(other.kernel), atol=1e-6)
    a, b = optimizer._own.factors[id(dense.kernel)]
    apart = keras.ops.softmax(x @ first + (x @ np.asarray(a)) @ np.asarray(b))
    np.testing.assert_allclose(np.asarray(made(x)), apart, atol=1e-5)
    assert np.linalg.matrix_rank(np.asarray(dense.kernel) - first, tol=1e-5) == 2


@pytest.mark.parametrize("name", ["adapter:2", "prefix:3", "lora:2"])
def test_a_changed_network_is_the_same_after_saving_and_adapters_begin_as_the_identity(name, tmp_path):
    model, pretrained = small_bert()
    plain = np.asarray(model(IDS))
    made = trained(name, model, pretrained, steps=0)
    if name != "prefix:3":
        np.testing.assert_allclose(np.asarray(made(IDS)), plain, atol=1e-6)
    made.train_on_batch(IDS, LABELS)
    made.save(tmp_path / "m.keras")
    np.testing.assert_allclose(keras.models.load_model(tmp_path / "m.keras")(IDS), made(IDS), atol=1e-6)


@pytest.mark.parametrize(("name", "there"), [("norms", True), ("adapter:2", True), ("all", False)])
def test_batch_normalisation_keeps_the_statistics_of_the_source(name, there, tmp_path):
    model = tiny_cnn(classes=CLASSES)
    pretrained = [v for v in model.trainable_variables if not v.path.startswith("logits")]
    statistics = model.get_layer("norm").get_weights()[2:]
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3)).astype(np.float32)
    made = trained(name, model, pretrained, images)
    now = [np.asarray(v) for v in made.weights if "moving" in v.path]
    assert all(map(np.array_equal, now, statistics)) == there
    made.save(tmp_path / "m.keras")
    np.testing.assert_allclose(keras.models.load_model(tmp_path / "m.keras")(images), made(images), atol=1e-6)


def test_what_cannot_train_is_refused_with_what_there_is():
    with pytest.raises(UserError, match="did you mean 'norms'"):
        parse("norm")
    for wrong, said in {"lora": "such as lora:4", "lora:0": "must be 1 or more", "bias:2": "takes no number"}.items():
        with pytest.raises(UserError, match=said):
            parse(wrong)
    with pytest.raises(UserError, match="lora:4 is there twice"):
        parse_all(["head", "lora:4", "lora:4"])
    model, pretrained = small_bert()
    with pytest.raises(UserError, match="16 x 8; give a rank of at most 8"):
        choose(model, pretrained, parse("lora:9"))
    with pytest.raises(UserError, match="at most adapter:8"):
        changed(model, parse("adapter:9"))
    with pytest.raises(UserError, match="a CNN has no tokens"):
        changed(tiny_cnn(), parse("prefix"))
    given = keras.Input((4,))
    plain = keras.Model(given, keras.layers.Dense(3, use_bias=False)(keras.layers.Dense(4, name="own")(given)))
    own = list(plain.get_layer("own").trainable_variables)
    with pytest.raises(UserError, match=r"norms: trains nothing of .* biases \(4 parameters\)"):
        choose(plain, own, parse("norms"))
