# %% [markdown]
# # 12 · Fusion: two eyes
#
# {{ header }}
#
# An image and a text speak of the same thing. Does a decision from both beat a decision from the better one? Two eyes
# see more only if they see different things. This lesson measures that before anything is trained, joins both sides
# in several ways, and asks who helped whom.
#
# **After this lesson you can**
# - split what two sides tell into shared, unique and synergistic bits;
# - join an image and a text for one decision, and name the controls that this needs;
# - see what is left when one side is missing, and who decided a single answer;
# - read a matrix of tasks that were learned together.
#
# **Time to run:** about a minute and a half on 2 CPU cores. **Needs:** tfxfer; no network. **Before:** lessons 02 and
# 03.

# %%
from tfxfer import teach

teach.start("12")

# %% [markdown]
# ## 1 · Four ways to know
#
# X₁ and X₂ are what two eyes see, Y is the answer. Together they tell I(X₁, X₂; Y) bits of it. Williams and Beer (2010)
# split these bits into four parts:
#
# $$I(X_1, X_2; Y) = R + U_1 + U_2 + S, \qquad I(X_1; Y) = R + U_1, \qquad I(X_2; Y) = R + U_2$$
#
# R is *shared*: either eye tells it. U is *unique*: only one tells it. S is *synergy*: both tell it together, and
# neither alone. Four small worlds with fair coins show what is meant. Move the slider.

# %%
import numpy as np

from tfxfer.evaluate.complementarity import complementarity, decompose
from tfxfer.teach.figures import lesson_12 as figures

WORLDS = {
    "both see the coin": lambda a, b: (a, a, a),
    "only the first sees it": lambda a, b: (a, b, a),
    "each sees one of two coins": lambda a, b: (a, b, 2 * a + b),
    "are the coins different?": lambda a, b: (a, b, a ^ b),
}
worlds = {}
for name, world in WORLDS.items():
    table = np.zeros((2, 2, 4))
    for a in (0, 1):
        for b in (0, 1):
            table[world(a, b)] += 1 / 4
    worlds[name] = (name, decompose(table))
figures.slider("world", figures.parts, worlds, start=0)

# %% [markdown]
# In the last world each eye alone sees nothing at all, and both together see everything. No head that reads one side
# can find this, and neither can the sum of two such heads.
#
# ## 2 · Two sides of a character
#
# X₁ is the image of a character. X₂ is its name, such as “small letter alpha with tonos”: the word that names the
# script is always hidden, and half of the others too. Y is the script. All characters in the test split are new.
#
# φ of the image is a CNN that learned other characters. φ of the text is plain: which words are there, weighted by
# how rare they are (TF-IDF), in 64 dimensions.

# %%
import keras
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

import tfxfer
from tfxfer.evaluate import verdict
from tfxfer.fit import cosine
from tfxfer.tasks.fused_pairs import hidden
from tfxfer.transfer.feature import extractor

glyphs = tfxfer.load("glyphs/by_character")
cnn = tfxfer.source("fresh:cnn", num_classes=len(glyphs.class_names), seed=0)
cnn.compile(keras.optimizers.Adam(), "sparse_categorical_crossentropy")
for epoch in range(2):
    cnn.optimizer.learning_rate = cosine(1e-2, 2)(epoch)
    rows = glyphs.batches("train", 128, keys=["image", "label"], shuffle_seed=epoch)
    rows = rows.map(lambda row: (row["image"], row["label"]))
    cnn.fit(rows.take(teach.size(187, 2)), shuffle=False, verbose=0)

