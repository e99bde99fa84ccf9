# %% [markdown]
# # 01 · Two modalities, one data set
#
# {{ header }}
#
# Cross-modal transfer needs images and texts about the same things. They should be real, free, and available offline.
# You have them already. The fonts of matplotlib can draw thousands of characters, and Unicode gives each character
# an official name that never changes: an image and its caption.
#
# **After this lesson you can**
# - load the data sets of this course, and read what `describe` prints;
# - name the unit that a split must hold out, and measure what happens otherwise;
# - draw few labels, so that a small budget is part of a larger one.
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
FACTS = (
    ("script", 2),
    ("case", 1),
    ("diacritic", 3),
    ("numeric", 2),
    ("braille_dots", 2),
)


def words(key, i):
    """Return a text of example i."""
    return everything[key][i].decode()


shown, facts = [], []
for key, count in FACTS:
    for i, value in enumerate(everything[key]):
        text = str(value) if key == "braille_dots" else value.decode()
        fact = f"{key}: {text}"
        new = words("text", i) not in [words("text", k) for k in shown]
        if (
            count
            and new
            and fact not in facts
            and text not in ("", "none", "-1", "Common")
        ):
            shown, facts, count = [*shown, i], [*facts, fact], count - 1

from tfxfer.teach.figures import lesson_01 as figures

figures.gallery(everything["image"][shown], [words("caption", i) for i in shown], facts)

# %% [markdown]
# An example is a dictionary. Every task of this course uses some of its keys: to write the name of the character
# (caption), to classify its script (label), to answer a question about it (a fact).

# %%
for key in glyphs.keys:
    value = everything[key][shown[2]]
    if key == "image":
        value = f"{value.dtype} {value.shape}"
    print(f"{key:13}", value.decode() if isinstance(value, bytes) else value)

# %% [markdown]
# ## 2 · `languages` and `names`: texts
#
# `languages` holds the words for countries, currencies and other things in ten languages, from the Unicode CLDR.
# Phrases that two languages share are left out. `names` holds the names of characters that have *no* image. A language
# model can learn from these texts, and has then not read any caption of `glyphs`.

# %%
languages = tfxfer.load("languages/latin")
names = tfxfer.load("names")
print(languages.describe(), names.describe(), sep="\n\n")

# %%
texts, labels = languages.texts("train"), languages.labels("train")
lengths = {
    name: [len(text) for text, label in zip(texts, labels) if label == c]
    for c, name in enumerate(languages.class_names)
}
figures.lengths(lengths)

# %% [markdown]
# ## 3 · A split must hold out the right unit
#
# The same character is drawn in several typefaces. If these images are split at random, the test split asks about
# characters that training has shown in another typeface.

# %%
characters = [word.decode() for word in everything["text"]]
cased = [c for c, case in zip(characters, everything["case"]) if case != b"none"]
frequent = sorted(set(cased), key=lambda c: (-cased.count(c), c))[:3]
rows = {c: [i for i, x in enumerate(characters) if x == c] for c in frequent}
figures.typefaces({c: everything["image"][some] for c, some in rows.items()})

# %% [markdown]
# Some characters cannot be told apart at all. These images are equal, pixel by pixel:

# %%
from tfxfer.data.builders.glyphs import GlyphImages, identical_groups

images = GlyphImages.draw()
group = identical_groups(images)
alike = [images.characters.index(c) for c in group if group[c] == group["A"]]
equal = [i for i in alike if np.array_equal(images.pixels[i], images.pixels[alike[0]])][
    :7
]

import unicodedata

figures.lookalikes(
    images.pixels[equal], [unicodedata.name(images.characters[i]) for i in equal]
)
teach.say(f"""
{len(group):,} characters make {len(set(group.values())):,} groups. “A” is in a group of
{len(alike)}. Groups are joined through chains: if A equals B in one typeface, and B
equals C in another, all three are in one group.
""")

# %% [markdown]
# So the unit of the split is the *group of identical characters*. All images of all its characters go into the same
# split, which a hash of the group decides.
#
# $$\text{split}(x) = \mathrm{hash}(\text{group}(x)) \in \{\text{train}, \text{validation}, \text{test}\}$$

# %%
from tfxfer.data.splits import split_of

teach.show(split_of, identical_groups)

# %% [markdown]
# ### How much a leak adds to the accuracy
#
# We measure it with the simplest classifier: find the training image with the nearest pixels, and predict its script.
# First the images are split at random. Then the same test images are classified again, and their groups are held out
# of training.

