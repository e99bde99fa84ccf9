# %% [markdown]
# # 04 · Knowledge transfer I: retrieval and zero-shot
#
# {{ header }}
#
# An image encoder and a text encoder are aligned on pairs of an image and its text. The aligned pair can do things that
# it was not trained for: classify images into classes without any example, and apply a head to texts that was fitted
# on images.
#
# **After this lesson you can**
# - compute K = f(X)·g(Y) over all pairs, and explain its rows and columns;
# - train a text encoder against a frozen image encoder, and show by a shuffled arm that the pairs are the reason;
# - classify zero-shot, and move a classifier from images to texts.
#
# **Time to run:** about two minutes on 2 CPU cores. **Needs:** tfxfer with its extra `emoji`; no network. **Before:**
# lessons 02 and 03.

# %%
from tfxfer import teach

teach.start("04")

# %% [markdown]
# ## The equation
#
# $$K = f(X) \cdot g(Y) + h(X, Y)$$
#
# X are images, Y are texts. f and g give a vector for each of them, scaled to length 1, so a product is a cosine
# similarity. It is divided by the *temperature* τ. A small τ makes differences between similarities count more. h is
# an interaction of image and text. It is 0 in this lesson and comes in the next two.

# %%
from tfxfer.teach.figures import lesson_04 as figures

figures.dual_encoder()

# %%
from tfxfer.transfer.knowledge import DualEncoder

teach.show(DualEncoder.encode_images, DualEncoder.encode_texts, DualEncoder.predict)

# %% [markdown]
# ## 1 · The image encoder, frozen
#
# As in lesson 02, a CNN is trained to classify characters. But now the split is *by character*: no test character is in
# training, in any typeface.

# %%
import keras
import numpy as np

import tfxfer
from tfxfer.fit import cosine
from tfxfer.transfer.feature import extract, extractor

