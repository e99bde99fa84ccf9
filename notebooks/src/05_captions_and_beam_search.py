# %% [markdown]
# # 05 · Knowledge transfer II: a BERT learns to say what it sees
#
# A BERT has read much and can write nothing: it fills gaps. To write a caption it must be turned round, given eyes,
# and given a way to choose its words. This lesson does the three things one after the other.
#
# **After this lesson you can**
# - say what a decoder has that a BERT lacks, and read in a ledger what was carried over;
# - do a beam search by hand, and show a case in which the greedy choice misses the best sentence;
# - train a small captioner, and find out whether it looks.
#
# **Time to run:** under three minutes on 2 CPU cores. **Needs:** nothing but tfxfer; no network. **Before:** lesson
# 04. Lesson 07 explains the ledger that is drawn here.

# %%
from tfxfer import teach

teach.start("05")

# %% [markdown]
# ## The equation
#
# $$K_t(y) = f(X) \cdot g(y) + h(X, y_{<t}, y) \qquad \log p(Y \mid X) = \sum_t \log \frac{e^{K_t(y_t)}}{\sum_y
# e^{K_t(y)}}$$
#
# In lesson 04, K compared a picture and a text as wholes. Now there is a K for every place t of a caption and every
# word y that may stand there: f·g says how well the word fits the picture, h how well it fits picture *and* the words
# so far. A softmax makes probabilities of them. Whoever can say how likely the next word is can also write.
#
# ## 1 · Turned round: from encoder to decoder
#
# In a BERT every word sees every other. A writer must not see what is not yet written. So the decoder gets a *causal
# mask*:

# %%
from tfxfer.teach.figures import lesson_05 as figures

figures.who_sees_whom(["latin", "small", "letter", "e", "with", "acute"])

# %% [markdown]
# Three changes make a decoder out of a BERT (Rothe et al. 2020): the mask, cross-attention to the picture, and a head
# over words that shares the word embeddings. Everything else is carried over. First a BERT that has read something:

# %%
import tempfile

import keras
import numpy as np
import tensorflow as tf

import tfxfer
from tfxfer.models.bert import masked_lm
from tfxfer.models.bert import learn_word_pieces as learn_pieces
from tfxfer.models.tokenizer import WordPieceTokenizer

BATCH = 128
names = tfxfer.load("names").texts("train")[: teach.size(8_000, 256)]
pieces = learn_pieces(names, 2000, f"{tempfile.mkdtemp()}/vocabulary.txt")
words = WordPieceTokenizer(pieces)
bert = tfxfer.source("fresh:bert", num_classes=len(pieces), seed=0)
bert.get_layer("pooled_dense").trainable = False  # takes no part in guessing words
reading, mask = masked_lm(bert, pieces, sequence_length=24)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
reading.compile(keras.optimizers.Adam(1e-3), loss, weighted_metrics=["accuracy"])


def hide(texts, seed):
    """Return batches of texts with some of their pieces hidden, the same ones for the same seed."""
    batches = tf.data.Dataset.from_tensor_slices(texts).batch(BATCH, drop_remainder=True).enumerate()
    return batches.map(lambda i, some: mask(some, [seed, i]))


reading.fit(hide(names, seed=0), epochs=1, shuffle=False, verbose=0)
unread = hide(tfxfer.load("names").texts("test")[:1024], seed=1)
guessed = reading.evaluate(unread, verbose=0, return_dict=True)["accuracy"]
hidden = np.concatenate([piece[weight > 0] for _, piece, weight in unread.as_numpy_iterator()])
always = np.bincount(hidden).max() / len(hidden)
teach.say(f"""
It has read {len(names):,} names, and guesses **{guessed:.0%}** of the pieces hidden in names that it has not read.
Always saying the commonest piece would be right in {always:.0%}.
""")

# %%
from tfxfer.report.figures import ribbons
from tfxfer.transfer.knowledge import caption_model
from tfxfer.transfer.structure.weight_map.ledger import flows

SIDE, CHANNELS = 4, 128  # what the picture encoder will give: 4 x 4 places of 128 numbers
_, weight_map = caption_model((SIDE, SIDE, CHANNELS), reading, evidence=True)
drawn = flows(weight_map)
ribbons(drawn["flows"], drawn["unread"], weight_map.titles)

# %%
teach.say(f"""
{weight_map.coverage:.0%} of the decoder comes from the BERT. Fresh is only cross-attention, the part that looks; it
has to be learned from pairs. `evidence=True` sets f(X)·g(y) beside h, a plain way of looking; we come to it in part 4.
""")

