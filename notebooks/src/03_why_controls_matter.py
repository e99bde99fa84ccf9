# %% [markdown]
# # 03 · Why controls matter
#
# {{ header }}
#
# A transfer that is better than chance has not shown anything yet. In this lesson a CNN that was trained to count the
# dots of Braille characters is used to classify the language of phrases. It is better than chance. Then we run the
# control that is often missing, and see what remains of the claim.
#
# **After this lesson you can**
# - name the control that each claim needs, and write it as an arm;
# - read a verdict (*helped*, *no evidence*, *hurt*), and explain how its interval is computed;
# - compare two sources by the interval of their difference, not by their two verdicts;
# - measure how often chance alone gives a false alarm.
#
# **Time to run:** about two minutes on 2 CPU cores. **Needs:** tfxfer with its extra `emoji`; no network. **Before:**
# lesson 02.

# %%
from tfxfer import teach

teach.start("03")

# %% [markdown]
# ## Arms: the same experiment with one thing changed
#
# Feature transfer is $f(x) = W·φ(x) + b$. A good result can have three reasons: the labels, the architecture of φ, or
# what φ learned. An arm for each reason separates them. Between *random* and *transfer* there is only one difference:
# the weights of φ were trained, or they were not.

# %%
from tfxfer.teach.figures import lesson_03 as figures

figures.arms()

# %% [markdown]
# ## 1 · Two sources
#
# Both sources have the same architecture. The *reader* is trained to classify thousands of characters, as in lesson
# 02. The *counter* gets nothing but Braille characters, and is trained to count the raised dots. Which of them should
# help to classify languages? Make a guess before you read on.

# %%
import keras
import numpy as np

import tfxfer
from tfxfer.fit import cosine

BATCH = 128
LOSS = "sparse_categorical_crossentropy"


