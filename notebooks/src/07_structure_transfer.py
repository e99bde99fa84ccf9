# %% [markdown]
# # 07 · Structure transfer: M = T(S)
#
# Sometimes it is not a feature that should move but the network itself: its layers, into a network of another width,
# another depth, another modality. T, which does it, is a list of rules, one for each tensor, that you can read before
# anything is changed.
#
# **After this lesson you can**
# - plan a weight map, read its ledger, and see what would have stayed random;
# - make a network wider without changing a single answer, and say why it works;
# - let the blocks of a language model look at pictures, and judge by a control whether language helped.
#
# **Time to run:** about two minutes on 2 CPU cores. **Needs:** nothing but tfxfer; no network. **Before:** lessons 02
# and 03.

# %%
from tfxfer import teach

teach.start("07")

# %% [markdown]
# ## 1 · A source
#
# A small CNN learns to tell upper case from lower case, and both from signs that have none.

# %%
import keras
import numpy as np

import tfxfer

case = tfxfer.load("glyphs", label="case").with_at_most(validation=1000)
print(case.describe())


def network(name, classes, filters=8):
    """Return a CNN of two convolutions; its logits come before the softmax, so that we can look at them."""
    keras.utils.set_random_seed(0)
    pictures = keras.Input((32, 32, 1), name="image")
    x = keras.layers.Rescaling(-1 / 255, offset=1.0, name="ink")(pictures)
    x = keras.layers.Conv2D(filters, 5, strides=2, activation="relu", name="conv1")(x)
    x = keras.layers.Conv2D(2 * filters, 3, strides=2, activation="relu", name="conv2")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    return keras.Model(pictures, keras.layers.Dense(classes, name="classes")(x), name=name)


