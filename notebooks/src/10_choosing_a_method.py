# %% [markdown]
# # 10 · Choosing a method
#
# {{ header }}
#
# There are sources, bridges and methods, and a new task. Which one should be trained? Papers offer *transferability
# scores*: figures that say before a training how well a source suits a target. This lesson computes three of them by
# hand, and then asks the question that matters: what does a choice lose if we follow them?
#
# **After this lesson you can**
# - compute NCE, LEEP and the H-score from arrays, and say what each one sees;
# - read a score beside random weights, and not alone;
# - define regret, and compare ways to choose by it;
# - check whether intervals of predictions hold what they promise.
#
# **Time to run:** about a minute on 2 CPU cores. **Needs:** tfxfer; no network. **Before:** lessons 02 and 03.

# %%
from tfxfer import teach

teach.start("10")

# %% [markdown]
# ## 1 · Three scores by hand
#
# A source model gives two things for an example of the target: features φ, and probabilities θ of its own classes.
# The target gives labels y. The scores are made of these.
#
# $$\text{NCE} = -H(y \mid \hat z), \quad \hat z = \arg\max_z θ_z \qquad \text{LEEP} = \frac{1}{N} \sum_i \log \sum_z
# P(y_i \mid z)\, θ_{iz} \qquad H = \operatorname{tr}\left( Σ_φ^{-1} Σ_{E[φ \mid y]} \right)$$
#
# NCE asks: if I know which class the source would choose, how surely do I know the label? LEEP asks the same of all its
# probabilities. The H-score looks at features: how far apart are the means of the classes, in units of the spread?

# %%
import numpy as np

from tfxfer.choose import h_score, leep, nce


def nce_by_hand(theta, y):
    """Minus the conditional entropy of y given the source's answer, in nats."""
    z = theta.argmax(1)
    joint = np.array(
        [[np.mean((z == a) & (y == b)) for b in np.unique(y)] for a in np.unique(z)]
    )
    given = joint / joint.sum(1, keepdims=True)
    return float((joint * np.log(np.where(given > 0, given, 1))).sum())


def leep_by_hand(theta, y):
    """Mean log-probability of y, if y is predicted through the source's classes."""
    joint = np.array([theta[y == b].sum(0) for b in np.unique(y)]) / len(y)  # [C, Z]
    given = joint / joint.sum(0)  # P(y given z)
    return float(np.log((theta @ given.T)[np.arange(len(y)), y]).mean())


def h_by_hand(phi, y):
    """The trace of the between-class covariance in units of the whole covariance."""
    centred = phi - phi.mean(0)
    means = np.array([centred[y == b].mean(0) for b in y])
    return float(np.trace(np.linalg.pinv(centred.T @ centred) @ means.T @ means))


rng = np.random.default_rng(0)
y = np.arange(300) % 3
theta = rng.dirichlet(np.ones(5), 300) + 1.5 * np.eye(5)[y]  # classes 0, 1, 2 tell y
theta /= theta.sum(1, keepdims=True)
phi = np.eye(3)[y] @ rng.normal(size=(3, 6)) + rng.normal(size=(300, 6))
for name, ours, library in (
    ("NCE", nce_by_hand(theta, y), nce(theta, y)),
    ("LEEP", leep_by_hand(theta, y), leep(theta, y)),
    ("H-score", h_by_hand(phi, y), h_score(phi, y)),
):
    assert abs(ours - library) < 1e-6
    print(f"{name}: {ours:.4f}")

# %% [markdown]
# ## 2 · Beside random weights
#
# What does 1.3 mean? Nothing alone: the height of a score depends on the number of examples, features and classes. A
# network with *random weights* has scores too. So we draw some. The source is the CNN of lesson 02; the target are
# phrases that are rendered as images.

# %%
import keras

import tfxfer
from tfxfer.choose import score
from tfxfer.fit import cosine
from tfxfer.models.fresh import fresh_copy
from tfxfer.teach.figures import lesson_10 as figures
from tfxfer.transfer.bridges.render import RenderText
from tfxfer.transfer.feature import extract, extractor

glyphs = tfxfer.load("glyphs/by_face")
cnn = tfxfer.source("fresh:cnn", num_classes=len(glyphs.class_names), seed=0)
cnn.compile(keras.optimizers.Adam(), "sparse_categorical_crossentropy")
for epoch in range(2):
    cnn.optimizer.learning_rate = cosine(1e-2, 2)(epoch)
    rows = glyphs.batches("train", 128, keys=["image", "label"], shuffle_seed=epoch)
    rows = rows.map(lambda row: (row["image"], row["label"]))
    cnn.fit(rows.take(teach.size(110, 2)), shuffle=False, verbose=0)

