# %% [markdown]
# # 01 · Two modalities, one data set
#
# To move knowledge between pictures and texts we need both, about the same things, real, free and offline. They are
# on your disk already: the fonts that came with matplotlib can draw thousands of characters, and Unicode has given
# each an official name that never changes. A picture, and its caption.
#
# **After this lesson you can**
# - load the data sets of this course, and read what `describe` says;
# - name the unit that a split has to hold out, and show what happens otherwise;
# - draw few labels so that small budgets are part of larger ones.
#
# **Time to run:** half a minute on 2 CPU cores. **Needs:** nothing but tfxfer; no network. **Before:** lesson 00.

# %%
from tfxfer import teach

teach.start("01")

# %% [markdown]
# ## 1 · `glyphs`: characters, their names, and facts about them

# %%
import numpy as np

import tfxfer

glyphs = tfxfer.load("glyphs")
print(glyphs.describe())

# %%
everything = glyphs.with_at_most(train=6000).arrays("train")


def words(key, i):
    """Return a text of example i."""
    return everything[key][i].decode()


shown, facts = [], []
for key, count in (("script", 2), ("case", 1), ("diacritic", 3), ("numeric", 2), ("braille_dots", 2)):
    for i, value in enumerate(everything[key]):
        told = str(value) if key == "braille_dots" else value.decode()
        new = words("text", i) not in [words("text", k) for k in shown] and f"{key}: {told}" not in facts
        if count and new and told not in ("", "none", "-1", "Common"):
            shown, facts, count = [*shown, i], [*facts, f"{key}: {told}"], count - 1

from tfxfer.teach.figures import lesson_01 as figures

figures.gallery(everything["image"][shown], [words("caption", i) for i in shown], facts)

# %% [markdown]
# One example is a dictionary. Every task of this course is made of these keys: name the character (caption), tell its
# script (label), answer a question about it (a fact).

# %%
for key in glyphs.keys:
    value = everything[key][shown[2]]
    print(
        f"{key:13}",
        f"{value.dtype} {value.shape}" if key == "image" else value.decode() if isinstance(value, bytes) else value,
    )

# %% [markdown]
# ## 2 · `languages` and `names`: texts
#
# What ten languages call countries, currencies and other things (from the Unicode CLDR); phrases that two languages
# share were left out. And names of characters that have *no* picture: text to learn language from, without ever
# having read a caption of ours.

# %%
languages = tfxfer.load("languages/latin")
names = tfxfer.load("names")
print(languages.describe(), names.describe(), sep="\n\n")

# %%
texts, labels = languages.texts("train"), languages.labels("train")
by_language = {name: [len(t) for t, y in zip(texts, labels) if y == c] for c, name in enumerate(languages.class_names)}
figures.lengths(by_language)

# %% [markdown]
# ## 3 · A split that holds out the right thing
#
# The same character is drawn in up to a dozen faces. Deal these pictures at random, and the test will ask about
# characters that training has shown in another face.

# %%
characters = [word.decode() for word in everything["text"]]
cased = [c for c, case in zip(characters, everything["case"]) if case != b"none"]
often = sorted(set(cased), key=lambda c: (-cased.count(c), c))[:3]
figures.faces({c: everything["image"][[i for i, x in enumerate(characters) if x == c]] for c in often})

# %% [markdown]
# And it goes further. Some characters cannot be told apart at all:

# %%
from tfxfer.data.builders.glyphs import Pictures, lookalikes

pictures = Pictures.draw()
group = lookalikes(pictures)
alike = [c for c in group if group[c] == group["A"]][:7]
place = [pictures.characters.index(c) for c in alike]

import unicodedata

figures.lookalikes(pictures.pixels[place], [unicodedata.name(c) for c in alike])
teach.say(f"""
{len(group):,} characters make {len(set(group.values())):,} groups. “{alike[0]}” stands in a group of
{sum(group[c] == group["A"] for c in group)}.
""")

# %% [markdown]
# So the unit of the split is the *group of look-alikes*: all pictures of all its characters go where a hash of the
# group says.
#
# $$\text{split}(x) = \mathrm{hash}(\text{group}(x)) \in \{\text{train}, \text{validation}, \text{test}\}$$

# %%
from tfxfer.data.splits import split_of

teach.show(split_of, lookalikes)

# %% [markdown]
# ### What a leak is worth
#
# We measure it. The method is as dumb as can be: find the training picture with the nearest pixels, and answer its
# script. First the pictures are dealt at random, then by character.

# %%
from sklearn.neighbors import KNeighborsClassifier

