# %% [markdown]
# # 03 · Why controls matter
#
# A transfer that beats guessing has shown nothing yet. In this lesson a network that can count the dots of Braille
# characters is asked which language a phrase is in. It will do clearly better than guessing. Then we run the control
# that is usually missing, and the claim falls.
#
# **After this lesson you can**
# - name the arm that each claim needs, and write it in three lines;
# - read a verdict: *helped*, *no evidence*, *hurt*, and what its interval is made of;
# - say what its interval is made of, and how often luck alone makes it lie.
#
# **Time to run:** about two minutes on 2 CPU cores. **Needs:** nothing but tfxfer; no network. **Before:** lesson 02.

# %%
from tfxfer import teach

teach.start("03")

# %% [markdown]
# ## Arms: the same experiment with one thing changed
#
# Feature transfer is $f(x) = W·φ(x) + b$. A good result can come from the labels, from the shape of φ, or from what φ
# learned. An arm for each takes them apart. Between *random* and *transfer* there is one difference only: whether the
# weights of φ ever learned anything.

# %%
from tfxfer.teach.figures import lesson_03 as figures

figures.levels()

# %% [markdown]
# ## 1 · Two sources
#
# Both are the same CNN. One learns to name thousands of characters, as in lesson 02. The other sees nothing but
# Braille and learns to count the raised dots. If you had to bet: which of them knows something about languages?

# %%
import keras
import numpy as np

import tfxfer
from tfxfer.fit import cosine

BATCH = 128


def taught(dataset, examples, epochs):
    """Return a CNN that learned the labels of `dataset`, and how often it is right at the end."""
    steps = examples // BATCH
    cnn = tfxfer.source("fresh:cnn", num_classes=len(dataset.class_names), seed=0)
    cnn.compile(keras.optimizers.Adam(), "sparse_categorical_crossentropy", metrics=["accuracy"])
    for number in range(epochs):
        cnn.optimizer.learning_rate = cosine(1e-2, epochs)(number)
        rows = dataset.batches("train", BATCH, keys=["image", "label"], shuffle_seed=number).take(steps)
        history = cnn.fit(rows.map(lambda row: (row["image"], row["label"])), shuffle=False, verbose=0).history
    return cnn, history["accuracy"][-1]


letters = tfxfer.load("glyphs/by_face")
dots = tfxfer.load("glyphs/by_face", label="braille_dots")
reader, reads = taught(letters, teach.size(24_000, 512), epochs=2)
counter, counts = taught(dots, teach.size(1_408, 256), epochs=2)
teach.say(f"""
The *reader* names {reads:.0%} of the characters it is shown, out of {len(letters.class_names):,}. The *counter* gets
the number of dots right in {counts:.0%}, out of {len(dots.class_names)} possible numbers.
""")

# %% [markdown]
# ## 2 · The arms, in code
#
# `compare` runs every arm with the same draws of labels, on the same test phrases, and keeps each answer. An arm is a
# function of a label budget and a seed.

# %%
from tfxfer.experiment import Arm, Experiment, Outcome, compare
from tfxfer.recipes.arms import fresh_copy
from tfxfer.transfer.bridges.render import RenderText
from tfxfer.transfer.feature import attach, extract, extractor, linear_probe

phrases = tfxfer.load("languages/latin").with_at_most(validation=teach.size(400, 60), test=teach.size(1_211, 60))
bridge = RenderText(height=32, width=224, font_size=24)
SPLITS = ("train", "validation", "test")
LABELS, EPOCHS = teach.size(20, 3), teach.size(6, 1)
SEEDS = tuple(range(teach.size(3, 2)))


def frozen(model_of):
    """Arm: W and b on φ(x). `model_of(seed)` is the network that φ is cut out of."""

    def run(budget, seed):
        phi = extractor(model_of(seed), input_bridge=bridge)
        rows = phrases.with_labels(budget, seed)
        train, held_out, test = (extract(phi, rows, split=split) for split in SPLITS)
        probe = linear_probe(train, train.labels, validation=(held_out, held_out.labels))
        return Outcome(probe.predict_proba(test.array), {"l2": probe.l2}, probe.W.size + probe.b.size)

    return run


def majority(budget, seed):
    """Arm: always the most frequent class; no input at all."""
    most = np.bincount(phrases.with_labels(budget, seed).labels("train")).argmax()
    answers = np.zeros((phrases.sizes["test"], len(phrases.class_names)))
    answers[:, most] = 1
    return Outcome(answers)


teach.show(fresh_copy)

# %% [markdown]
# `fresh_copy` is the whole secret of the *random* arm: the same network, its weights drawn anew by its own
# initialisers.
#
# Training everything from scratch is an arm too. It has a learning rate, and that is a trap: a rival with a learning
# rate that nobody has chosen is a rival with its shoes tied together. We run it both ways.


# %%
from functools import lru_cache


