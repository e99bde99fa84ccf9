# %% [markdown]
# # 06 · Visual question answering
#
# {{ header }}
#
# “Which script is it?” A model gets the image of a character and this question. Among more than a hundred answers, it
# often finds the correct one. It may have used the image. But the question alone already says a lot: “upper or lower
# case?” has two likely answers, and one of them is more frequent. So a model for visual question answering (VQA) has to
# show that it uses its images. In this lesson one model gains from its images, and two do not.
#
# **After this lesson you can**
# - pool K = f(X)·g(Y) + h(X, Y) over the positions of an image into the logits of answers;
# - measure how far the question alone leads, and by how much a model is better, with an interval;
# - test by an image ablation whether a model uses its images, and build questions that require them.
#
# **Time to run:** under three minutes on 2 CPU cores. **Needs:** nothing but tfxfer; no network. **Before:** lessons
# 03 and 04.

# %%
from tfxfer import teach

teach.start("06")

# %% [markdown]
# ## 1 · Characters, and questions about them
#
# The questions are made from facts of the Unicode database, in several wordings. `python -m tfxfer.train vqa` uses the
# same ones. Every arm below has the same learning rate and the same number of steps. Nothing is chosen on validation
# data, so validation and test questions together serve as the test.

# %%
import numpy as np

import tfxfer
from tfxfer.tasks.visual_questions import Questions, about_characters, few
from tfxfer.teach.figures import lesson_06 as figures

glyphs = tfxfer.load("glyphs")
SHAPE = (32, 32, 1)


def questions(split, count):
    """Return all questions about at most `count` characters of a split (0: all)."""
    return few(glyphs, split, about_characters(glyphs, split), count, SHAPE)


train = questions("train", teach.size(1_500, 300))
a, b = questions("validation", 0), questions("test", 0)
test = Questions(
    np.concatenate([a.images, b.images]),
    np.concatenate([a.image_index, b.image_index + len(a.images)]),
    a.texts + b.texts,
    a.answers + b.answers,
    a.kinds + b.kinds,
)
for name, some in (("training", train), ("test", test)):
    print(f"{len(some.texts):,} {name} questions about {len(some.images):,} characters")

# %%
lines = [[] for _ in test.images]
for i, *line in zip(test.image_index, test.texts, test.answers):
    lines[i].append(line)
wanted = [
    ("script", "arabic"),
    ("number", "5"),
    ("dots", "4"),
    ("case", "upper"),
    ("diacritic", "dot above"),
]
facts = list(zip(test.kinds, test.answers))
shown = [int(test.image_index[facts.index(fact)]) for fact in wanted]
figures.questions(test.images[shown], [lines[i] for i in shown])

# %% [markdown]
# ## 2 · What the question alone gives
#
# How many answers are correct without any image? The *prior* gives each question its most frequent answer in training.
# It is the baseline of everything in this lesson.

# %%
from collections import Counter

from tfxfer.evaluate.vqa import majority_by_question

kinds = list(Counter(test.kinds))
counts = {}
for kind in kinds:
    own = [answer for answer, one in zip(train.answers, train.kinds) if one == kind]
    counts[kind] = dict(Counter(own).most_common())
figures.answer_priors(counts)

# %%
teach.show(majority_by_question)

# %%
truth = np.array(test.answers)
answers = sorted(set(train.answers))
prior = majority_by_question(train.texts, train.answers, test.texts) == truth
majority = np.mean(truth == Counter(train.answers).most_common(1)[0][0])
teach.say(f"""
There are {len(answers)} answers. Always predicting the most frequent of them is correct
for {majority:.0%} of the test questions. Predicting the most frequent answer **to each
question** is correct for **{prior.mean():.0%}**, without any image.
""")

# %% [markdown]
# ## 3 · The equation, pooled over positions
#
# $$K = f(X) \cdot g(Y) + h(X, Y) \qquad K_{ma} \text{ for each position } m \text{ and answer } a,
# \text{ logits}_a = \text{mean}_m\, K_{ma}$$
#
# In lesson 04 an image was one vector. Here it is a feature map, and K has a value for each of its positions and for
# each answer. In f·g the positions are separate, so their mean can be taken first. In h, question and position
# interact.

# %%
figures.vqa_model(test.images[shown[2]], lines[shown[2]][-1][0])

# %% [markdown]
# There are three forms of h. Without h, f·g is *bilinear*: each position times the question. With *FiLM*, the question
# scales and shifts the features of every position. With *cross-attention*, each word of the question attends to
# positions. Here they are in this order:

# %%
from tfxfer.transfer.knowledge.answer_head import (
    FiLMInteraction,
    QuestionAttention,
    VQAHead,
)

teach.show(VQAHead._dot, FiLMInteraction.call, QuestionAttention.call)

# %% [markdown]
# The image encoder is, as in lesson 04, a CNN that is trained to classify the training characters.

# %%
import keras

from tfxfer.fit import cosine

EXAMPLES, BATCH, EPOCHS = teach.size(16_000, 512), 128, 2
keras.utils.set_random_seed(0)
cnn = tfxfer.source("fresh:cnn", num_classes=len(glyphs.class_names), seed=0)
cnn.compile(keras.optimizers.Adam(), "sparse_categorical_crossentropy")
for epoch in range(EPOCHS):
    cnn.optimizer.learning_rate = cosine(1e-2, EPOCHS)(epoch)
    keys = ["image", "label"]
    rows = glyphs.batches("train", BATCH, keys=keys, shuffle_seed=epoch)
    rows = rows.map(lambda row: (row["image"], row["label"]))
    cnn.fit(rows.take(EXAMPLES // BATCH), shuffle=False, verbose=0)

# %%
from tfxfer.arms.vqa import VQAExamples
from tfxfer.config import TrainingConfig, VQAHeadConfig
from tfxfer.transfer.bridges.tokens import learn_vocabulary
from tfxfer.transfer.knowledge import VisualQA, small_tower

DIM = 64
STEPS = teach.size(100, 2)
TRAINING = TrainingConfig(steps=STEPS, batch_size=64, learning_rates=(1e-2,))


def new_model(answers, interaction, vocabulary, seed=0):
    """Return a model with the trained image encoder and random other weights."""
    keras.utils.set_random_seed(seed)
    tower = small_tower(vocabulary, 12, "words", DIM)
    head = VQAHeadConfig(interaction=interaction, dim=DIM)
    return VisualQA(cnn, tower, answers, SHAPE, head)


def fit(qa, batch, seed=0):
    """Train a model from random weights, whatever it was trained on before."""
    vocabulary = qa.text_tower.tokenizer.vocabulary
    fresh = new_model(qa.answers, qa.head_config.interaction, vocabulary, seed)
    qa.model.set_weights(fresh.model.get_weights())
    qa.fit(batch, training=TRAINING, seed=seed)


def correct(qa, batch):
    """Return which questions a model answers correctly, bool [Q]."""
    return qa.logits(batch).argmax(1) == batch.labels


vocabulary = learn_vocabulary(train.texts, "words")
forms = {
    "f·g alone": "bilinear",
    "h: film": "film",
    "h: cross-attention": "cross_attention",
}
models = {form: new_model(answers, one, vocabulary) for form, one in forms.items()}
splits = {"train": train, "test": test}
batches = {
    split: models["h: film"].encode(
        some.images, some.texts, some.answers, some.image_index
    )
    for split, some in splits.items()
}
examples = VQAExamples(splits, batches)
for qa in models.values():
    fit(qa, batches["train"])
for name, value in batches["train"]._asdict().items():
    print(f"{name}: {value.shape}")

# %%
right = {form: correct(qa, batches["test"]) for form, qa in models.items()}
right = {"prior": prior} | right
of_kind = {kind: np.array(test.kinds) == kind for kind in kinds}
by_kind = {
    form: {kind: float(one[rows].mean()) for kind, rows in of_kind.items()}
    for form, one in right.items()
}
figures.accuracy_by_kind(by_kind, Counter(test.kinds))

# %%
film = by_kind["h: film"]
gains = {kind: film[kind] - by_kind["prior"][kind] for kind in kinds}
most = max(gains, key=gains.get)
same = " and ".join(kind for kind in kinds if abs(gains[kind]) < 0.02)
near = f"On {same} it is within two points of the prior." if same else ""
accuracies = "; ".join(f"{form} {one.mean():.1%}" for form, one in right.items())
teach.say(f"""
Accuracy: {accuracies}.

The gain over the prior depends on the kind of question. FiLM gains most on **{most}**:
{film[most]:.0%}, where the prior has {by_kind["prior"][most]:.0%}. {near}
""")

# %% [markdown]
# ### The two terms of K
#
# We continue with FiLM, whichever form is best above. It needs less computation than cross-attention, and this was
# decided before the results were known. To select the best of three forms *here* would be to choose on the test data.
# K is a sum, so each term can be computed alone. This is the same question about two characters:

# %%
qa = models["h: film"]
question = "upper or lower case?"
two = []  # for each answer, a question that is answered correctly
for case in ("upper", "lower"):
    rows = [i for i, text in enumerate(test.texts) if text == question]
    rows = [i for i in rows if truth[i] == case]
    two.append(max(rows, key=lambda i: right["h: film"][i]))
batch = batches["test"]
columns = ("image_index", "question_index", "labels")
pair = batch._replace(**{name: getattr(batch, name)[two] for name in columns})
terms = {
    "f·g": qa.logits(pair, without="h"),
    "h": qa.logits(pair, without="dot"),
    "K": qa.logits(pair),
}
assert np.allclose(terms["f·g"] + terms["h"], terms["K"], atol=1e-3)
top = terms["K"].max(0).argsort()[::-1][:4]
figures.logit_terms(
    test.images[test.image_index[two]],
    question,
    [answers[a] for a in top],
    {name: table[:, top] for name, table in terms.items()},
    truth[two],
)

# %%
upper, lower = answers.index("upper"), answers.index("lower")
lead = {name: table[:, upper] - table[:, lower] for name, table in terms.items()}
change = {name: f"{x - y:+.1f}".replace("-", "−") for name, (x, y) in lead.items()}
teach.say(f"""
From the second character to the first, the lead of *upper* over *lower* changes by
{change["K"]} in K: by {change["f·g"]} in f·g and by {change["h"]} in h.
""")

# %% [markdown]
# ## 4 · Does the model use its images?
#
# An *image ablation* tests this without a second model. The same model answers the same questions with the image of
# another character, and with a feature map that is the mean of all. If its score does not fall, there is no evidence
# that it uses its images. Answers about one image are correlated, so the bootstrap draws images with all their
# questions.

# %%
from tfxfer.evaluate.image_ablation import image_ablation

teach.show(image_ablation)

# %% [markdown]
# The result is one of three sentences. The interval of the difference is above 0: the model uses its images. It
# contains 0: there is no evidence that it does. It is below 0: the model reacts to its images and does worse with them.


# %%
def ablation(qa, batch):
    """Answer with the correct images, with others, and with the mean one."""
    count = len(batch.images)
    other = np.roll(np.arange(count), count // 2).astype(np.int32)
    mean = np.repeat(batch.images.mean(0, keepdims=True), count, 0)
    given = {
        "correct": batch,
        "shuffled": batch._replace(image_index=other[batch.image_index]),
        "blank": batch._replace(images=mean),
    }
    scores = {name: correct(qa, one) for name, one in given.items()}
    texts = [qa.answers[i] for i in qa.logits(batch).argmax(1)]
    options = {"measure": "accuracy", "what": "questions", "groups": batch.image_index}
    return image_ablation(scores, texts, **options)


correct_pairs = ablation(qa, batches["test"])
teach.say(f"> {correct_pairs['sentence']}")

# %% [markdown]
# ## 5 · A model that gains nothing from its images, I: wrong pairs
#
# Someone sorts the list of questions and forgets to sort the images. Now every training question belongs to the image
# of another character. There is no error message. The loss falls, and the accuracy rises far above chance, because
# the model learns the prior.

# %%
wrong_pairs = new_model(answers, "film", vocabulary)
fit(wrong_pairs, examples.shuffled(seed=0).batches["train"])
after_wrong_pairs = ablation(wrong_pairs, batches["test"])
accuracy = after_wrong_pairs["means"]["correct"]
teach.say(f"""
> {after_wrong_pairs["sentence"]}

The prior has {prior.mean():.3f}. A report of “{accuracy:.0%} correct, among
{len(answers)} answers” would still look like a model that uses its images.
""")

# %% [markdown]
# The probabilities show the difference. Each question is asked about two characters with different answers. The pairs
# were selected: the first model is correct for the first one, with the highest probability.

# %%


def probabilities(qa, batch):
    """Return the probabilities of the answers, [Q, A]."""
    return qa.predict(batch).probabilities


columns = {"trained on correct pairs": qa, "trained on wrong pairs": wrong_pairs}
given = {name: probabilities(one, batches["test"]) for name, one in columns.items()}
sure = given["trained on correct pairs"].max(1) * right["h: film"]
rows = []
for question in ("upper or lower case?", "which script is it?", "how many dots?"):
    own = [i for i, text in enumerate(test.texts) if text == question]
    own = sorted(own, key=lambda i: -sure[i])
    two = [own[0], next((i for i in own if truth[i] != truth[own[0]]), own[-1])]
    likely = [
        int(a) for p in given.values() for i in two for a in (-p[i]).argsort()[:2]
    ]
    true = [answers.index(truth[i]) for i in two if truth[i] in answers]
    chosen = list(dict.fromkeys([*true, *likely]))[:4]
    rows.append(
        {
            "question": question,
            "images": test.images[test.image_index[two]],
            "true": truth[two],
            "answers": [answers[a] for a in chosen],
            "given": {name: p[two][:, chosen] for name, p in given.items()},
        }
    )
figures.answers_by_image(rows, list(given))

# %% [markdown]
# Now for *all* test questions: how much probability moves to other answers when the image is replaced by that of
# another character?

# %%
count = len(test.images)
other = np.roll(np.arange(count), count // 2).astype(np.int32)[test.image_index]
replaced = batches["test"]._replace(image_index=other)
moved = {
    name: 0.5 * np.abs(given[name] - probabilities(one, replaced)).sum(1).mean()
    for name, one in columns.items()
}
teach.say("\n".join(f"- {name}: {share:.0%}" for name, share in moved.items()))

# %% [markdown]
# ## 6 · A stricter control: `question_only`
#
# The ablation gives the mean image to a model that was never trained on it. The stricter control is an arm: the same
# network *trained* on the mean image, so that it can use all its weights for the question. In lesson 05 this arm is
# called *blind*, for questions it is called `question_only`. It runs with three seeds. Scores are computed by image,
# because answers about one image are correlated.

# %%
from tfxfer.evaluate import verdict
from tfxfer.evaluate.verdict import signed
from tfxfer.evaluate.vqa import scores_by_image

teach.show(VQAExamples.blind)

# %%
SEEDS = range(teach.size(3, 2))


def scores(examples, seed):
    """Return the scores by image of a model trained on the examples."""
    fit(qa, examples.batches["train"], seed)
    return scores_by_image(correct(qa, examples.batches["test"]), test.image_index)


blind = examples.blind()
by_image = {
    "transfer": [scores(examples, seed) for seed in SEEDS],
    "question_only": [scores(blind, seed) for seed in SEEDS],
    "prior": [scores_by_image(prior, test.image_index)],
}
phrases = {"question_only": "the question alone", "prior": "the prior"}
gains, sentences = {}, []
for arm, phrase in phrases.items():
    gains[arm] = verdict(by_image["transfer"], by_image[arm], names=("transfer", arm))
    subject = "the image" if arm == "question_only" else "the model with images"
    about = {"arms": {"transfer": {"phrase": subject}, arm: {"phrase": phrase}}}
    sentences.append(f"- {gains[arm].sentence(about=about)}")
teach.say("\n".join(sentences))

# %%
teach.say(f"""
A table of results would show an accuracy of {np.mean(by_image["transfer"]):.3f}. The
question alone reaches {np.mean(by_image["question_only"]):.3f}. The difference is what
the *images* add: **{signed(gains["question_only"].difference)}**.
""")

# %% [markdown]
# ## 7 · A model that gains nothing from its images, II: biased questions
#
# This time the code has no error. People ask “is it a capital letter?” mostly when they see one. So in questions
# written by people, the answer often follows from the question. We make such a data set: four questions, each with a
# typical answer, which is correct in a given share of the training pairs. The same model is trained on it and tested
# twice: on questions with the same bias, and on *balanced* ones, where yes and no are equally frequent.

# %%
TYPICAL = {  # question: (kind, answer that makes it yes, typical answer)
    "is it a capital letter?": ("case", "upper", "yes"),
    "is it an arabic letter?": ("script", "arabic", "yes"),
    "is it a greek letter?": ("script", "greek", "no"),
    "is it a braille pattern?": ("script", "braille", "no"),
}
yes_no = new_model(["no", "yes"], "film", learn_vocabulary(list(TYPICAL), "words"))


def biased(split, share, count):
    """Return `count` pairs a question; this share of them has the typical answer."""
    some, rng, rows = splits[split], np.random.default_rng(0), []
    for question, (kind, name, typical) in TYPICAL.items():
        for answer in ("yes", "no"):
            fits = [
                k == kind and (a == name) == (answer == "yes")
                for k, a in zip(some.kinds, some.answers)
            ]
            times = round(count * (share if answer == typical else 1 - share))
            drawn = rng.choice(some.image_index[fits], times, replace=times > sum(fits))
            rows += [(image, question, answer) for image in drawn]
    index, texts, given = zip(*rows)
    batch = yes_no.encode(some.images[:1], texts, given, np.zeros(len(rows), int))
    # the feature maps of all images are already known
    index = np.array(index, np.int32)
    return batch._replace(images=batches[split].images, image_index=index)


COUNTS = {"train": teach.size(600, 40), "test": teach.size(72, 8)}
balanced = biased("test", 0.5, COUNTS["test"])
rows, sentences = [], {}
for share in (0.5, 0.7, 0.9, 1.0):
    fit(yes_no, biased("train", share, COUNTS["train"]))
    own = correct(yes_no, biased("test", share, COUNTS["test"])).mean()
    found = ablation(yes_no, balanced)
    sentences[share] = found["sentence"]
    means = {"even": found["means"]["correct"], "another": found["means"]["shuffled"]}
    rows.append({"share": share, "own": own, **means})
figures.biased_training(rows)

# %%
first, last = rows[0], rows[-1]
rises = "rises" if last["own"] > first["own"] else "changes"
teach.say(f"""
From left to right, the accuracy on biased questions {rises}, from {first["own"]:.0%} to
**{last["own"]:.0%}**. This is the score that would be published. On balanced questions
the same models go from {first["even"]:.0%} to **{last["even"]:.0%}**, where chance is
50 %. The image ablation on balanced questions:

- after balanced training: {sentences[first["share"]]}
- after the most biased training: {sentences[last["share"]]}
""")

# %% [markdown]
# The highest score belongs to the model that gains least from its images, and its loss would not have shown it. Two
# remedies are in use. *Balanced data*: each question gets a second image with another answer (VQA v2), so the
# question alone cannot be enough. *Changed priors*: the most frequent answer to a question differs between training
# and test (VQA-CP), so a model that relies on it loses accuracy. Neither replaces the arm `question_only`.
#
# On the command line, `python -m tfxfer.train vqa` runs `question_only`, `shuffled` and `prior` beside the model, and
# its report contains the image ablation. Your own questions are given with `--target csv:PATH`.
#
# ## Exercises
#
# **06.1** There are 10 pairs of an image and a question, 64 positions in each image, and 40 answers. What is the shape
# of the logits?

# %%
teach.check("06.1", ...)

# %% [markdown]
# **06.2** In training, “is it red?” has the answers yes, yes, yes, no, and “which shape?” has circle, circle, square.
# Test: “is it red?” (yes), “is it red?” about another image (no), “which shape?” (circle), “is it big?” (yes). What is
# the accuracy of the prior?

# %%
teach.check("06.2", ...)

# %% [markdown]
# **06.3** You have no true answers, and want to know whether a model uses its images. Write `changed(own, other)`: from
# the logits with the correct images and with others, both [N, A], the share of questions whose answer changes.


# %%
def changed(own, other):
    return own  # not yet


teach.check("06.3", ...)  # put changed here

# %% [markdown]
# **06.4** Accuracy is 0.72 with the correct images and 0.70 with others. The difference has the interval −0.01 to
# +0.05. Does the model use its images? The image ablation has three results: "yes", "worse" and "no evidence".

# %%
teach.check("06.4", ...)

# %% [markdown]
# **06.5** “Is it a capital letter?” was asked about 200 images, and the answer was yes for 180. How many images with
# the answer no must be added, so that the question alone is no better than chance?

# %%
teach.check("06.5", ...)

# %% [markdown]
# ## Read next
#
# - Y. Goyal, T. Khot, D. Summers-Stay, D. Batra, D. Parikh, *Making the V in VQA matter*, 2017: for each question a
#   second image with another answer (VQA v2).
# - A. Agrawal, D. Batra, D. Parikh, A. Kembhavi, *Don't just assume; look and answer*, 2018: changed priors (VQA-CP).
# - A. Jabri, A. Joulin, L. van der Maaten, *Revisiting visual question answering baselines*, 2016: a simple network
#   that gets the answer as input and predicts whether image, question and answer belong together.
# - E. Perez, F. Strub, H. de Vries, V. Dumoulin, A. Courville, *FiLM*, 2018; J.-H. Kim et al., *Hadamard product for
#   low-rank bilinear pooling*, 2017: the two other forms of K.
# - V. Zhou, *easy-VQA*, 2019: coloured shapes with questions, small enough for a laptop. Our results on it:
#   `docs/results-vqa.md`.
#
# {{ navigation }}