# %%
from tfxfer.evaluate import verdict

scripts = tfxfer.load("glyphs", label="script")
N, TEST = teach.size(12_000, 300), teach.size(1_500, 60)
some = scripts.with_at_most(train=N + TEST).arrays("train")
image, y = some["image"], some["label"]
x = image.reshape(N + TEST, -1).astype("float32") / 255
groups = np.array([group[character.decode()] for character in some["text"]])

# squared distances [TEST, N], up to a constant in each row
distance = (x[:N] ** 2).sum(1) - 2 * x[N:] @ x[:N].T
random_rows = distance.argmin(1)  # the nearest image in a random split
distance[groups[N:, None] == groups[:N]] = np.inf
held_out_rows = distance.argmin(1)  # the nearest image of another group
leaky, honest = y[random_rows] == y[N:], y[held_out_rows] == y[N:]
majority = np.bincount(y[:N]).argmax()
majority_share = np.mean(y[N:] == majority)
shares = {
    "split at\nrandom": leaky.mean(),
    "groups\nheld out": honest.mean(),
    "most\nfrequent": majority_share,
}
# images that only the leak gets right come first
query = np.argsort(~(leaky & ~honest), kind="stable")[:5]
predicted = [
    (scripts.class_names[y[i]], scripts.class_names[y[k]])
    for i, k in zip(random_rows[query], held_out_rows[query])
]
nearest = image[random_rows[query]], image[held_out_rows[query]]
figures.leak(image[N:][query], *nearest, shares, predicted)

# %%
gap = verdict(leaky, honest)
teach.say(f"""
With a random split the nearest neighbour is correct for **{leaky.mean():.1%}** of
{TEST:,} test images. With groups held out, it is correct for **{honest.mean():.1%}** of
the same images. The difference of {100 * gap.difference:.0f} points (95 % interval
{100 * gap.low:.0f} to {100 * gap.high:.0f}) is not skill: an image of the same group
was in training. The first number describes the split, not the classifier.
({majority_share:.0%} of the test images are “{scripts.class_names[majority]}”. Always
predicting this class would already get that accuracy.)
""")

# %% [markdown]
# (The five images of the figure were selected: most are correct only because of the leak.)
#
# ## 4 · Few labels
#
# Transfer matters most where labels are few. `with_labels(n, seed)` draws n examples of each class. A draw of 5 is
# part of the draw of 20 with the same seed, so the points of a curve over budgets can be compared. Validation and test
# keep their size.

# %%
five, twenty = (languages.with_labels(n, seed=0) for n in (5, 20))
other = languages.with_labels(20, seed=1)
print(five, twenty, sep="\n")
print("part of 20, same seed:", set(five.texts("train")) <= set(twenty.texts("train")))
print("part of 20, other seed:", set(five.texts("train")) <= set(other.texts("train")))

# %% [markdown]
# The fingerprint is a hash of everything that defines the data. Features and results are cached under it, so an old
# result is never used for changed data.
#
# ## Exercises
#
# **01.1** What is the shape of one image of `glyphs`?

# %%
teach.check("01.1", ...)

# %% [markdown]
# **01.2** You want to know how good the captions are for characters without any caption in training. What must the
# split hold out: "images", "typefaces" or "characters"?

# %%
teach.check("01.2", ...)

# %% [markdown]
# **01.3** `languages/latin` has ten languages. How many training phrases has `with_labels(150)`?

# %%
teach.check("01.3", ...)

# %% [markdown]
# **01.4** Write `leaks(train, test)`: how many of the *test images* show a character that occurs in training? Both
# arguments are lists with the character of each image.


# %%
def leaks(train, test):
    return 0  # not yet


teach.check("01.4", ...)  # put leaks here

# %% [markdown]
# **01.5** Someone trains a classifier of characters, one class for each, on the default split (`by_character`). It
# gets no test image right. What is wrong: "the network", "the labels" or "the split"?

# %%
teach.check("01.5", ...)

# %% [markdown]
# ## Read next
#
# - S. Kapoor, A. Narayanan, *Leakage and the reproducibility crisis in machine-learning-based science*, 2023: how
#   frequent such leaks are.
# - The Unicode Consortium, *The Unicode standard*, chapter 4 (character properties and names), 2022.
#
# {{ navigation }}
