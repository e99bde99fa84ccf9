# %% [markdown]
# # 11 · Judging: figures and people
#
# {{ header }}
#
# Two captioners answer the same images. One has a higher score. Is it better? This lesson asks what the experiment
# could have found, what "no evidence" does not say, what people say, and whether the metric agrees with them.
#
# **After this lesson you can**
# - say, before and after an experiment, how small a difference it can find;
# - show that a lighter model is *not worse*, which a small difference of means does not show;
# - rate captions blind, and measure how far raters agree beyond chance;
# - find out where a metric and a person disagree.
#
# **Time to run:** about a minute and a half on 2 CPU cores. **Needs:** tfxfer; no network. **Before:** lessons 03 and
# 05.

# %%
from tfxfer import teach

teach.start("11")

# %% [markdown]
# ## 1 · Two captioners
#
# Both use the same small CNN of characters, and the same training captions. The *nearest image* copies the caption of
# the most similar training image. The *closed form* of lesson 05 fits K = f(X)·g(Y) by ridge regression, and answers
# with the training caption of the greatest K. Each seed draws other training pairs. That takes a second, so we can
# afford ten seeds.

# %%
import keras
import numpy as np

import tfxfer
from tfxfer.evaluate import captions as caption_scores
from tfxfer.evaluate import verdict
from tfxfer.fit import cosine
from tfxfer.teach.figures import lesson_11 as figures
from tfxfer.transfer.feature import extractor
from tfxfer.transfer.knowledge import ClosedFormCaptioner

SEEDS, PAIRS = teach.size(10, 3), teach.size(300, 24)
glyphs = tfxfer.load("glyphs").with_at_most(
    validation=teach.size(150, 12), test=teach.size(200, 16)
)
cnn = tfxfer.source("fresh:cnn", num_classes=len(glyphs.class_names), seed=0)
cnn.compile(keras.optimizers.Adam(), "sparse_categorical_crossentropy")
for epoch in range(2):
    cnn.optimizer.learning_rate = cosine(1e-2, 2)(epoch)
    rows = glyphs.batches("train", 128, keys=["image", "label"], shuffle_seed=epoch)
    rows = rows.map(lambda row: (row["image"], row["label"]))
    cnn.fit(rows.take(teach.size(100, 2)), shuffle=False, verbose=0)

# one image of each of at most 1,500 training characters
few = glyphs.with_at_most(train=teach.size(1_500, 60))
SPLITS = ("train", "validation", "test")
images = {split: few.arrays(split)["image"] for split in SPLITS}
captions = {
    split: [text.lower() for text in few.texts(split, "caption")] for split in SPLITS
}
references = [[text] for text in captions["test"]]
last = extractor(cnn, "relu4", pooling="none")
maps = {
    split: last.predict(each, batch_size=128, verbose=0)  # [N, 8, 8, 128]
    for split, each in images.items()
}


def pooled(side):
    """Return the maps as means over a grid of side x side positions."""
    return {
        split: each.reshape(-1, side, 8 // side, side, 8 // side, each.shape[-1]).mean(
            (2, 4)
        )
        for split, each in maps.items()
    }


def drawn(seed):
    """Return which training pairs a seed draws."""
    return np.random.default_rng(seed).permutation(len(maps["train"]))[:PAIRS]


def closed_form(features, seed):
    """Return the captions of the test images by ridge regression."""
    rows = drawn(seed)
    texts = [[captions["train"][i]] for i in rows]
    held_out = (features["validation"], [[text] for text in captions["validation"]])
    fitted = ClosedFormCaptioner().fit(
        features["train"][rows], texts, validation=held_out
    )
    return [best[0] for best in fitted.predict(features["test"]).texts]


def nearest_image(features, seed):
    """Return for each test image the caption of the most similar training image."""
    rows = drawn(seed)
    known, new = (
        features[split].mean((1, 2))
        / np.linalg.norm(features[split].mean((1, 2)), axis=1)[:, None]
        for split in ("train", "test")
    )
    nearest = (new @ known[rows].T).argmax(1)
    return [captions["train"][rows[i]] for i in nearest]


