# %% [markdown]
# # 09 · Three programs of an article, line by line
#
# {{ header }}
#
# Articles about cross-modal transfer often contain three short programs: an image network with a new head, trained on
# text; a BERT that writes captions by beam search; weights of one network loaded into a network of another kind. They
# are easy to read. In this lesson we run such programs. What does each line mean, what happens today, and what is
# missing for the claim to be true?
#
# The programs below are ours, in the classic style, and small. Where a program stops, you see its own error message.
#
# **After this lesson you can**
# - tell a line that fails from a line that fails *silently*, which is worse;
# - name for each of the three programs what is missing: a bridge, a decoder, a plan;
# - write the same thing so that it runs and can be verified.
#
# **Time to run:** under a minute on 2 CPU cores. **Needs:** nothing but tfxfer; no network. **Before:** lessons 02
# and 07.

# %%
from tfxfer import teach

teach.start("09")

# %%
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
    """Return up to six lines of a message, without colours and the folder's name."""
    plain = re.sub(r"\x1b\[\d+m", "", message).replace(folder, "…")
    return textwrap.fill(plain, 100, max_lines=6, placeholder=" …")


@contextmanager
def attempt():
    """Print how a piece of code ends: its error, its warnings, or neither."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield caught
            result = "No error."
        except Exception as error:
            result = f"{type(error).__name__}: {error}"
    caught[:] = [one for one in caught if issubclass(one.category, UserWarning)]
    print(first_lines(result))
    for warning in caught:
        print(first_lines(f"warning: {warning.message}"))


# %% [markdown]
# ## Program 1 · An image network for text
#
# > *Take a VGG16 trained on ImageNet, freeze it, flatten its output, put a dense layer of 512 and a softmax on top,
# > and train it on the text data.*
#
# ### The lines about the network
#
# They mean f(x) = W·φ(x) + b, with a larger head than W and b. (We leave out `weights="imagenet"`, which would need a
# download. The rest is the same with it.)

# %%
with attempt():
    body = keras.applications.VGG16(
        weights=None, include_top=False, input_shape=(224, 224, 3)
    )
    body.trainable = False
    flatten = keras.layers.Flatten()
    hidden = keras.layers.Dense(512, activation="relu")
    softmax = keras.layers.Dense(10, activation="softmax")
    classic = keras.Sequential([body, flatten, hidden, softmax])
    classic.build((None, 224, 224, 3))

# %% [markdown]
# These lines run. But the head is large. `Flatten` keeps the 7 × 7 positions, so the dense layer has a weight for every
# feature at every position. Suppose there are 10 classes with 20 labels each:

# %%
from tfxfer.teach.figures import lesson_09 as figures

CLASSES, LABELS, D = 10, 10 * 20, 512
sizes = {
    "Flatten, Dense 512, Dense": classic.count_params() - body.count_params(),
    "average, Dense 512, Dense": (D * 512 + 512) + (512 * CLASSES + CLASSES),
    "average, W, b": D * CLASSES + CLASSES,
}
figures.head_sizes(sizes, LABELS)

# %%
a, b, c = (f"{size / LABELS:,.0f}" for size in sizes.values())
ratio = sizes["Flatten, Dense 512, Dense"] / sizes["average, W, b"]
teach.say(f"""
All three heads have more parameters than there are labels: {a}, {b} and {c} for each of
{LABELS} labels. Each of them can memorise the training set, even on features without
any information. So the training accuracy shows nothing about φ. Fewer parameters alone
do not prevent this; an L2 penalty helps. In tfxfer, features are averaged over
positions, and `linear_probe` minimises the loss plus (λ/2)·‖W‖². Held-out examples
choose λ (lesson 02). The classic head has no such penalty, and {ratio:,.0f} times as
many parameters. (`--head mlp` trains the second one.)
""")

# %% [markdown]
# ### The line about the text
#
# The text is converted to token ids, and these are the input of the network.

# %%
with attempt():
    from keras.preprocessing.text import Tokenizer  # noqa: F401

# %% [markdown]
# Keras 3 does not have this module any more. (`tf.keras` keeps a copy for old programs.) Suppose we have token ids from
# another tokenizer:

# %%
token_ids = np.random.default_rng(0).integers(1, 1000, (4, 100))
with attempt():
    classic.compile("adam", "sparse_categorical_crossentropy")
    classic.fit(token_ids, np.zeros(4, "int32"), verbose=0)

# %% [markdown]
# Here the program ends. An image network takes images. What is missing between “frozen VGG” and “text data” is a
# **bridge**. It can be `render` (draw the text) or `tokens` (a trained embedding that makes patches). With a bridge,
# the same idea is a few lines:

# %%
from tfxfer.transfer.bridges.render import RenderText
from tfxfer.transfer.feature import attach, extract, extractor, linear_probe

phrases = tfxfer.load("languages/latin").with_labels(20)
phrases = phrases.with_at_most(validation=300, test=300)
cnn = tfxfer.source("fresh:cnn", seed=0)  # random weights, to be quick; see lesson 02
bridge = RenderText(height=32, width=224, font_size=24)
phi = extractor(cnn, input_bridge=bridge)
train, held_out = (extract(phi, phrases, split=s) for s in ("train", "validation"))
probe = linear_probe(train, train.labels, validation=(held_out, held_out.labels))
model = attach(phi, probe)
probabilities = model(np.array(["Österreich"], object))
print("probabilities of a raw string:", probabilities.shape)

# %% [markdown]
# ## Program 2 · A BERT that writes captions
#
# > *Extract features of the image with a CNN, feed them to a BERT, and generate the caption with beam search:
# > `num_beams=4, max_length=50`.*
#
# ### The imports

# %%
with attempt():
    from transformers import BertTokenizer, TFBertModel  # noqa: F401

# %% [markdown]
# Either the package is not installed, or it is a recent version without classes for TensorFlow. An import can be
# replaced. The next line is a deeper problem.
#
# ### Image features as the input of a BERT
#
# A BERT takes token ids, which are whole numbers. The CNN gives features, which are not. Nothing prevents us from
# giving features in place of token ids. We scale them to the range from 0 to 1, as after a ReLU and a normalisation.
# That the largest is just below 1 is our choice: a feature of exactly 1 would be another token.

# %%
from tfxfer.models.bert import small_bert

keras.utils.set_random_seed(0)
bert = small_bert(vocabulary_size=1000)
T = 12
glyphs = tfxfer.load("glyphs").with_at_most(test=40).arrays("test")["image"]
pair = glyphs[[3, 11]]
features = np.array(extractor(cnn)(pair))  # [2, D]
different = np.abs(features[0] - features[1]).argsort()[-T:]
features = np.abs(features[:, different])  # the T features that differ most  [2, T]
features = features / features.max() * 0.99

with attempt():
    segments, mask = np.zeros((2, T), "int32"), np.ones((2, T), "int32")
    inputs = {"token_ids": features, "segment_ids": segments, "padding_mask": mask}
    output = np.array(bert(inputs)["sequence_output"])

# %%
difference = float(np.abs(output[0] - output[1]).max())
figures.features_as_token_ids(pair, features, features.astype(int), difference)

# %%
same = "exactly the same" if difference == 0 else f"equal up to {difference:.1g}"
teach.say(f"""
**No error, no warning, and no image.** An embedding converts its input to whole
numbers, so every feature below 1 becomes token 0, which is the padding token. The two
images differ, and the outputs of the BERT are {same}. A captioner that is trained on
this can still have a fair score, because it learns which captions are frequent. A
*blind* arm shows it (lesson 05), and so does an image ablation (lesson 06).
""")

# %% [markdown]
# ### `generate`

# %%
with attempt():
    bert.generate(np.zeros((1, 4)), num_beams=4, max_length=50)

# %% [markdown]
# A BERT is an *encoder*: each word attends to the words after it, so it was never trained to predict the next word.
# Three things are missing: a causal mask, cross-attention to the image, and an output layer over the vocabulary. Adding
# them is structure transfer (Rothe et al. 2020):

# %%
from tfxfer.transfer.structure import encoder_to_decoder

decoder_map = encoder_to_decoder(bert)
teach.say(f"""
{decoder_map.coverage:.0%} of the decoder's parameters come from the BERT. These are the
first of the other tensors:
""")
paths = [row.target.path for row in decoder_map.rows]
print(*[path for path in paths if path not in decoder_map.fed][:6], "…", sep="\n")

# %% [markdown]
# Beam search needs nothing but the logits of the next word. It keeps `num_beams` hypotheses, extends each of them by
# every word, and keeps the best again. Lesson 05 does it by hand for a few words. This is the function of tfxfer;
# `step` takes the last tokens and returns the logits of the next ones:

# %%
from tfxfer.generate import beam_search

teach.show_signature(beam_search)

# %% [markdown]
# ## Program 3 · Weights of an image network in a text network
#
# > *Build the text model and load the image model's weights into it.*

# %%


def image_model(names=("conv1", "conv2", "classes"), classes=10):
    """Return a small CNN; `names` are those of its layers."""
    # random biases, so that no two tensors are equal and each shows its origin
    random = {"bias_initializer": "random_normal"}
    images = keras.Input((16, 16, 4))
    x = keras.layers.Conv2D(4, 3, name=names[0], **random)(images)
    x = keras.layers.Conv2D(4, 3, name=names[1], **random)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, keras.layers.Dense(classes, name=names[2], **random)(x))


def text_model():
    """Return a small LSTM."""
    token_ids = keras.Input((20,))
    x = keras.layers.Embedding(100, 8, name="words")(token_ids)
    x = keras.layers.LSTM(16, name="lstm")(x)
    return keras.Model(token_ids, keras.layers.Dense(10, name="classes")(x))


keras.utils.set_random_seed(0)
image_network, text_network = image_model(), text_model()
file = f"{folder}/image.weights.h5"
image_network.save_weights(file)
with attempt():
    text_network.set_weights(image_network.get_weights())

# %% [markdown]
# This is a good error: the program stops and names the reason. The kernel of a convolution is no embedding. A web
# search then suggests two options:

# %%
with attempt():
    text_network.load_weights(file, by_name=True, skip_mismatch=True)

# %% [markdown]
# `by_name` is for files in an older format. Without it:

# %%
before = text_network.get_weights()
with attempt() as warned:
    text_network.load_weights(file, skip_mismatch=True)

# %% [markdown]
# Now the same file is loaded into an image network. Its two convolutions have the names “conv2” and “conv1”, in this
# order:

# %%
swapped = image_model(names=("conv2", "conv1", "classes"))
with attempt() as also_warned:
    swapped.load_weights(file)

# %%
first = [
    (
        weight.path.replace("/lstm_cell", ""),
        "random" if np.array_equal(old, new) else "source",
    )
    for weight, old, new in zip(
        text_network.weights, before, text_network.get_weights()
    )
]
known = {weight.path: weight.numpy() for weight in image_network.weights}
origins = {
    weight.path: next(p for p, value in known.items() if np.array_equal(value, weight))
    for weight in swapped.weights
}
second = [
    (path, "source" if path == origin else "another layer")
    for path, origin in origins.items()
]
figures.loaded_tensors(
    {
        "a CNN into an LSTM, skip_mismatch=True": first,
        "a CNN into a CNN, two names exchanged": second,
    }
)

# %%
loaded = sum(origin == "source" for _, origin in first)
state = "partly random" if loaded else "as random as before"
layers = {path.split("/")[0]: one.split("/")[0] for path, one in origins.items()}
where = ", ".join(f"`{origin}` into `{layer}`" for layer, origin in layers.items())
count = f"{len(also_warned)} warnings" if also_warned else "no warning"
teach.say(f"""
The first call loaded **{loaded} of {len(first)} tensors**, gave {len(warned)} warnings,
and went on. If the warnings are overlooked, the LSTM that is trained next is {state}.
The second call loaded all {len(second)} tensors with **{count}**: {where}. The file
stores layers by their kind and order, not by name, and equal shapes hide the exchange.
""")

# %% [markdown]
# A weight map writes the plan first, and refuses what nobody has allowed (lesson 07):

# %%
from tfxfer.transfer.structure import plan

with attempt():
    plan(image_network, text_network).apply()

# %%
plan(image_network, swapped).summary()

# %% [markdown]
# To make a text network from an image network, someone has to define *how*: windows over pixels become windows over
# characters or words. This is a transform with a name:

# %%
from tfxfer.transfer.structure import image_cnn_to_text_cnn

teach.show_signature(image_cnn_to_text_cnn)

# %% [markdown]
# ## What the three programs need
#
# | line of the article | what happens | what is missing | in tfxfer |
# |---|---|---|---|
# | frozen VGG, Flatten, Dense 512 | it runs, with far more parameters than labels | an L2 penalty | `linear_probe` |
# | trained on text | ValueError | a bridge | `RenderText`, `tokens` |
# | CNN features into a BERT | no message; every image is padding | a bridge, a blind arm | `encoder_to_vision` |
# | `bert.generate(num_beams=4)` | AttributeError | a decoder | `encoder_to_decoder`, `beam_search` |
# | `load_weights(by_name=True)` | ValueError | a plan | `plan(…).apply()` |
# | `load_weights(skip_mismatch=True)` | a warning, and that layer keeps its weights | a plan | `plan(…).apply()` |
# | “improves results” | not shown | a control | `random`, `verdict` |
#
# ## Exercises
#
# **09.1** How many parameters has `Dense(512)` after the `Flatten` of a 7 × 7 × 512 map, biases included?

# %%
teach.check("09.1", ...)

# %% [markdown]
# **09.2** Features between 0 and 0.99 are given to a BERT as token ids. What happens to them: "error", "cut to 0" or
# "scaled"?

# %%
teach.check("09.2", ...)

# %% [markdown]
# **09.3** Beam search with `num_beams=4` and a vocabulary of 1,000 words: how many continuations are compared at a
# step?

# %%
teach.check("09.3", ...)

# %% [markdown]
# **09.4** Two layers of equal shape have exchanged their names. How does `load_weights` match a `.weights.h5` file: by
# "name", by "order", or not at all ("stops")?

# %%
teach.check("09.4", ...)

# %% [markdown]
# ## Read next
#
# - S. Rothe, S. Narayan, A. Severyn, *Leveraging pre-trained checkpoints for sequence generation tasks*, 2020: how a
#   BERT becomes a decoder, and how little a pretrained decoder alone adds.
# - R. Mokady, A. Hertz, A. Bermano, *ClipCap: CLIP prefix for image captioning*, 2021: image features as the input of a
#   language model.
# - F. Chollet, *Transfer learning & fine-tuning*, Keras developer guides, 2020.
#
# {{ navigation }}