# %% [markdown]
# ## 2 · Choosing words: beam search by hand
#
# A model gives a probability for each next word. Taking the likeliest each time (*greedy*) can walk into a dead end.
# A beam keeps the K best beginnings instead. A language of a few words is enough to see it:

# %%
LANGUAGE = {  # last word → next word: probability
    "": {"the": 0.55, "a": 0.45},
    "the": {"cat": 0.40, "dog": 0.35, "bird": 0.25},
    "a": {"cat": 0.90, "dog": 0.10},
    "cat": {"sleeps": 0.60, "sings": 0.40},
    "dog": {"sleeps": 0.50, "sings": 0.50},
    "bird": {"sleeps": 0.10, "sings": 0.90},
}


def search(beams, steps=3):
    """Return the best sentence that a beam of so many hypotheses finds, and all that it tried."""
    kept, levels = [("", 1.0)], []
    for _ in range(steps):
        tried = [
            (f"{text} {word}".strip(), text, probability * p)
            for text, probability in kept
            for word, p in LANGUAGE[text.split()[-1] if text else ""].items()
        ]
        best = sorted(tried, key=lambda one: -one[2])[:beams]
        levels.append([(*one, one in best) for one in tried])
        kept = [(text, probability) for text, _, probability in best]
    return kept[0], levels


greedy, tree = search(beams=1)
figures.beam(tree, f"one hypothesis (greedy): “{greedy[0]}”")

# %%
best, tree = search(beams=2)
figures.beam(tree, f"two hypotheses: “{best[0]}”")

# %%
teach.say(f"""
Greedy takes “{greedy[0].split()[0]}”, because it is the likelier first word, and ends with probability
{greedy[1]:.3f}. The beam keeps “{best[0].split()[0]}” alive for one more step, and finds a sentence of probability
**{best[1]:.3f}**.
""")

# %% [markdown]
# tfxfer's beam search does the same on tensors, for many pictures at once, and keeps finished sentences apart. It
# wants to know nothing but a *step*: last words in, logits of next words out. Our language as a step:

# %%
from tfxfer.generate import Search, beam_search

vocabulary = ["<pad>", "<begin>", "<end>", "the", "a", "cat", "dog", "bird", "sleeps", "sings"]
table = np.full((len(vocabulary), len(vocabulary)), -1e9, np.float32)
for before, after in LANGUAGE.items():
    for word, p in after.items():
        table[vocabulary.index(before or "<begin>"), vocabulary.index(word)] = np.log(p)
for last in ("sleeps", "sings"):
    table[vocabulary.index(last), vocabulary.index("<end>")] = 0.0


def step(tokens, position, cache):
    """Return the logits of the next words [B, K, V]; this language needs no memory but the last word."""
    return tf.gather(tf.constant(table), tokens), cache


for beams in (1, 2):
    wanted = Search(start_id=1, end_id=2, num_beams=beams, max_length=6, length_penalty=0.0)
    found = beam_search(step, tf.zeros([1, 1]), 1, wanted)
    sentence = " ".join(vocabulary[i] for i in found.tokens.numpy()[0, 0] if i > 2)
    probability = float(np.exp(found.scores.numpy()[0, 0]))
    print(f"K = {beams}: {sentence}, {probability:.3f}")
    assert sentence == search(beams)[0][0]

# %% [markdown]
# `length_penalty` is 0 here, so that scores are plain sums of log-probabilities. Every further word makes a sum
# smaller; dividing by the length (penalty 1) takes that disadvantage from long captions.
#
# ## 3 · Eyes: pictures with captions
#
# The picture encoder is the CNN of lesson 04, up to its last map, averaged to 4 × 4 places. Captions are the names of
# characters.

# %%
from tfxfer.fit import cosine