def scored(method, features, metric="cider_d"):
    """Return the answers of the first seed, and all scores [seeds, images]."""
    answers = [method(features, seed) for seed in range(SEEDS)]
    each = [
        caption_scores(texts, references, per_caption=True)["per_caption"][metric]
        for texts in answers
    ]
    return answers[0], np.stack(each)


features = pooled(4)
answers, cider = {}, {}
for name, method in {
    "closed form": closed_form,
    "nearest image": nearest_image,
}.items():
    answers[name], cider[name] = scored(method, features)
PLAIN = {"arms": {"the nearest image's caption": {"role": "baseline"}}}
all_seeds = verdict(
    cider["closed form"],
    cider["nearest image"],
    names=("the closed form", "the nearest image's caption"),
)
teach.say(f"""
CIDEr-D is {cider["closed form"].mean():.3f} for the closed form and
{cider["nearest image"].mean():.3f} for the nearest image.

> {all_seeds.sentence("CIDEr-D", about=PLAIN)}
""")

# %% [markdown]
# ## 2 · What could this experiment find?
#
# A verdict says *helped* when the whole interval lies above 0. A small experiment has a wide interval, so it often
# misses a difference that is there. Its *power* is the share of experiments that find a true difference δ:
#
# $$\text{power}(δ) = P(|D| > h), \qquad D \sim \mathcal N(δ, V), \qquad V = \frac{s^2_\text{seeds}}{S} +
# \frac{s^2_\text{examples}}{N}$$
#
# h is half the width of the interval, S the number of seeds, N the number of test images. The *minimal detectable
# effect* is the δ that is found in four of five experiments. Move the slider: what do more seeds change, and when do
# they change nothing any more?

# %%
from tfxfer.evaluate.power import detectable, power, with_seeds
from tfxfer.evaluate.verdict import components

teach.show(power)

# %%
difference = cider["closed form"] - cider["nearest image"]  # [S, N]
found = components(difference.mean(0), [difference])
grid = np.linspace(0, max(0.3, 2 * abs(difference.mean())), 40)
calls = {}
for seeds in (2, 3, 5, 10, 20, 50):
    now = with_seeds(found, seeds)
    powers = [power(each, now) for each in grid]
    calls[str(seeds)] = (seeds, grid, powers, detectable(now), difference.mean())
figures.slider("number of seeds", figures.power_curve, calls, start=1)

# %%
by_seeds = {int(seeds): call[3] for seeds, call in calls.items()}
teach.say(f"""
With 2 seeds, 80 % of the experiments find a difference of {by_seeds[2]:.3f} CIDEr-D;
with 3 seeds {by_seeds[3]:.3f}, with 10 {by_seeds[10]:.3f}, with 50 {by_seeds[50]:.3f}.
From 10 to 50 seeds little changes: the rest is due to the {difference.shape[1]} test
images, and more seeds do not add any.
""")

# %% [markdown]
# Is this true? We can try it. A small experiment has 2 of the seeds and 50 of the test images. We run many of them, and
# count how often they find what all seeds and images show.

# %%
rng = np.random.default_rng(0)
TRIALS, FEW = teach.size(150, 5), teach.size(50, 8)
words = []
for _ in range(TRIALS):
    seeds = rng.permutation(SEEDS)[:2]
    some = rng.permutation(difference.shape[1])[:FEW]
    small = (cider[name][np.ix_(seeds, some)] for name in answers)
    words.append(verdict(*small, draws=1_000).word)
counted = {word: words.count(word) for word in ("helped", "no evidence", "hurt")}
teach.say(f"""
Of {TRIALS} small experiments, {counted["helped"]} say *helped*,
{counted["no evidence"]} say *no evidence* and {counted["hurt"]} say *hurt*. The
captioners are the same in all of them. So **no evidence from a small experiment says
more about the experiment than about the method**. `python -m tfxfer.train` prints the
minimal detectable effect, so that a reader can tell.
""")

