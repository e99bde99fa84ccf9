# %% [markdown]
# # 02 · Feature transfer
#
# {{ header }}
#
# A network that was trained for one task computes features of its input. These features may also be useful for
# another task. Feature transfer reuses them, and trains nothing but a linear head: f(x) = W·φ(x) + b.
#
# **After this lesson you can**
# - cut a feature extractor φ out of a model, freeze it, and give it data of another modality;
# - fit W and b, and explain why nothing else is trained;
# - choose λ without using the test phrases;
# - show which part of a phrase is evidence for the prediction, and verify that the parts add up to the logit;
# - explain what an average over the image loses, and read the letters instead.
#
# **Time to run:** about two minutes on 2 CPU cores. **Needs:** nothing but tfxfer; no network. **Before:** lesson 01.

# %%
from tfxfer import teach

teach.start("02")

# %% [markdown]
# ## The equation
#
# | letter | what it is here | trained on |
# |---|---|---|
# | x | a phrase such as “Österreich”, in one of ten languages | |
# | φ | the feature extractor: an image CNN without its classification head | images of single characters, then frozen |
# | W, b | a linear head: a weight for each feature and class, a bias for each class | 150 labels a language |
# | f | a logit for each language; a softmax turns logits into probabilities | |
#
# The CNN has never been trained on a word. The *bridge* between the two modalities is `render`: the phrase is drawn as
# an image.

# %%
from tfxfer.teach.figures import lesson_02 as figures

figures.equation(width=128, classes=10)

# %% [markdown]
# ## 1 · The source
#
# The source is a small CNN. It is trained to classify characters in a dozen typefaces. Each training image is a single
# character of 32 × 32 pixels, never a phrase.

# %%
import keras
import numpy as np
import tensorflow as tf

import tfxfer
from tfxfer.fit import cosine

characters = tfxfer.load("glyphs/by_face")
print(characters.describe())

# %%
EXAMPLES, EPOCHS, BATCH = teach.size(24_000, 512), 2, 128
keras.utils.set_random_seed(0)
cnn = tfxfer.source("fresh:cnn", num_classes=len(characters.class_names), seed=0)
loss = "sparse_categorical_crossentropy"
cnn.compile(keras.optimizers.Adam(), loss, metrics=["accuracy"])


def batches(split, seed=None):
    """Return batches (images, labels) of a split, shuffled by a seed."""
    keys = ["image", "label"]
    rows = characters.batches(split, BATCH, keys=keys, shuffle_seed=seed)
    return rows.map(lambda row: (row["image"], row["label"]))