SCRIPTS = ["Arabic", "Braille", "Canadian Aboriginal", "Cyrillic", "Greek", "Latin"]
SECRET = {word for name in SCRIPTS for word in name.casefold().split()}
pairs = tfxfer.load("glyphs/by_character", label="script").with_classes(SCRIPTS)
positions = extractor(cnn, "relu4", pooling="none")
images, texts, labels, image, facts = {}, {}, {}, {}, {}
for split in ("train", "test"):
    names = pairs.texts(split, "caption")
    one = {name: i for i, name in enumerate(names)}  # one image of each character
    keep = np.array(sorted(one.values()))[: teach.size(4_000, 300)]
    images[split] = pairs.arrays(split)["image"][keep]
    texts[split] = [hidden(names[i], SECRET, 0.5) for i in keep]
    labels[split] = pairs.labels(split)[keep]
    facts[split] = {
        key: np.array(pairs.texts(split, key))[keep] for key in ("case", "diacritic")
    }
    maps = positions.predict(images[split], batch_size=128, verbose=0)  # [N, 8, 8, 128]
    image[split] = maps.reshape(-1, 2, 4, 2, 4, 128).mean((2, 4)).reshape(-1, 4, 128)
words = TfidfVectorizer(token_pattern=r"\S+").fit(texts["train"])
svd = TruncatedSVD(64, random_state=0).fit(words.transform(texts["train"]))
text = {s: svd.transform(words.transform(each))[:, None] for s, each in texts.items()}
for sides in (image, text):  # the mean becomes 0: what stands for a missing side
    mean, spread = sides["train"].mean((0, 1)), sides["train"].std((0, 1)) + 1e-6
    for split in sides:
        sides[split] = np.float32((sides[split] - mean) / spread)
print({split: (image[split].shape, text[split].shape) for split in labels})
shown = [int(np.flatnonzero(labels["test"] == c)[0]) for c in np.unique(labels["test"])]
figures.pairs(
    images["test"][shown],
    [texts["test"][i] for i in shown],
    [SCRIPTS[labels["test"][i]] for i in shown],
)

# %% [markdown]
# ## 3 · Before anything is trained
#
# Do the sides complement each other? We put the features of each side into a few clusters, count, and split the bits.
# Counts of few examples pretend information, synergy most of all. So the same is done with shuffled labels, and that is
# taken away.

# %%
check = complementarity(image["train"].mean(1), text["train"][:, 0], labels["train"])
figures.parts("what image and text tell of the script", check.corrected)

# %%
new = check.corrected
less = min(new.first, new.second) + new.synergy
teach.say(f"""
The script has {check.entropy:.2f} bits. Clusters of image and text tell
{check.found.total:.2f}. With shuffled labels they still seem to tell
{check.chance.total:.2f}. After that is taken away, the side that tells less adds
{less:.2f} bits to the other: fusion *can* help. Clusters are coarse, so this is a hint
and no proof. The proof is a verdict.
""")

# %% [markdown]
# ## 4 · Six ways to join
#
# All heads are small, and are trained alike on 20 labels a script: late average, concatenation, a gate, a low-rank
# product, FiLM and cross-attention. Three controls belong beside them. The image alone and the text alone say what is
# to be beaten. With a *shuffled partner* each text gets the image of another character: if that does as well, the
# second eye is closed.

# %%
from tfxfer.config import TrainingConfig
from tfxfer.transfer.knowledge.fusion import HEADS, HeadTrainer
from tfxfer.transfer.knowledge.fusion.training import Sides

SEEDS = teach.size(5, 2)
TRAINING = TrainingConfig(
    steps=teach.size(200, 5), batch_size=32, learning_rates=(3e-3,)
)
SHAPES = (image["train"].shape[1:], text["train"].shape[1:])


def drawn(seed, count=20):
    """Return rows of `count` labelled training examples of each script."""
    rng = np.random.default_rng(seed)
    every = [np.flatnonzero(labels["train"] == c) for c in range(len(SCRIPTS))]
    return np.concatenate([rng.permutation(rows)[:count] for rows in every])


def trained(name, seed, partner=None, **options):
    """Return a head that is trained on the pairs of a seed."""
    trainer = HeadTrainer(name, SHAPES, len(SCRIPTS), options, seed)
    rows = drawn(seed)
    seen = image["train"][rows if partner is None else partner["train"][rows]]
    sides = Sides(seen, text["train"][rows], labels["train"][rows])
    trainer.fit(sides, TRAINING, 0.0, seed)
    return trainer