def pretrained(dataset, examples, epochs):
    """Return a CNN trained on the labels of a data set, and its training accuracy."""
    classes = len(dataset.class_names)
    cnn = tfxfer.source("fresh:cnn", num_classes=classes, seed=0)
    cnn.compile(keras.optimizers.Adam(), LOSS, metrics=["accuracy"])
    keys, rate = ["image", "label"], cosine(1e-2, epochs)
    for epoch in range(epochs):
        cnn.optimizer.learning_rate = rate(epoch)
        rows = dataset.batches("train", BATCH, keys=keys, shuffle_seed=epoch)
        rows = rows.map(lambda row: (row["image"], row["label"]))
        history = cnn.fit(rows.take(examples // BATCH), shuffle=False, verbose=0)
    return cnn, history.history["accuracy"][-1]


letters = tfxfer.load("glyphs/by_face")
dots = tfxfer.load("glyphs/by_face", label="braille_dots")
reader, reader_accuracy = pretrained(letters, teach.size(24_000, 512), epochs=2)
counter, counter_accuracy = pretrained(dots, teach.size(1_408, 256), epochs=2)
majority_share = np.bincount(dots.labels("train")).max() / dots.sizes["train"]
teach.say(f"""
In the last epoch the reader is correct for {reader_accuracy:.0%} of its training
characters, out of {len(letters.class_names):,} classes. The counter is correct for
{counter_accuracy:.0%}; always predicting the most frequent number would give
{majority_share:.0%}. There are far fewer Braille images, so the counter is also trained
for fewer steps. What follows is about these two networks, not about letters and dots in
general.
""")

# %% [markdown]
# ## 2 · The arms in code
#
# `compare` runs every arm with the same draws of labels and the same test phrases, and keeps each prediction. An arm is
# a function of a label budget and a seed.

# %%
from tfxfer.baselines import classification as baselines
from tfxfer.experiment import Arm, Experiment, Outcome, compare
from tfxfer.models.fresh import fresh_copy
from tfxfer.transfer.bridges.render import RenderText
from tfxfer.transfer.feature import attach, extract, extractor, linear_probe

phrases = tfxfer.load("languages/latin").with_at_most(
    validation=teach.size(400, 60), test=teach.size(1_211, 60)
)
bridge = RenderText(height=32, width=224, font_size=24)
SPLITS = ("train", "validation", "test")
LABELS, EPOCHS = teach.size(20, 3), teach.size(6, 1)
SEEDS = tuple(range(teach.size(3, 2)))
CLASSES = len(phrases.class_names)


def frozen(model_of):
    """Return an arm: W and b on φ(x), where φ is cut out of model_of(seed)."""

    def run(budget, seed):
        phi = extractor(model_of(seed), input_bridge=bridge)
        rows = phrases.with_labels(budget, seed)
        train, held_out, test = (extract(phi, rows, split=split) for split in SPLITS)
        validation = (held_out, held_out.labels)
        probe = linear_probe(train, train.labels, validation=validation)
        trainable = probe.W.size + probe.b.size
        return Outcome(probe.predict_proba(test.array), {"l2": probe.l2}, trainable)

    return run


def majority(budget, seed):
    """The arm that always predicts the most frequent class; it has no input."""
    return baselines.majority(phrases.labels("train"), phrases.sizes["test"], CLASSES)


teach.show(fresh_copy)

# %% [markdown]
# `fresh_copy` makes the *random* arm: the same architecture, with weights drawn anew by its own initialisers.
#
# Training all weights from scratch is an arm too. It has a learning rate, and that is a trap: a rival whose learning
# rate nobody has chosen is a weak rival. We run it with two learning rates.


# %%
from functools import lru_cache


@lru_cache(maxsize=1)
def network():
    """Return bridge, body and head as one trainable network; it is compiled once."""
    body = extractor(fresh_copy(counter, 0), input_bridge=bridge, trainable=True)
    model = attach(body, keras.layers.Dense(CLASSES, activation="softmax"))
    model.compile(keras.optimizers.Adam(), LOSS)
    return model


def scratch(rate):
    """Return an arm that trains all weights, at the learning rate rate(epoch)."""

    def run(budget, seed):
        model = network()
        model.set_weights(fresh_copy(model, seed).get_weights())
        for variable in model.optimizer.variables:
            variable.assign(keras.ops.zeros_like(variable))
        rows, keys = phrases.with_labels(budget, seed), ["text", "label"]
        for epoch in range(EPOCHS):
            model.optimizer.learning_rate = rate(epoch)
            batches = rows.batches("train", 16, keys=keys, shuffle_seed=epoch)
            batches = batches.map(lambda row: (row["text"], row["label"]))
            model.fit(batches, shuffle=False, verbose=0)
        texts = rows.batches("test", 256, keys=["text"]).map(lambda row: row["text"])
        probabilities = model.predict(texts, verbose=0)
        return Outcome(probabilities, {"learning_rate": rate(0)}, model.count_params())

    return run


def experiment(source, *arms):
    """Run the arms beside the frozen source, on the same labels and test phrases."""
    arms = (Arm("transfer", frozen(lambda seed: source)), *arms)
    rows = ("→ languages", phrases.class_names, phrases.labels("test"))
    comparison = compare(Experiment(*rows, arms, (LABELS,), SEEDS))
    errors = [record.error for record in comparison.records if record.error]
    assert not errors, errors
    return comparison


random = Arm("random", frozen(lambda seed: fresh_copy(counter, seed)))
untuned = Arm("scratch, untuned", scratch(cosine(1e-2, EPOCHS)))  # the source's rate
tuned = Arm("scratch", scratch(cosine(2e-3, EPOCHS)))  # a fifth of it
no_input = Arm("majority", majority, one_seed=True)
dots_run = experiment(counter, no_input, untuned, tuned, random)

# %% [markdown]
# ## 3 · The claim
#
# First the result as it is often reported: against chance, and against training from scratch with an arbitrary learning
# rate.

# %%
from tfxfer.evaluate import Verdict, summary, verdict, verdicts

UNTUNED = {"phrase": "untuned training from scratch", "role": "fully trained"}
ABOUT = {"arms": {untuned.name: UNTUNED}}
rows = verdicts(dots_run)
lead = {row["b"]: Verdict.from_dict(row) for row in rows}
score = {row["arm"]: row["score"] for row in summary(dots_run)}
figures.leads(rows, hidden=("scratch", "random"))

# %%
teach.say(f"""
“**A network that counts Braille dots has learned something about languages.** It is
correct for {score["transfer"]:.1%} of {len(dots_run.labels):,} test phrases. Always
predicting the most frequent class gives {score["majority"]:.1%}, and the same network
trained from scratch {score[untuned.name]:.1%}.” The verdicts:

- {lead["majority"].sentence()}
- {lead[untuned.name].sentence(about=ABOUT)}

Both intervals are computed correctly. What is missing?
""")

# %% [markdown]
# ## 4 · The missing controls

# %%
figures.leads(rows)

# %%
changes = lead["majority"].word == "helped" != lead["random"].word
meaning = "For its training on Braille there is no evidence that it helped or hurt."
if lead["random"].word != "no evidence":
    meaning = f"The training on Braille {lead['random'].word}."
teach.say(f"""
- {lead["random"].sentence()}
- {lead["scratch"].sentence()}

**The conclusion {"changes" if changes else "does not change this time"}.** The same
network with random weights gets {score["random"]:.1%}, and it was never trained to
count. So most of the {score["transfer"]:.1%} is due to the *architecture* with its
trained head. {meaning}
""")

# %% [markdown]
# Did the lower learning rate make the rival stronger? The means differ, but two means are not a result. This difference
# needs its own interval, on the same seeds and phrases:

# %%
rates = verdict(
    dots_run.correct("scratch", LABELS),
    dots_run.correct(untuned.name, LABELS),
    names=("the lower learning rate", "the higher learning rate"),
)
plain = {"arms": {rates.b: {"role": "baseline"}}}
compatible = "The data do not show which one is better."
if rates.word != "no evidence":
    better = rates.a if rates.word == "helped" else rates.b
    compatible = f"So {better} is better."
teach.say(f"""
From scratch, the lower learning rate gets {score["scratch"]:.1%} and the higher one
{score[untuned.name]:.1%}.

> {rates.sentence(about=plain)}

{compatible} Two learning rates are no search either. A fair rival gets as many as the
arm under study. `python -m tfxfer.train` gives every arm the same grid.
""")

# %% [markdown]
# Random features can be strong. A convolution with random weights responds to edges and strokes, and the average of its
# activations over a phrase depends on the letters in it. Jarrett et al. (2009) and Saxe et al. (2011) found the same
# on photographs: part of what is attributed to training comes from the architecture.
#
# ## 5 · A source trained on letters
#
# Now the reader, with its own controls: random weights, the native baseline, and training from scratch. Controls are
# not there to spoil a result. They make a good result credible.


# %%
def native(budget, seed):
    """The standard method: TF-IDF of n-grams and logistic regression."""
    some = phrases.with_labels(budget, seed)
    train, held_out = (
        (some.texts(split), some.labels(split)) for split in ("train", "validation")
    )
    return baselines.native_text(train, held_out, some.texts("test"), CLASSES)


random = Arm("random", frozen(lambda seed: fresh_copy(reader, seed)))
letters_run = experiment(reader, random, Arm("native", native), no_input)
letters_score = {row["arm"]: row["score"] for row in summary(letters_run)}
letters_lead = Verdict.from_dict(verdicts(letters_run, against="random")[0])
from_scratch = verdict(
    letters_run.correct("transfer", LABELS),
    dots_run.correct("scratch", LABELS),
    names=("transfer", "scratch"),
)
arms = ("transfer", "random", "native", "majority", "scratch")
letters_score["scratch"] = score["scratch"]
figures.two_sources(
    {"dots": lead["random"].to_dict(), "letters": letters_lead.to_dict()},
    {
        "dots": {arm: score[arm] for arm in arms if arm in score},
        "letters": {arm: letters_score[arm] for arm in arms},
    },
)

# %%
teach.say(f"""
- {letters_lead.sentence()}
- {from_scratch.sentence()}

n-grams of the text (*native*), without any image, get {letters_score["native"]:.1%}.
""")

# %% [markdown]
# ### Which source is better?
#
# Each source now has a verdict against random weights. It is tempting to compare the two words. But *helped* beside
# *no evidence* does not show that one source is better than the other (Gelman and Stern 2006). That question needs a
# comparison of its own: both sources on the same seeds and phrases, and the interval of *their* difference.

# %%
sources = verdict(
    letters_run.correct("transfer", LABELS),
    dots_run.correct("transfer", LABELS),
    names=("training on letters", "training on dots"),
)
plain = {"arms": {sources.b: {"role": "baseline"}}}
answer = {
    "helped": "So the source trained on letters is better for this task.",
    "hurt": "So the source trained on dots is better for this task.",
    "no evidence": "So it is open which source is better, whatever the two words are.",
}
teach.say(f"""
> {sources.sentence(about=plain)}

{answer[sources.word]} Each source was trained once. The interval does not contain the
variation between trainings of the source, so it is about these two networks.
""")

# %% [markdown]
# ## 6 · Where the interval comes from
#
# Other test phrases would give another accuracy, and so would another draw of labels. `verdict` accounts for both: test
# phrases are drawn ten thousand times by a paired bootstrap; the variation between seeds follows Student's t
# distribution, because three seeds are few.

# %%
teach.show(verdict)

# %%
transfer, control = (letters_run.correct(arm, LABELS) for arm in arms[:2])  # [S, N]
difference = transfer.astype(float) - control
resampled = np.random.default_rng(0).integers(
    0, difference.shape[1], (4000, difference.shape[1])
)
draws = difference.mean(0)[resampled].mean(1)  # of the test phrases
by_seed = difference.mean(1)
figures.bootstrap(
    draws, letters_lead.difference, letters_lead.low, letters_lead.high, by_seed
)

# %%
phrases_only = np.ptp(np.quantile(draws, [0.025, 0.975]))
teach.say(f"""
The histogram contains the variation of the test phrases alone. It gives an interval of
width {phrases_only:.3f}. The three seeds differ by up to {np.ptp(by_seed):.3f}. The
interval with both has width {letters_lead.high - letters_lead.low:.3f}.
""")

# %% [markdown]
# ## 7 · False alarms
#
# How often does chance alone give a verdict? We compare random networks with random networks. No group is better by
# construction, so every *helped* and every *hurt* is a false alarm. At 95 % there should be about one in twenty.

# %%
from itertools import combinations

NETWORKS = teach.size(8, 2)
right = []
for seed in range(NETWORKS):
    arm = frozen(lambda seed: fresh_copy(reader, 100 + seed))
    right.append(arm(LABELS, seed).probabilities.argmax(1) == phrases.labels("test"))
right = np.stack(right)  # [networks, phrases]


def false_alarms(size):
    """Compare disjoint groups of `size` random networks, at most 45 pairs of groups."""
    groups = combinations(combinations(range(NETWORKS), size), 2)
    groups = [(list(a), list(b)) for a, b in groups if not set(a) & set(b)]
    order = np.random.default_rng(0).permutation(len(groups))[:45]
    found = [verdict(right[groups[i][0]], right[groups[i][1]]) for i in order]
    alarms = np.mean([one.low > 0 or one.high < 0 for one in found])
    return [(one.difference, one.low, one.high) for one in found], alarms


for size in (1, teach.size(3, 1)):
    rows, alarms = false_alarms(size)
    figures.false_alarms(rows, size, alarms)
    count = f"**{round(alarms * len(rows))} of {len(rows)}** intervals exclude 0"
    teach.say(f"With {size} seed{'s' * (size > 1)} in each group, {count}.")

# %% [markdown]
# All these pairs share the same few networks, so the counts are rough and cannot prove the rate. What is certain is
# how the interval is made: with one seed it contains the variation of test phrases only. So tfxfer gives no verdict
# from one seed, and the sentence says why: “1 seed, so no verdict: seeds may differ by more”. The default of tfxfer is
# three seeds, and ten for arms that fit only a linear head. `python -m benchmarks.verdict` counts false alarms over
# 60 trained heads.
#
# ## 8 · A control that turns a verdict
#
# The strongest control removes what the claim is about, and nothing else. The claim: *images are a dictionary*. An
# emoji has a name in every language. From the n-grams of an English name we predict the image of its emoji, by ridge
# regression, and from a Chinese name too. A name is translated by the nearest name of the other language, among emoji
# that neither has seen. No English name is ever shown beside a Chinese one. (This part needs
# `pip install "tfxfer[emoji]"`.)

# %%
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.kernel_ridge import KernelRidge
from sklearn.preprocessing import normalize

LANGUAGES = ("en", "zh")
emoji = tfxfer.load("emoji").with_at_most(
    train=teach.size(1_170, 80), test=teach.size(310, 30)
)
concepts = np.array(emoji.texts("train", "concept"))
names = {
    (code, split): np.array(emoji.texts(split, code))
    for code in LANGUAGES
    for split in ("train", "test")
}
shown = emoji.arrays("train", image_size=(16, 16))["image"]
shown = shown.reshape(len(shown), -1).astype(float)
pixels = (shown - shown.mean(0)) / (shown.std(0) + 1e-6)  # [1170, 768]
grams = {
    code: TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4)) for code in LANGUAGES
}
for code in LANGUAGES:
    grams[code].fit(names[code, "train"])