glyphs = tfxfer.load("glyphs")
EXAMPLES, BATCH, EPOCHS = teach.size(24_000, 512), 128, 2
keras.utils.set_random_seed(0)
cnn = tfxfer.source("fresh:cnn", num_classes=len(glyphs.class_names), seed=0)
cnn.compile(keras.optimizers.Adam(), "sparse_categorical_crossentropy")
for epoch in range(EPOCHS):
    cnn.optimizer.learning_rate = cosine(1e-2, EPOCHS)(epoch)
    keys = ["image", "label"]
    rows = glyphs.batches("train", BATCH, keys=keys, shuffle_seed=epoch)
    rows = rows.map(lambda row: (row["image"], row["label"]))
    cnn.fit(rows.take(EXAMPLES // BATCH), shuffle=False, verbose=0)
phi = extractor(cnn)

# %% [markdown]
# ## 2 · Pairs of an image and its text
#
# A pair is the image of a character and its official name, from five scripts. The script is a label for section 6. Here
# it is not used.

# %%
SCRIPTS = ["Arabic", "Braille", "Cyrillic", "Greek", "Latin"]
pairs = tfxfer.load("glyphs", label="script").with_classes(SCRIPTS)
pairs = pairs.with_at_most(
    train=teach.size(3_000, 128),
    validation=teach.size(300, 40),
    test=teach.size(300, 40),
)
features, names = {}, {}
for split in pairs.sizes:
    found = extract(phi, pairs, split=split, image_size=(32, 32))
    features[split] = np.asarray(found.array)
    names[split] = [text.lower() for text in pairs.texts(split, "caption")]
images = pairs.arrays("test")["image"]
print(features["train"].shape, names["train"][:3], sep="\n")

# %% [markdown]
# ## 3 · Train the text encoder
#
# In a batch of 64 pairs, each image has one correct text and 63 wrong ones (*negatives*), and each text has one correct
# image. The loss is the cross-entropy of both choices, called InfoNCE. The image encoder is frozen, as in LiT (Zhai et
# al. 2022). The *shuffled* arm gets the same images and texts in wrong pairs. What it can do does not come from the
# pairs.

# %%
from tfxfer.config import TrainingConfig
from tfxfer.transfer.bridges.tokens import learn_vocabulary
from tfxfer.transfer.knowledge import small_tower

vocabulary = learn_vocabulary(names["train"], "words", 2000)
ids = pairs.arrays("train")["codepoint"]  # one character in two typefaces: no negatives
STEPS = teach.size(300, 4)


def aligned(texts, steps=STEPS):
    """Return a dual encoder trained on the training images with these texts."""
    keras.utils.set_random_seed(0)
    encoder = DualEncoder(phi, small_tower(vocabulary, length=16))
    training = TrainingConfig(steps=steps, batch_size=64, learning_rates=(1e-2,))
    # ridge_init=False: g starts at random, so that the progress of training is visible
    encoder.fit(
        features["train"],
        texts,
        ids=ids,
        training=training,
        ridge_init=False,
        jit=False,
    )
    return encoder


first_step = aligned(names["train"], steps=1)
trained = aligned(names["train"])
wrong = np.random.default_rng(0).permutation(len(ids))
shuffled = aligned([names["train"][i] for i in wrong])

# %%
stages = {"after 1 step": first_step, f"after {STEPS} steps": trained}
order = np.argsort(pairs.labels("test"), kind="stable")
few = order[np.linspace(0, len(order) - 1, 10).astype(int)]
some = [names["test"][i] for i in few]
tables = {
    title: encoder.predict(features["test"][few], some)
    for title, encoder in stages.items()
}
figures.similarity_matrices(tables, images[few], some)

# %% [markdown]
# Each row is a softmax over ten names: dark is a high probability. The frames mark the correct pairs.

# %%
from tfxfer.transfer.bridges.tokens import TextTokens

UNKNOWN = 1  # the token id of a word that is not in the vocabulary
tokens = TextTokens(16, "words", vocabulary)
token_ids = np.array(tokens(np.array(names["test"], object)))
unknown = np.mean((token_ids == UNKNOWN).any(1))
teach.say(f"""
Neither the test characters nor their names are in training, but most of their words
are. {unknown:.0%} of the test names have a word that is not in the vocabulary. The text
encoder cannot use that word.
""")

# %%
embeddings = {
    title: (
        encoder.encode_images(features["test"]),
        encoder.encode_texts(names["test"]),
    )
    for title, encoder in stages.items()
}
figures.embeddings_2d(embeddings)

# %% [markdown]
# ## 4 · Retrieval
#
# For each test name, all test images are sorted by K. The rank of the correct image is 1 when it comes first.

# %%
from tfxfer.evaluate import retrieval, verdict

codes = pairs.arrays("test")["codepoint"]


def by_character(values):
    """Return the mean of each character: its typefaces are not independent examples."""
    return np.array([np.mean(values[codes == code]) for code in np.unique(codes)])


arms = {"pairs": trained, "shuffled": shuffled}
found = {
    arm: retrieval(encoder.predict(features["test"], names["test"]), codes, codes)
    for arm, encoder in arms.items()
}
by_text = {arm: both["text_to_image"] for arm, both in found.items()}
pairs_against_shuffled = ("training on correct pairs", "shuffled pairs")
ranks = verdict(
    by_character(1 / by_text["pairs"]["ranks"]),
    by_character(1 / by_text["shuffled"]["ranks"]),
    names=pairs_against_shuffled,
    one_model=True,
)
recall = {arm: row["recall_at_5"] for arm, row in by_text.items()}
median = {arm: row["median_rank"] for arm, row in by_text.items()}
teach.say(f"""
There are {len(codes)} images of {len(np.unique(codes))} characters that are not in
training. Recall@5 from texts to images is **{recall["pairs"]:.0%}**, and the median
rank {median["pairs"]:.0f}. After training on shuffled pairs they are
{recall["shuffled"]:.0%} and {median["shuffled"]:.0f}.

> {ranks.sentence("reciprocal rank")}
""")

# %%
print(f"{'query':50} retrieved, best first")

K = trained.predict(features["test"], names["test"])
for column in few[::2]:
    best = K[:, column].argsort()[::-1][:3]
    retrieved = " · ".join(names["test"][i] for i in best)
    print(f"{names['test'][column]:50}", retrieved)

# %% [markdown]
# ## 5 · Zero-shot classification
#
# The name of a class is a text too. Here the classes are five scripts. No image had a script as its label. But most
# training names contain the script as a word: the class is new as a label, not as a word.

# %%
teach.show(DualEncoder.zero_shot)

# %%
truth = pairs.labels("test")
class_names = [name.lower() for name in SCRIPTS]
templates = ["{} letter", "{} small letter", "{} capital letter", "{} pattern"]
zero_shot = {
    arm: encoder.zero_shot(features["test"], class_names, templates).argmax(1)
    for arm, encoder in arms.items()
}
majority = np.bincount(truth).max() / len(truth)

# %% [markdown]
# ## 6 · A head fitted on images classifies texts
#
# Now the labels are used. A linear head, W and b as in lesson 02, is fitted on the vectors f(X) of labelled *images*.
# The texts are aligned to the same space, so the same W and b can be applied to g(Y). No text has a label.
#
# $$p(X) = W\,f(X) + b \quad\longrightarrow\quad p(Y) = W\,g(Y) + b$$

# %%
from tfxfer.transfer.bridges.align import image_head, text_classifier

held_out = (features["validation"], pairs.labels("validation"))
labels, test_names = pairs.labels("train"), np.array(names["test"], object)
on_texts = {}
for arm, encoder in arms.items():
    head = image_head(encoder, features["train"], labels, validation=held_out)
    probabilities = text_classifier(encoder, head).predict(test_names, verbose=0)
    on_texts[arm] = probabilities.argmax(1)
teach.show(image_head, text_classifier)

# %%
tasks = {
    "zero-shot: which script is this image from?": zero_shot,
    "a head fitted on images: which script is this name of?": on_texts,
}
shares = {
    task: {arm: float(np.mean(given == truth)) for arm, given in by_arm.items()}
    | {"most frequent": majority}
    for task, by_arm in tasks.items()
}
figures.accuracies(shares)

# %%
first, second = shares.values()
answers = [
    np.stack([by_arm[arm] == truth for arm in arms]) for by_arm in tasks.values()
]
gains = [
    verdict(
        by_character(a), by_character(b), names=pairs_against_shuffled, one_model=True
    )
    for a, b in answers
]
over_majority = verdict(
    by_character(zero_shot["pairs"] == truth),
    by_character(truth == np.bincount(truth).argmax()),
    names=("zero-shot classification", "majority"),
    one_model=True,
)
prompts = [one.format(name) for name in class_names for one in templates]
new = [one for one in prompts if not any(t.startswith(one) for t in names["train"])]
spelt = [name.split()[0] for name in names["test"]]
spelt = np.mean([word == class_names[label] for word, label in zip(spelt, truth)])
teach.say(f"""
Zero-shot accuracy is **{first["pairs"]:.0%}**. Always predicting the most frequent
script would give {majority:.0%}.

> {over_majority.sentence()}

> {gains[0].sentence()}

Of the {len(prompts)} prompts, {len(new)} begin no training
name{f", such as “{new[0]}”" if new else ""}. Whether this is the reason can be tested
with other templates, chosen on *validation* images. The head on texts gets
**{second["pairs"]:.0%}**, after shuffled pairs {second["shuffled"]:.0%}.

> {gains[1].sentence()}

(In {spelt:.0%} of the test names the first word is the script, so a classifier of texts
would find this easy. The point is that this head was not fitted on any text.)
""")

# %% [markdown]
# ## 7 · One image, fourteen languages
#
# A character has one name. An emoji has a name in every language. So the space of images can stand between two
# *languages* that were never seen side by side: K = g₁(Y₁)·g₂(Y₂). g of each language is a ridge regression from the
# n-grams of a name to φ of its emoji. φ can be any encoder that puts similar images close together. Here it is the
# simplest one: the pixels. (This part needs `pip install "tfxfer[emoji]"`.)

# %%
emoji = tfxfer.load("emoji").with_at_most(
    train=teach.size(1_170, 80), test=teach.size(310, 30)
)
CODES = ["en", "de", "es", "fr", "it", "pt", "tr", "id"]
CODES += ["ru", "zh", "ja", "ko", "ar", "fa"]
emoji_names = {
    split: {code: np.array(emoji.texts(split, code)) for code in CODES}
    for split in ("train", "test")
}
drawn = emoji.arrays("test", image_size=(72, 72))["image"]
chosen = np.linspace(0, len(drawn) - 1, 6).astype(int)
figures.emoji_names(
    drawn[chosen],
    {code: emoji_names["test"][code][chosen] for code in ("en", "de", "tr", "id")},
)

# %% [markdown]
# (Emoji designed by [OpenMoji](https://openmoji.org), CC BY-SA 4.0.)
#
# **No emoji has names in two languages**, and no concept either: each pair of languages learns from two halves. Lesson
# 03 shows what goes wrong otherwise. The rival is the *letters*: names are similar when their letters are.

# %%
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.kernel_ridge import KernelRidge
from sklearn.preprocessing import normalize

small = emoji.arrays("train", image_size=(16, 16))["image"]
small = small.reshape(len(small), -1).astype(float)
small = normalize((small - small.mean(0)) / (small.std(0) + 1e-6))  # φ, [1170, 768]
concepts = np.array(emoji.texts("train", "concept"))
mixed = np.random.default_rng(0).permutation(np.unique(concepts))
half = np.isin(concepts, mixed[::2])


def g_of(code, rows):
    """Return g of the test names: where their images should lie, at length 1."""
    grams = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4))
    grams.fit(emoji_names["train"][code])
    known = grams.transform(emoji_names["train"][code][rows])
    model = KernelRidge(alpha=0.3).fit(known, small[rows])  # in closed form
    return normalize(model.predict(grams.transform(emoji_names["test"][code])))