# %% [markdown]
# ## 3 · Not worse?
#
# The closed form uses 4 × 4 positions of the feature map. With 2 × 2 positions its features are four times smaller. Is
# the smaller one as good? It is tempting to look at the difference of the means, or at the word *no evidence*. Neither
# shows it.

# %%
from tfxfer.evaluate.equivalence import equivalence

lighter, cider["smaller"] = scored(closed_form, pooled(2))
change = cider["smaller"].mean() - cider["closed form"].mean()
calls = {}
for margin in (0.02, 0.05, 0.1, 0.2, 0.3, 0.5):
    test = equivalence(cider["smaller"], cider["closed form"], margin)
    calls[f"{margin:g}"] = (margin, change, test.low, test.high, test.word)
figures.slider("margin", figures.margin_band, calls, start=1)

# %%
shown = [margin for margin, call in calls.items() if call[4] != "not shown"]
least = (
    f"Of the margins tried, the smallest within which that is shown is {shown[0]}."
    if shown
    else "Within none of the margins tried is that shown."
)
teach.say(f"""
The difference of the means is {change:+.3f}. The *margin* is the greatest loss that
would not matter, and it is chosen **before** the run, by what the model is for.
*Non-inferior* means that the whole interval lies above minus the margin; *equivalent*
that it lies within both. {least} A margin that is chosen after looking at this figure
shows nothing.
""")

# %% [markdown]
# ## 4 · Rate captions yourself
#
# CIDEr-D counts words. People read. Below are test images for which the two captioners answer differently. The order of
# A and B is random for each image, so you cannot know which captioner you prefer. Here the true name is not shown:
# look at the image.

# %%
differ = [
    i
    for i, (a, b) in enumerate(zip(answers["closed form"], answers["nearest image"]))
    if a != b
]
ITEMS = min(teach.size(12, 4), len(differ))
shown_items = np.random.default_rng(1).permutation(differ)[:ITEMS]
swapped = np.random.default_rng(2).random(ITEMS) < 0.5  # A is the nearest image's


def two(i, swap):
    """Return captions A and B of a test image."""
    both = (answers["closed form"][i], answers["nearest image"][i])
    return both[::-1] if swap else both


texts = [two(i, swap) for i, swap in zip(shown_items, swapped)]
figures.to_rate(images["test"][shown_items], texts)

# %% [markdown]
# Write a letter for each image, in this order: `A`, `B`, or `=` for a tie. If you leave the text empty, a program
# takes your place: it prefers the caption whose *first* word (mostly the script) is true. It has to know the true
# names for that; you do not. Two other programs rate beside you. One counts the true words. The other always prefers
# the longer text.

# %%
my_choices = ""  # for example "AB=BAABA=ABB"

# %%
CODES = {"A": 1, "=": 0, "B": -1}


def prefers(judge):
    """Return the choices of a program that gives each caption a number."""
    truths = [captions["test"][i] for i in shown_items]
    numbers = [
        [judge(text, truth) for text in pair] for pair, truth in zip(texts, truths)
    ]
    return np.sign([a - b for a, b in numbers]).astype(int)


def first_word(text, truth):
    """1 where the first word is true."""
    return float(text.split()[0] == truth.split()[0])


def words_shared(text, truth):
    """Share of the true words that are there, less the words that are too many."""
    given, true = set(text.split()), set(truth.split())
    return (len(given & true) - 0.5 * len(given - true)) / len(true)


def longer(text, truth):
    """The number of letters: a habit, which does not look at the image."""
    return len(text)


mine = [CODES[letter] for letter in my_choices.upper() if letter in CODES]
if mine and len(mine) != ITEMS:
    raise ValueError(f"my_choices has {len(mine)} letters; there are {ITEMS} images")
who = "you" if mine else "first word"
table = {
    who: np.array(mine) if mine else prefers(first_word),
    "words shared": prefers(words_shared),
    "longer text": prefers(longer),
}
figures.choices(table)