scripts = tfxfer.load("glyphs", label="script")
N, TEST = teach.size(12_000, 300), teach.size(1_500, 60)
both = scripts.with_at_most(train=N + TEST, test=TEST)
train, test = both.arrays("train"), both.arrays("test")


def nearest(x, y, asked):
    """Return the nearest training rows of `asked`, and their labels."""
    found = KNeighborsClassifier(1).fit(x.reshape(len(x), -1) / 255.0, y)
    rows = found.kneighbors(asked.reshape(len(asked), -1) / 255.0, return_distance=False)[:, 0]
    return rows, y[rows]


x, y = train["image"], train["label"]
leaky_rows, leaky = nearest(x[:N], y[:N], x[N:])  # pictures dealt at random
honest_rows, honest = nearest(x[:N], y[:N], test["image"])  # test characters were never in training
common = np.bincount(y[:N]).argmax()
shares = {
    "dealt at\nrandom": np.mean(leaky == y[N:]),
    "characters\nheld out": np.mean(honest == test["label"]),
    "most\nfrequent": np.mean(test["label"] == common),
}


def without(i):
    """Return the row nearest to test picture i when its character is held out."""
    others = np.flatnonzero(train["text"][:N] != train["text"][N + i])
    return others[nearest(x[others], y[others], x[N + i][None])[0][0]]


same = np.flatnonzero((train["text"][leaky_rows] == train["text"][N:]) & (y[N:] != common))[: teach.size(80, 8)]
held = {i: without(i) for i in same}  # of pictures whose nearest neighbour is the same character
query = sorted(same, key=lambda i: y[held[i]] == y[N + i])[:5]  # first those that are wrong without it
held = [held[i] for i in query]
said = [(scripts.class_names[y[leaky_rows[i]]], scripts.class_names[y[h]]) for i, h in zip(query, held)]
figures.leak(x[N:][query], x[leaky_rows[query]], x[held], shares, said)

# %%
(random_share, character_share, frequent_share) = shares.values()
teach.say(f"""
Dealt at random, the nearest pixels are right in **{random_share:.1%}**; with characters held out in
**{character_share:.1%}**. The {100 * (random_share - character_share):.0f} points between them are not skill. They
are the same character in another face. Whoever publishes the first number has measured their split. (And
{frequent_share:.0%} of test pictures are “{scripts.class_names[common]}”: that is where the scale begins.)
""")

# %% [markdown]
# (The five pictures are some whose answer hangs on the leak.)
#
# ## 4 · Few labels, drawn fairly
#
# Transfer matters where labels are few. `with_labels(n, seed)` draws n of each class; a draw of 5 is part of the draw
# of 20 with the same seed, so that a curve over budgets is one story and not many. Validation and test stay whole.

# %%
five, twenty = (languages.with_labels(n, seed=0) for n in (5, 20))
print(five, twenty, sep="\n")
print("5 is part of 20:", set(five.texts("train")) <= set(twenty.texts("train")))
print("another seed:   ", set(five.texts("train")) <= set(languages.with_labels(20, seed=1).texts("train")))

# %% [markdown]
# The fingerprint changes with everything that changes the data. Features and results are kept under it, so an old
# result is never taken for a new one.
#
# ## Exercises
#
# **01.1** Which shape has one picture of `glyphs`?

# %%
teach.check("01.1", ...)

# %% [markdown]
# **01.2** You want to know how well captions are written for characters that nobody has captioned. What does the
# split hold out: "pictures", "faces" or "characters"?

# %%
teach.check("01.2", ...)

# %% [markdown]
# **01.3** `languages/latin` has ten languages. How many training phrases has `with_labels(150)`?

# %%
teach.check("01.3", ...)

# %% [markdown]
# **01.4** Write `leaks(train, test)`: how many of the *test pictures* show a character that occurs in training? Both
# are lists of characters, one for each picture.


# %%
def leaks(train, test):
    return 0  # not yet


teach.check("01.4", ...)  # put leaks here

# %% [markdown]
# **01.5** Someone trains on the default split (`by_character`) to name characters as classes, and gets nothing right
# on test pictures. What is wrong: "the network", "the labels" or "the split"?

# %%
teach.check("01.5", ...)

# %% [markdown]
# ## Read next
#
# - S. Kapoor, A. Narayanan, *Leakage and the reproducibility crisis in machine-learning-based science*, 2023: how
#   common the leak above is.
# - The Unicode Consortium, *The Unicode standard*, chapter 4 (character properties and names), 2022.
# - The data cards, with counts and known flaws: `data/glyphs/README.md`, `data/languages/README.md`,
#   `data/names/README.md`.
