# %% [markdown]
# # 13 · Few labels
#
# {{ header }}
#
# Labels are dear. Transfer is one remedy. There are others: guess the labels that are missing, edit the examples that
# have one, or choose well what to label next. Each of them sounds right, and each can be tested beside its control.
#
# **After this lesson you can**
# - run few-shot episodes, and classify by the nearest class mean;
# - say which assumption pseudo-labels need, and test it before you use them;
# - tell an edit that keeps a label from one that breaks it;
# - compare a choice of labels with a random one, as a curve.
#
# **Time to run:** about a minute on 2 CPU cores. **Needs:** tfxfer; no network. **Before:** lessons 02 and 03.

# %%
from tfxfer import teach

teach.start("13")

# %% [markdown]
# ## 1 · Characters that nobody has labelled
#
# A small CNN learns several thousand characters. We keep other characters apart, which it never sees. φ is the CNN
# without its last layer. There are two controls: the same CNN with random weights, and the pixels themselves.

# %%
import keras
import numpy as np

import tfxfer
from tfxfer.evaluate import interval, verdict
from tfxfer.fit import cosine
from tfxfer.teach.figures import lesson_13 as figures
from tfxfer.transfer.feature import extractor

glyphs = tfxfer.load("glyphs/by_character")
cnn = tfxfer.source("fresh:cnn", num_classes=len(glyphs.class_names), seed=0)
cnn.compile(keras.optimizers.Adam(), "sparse_categorical_crossentropy")
for epoch in range(2):
    cnn.optimizer.learning_rate = cosine(1e-2, 2)(epoch)
    rows = glyphs.batches("train", 128, keys=["image", "label"], shuffle_seed=epoch)
    rows = rows.map(lambda row: (row["image"], row["label"]))
    cnn.fit(rows.take(teach.size(187, 2)), shuffle=False, verbose=0)

unseen = glyphs.with_at_most(test=teach.size(10_000, 1_500))
images, labels = unseen.arrays("test")["image"], unseen.labels("test")
models = {
    "φ": extractor(cnn),
    "random φ": extractor(tfxfer.source("fresh:cnn", num_classes=2, seed=1)),
}
features = {
    name: model.predict(images, batch_size=256, verbose=0)
    for name, model in models.items()
}
features["pixels"] = images.reshape(len(images), -1) / 255.0
print({name: rows.shape for name, rows in features.items()})

# %% [markdown]
# ## 2 · One episode
#
# An *episode* is a small task. It has K new classes (*ways*), S labelled images of each (*shots*), and other images of
# these classes that are asked about (*queries*). Nothing is trained. Each class has a *prototype*, the mean of φ over
# its shots, and the nearest prototype is the answer (Snell et al. 2017):
#
# $$c_k = \frac1S \sum_{i \in \text{class } k} φ(x_i), \qquad f(x) = \arg\max_k \cos(φ(x), c_k)$$

# %%
from tfxfer.transfer.feature.prototypes import draw_episodes, nearest_prototype

halves = np.random.default_rng(0).random(len(labels)) < 0.5  # support | queries
support, asked = np.flatnonzero(halves), np.flatnonzero(~halves)


def episodes(ways, shots, count):
    """Return episodes of unseen characters; rows count within support and asked."""
    sizes = {"episodes": count, "ways": ways, "shots": shots, "queries": 2}
    return draw_episodes(labels[support], labels[asked], glyphs.class_names, **sizes)


def answers(rows, episode):
    """Return which prototype is nearest to each query, int [K·Q]."""
    known = rows[support[episode.support.ravel()]]
    new = rows[asked[episode.queries.ravel()]]
    return nearest_prototype(known, episode.support_labels, new, "cosine")


WAYS = teach.size(20, 3)
one = episodes(5 if WAYS > 5 else WAYS, 1, 1)[0]
figures.episode(
    images[support[one.support]],
    images[asked[one.queries]],
    answers(features["φ"], one).reshape(one.queries.shape),
)

# %% [markdown]
# ## 3 · Two hundred episodes
#
# One episode says little. All three kinds of features get the same episodes, so that their differences are paired.