def image_of(code, features, rows):
    """Return where the images of the test names should lie, at length 1, [N, D]."""
    known = grams[code].transform(names[code, "train"][rows])
    model = KernelRidge(alpha=0.3).fit(known, normalize(features[rows]))
    return normalize(model.predict(grams[code].transform(names[code, "test"])))


def translated(features, shared, seed):
    """Return which test names are translated correctly, the mean of both ways, [N]."""
    order = np.random.default_rng(seed).permutation(np.unique(concepts))
    first = np.isin(concepts, order[::2])  # half of the concepts
    halves = (first, first) if shared else (first, ~first)
    one, two = (image_of(code, features, rows) for code, rows in zip(LANGUAGES, halves))
    K, right = one @ two.T, np.arange(len(one))
    return ((K.argmax(1) == right) + (K.argmax(0) == right).astype(float)) / 2


# %% [markdown]
# Two controls. A *random vector* in place of every image: then nothing can come from what an image shows. And *images
# of its own for each language*: no emoji, and no concept, has both names.

# %%
vectors = np.random.default_rng(0).standard_normal((len(pixels), 256))
found = {
    (what, shared): np.stack([translated(given, shared, seed) for seed in range(3)])
    for what, given in (("images", pixels), ("random vectors", vectors))
    for shared in (True, False)
}
chance = 1 / len(names["en", "test"])
titles = {
    True: "both languages learn from the same emoji",
    False: "each language has emoji of its own",
}
figures.accuracies(
    {
        title: {
            what: found[what, shared].mean() for what in ("images", "random vectors")
        }
        | {"guessing": chance}
        for shared, title in titles.items()
    }
)

