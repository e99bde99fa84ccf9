# %% [markdown]
# # 04 · Knowledge transfer I: K as a matrix
#
# Two networks, one for pictures and one for texts, learn to find each other. Out of this come things that nobody
# trained: naming a class without an example, and a head that was fitted on pictures and reads texts.
#
# **After this lesson you can**
# - compute K = f(X)·g(Y) over all pairs, and say what each of its rows and columns means;
# - train a text tower against a locked picture tower, and show by a shuffled arm that the pairs did it;
# - ask zero-shot questions, and move a classifier from pictures to texts.
#
# **Time to run:** about two minutes on 2 CPU cores. **Needs:** nothing but tfxfer; no network. **Before:** lessons 02
# and 03.

# %%
from tfxfer import teach

teach.start("04")

# %% [markdown]
# ## The equation
#
# $$K = f(X) \cdot g(Y) + h(X, Y)$$
#
# X are pictures, Y texts. f and g make a vector of each; their products compare all pictures with all texts at once.
# h, which looks at a pair together, is 0 in this lesson and comes in the next two. With everything scaled to length
# 1, a product is a cosine; it is divided by τ, the *temperature*, which says how much a small difference counts.

# %%
from tfxfer.teach.figures import lesson_04 as figures

figures.towers()

# %%
from tfxfer.transfer.knowledge import DualEncoder

teach.show(DualEncoder.picture_vectors, DualEncoder.text_vectors, DualEncoder.K)

# %% [markdown]
# ## 1 · A picture tower, locked
#
# As in lesson 02, a CNN learns characters. But this time the split is *by character*: everything we test with is a
# character that the CNN has never seen, in any face.

# %%
import keras
import numpy as np

import tfxfer
from tfxfer.fit import cosine
from tfxfer.transfer.feature import extract, extractor