# %%
COUNT, SHOTS = teach.size(200, 4), (1, 2, 3)
right = {name: {} for name in features}
for shots in SHOTS:
    drawn = episodes(WAYS, shots, COUNT)
    for name, rows in features.items():
        right[name][shots] = np.array(
            [np.mean(answers(rows, each) == each.query_labels) for each in drawn]
        )
figures.shots_curve(
    {
        name: {shots: interval(each) for shots, each in by_shots.items()}
        for name, by_shots in right.items()
    },
    1 / WAYS,
)

# %%
learned = verdict(right["φ"][1], right["random φ"][1], names=("φ", "random φ"))
plain = verdict(right["φ"][1], right["pixels"][1], names=("φ", "pixels"))
teach.say(f"""
With one shot of each of {WAYS} unseen characters, φ is right for
**{right["φ"][1].mean():.0%}**, pixels for {right["pixels"][1].mean():.0%} and a
random φ for {right["random φ"][1].mean():.0%}.
What φ learned of *other* characters gave {learned.difference:+.3f} over its random
weights ({learned.low:+.3f} to {learned.high:+.3f}). Over pixels it gave
{plain.difference:+.3f} ({plain.low:+.3f} to {plain.high:+.3f}). Pixels with three shots
reach {right["pixels"][3].mean():.0%}.
""")

# %% [markdown]
# Both controls are needed. A random φ is worse than pixels here, since it averages over the image and forgets where the
# ink is. Who compares with the random φ alone thinks that training gave more than it did.
#
# ## 4 · Guess the labels that are missing
#
# Most images have no label. *Label spreading* (Zhou et al. 2004) gives an example the labels of its neighbours, and
# they give them on. *Self-training* lets the classifier label what it is sure of, and learns from that. Both assume
# that **classes are clusters**: that a gap lies between them. Here are two classes with two labels each. Move the
# slider: the gap closes.

# %%
from sklearn.datasets import make_moons
from sklearn.neighbors import KNeighborsClassifier

from tfxfer.transfer.feature.self_training import label_spreading

calls = {}
for noise in (0.05, 0.1, 0.15, 0.2, 0.3, 0.4):
    points, truth = make_moons(teach.size(300, 60), noise=noise, random_state=0)
    known = np.concatenate([np.flatnonzero(truth == c)[:2] for c in (0, 1)])
    rest = np.setdiff1d(np.arange(len(truth)), known)
    nearest = KNeighborsClassifier(1).fit(points[known], truth[known])
    validation = (points[known], truth[known])  # nothing to choose here
    predict, _ = label_spreading(
        (points[known], truth[known]),
        points[rest],
        validation,
        neighbours=(7,),
        alphas=(0.9,),
    )
    guessed = {
        "the nearest label": nearest.predict(points),
        "label spreading": predict(points).argmax(1),
    }
    calls[f"{noise:g}"] = (points, truth, known, guessed)
figures.slider("noise", figures.moons, calls, start=0)

# %% [markdown]
# Do our characters have such gaps? A classifier with one label of each of 60 characters guesses the labels of the
# others. We know the true ones, so we can count how many guesses are right. The threshold says how sure it must be. A
# validation image of each character chooses it, and "none" is one of the choices.

# %%
from tfxfer.transfer.feature.probe import linear_probe
from tfxfer.transfer.feature.self_training import ProbeEstimator, self_training

counts = np.bincount(labels, minlength=len(glyphs.class_names))
usable = np.flatnonzero(counts >= 6)
CHARACTERS = min(teach.size(60, 5), len(usable))


def small_task(seed):
    """Return rows of one label a character, the unlabelled, validation and test."""
    rng = np.random.default_rng(seed)
    some = rng.choice(usable, CHARACTERS, replace=False)
    parts = [[], [], [], []]
    for c in some:
        own = rng.permutation(np.flatnonzero(labels == c))
        for part, rows in zip(parts, (own[:1], own[1:4], own[4:5], own[5:])):
            part.extend(rows)
    place = {c: i for i, c in enumerate(some)}
    return [
        (np.array(rows), np.array([place[labels[i]] for i in rows])) for rows in parts
    ]