glyphs = tfxfer.load("glyphs")
EXAMPLES = teach.size(24_000, 512)
cnn = tfxfer.source("fresh:cnn", num_classes=len(glyphs.class_names), seed=0)
cnn.compile(keras.optimizers.Adam(), "sparse_categorical_crossentropy")
for number in range(2):
    cnn.optimizer.learning_rate = cosine(1e-2, 2)(number)
    batches = glyphs.batches("train", BATCH, keys=["image", "label"], shuffle_seed=number).take(EXAMPLES // BATCH)
    cnn.fit(batches.map(lambda row: (row["image"], row["label"])), shuffle=False, verbose=0)
few = glyphs.with_at_most(train=teach.size(1_200, 32), test=teach.size(150, 12))
pictures = {split: few.arrays(split)["image"] for split in ("train", "test")}
captions = {split: [text.lower() for text in few.texts(split, "caption")] for split in ("train", "test")}
print(pictures["train"].shape, captions["train"][:2])

# %% [markdown]
# ## 4 · Teach, twice
#
# `Captioner` puts encoder and reader together. We teach two, from the same start, with the same steps. One sees the
# pictures. The *blind* one sees the mean picture each time. Whatever the blind one gets right, nobody had to look for
# it.
#
# Cross-attention learns slowly what to look for; a decoder that knows its language earns most of its reward without. So
# f(X)·g(y) helps: g is the table of words that the BERT came with, f a linear map of the picture's mean feature, and
# every word's logit is f·g + h. With g given, f has one best value, and is fitted before the first step.

# %%
import warnings
from collections import Counter

from tfxfer.evaluate import captions as caption_scores
from tfxfer.evaluate import verdict
from tfxfer.transfer.knowledge import Captioner
from tfxfer.transfer.knowledge.image_word_logits import ImageWordLogits

teach.show(ImageWordLogits.call)

# %%
UPDATES, LENGTH = teach.size(150, 2), 16
mean = pictures["train"].mean(0, keepdims=True)
cut = words.encode(captions["train"], LENGTH)[1]
print(f"{cut} of {len(captions['train']):,} names have more than {LENGTH} tokens; only their beginning is learned.")
warnings.filterwarnings("ignore", message=".*captions are longer")  # said above, once


def taught(shown):
    """Return what a captioner says of the test pictures that it is shown, after it has learned from the others."""
    captioner = Captioner(cnn, reading, words, (32, 32, 1), places=SIDE)
    captioner.fit(shown["train"], captions["train"], steps=UPDATES, batch_size=32, length=LENGTH, jit=False)
    return [texts[0] for texts in captioner.tell(shown["test"], num_beams=4, max_length=LENGTH).texts]


blind = {split: np.repeat(mean, len(images), 0) for split, images in pictures.items()}
said = {"seeing": taught(pictures), "blind": taught(blind)}

# %%
truth = [[text] for text in captions["test"]]
judged = {arm: caption_scores(texts, truth, per_caption=True) for arm, texts in said.items()}
count = min(8, len(captions["test"]) // 2 * 2)
figures.captions(pictures["test"][:count], said["seeing"][:count], said["blind"][:count], captions["test"][:count])

# %%
eyes = verdict(
    judged["seeing"]["per_caption"]["token_f1"],
    judged["blind"]["per_caption"]["token_f1"],
    names=("seeing the picture", "the blind captioner"),
)
teach.say(f"""
Words shared with the true name (token F1): **{judged["seeing"]["token_f1"]:.2f}** with eyes,
{judged["blind"]["token_f1"]:.2f} without. CIDEr-D, which weighs rare words, says {judged["seeing"]["cider_d"]:.2f}
against {judged["blind"]["cider_d"]:.2f}.

> {eyes.sentence("token F1")}

Of its {len(said["blind"])} captions the blind one says
{Counter(said["blind"]).most_common(1)[0][1]} times “{Counter(said["blind"]).most_common(1)[0][0]}”. What that earns
depends on how many true captions resemble it. Where half of all photographs show a dog that runs, such a captioner
looks respectable. So a captioner is judged by the distance between the two, never by the first number.
""")

# %% [markdown]
# Whether *having read* helped is another question, with another arm: `python -m tfxfer.train knowledge` runs fresh
# weights, shuffled captions and the nearest neighbour's caption beside these.
#
# ## Exercises
#
# **05.1** In a decoder, how many words may the third word look at, itself among them?

# %%
teach.check("05.1", ...)

# %% [markdown]
# **05.2** In our language: what is the probability of “the bird sings”?

# %%
teach.check("05.2", ...)

# %% [markdown]
# **05.3** Write `kept_of(probabilities, K)`: for an array of probabilities of hypotheses, the places of the K best, the
# best first.


# %%
def kept_of(probabilities, K):
    return probabilities  # not yet


teach.check("05.3", ...)  # put kept_of here

# %% [markdown]
# **05.4** A captioner scores 0.41, its blind twin 0.40; the difference has the interval 0.00 to +0.02. What did the
# pictures give: "much", "little" or "cannot say"?

# %%
teach.check("05.4", ...)

# %% [markdown]
# ## Read next
#
# - S. Rothe, S. Narayan, A. Severyn, *Leveraging pre-trained checkpoints for sequence generation tasks*, 2020.
# - R. Mokady, A. Hertz, A. Bermano, *ClipCap: CLIP prefix for image captioning*, 2021.
# - R. Vedantam, C. L. Zitnick, D. Parikh, *CIDEr: consensus-based image description evaluation*, 2015.
# - A. Holtzman, J. Buys, L. Du, M. Forbes, Y. Choi, *The curious case of neural text degeneration*, 2020: where beam
#   search fails.