# %% [markdown]
# ### Agreement beyond chance
#
# Two raters who both choose A most of the time agree often, by chance alone. Cohen's κ takes that away: p is the share
# of images on which both agree, c the share that two raters with the same habits would agree on by chance:
#
# $$κ = \frac{p - c}{1 - c}, \qquad c = \sum_k P_1(k)\, P_2(k)$$

# %%
from tfxfer.rate.agreement import cohen_kappa, krippendorff_alpha


def kappa(one, other):
    """Cohen's kappa of two raters, from its equation."""
    p = np.mean(one == other)
    c = sum(np.mean(one == k) * np.mean(other == k) for k in (-1, 0, 1))
    return (p - c) / (1 - c)


raters = list(table)
for i, one in enumerate(raters):
    for other in raters[i + 1 :]:
        by_hand, library = (
            function(table[one], table[other]) for function in (kappa, cohen_kappa)
        )
        same = np.mean(table[one] == table[other])
        assert library is None or abs(by_hand - library) < 1e-9
        print(f"{one} and {other}: agree on {same:.0%}, kappa {by_hand:.2f}")
alpha = krippendorff_alpha(np.stack(list(table.values())), "ordinal")
print(f"Krippendorff's alpha of all: {alpha:.2f}")

# %%
which = np.where(swapped, -1, 1)  # 1 where A is the closed form
preferred = {rater: (given * which + 1).mean() / 2 for rater, given in table.items()}
listed = ", ".join(f"{rater} {share:.0%}" for rater, share in preferred.items())
teach.say(f"""
Now the names. The share of images for which the closed form is preferred, a tie
counting half: {listed}. With {ITEMS} images, each share is uncertain by about
±{1.96 * 0.5 / np.sqrt(ITEMS):.0%}. For a judgement you need more images and more than
one person: `tfxfer rate RUN_A RUN_B` opens a page for it, keeps every choice, adds
attention checks, and reports preference, α and κ with their intervals.
""")

# %% [markdown]
# ## 5 · Does the metric agree?
#
# A metric is a rater too. It is cheap and never tired. Does it want what you want? First a test that needs no people:
# one true name, and captions that are wrong in known ways.

# %%
TRUTH = "latin small letter e with acute"
WRONG = [
    "latin small letter e with grave",
    "latin capital letter e with acute",
    "greek small letter e with acute",
    "letter e",
    "latin small letter with",
]


def metrics_of(text):
    """Return each metric of a caption as a share of what the true caption gets."""
    pairs = [[text, *captions["test"]], [[TRUTH], *references]]
    best = [[TRUTH, *captions["test"]], [[TRUTH], *references]]
    got, most = (
        caption_scores(*each, per_caption=True)["per_caption"] for each in (pairs, best)
    )
    return {
        name: float(got[key][0] / most[key][0])
        for name, key in {
            "CIDEr-D": "cider_d",
            "ROUGE-L": "rouge_l",
            "token F1": "token_f1",
        }.items()
    }


fooled = {text: metrics_of(text) for text in WRONG}
figures.metrics_fooled(TRUTH, fooled)

# %%
capital, empty = fooled[WRONG[1]], fooled[WRONG[-1]]
teach.say(f"""
“{WRONG[1]}” is wrong in one word, the one that a reader would notice. ROUGE-L gives it
{capital["ROUGE-L"]:.0%} of the full score and CIDEr-D {capital["CIDEr-D"]:.0%}.
“{WRONG[-1]}” does not name any letter, and token F1 gives it {empty["token F1"]:.0%}.
No metric here knows which word matters.
""")

# %% [markdown]
# Then the same with the choices above, over the images that were rated:

# %%
from tfxfer.rate.agreement import rank_correlation

per_metric = {}
for name, key in {
    "CIDEr-D": "cider_d",
    "ROUGE-L": "rouge_l",
    "token F1": "token_f1",
}.items():
    both = [
        np.array(
            caption_scores(answers[arm], references, per_caption=True)["per_caption"][
                key
            ]
        )[shown_items]
        for arm in ("closed form", "nearest image")
    ]
    lead = (both[0] - both[1]) * which
    per_metric[name] = lead / max(np.abs(lead).max(), 1e-9)