def correct(one, two):
    """Return the share of names of one language whose best match is the right one."""
    return [
        [np.mean((g1 @ g2.T).argmax(1) == np.arange(len(g1))) for g2 in two.values()]
        for g1 in one.values()
    ]


by_images = correct(*({c: g_of(c, rows) for c in CODES} for rows in (half, ~half)))
every = np.concatenate(list(emoji_names["train"].values()))
letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4)).fit(every)
spelt = {c: letters.transform(emoji_names["test"][c]).toarray() for c in CODES}
tables = {"by images": by_images, "by letters": correct(spelt, spelt)}
figures.languages_matrix(tables, CODES)

# %%
others = ~np.eye(len(CODES), dtype=bool)
far = others.copy()
far[:8, :8] = False  # two languages in Latin letters
far[9:11, 9:11] = False  # Chinese and Japanese share characters
far[12:, 12:] = False  # Arabic and Persian share letters
means = {way: np.array(table)[others].mean() for way, table in tables.items()}
apart = {way: np.array(table)[far].mean() for way, table in tables.items()}
chance = 1 / len(drawn)
teach.say(f"""
Guessing is right for {chance:.1%} of the names. By pixels alone it is
{means["by images"]:.1%}, for related languages and for strangers. Letters are right for
{means["by letters"]:.0%}: far more where two languages share words. Where they share no
script, letters have {apart["by letters"]:.1%} and images {apart["by images"]:.1%}.
""")

