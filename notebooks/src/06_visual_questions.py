# %% [markdown]
# # 06 · Visual questions, and models that do not look
#
# “Which script is it?” A model is shown a character and asked, and among more than a hundred answers it finds the
# right one surprisingly often. That sounds like seeing. But a question is half an answer: who is asked “upper or lower
# case?” can toss a coin, and who knows what is usually asked can do better than that. Before such a model is believed,
# it has to be shown that it looks. This lesson builds one that does, and two that do not.
#
# **After this lesson you can**
# - pool K = f(X)·g(Y) + h(X, Y) over the places of a picture, so that it answers a question;
# - say what a question gives away, and by how much a model beats that, with an interval;
# - find out whether a model looks, and make questions that force it to.
#
# **Time to run:** under three minutes on 2 CPU cores. **Needs:** nothing but tfxfer; no network. **Before:** lessons
# 03, 04.

# %%
from tfxfer import teach

teach.start("06")

# %% [markdown]
# ## 1 · Characters, and questions about them
#
# The questions are made of facts in the Unicode database, in several wordings; `python -m tfxfer.train vqa` asks the
# same ones. Every arm below has the same learning rate and as many steps. So there is nothing left to choose, and both
# splits that training does not show serve as the test.

# %%
import numpy as np

import tfxfer
from tfxfer.tasks.visual_questions import Questions, about_characters, few
from tfxfer.teach.figures import lesson_06 as figures

glyphs = tfxfer.load("glyphs")


def questions(split, pictures):
    """Return all questions about so many characters of a split; 0 are all of them."""
    return few(glyphs, split, about_characters(glyphs, split), pictures, size=None, channels=1)


train = questions("train", teach.size(1_500, 300))
a, b = questions("validation", 0), questions("test", 0)
test = Questions(
    np.concatenate([a.images, b.images]),
    np.concatenate([a.picture, b.picture + len(a.images)]),  # the pictures of b are numbered on
    a.texts + b.texts,
    a.answers + b.answers,
    a.kinds + b.kinds,
)
print(f"{len(train.texts):,} questions about {len(train.images):,} characters to learn from")
print(f"{len(test.texts):,} questions about {len(test.images):,} other characters to answer")

# %%
lines = [[] for _ in test.images]
for place, *line in zip(test.picture, test.texts, test.answers):
    lines[place].append(line)
wanted = [("script", "arabic"), ("number", "5"), ("dots", "4"), ("case", "upper"), ("diacritic", "dot above")]
facts = list(zip(test.kinds, test.answers))
shown = [int(test.picture[facts.index(fact)]) for fact in wanted]
figures.questions(test.images[shown], [lines[place] for place in shown])

# %% [markdown]
# ## 2 · What the questions give away
#
# Before any picture is looked at: how far does one get by giving each question the answer that was commonest for it
# in training? This is the *prior*, and it is the zero of every scale in this lesson.

# %%
from collections import Counter

from tfxfer.evaluate.vqa import majority_by_question

kinds = list(Counter(test.kinds))
counts = {
    kind: dict(Counter(answer for answer, its in zip(train.answers, train.kinds) if its == kind).most_common())
    for kind in kinds
}
figures.given_away(counts)

# %%
teach.show(majority_by_question)

# %%
truth = np.array(test.answers)
answers = sorted(set(train.answers))
prior = np.array(majority_by_question(train.texts, train.answers, test.texts)) == truth
always = np.mean(truth == Counter(train.answers).most_common(1)[0][0])
teach.say(f"""
There are {len(answers)} answers. Always giving the commonest of them is right in {always:.0%} of the test questions.
Giving the commonest answer **to each question** is right in **{prior.mean():.0%}**, with closed eyes.
""")

# %% [markdown]
# ## 3 · The equation, pooled
#
# $$K = f(X) \cdot g(Y) + h(X, Y) \qquad K_{ma} \text{ for each place } m \text{ and answer } a,
# \text{ logits}_a = \text{mean}_m\, K_{ma}$$
#
# In lesson 04 a picture was one vector. Here it stays a map, so that a question can be asked of every place; and a
# pair gets a number for each answer instead of a single one. In f·g the places do not know of each other, so that
# their mean can be taken first. In h, question and place are looked at together.

