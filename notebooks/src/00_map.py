# %% [markdown]
# # 00 · The map: moving knowledge between vision and language
#
# A network that reads has learned something about the world. So has a network that sees. Can what one of them knows
# be used by the other? And how would we know that it was *knowledge* that moved, and not just our good will?
#
# **After this lesson you can**
# - tell three kinds of transfer apart by their equations;
# - name four bridges between texts and pictures;
# - read a verdict, and say what it compares.
#
# **Time to run:** seconds. **Needs:** nothing but tfxfer; no network.

# %%
from tfxfer import teach

teach.start("00", tensorflow=False)

# %% [markdown]
# ## Three ways across
#
# Knowledge can sit in the numbers a network computes, in an agreement between two networks, or in its weights. Each
# has an equation, and each equation is a folder or file of tfxfer. Each way is open in both directions.

# %%
from tfxfer.teach.figures import lesson_00 as figures

figures.the_map()

# %% [markdown]
# | transfer | the letters | in tfxfer | lesson |
# |---|---|---|---|
# | feature | φ: a frozen piece of a source network. W, b: a linear head | `transfer/feature.py` | 02, 03 |
# | knowledge | f and g: an encoder for each side. h: an interaction of both | `transfer/knowledge/` | 04–06 |
# | structure | S: a source network. T: a weight map. M: the new network | `transfer/structure.py` | 07 |
#
# ### Feature: f(x) = W·φ(x) + b
#
# The equation is code. Here is φ(x) for three phrases as two made-up numbers each, and a head for two classes:

# %%
import numpy as np

phi_x = np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 1.0]])  # φ(x)  [B, D]
W, b = np.array([[1.0, -1.0], [-2.0, 2.0]]), np.array([0.5, 0.0])  # [D, C], [C]
print(phi_x @ W + b)  # f(x)  [B, C]; the greater number in a row wins

# %% [markdown]
# ### Knowledge: K = f(X)·g(Y) + h(X, Y)
#
# Encode pictures with f and texts with g so that what belongs together points the same way. All products at once are
# a matrix: row i says how well each text fits picture i. Finding the best text in a row is retrieval.

# %%
f_X = np.array([[1.0, 0.1], [0.1, 1.0], [0.7, 0.7]])  # three pictures
g_Y = np.array([[0.9, 0.0], [0.0, 0.9], [0.6, 0.7]])  # three texts
K = f_X @ g_Y.T  # h = 0 here
figures.matrix(K, ["picture of É", "picture of Б", "picture of ∞"], ["“e acute”", "“be”", "“infinity”"])

# %% [markdown]
# ### Structure: M = T(S)
#
# Take the tensors themselves. The smallest T there is: one unit of a layer is made two, and each gives half, so that
# nothing changes (lesson 07 does this to a whole network and proves it).

# %%
S_in, S_out = np.array([[2.0], [1.0]]), np.array([[3.0]])  # x [2] → one hidden unit → y
M_in, M_out = S_in[:, [0, 0]], S_out[[0, 0]] / 2  # M = T(S): the unit stands twice
x = np.array([[0.5, 4.0]])
print("S:", x @ S_in @ S_out, "  M:", x @ M_in @ M_out)

# %% [markdown]
# ## Four bridges
#
# A picture network takes pictures, a text network takes words. Before one can say anything about the other's data, it
# must get in.

# %%
figures.bridges()

# %% [markdown]
# - **render**: draw the text as pixels (Super Characters 2018, PIXEL and CLIPPO 2023).
# - **tokens**: word pieces or picture patches become tokens of a frozen body (Frozen Pretrained Transformers 2021).
# - **align**: one tower learns to meet the other, which is locked, from pairs (DeViSE 2013: pictures move to words; LiT
#   2022: texts move to pictures).
# - **anchors**: describe everything by how alike it is to known pairs (1.6 million in ASIF 2022; here hundreds).
#
# ## Arms, and a verdict
#
# Whatever crosses, the question is the same: would it have worked without what the source learned? So each experiment
# runs several *arms* under one budget.
#
# | arm | what it is | what it takes away |
# |---|---|---|
# | transfer | the method under study | |
# | random | the same, with weights that never learned anything | the knowledge |
# | scratch, finetune | everything trained, from fresh weights or from the source's | the frozen body |
# | native | the plain baseline of the target's own field | the detour |
# | shuffled, blind | pairs mixed up; the mean picture in place of every picture | the pairing; the sight |
# | majority | always the most frequent class | the input |
#
# The verdict is an interval for the difference of two arms. To see how it behaves, we make up three cases of 600 test
# examples and three seeds; nothing here was measured but the dice.

# %%
from tfxfer.evaluate import verdict

dice = np.random.default_rng(1)


def pretend(accuracy, seeds=3, examples=600):
    """Draw right and wrong answers of arms that are right this often."""
    return dice.random((seeds, examples)) < accuracy


made_up = {
    "58 % against 40 %": verdict(pretend(0.58), pretend(0.40)),
    "41 % against 40 %": verdict(pretend(0.41), pretend(0.40)),
    "30 % against 40 %": verdict(pretend(0.30), pretend(0.40)),
}
figures.verdict_words(made_up)

# %%
for told in made_up.values():
    print(told.sentence())

# %% [markdown]
# *No evidence* is not *no effect*: the interval says how large an effect could still hide in it. And here is the rule
# that turns an interval into a word, as it is in tfxfer:

# %%
import inspect

rule = [line.strip() for line in inspect.getsource(verdict).splitlines() if "word=" in line]
print(*rule)

# %% [markdown]
# ## Where to go
#
# **01** two modalities, one data set · **02** feature transfer · **03** why controls matter · **04** knowledge
# transfer I: retrieval · **05** knowledge transfer II: captions · **06** visual questions, and models that do not
# look · **07** structure transfer · **08** your own data · **09** the article's code, line by line.
#
# In a hurry? 02 and 03 are the heart of it.
#
# ## Exercises
#
# Put your answer in the place of the three dots and run the cell. It says whether you are right, or gives a hint.
#
# **00.1** A picture CNN is frozen; phrases are drawn for it and a linear head is fitted. Which transfer is it:
# "feature", "knowledge" or "structure"?

# %%
teach.check("00.1", ...)

# %% [markdown]
# **00.2** You have 40,000 phrases, 40,000 pictures, and not a single pair. Which of these bridges is open to you:
# "render", "align" or "anchors"?

# %%
teach.check("00.2", ...)

# %% [markdown]
# **00.3** For the matrix K above: what is the shape of K for 500 pictures and 2,000 texts?

# %%
teach.check("00.3", ...)

# %% [markdown]
# **00.4** An interval runs from −0.012 to +0.051. Which word?

# %%
teach.check("00.4", ...)

# %% [markdown]
# ## Read next
#
# - S. J. Pan, Q. Yang, *A survey on transfer learning*, 2010: the older map, within one modality.
# - A. Frome et al., *DeViSE: a deep visual-semantic embedding model*, 2013: pictures meet words.
# - X. Zhai et al., *LiT: zero-shot transfer with locked-image text tuning*, 2022.
# - K. Lu, A. Grover, P. Abbeel, I. Mordatch, *Pretrained transformers as universal computation engines*, 2021.
# - A. Norelli et al., *ASIF: coupled data turns unimodal models to multimodal without training*, 2022.
