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
# The same character is drawn in several faces. Deal these pictures at random, and the test will ask about
# characters that training has shown in another face.

# %%
characters = [word.decode() for word in everything["text"]]
cased = [c for c, case in zip(characters, everything["case"]) if case != b"none"]
often = sorted(set(cased), key=lambda c: (-cased.count(c), c))[:3]
figures.faces({c: everything["image"][[i for i, x in enumerate(characters) if x == c]] for c in often})

# %% [markdown]
# And it goes further. Some characters cannot be told apart at all; these are the same, pixel by pixel:

# %%
from tfxfer.data.builders.glyphs import Pictures, lookalikes

pictures = Pictures.draw()
group = lookalikes(pictures)
alike = [pictures.characters.index(c) for c in group if group[c] == group["A"]]
place = [i for i in alike if np.array_equal(pictures.pixels[i], pictures.pixels[alike[0]])][:7]

import unicodedata

figures.lookalikes(pictures.pixels[place], [unicodedata.name(pictures.characters[i]) for i in place])
teach.say(f"""
{len(group):,} characters make {len(set(group.values())):,} groups. “A” stands in a group of {len(alike)}. Groups join
through chains: a slanted A that looks like another slanted A is in it too.
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
# script. First the pictures are dealt at random; then each is asked again with its group held out.

# %%
from tfxfer.evaluate import verdict

scripts = tfxfer.load("glyphs", label="script")
N, TEST = teach.size(12_000, 300), teach.size(1_500, 60)
some = scripts.with_at_most(train=N + TEST).arrays("train")
image, y = some["image"], some["label"]
x = image.reshape(N + TEST, -1).astype("float32") / 255
home = np.array([group[character.decode()] for character in some["text"]])  # group of look-alikes

distance = (x[:N] ** 2).sum(1) - 2 * x[N:] @ x[:N].T  # [TEST, N], squared, up to a constant in each row
leaky_rows = distance.argmin(1)  # pictures dealt at random
distance[home[N:, None] == home[:N]] = np.inf  # the same pictures asked again, their own group held out
honest_rows = distance.argmin(1)
leaky, honest = y[leaky_rows] == y[N:], y[honest_rows] == y[N:]
common = np.bincount(y[:N]).argmax()
frequent = np.mean(y[N:] == common)
shares = {
    "dealt at\nrandom": leaky.mean(),
    "groups\nheld out": honest.mean(),
    "most\nfrequent": frequent,
}
query = np.argsort(~(leaky & ~honest), kind="stable")[:5]  # first those that are right by the leak alone
said = [(scripts.class_names[y[i]], scripts.class_names[y[k]]) for i, k in zip(leaky_rows[query], honest_rows[query])]
figures.leak(image[N:][query], image[leaky_rows[query]], image[honest_rows[query]], shares, said)

# %%
told = verdict(leaky, honest)
teach.say(f"""
Dealt at random, the nearest pixels are right in **{leaky.mean():.1%}**; for the same pictures with their groups held
out, in **{honest.mean():.1%}**. The {100 * told.difference:.0f} points between them (95 % interval
{100 * told.low:.0f} to {100 * told.high:.0f}) are not skill: a twin stood in training. Whoever publishes the first
number has measured their split. (And {frequent:.0%} of the pictures are
“{scripts.class_names[common]}”: that is where the scale begins.)
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
# **01.1** What is the shape of one picture of `glyphs`?

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