@lru_cache(maxsize=1)
def network():
    """Return bridge, body and head as one network that trains; it is compiled once."""
    body = extractor(fresh_copy(counter, 0), input_bridge=bridge, trainable=True)
    model = attach(body, keras.layers.Dense(len(phrases.class_names), activation="softmax"))
    model.compile(keras.optimizers.Adam(), "sparse_categorical_crossentropy")
    return model


def whole(rate):
    """Arm: the same network, all of it trained on the few labels, from fresh weights; `rate(epoch)` is its rate."""

    def run(budget, seed):
        model = network()
        model.set_weights(fresh_copy(model, seed).get_weights())
        for variable in model.optimizer.variables:
            variable.assign(keras.ops.zeros_like(variable))
        rows = phrases.with_labels(budget, seed)
        for epoch in range(EPOCHS):
            model.optimizer.learning_rate = rate(epoch)
            batches = rows.batches("train", 16, keys=["text", "label"], shuffle_seed=epoch)
            model.fit(batches.map(lambda row: (row["text"], row["label"])), shuffle=False, verbose=0)
        texts = rows.batches("test", 256, keys=["text"]).map(lambda row: row["text"])
        return Outcome(model.predict(texts, verbose=0), {"learning_rate": rate(0)}, model.count_params())

    return run


def experiment(source, *arms):
    """Run the arms beside the frozen source, with the same labels and test phrases."""
    every = (Arm("transfer", frozen(lambda seed: source)), *arms)
    labels = phrases.labels("test")
    comparison = compare(Experiment("→ languages", phrases.class_names, labels, every, (LABELS,), SEEDS))
    assert not any(record.error for record in comparison.records), [record.error for record in comparison.records]
    return comparison


random = Arm("random", frozen(lambda seed: fresh_copy(counter, seed)))
careless = Arm("scratch, the source's rate", whole(lambda epoch: 1e-2))  # it served the source well
careful = Arm("scratch", whole(cosine(2e-3, EPOCHS)))  # chosen on held-out phrases before
counted = experiment(counter, Arm("majority", majority, one_seed=True), careless, careful, random)

# %% [markdown]
# ## 3 · The claim
#
# First as it is often told: against guessing, and against training from scratch with whatever learning rate came
# along.

# %%
from tfxfer.evaluate import Verdict, summary, verdicts

rows = verdicts(counted)
lead = {row["b"]: row for row in rows}
score = {row["arm"]: row["score"] for row in summary(counted)}
figures.ladder(rows, hidden=("scratch", "random"))

# %%
teach.say(f"""
“**A network that counts Braille dots knows something about languages.** It is right in {score["transfer"]:.1%} of
{len(counted.labels):,} test phrases, where guessing gets {score["majority"]:.1%}, and it leaves a network trained
from scratch behind.” The verdicts agree:

- {Verdict.from_dict(lead["majority"]).sentence()}
- {Verdict.from_dict(lead[careless.name]).sentence()}

Every word and every interval is right. What is wrong with it?
""")

# %% [markdown]
# ## 4 · The controls that were missing

# %%
figures.ladder(rows)

# %%
turned = lead["majority"]["word"] == "helped" != lead["random"]["word"]
teach.say(f"""
- {Verdict.from_dict(lead["random"]).sentence()}
- {Verdict.from_dict(lead["scratch"]).sentence()}

**The verdict {"turns" if turned else "stands this time"}.** The same network with weights out of a dice cup gets
{score["random"]:.1%}, and it has counted nothing. So the counter's {score["transfer"]:.1%} say that this *shape* of
network, with a trained head, is worth something. About what it learned from Braille they say nothing. And
from-scratch training, given a learning rate that suits it, went from {score[careless.name]:.1%} to
{score["scratch"]:.1%}.
""")

# %% [markdown]
# Why are random features so strong? A convolution with random weights is still a bank of edge and stroke detectors,
# and an average of them over a phrase is a fingerprint of its letters. Jarrett et al. (2009) and Saxe et al. (2011)
# found the same in photographs: much of what is called learned is the architecture.
#
# ## 5 · A transfer that survives its control
#
# Now the reader, with exactly the same arms. The control is not there to spoil things; it is what makes a good result
# believable.

# %%
from tfxfer.recipes.baselines import native_text


def native(budget, seed):
    """Arm: TF-IDF of letter n-grams and logistic regression; no picture."""
    some = phrases.with_labels(budget, seed)
    train, held_out = ((some.texts(split), some.labels(split)) for split in ("train", "validation"))
    return native_text(train, held_out, some.texts("test"), len(phrases.class_names))


dice = Arm("random", frozen(lambda seed: fresh_copy(reader, seed)))
read = experiment(reader, dice, Arm("native", native), Arm("majority", majority, one_seed=True))
against = {"counts dots": lead["random"], "reads letters": verdicts(read, against="random")[0]}
arms = ("transfer", "random", "native", "majority")
scores = {"counts dots": {arm: score[arm] for arm in arms if arm in score}}
scores["reads letters"] = {row["arm"]: row["score"] for row in summary(read)}
figures.two_sources(against, scores)