# %%
same, own = (
    verdict(
        found["images", shared],
        found["random vectors", shared],
        names=("an image", "a random vector"),
    )
    for shared in (True, False)
)
plain = {"arms": {"a random vector": {"role": "baseline"}}}
teach.say(f"""
With the same emoji, {found["images", True].mean():.0%} of the unseen names are
translated correctly. That looks like a proof. But:

> {same.sentence(about=plain)}

An emoji is then only a number that pairs two words, and a random number does it as well
or better, because no two are alike. The list of emoji was a hidden bilingual list. With
emoji of its own for each language, images get {found["images", False].mean():.1%},
random vectors {found["random vectors", False].mean():.1%}, and guessing {chance:.1%}.

> {own.sentence(about=plain)}

Only this number says what images know.
""")

# %% [markdown]
# `python -m tfxfer.train dictionary --languages en zh` runs all of this with a trained CNN, and with its letters alone.
#
# ## Exercises
#
# **03.1** A paper freezes a language model, trains only its first and last layer on images, and is better than the same
# architecture trained *whole* from scratch. Which arm is missing for the claim that *language* helped: "majority",
# "random" or "native"?

# %%
teach.check("03.1", ...)

# %% [markdown]
# **03.2** The difference is +0.030 with the interval −0.004 to +0.064. Which word: "helped", "no evidence" or "hurt"?

