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
import inspect
import re
import tempfile
import textwrap
import warnings
from contextlib import contextmanager

import keras
import numpy as np

import tfxfer

folder = tempfile.mkdtemp()


def first_lines(message):
    """Return up to six lines of a message, without colours and without the name of the folder."""
    plain = re.sub(r"\x1b\[\d+m", "", message).replace(folder, "…")
    return textwrap.fill(plain, 110, max_lines=6, placeholder=" …")


@contextmanager
def tried():
    """Show how a piece of code ends: its error, or its warnings, or silence. Gives the warnings."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            yield heard
            ended = "No error."
        except Exception as error:
            ended = f"{type(error).__name__}: {error}"
    heard[:] = [warning for warning in heard if issubclass(warning.category, UserWarning)]
    print(first_lines(ended))
    for warning in heard:
        print(first_lines(f"warning: {warning.message}"))


def asks_for(function):
    """Show what a function takes and returns, without its body."""
    signature, docstring, *_ = inspect.getsource(function).split('"""')
    teach.say(f'```python\n# {function.__module__}\n{signature}"""{docstring}"""\n```')


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
# That runs. But look at how much there is to learn. Flattening keeps the 7 × 7 places apart, so the first dense layer
# has a weight for every feature at every place. Suppose there are 10 classes with 20 labels each:

# %%
from tfxfer.teach.figures import lesson_09 as figures

CLASSES, LABELS, D = 10, 10 * 20, 512
sizes = {
    "Flatten, Dense 512, Dense": classic.count_params() - body.count_params(),
    "average, Dense 512, Dense": (D * 512 + 512) + (512 * CLASSES + CLASSES),
    "average, W, b": D * CLASSES + CLASSES,
}
figures.heads(sizes, LABELS)

# %%
each = [f"{size / LABELS:,.0f}" for size in sizes.values()]
teach.say(f"""
All three heads have more weights than there are labels: {each[0]}, {each[1]} and {each[2]} for each of {LABELS} labels.
Each can learn that many labels by heart, even from features that mean nothing, so a good score on the training set
says nothing of φ. Fewer weights alone do not prevent that; a price on large weights helps. tfxfer averages over
places, and its probe takes those W and b that make the loss plus (λ/2)·‖W‖² smallest. Held-out examples choose λ
(lesson 02). The classic head has no such price, and {sizes["Flatten, Dense 512, Dense"] / sizes["average, W, b"]:,.0f}
times the weights. (`--head mlp` trains the middle one.)
""")

# %% [markdown]
# ### The line about the text
#
# The text is turned into word numbers, and these go into the network.

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
# Here the program ends. A picture network takes pictures. Between “frozen VGG” and “the text data” a word is missing:
# **bridge**. It could be `render` (draw the text) or `tokens` (learn an embedding that makes patches). With a bridge,
# the same thought takes a few lines:

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
# Either the package is missing or, in a recent version, its TensorFlow classes are. Imports can be mended. The next
# line cannot.
#
# ### Feeding pictures to a BERT
#
# A BERT takes the numbers of word pieces, the token ids. The CNN gives features. Nothing stops us from passing off
# features as token ids. We scale them to lie between 0 and 1, as after a ReLU and a normalisation. That the largest
# stays just below 1 is our choice: a feature of exactly 1 would become another token.

# %%
from tfxfer.models.bert import small_bert

keras.utils.set_random_seed(0)
bert = small_bert(vocabulary_size=1000)
T = 12
glyphs = tfxfer.load("glyphs").with_at_most(test=40).arrays("test")["image"]
pair = glyphs[[3, 11]]
features = np.array(extractor(cnn)(pair))  # [2, D]
features = features[:, np.abs(features[0] - features[1]).argsort()[-T:]]  # those in which the two differ most
features = np.abs(features) / np.abs(features).max() * 0.99

with tried():
    inputs = {"segment_ids": np.zeros((2, T), "int32"), "padding_mask": np.ones((2, T), "int32")}
    read = np.array(bert({"token_ids": features, **inputs})["sequence_output"])

# %%
difference = float(np.abs(read[0] - read[1]).max())
figures.as_token_ids(pair, features, features.astype(int), difference)

# %%
same = "is exactly the same" if difference == 0 else f"differs by at most {difference:.1g}"
teach.say(f"""
**No error, no warning, no picture.** An embedding looks up whole numbers and cuts off the rest, so every feature
below 1 becomes token 0, which is the padding. The two pictures differ; what the BERT makes of them {same}.
A captioner trained on this can still get a fair score: it learns which captions are frequent. A *blind* arm would find
out (lesson 05), and so would asking with another picture (lesson 06).
""")

# %% [markdown]
# ### `generate`

# %%
with tried():
    bert.generate(np.zeros((1, 4)), num_beams=4, max_length=50)

# %% [markdown]
# That is no accident. A BERT is an *encoder*: each word sees the words to its right, so it has never learned to say
# what comes next. Three things are missing: a causal mask, cross-attention to the picture, and a head over words.
# Adding them is structure transfer (Rothe et al. 2020):

# %%
from tfxfer.transfer.structure import encoder_to_decoder

