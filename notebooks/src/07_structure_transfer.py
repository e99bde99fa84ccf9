# %% [markdown]
# # 07 · Structure transfer
#
# {{ header }}
#
# Feature transfer reuses what a network computes. Structure transfer reuses its weights: in a network of another width,
# of another depth, or for another modality. M = T(S), where T is a *weight map*: a list of rules, one for each tensor,
# which can be read and checked before anything is changed.
#
# **After this lesson you can**
# - plan a weight map, read its ledger, and see which tensors would have stayed random;
# - make a network wider without changing its outputs, and explain why this works;
# - give image patches to the blocks of a language model, and test with a control whether language helped.
#
# **Time to run:** about two minutes on 2 CPU cores. **Needs:** nothing but tfxfer; no network. **Before:** lessons 02
# and 03.

# %%
from tfxfer import teach

teach.start("07")

# %% [markdown]
# ## 1 · A source
#
# The source is a small CNN. It classifies characters into upper case, lower case, and characters without case.

# %%
import keras
import numpy as np

import tfxfer

case = tfxfer.load("glyphs", label="case").with_at_most(validation=1000)
print(case.describe())


def network(name, classes, filters=8):
    """Return a CNN of two convolutions that gives logits."""
    keras.utils.set_random_seed(0)
    conv = {"strides": 2, "activation": "relu"}
    images = keras.Input((32, 32, 1), name="image")
    x = keras.layers.Rescaling(-1 / 255, offset=1.0, name="ink")(images)
    x = keras.layers.Conv2D(filters, 5, **conv, name="conv1")(x)
    x = keras.layers.Conv2D(2 * filters, 3, **conv, name="conv2")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    return keras.Model(
        images, keras.layers.Dense(classes, name="classes")(x), name=name
    )


LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def train(model, examples, seed=0, learning_rate=2e-3):
    """Train on some images; return the accuracy on held-out images."""
    if not model.compiled:
        model.compile(keras.optimizers.Adam(learning_rate), LOSS, metrics=["accuracy"])
    rows = {}
    for split in case.sizes:
        options = {"keys": ["image", "label"], "shuffle_seed": seed, "cache": True}
        batches = case.batches(split, 64, **options)
        rows[split] = batches.map(lambda row: (row["image"], row["label"]))
    if examples:
        model.fit(rows["train"].take(examples // 64), shuffle=False, verbose=0)
    return model.evaluate(rows["validation"], verbose=0)[1]


EXAMPLES = teach.size(6_400, 128)
source = network("source", len(case.class_names))
source_accuracy = train(source, EXAMPLES)
teach.say(f"""
After {EXAMPLES:,} training images the source is correct for **{source_accuracy:.1%}**
of held-out characters.
""")

# %% [markdown]
# ## 2 · A plan before anything is changed
#
# `plan` finds a source tensor for each tensor of the target, and records the reason. The target here is the same
# network with another head, for 26 letters.

# %%
from tfxfer.transfer.structure import plan

target = network("letters", 26)
weight_map = plan(source, target)
weight_map.summary()

# %% [markdown]
# The head has another shape, so it cannot be copied and would stay random. `load_weights` would stop as well, at the
# first tensor that does not fit; with `skip_mismatch=True` it would warn and leave the head random. A weight map shows
# the whole plan. It refuses until a rule or an argument allows the random head:

# %%
from tfxfer.errors import UserError

try:
    weight_map.apply()
except UserError as error:
    print(error)

# %%
weight_map = plan(source, target, rules=[(None, "classes/*", "fresh")])
print(weight_map.explain("classes/kernel"))
weight_map.apply()
kernels = [model.get_layer("conv1").get_weights()[0] for model in (source, target)]
teach.say(f"""
{weight_map.coverage:.1%} of the target's parameters come from the source. Its first
kernel equals that of the source: **{np.array_equal(*kernels)}**.
""")

# %% [markdown]
# ## 3 · A wider network with the same outputs
#
# To make a layer wider, some of its units are copied. A copy has the same activation, so the next layer would count it
# twice. To correct this, the outgoing weights of a unit are divided by its number of copies (Net2Wider, Chen et al.
# 2016). g(j) is the old unit that the new unit j copies:
#
# $$U^1_{\cdot j} = W^1_{\cdot g(j)} \qquad\qquad U^2_{j \cdot} = \frac{W^2_{g(j) \cdot}}{|\{k : g(k) = g(j)\}|}$$
#
# This works for any activation function, because copies have equal inputs to it.

# %%
from tfxfer.teach.figures import lesson_07 as figures

figures.net2wider(W1=[[1, -2], [0.5, 3]], W2=[4, 6], g=[0, 1, 1])

# %% [markdown]
# In tfxfer the two equations are two operations. `np.take` along an axis is g(j). The second one also divides.

# %%
from tfxfer.transfer.structure import widen
from tfxfer.transfer.structure.weight_map.net2net import GatherInputs, GatherOutputs

teach.show(GatherOutputs.apply, GatherInputs.apply)

# %%
wider = widen(source, {"conv1": 16, "conv2": 32})
wider.summary()
widened = wider.apply()

# %% [markdown]
# The plan also found that `classes` gets its input from `conv2` through a `Flatten`, where each unit has many
# positions. Now we verify it: the outputs before and after. For comparison, the naive method copies the old weights
# into a corner of the larger tensors, and leaves the rest random.

# %%
naive = network("naive", len(case.class_names), filters=16)
for ours, theirs in zip(naive.weights, source.weights):
    corner = np.array(ours.numpy())
    corner[tuple(slice(n) for n in theirs.shape)] = theirs.numpy()
    ours.assign(corner)

images = case.with_at_most(test=300).arrays("test")["image"]
before, after, cornered = (
    model.predict(images, verbose=0) for model in (source, widened, naive)
)
figures.logits_before_after(
    before, {"widened by a map": after, "copied into a corner": cornered}
)

# %%
print(wider.verify(images).sentence)

# %% [markdown]
# ## 4 · Is the head start worth anything?
#
# Now all networks are trained further, on the same images and for the same number of steps. The widened network starts
# at the accuracy of the source. One rival must not be missing: the source itself, not widened, trained further as well.

# %%
PASSES, MORE = 5, teach.size(640, 64)
narrow = network("narrow", len(case.class_names))
narrow.set_weights(source.get_weights())
networks = {
    "widened": widened,
    "not widened": narrow,
    "copied into a corner": naive,
    "fresh": network("fresh", len(case.class_names), filters=16),
}
curves = {name: [train(model, 0)] for name, model in networks.items()}
for number in range(PASSES):
    for name, model in networks.items():
        curves[name].append(train(model, MORE, seed=1 + number))
figures.learning_curves(curves, source_accuracy, MORE)

# %%
first, last = ({name: curve[i] for name, curve in curves.items()} for i in (0, -1))
points = {name: 100 * (last["widened"] - last[name]) for name in last}
points = {name: f"{value:+.1f}".replace("-", "−") for name, value in points.items()}
teach.say(f"""
Before any further training the widened network has an accuracy of
{first["widened"]:.1%}, the corner copy {first["copied into a corner"]:.1%}. After
{PASSES * MORE:,} more images:

- widened {last["widened"]:.1%}, a fresh network of the same width {last["fresh"]:.1%}:
  a difference of {points["fresh"]} points, the *head start*;
- the source, not widened, {last["not widened"]:.1%}: a difference of
  {points["not widened"]} points, the *width*.

These are single runs, without an interval. They show the form of the curves, not which
network is better. The source was trained on {EXAMPLES:,} images before. Copies of a
unit get equal gradients, so they stay equal during training; `widen(…, noise=0.01)`
breaks this symmetry.
""")

# %% [markdown]
# ## 5 · Image patches in the blocks of a language model
#
# The blocks of a transformer map tokens to tokens, whatever the tokens stand for. Here a BERT is trained on the names
# of characters, without any image. Then image patches take the place of word pieces (Lu et al. 2021).

# %%
letters = tfxfer.load("glyphs", label="diacritic")
example = letters.with_at_most(test=40).arrays("test")["image"][7]
figures.vision_from_text(example, patches=4)

# %%
import tempfile

import tensorflow as tf

from tfxfer.models.bert import learn_word_pieces, masked_lm

BATCH = 128
names = tfxfer.load("names")
texts = names.texts("train")[: teach.size(8_000, 256)]
pieces = learn_word_pieces(texts, 2000, f"{tempfile.mkdtemp()}/vocabulary.txt")
bert = tfxfer.source("fresh:bert", num_classes=len(pieces), seed=0)
# masked language modelling has no use for this layer
bert.get_layer("pooled_dense").trainable = False
language_model, masking = masked_lm(bert, pieces, sequence_length=24)
language_model.compile(
    keras.optimizers.Adam(1e-3),
    LOSS,
    weighted_metrics=["accuracy"],
    jit_compile=not teach.smoke(),
)


def masked(texts, seed):
    """Return batches of texts in which a seed decides the masked pieces."""
    rows = tf.data.Dataset.from_tensor_slices(texts).batch(BATCH, drop_remainder=True)
    return rows.enumerate().map(lambda i, some: masking(some, [seed, i]))


epochs = teach.size(2, 1)
language_model.fit(masked(texts, seed=0), epochs=epochs, shuffle=False, verbose=0)
held_out = masked(names.texts("test")[:1024], seed=1)
accuracy = language_model.evaluate(held_out, verbose=0, return_dict=True)["accuracy"]
hidden = [ids[weight > 0] for _, ids, weight in held_out.as_numpy_iterator()]
hidden = np.concatenate(hidden)
majority = np.bincount(hidden).max() / len(hidden)
teach.say(f"""
The BERT is trained on {len(texts):,} names such as “{teach.plain(texts[0])}”, with some
word pieces masked. On test names it predicts **{accuracy:.0%}** of the masked pieces.
Always predicting the most frequent piece would give {majority:.0%}.
""")

# %%
from tfxfer.report.figures import sankey
from tfxfer.transfer.structure import encoder_to_vision
from tfxfer.transfer.structure.weight_map.ledger import flows

PATCH = 8
counts = np.bincount(letters.labels("train"), minlength=len(letters.class_names))
diacritics = [
    name
    for name, count in zip(letters.class_names, counts)
    if name != "none" and count >= 100
]
letters = letters.with_classes(diacritics).with_at_most(validation=300)
VISION = {"pooling": "all", "white_paper": True}


def vision_model(body, seed):
    """Plan a vision transformer from the blocks of a BERT."""
    shape, classes = (32, 32, 1), len(diacritics)
    return encoder_to_vision(body, shape, PATCH, classes, **VISION, seed=seed)


vision_map = vision_model(bert, 0)
drawn = flows(vision_map)
teach.show_figure(
    sankey(drawn["flows"], drawn["unread"], vision_map.titles),
    f"""The ledger of the vision transformer as a Sankey diagram: layers of the BERT on
    the left, layers of the vision transformer on the right.
    {vision_map.coverage:.0%} of its parameters come from the BERT: blocks, norms and
    positions. The projection of the patches and the head are new; word and segment
    embeddings are not used.""",
)

# %% [markdown]
# Word and segment embeddings are not used. The projection of the patches and the head are new. Blocks, norms and
# positions are copied. Did the training on texts help? Both arms train the same small part (projection, positions,
# norms, head), with the same number of steps, on the same labels. The only difference is the body: it was trained on
# names, or it has random weights.

# %%
from tfxfer.evaluate import verdict
from tfxfer.models.fresh import fresh_copy

STEPS, LABELS, SEEDS = teach.size(100, 3), teach.size(100, 20), teach.size(3, 2)
test = letters.with_at_most(test=teach.size(700, 60)).arrays("test")
model = vision_model(
    bert, 0
).target.model  # compiled once, with new weights for each arm
model.compile(
    keras.optimizers.Adam(global_clipnorm=1.0), "sparse_categorical_crossentropy"
)
model.optimizer.build(model.trainable_variables)


def predicted(body, seed):
    """Train what is new around a body; return the probabilities of the test letters."""
    model.set_weights(vision_model(body, seed).apply().get_weights())
    for variable in model.optimizer.variables:  # of Adam; they belong to the arm before
        variable.assign(keras.ops.zeros_like(variable))
    model.optimizer.learning_rate = 3e-3
    options = {"keys": ["image", "label"], "shuffle_seed": seed}
    rows = letters.with_labels(LABELS, seed).batches("train", 32, **options).repeat()
    rows = rows.map(lambda row: (row["image"], row["label"]))
    model.fit(rows.take(STEPS), shuffle=False, verbose=0)
    return model.predict(test["image"], verbose=0)


correct = {"transfer": [], "random": []}
for seed in range(SEEDS):
    for arm, body in (("transfer", bert), ("random", fresh_copy(bert, seed))):
        probabilities = predicted(body, seed)
        correct[arm].append(probabilities.argmax(1) == test["label"])
        if arm == "transfer" and not seed:
            kept, kept_probabilities = model.get_weights(), probabilities
correct = {arm: np.stack(rows) for arm, rows in correct.items()}  # [S, N]
language = verdict(correct["transfer"], correct["random"])
print(language.sentence())

# %%
majority = test["label"] == np.bincount(test["label"]).argmax()
vision = verdict(correct["transfer"], majority, names=("transfer", "majority"))
teach.say(f"""
With the blocks of the language model, the diacritic is correct for
**{correct["transfer"].mean():.1%}** of the test letters, out of {len(diacritics)}
classes. Always predicting the most frequent one would give {majority.mean():.1%}.

> {vision.sentence()}

With a random body the accuracy is {correct["random"].mean():.1%}. The verdict on
*language* is: **{language.word}**.
""")

# %% [markdown]
# ## 6 · Occlusion maps
#
# Which patches does a prediction depend on? We erase one patch after the other, and measure how far the probability of
# the true class falls. The letters were selected: of each diacritic the correct prediction with the highest
# probability. Other letters have less clear maps.

# %%
labels = test["label"]
right = kept_probabilities.argmax(1) == labels
confidence = kept_probabilities.max(1)
surest = {}
for i in sorted(np.flatnonzero(right), key=lambda i: -confidence[i]):
    surest.setdefault(labels[i], i)
chosen = list(surest.values())[:6] or [
    0
]  # after very little training none may be correct
side = 32 // PATCH
maps = []
model.set_weights(kept)
for i in chosen:
    erased = np.repeat(test["image"][i][None], side * side, 0)
    for k in range(side * side):
        row, column = (PATCH * place for place in divmod(k, side))
        erased[k, row : row + PATCH, column : column + PATCH] = 255
    probability = model.predict(erased, verbose=0)[:, labels[i]]
    maps.append((kept_probabilities[i, labels[i]] - probability).reshape(side, side))
figures.occlusion_maps(
    test["image"][chosen], maps, [diacritics[labels[i]] for i in chosen], PATCH
)

# %% [markdown]
# ## Exercises
#
# **07.1** A hidden unit has the outgoing weight 6. After widening there are three copies of it. What is the outgoing
# weight of each?

# %%
teach.check("07.1", ...)

# %% [markdown]
# **07.2** Write `wider_of(W1, W2, g)` for `W1` [D, old], `W2` [old, C] and the list `g`. Return the new `U1` [D, new]
# and `U2` [new, C] in one array: `np.concatenate([U1, U2.T])`.


# %%
def wider_of(W1, W2, g):
    return W1  # not yet


teach.check("07.2", ...)  # put wider_of here

# %% [markdown]
# **07.3** You add a layer after a layer with the same activation function, and the outputs must not change. For which
# activation does an identity kernel achieve this: "relu", "gelu" or "sigmoid"?

# %%
teach.check("07.3", ...)

# %% [markdown]
# **07.4** An image of 32 × 32 pixels is cut into patches of 8 × 8 pixels. How many tokens do the blocks get?

# %%
teach.check("07.4", ...)

# %% [markdown]
# **07.5** A head has another shape in the target. What does `apply()` do when no rule mentions it: "copy", "random" or
# "refuse"?

# %%
teach.check("07.5", ...)

# %% [markdown]
# ## Read next
#
# - T. Chen, I. Goodfellow, J. Shlens, *Net2Net: accelerating learning via knowledge transfer*, 2016.
# - K. Lu, A. Grover, P. Abbeel, I. Mordatch, *Pretrained transformers as universal computation engines*, 2021.
# - D. Rothermel, M. Li, T. Rocktäschel, J. Foerster, *Don't sweep your learning rate under the rug*, 2021: a reply to
#   Lu et al.
# - Z. Xu et al., *Initializing models with larger ones*, 2024: from wide to narrow.
# - Every operation, and checkpoints of other libraries: `docs/weight-maps.md`.
#
# {{ navigation }}
