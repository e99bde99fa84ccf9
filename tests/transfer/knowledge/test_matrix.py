import keras
import numpy as np
import pytest
import tensorflow as tf

from tfxfer.errors import UserError
from tfxfer.transfer.knowledge import interactions
from tfxfer.transfer.knowledge.knowledge_matrix import KnowledgeMatrix

pytestmark = pytest.mark.tensorflow

H = (None, "mlp", "cross_attention")
rng = np.random.default_rng(0)
X, Y = rng.normal(size=(3, 6, 5)).astype("float32"), rng.normal(size=(4, 2, 7)).astype("float32")
X_MASK = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0]], bool)
Y_MASK = np.array([[1, 1], [1, 0], [1, 1], [1, 0]], bool)


def matrix(h, **options):
    keras.utils.set_random_seed(1)
    return KnowledgeMatrix(5, 7, h=h, **{"dim": 8, "h_dim": 16, "heads": 2, **options})


def weight(layer, path):
    return next(np.asarray(w) for w in layer.weights if w.path.endswith(path))


def one_pair(K, h, x, y):
    """f·g and h of one pair of token rows without padding, written out in NumPy."""
    f, g = x.mean(0) @ weight(K, "/f/kernel"), y.mean(0) @ weight(K, "/g/kernel")
    fg = f @ g / np.linalg.norm(f) / np.linalg.norm(g) / np.exp(weight(K, "log_temperature"))
    if h is None:
        return fg, 0.0
    if h == "mlp":
        hidden = x.mean(0) @ weight(K, "from_x/kernel") + y.mean(0) @ weight(K, "from_y/kernel")
        return fg, np.maximum(hidden + weight(K, "from_y/bias"), 0) @ weight(K, "h/v")
    per_token = []
    for token in y:
        hidden = token @ weight(K, "own/kernel") + weight(K, "own/bias")
        for head in range(2):
            q, k, v = (
                side @ weight(K, f"{name}/kernel")[:, head]
                for side, name in ((token, "query"), (x, "key"), (x, "value"))
            )
            attention = np.exp(k @ q / np.sqrt(8))
            hidden = hidden + (attention / attention.sum()) @ v @ weight(K, "mix")[head]
        per_token.append(np.maximum(hidden, 0) @ weight(K, "h/v"))
    return fg, np.mean(per_token)


