# %% [markdown]
# # 03 · Why controls matter
#
# A transfer that beats guessing has shown nothing yet. In this lesson a network that can count the dots of Braille
# characters is asked which language a phrase is in. It should do better than guessing. Then we run the control that is
# often missing, and see what is left of the claim.
#
# **After this lesson you can**
# - name the arm that each claim needs, and write it in three lines;
# - read a verdict: *helped*, *no evidence*, *hurt*, and what its interval is made of;
# - say how often luck alone makes an interval lie.
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
    """Return a CNN that learned the labels of `dataset`, and how often it was right during its last pass."""
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
always = np.bincount(dots.labels("train")).max() / dots.sizes["train"]
teach.say(f"""
In its last pass the *reader* named {reads:.0%} of the characters it was shown, out of {len(letters.class_names):,}. The
*counter* got the number of dots right in {counts:.0%}; always saying the commonest number would get {always:.0%}. There
are far fewer Braille pictures, so the counter has also learned for fewer steps: what follows is about these two
networks, not about dots and letters as such.
""")

# %% [markdown]
# ## 2 · The arms, in code
#
# `compare` runs every arm with the same draws of labels, on the same test phrases, and keeps each answer. An arm is a
# function of a label budget and a seed.

# %%
from tfxfer.arms.feature import fresh_copy
from tfxfer.baselines.classification import majority as most_frequent
from tfxfer.experiment import Arm, Experiment, Outcome, compare
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
    """Arm: always the class that is most frequent among all training phrases; no input at all."""
    return most_frequent(phrases.labels("train"), phrases.sizes["test"], len(phrases.class_names))


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
careless = Arm("scratch, the source's rate", whole(cosine(1e-2, EPOCHS)))  # it served the source well
careful = Arm("scratch", whole(cosine(2e-3, EPOCHS)))  # a fifth of it
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
{len(counted.labels):,} test phrases, where always saying the commonest language gets {score["majority"]:.1%}, and a
network trained from scratch {score[careless.name]:.1%}.” The verdicts:

- {Verdict.from_dict(lead["majority"]).sentence()}
- {Verdict.from_dict(lead[careless.name]).sentence()}

Every interval is right. What is missing?
""")

# %% [markdown]
# ## 4 · The controls that were missing

# %%
figures.ladder(rows)

# %%
turned = lead["majority"]["word"] == "helped" != lead["random"]["word"]
so = "About what it learned from Braille they say nothing."
if lead["random"]["word"] != "no evidence":
    so = f"Against its control, what it learned from Braille: {lead['random']['word']}."
teach.say(f"""
- {Verdict.from_dict(lead["random"]).sentence()}
- {Verdict.from_dict(lead["scratch"]).sentence()}

**The verdict {"turns" if turned else "stands this time"}.** The same network with weights out of a dice cup gets
{score["random"]:.1%}, and it has counted nothing. So the counter's {score["transfer"]:.1%} say that this *shape* of
network, with a trained head, is worth something. {so} And from-scratch training, at a fifth of the learning rate, went
from {score[careless.name]:.1%} to {score["scratch"]:.1%}. (Two rates are no search; a fair rival gets as many as the
arm under study, and `python -m tfxfer.train` gives it that.)
""")

# %% [markdown]
# Random features can be strong: a convolution with random weights still answers to edges and strokes, and an average
# of its answers over a phrase is a fingerprint of its letters. Jarrett et al. (2009) and Saxe et al. (2011)
# found the same in photographs: much of what is called learned is the architecture.
#
# ## 5 · A source that reads letters
#
# Now the reader: against its own random copy, the plain baseline, and the network trained from scratch above. Controls
# are not there to spoil things; they are what makes a good result believable.

# %%
from tfxfer.baselines.classification import native_text
from tfxfer.evaluate import verdict


def native(budget, seed):
    """Arm: TF-IDF of letter n-grams and logistic regression; no picture."""
    some = phrases.with_labels(budget, seed)
    train, held_out = ((some.texts(split), some.labels(split)) for split in ("train", "validation"))
    return native_text(train, held_out, some.texts("test"), len(phrases.class_names))


dice = Arm("random", frozen(lambda seed: fresh_copy(reader, seed)))
read = experiment(reader, dice, Arm("native", native), Arm("majority", majority, one_seed=True))
against = {"counts dots": lead["random"], "reads letters": verdicts(read, against="random")[0]}
arms = ("transfer", "random", "native", "majority", "scratch")
scores = {"counts dots": {arm: score[arm] for arm in arms if arm in score}}
scores["reads letters"] = {row["arm"]: row["score"] for row in summary(read)} | {"scratch": score["scratch"]}
from_scratch = verdict(
    read.correct("transfer", LABELS), counted.correct("scratch", LABELS), names=("transfer", "scratch")
)
figures.two_sources(against, scores)

# %%
teach.say(f"""
- {Verdict.from_dict(against["reads letters"]).sentence()}
- {from_scratch.sentence()}

The same bridge, the same shape, the same labels. Knowledge of letters: {against["reads letters"]["word"]}. Knowledge
of dots: {against["counts dots"]["word"]}. And n-grams of the text (*native*), without any picture, get
{scores["reads letters"]["native"]:.1%}. All of it belongs in the report. What is not drawn again is the source: one
reader was trained, and another might help more or less.
""")

# %% [markdown]
# ## 6 · Where the interval comes from
#
# Other test phrases would have given another number, and so would another draw of labels. `verdict` draws both again,
# ten thousand times: phrases by a paired bootstrap, seeds from Student's t, because three are few.

# %%
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
    false = f"**{round(alarms * len(rows))} of {len(rows)}** games end in a false alarm"
    teach.say(f"With {size} seed{'s' * (size > 1)} a side, {false}.")

# %% [markdown]
# All games are played by the same few networks, so these counts are rough, and one in twenty or so proves little. What
# is certain is how the interval is made: with one seed it redraws phrases only, and the luck of weights and labels
# is not in it. tfxfer says so in the sentence (“1 seed, so the luck of the seed is not in the interval”), and its
# default is three.
#
# ## Exercises
#
# **03.1** A paper freezes a language model, trains only its first and last layer on pictures, and beats the same
# architecture trained *whole* from scratch. Which arm is missing to claim that the *language* helped: "majority",
# "random" or "native"?

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
# **03.4** Write `lead_of(a, b)`: the mean over seeds and examples of how much arm `a` leads `b`. Both are arrays of
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
#   cross-modal transfer of pretrained transformers*, 2021: what a sweep of learning rates for every arm does to a
#   celebrated gain.
# - X. Bouthillier et al., *Accounting for variance in machine learning benchmarks*, 2021: where the luck hides.
# - B. Efron, R. Tibshirani, *An introduction to the bootstrap*, 1993.
#
# What we measured ourselves, flattering or not: `docs/results.md`. The next lesson: **04, knowledge transfer**, whose
# control is shuffled pairs.