rate = cosine(1e-2, EPOCHS)  # the learning rate falls along half a cosine
for epoch in range(EPOCHS):
    cnn.optimizer.learning_rate = rate(epoch)
    train = batches("train", seed=epoch).take(EXAMPLES // BATCH)
    cnn.fit(train, shuffle=False, verbose=0)
evaluated = cnn.evaluate(batches("validation"), verbose=0, return_dict=True)
teach.say(f"""
After {EPOCHS} epochs of {EXAMPLES:,} images, the CNN is correct for
**{evaluated["accuracy"]:.0%}** of the characters in a typeface that is not in training.
It chooses from {len(characters.class_names):,} classes. It has {cnn.count_params():,}
weights.
""")

# %% [markdown]
# ## 2 · The feature extractor φ
#
# `extractor` takes the layers up to the classification head, freezes them, and puts the bridge in front. The layers
# are those of the CNN: nothing is copied, and nothing is trained.

# %%
from tfxfer.transfer.bridges.render import RenderText
from tfxfer.transfer.feature import attach, extract, extractor, linear_probe

bridge = RenderText(height=32, width=224, font_size=24)
phi = extractor(cnn, input_bridge=bridge)
before = cnn.get_weights()
phrases = tfxfer.load("languages/latin")
cut = np.mean(np.array(bridge.count(phrases.texts("train"))["cut"]) > 0)
teach.say(f"""
An image is {bridge.width} pixels wide. A phrase that does not fit is cut off: this
concerns {cut:.0%} of the training phrases.
""")
teach.show(extractor)

# %% [markdown]
# This is the forward pass of one phrase. A convolution works on images of any width. Global average pooling at the end
# gives the same number of features for every phrase.

# %%
phrase = "Österreich"
as_array = np.array([phrase], object)
layers = {
    layer: extractor(cnn, layer, input_bridge=bridge, pooling="none")
    for layer in ("relu1", "relu2", "relu4")
}
maps = {name: np.array(layer(as_array))[0] for name, layer in layers.items()}
features = np.array(phi(as_array))[0]
figures.forward_pass(phrase, np.array(bridge([phrase]))[0], maps, features)

# %% [markdown]
# ## 3 · Extract the features once
#
# φ is frozen, so each phrase has to pass through it only once. The features are kept on disk. The next call of
# `extract` opens the file.

# %%
phrases = phrases.with_labels(150, seed=0)
splits = ("train", "validation", "test")
train, held_out, test = (extract(phi, phrases, split=split) for split in splits)
print("features", train.array.shape, "labels", train.labels.shape)

# %% [markdown]
# ## 4 · Fit W and b
#
# What remains is logistic regression. For N phrases and an L2 penalty λ, W and b minimise
#
# $$J(W, b) = \frac1N \sum_i -\log \mathrm{softmax}(W^\top φ_i + b)_{y_i} + \frac{λ}{2}\lVert W\rVert^2$$
#
# The penalty applies to the W of standardised features. J is convex: it has one minimum, so there is no learning rate
# to tune and no random initialisation. Only λ has to be chosen. The held-out phrases choose it. The training phrases
# cannot, because they would always choose λ = 0. The test phrases must not, because then their accuracy would be too
# high.

# %%
probe = linear_probe(train, train.labels, validation=(held_out, held_out.labels))
figures.l2_path(probe.path, probe.l2)

# %%
from tfxfer.evaluate import interval

chance = 1 / len(phrases.class_names)
right = probe.predict_proba(test.array).argmax(1) == test.labels
mean, low, high = interval(right)
teach.say(f"""
λ = {probe.l2:g} has the highest accuracy on held-out phrases (of equal ones, the lower
loss decides). On **{len(right):,} test phrases**, which nothing was fitted to or chosen
on, f is correct for **{mean:.1%}** (95 % interval {low:.1%} to {high:.1%}, for one draw
of labels). Chance is {chance:.0%}. W and b have {probe.W.size + probe.b.size:,}
parameters. They are fitted to {len(train.labels):,} labels, and
{len(held_out.labels):,} more choose λ.
""")

# %% [markdown]
# ## 5 · One model from raw text to probabilities
#
# Here are six test phrases, one from each of six languages. They were selected by length, not by the prediction:

# %%
model = attach(phi, probe)
texts, truth = phrases.texts("test"), phrases.labels("test")
languages = ["German", "Polish", "French", "Dutch", "Turkish", "Swedish"]
some = []  # a test phrase of each language, about as long as the image is wide
for name in languages:
    label = phrases.class_names.index(name)
    own = [text for text, y in zip(texts, truth) if y == label]
    some.append(min(own, key=lambda text: (abs(len(text) - 14), text)))
probabilities = np.array(model(np.array(some, object)))
for text, row in zip(some, probabilities):
    best = [f"{phrases.class_names[c]} {row[c]:.0%}" for c in row.argsort()[::-1][:3]]
    print(f"{text:22}", ", ".join(best))

# %% [markdown]
# ## 6 · Evidence in the phrase
#
# f is linear in φ(x), and φ(x) is an average over positions. So the logit of a language is a sum over the positions of
# the image, and each position has its share. This is class activation mapping (Zhou et al. 2016).
#
# $$\text{logit}_c = b_c + \sum_d W_{dc}\,\frac{γ_d}{σ_d}\Big(\frac1P\sum_p a_{pd} - μ_d\Big) + \dots
# \quad\Rightarrow\quad e_{pc} = \frac1P \sum_d W_{dc}\,\frac{γ_d}{σ_d}\,a_{pd}$$
#
# Here a are the activations of the last convolution at P positions, and γ, σ, μ belong to the normalisation after the
# pooling. Evidence is measured relative to the mean of all languages and to an empty image. A column of the last
# feature map is four pixels wide and has a receptive field of about 17 pixels: a letter with its neighbours.

# %%
last = layers["relu4"]
norm = cnn.get_layer("norm_pool")
gamma, beta, mean, variance = norm.get_weights()  # [D] each
scale = gamma / np.sqrt(variance + norm.epsilon)  # γ / σ  [D]
against_mean = probe.W - probe.W.mean(1, keepdims=True)  # [D, C]


def evidence_of(texts):
    """Return the evidence of each position for each language, [N, h, w, C]."""
    a = np.array(last(np.array(texts, object)))  # [N, h, w, D]
    return (a * scale) @ against_mean / (a.shape[1] * a.shape[2])


evidence = evidence_of(some) - evidence_of([""])
logits = np.array(phi(np.array([*some, ""], object))) @ probe.W + probe.b
contrast = logits - logits.mean(1, keepdims=True)  # [N + 1, C]
difference = np.abs(evidence.sum((1, 2)) + contrast[-1] - contrast[:-1]).max()
largest = np.abs(contrast).max()
assert difference < 0.01 * largest  # 32-bit arithmetic rounds
print(f"sum of the evidence against the logits: largest difference {difference:.1g}")
print(f"largest logit: {largest:.1f}")

# %%
winners = probabilities.argmax(1)
columns = np.stack(
    [each[..., c].sum(0) for each, c in zip(evidence, winners)]
)  # [N, w]
predictions = [
    (phrases.class_names[c], row[c]) for c, row in zip(winners, probabilities)
]
figures.class_evidence(some, np.array(bridge(some)), columns, predictions, languages)

# %% [markdown]
# Look for letters that one language has and similar ones do not: accents, or a *w* or *z* where others have *v* and
# *s*. Look also for errors. The features describe shapes, not spelling, and the position of a letter has no influence.
#
# ## 7 · The source has not changed

# %%
changed = [not np.array_equal(a, b) for a, b in zip(before, cnn.get_weights())]
print(f"tensors of the CNN that changed: {sum(changed)} of {len(changed)}")
print(f"trainable tensors of φ: {len(phi.trainable_weights)}")

# %% [markdown]
# ## 8 · What the average loses
#
# φ(x) is a mean over the columns of the map, and a mean has no order. Here are two phrases of the same words. A column
# sees a letter and its neighbours. So nearly all columns of the one phrase are in the other too, at another place.

# %%
three = np.array(["left right", "right left", "open shut", ""], object)
short = RenderText(height=32, width=128, font_size=24)
last_map = extractor(cnn, "relu4", input_bridge=short, pooling="none")
by_column = np.array(last_map(three)).mean(1)  # [4, w, D]
by_column = by_column[:3] - by_column[3]  # relative to an empty image


def distance(a, b):
    """Return how far two arrays are apart, as a share of their mean length."""
    return 2 * np.linalg.norm(a - b) / (np.linalg.norm(a) + np.linalg.norm(b))


table = "| distance | by columns | by their mean |\n|---|---|---|\n"
for i in (1, 2):
    a, b = by_column[0], by_column[i]
    apart = f"{distance(a, b):.2f} | {distance(a.mean(0), b.mean(0)):.2f}"
    table += f"| “{three[0]}” and “{three[i]}” | {apart} |\n"
teach.say(table)

# %% [markdown]
# Equal arrays have the distance 0. By its columns, the phrase with its words swapped is nearly as far away as
# another one.
# By the mean it is near.
#
# We can also keep the columns, and say for each of them which letter it is. A *reader* does this. It is a network of
# four convolutions. It is trained on random strings: no words, no language. `RenderText` draws the strings and knows
# where it draws each letter. So every column of four pixels has a label: a letter, or *blank*. This is OCR, learned
# from drawn letters. The first run trains the reader and keeps it beside the prepared data.

# %%
import tempfile
from dataclasses import replace

from tfxfer.config import RunConfig
from tfxfer.runs import Run
from tfxfer.sources.reader import SMOKE, share_right, trained_reader
from tfxfer.terminal import console
from tfxfer.transfer.bridges.read import reader_network

# one typeface and size, in which this lesson draws its phrases
training = replace(SMOKE, steps=teach.size(800, 100))
config = RunConfig(run_dir=tempfile.mkdtemp())
run = Run("feature", config, console(quiet=True))
reader = trained_reader(config, run, training)
teach.show(reader_network)

# %%
line = np.array(bridge([phrase]))
answer = reader(line)
read = answer["text"].numpy()[0].decode()
figures.letters_by_column(line[0], answer["posteriors"][0], reader.alphabet, read)

# %% [markdown]
# A letter between two columns is divided: their probabilities are added. Now the two phrases again:

# %%
drawn = np.array(short(three[:2]))
posteriors = reader(drawn)["posteriors"]
figures.order_of_letters(three[:2], drawn, by_column[:2], posteriors, reader.alphabet)

# %% [markdown]
# ## 9 · Read, then transfer
#
# What was read is a text. So a model of texts can be the source: f(x) = W·φ(read(x)) + b. Ours is a CNN over characters
# (Kim 2014). It is trained to classify *ten other languages*. In none of them is a phrase of ours written.

# %%
others = tfxfer.load("languages/other")
text_cnn = tfxfer.source("fresh:text_cnn", num_classes=len(others.class_names), seed=0)
text_cnn.compile(keras.optimizers.Adam(), loss)
rate = cosine(1e-3, 3)
for epoch in range(3):
    text_cnn.optimizer.learning_rate = rate(epoch)
    rows = others.batches("train", 64, keys=["text", "label"], shuffle_seed=epoch)
    rows = rows.map(lambda row: (row["text"], row["label"]))
    text_cnn.fit(rows.take(teach.size(1_000, 4)), shuffle=False, verbose=0)
text_phi = extractor(text_cnn)  # strings [B] to features [B, 512]
print(*others.class_names, sep=", ")

# %% [markdown]
# Five classifiers get the same few labels: 20 phrases of each language, in three draws. One has the averaged pixels,
# and one has n-grams of the *true* text. The others know nothing but what was read.

# %%
from tfxfer.arms.beside_ngrams import beside_ngrams
from tfxfer.baselines.classification import native_text

LABELS, SEEDS = teach.size(20, 3), range(3)
few = tfxfer.load("languages/latin").with_at_most(
    validation=teach.size(400, 60), test=teach.size(1_211, 60)
)
CLASSES = len(few.class_names)
letters_of = tf.function(lambda texts: reader(bridge(texts))["text"])


def features_of(model, texts):
    """Return the features of texts, [N, D]."""
    return model.predict(np.array(texts, object), batch_size=256, verbose=0)


def views(texts):
    """Return of texts: averaged pixels, the true texts, those read, and features."""
    parts = [texts[i : i + 64] for i in range(0, len(texts), 64)]
    read = [text.decode() for part in parts for text in letters_of(part).numpy()]
    return features_of(phi, texts), texts, read, features_of(text_phi, read)


held, asked = (views(few.texts(split)) for split in ("validation", "test"))
held_labels, truth = few.labels("validation"), few.labels("test")
whole = np.array(bridge.count(asked[1])["cut"]) == 0
share = share_right(*(list(np.array(each, object)[whole]) for each in asked[1:3]))
teach.say(f"""
The reader has never seen a word. Of the letters of the {whole.sum():,} test phrases
that fit into their image, it reads **{share:.1%}** correctly.
""")


# %%
def answers_of(own, labels):
    """Fit each classifier on views and labels; return its test probabilities."""

    def probe_on(i):
        """Fit W and b on one kind of features."""
        fitted = linear_probe(own[i], labels, validation=(held[i], held_labels))
        return fitted.predict_proba(asked[i])

    def ngrams_of(i):
        """Fit a linear model on n-grams of one kind of text."""
        train, validation = (own[i], labels), (held[i], held_labels)
        return native_text(train, validation, asked[i], CLASSES).probabilities

    train, validation = (*own[2:], labels), (*held[2:], held_labels)
    together = beside_ngrams(train, validation, asked[2:], CLASSES)
    return {
        "averaging": probe_on(0),
        "reading (n-grams)": ngrams_of(2),
        "reading (text CNN)": probe_on(3),
        "reading (both)": together.probabilities,
        "the true text (n-grams)": ngrams_of(1),
    }


right = {}
for seed in SEEDS:
    rows = few.with_labels(LABELS, seed)
    answers = answers_of(views(rows.texts("train")), rows.labels("train"))
    for name, given in answers.items():
        right.setdefault(name, []).append(given.argmax(1) == truth)
right = {name: np.stack(each) for name, each in right.items()}  # [draws, phrases]
table = "\n".join(f"| {name} | {each.mean():.1%} |" for name, each in right.items())
teach.say(f"| at {LABELS} labels a language | correct |\n|---|---|\n{table}")

# %%
from tfxfer.evaluate import verdict


def better(one, other):
    """Return the verdict on two classifiers as a sentence."""
    found = verdict(right[one], right[other], names=(one, other))
    return found.sentence(about={"arms": {other: {"role": "baseline"}}})


pixels, ngrams_read, features, both, ngrams_true = right
teach.say(f"""
- {better(ngrams_read, pixels)}
- {better(features, ngrams_read)}
- {better(both, ngrams_read)}
- {better(both, ngrams_true)}
""")

# %% [markdown]
# The pixels are the same, but their order is kept. n-grams are short runs of letters, which is just what an average
# forgets. The text CNN and the reader were trained once, so their luck is in no interval. `python -m tfxfer.train
# feature --bridge read` runs the control with random weights too.
#
# ## Was it the *knowledge* of the source?
#
# No accuracy above can answer this question. Perhaps random weights would be as good. Lesson 03 measures it, and
# the answer is less comfortable than most papers suggest.
#
# ## Exercises
#
# Replace the three dots by your answer and run the cell.
#
# **02.1** How many parameters does the head have, W and b together, for 128 features and 10 languages?

# %%
teach.check("02.1", ...)

# %% [markdown]
# **02.2** We drew 150 phrases for each of ten languages. What is the shape of the matrix of their features?

# %%
teach.check("02.2", ...)

# %% [markdown]
# **02.3** Write f: a function of `phi` [B, D], `W` [D, C] and `b` [C] that returns probabilities [B, C].


# %%
def f(phi, W, b):
    return phi  # not yet


teach.check("02.3", ...)  # put f here

# %% [markdown]
# **02.4** Suppose half of the training phrases are German, and λ is so large that W becomes 0. What does f predict for
# every phrase: "most frequent class", "random class" or "nearest phrase"?

# %%
teach.check("02.4", ...)

# %% [markdown]
# **02.5** How many of the CNN's tensors did fitting the probe change: "0", "1" or "many"?

# %%
teach.check("02.5", ...)

# %% [markdown]
# **02.6** A phrase is drawn as an image of 32 × 224 pixels. A reader knows 257 letters. What is the shape of its answer
# for this one image, if each column is four pixels wide?

# %%
teach.check("02.6", ...)

# %% [markdown]
# **02.7** There is something between an average and a reader: the means of K equal windows, from left to right, one
# after the other (`extractor(..., pooling="windows", windows=K)`). Write it: a function of `columns` [w, D] and K that
# returns K · D numbers. K divides w. (For languages, windows do not help: they keep *where in the image* a letter is.
# A language is known by which letter follows which.)


# %%
def windows(columns, K):
    return columns.mean(0)  # not yet


teach.check("02.7", ...)  # put windows here

# %% [markdown]
# ## Read next
#
# - F. Chollet, *Transfer learning & fine-tuning*, Keras developer guides, 2020: the same steps within one modality.
# - J. Yosinski, J. Clune, Y. Bengio, H. Lipson, *How transferable are features in deep neural networks?*, 2014: at
#   which layer to cut.
# - G. Alain, Y. Bengio, *Understanding intermediate layers using linear classifier probes*, 2016.
# - B. Sun, L. Yang, P. Dong, W. Zhang, J. Dong, C. Young, *Super Characters: a conversion from sentiment
#   classification to image classification*, 2018: text drawn as the input of an image CNN.
# - B. Zhou, A. Khosla, A. Lapedriza, A. Oliva, A. Torralba, *Learning deep features for discriminative localization*,
#   2016: class activation maps.
# - B. Shi, X. Bai, C. Yao, *An end-to-end trainable neural network for image-based sequence recognition*, 2015: readers
#   that keep the columns of a line.
# - Y. Kim, *Convolutional neural networks for sentence classification*, 2014.
# - S. Lazebnik, C. Schmid, J. Ponce, *Beyond bags of features: spatial pyramid matching*, 2006: averages in windows.
#
# {{ navigation }}
