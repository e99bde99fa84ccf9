# %% [markdown]
# # 02 · Feature transfer: f(x) = W·φ(x) + b
#
# A network that has learned one thing computes, on the way to its answer, numbers that may be good for another.
# Feature transfer borrows those numbers and learns only how to weigh them.
#
# **After this lesson you can**
# - cut a network φ out of a model, freeze it, and feed it a modality it has never met;
# - fit W and b, and say why nothing else needs training;
# - choose λ without looking at the test phrases;
# - show which part of a phrase spoke for the answer, and prove that the parts add up.
#
# **Time to run:** under two minutes on 2 CPU cores. **Needs:** nothing but tfxfer; no network. **Before:** lesson 01,
# or the will to look things up there.

# %%
from tfxfer import teach

teach.start("02")

# %% [markdown]
# ## The equation, and what each letter is here
#
# | letter | what it is | who learned it, from what |
# |---|---|---|
# | x | a phrase such as “Österreich”, in one of ten languages | |
# | φ | a picture CNN up to its last layer but one | earlier, from single characters; frozen now |
# | W, b | a linear head: a weight for each feature and class, an offset for each class | now, 150 labels a language |
# | f | a score for each language; softmax makes probabilities of the scores | |
#
# The CNN has never seen a word, let alone a language. The two modalities meet over a *bridge*: the phrase is drawn.

# %%
from tfxfer.teach.figures import lesson_02 as figures

figures.equation(width=128, classes=10)

# %% [markdown]
# ## 1 · A source that knows something
#
# First somebody has to learn something. A small CNN learns to tell characters apart, in a dozen faces. It sees every
# character alone, 32 × 32 pixels, never a phrase.

# %%
import keras
import numpy as np

import tfxfer
from tfxfer.fit import cosine

characters = tfxfer.load("glyphs/by_face")
print(characters.describe())

# %%
EXAMPLES, EPOCHS, BATCH = teach.size(24_000, 512), 2, 128
keras.utils.set_random_seed(0)
cnn = tfxfer.source("fresh:cnn", num_classes=len(characters.class_names), seed=0)
cnn.compile(keras.optimizers.Adam(), "sparse_categorical_crossentropy", metrics=["accuracy"])