# %%
teach.say(f"""
- {Verdict.from_dict(against["reads letters"]).sentence()}

The same bridge, the same shape, the same labels. Knowledge of letters: {against["reads letters"]["word"]}. Knowledge
of dots: {against["counts dots"]["word"]}. And a plain count of letters (*native*), without any picture, gets
{scores["reads letters"]["native"]:.1%}. All of it belongs into the report.
""")

# %% [markdown]
# ## 6 · Where the interval comes from
#
# Other test phrases would have given another number, and so would another draw of labels. `verdict` draws both again,
# ten thousand times: phrases by a paired bootstrap, seeds from Student's t, because three are few.

# %%
from tfxfer.evaluate import verdict

teach.show(verdict)

# %%
transfer, control = (read.correct(arm, LABELS) for arm in ("transfer", "random"))  # [seeds, phrases]
difference = transfer.astype(float) - control
again = np.random.default_rng(0).integers(0, difference.shape[1], (4000, difference.shape[1]))
draws = difference.mean(0)[again].mean(1)  # the phrases drawn again
told = verdict(transfer, control)
figures.bootstrap(draws, told.difference, told.low, told.high, difference.mean(1))

# %%
narrow = np.quantile(draws, [0.025, 0.975])
teach.say(f"""
The hill is what redrawing the phrases alone gives: an interval {np.ptp(narrow):.3f} wide. The three seeds differ by
up to {np.ptp(difference.mean(1)):.3f}. With both, the honest interval is {told.high - told.low:.3f} wide.
""")

# %% [markdown]
# ## 7 · Dice against dice
#
# How much can luck do? Let random networks play against random networks. There is nothing to find, so every *helped*
# and every *hurt* is a false alarm; at 95 % there should be about one in twenty.

# %%
from itertools import combinations

NETWORKS = teach.size(8, 2)
played = [frozen(lambda seed: fresh_copy(reader, 100 + seed))(LABELS, seed).probabilities for seed in range(NETWORKS)]
right = np.stack([answers.argmax(1) == phrases.labels("test") for answers in played])  # [networks, phrases]


def games(size):
    """Play all disjoint groups of `size` networks against each other, up to 45 games."""
    groups = [(a, b) for a, b in combinations(combinations(range(NETWORKS), size), 2) if not set(a) & set(b)]
    order = np.random.default_rng(0).permutation(len(groups))[:45]
    told = [verdict(right[list(groups[i][0])], right[list(groups[i][1])]) for i in order]
    return [(one.difference, one.low, one.high) for one in told], np.mean([one.word != "no evidence" for one in told])


for size in (1, teach.size(3, 1)):
    rows, alarms = games(size)
    figures.luck(rows, size, alarms)
    teach.say(f"With {size} seed{'s' * (size > 1)} a side, **{alarms:.0%}** of {len(rows)} games end in a false alarm.")

# %% [markdown]
# With one seed, the interval knows about phrases and is blind to the luck of weights and labels. tfxfer says so in
# the sentence (“1 seed, so the luck of the seed is not in the interval”), and its default is three.
#
# ## Exercises
#
# **03.1** A paper fine-tunes a language model on pictures and beats the same architecture trained from scratch. Which
# arm is missing to claim that the *language* helped: "majority", "random" or "native"?

# %%
teach.check("03.1", ...)

# %% [markdown]
# **03.2** The difference is +0.030 with the interval −0.004 to +0.064. Which word: "helped", "no evidence" or "hurt"?

# %%
teach.check("03.2", ...)

# %% [markdown]
# **03.3** You compare 20 pairs of arms among which nothing differs, each at 95 %. How many false alarms do you
# expect?

# %%
teach.check("03.3", ...)

# %% [markdown]
# **03.4** Write `lead(a, b)`: the mean over seeds and examples of how much arm `a` leads `b`. Both are arrays of
# right (True) and wrong (False), [seeds, examples].


# %%
def lead_of(a, b):
    return a  # not yet


teach.check("03.4", ...)  # put lead_of here

# %% [markdown]
# **03.5** You have one hour of computing. The arm under study has been tuned over ten learning rates. With how many
# do you tune its rival?

# %%
teach.check("03.5", ...)

# %% [markdown]
# ## Read next
#
# - K. Jarrett, K. Kavukcuoglu, M. Ranzato, Y. LeCun, *What is the best multi-stage architecture for object
#   recognition?*, 2009: random filters come close to learned ones.
# - A. Saxe, P. Koh, Z. Chen, M. Bhand, B. Suresh, A. Ng, *On random weights and unsupervised feature learning*, 2011.
# - D. Rothermel, M. Li, T. Rocktäschel, J. Foerster, *Don't sweep your learning rate under the rug: a closer look at
#   cross-modal transfer of pretrained transformers*, 2021: a celebrated gain that went away with a sweep for every
#   arm.
# - X. Bouthillier et al., *Accounting for variance in machine learning benchmarks*, 2021: where the luck hides.
# - B. Efron, R. Tibshirani, *An introduction to the bootstrap*, 1993.
#
# What we measured ourselves, flattering or not: `docs/results.md`. Next lesson with a live control: **07, structure
# transfer**.
