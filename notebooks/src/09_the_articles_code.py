# %% [markdown]
# # 09 · The article's code, line by line
#
# Articles on cross-modal transfer tend to come with three short programs: a picture network with a new head, fed with
# text; a BERT that writes captions by beam search; weights loaded from a network of another kind. They read well.
# Here we take such programs seriously: what did each line mean, what happens when it runs today, and what would have
# to happen for the sentence above it to be true?
#
# The snippets are ours, written in the classic way, and small enough to run. Where one stops, you see its own error.
#
# **After this lesson you can**
# - tell a line that fails from a line that fails *silently*, which is worse;
# - name, for each of the three programs, the missing piece: a bridge, a decoder, a plan;
# - write the same thing so that it runs and can be checked.
#
# **Time to run:** under a minute on 2 CPU cores. **Needs:** nothing but tfxfer; no network. **Before:** lessons 02
# and 07 help.

# %%
from tfxfer import teach

teach.start("09")

# %%
import re
import tempfile
import warnings
from contextlib import contextmanager

import keras
import numpy as np

import tfxfer

folder = tempfile.mkdtemp()


@contextmanager
def tried():
    """Show how a piece of code ends: its error, or its warnings, or silence."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            yield
            ended = "No error."
        except Exception as error:
            ended = f"{type(error).__name__}: {error}"
    plain = re.sub(r"\x1b\[\d+m", "", ended).replace(folder, "…")
    print("\n".join(line[:120] for line in plain.splitlines() if line.strip())[:480])
    for warning in heard:
        if issubclass(warning.category, UserWarning):
            print("warning:", str(warning.message).splitlines()[0][:110], "…")


# %% [markdown]
# ## Program 1 · A picture network reads text
#
# > *Take a VGG16 trained on ImageNet, freeze it, flatten its output, put a dense layer of 512 and a softmax on top,
# > and train it on the text data.*
#
# ### The lines about the network
#
# They mean f(x) = W·φ(x) + b, with something wider for W. (We leave the ImageNet weights out: `weights="imagenet"`
# downloads. Everything below is the same with them.)

# %%
with tried():
    body = keras.applications.VGG16(weights=None, include_top=False, input_shape=(224, 224, 3))
    body.trainable = False
    layers = [body, keras.layers.Flatten(), keras.layers.Dense(512, activation="relu")]
    classic = keras.Sequential([*layers, keras.layers.Dense(10, activation="softmax")])
    classic.build((None, 224, 224, 3))

# %% [markdown]
# That runs. But look at what is to be learned. Flattening keeps each of 7 × 7 places apart, so the first dense layer
# has a weight for every feature at every place:

# %%
from tfxfer.teach.figures import lesson_09 as figures

LABELS = 10 * 20
classic_head = sum(int(np.prod(w.shape)) for w in classic.trainable_weights)
pooled = 512 * 512 + 512 + 512 * 10 + 10  # average over places, then the same two layers
linear = 512 * 10 + 10  # average over places, then W and b
figures.heads(
    {"Flatten, Dense 512, Dense": classic_head, "average, Dense 512, Dense": pooled, "average, W, b": linear}, LABELS
)

# %%
teach.say(f"""
The classic head has **{classic_head:,}** numbers to learn, {classic_head / LABELS:,.0f} for each of {LABELS} labels.
It can learn the training set by heart without φ having anything to do with it. That is why tfxfer averages over
places and fits W and b alone (`--head mlp` gives the middle one).
""")

# %% [markdown]
# ### The line about the text
#
# The text is turned into numbers of words, and these go into the network.

# %%
with tried():
    from keras.preprocessing.text import Tokenizer  # noqa: F401

# %% [markdown]
# Keras 3 has no such module any more. (`tf.keras` keeps a copy for old programs.) Say we have the word numbers from
# somewhere:

# %%
word_numbers = np.random.default_rng(0).integers(1, 1000, (4, 100))
with tried():
    classic.compile("adam", "sparse_categorical_crossentropy")
    classic.fit(word_numbers, np.zeros(4, "int32"), verbose=0)

# %% [markdown]
# Here the program ends, in every version there has ever been. A picture network takes pictures. Between “frozen VGG”
# and “the text data” there is a word missing: **bridge**. It could be `render` (draw the text) or `tokens` (learn an
# embedding that makes patches). With it, the same thought is a few lines:

# %%
from tfxfer.transfer.bridges.render import RenderText
from tfxfer.transfer.feature import attach, extract, extractor, linear_probe

phrases = tfxfer.load("languages/latin").with_labels(20).with_at_most(validation=300, test=300)
cnn = tfxfer.source("fresh:cnn", seed=0)  # random here, for speed; lesson 02 uses one that knows characters
phi = extractor(cnn, input_bridge=RenderText(height=32, width=224, font_size=24))
train, held_out = (extract(phi, phrases, split=split) for split in ("train", "validation"))
probe = linear_probe(train, train.labels, validation=(held_out, held_out.labels))
model = attach(phi, probe)
print(model(np.array(["Österreich"], object)).shape, "probabilities out of a raw string")

# %% [markdown]
# ## Program 2 · A BERT writes captions
#
# > *Extract features of the picture with a CNN, feed them to a BERT, and generate the caption with beam search:
# > `num_beams=4, max_length=50`.*
#
# ### The imports

# %%
with tried():
    from transformers import BertTokenizer, TFBertModel  # noqa: F401

# %% [markdown]
# Either the package is missing, or, in a recent one, its TensorFlow classes are. But imports can be mended. The next
# line cannot.
#
# ### Feeding pictures to a BERT
#
# A BERT takes numbers of word pieces. The CNN gives features. Nothing stops us from handing over the one as the
# other:

# %%
from tfxfer.models.bert import small_bert

keras.utils.set_random_seed(0)
bert = small_bert(vocabulary_size=1000)
T = 12
glyphs = tfxfer.load("glyphs").with_at_most(test=40).arrays("test")["image"]
pair = glyphs[[3, 11]]
features = np.array(extractor(cnn)(pair))  # [2, D]
features = features[:, np.abs(features[0] - features[1]).argsort()[-T:]]  # those in which the two differ most
features = np.abs(features) / np.abs(features).max() * 0.99  # as after a ReLU and a scaling to 0..1

with tried():
    inputs = {"segment_ids": np.zeros((2, T), "int32"), "padding_mask": np.ones((2, T), "int32")}
    read = np.array(bert({"token_ids": features, **inputs})["sequence_output"])

# %%
difference = float(np.abs(read[0] - read[1]).max())
figures.as_token_ids(pair, features, features.astype(int), difference)

# %%
teach.say(f"""
**No error, no warning, no picture.** An embedding looks up whole numbers, so every feature between 0 and 1 becomes
token 0, which is the padding. The two pictures are different; what the BERT makes of them differs by
{difference:.1g}. A captioner trained on this can still reach a fair score, by learning which captions are frequent.
Only a *blind* arm would find out (lesson 06).
""")

# %% [markdown]
# ### `generate`

# %%
with tried():
    bert.generate(np.zeros((1, 4)), num_beams=4, max_length=50)

# %% [markdown]
# And that is no accident. A BERT is an *encoder*: each word sees the words to its right, so it has never learned to
# say what comes next. Three things are missing: a causal mask, cross-attention to the picture, and a head over words.
# Making them is structure transfer (Rothe et al. 2020):

# %%
from tfxfer.transfer.structure import encoder_to_decoder

decoder_map = encoder_to_decoder(bert)
teach.say(f"{decoder_map.coverage:.0%} of the decoder's parameters come from the BERT. The rest, by its ledger:")
print(*[row.target.path for row in decoder_map.rows if row.target.path not in decoder_map.fed][:6], "…", sep="\n")

# %% [markdown]
# Beam search is then a function over any next-word scores. It keeps `num_beams` beginnings, goes on with each by
# every word, and keeps the best again. On a language of three words, by hand:

# %%
from tfxfer.generate import beam_search

teach.show(beam_search)

# %% [markdown]
# (Lesson 05 draws it step by step.)
#
# ## Program 3 · Weights out of a picture network into a text network
#
# > *Build the text model and load the picture model's weights into it.*

# %%


def image_model(names=("conv1", "conv2", "classes"), classes=10):
    """Return a small picture CNN; `names` are its layers'."""
    pictures = keras.Input((16, 16, 4))
    x = keras.layers.Conv2D(4, 3, name=names[0])(pictures)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3, name=names[1])(x))
    return keras.Model(pictures, keras.layers.Dense(classes, name=names[2])(x))