phrases = tfxfer.load("languages/latin").with_labels(teach.size(40, 4), 0)
bridge = RenderText(height=32, width=224, font_size=24)


def arrays(model):
    """Return φ of the training phrases, at a mean variance of 1, and their labels."""
    found = extract(extractor(model, input_bridge=bridge), phrases, split="train")
    features = np.asarray(found.array, float)
    return {
        "features": features / np.sqrt(features.var(0).mean()),
        "labels": found.labels,
    }


trained = {one.name: one.value for one in score(arrays(cnn))}
draws = [arrays(fresh_copy(cnn, seed)) for seed in range(teach.size(4, 3))]
random = [{one.name: one.value for one in score(each)} for each in draws]
SCORES = [name for name, value in trained.items() if value is not None]
figures.score_ranges(
    {name: (trained[name], [each[name] for each in random[1:]]) for name in SCORES}
)

# %%
best = max(each["logme"] for each in random[1:])
ahead = [
    name for name in SCORES if trained[name] > max(each[name] for each in random[1:])
]
false = [
    name for name in SCORES if random[0][name] > max(each[name] for each in random[1:])
]
teach.say(f"""
LogME is {trained["logme"]:.3f} for the source, and at most {best:.3f} for random
weights. {len(ahead)} of {len(SCORES)} scores put the source ahead of all random draws.

And one more draw of random weights, which taught nothing? It is ahead of the other
draws by {len(false)} of {len(SCORES)} scores. A quarter is expected by chance. So one
score that is ahead says little; how far ahead it is, and how many agree, says more.
""")

# %% [markdown]
# ## 3 · The atlas: what helped where
#
# A score is a prediction. Whether predictions are any good can only be said by outcomes. `python -m benchmarks.atlas`
# trained many *cells*: a source, a bridge, a method, a target and a number of labels. Each has its gain over random
# weights and over the native baseline. The table comes with tfxfer.

# %%
from tfxfer.choose.atlas_table import load

cells = load()
targets = list(dict.fromkeys(cell.target for cell in cells))
most = {}
for cell in cells:
    way = f"{cell.source}, {cell.bridge}, {cell.method}"
    most.setdefault(way, {}).setdefault(cell.target, []).append(cell)


def heat(gain):
    """Return way -> target -> mean gain over the numbers of labels."""
    return {
        way: {
            t: float(np.mean([getattr(c, gain) for c in each]))
            for t, each in row.items()
        }
        for way, row in most.items()
    }


figures.gains(
    heat("over_random"), "gain over random weights, in points of accuracy", targets
)

# %%
figures.gains(
    heat("over_native"), "gain over the native baseline, in points of accuracy", targets
)

# %%
helped = sum(cell.over_random_low > 0 for cell in cells)
beat = sum(cell.over_native_low > 0 for cell in cells)
teach.say(f"""
Of {len(cells)} cells, transfer helped over random weights in **{helped}**, and it was
better than the native baseline in **{beat}**. These are two questions. The first map
says whether something was transferred; the second whether it was worth it.
""")

# %% [markdown]
# ## 4 · Do the scores predict the gain?
#
# For frozen features the atlas has the scores of the source and of random weights. Beside them stands a plain rival:
# how many parameters are trained, which is the width of φ times the number of classes. A re-analysis of published
# comparisons (2025) found that ranking models by size beats LogME. Does a size say anything here?

# %%
from scipy.stats import spearmanr

probes = [cell for cell in cells if cell.cross_validated_probe is not None]
PER_CELL = ("cross_validated_probe", "logme", "h_score_shrunk", "knn_probe")
said = {
    name: [getattr(cell, name) - getattr(cell, f"{name}_random") for cell in probes]
    for name in PER_CELL
}
said["trained parameters"] = [cell.parameters for cell in probes]
gained = [cell.over_random for cell in probes]
figures.scores_and_gains(
    {name: (values, gained) for name, values in said.items()},
    "gain over random weights",
)