# %% [markdown]
# These are single numbers without intervals. `python -m tfxfer.train dictionary --languages en zh` measures one pair
# with all its controls. A network that learned ImageNet instead of the pixels doubles the share of the images
# (`docs/results.md`).
#
# ## Exercises
#
# **04.1** 12 images, 300 texts: what is the shape of K?

# %%
teach.check("04.1", ...)

# %% [markdown]
# **04.2** K = [[0.9, 0.1, 0.3], [0.2, 0.4, 0.6], [0.1, 0.2, 0.8]], and text i belongs to image i. What is recall@1 from
# images to texts?

# %%
teach.check("04.2", ...)

# %% [markdown]
# **04.3** Write `K_of(f, g, temperature)`: for vectors `f` [B, D] and `g` [C, D] of any length, the cosine similarities
# of all pairs, divided by the temperature.


# %%
def K_of(f, g, temperature):
    return f  # not yet


teach.check("04.3", ...)  # put K_of here

# %% [markdown]
# **04.4** How many *texts* with a script label was the head of section 6 fitted on: "0", "300" or "3000"?

# %%
teach.check("04.4", ...)

# %% [markdown]
# **04.5** Write `towards_images(T, P, Q, a)`: T [N, G] are the n-grams of N names, P [N, D] the features of their
# images, Q [M, G] the n-grams of M new names, and a is the strength of the ridge. Return where the images of the new
# names should lie, Q·Tᵀ·(T·Tᵀ + a·1)⁻¹·P.


# %%
def towards_images(T, P, Q, a):
    return Q @ T.T @ P  # not yet


teach.check("04.5", ...)  # put towards_images here

# %% [markdown]
# ## Read next
#
# - A. Radford et al., *Learning transferable visual models from natural language supervision* (CLIP), 2021.
# - X. Zhai et al., *LiT: zero-shot transfer with locked-image text tuning*, 2022: the method of this lesson.
# - A. Frome et al., *DeViSE: a deep visual-semantic embedding model*, 2013: the same idea, eight years before CLIP.
# - W. Liang et al., *Mind the gap: understanding the modality gap in multi-modal contrastive representation
#   learning*, 2022: why the two sets of vectors are apart before training, and often after it.
# - A. Norelli et al., *ASIF*, 2022: alignment without training; here `tfxfer/transfer/bridges/anchors.py`.
#
# {{ navigation }}