def right(trainer, x, t):
    """Return which test pairs are right, [N]."""
    return trainer.log_probabilities(x, t).argmax(1) == labels["test"]


correct, heads = {}, {}
for name in ("image_only", "text_only", *HEADS):
    heads[name] = [trained(name, seed) for seed in range(SEEDS)]
    correct[name] = np.array(
        [right(head, image["test"], text["test"]) for head in heads[name]]
    )
partners = [
    {
        split: np.random.default_rng([seed, len(rows)]).permutation(len(rows))
        for split, rows in image.items()
    }
    for seed in range(SEEDS)
]
correct["shuffled partner"] = np.array(
    [
        right(
            trained("concatenation", seed, partner=other),
            image["test"][other["test"]],
            text["test"],
        )
        for seed, other in enumerate(partners)
    ]
)
figures.heads({name: each.mean() for name, each in correct.items()})

# %%
better = max(("image_only", "text_only"), key=lambda name: correct[name].mean())
said = verdict(correct["average"], correct[better], names=("average", better))
teach.say(f"""
The better single side is *{better}* with {correct[better].mean():.1%}. The simplest
fusion, the average, reaches {correct["average"].mean():.1%}, which is
{said.difference:+.3f} (95 % interval {said.low:+.3f} to {said.high:+.3f}):
**{said.word}**. Concatenation with a shuffled partner has
{correct["shuffled partner"].mean():.1%}: a partner that does not belong is worse than
none. One head was named before, here the simplest. The best of six, chosen on the test
split, would be flattered.
""")

# %% [markdown]
# ## 5 · One eye closed
#
# What happens to a head that has learned with both sides when one is missing? The mean of the training examples stands
# for it. *Modality dropout* takes one side away in some training steps, so that the head gets used to it.

# %%
RATES = (0.0, 0.25, 0.5, 0.75, 1.0)
heads["with modality dropout"] = [
    trained("concatenation", seed, modality_dropout=0.4) for seed in range(SEEDS)
]
SHOWN = ("average", "concatenation", "low_rank", "with modality dropout")
curves = {}
for side in ("text", "image"):
    for name in SHOWN:
        line = []
        for rate in RATES:
            gone = np.random.default_rng(0).random(len(labels["test"])) < rate
            x, t = image["test"].copy(), text["test"].copy()
            (t if side == "text" else x)[gone] = 0
            line.append(np.mean([right(head, x, t).mean() for head in heads[name]]))
        curves[side, name] = line
figures.missing(RATES, curves)

# %% [markdown]
# ## 6 · Who decided?
#
# v is the log-probability of the answer when some sides are there and the mean of examples stands for the others. Each
# side's share is what it adds, averaged over both orders of joining (Shapley 1953). With two players this is exact:
#
# $$s_1 = \tfrac12\,[v(1) - v(\varnothing)] + \tfrac12\,[v(1,2) - v(2)]$$
#
# Both shares add up to v(1, 2) − v(∅).

# %%
from tfxfer.evaluate.modality_shares import modality_shares