def text_model():
    """Return a small LSTM."""
    words = keras.Input((20,))
    x = keras.layers.LSTM(16, name="lstm")(keras.layers.Embedding(100, 8, name="words")(words))
    return keras.Model(words, keras.layers.Dense(10, name="classes")(x))


keras.utils.set_random_seed(0)
seen, spoken = image_model(), text_model()
seen.save_weights(f"{folder}/seen.weights.h5")
with tried():
    spoken.set_weights(seen.get_weights())

# %% [markdown]
# Honest: a kernel of a convolution is no embedding. So a search engine is asked, and suggests an option:

# %%
with tried():
    spoken.load_weights(f"{folder}/seen.weights.h5", by_name=True, skip_mismatch=True)

# %%
before = spoken.get_weights()
with tried():
    spoken.load_weights(f"{folder}/seen.weights.h5", skip_mismatch=True)

# %%
old_and_new = zip(spoken.weights, before, spoken.get_weights())
first = [
    (weight.path.replace("/lstm_cell", ""), "random" if np.array_equal(old, new) else "source")
    for weight, old, new in old_and_new
]
swapped = image_model(names=("conv2", "conv1", "classes"))
with tried():
    swapped.load_weights(f"{folder}/seen.weights.h5")
known = {weight.path: weight.numpy() for weight in seen.weights}
second = [
    (weight.path, "source" if np.array_equal(weight.numpy(), known[weight.path]) else "another layer")
    for weight in swapped.weights
    if "bias" not in weight.path  # biases are all zeros
]
moved = {"a CNN into an LSTM, skip_mismatch=True": first, "a CNN into a CNN with two layers' names exchanged": second}
figures.loaded(moved)