# %%
ranks = {
    name: float(spearmanr(values, gained).statistic) for name, values in said.items()
}
order = sorted(ranks, key=lambda name: -ranks[name])
listed = ", ".join(f"{name} {ranks[name]:+.2f}" for name in order)
size = ranks["trained parameters"]
verb = "does not beat" if size < ranks["logme"] else "beats"
teach.say(f"""
Rank correlation with the gain, over {len(probes)} cells: {listed}. Here size **{verb}**
LogME. Most of these sources are small, and differ in what they learned more than in how
large they are. Among ImageNet networks it was the other way round. A score that is good
in one collection need not be good in another.
""")

# %% [markdown]
# ## 5 · Regret
#
# A correlation is not what a user pays for a wrong choice. *Regret* is: the accuracy that a choice loses against the
# best one that there was.
#
# $$\text{regret}(c) = \max_k a_k - a_c$$
#
# The native baseline is a choice too. We compare ways to choose over all targets and numbers of labels. A *pilot* is a
# short training, scored on validation examples. The *prediction* is a line in the pilot's gain, fitted on the other
# targets: a target is never predicted from itself.

# %%
from tfxfer.choose.track_record import RULE, outcomes, regrets, situations

found = situations(cells)
lost = {name: float(values.mean()) for name, values in regrets(found).items()}
figures.regret_bars(lost)

# %%
ranked = sorted(lost, key=lost.get)
teach.say(f"""
Over {len(found)} choices, *{ranked[0]}* loses least, {lost[ranked[0]]:.3f} accuracy on
average; *{ranked[-1]}* loses most, {lost[ranked[-1]]:.3f}. Always taking the native
baseline loses {lost["always native"]:.3f}. The static rule is one sentence: “{RULE}” It
loses {lost["static rule"]:.3f}. A method that cannot beat one sentence is not worth its
computing time.
""")

# %% [markdown]
# ## 6 · A prediction that knows its error
#
# `tfxfer advise` gives each candidate a predicted gain with an interval, which should hold nine of ten outcomes. The
# width comes from the errors on targets that were left out (*conformal* prediction): it reaches as far as nine of ten
# of those errors. Then we can count whether it keeps its promise.

# %%
both = outcomes(found, "over_native")
figures.predicted(
    [(gain.mean, gain.low, gain.high, value) for gain, value in both], 0.9
)

# %%
inside = np.mean([gain.low <= value <= gain.high for gain, value in both])
width = np.mean([gain.high - gain.low for gain, _ in both])
teach.say(f"""
{inside:.0%} of the outcomes lie in their interval. The intervals are {width:.2f} wide
on average, so the prediction often cannot say which of two candidates is better. Then
it is right to train both. `tfxfer advise` runs the pilots within a budget of minutes,
prints the ranking with these intervals, and gives the command for each row.
""")

# %% [markdown]
# ## Exercises
#
# **10.1** Three candidates have the accuracies 0.62, 0.55 and 0.58; native has 0.60. You always choose native. What is
# your regret?

# %%
teach.check("10.1", ...)

# %% [markdown]
# **10.2** 100 examples, 512 features, 10 classes. What is the H-score of *any* features in general position: "0", "9"
# or "it depends"?

# %%
teach.check("10.2", ...)

# %% [markdown]
# **10.3** Write `regret(accuracies, choice)`: what choosing the candidate at the place `choice` loses.


# %%
def regret(accuracies, choice):
    return accuracies[choice]  # not yet


teach.check("10.3", ...)  # put regret here

# %% [markdown]
# **10.4** Of 200 outcomes with intervals at 90 %, how many do you expect outside?

# %%
teach.check("10.4", ...)

# %% [markdown]
# **10.5** On which split is a pilot scored, so that the final result stays honest: "train", "validation" or "test"?

# %%
teach.check("10.5", ...)

# %% [markdown]
# **10.6** Two classes, equally frequent. The source's answer is independent of the label. What is NCE, to two decimals?

# %%
teach.check("10.6", ...)

# %% [markdown]
# ## Read next
#
# - Y. Bao et al., *An information-theoretic approach to transferability in task transfer learning*, 2019: the H-score.
# - C. Nguyen et al., *LEEP: a new measure to evaluate transferability of learned representations*, 2020.
# - K. You et al., *LogME: practical assessment of pre-trained models for transfer learning*, 2021.
# - A. Agostinelli et al., *How stable are transferability metrics evaluations?*, 2022: no score wins everywhere.
# - J. Lei et al., *Distribution-free predictive inference for regression*, 2018: conformal intervals.
#
# {{ navigation }}