def learn(model, examples, seed=0, rate=2e-3):
    """Train once over so many pictures; return how often held-out pictures are right."""
    if not model.compiled:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    pairs = {
        split: case.batches(split, 64, keys=["image", "label"], shuffle_seed=seed, cache=True) for split in case.sizes
    }
    rows = {split: batches.map(lambda row: (row["image"], row["label"])) for split, batches in pairs.items()}
    if examples:
        model.fit(rows["train"].take(examples // 64), shuffle=False, verbose=0)
    return model.evaluate(rows["validation"], verbose=0)[1]


EXAMPLES = teach.size(6_400, 128)
source = network("source", len(case.class_names))
stood = learn(source, EXAMPLES)
teach.say(f"After {EXAMPLES:,} pictures the source is right on **{stood:.1%}** of held-out characters.")

# %% [markdown]
# ## 2 · A plan before anything happens
#
# `plan` looks for each tensor of the target where it could come from, and writes down what it found and why. The
# target here is the same network with another head, for 26 letters.

# %%
from tfxfer.transfer.structure import plan

target = network("letters", 26)
weight_map = plan(source, target)
weight_map.summary()

# %% [markdown]
# The head has another shape, so nothing fits, and it would stay as random as it is. `load_weights` would stop as well,
# at the first tensor that does not fit; told to `skip_mismatch`, it would warn and go on with a random head. A weight
# map shows the whole plan, and refuses until somebody says of this tensor that it is meant:

# %%
from tfxfer.errors import UserError

try:
    weight_map.apply()
except UserError as refused:
    print(refused)

# %%
weight_map = plan(source, target, rules=[(None, "classes/*", "fresh")])
print(weight_map.explain("classes/kernel"))
weight_map.apply()
same = np.array_equal(source.get_layer("conv1").get_weights()[0], target.get_layer("conv1").get_weights()[0])
teach.say(f"Moved: {weight_map.coverage:.1%} of the target's parameters. Is its first kernel the source's? **{same}**.")

# %% [markdown]
# ## 3 · Wider, and the same function
#
# To make a layer wider, let some units stand twice. Both copies compute the same, and whatever reads them would count
# it double, so each copy gives only its share (Net2Wider, Chen et al. 2016). With g(j) the old unit that new unit j
# copies:
#
# $$U^1_{\cdot j} = W^1_{\cdot g(j)} \qquad\qquad U^2_{j \cdot} = \frac{W^2_{g(j) \cdot}}{|\{k : g(k) = g(j)\}|}$$
#
# It works for any activation, because copies have equal activations whatever the function is.

# %%
from tfxfer.teach.figures import lesson_07 as figures

figures.net2wider(W1=[[1, -2], [0.5, 3]], W2=[4, 6], g=[0, 1, 1])

# %% [markdown]
# In tfxfer the two equations are two operations. `np.take` along an axis is the g(j); the division is the share.

# %%
from tfxfer.transfer.structure import widen
from tfxfer.transfer.structure.weight_map.net2net import GatherInputs, GatherOutputs

teach.show(GatherOutputs.apply, GatherInputs.apply)

# %%
wider = widen(source, {"conv1": 16, "conv2": 32})
wider.summary()
wide = wider.apply()

# %% [markdown]
# The plan found by itself that `classes` reads `conv2` through a `Flatten`, where each unit occupies many places. Now
# the proof: outputs before and after. Beside it what you get from the naive way, which copies the old weights into a
# corner of the larger tensors and leaves the rest as it was drawn.

# %%
naive = network("naive", len(case.class_names), filters=16)
for mine, theirs in zip(naive.weights, source.weights):
    corner = np.array(mine.numpy())
    corner[tuple(slice(n) for n in theirs.shape)] = theirs.numpy()
    mine.assign(corner)

pictures = case.with_at_most(test=300).arrays("test")["image"]
before, after, cornered = (model.predict(pictures, verbose=0) for model in (source, wide, naive))
figures.before_after(before, {"widened by a map": after, "copied into a corner": cornered})

# %%
print(wider.verify(pictures).sentence)

# %% [markdown]
# ## 4 · What is it good for? A head start
#
# All of them go on learning, with the same pictures and steps. The widened network begins where the source stood. One
# rival must not be missing: the source itself, as narrow as it is, that goes on too.

# %%
PASSES, MORE = 5, teach.size(640, 64)
narrow = network("narrow", len(case.class_names))
narrow.set_weights(source.get_weights())
rivals = {"widened": wide, "not widened": narrow, "copied into a corner": naive}
rivals["fresh"] = network("fresh", len(case.class_names), filters=16)
curves = {name: [learn(model, 0)] for name, model in rivals.items()}
for number in range(PASSES):
    for name, model in rivals.items():
        curves[name].append(learn(model, MORE, seed=1 + number))
figures.head_start(curves, stood, MORE)

# %%
first, last = ({name: curve[i] for name, curve in curves.items()} for i in (0, -1))
ahead, broad = (f"{100 * (last['widened'] - last[name]):+.1f}".replace("-", "−") for name in ("fresh", "not widened"))
teach.say(f"""
Before any further training the widened network is right in {first["widened"]:.1%}, the corner copy in
{first["copied into a corner"]:.1%}. After {PASSES * MORE:,} more pictures:

- widened {last["widened"]:.1%}, a fresh network of that width {last["fresh"]:.1%}: the *head start* is still worth
  {ahead} points;
- the source that stayed narrow and went on, {last["not widened"]:.1%}: the *width* is worth {broad} points so far.

All from one seed, so look at the curves rather than at the last digit. The source had seen {EXAMPLES:,} pictures
before. Copies that compute the same also learn the same, as long as nothing parts them; `widen(…, noise=0.01)` does.
""")

# %% [markdown]
# ## 5 · A language body that sees
#
# The blocks of a transformer map tokens to tokens. They do not know what a token is. So take a BERT that has read the
# names of characters, and never seen one, and put pieces of pictures where word pieces used to be (Lu et al. 2021).

# %%
letters = tfxfer.load("glyphs", label="diacritic")
figures.same_blocks(letters.with_at_most(test=40).arrays("test")["image"][7], patches=4)

# %%
import tempfile

import tensorflow as tf

from tfxfer.models.bert import masked_lm, learn_word_pieces

BATCH = 128
names = tfxfer.load("names").texts("train")[: teach.size(8_000, 256)]
pieces = learn_word_pieces(names, 2000, f"{tempfile.mkdtemp()}/vocabulary.txt")
bert = tfxfer.source("fresh:bert", num_classes=len(pieces), seed=0)
bert.get_layer("pooled_dense").trainable = False  # takes no part in guessing words
reading, mask = masked_lm(bert, pieces, sequence_length=24)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
reading.compile(keras.optimizers.Adam(1e-3), loss, weighted_metrics=["accuracy"], jit_compile=not teach.smoke())


def hide(texts, seed):
    """Return batches of texts with some of their pieces hidden, the same ones for the same seed."""
    batches = tf.data.Dataset.from_tensor_slices(texts).batch(BATCH, drop_remainder=True).enumerate()
    return batches.map(lambda i, some: mask(some, [seed, i]))


reading.fit(hide(names, seed=0), epochs=teach.size(2, 1), shuffle=False, verbose=0)
unread = hide(tfxfer.load("names").texts("test")[:1024], seed=1)
guessed = reading.evaluate(unread, verbose=0, return_dict=True)["accuracy"]
hidden = np.concatenate([piece[weight > 0] for _, piece, weight in unread.as_numpy_iterator()])
always = np.bincount(hidden).max() / len(hidden)
teach.say(f"""
The BERT has read {len(names):,} names such as “{names[0]}”, with pieces hidden. In names that it has not read it
guesses **{guessed:.0%}** of the hidden pieces; always saying the commonest piece would be right in {always:.0%}.
""")

# %%
from tfxfer.report.figures import ribbons
from tfxfer.transfer.structure import encoder_to_vision
from tfxfer.transfer.structure.weight_map.ledger import flows

PATCH = 8
counts = np.bincount(letters.labels("train"), minlength=len(letters.class_names))
common = [name for name, n in zip(letters.class_names, counts) if name != "none" and n >= 100]
letters = letters.with_classes(common).with_at_most(validation=300)


def seeing(body, seed):
    """Plan a picture transformer out of a BERT's blocks."""
    return encoder_to_vision(body, (32, 32, 1), PATCH, len(common), pooling="all", white_paper=True, seed=seed)


carried = seeing(bert, 0)
drawn = flows(carried)
ribbons(drawn["flows"], drawn["unread"], carried.titles)

# %% [markdown]
# Words and segments are left behind; the projection and the head are fresh; blocks, norms and positions cross as they
# are. Does it help to have read? Both arms train the same small part (projection, positions, norms, head) for the same
# number of steps on the same labels. Only what comes from the BERT differs: it has read names, or never learned
# anything.

# %%
from tfxfer.arms.feature import fresh_copy
from tfxfer.evaluate import verdict

STEPS, LABELS, SEEDS = teach.size(100, 3), teach.size(100, 20), teach.size(3, 2)
test = letters.with_at_most(test=teach.size(700, 60)).arrays("test")
model = seeing(bert, 0).target.model  # compiled once; each arm puts its own weights in
model.compile(keras.optimizers.Adam(global_clipnorm=1.0), "sparse_categorical_crossentropy")
model.optimizer.build(model.trainable_variables)


def answers(body, seed):
    """Train what is new around `body`; return the probabilities of the test letters."""
    model.set_weights(seeing(body, seed).apply().get_weights())
    for variable in model.optimizer.variables:  # Adam's moments and steps, which belong to the arm before
        variable.assign(keras.ops.zeros_like(variable))
    model.optimizer.learning_rate = 3e-3
    rows = letters.with_labels(LABELS, seed).batches("train", 32, keys=["image", "label"], shuffle_seed=seed).repeat()
    model.fit(rows.map(lambda row: (row["image"], row["label"])).take(STEPS), shuffle=False, verbose=0)
    return model.predict(test["image"], verbose=0)


told = {"transfer": [], "random": []}
for seed in range(SEEDS):
    for arm, body in (("transfer", bert), ("random", fresh_copy(bert, seed))):
        probabilities = answers(body, seed)
        told[arm].append(probabilities.argmax(1) == test["label"])
        if arm == "transfer" and not seed:
            looking, sure = model.get_weights(), probabilities
judged = verdict(np.stack(told["transfer"]), np.stack(told["random"]))
print(judged.sentence())

# %%
always = test["label"] == np.bincount(test["label"]).argmax()
sees = verdict(np.stack(told["transfer"]), always).word == "helped"
teach.say(f"""
The language body names the diacritic of **{np.mean(told["transfer"]):.1%}** of unseen letters, out of {len(common)};
always answering the most frequent one would get {always.mean():.1%}.
{"So it sees." if sees else "That it sees at all is not shown."} The same body without language gets
{np.mean(told["random"]):.1%}. The verdict on *language* is: **{judged.word}**.
""")

# %% [markdown]
# ## 6 · Where does it look?
#
# Wipe one patch after the other and see how far the right answer falls. (Letters that it gets right, the surest of
# each diacritic; it is not as good as this on others.)

# %%
right = sure.argmax(1) == test["label"]
surest = {}
for i in sorted(np.flatnonzero(right), key=lambda i: -sure[i].max()):
    surest.setdefault(test["label"][i], i)
chosen = list(surest.values())[:6] or [0]  # a network that has hardly learned may be right in none
side = 32 // PATCH
heats = []
model.set_weights(looking)
for i in chosen:
    wiped = np.repeat(test["image"][i][None], side * side, 0).copy()
    for k in range(side * side):
        row, column = divmod(k, side)
        wiped[k, row * PATCH : (row + 1) * PATCH, column * PATCH : (column + 1) * PATCH] = 255
    fallen = sure[i, test["label"][i]] - model.predict(wiped, verbose=0)[:, test["label"][i]]
    heats.append(fallen.reshape(side, side))
figures.looks(test["image"][chosen], heats, [common[test["label"][i]] for i in chosen], PATCH)

# %% [markdown]
# ## Exercises
#
# **07.1** A hidden unit with outgoing weight 6 is copied so that it stands three times. What is the outgoing weight of
# each copy?

# %%
teach.check("07.1", ...)

# %% [markdown]
# **07.2** Write `wider_of(W1, W2, g)`: return the new `U1` [D, new] and `U2` [new, C], one above the other as
# `np.concatenate([U1, U2.T])`, for `W1` [D, old], `W2` [old, C] and the list `g`.


# %%
def wider_of(W1, W2, g):
    return W1  # not yet


teach.check("07.2", ...)  # put wider_of here

# %% [markdown]
# **07.3** You add a layer that is to change nothing at first, behind a layer with this activation. For which does an
# identity kernel do it: "relu", "gelu" or "sigmoid"?

# %%
teach.check("07.3", ...)

# %% [markdown]
# **07.4** A picture of 32 × 32 pixels in patches of 8 × 8: how many tokens do the blocks get?

# %%
teach.check("07.4", ...)

# %% [markdown]
# **07.5** A head has another shape in the target. What does `apply()` do when no rule speaks of it: "copy", "random"
# or "refuse"?

# %%
teach.check("07.5", ...)

# %% [markdown]
# ## Read next
#
# - T. Chen, I. Goodfellow, J. Shlens, *Net2Net: accelerating learning via knowledge transfer*, 2016.
# - K. Lu, A. Grover, P. Abbeel, I. Mordatch, *Pretrained transformers as universal computation engines*, 2021.
# - D. Rothermel, M. Li, T. Rocktäschel, J. Foerster, *Don't sweep your learning rate under the rug*, 2021: the answer
#   to it.
# - Z. Xu et al., *Initializing models with larger ones*, 2024: the way back, from wide to narrow.
# - Our guide, with every operation and files of other houses: `docs/weight-maps.md`.