figures.lead_by_choice(per_metric, table[who])

# %%
chosen = table[who]
correlations = {
    name: rank_correlation(lead, chosen) for name, lead in per_metric.items()
}
listed = ", ".join(
    f"{name} {value:+.2f}" if value is not None else f"{name} none"
    for name, value in correlations.items()
)
opposite = {name: int(((lead * chosen) < 0).sum()) for name, lead in per_metric.items()}
worst = max(opposite, key=opposite.get)
look = f"""{worst} prefers the other caption for {opposite[worst]} of {ITEMS} images.
Look at those first: either the rater or the metric has missed something."""
if not opposite[worst]:
    look = "No metric prefers the other caption for any image."
teach.say(f"""
Rank correlation with the choices of *{who}*: {listed}. {look} A program that compares
words agrees with a metric that compares words. Write your own choices above and run
this again. `tfxfer rate --report` lists the images on which metric and people disagree.
""")

# %% [markdown]
# ## 6 · Several questions
#
# We have compared the captioners by CIDEr-D. With two more metrics there are three chances to find something. Holm's
# method keeps the chance of *any* false alarm at one in twenty: the smallest p of three is multiplied by 3, the next by
# 2, the last by 1.

# %%
from tfxfer.evaluate.holm import holm

SHOWN = {"CIDEr-D": "cider_d", "ROUGE-L": "rouge_l", "token F1": "token_f1"}
found = {}
for name, key in SHOWN.items():
    a, b = (scored(method, features, key)[1] for method in (closed_form, nearest_image))
    found[name] = verdict(a, b)
adjusted = holm([one.p for one in found.values()])
for (name, one), p in zip(found.items(), adjusted):
    print(f"{name}: {one.difference:+.3f}, p {one.p:.4f}, adjusted {p:.4f}")

# %% [markdown]
# A comparison that was named *before* the run is not part of the family, and needs no adjustment. That is why tfxfer
# has one primary comparison: transfer against random weights, by the first measure of the recipe.
#
# ## Exercises
#
# **11.1** The minimal detectable effect of an experiment is 0.04, and nearly all of its variance comes from the 200
# test images. How many test images does it need to find 0.02?

# %%
teach.check("11.1", ...)

# %% [markdown]
# **11.2** A lighter model has 0.4 % less accuracy, with the 90 % interval −1.6 % to +0.8 %. The margin is 1 %. What is
# shown: "equivalent", "non-inferior" or "nothing"?

# %%
teach.check("11.2", ...)

# %% [markdown]
# **11.3** Write `non_inferior(low, margin)`: whether an interval with the lower end `low` shows that a model is not
# worse by more than `margin`.


# %%
def non_inferior(low, margin):
    return low > 0  # not yet


teach.check("11.3", ...)  # put non_inferior here

# %% [markdown]
# **11.4** Two raters each choose A for 9 of 10 images. They agree on 8 of 10. What is Cohen's κ, to two decimals?

# %%
teach.check("11.4", ...)

# %% [markdown]
# **11.5** Three secondary comparisons have p = 0.01, 0.02 and 0.04. How many remain below 0.05 after Holm's
# adjustment?

# %%
teach.check("11.5", ...)

# %% [markdown]
# **11.6** In a rating page, caption A is always the new model's. Raters in doubt choose the first one. Whose share
# grows: "the new model's", "the old model's" or "neither"?

# %%
teach.check("11.6", ...)

# %% [markdown]
# ## Read next
#
# - H. Bloom, *Minimum detectable effects: a simple way to report the statistical power of experimental designs*, 1995.
# - D. Card et al., *With little power comes great responsibility*, 2020: how many experiments of the field could not
#   have found what they looked for.
# - D. Schuirmann, *A comparison of the two one-sided tests procedure and the power approach*, 1987: equivalence.
# - R. Artstein, M. Poesio, *Inter-coder agreement for computational linguistics*, 2008: κ and α.
# - M. Kilickaya et al., *Re-evaluating automatic metrics for image captioning*, 2017.
#
# {{ navigation }}
