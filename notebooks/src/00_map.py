# %% [markdown]
# # 00 · Overview
#
# {{ header }}
#
# A language model has learned something from texts. An image model has learned something from images. Can one of them
# make use of what the other has learned? And does a good result show that *knowledge* was transferred? It could also
# be wishful thinking.
#
# **After this lesson you can**
# - tell three kinds of transfer apart by their equations;
# - name four bridges between texts and images;
# - read a verdict, and say which two arms it compares.
#
# **Time to run:** seconds. **Needs:** nothing but tfxfer; no network.

# %%
from tfxfer import teach

teach.start("00", tensorflow=False)

# %% [markdown]
# ## Three kinds of transfer
#
# What a network has learned can be reused as features, as an alignment of two networks, or as weights. Each kind has
# an equation and a package of tfxfer. Each works in both directions, from vision to language and back.

# %%
from tfxfer.teach.figures import lesson_00 as figures

figures.overview()

# %% [markdown]
# | transfer | the letters of its equation | package | lessons |
# |---|---|---|---|
# | feature | φ: a frozen feature extractor. W, b: a linear head | `tfxfer/transfer/feature` | 02, 03 |
# | knowledge | f, g: an encoder for each modality. h: an interaction of both | `tfxfer/transfer/knowledge` | 04–06 |
# | structure | S: a source network. T: a weight map. M: the new network | `tfxfer/transfer/structure` | 07 |
#
# ### Feature transfer: f(x) = W·φ(x) + b
#
# The equation is code. Here are the features φ(x) of three phrases, two made-up numbers each, and a head for two
# classes:

# %%
import numpy as np

phi_x = np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 1.0]])  # φ(x)  [B, D]
W, b = np.array([[1.0, -1.0], [-2.0, 2.0]]), np.array([0.5, 0.0])  # [D, C], [C]
print(phi_x @ W + b)  # f(x)  [B, C]; the largest logit of a row is the prediction

# %% [markdown]
# ### Knowledge transfer: K = f(X)·g(Y) + h(X, Y)
#
# f encodes images and g encodes texts, so that an image and its text have similar vectors. All products together are
# a matrix: row i holds how well each text matches image i. To find the best text of a row is image–text retrieval.

# %%
f_X = np.array([[1.0, 0.1], [0.1, 1.0], [0.7, 0.7]])  # three images
g_Y = np.array([[0.9, 0.0], [0.0, 0.9], [0.6, 0.7]])  # three texts
K = f_X @ g_Y.T  # h = 0 here
images = ["image of É", "image of Б", "image of ∞"]
figures.matrix(K, images, ["“e acute”", "“be”", "“infinity”"])

# %% [markdown]
# ### Structure transfer: M = T(S)
#
# Here the tensors themselves are reused. The smallest example of T: one hidden unit becomes two copies, and each copy
# gets half of the outgoing weight. The output does not change. Lesson 07 does this to a whole network and verifies it.

# %%
S_in, S_out = np.array([[2.0], [1.0]]), np.array([[3.0]])  # x [2] → one hidden unit → y
M_in, M_out = S_in[:, [0, 0]], S_out[[0, 0]] / 2  # M = T(S): two copies of the unit
x = np.array([[0.5, 4.0]])
print("S:", x @ S_in @ S_out, "  M:", x @ M_in @ M_out)

# %% [markdown]
# ## Four bridges
#
# An image network takes images, a text network takes texts. A *bridge* brings the data of one modality into a form
# that the network of the other one accepts.

# %%
figures.bridges()