@pytest.mark.parametrize("h", H)
def test_every_pair_is_the_equation_written_out(h):
    K = matrix(h)
    fg, term = (np.asarray(t) for t in K(X, Y, x_mask=X_MASK, y_mask=Y_MASK, return_terms=True))
    assert fg.shape == term.shape == (3, 4)
    for b in range(3):
        for c in range(4):
            expected = one_pair(K, h, X[b][X_MASK[b]], Y[c][Y_MASK[c]])
            np.testing.assert_allclose((fg[b, c], term[b, c]), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(K(X, Y, x_mask=X_MASK, y_mask=Y_MASK), fg + term, rtol=1e-6)


@pytest.mark.parametrize("h", H)
def test_either_term_can_be_switched_off(h):
    K = matrix(h)
    fg, term = (np.asarray(t) for t in K(X, Y, return_terms=True))
    np.testing.assert_allclose(K(X, Y, without="h"), fg, rtol=1e-6)
    np.testing.assert_allclose(K(X, Y, without="dot"), term, rtol=1e-6)
    assert term.any() == (h is not None)


def test_without_dot_there_are_no_weights_for_it():
    K = matrix("mlp", dot=False)
    fg, term = K(X, Y, return_terms=True)
    assert not np.any(fg) and np.any(term)
    assert {w.path.split("/")[-2] for w in K.weights} == {"from_x", "from_y", "h"}


def test_without_dim_it_is_the_bilinear_form():
    K = KnowledgeMatrix(5, 7, temperature=None, normalise=False)
    x, y = X[:, 0], Y[:, 0]
    np.testing.assert_allclose(K(x, y), x @ weight(K, "/g/kernel").T @ y.T, rtol=1e-4, atol=1e-5)
    assert len(K.weights) == 1


@pytest.mark.parametrize(("h", "jit"), [("mlp", True), ("cross_attention", False)])
def test_blocks_change_neither_values_nor_gradients(h, jit, monkeypatch):
    K = matrix(h)

    def run(elements):
        monkeypatch.setattr(interactions, "ELEMENTS", elements)
        shapes = [tf.TensorSpec((None, *one.shape[1:])) for one in (X, Y)]

        @tf.function(jit_compile=jit, input_signature=shapes)  # the number of rows is not known before
        def step(x, y):
            with tf.GradientTape() as tape:
                k = K(x, y)
                loss = tf.reduce_sum(tf.sin(k))
            return [k, *tape.gradient(loss, K.trainable_variables)]

        return step(X, Y)

    for whole, cut in zip(run(2**23), run(50), strict=True):
        np.testing.assert_allclose(whole, cut, atol=2e-6)


@pytest.mark.parametrize("h", H)
def test_rows_and_columns_can_be_permuted(h):
    K = matrix(h)
    np.testing.assert_allclose(np.asarray(K(X, Y))[::-1, [2, 0, 1, 3]], K(X[::-1], Y[[2, 0, 1, 3]]), atol=1e-5)


@pytest.mark.parametrize("h", H)
def test_padding_changes_nothing_and_rows_of_padding_are_finite(h):
    K = matrix(h)
    noise = np.where(X_MASK[..., None], X, 99)
    np.testing.assert_allclose(K(X, Y, x_mask=X_MASK), K(noise, Y, x_mask=X_MASK), atol=1e-5)
    nothing = K(X, Y, x_mask=np.zeros_like(X_MASK), y_mask=np.zeros_like(Y_MASK))
    assert np.isfinite(nothing).all()


def test_masks_of_an_embedding_reach_it():
    words = keras.layers.Embedding(9, 7, mask_zero=True)
    K = matrix("cross_attention")
    numbers = np.array([[3, 4, 0], [5, 0, 0]])
    longer = np.pad(numbers, ((0, 0), (0, 2)))
    np.testing.assert_allclose(K(X, words(numbers)), K(X, words(longer)), atol=1e-5)


def model(h):
    x, y = keras.Input((6, 5), name="x"), keras.Input((2, 7), name="y")
    return keras.Model({"x": x, "y": y}, matrix(h, name="K")(x, y))


@pytest.mark.parametrize("h", [*H, "layer"])
def test_a_saved_model_answers_the_same(h, tmp_path):
    made = model(interactions.PairNetwork(4) if h == "layer" else h)
    made.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(made({"x": X, "y": Y}), again({"x": X, "y": Y}), atol=1e-6)
    assert h == "layer" or again.get_layer("K").get_config() == made.get_layer("K").get_config()


def own_row(k_true, k):
    """Every x belongs to the y of its own row."""
    return keras.losses.sparse_categorical_crossentropy(keras.ops.arange(keras.ops.shape(k)[0]), k, from_logits=True)


@pytest.mark.parametrize(
    ("h", "precision"), [(None, "mixed_float16"), ("mlp", "float32"), ("cross_attention", "mixed_bfloat16")]
)
def test_it_learns_in_fit_from_tf_data(h, precision):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        made = model(h)
        rows = tf.data.Dataset.from_tensors(({"x": X, "y": Y[:3]}, np.zeros(3))).repeat(60)
        made.compile(keras.optimizers.Adam(0.02), own_row)
        assert made.fit(rows, verbose=0, shuffle=False)
        k = made({"x": X, "y": Y[:3]})
    finally:
        keras.config.set_dtype_policy(before)
    assert k.dtype == "float32"
    assert np.asarray(k).argmax(1).tolist() == [0, 1, 2]


def test_only_h_can_see_what_two_sides_have_together():
    """How far two numbers are apart is no sum of products, whatever f and g are linear in."""
    numbers = np.stack([np.ones(7), np.linspace(-1, 1, 7)], 1).astype("float32")
    target = np.abs(numbers[:, None, 1] - numbers[None, :, 1])
    products = np.einsum("bi,cj->bcij", numbers, numbers).reshape(49, 4)
    best_fg = products @ np.linalg.lstsq(products, target.ravel(), rcond=None)[0]
    x, y = keras.Input((2,)), keras.Input((2,))
    keras.utils.set_random_seed(0)
    made = keras.Model([x, y], KnowledgeMatrix(2, 2, h="mlp", dot=False, h_dim=32)(x, y))
    made.compile(keras.optimizers.Adam(0.02), "mse", jit_compile=False)
    rows = tf.data.Dataset.from_tensors(((numbers, numbers), target)).repeat(300)
    made.fit(rows, verbose=0, shuffle=False)
    assert np.abs(best_fg - target.ravel()).max() > 0.5
    np.testing.assert_allclose(made([numbers, numbers]), target, atol=0.1)


def test_the_temperature_divides_cosines_and_stops_at_a_hundredth():
    K = matrix(None, temperature=0.5)
    k = np.asarray(K(X, Y))
    assert np.abs(k).max() <= 2
    K.log_temperature.assign(np.log(0.25))
    np.testing.assert_allclose(K(X, Y), 2 * k, rtol=1e-5)
    K.log_temperature.assign(-20.0)
    np.testing.assert_allclose(K(X, Y), 50 * k, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"h": "mpl"}, "did you mean 'mlp'"),
        ({"h": None, "dot": False}, "leave nothing of K"),
        ({"h": None, "temperature": 0.0}, "at least 0.01"),
        ({"h": "cross_attention", "h_dim": 10, "heads": 4}, "4 attention heads do not divide a width of 10"),
    ],
)
def test_what_cannot_be_built_is_named(options, message):
    with pytest.raises(UserError, match=message):
        KnowledgeMatrix(5, 7, **options)


def test_wrong_widths_and_unknown_terms_are_named():
    with pytest.raises(UserError, match=r"X must be \[B, 5\] or \[B, T, 5\], not \[4, 2, 7\]"):
        matrix(None)(Y, X)
    with pytest.raises(UserError, match="no such term"):
        matrix(None)(X, Y, without="g")


@pytest.mark.parametrize("jit", [False, True])
def test_a_row_of_zeros_has_a_gradient(jit):
    K = matrix(None)
    zeros = tf.concat([tf.zeros([1, 6, 5]), X[1:]], 0)

    @tf.function(jit_compile=jit)
    def gradients(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(tf.square(K(x, Y)))
        return tape.gradient(total, [x, *K.trainable_variables])

    assert all(np.isfinite(gradient).all() for gradient in gradients(zeros))