glyphs = tfxfer.load("glyphs")
EXAMPLES, BATCH = teach.size(24_000, 512), 128
keras.utils.set_random_seed(0)
cnn = tfxfer.source("fresh:cnn", num_classes=len(glyphs.class_names), seed=0)
cnn.compile(keras.optimizers.Adam(), "sparse_categorical_crossentropy")
for number in range(2):
    cnn.optimizer.learning_rate = cosine(1e-2, 2)(number)
    rows = glyphs.batches("train", BATCH, keys=["image", "label"], shuffle_seed=number).take(EXAMPLES // BATCH)
    cnn.fit(rows.map(lambda row: (row["image"], row["label"])), shuffle=False, verbose=0)
phi = extractor(cnn)

# %% [markdown]
# ## 2 · Pairs
#
# A picture and its official name, from five scripts. The script will be a label later on; here it is left aside.

# %%
SCRIPTS = ["Arabic", "Braille", "Cyrillic", "Greek", "Latin"]
pairs = tfxfer.load("glyphs", label="script").with_classes(SCRIPTS)
pairs = pairs.with_at_most(train=teach.size(3_000, 128), validation=teach.size(300, 40), test=teach.size(300, 40))
features = {split: np.asarray(extract(phi, pairs, split=split, image_size=(32, 32)).array) for split in pairs.sizes}
names = {split: [text.lower() for text in pairs.texts(split, "caption")] for split in pairs.sizes}
pictures = pairs.arrays("test")["image"]
print(features["train"].shape, names["train"][:3], sep="\n")

# %% [markdown]
# ## 3 · A text tower that learns to land beside its picture
#
# In a batch of 64 pairs, each picture has one right text and 63 wrong ones, and the other way round. The loss is the
# cross-entropy of that choice, both ways (InfoNCE; LiT, Zhai et al. 2022). The *shuffled* arm gets the same pictures
# and the same texts, dealt out wrongly: whatever it can do, it did not learn from the pairing.

# %%
from tfxfer.transfer.bridges.tokens import learn_vocabulary
from tfxfer.transfer.knowledge import small_tower

words = learn_vocabulary(names["train"], "words", 2000)
ids = pairs.arrays("train")["codepoint"]  # the same character in two faces is no wrong answer
STEPS = teach.size(300, 4)


def towers(texts, steps=STEPS):
    """Return a dual encoder that learned from the training pictures and these texts."""
    keras.utils.set_random_seed(0)
    made = DualEncoder(phi, small_tower(words, length=16))
    how = {"batch_size": 64, "learning_rate": 1e-2, "jit": False}
    made.fit(features["train"], texts, ids, steps=steps, fitted=False, **how)  # from random, so that we see it learn
    return made


before = towers(names["train"], steps=1)
after = towers(names["train"])
wrong = np.random.default_rng(0).permutation(len(ids))
shuffled = towers([names["train"][i] for i in wrong])

# %%
order = np.argsort(pairs.labels("test"), kind="stable")
few = order[np.linspace(0, len(order) - 1, 10).astype(int)]
some = [names["test"][i] for i in few]
tables = {
    title: made.K(features["test"][few], some)
    for title, made in (("after 1 step", before), (f"after {STEPS} steps", after))
}
figures.matrices(tables, pictures[few], some)

# %% [markdown]
# Each row is a choice among ten names; dark is sure, and the frame is the truth.

# %%
from tfxfer.transfer.bridges.tokens import TextTokens

UNKNOWN = 1  # the number of a word that the vocabulary lacks
read = np.array(TextTokens(16, "words", words)(np.array(names["test"], object)))
unread = np.mean((read == UNKNOWN).any(1))
teach.say(f"""
Neither the characters nor their names were in training; mostly the words were. {unread:.0%} of the test names hold a
word that the tower has never met, and there it can only guess.
""")

# %%
sides = {
    t: (m.picture_vectors(features["test"]), m.text_vectors(names["test"]))
    for t, m in (("after 1 step", before), (f"after {STEPS} steps", after))
}
figures.clouds(sides)

# %% [markdown]
# ## 4 · Retrieval
#
# For each test name, sort all test pictures by K. At which place does the right one stand?

# %%
from tfxfer.evaluate import retrieval, verdict

codes = pairs.arrays("test")["codepoint"]


def by_character(values):
    """Return the mean over the pictures of each character: two faces of one are not two examples."""
    return np.array([np.mean(values[codes == code]) for code in np.unique(codes)])


found = {
    arm: retrieval(made.K(features["test"], names["test"]), codes, codes)
    for arm, made in (("pairs", after), ("shuffled", shuffled))
}
ranks = {arm: told["text_to_image"]["ranks"] for arm, told in found.items()}
true_pairs = ("learning from true pairs", "shuffled pairs")
told = verdict(by_character(1 / ranks["pairs"]), by_character(1 / ranks["shuffled"]), names=true_pairs)
count = len(codes)
teach.say(f"""
Among {count} pictures of {len(np.unique(codes))} unseen characters, a right one is among the first five for
**{found["pairs"]["text_to_image"]["recall_at_5"]:.0%}** of the names; its median place is
{found["pairs"]["text_to_image"]["median_rank"]:.0f}. After learning from shuffled pairs it is
{found["shuffled"]["text_to_image"]["recall_at_5"]:.0%} and place
{found["shuffled"]["text_to_image"]["median_rank"]:.0f}.

> {told.sentence("reciprocal rank")}
""")

# %%
print(f"{'asked for':50} found first")

K = after.K(features["test"], names["test"])
for column in few[::2]:
    best = K[:, column].argsort()[::-1][:3]
    print(f"{names['test'][column]:50}", " · ".join(names["test"][i] for i in best))

# %% [markdown]
# ## 5 · Zero-shot: classes known by name only
#
# A class is a text too. Which of five scripts is a picture from? No picture had a script as its label. But most
# training names hold the script as a word: the class is new as a question, not as a word.

# %%
teach.show(DualEncoder.zero_shot)

# %%
truth = pairs.labels("test")
asked = [name.lower() for name in SCRIPTS]
templates = ["{} letter", "{} small letter", "{} capital letter", "{} pattern"]
zero = {
    arm: made.zero_shot(features["test"], asked, templates).argmax(1)
    for arm, made in (("pairs", after), ("shuffled", shuffled))
}
most = np.bincount(truth).max() / len(truth)

# %% [markdown]
# ## 6 · A head fitted on pictures reads texts
#
# Now the labels. A linear head learns scripts from *pictures*: W, b on f(X), as in lesson 02. Since texts have moved
# into the space of pictures, the same W and b can be asked about g(Y). No text ever had a label.
#
# $$p(X) = W\,f(X) + b \quad\longrightarrow\quad p(Y) = W\,g(Y) + b$$

# %%
from tfxfer.transfer.bridges.align import on_text, picture_head

held_out = (features["validation"], pairs.labels("validation"))
reads = {}
for arm, made in (("pairs", after), ("shuffled", shuffled)):
    head = picture_head(made, features["train"], pairs.labels("train"), validation=held_out)
    answers = on_text(made, head).predict(np.array(names["test"], object), verbose=0)
    reads[arm] = answers.argmax(1)
teach.show(picture_head, on_text)

# %%
rows = {
    "zero-shot: which script is this picture from?": zero,
    "a head fitted on pictures: which script is this name of?": reads,
}
shares = {
    question: {**{arm: float(np.mean(said == truth)) for arm, said in by_arm.items()}, "most frequent": most}
    for question, by_arm in rows.items()
}
figures.shares(shares)

# %%
first, second = shares.values()
prompts = [template.format(name) for name in asked for template in templates]
strange = sum(not any(text.startswith(prompt) for text in names["train"]) for prompt in prompts)
spelt = np.mean([name.split()[0] == pairs.class_names[label].lower() for name, label in zip(names["test"], truth)])
gained = [
    verdict(*(by_character(answers == truth) for answers in by_arm.values()), names=true_pairs)
    for by_arm in rows.values()
]
better = "more" if first["pairs"] > most else "less"
teach.say(f"""
Zero-shot gets **{first["pairs"]:.0%}**, which is {better} than always answering the most frequent script
({most:.0%}).

> {gained[0].sentence()}

Of the {len(prompts)} prompts, {strange} begin no name that the tower has read, such as “{asked[1]} small letter”.
Whether that is the reason, other templates would show, tried on *validation* pictures. The head on names gets
**{second["pairs"]:.0%}**, with shuffled pairs {second["shuffled"]:.0%}.

> {gained[1].sentence()}

(In {spelt:.0%} of the names the first word is the script, so reading would be easy. The point is that this head has
never been shown a name.)
""")

# %% [markdown]
# ## Exercises
#
# **04.1** 12 pictures, 300 texts: what is the shape of K?

# %%
teach.check("04.1", ...)

# %% [markdown]
# **04.2** K = [[0.9, 0.1, 0.3], [0.2, 0.4, 0.6], [0.1, 0.2, 0.8]], and text i belongs to picture i. What is recall@1
# from pictures to texts?

# %%
teach.check("04.2", ...)

# %% [markdown]
# **04.3** Write `K_of(f, g, temperature)`: for vectors `f` [B, D] and `g` [C, D] of any length, the cosines of all
# pairs divided by the temperature.


# %%
def K_of(f, g, temperature):
    return f  # not yet


teach.check("04.3", ...)  # put K_of here

# %% [markdown]
# **04.4** How many *texts* with a script label did the head of section 6 learn from: "0", "300" or "3000"?

# %%
teach.check("04.4", ...)

# %% [markdown]
# ## Read next
#
# - A. Radford et al., *Learning transferable visual models from natural language supervision* (CLIP), 2021.
# - X. Zhai et al., *LiT: zero-shot transfer with locked-image text tuning*, 2022: the recipe of this lesson.
# - A. Frome et al., *DeViSE: a deep visual-semantic embedding model*, 2013: the idea, eight years earlier.
# - W. Liang et al., *Mind the gap: understanding the modality gap in multi-modal contrastive representation
#   learning*, 2022: why two such clouds lie apart before learning, and often after.
# - A. Norelli et al., *ASIF*, 2022: the same without training; `tfxfer/transfer/bridges/anchors.py`.