# %%
teach.check("03.2", ...)

# %% [markdown]
# **03.3** You compare 20 pairs of arms between which there is no difference, each at 95 %. How many false alarms do you
# expect?

# %%
teach.check("03.3", ...)

# %% [markdown]
# **03.4** Write `lead_of(a, b)`: the mean over seeds and examples of how much arm `a` leads arm `b`. Both arguments are
# arrays of correct (True) and wrong (False) predictions, [seeds, examples].


# %%
def lead_of(a, b):
    return a  # not yet


teach.check("03.4", ...)  # put lead_of here

# %% [markdown]
# **03.5** You have one hour of computing time. The arm under study was tuned over ten learning rates. Over how many do
# you tune its rival?

# %%
teach.check("03.5", ...)

# %% [markdown]
# **03.6** Two languages learn from the same 500 photographs. You replace each photograph by its file number, as a
# one-hot vector. What happens to the share of correctly translated words: "it falls to chance" or "it stays or rises"?

# %%
teach.check("03.6", ...)

# %% [markdown]
# ## Read next
#
# - K. Jarrett, K. Kavukcuoglu, M. Ranzato, Y. LeCun, *What is the best multi-stage architecture for object
#   recognition?*, 2009: random filters are nearly as good as trained ones.
# - A. Saxe, P. Koh, Z. Chen, M. Bhand, B. Suresh, A. Ng, *On random weights and unsupervised feature learning*, 2011.
# - D. Rothermel, M. Li, T. Rocktäschel, J. Foerster, *Don't sweep your learning rate under the rug: a closer look at
#   cross-modal transfer of pretrained transformers*, 2021: a reported gain, and a learning-rate sweep for every arm.
# - A. Gelman, H. Stern, *The difference between “significant” and “not significant” is not itself statistically
#   significant*, 2006: why two verdicts must not be compared.
# - X. Bouthillier et al., *Accounting for variance in machine learning benchmarks*, 2021: sources of variance.
# - B. Efron, R. Tibshirani, *An introduction to the bootstrap*, 1993.
#
# {{ navigation }}