# %%
came = sum(origin == "source" for _, origin in first)
teach.say(f"""
The first load moved **{came} of {len(first)} tensors** and let the program go on. Its author reads “weights loaded”
and trains a random LSTM. The second load moved everything without a word, into the wrong layers: weights are matched
by place, not by name, and equal shapes hide it.
""")

# %% [markdown]
# What we do instead is to write the plan down first, and refuse what nobody has asked for (lesson 07):

# %%
from tfxfer.transfer.structure import plan

with tried():
    plan(seen, spoken).apply()

# %%
plan(seen, swapped).summary()

# %% [markdown]
# And when a picture network is to become a text network, somebody has to say *how*: windows over pixels become
# windows over words. That is a weight map with a name of its own.

# %%
from tfxfer.transfer.structure import image_cnn_to_text_cnn

teach.show(image_cnn_to_text_cnn, docstring=True)

# %% [markdown]
# ## What is left of the three programs
#
# | the article's line | what happens | the missing piece | here |
# |---|---|---|---|
# | frozen VGG, Flatten, Dense 512 | runs; learns by heart | a small head | `linear_probe` |
# | …fed with text | ValueError | a bridge | `RenderText`, `tokens` |
# | CNN features into a BERT | silence; every picture is padding | a bridge, a blind arm | `encoder_to_vision` |
# | `bert.generate(num_beams=4)` | AttributeError | a decoder | `encoder_to_decoder`, `beam_search` |
# | `load_weights(by_name, skip_mismatch)` | ValueError; or nothing is loaded | a plan | `plan(…).apply()` |
# | “improves results” | not shown | a control | `random`, `verdict` |
#
# ## Exercises
#
# **09.1** How many numbers has `Dense(512)` behind the `Flatten` of a 7 × 7 × 512 map, biases included?

# %%
teach.check("09.1", ...)

# %% [markdown]
# **09.2** Features between 0 and 1 go into a BERT as token ids. What happens to them: "error", "rounded to 0" or
# "scaled"?

# %%
teach.check("09.2", ...)

# %% [markdown]
# **09.3** Beam search with `num_beams=4` over a vocabulary of 1,000 words: how many continuations are compared at a
# step?

# %%
teach.check("09.3", ...)

# %% [markdown]
# **09.4** Two layers of equal shape have exchanged their names. `load_weights` from a `.weights.h5` matches by
# "name", by "place" or not at all ("stops")?

# %%
teach.check("09.4", ...)

# %% [markdown]
# ## Read next
#
# - S. Rothe, S. Narayan, A. Severyn, *Leveraging pre-trained checkpoints for sequence generation tasks*, 2020: how a
#   BERT becomes a decoder, and how little a warm decoder alone brings.
# - R. Mokady, A. Hertz, A. Bermano, *ClipCap: CLIP prefix for image captioning*, 2021: features that do enter a
#   language model.
# - F. Chollet, *Transfer learning & fine-tuning*, Keras developer guides, 2020.
# - Why our beam search and masks are our own: `docs/decisions/0007-own-masking.md`.