def head(train, task, x):
    """Return a linear head fitted on rows of features and labels."""
    held = (x[task[2][0]], task[2][1])
    return linear_probe(*train, validation=held, num_classes=CHARACTERS)


def score(model, task, x):
    """Return which test images are right, [M]."""
    return model.predict_proba(x[task[3][0]]).argmax(1) == task[3][1]


SEEDS, THRESHOLDS = teach.size(4, 2), (0.3, 0.5, 0.7, 0.9)
x = features["φ"]
rounds = {threshold: [0, 0] for threshold in THRESHOLDS}
chosen, gains, accuracy = [], [], []
for seed in range(SEEDS):
    task = small_task(seed)
    train = (x[task[0][0]], task[0][1])
    before = head(train, task, x)
    found = self_training(
        train,
        x[task[1][0]],
        (x[task[2][0]], task[2][1]),
        ProbeEstimator(CHARACTERS, before.l2),
        max(point.validation_accuracy for point in before.path),
        thresholds=THRESHOLDS,
        hidden=task[1][1],
    )
    for threshold in THRESHOLDS:
        for given, true in found.rounds[f"{threshold:g}"]:
            rounds[threshold][0] += true
            rounds[threshold][1] += given - true
    chosen.append("none" if found.threshold is None else f"{found.threshold:g}")
    accuracy.append(score(before, task, x).mean())
    gains.append(score(found.model or before, task, x).mean() - accuracy[-1])
figures.pseudo_labels(rounds, SEEDS * CHARACTERS * 3)

# %%
teach.say(f"""
The head with one label a character is right for {np.mean(accuracy):.0%} of the test
images. In {SEEDS} draws, validation chose these thresholds: {", ".join(chosen)}. The
test accuracy changed by {np.mean(gains):+.3f} on average. Most pseudo-labels are right,
and yet they bring little: **the classifier is sure of what it already knows**, and
where it is wrong, it is not corrected. `python -m tfxfer.train --arms transfer
self_training random` prints how many pseudo-labels were right in each round.
""")

# %% [markdown]
# ## 5 · Edited copies
#
# A character that is moved by two pixels is still the same character. A mirrored one may be another: “b” becomes “d”.
# Edits have to keep the label, and which ones do is knowledge about the task.

# %%
from tfxfer.data.augment.images import edited_images

EDITS = {"moved": ("shift", 0.1), "mirrored": ("flip", 1.0)}
task = small_task(0)
shown = images[task[0][0][:8]]
figures.edits(
    {"original": shown}
    | {name: edited_images(shown, *edit, seed=3) for name, edit in EDITS.items()}
)

# %%
COPIES = teach.size(4, 1)
gained = {name: [] for name in EDITS}
for seed in range(SEEDS):
    task = small_task(seed)
    rows, own = task[0]
    before = score(head((x[rows], own), task, x), task, x)
    for name, edit in EDITS.items():
        copies = [edited_images(images[rows], *edit, seed=i) for i in range(COPIES)]
        more = models["φ"].predict(np.concatenate(copies), verbose=0)
        train = (np.concatenate([x[rows], more]), np.tile(own, COPIES + 1))
        gained[name].append(score(head(train, task, x), task, x).mean() - before.mean())
for name, each in gained.items():
    print(f"{name}: {np.mean(each):+.3f}, in single draws", np.round(each, 3))

# %% [markdown]
# Neither helps here, and a frozen φ is why. It gives a moved character nearly the features that it had, so the head
# learns little from the copy; where the features do move, the head learns an accident of φ. Copies have most to give
# where the *network* is trained, and has yet to learn that the place does not matter. `--augment` runs each arm with
# and without copies, lets validation choose the strength, and refuses to mirror characters.
#
# ## 6 · Choose what to label
#
# Suppose you can ask for the label of any image. Which ones? *Margin* asks for those with the smallest difference
# between the two best classes. *Core-set* asks for those that are farthest from all labelled ones (Sener and Savarese
# 2018). The control asks at random. The task is the script of a character. Some scripts are rare.