# %% [markdown]
# - **render**: the text is drawn as an image (Super Characters 2018; PIXEL and CLIPPO 2023).
# - **tokens**: word pieces or image patches become the input tokens of a frozen body (Frozen Pretrained Transformers
#   2021).
# - **align**: one encoder is trained on pairs, until its vectors match those of the other encoder, which is frozen.
#   In DeViSE (2013) the image encoder is trained, in LiT (2022) the text encoder.
# - **anchors**: images and texts are described by their similarity to known pairs, without training (1.6 million
#   pairs in ASIF 2022; here hundreds).
#
# ## Arms and verdicts
#
# For every transfer the question is the same: would it have worked without what the source learned? So each experiment
# runs several *arms* under the same budget.
#
# | arm | what it is | what it excludes as the reason |
# |---|---|---|
# | transfer | the method under study | |
# | random | the same network with random weights | the architecture |
# | scratch, finetune | all weights trained, from random or from the source's weights | a frozen body that is too weak |
# | native | the standard method of the target field | that transfer is not needed at all |
# | shuffled | the same training on wrong pairs | anything that needs no pairs |
# | blind, question_only | the same training, and every image is the mean image | anything that needs no image |
# | majority, prior | the most frequent class or answer | the frequencies of the classes |
#
# A *verdict* is computed from the interval of the difference between two arms. To see how it behaves, we simulate three
# cases with 600 test examples and three seeds. These results are random numbers. Nothing was measured.

# %%
from tfxfer.evaluate import verdict

rng = np.random.default_rng(1)


def simulated(accuracy, seeds=3, examples=600):
    """Draw correct and wrong answers [seeds, examples] with this expected accuracy."""
    return rng.random((seeds, examples)) < accuracy


verdicts = {
    "58 % against 40 %": verdict(simulated(0.58), simulated(0.40)),
    "41 % against 40 %": verdict(simulated(0.41), simulated(0.40)),
    "30 % against 40 %": verdict(simulated(0.30), simulated(0.40)),
}
figures.verdict_words(verdicts)

# %%
for one in verdicts.values():
    print(one.sentence())

# %% [markdown]
# *No evidence* is not *no effect*: the interval shows how large an effect would still be compatible with the data.
# This is the rule that turns an interval into a word, in the code of tfxfer:

# %%
import inspect

from tfxfer.evaluate.verdict import word_of

print(inspect.getsource(word_of))

# %% [markdown]
# ## The lessons
#
# **01** two modalities, one data set · **02** feature transfer · **03** why controls matter · **04** image–text
# retrieval and zero-shot classification · **05** captions and beam search · **06** visual question answering · **07**
# structure transfer · **08** your own data · **09** three programs of an article, line by line · **10**
# choosing a method: scores, the atlas and regret · **11** judging: power, margins, people and metrics.
#
# If you have time for two lessons only, take 02 and 03.
#
# ## Exercises
#
# Replace the three dots by your answer and run the cell. It shows whether you are right, or gives a hint.
#
# **00.1** An image CNN is frozen, phrases are drawn as its input, and a linear head is fitted. Which transfer is it:
# "feature", "knowledge" or "structure"?

# %%
teach.check("00.1", ...)

# %% [markdown]
# **00.2** You have 40,000 phrases and 40,000 images, and not a single pair. Which bridge can you use: "render",
# "align" or "anchors"?

# %%
teach.check("00.2", ...)

# %% [markdown]
# **00.3** What is the shape of the matrix K for 500 images and 2,000 texts?

# %%
teach.check("00.3", ...)

# %% [markdown]
# **00.4** An interval goes from −0.012 to +0.051. Which word is the verdict: "helped", "no evidence" or "hurt"?

# %%
teach.check("00.4", ...)

# %% [markdown]
# ## Read next
#
# - S. J. Pan, Q. Yang, *A survey on transfer learning*, 2010: transfer within one modality.
# - A. Frome et al., *DeViSE: a deep visual-semantic embedding model*, 2013: an image encoder aligned to word vectors.
# - X. Zhai et al., *LiT: zero-shot transfer with locked-image text tuning*, 2022: a text encoder aligned to images.
# - K. Lu, A. Grover, P. Abbeel, I. Mordatch, *Pretrained transformers as universal computation engines*, 2021.
# - A. Norelli et al., *ASIF: coupled data turns unimodal models to multimodal without training*, 2022.
#
# {{ navigation }}