head = heads["concatenation"][0]
found = head.log_probabilities(image["test"], text["test"])
answer = found.argmax(1)
some = drawn(0)[:: teach.size(6, 20)]
background = (image["train"][some], text["train"][some])
shares = modality_shares(
    head.log_probabilities, image["test"], text["test"], background, answer
)
order = np.argsort(shares.first - shares.second)
picked = [*order[:3], *order[len(order) // 2 - 1 : len(order) // 2 + 1], *order[-3:]]
figures.shares(
    images["test"][picked],
    [texts["test"][i] for i in picked],
    [SCRIPTS[answer[i]] for i in picked],
    shares.first[picked],
    shares.second[picked],
)

# %% [markdown]
# ## 7 · Who helped whom?
#
# Sides can be fused, and so can *tasks*: one body, several heads. Here a hidden layer over φ of the image learns the
# script, the case, and the diacritic, each alone and in pairs, from the same 60 images. A task can help another, as its
# labels say more about the same images. It can also take room away.

# %%
from sklearn.neural_network import MLPRegressor

x = {split: each.mean(1) for split, each in image.items()}
facts = {s: {"script": labels[s].astype(str)} | facts[s] for s in facts}
TASKS = ("script", "case", "diacritic")
values = {task: np.unique(facts["train"][task]) for task in TASKS}


def one_hot(split, task):
    """Return targets [N, C] of a task."""
    return np.float64(facts[split][task][:, None] == values[task])


def scores(tasks, seed):
    """Return task -> which test answers are right, of one body for these tasks."""
    rows = np.random.default_rng(seed).permutation(len(x["train"]))[:60]
    targets = np.concatenate([one_hot("train", task)[rows] for task in tasks], 1)
    body = MLPRegressor(hidden_layer_sizes=(64,), max_iter=1_000, random_state=seed)
    found = np.atleast_2d(body.fit(x["train"][rows], targets).predict(x["test"]))
    ends = np.cumsum([len(values[task]) for task in tasks])[:-1]
    parts = np.split(found, ends, axis=1)
    return {
        task: values[task][part.argmax(1)] == facts["test"][task]
        for task, part in zip(tasks, parts)
    }


MORE = teach.size(10, 2)
alone = {t: np.array([scores((t,), s)[t] for s in range(MORE)]) for t in TASKS}
matrix = {}
for i, one in enumerate(TASKS):
    for other in TASKS[i + 1 :]:
        both = [scores((one, other), seed) for seed in range(MORE)]
        for judged, helper in ((one, other), (other, one)):
            together = np.array([each[judged] for each in both])
            matrix[helper, judged] = verdict(together, alone[judged])
figures.who_helped_whom(
    TASKS, matrix, {task: each.mean() for task, each in alone.items()}
)

# %% [markdown]
# Each field has its own verdict, and none of them says that "learning together helps". It says who helped whom, here,
# with so many labels. `python -m tfxfer.train multitask` makes this matrix for a whole network, with classification,
# captions and questions, and weighs the losses.
#
# ## Exercises
#
# **12.1** Each of two people knows one digit of a code of two digits. Which part of their knowledge of the code is
# greater than zero: "shared", "unique" or "synergy"?

# %%
teach.check("12.1", ...)

# %% [markdown]
# **12.2** X₁ and X₂ are copies of the same fair coin Y. How many bits are shared?

# %%
teach.check("12.2", ...)

# %% [markdown]
# **12.3** Write `share(none, first, second, both)`: the Shapley value of the first side.


# %%
def share(none, first, second, both):
    return first - none  # not yet


teach.check("12.3", ...)  # put share here

# %% [markdown]
# **12.4** The log-probabilities are −2 without a side, −1 with the image, −1.5 with the text, −0.2 with both. What is
# the share of the *text*?

# %%
teach.check("12.4", ...)

# %% [markdown]
# **12.5** Fusion is as accurate with a shuffled partner as with the true one. What does that show: "fusion helped",
# "the partner is not used" or "the partner is harmful"?

# %%
teach.check("12.5", ...)

# %% [markdown]
# **12.6** The image gives class A the probability 0.9, the text 0.3. What does late averaging give?

# %%
teach.check("12.6", ...)

# %% [markdown]
# ## Read next
#
# - P. Williams, R. Beer, *Nonnegative decomposition of multivariate information*, 2010.
# - P. Liang et al., *Quantifying and modeling multimodal interactions*, 2023.
# - J. Arevalo et al., *Gated multimodal units for information fusion*, 2017.
# - E. Perez et al., *FiLM: visual reasoning with a general conditioning layer*, 2018.
# - A. Kendall, Y. Gal, R. Cipolla, *Multi-task learning using uncertainty to weigh losses*, 2018.
#
# {{ navigation }}