decoder_map = encoder_to_decoder(bert)
teach.say(f"{decoder_map.coverage:.0%} of the decoder's parameters come from the BERT. The rest, by its ledger:")
print(*[row.target.path for row in decoder_map.rows if row.target.path not in decoder_map.fed][:6], "…", sep="\n")

# %% [markdown]
# Beam search is then a function of whatever scores the next word. It keeps `num_beams` beginnings, extends each by
# every word, and keeps the best again. Lesson 05 does it by hand on a few words. Here is what tfxfer asks for; `step`
# is a function that takes the last words and returns the logits of the next ones:

# %%
from tfxfer.generate import beam_search

asks_for(beam_search)

# %% [markdown]
# ## Program 3 · Weights out of a picture network into a text network
#
# > *Build the text model and load the picture model's weights into it.*

# %%


def image_model(names=("conv1", "conv2", "classes"), classes=10):
    """Return a small picture CNN; `names` are its layers'."""
    drawn = {"bias_initializer": "random_normal"}  # no two tensors are alike, so each shows where it came from
    pictures = keras.Input((16, 16, 4))
    x = keras.layers.Conv2D(4, 3, name=names[0], **drawn)(pictures)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3, name=names[1], **drawn)(x))
    return keras.Model(pictures, keras.layers.Dense(classes, name=names[2], **drawn)(x))


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
# A good error: it stops, and says why. A convolution's kernel is no embedding. A search on the web then suggests two
# options:

# %%
with tried():
    spoken.load_weights(f"{folder}/seen.weights.h5", by_name=True, skip_mismatch=True)

# %% [markdown]
# `by_name` is for files of an older kind. Without it:

# %%
before = spoken.get_weights()
with tried() as warned:
    spoken.load_weights(f"{folder}/seen.weights.h5", skip_mismatch=True)

# %% [markdown]
# Now the same file goes into a picture network. Its two convolutions are called “conv2” and “conv1”, in this order:

# %%
swapped = image_model(names=("conv2", "conv1", "classes"))
with tried() as also_warned:
    swapped.load_weights(f"{folder}/seen.weights.h5")

# %%
first = [
    (weight.path.replace("/lstm_cell", ""), "random" if np.array_equal(old, new) else "source")
    for weight, old, new in zip(spoken.weights, before, spoken.get_weights())
]
known = {weight.path: weight.numpy() for weight in seen.weights}
came_from = {
    weight.path: next(path for path, values in known.items() if np.array_equal(values, weight.numpy()))
    for weight in swapped.weights
}
second = [(path, "source" if path == origin else "another layer") for path, origin in came_from.items()]
figures.loaded({"a CNN into an LSTM, skip_mismatch=True": first, "a CNN into a CNN, two names exchanged": second})

# %%
came = sum(origin == "source" for _, origin in first)
state = "still random in part" if came else "as random as before"
layers_from = {path.split("/")[0]: origin.split("/")[0] for path, origin in came_from.items()}
where = ", ".join(f"{origin} into {layer}" for layer, origin in layers_from.items())
if layers_from == {"conv2": "conv1", "conv1": "conv2", "classes": "classes"}:
    where = "`classes` into `classes`, and the two convolutions into each other's place"
teach.say(f"""
The first load moved **{came} of {len(first)} tensors**, warned {len(warned)} times, and went on. Whoever overlooks the
warnings trains an LSTM that is {state}. The second load moved all {len(second)} tensors with
**{len(also_warned) or "no"} warnings**: {where}. The file numbers layers by kind and order, not by name, and equal
shapes hide a mix-up.
""")

# %% [markdown]
# tfxfer writes the plan down first, and refuses what nobody has asked for (lesson 07):

# %%
from tfxfer.transfer.structure import plan

with tried():
    plan(seen, spoken).apply()

# %%
plan(seen, swapped).summary()

# %% [markdown]
# When a picture network is to become a text network, somebody has to say *how*: windows over pixels become windows
# over characters or words. That is a weight map with a name of its own.

# %%
from tfxfer.transfer.structure import image_cnn_to_text_cnn

asks_for(image_cnn_to_text_cnn)

# %% [markdown]
# ## What is left of the three programs
#
# | the article's line | what happens | the missing piece | here |
# |---|---|---|---|
# | frozen VGG, Flatten, Dense 512 | runs; far more to learn than labels | a price on weights | `linear_probe` |
# | …fed with text | ValueError | a bridge | `RenderText`, `tokens` |
# | CNN features into a BERT | silence; every picture is padding | a bridge, a blind arm | `encoder_to_vision` |
# | `bert.generate(num_beams=4)` | AttributeError | a decoder | `encoder_to_decoder`, `beam_search` |
# | `load_weights(by_name=True)` | ValueError | a plan | `plan(…).apply()` |
# | `load_weights(skip_mismatch=True)` | a warning, and that layer stays as it was | a plan | `plan(…).apply()` |
# | “improves results” | not shown | a control | `random`, `verdict` |
#
# ## Exercises
#
# **09.1** How many numbers has `Dense(512)` behind the `Flatten` of a 7 × 7 × 512 map, biases included?

# %%
teach.check("09.1", ...)

# %% [markdown]
# **09.2** Features between 0 and 0.99 go into a BERT as token ids. What happens to them: "error", "cut to 0" or
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