# %%
figures.meeting(test.images[shown[2]], lines[shown[2]][-1][0])

# %% [markdown]
# Three forms of h, then. None at all leaves f·g, which is *bilinear*: each place of the picture times the question.
# *FiLM* lets the question scale and shift what every place shows. With *cross-attention* each word of the question
# chooses its places. In this order:

# %%
from tfxfer.transfer.knowledge.answer_head import QuestionAttention, VQAHead, FiLMInteraction

teach.show(VQAHead._dot, FiLMInteraction.call, QuestionAttention.call)

# %% [markdown]
# First the eyes, as in lesson 04: a CNN that learned to tell the training characters apart.

# %%
import keras

from tfxfer.fit import cosine

EXAMPLES, BATCH = teach.size(16_000, 512), 128
keras.utils.set_random_seed(0)
cnn = tfxfer.source("fresh:cnn", num_classes=len(glyphs.class_names), seed=0)
cnn.compile(keras.optimizers.Adam(), "sparse_categorical_crossentropy")
for number in range(2):
    cnn.optimizer.learning_rate = cosine(1e-2, 2)(number)
    rows = glyphs.batches("train", BATCH, keys=["image", "label"], shuffle_seed=number).take(EXAMPLES // BATCH)
    cnn.fit(rows.map(lambda row: (row["image"], row["label"])), shuffle=False, verbose=0)

# %%
from tfxfer.arms.vqa import Lessons
from tfxfer.transfer.bridges.tokens import learn_vocabulary
from tfxfer.transfer.knowledge import VisualQA, small_tower

STEPS, DIM = teach.size(100, 2), 64


def model(names, h, words, seed=0):
    """Return a model that knows what characters look like, has a list of words, and can answer nothing yet."""
    keras.utils.set_random_seed(seed)
    return VisualQA(cnn, small_tower(words, 12, "words", DIM), names, (32, 32, 1), h=h, dim=DIM)


def learn(qa, asked, seed=0):
    """Teach a model, whatever it has learned before, from the weights that this seed begins with."""
    fresh = model(qa.answers, qa.matrix.h_name, qa.questions.tokens.vocabulary, seed)
    qa.trained.set_weights(fresh.trained.get_weights())
    qa.fit(asked, steps=STEPS, batch_size=64, learning_rate=1e-2, seed=seed)


def right(qa, asked):
    """Return which questions a model answers right, bool [Q]."""
    return qa.logits(asked).argmax(1) == asked.labels


words = learn_vocabulary(train.texts, "words")
forms = {"f·g alone": None, "h: film": "film", "h: cross-attention": "cross_attention"}
models = {form: model(answers, h, words) for form, h in forms.items()}
pairs = {
    name: models["h: film"].asked(some.images, some.picture, some.texts, some.answers)
    for name, some in (("train", train), ("test", test))
}
lessons = Lessons({"train": train, "test": test}, pairs)
for one in models.values():
    learn(one, pairs["train"])
print(*(f"{part}: {value.shape}" for part, value in pairs["train"]._asdict().items()), sep="\n")

# %%
hits = {"prior": prior} | {form: right(one, pairs["test"]) for form, one in models.items()}
scores = {form: {kind: float(hit[np.array(test.kinds) == kind].mean()) for kind in kinds} for form, hit in hits.items()}
figures.by_kind(scores, Counter(test.kinds))

# %%
film = scores["h: film"]
gains = {kind: film[kind] - scores["prior"][kind] for kind in kinds}
most = max(gains, key=gains.get)
same = " and ".join(kind for kind in kinds if abs(gains[kind]) < 0.02)
idle = f"On {same} it stands where the prior stands; nobody had to look for that." if same else ""
teach.say(f"""
{"; ".join(f"{form} {hit.mean():.1%}" for form, hit in hits.items())}.

The margin over the prior is not everywhere alike. FiLM gains most on **{most}**: {film[most]:.0%}, where the prior has
{scores["prior"][most]:.0%}. {idle}
""")

# %% [markdown]
# ### Both terms at work
#
# We go on with FiLM, whatever the order above: it needs less arithmetic than cross-attention, and that was settled
# before anybody saw these figures. To take the best of three *here* would be to choose on the test. K is a sum, so one
# term can be left out to see what the other one says. The same question about two characters:

# %%


def few_of(asked, rows):
    """Return a few of the pairs."""
    return asked._replace(**{part: getattr(asked, part)[rows] for part in ("picture", "question", "labels")})


qa = models["h: film"]
question = "upper or lower case?"
both = [
    [i for i, text in enumerate(test.texts) if text == question and truth[i] == case] for case in ("upper", "lower")
]
two = [max(rows, key=lambda i: hits["h: film"][i]) for rows in both]  # the first that is answered right
asked = few_of(pairs["test"], two)
terms = {"f·g": qa.logits(asked, without="h"), "h": qa.logits(asked, without="dot"), "K": qa.logits(asked)}
assert np.allclose(terms["f·g"] + terms["h"], terms["K"], atol=1e-3)
top = terms["K"].max(0).argsort()[::-1][:4]
figures.terms(
    test.images[test.picture[two]],
    question,
    [answers[a] for a in top],
    {name: table[:, top] for name, table in terms.items()},
    truth[two],
)

# %%
upper, lower = (answers.index(case) for case in ("upper", "lower"))
lead = {name: table[:, upper] - table[:, lower] for name, table in terms.items()}
swing = {name: f"{first - second:+.1f}".replace("-", "−") for name, (first, second) in lead.items()}
teach.say(f"""
How much further *upper* leads over *lower* at the first character than at the second: {swing["K"]} in K, of which
f·g brings {swing["f·g"]} and h {swing["h"]}.
""")

# %% [markdown]
# ## 4 · Does it look?
#
# The plainest test needs no second model. Ask the same model the same questions, but show it the picture of another
# character; or a picture whose every place is the mean of all. If it does as well, it did not look. Questions about
# one picture stand or fall together, so the interval comes from drawing pictures, with all their questions.

# %%
from tfxfer.evaluate.image_ablation import image_ablation

teach.show(image_ablation)

# %%


def looks(qa, asked):
    """Ask with own pictures, with others', with the mean one; return what `image_ablation` says."""
    other = np.roll(np.arange(len(asked.sight)), len(asked.sight) // 2).astype(np.int32)
    blank = np.repeat(asked.sight.mean(0, keepdims=True), len(asked.sight), 0)
    seen = {"pictures": asked, "shuffled": asked._replace(picture=other[asked.picture])}
    seen["blank"] = asked._replace(sight=blank)
    given = [qa.answers[i] for i in qa.logits(asked).argmax(1)]
    hits = {name: right(qa, one) for name, one in seen.items()}
    return image_ablation(hits, given, measure="accuracy", what="questions", groups=asked.picture)


sighted = looks(qa, pairs["test"])
teach.say(f"> {sighted['sentence']}")

# %% [markdown]
# ## 5 · A model that does not look, I: a mistake nobody notices
#
# Somebody sorted the list of questions and forgot the pictures. Every question now stands beside the picture of
# another character. Nothing stops: the loss falls, the accuracy rises well above chance. The model learns what can
# be learned, and that is the prior.

# %%
careless = model(answers, "film", words)
learn(careless, lessons.shuffled(seed=0).asked["train"])
unsighted = looks(careless, pairs["test"])
teach.say(f"""
> {unsighted["sentence"]}

The prior has {prior.mean():.3f}. “{unsighted["means"]["pictures"]:.0%} right, among {len(answers)} answers” would still
pass for sight.
""")

# %% [markdown]
# What it means not to look can be seen. Below, the same question is asked about two characters with different answers,
# picked where the first model is as sure and as right as it gets.

# %%


def probabilities(qa, asked):
    """Return the probabilities of the answers, [Q, A]."""
    return np.asarray(keras.ops.softmax(qa.logits(asked)))


said = {
    "learned with its pictures": probabilities(qa, pairs["test"]),
    "learned from wrong pairs": probabilities(careless, pairs["test"]),
}


def pair_of(question):
    """Return two test rows with this question and different answers, of which the first model is surest."""
    sure = said["learned with its pictures"].max(1) * hits["h: film"]
    rows = sorted((i for i, text in enumerate(test.texts) if text == question), key=lambda i: -sure[i])
    return [rows[0], next((i for i in rows if truth[i] != truth[rows[0]]), rows[-1])]


rows = []
for question in ("upper or lower case?", "which script is it?", "how many dots?"):
    two = pair_of(question)
    likely = [int(a) for table in said.values() for i in two for a in table[i].argsort()[::-1][:2]]
    chosen = list(dict.fromkeys([*(answers.index(truth[i]) for i in two if truth[i] in answers), *likely]))[:4]
    given = {name: table[two][:, chosen] for name, table in said.items()}
    rows.append({"question": question, "images": test.images[test.picture[two]], "true": truth[two]})
    rows[-1] |= {"answers": [answers[a] for a in chosen], "given": given}
figures.swapped(rows, list(said))

# %% [markdown]
# Those pairs were picked. Over *all* test questions: how much of its probability does a model move to other answers
# when it is shown the picture of another character?

# %%
elsewhere = pairs["test"]._replace(picture=np.roll(np.arange(len(test.images)), len(test.images) // 2)[test.picture])
moved = {
    name: 0.5 * np.abs(said[name] - probabilities(one, elsewhere)).sum(1).mean()
    for name, one in zip(said, (qa, careless))
}
teach.say("\n".join(f"- The model that {name} moves {share:.0%}." for name, share in moved.items()))

# %% [markdown]
# ## 6 · The margin, and what it is a margin over
#
# Showing the mean picture to a model that learned with pictures is a little unfair: it has never met one. So there is
# a stricter control, an arm: the same network *trained* on the mean picture, which may put all its strength into the
# words. It is the *blind* arm of lesson 05; here tfxfer calls it `question_only`. Three seeds of each; the scores are
# by picture, because questions about one picture stand or fall together.

# %%
from tfxfer.evaluate import verdict
from tfxfer.evaluate.verdict import signed
from tfxfer.evaluate.vqa import by_picture

teach.show(Lessons.blind)

# %%
SEEDS = teach.size(3, 2)
seeing, blindfolded = lessons.asked, lessons.blind().asked


def trained(lesson, seed):
    """Return the scores by picture of a model that learned from a lesson."""
    learn(qa, lesson["train"], seed)
    return by_picture(right(qa, lesson["test"]), test.picture)


told = {
    "with its picture": [by_picture(hits["h: film"], test.picture), *(trained(seeing, s) for s in range(1, SEEDS))],
    "question_only": [trained(blindfolded, s) for s in range(SEEDS)],
    "prior": [by_picture(prior, test.picture)],
}
margins = {
    arm: verdict(told["with its picture"], told[arm], names=("seeing the picture", arm))
    for arm in ("question_only", "prior")
}
teach.say("\n".join(f"- {one.sentence()}" for one in margins.values()))

# %%
teach.say(f"""
A table would say: accuracy {np.mean(told["with its picture"]):.3f}. What the *pictures* gave is
**{signed(margins["question_only"].difference)}** of it. The other {np.mean(told["question_only"]):.3f} are to be had
blindfolded.
""")

# %% [markdown]
# ## 7 · A model that does not look, II: a data set that does not ask for it
#
# Now without any mistake in the code. People ask “is it a capital letter?” mostly when they see one. So in questions
# that people made the answer often follows the question. We make such a data set: four questions, and each has a
# favourite answer that is right in a given share of the training pairs. Then the same model learns from it, and is
# tested twice: on questions that are as lopsided as those it learned from, and on *even* ones, where each question
# has as many yes as no.

# %%
FAVOURITES = {  # question: (kind, answer that makes it yes, favourite)
    "is it a capital letter?": ("case", "upper", "yes"),
    "is it an arabic letter?": ("script", "arabic", "yes"),
    "is it a greek letter?": ("script", "greek", "no"),
    "is it a braille pattern?": ("script", "braille", "no"),
}


def lopsided(name, share, count):
    """Return pairs of a split, `count` a question; in this share of them the answer is the favourite one."""
    some, dice, rows = {"train": train, "test": test}[name], np.random.default_rng(0), []
    for question, (kind, what, favourite) in FAVOURITES.items():
        for answer in ("yes", "no"):
            fits = [k == kind and (a == what) == (answer == "yes") for k, a in zip(some.kinds, some.answers)]
            times = round(count * (share if answer == favourite else 1 - share))
            drawn = dice.choice(some.picture[fits], times, replace=times > sum(fits))
            rows += [(place, question, answer) for place in drawn]
    asked = quick.asked(some.images[:1], *zip(*rows))
    return asked._replace(sight=pairs[name].sight)  # the locked CNN has seen all pictures before


quick = model(["no", "yes"], "film", learn_vocabulary(list(FAVOURITES), "words"))
even = lopsided("test", 0.5, teach.size(72, 8))
rows, sentences = [], {}
for share in (0.5, 0.7, 0.9, 1.0):
    learn(quick, lopsided("train", share, teach.size(600, 40)))
    own = right(quick, lopsided("test", share, teach.size(72, 8))).mean()
    found = looks(quick, even)
    sentences[share] = found["sentence"]
    rows.append({"share": share, "own": own, "even": found["means"]["pictures"], "another": found["means"]["shuffled"]})
figures.lopsided(rows)

# %%
first, last = rows[0], rows[-1]
teach.say(f"""
From left to right the score that would be published {"rises" if last["own"] > first["own"] else "changes"}, from
{first["own"]:.0%} to **{last["own"]:.0%}**. On even questions the same models go from {first["even"]:.0%} to
**{last["even"]:.0%}**, where a coin has 50 %. Asked the even questions:

- after even training: {sentences[first["share"]]}
- after the most lopsided training: {sentences[last["share"]]}
""")

# %% [markdown]
# The best score belongs to the model that sees least, and no loss curve would have told. Two remedies are in use.
# *Balance the data*: give each question a second picture with another answer (VQA v2), so that nothing can be won
# without a look. Or *turn the test round*: let the commonest answer to a question change between training and test
# (VQA-CP), so that who relied on it falls. Neither replaces the blind arm.
#
# On the command line all of this runs by itself, `question_only`, `shuffled` and `prior` beside the model, and the
# report says whether it looks: `python -m tfxfer.train vqa`, for your own questions with `--target csv:PATH`.
#
# ## Exercises
#
# **06.1** 10 pairs of picture and question, 64 places in each picture, 40 possible answers: what is the shape of the
# logits?

# %%
teach.check("06.1", ...)

# %% [markdown]
# **06.2** In training “is it red?” was answered yes, yes, yes, no; “which shape?” circle, circle, square. Test: “is
# it red?” (yes), “is it red?” of another picture (no), “which shape?” (circle), “is it big?” (yes). What is the
# accuracy of the prior?

# %%
teach.check("06.2", ...)

# %% [markdown]
# **06.3** You have no true answers, and want to know whether a model looks. Write `changed(own, other)`: from the
# logits with the own pictures and with others', both [N, A], the share of questions whose answer changes.


# %%
def changed(own, other):
    return own  # not yet


teach.check("06.3", ...)  # put changed here

# %% [markdown]
# **06.4** Accuracy 0.72 with own pictures, 0.70 with others'; the difference has the interval −0.01 to +0.05. What
# can you say of the model's looking: it "looks", it is "blind", or looking is "not shown"?

# %%
teach.check("06.4", ...)

# %% [markdown]
# **06.5** “Is it a capital letter?” was asked of 200 pictures, and the answer was yes in 180. How many pictures with
# the answer no must be added, so that the question alone is worth no more than a coin?

# %%
teach.check("06.5", ...)

# %% [markdown]
# ## Read next
#
# - Y. Goyal, T. Khot, D. Summers-Stay, D. Batra, D. Parikh, *Making the V in VQA matter*, 2017: for each question a
#   second picture with another answer (VQA v2).
# - A. Agrawal, D. Batra, D. Parikh, A. Kembhavi, *Don't just assume; look and answer*, 2018: VQA-CP, where the
#   commonest answers of training are not those of the test.
# - A. Jabri, A. Joulin, L. van der Maaten, *Revisiting visual question answering baselines*, 2016: how well a plain
#   network does that reads the answer too, and judges whether the three belong together.
# - E. Perez, F. Strub, H. de Vries, V. Dumoulin, A. Courville, *FiLM*, 2018; J.-H. Kim et al., *Hadamard product for
#   low-rank bilinear pooling*, 2017: the two other forms of K.
# - V. Zhou, *easy-VQA*, 2019: coloured shapes with questions, small enough for a laptop. What our model makes of it:
#   `docs/results-vqa.md`.