# %%
from tfxfer.transfer.feature.active_learning import k_center_greedy, smallest_margins

scripts = tfxfer.load("glyphs/by_character", label="script")
scripts = scripts.with_at_most(test=teach.size(10_000, 1_500))
script, classes = scripts.labels("test"), len(scripts.class_names)
z = (x - x.mean(0)) / (x.std(0) + 1e-6)


def asks(how, probe, known, left, count, rng):
    """Return which of the rows that are left are labelled next."""
    if how == "margin":
        return left[smallest_margins(probe.predict_proba(z[left]), count)]
    if how == "core-set":
        return left[k_center_greedy(z[left], z[known], count)]
    return rng.permutation(left)[:count]


STEPS = teach.size((20, 40, 80, 160, 320), (20, 40))
curves = {how: [] for how in ("random", "margin", "core-set")}
for how, lines in curves.items():
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        characters = rng.permutation(np.unique(labels))
        is_test = np.isin(labels, characters[: len(characters) // 3])
        pool, test = np.flatnonzero(~is_test), np.flatnonzero(is_test)
        known, line, probe = rng.permutation(pool)[: STEPS[0]], [], None
        for step in STEPS:
            if step > len(known):
                left = np.setdiff1d(pool, known)
                more = asks(how, probe, known, left, step - len(known), rng)
                known = np.concatenate([known, more])
            probe = linear_probe(
                z[known], script[known], strengths=(1e-2,), num_classes=classes
            )
            line.append(np.mean(probe.predict_proba(z[test]).argmax(1) == script[test]))
        lines.append(line)
figures.label_curves({how: np.array(lines) for how, lines in curves.items()}, STEPS)

# %%
last = {how: np.array(lines)[:, -1] for how, lines in curves.items()}
listed = ", ".join(
    f"{how} {(each - last['random']).mean():+.3f}"
    for how, each in last.items()
    if how != "random"
)
teach.say(f"""
With {STEPS[-1]} labels, a random choice reaches {last["random"].mean():.0%}. The others
differ from it by: {listed}. A classifier with few labels does not know what it does not
know, so its margins lead to odd images first. **Random is a hard baseline**, and a
choice that costs a day of work should be compared with it.
""")

# %% [markdown]
# ## Exercises
#
# **13.1** An episode has 20 ways and 5 shots. What share of the queries does guessing get right?

# %%
teach.check("13.1", ...)

# %% [markdown]
# **13.2** The class "cat" has the shots 0 and 4, the class "dog" the shot 7 (features of one dimension). What does the
# nearest prototype answer to the query 4.2: "cat" or "dog"?

# %%
teach.check("13.2", ...)

# %% [markdown]
# **13.3** Write `margin(p)`: the difference between the two greatest of a list of probabilities.


# %%
def margin(p):
    return max(p)  # not yet


teach.check("13.3", ...)  # put margin here

# %% [markdown]
# **13.4** Validation accuracies: without pseudo-labels 0.62; threshold 0.5: 0.60; threshold 0.9: 0.62. What is used:
# "0.5", "0.9" or "none"?

# %%
teach.check("13.4", ...)

# %% [markdown]
# **13.5** The texts of photographs say "a dog to the left of a car". Which edit keeps the pairs true: "mirror", "shift"
# or "both"?

# %%
teach.check("13.5", ...)

# %% [markdown]
# **13.6** Transfer reaches 70 % with 5 labels a class. The baseline needs 20. There are 10 classes. How many labels
# does transfer save?

# %%
teach.check("13.6", ...)

# %% [markdown]
# ## Read next
#
# - J. Snell, K. Swersky, R. Zemel, *Prototypical networks for few-shot learning*, 2017.
# - D. Zhou et al., *Learning with local and global consistency*, 2004: label spreading.
# - A. Oliver et al., *Realistic evaluation of deep semi-supervised learning algorithms*, 2018: with well tuned
#   baselines and realistic validation splits, much of the gain is gone.
# - O. Sener, S. Savarese, *Active learning for convolutional neural networks: a core-set approach*, 2018.
# - E. Cubuk et al., *RandAugment*, 2020.
#
# {{ navigation }}