def epoch(number):
    batches = characters.batches("train", BATCH, keys=["image", "label"], shuffle_seed=number)
    return batches.map(lambda row: (row["image"], row["label"])).take(EXAMPLES // BATCH)


rate = cosine(1e-2, EPOCHS)  # from pass to pass, the learning rate falls along half a cosine
for number in range(EPOCHS):
    cnn.optimizer.learning_rate = rate(number)
    cnn.fit(epoch(number), shuffle=False, verbose=0)
held = characters.batches("validation", BATCH, keys=["image", "label"]).map(lambda row: (row["image"], row["label"]))
known = cnn.evaluate(held, verbose=0, return_dict=True)["accuracy"]
teach.say(f"""
After {EPOCHS} draws of {EXAMPLES:,} pictures the CNN names **{known:.0%}** of characters in a face that it has never
seen, out of {len(characters.class_names):,} that it can choose from. That is what it knows. It has
{cnn.count_params():,} weights.
""")

# %% [markdown]
# ## 2 · Cut: φ
#
# `extractor` takes the layers up to the one before the head, freezes them, and puts the bridge in front. The layers
# are the CNN's own: nothing is copied, nothing is trained.

# %%
from tfxfer.transfer.bridges.render import RenderText
from tfxfer.transfer.feature import attach, extract, extractor, linear_probe

bridge = RenderText(height=32, width=224, font_size=24)
phi = extractor(cnn, input_bridge=bridge)
before = cnn.get_weights()
lost = np.mean(np.array(bridge.count(tfxfer.load("languages/latin").texts("train"))["cut"]) > 0)
teach.say(f"What does not fit into {bridge.width} pixels is cut off: {lost:.0%} of the phrases lose their end.")
teach.show(extractor)

# %% [markdown]
# One phrase on its way. The windows of a convolution do not care how wide a picture is, and the average over all
# places at the end makes the number of features the same for every phrase.

# %%
phrase = "Österreich"
layers = ["relu1", "relu2", "relu4"]
answers = {layer: extractor(cnn, layer, input_bridge=bridge, pooling="none") for layer in layers}
maps = {layer: np.array(answer(np.array([phrase], object)))[0] for layer, answer in answers.items()}
features = np.array(phi(np.array([phrase], object)))[0]
figures.journey(phrase, np.array(bridge([phrase]))[0], maps, features)

# %% [markdown]
# ## 3 · Extract, once
#
# φ never changes, so each phrase has to go through it only once. The features stay on disk; asking again opens the
# file.

# %%
phrases = tfxfer.load("languages/latin").with_labels(150, seed=0)
train, held_out, test = (extract(phi, phrases, split=split) for split in ("train", "validation", "test"))
print("X", train.array.shape, "labels", train.labels.shape)

# %% [markdown]
# ## 4 · Learn W and b
#
# What remains is logistic regression. With N phrases and a price λ on large weights, W and b minimise
#
# $$J(W, b) = \frac1N \sum_i -\log \mathrm{softmax}(W^\top φ_i + b)_{y_i} + \frac{λ}{2}\lVert W\rVert^2$$
#
# where W is counted on features that are scaled to variance 1. J has one minimum, so there is no learning rate to tune
# and no luck in the start. Only λ has to be chosen, and the
# held-out phrases choose it: never the training phrases, which would always want λ = 0, and never the test phrases,
# which have to stay unseen to mean anything.

# %%
probe = linear_probe(train, train.labels, validation=(held_out, held_out.labels))
figures.strengths(probe.path, probe.l2)

# %%
from tfxfer.evaluate import interval

guess = 1 / len(phrases.class_names)
right = probe.predict_proba(test.array).argmax(1) == test.labels
mean, low, high = interval(right)
teach.say(f"""
With λ = {probe.l2:g} most held-out phrases were right (of equal ones, the lower loss wins). On **{len(right):,} test
phrases** that nobody has looked at so far, f is right in **{mean:.1%}** (95 % interval {low:.1%} to {high:.1%}, for one
draw of labels); guessing gives {guess:.0%}. W and b have {probe.W.size + probe.b.size:,} numbers. {len(train.labels):,}
labels set them, and {len(held_out.labels):,} more chose λ.
""")

# %% [markdown]
# ## 5 · Attach: one model from raw text to an answer
#
# Six test phrases, one of each of six languages, not chosen by how well they go:

# %%
model = attach(phi, probe)
texts, truth = phrases.texts("test"), phrases.labels("test")
languages = ["German", "Polish", "French", "Dutch", "Turkish", "Swedish"]
asked = []  # one test phrase of each, about as long as the picture
for name in languages:
    own = [text for text, label in zip(texts, truth) if phrases.class_names[label] == name]
    asked.append(min(own, key=lambda text: (abs(len(text) - 14), text)))
probabilities = np.array(model(np.array(asked, object)))
for text, row in zip(asked, probabilities):
    best = row.argsort()[::-1][:3]
    print(f"{text:22}", ", ".join(f"{phrases.class_names[c]} {row[c]:.0%}" for c in best))

# %% [markdown]
# ## 6 · What did it look at?
#
# f is linear in φ(x), and φ(x) is an average over places. So the logit of a language *is* a sum over the places of
# the picture, and we can hand every place its share. (This is class activation mapping, Zhou et al. 2016.)
#
# $$\text{logit}_c = b_c + \sum_d W_{dc}\,\frac{γ_d}{σ_d}\Big(\frac1P\sum_p a_{pd} - μ_d\Big) + \dots
# \quad\Rightarrow\quad e_{pc} = \frac1P \sum_d W_{dc}\,\frac{γ_d}{σ_d}\,a_{pd}$$
#
# where a are the answers of the last convolution at P places, and γ, σ, μ belong to the normalisation behind the
# average. We count evidence for a language against the mean of all languages, and beyond what blank paper says. (A
# column of the last map is four pixels wide and sees about 17: one letter, and not only its own part of it.)

# %%
last = answers["relu4"]
norm = cnn.get_layer("norm_pool")
gamma, beta, mean, variance = norm.get_weights()  # [D] each
scale = gamma / np.sqrt(variance + norm.epsilon)  # γ / σ  [D]
against_mean = probe.W - probe.W.mean(1, keepdims=True)  # [D, C]


def image_word_logits_of(texts):
    a = np.array(last(np.array(texts, object)))  # [N, h, w, D]
    return (a * scale) @ against_mean / (a.shape[1] * a.shape[2])  # [N, h, w, C]


paper = image_word_logits_of([""])
places = image_word_logits_of(asked) - paper
logits = np.array(phi(np.array([*asked, ""], object))) @ probe.W + probe.b
contrast = logits - logits.mean(1, keepdims=True)  # [N + 1, C]
difference = np.abs(places.sum((1, 2)) + contrast[-1] - contrast[:-1]).max()
assert difference < 0.01 * np.abs(contrast).max()  # 32-bit arithmetic rounds
print(f"The places add up to the logits (up to {np.abs(contrast).max():.1f}); greatest difference {difference:.1g}")

# %%
winners = probabilities.argmax(1)
columns = np.stack([place[..., c].sum(0) for place, c in zip(places, winners)])  # [N, w]
names = [(phrases.class_names[c], row[c]) for c, row in zip(winners, probabilities)]
figures.evidence(asked, np.array(bridge(asked)), columns, names, languages)

# %% [markdown]
# Look for letters that one language has and its neighbours lack: accents, a *w* or a *z* where others write *v* and
# *s*. Look also for what misleads it: the features know shapes, not spelling, and every column counts the same
# wherever it is.
#
# ## 7 · Nothing happened to the source

# %%
changed = sum(not np.array_equal(old, new) for old, new in zip(before, cnn.get_weights()))
trainable = len(phi.trainable_weights)
print(f"tensors of the CNN that changed: {changed} of {len(before)}; trainable tensors in φ: {trainable}")

# %% [markdown]
# ## But was it the *knowledge*?
#
# The number above cannot say. Perhaps any network of this shape would do, with weights out of a dice cup. Lesson 03
# asks exactly that, and the answer is less comfortable than most papers make it.
#
# ## Exercises
#
# Put your answer in the place of the three dots and run the cell.
#
# **02.1** How many numbers does the head learn, W and b together, for 128 features and 10 languages?

# %%
teach.check("02.1", ...)

# %% [markdown]
# **02.2** We drew 150 phrases for each of ten languages. What is the shape of the matrix of their
# features?

# %%
teach.check("02.2", ...)

# %% [markdown]
# **02.3** Write f: a function of `phi` [B, D], `W` [D, C] and `b` [C] that returns probabilities [B, C].


# %%
def f(phi, W, b):
    return phi  # not yet


teach.check("02.3", ...)  # put f here

# %% [markdown]
# **02.4** Half of the training phrases are German now, and λ is made so large that W becomes 0. What does f answer to
# every phrase: "most frequent class", "random class" or "nearest phrase"?

# %%
teach.check("02.4", ...)

# %% [markdown]
# **02.5** How many of the CNN's tensors did fitting the probe change: "0", "1" or "many"?

# %%
teach.check("02.5", ...)

# %% [markdown]
# ## Read next
#
# - F. Chollet, *Transfer learning & fine-tuning*, Keras developer guides, 2020: the same steps within one modality.
# - J. Yosinski, J. Clune, Y. Bengio, H. Lipson, *How transferable are features in deep neural networks?*, 2014: which
#   layer to cut at.
# - G. Alain, Y. Bengio, *Understanding intermediate layers using linear classifier probes*, 2016.
# - B. Sun, L. Yang, P. Dong, W. Zhang, J. Dong, C. Young, *Super Characters: a conversion from sentiment
#   classification to image classification*, 2018: text drawn for a picture CNN.
# - B. Zhou, A. Khosla, A. Lapedriza, A. Oliva, A. Torralba, *Learning deep features for discriminative localization*,
#   2016.
#
# The next lesson: **03, why controls matter**.
