# %% [markdown]
# # 08 · Your own data
#
# {{ header }}
#
# You have a folder of images and a table of texts. At the end of this lesson you have a model that takes raw text, a
# report that shows whether the images helped, and a folder that you can share.
#
# **After this lesson you can**
# - describe your data to tfxfer in one line, and understand its error messages;
# - run an experiment with all arms, and find the results in its folder;
# - use the saved model, evaluate it on new data, and share it.
#
# **Time to run:** about a minute on 2 CPU cores. **Needs:** nothing but tfxfer; no network. **Before:** lesson 03.

# %%
from tfxfer import teach

teach.start("08")

# %%
from tfxfer.teach.figures import lesson_08 as figures

figures.workflow()

# %% [markdown]
# ## 1 · A folder and a table
#
# These data stand for your own. The images are handwritten digits, which come with scikit-learn; each class has a
# folder. The texts are first sentences from the documentation of Python's standard library, each with its subject. Both
# are real, and are on your disk already.

# %%
import csv
import importlib
import inspect
import random
import re
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

work = Path(tempfile.mkdtemp())
scans = load_digits()
for i, (scan, digit) in enumerate(zip(scans.images, scans.target)):
    folder = work / "digits" / str(digit)
    folder.mkdir(parents=True, exist_ok=True)
    grey = Image.fromarray(
        (255 - scan * 255 / 16).astype(np.uint8)
    )  # black ink on white
    grey.resize((32, 32), Image.Resampling.BICUBIC).save(folder / f"{i}.png")

SUBJECTS = {
    "numbers": (
        "math",
        "cmath",
        "statistics",
        "decimal",
        "fractions",
        "random",
        "operator",
    ),
    "files": ("os", "shutil", "pathlib", "tempfile", "zipfile", "tarfile", "io"),
    "network": (
        "socket",
        "ssl",
        "http.client",
        "urllib.request",
        "ftplib",
        "smtplib",
        "imaplib",
        "ipaddress",
    ),
}


def documented(module):
    """Yield functions and classes of a module, and public members of classes."""
    for thing in vars(importlib.import_module(module)).values():
        if callable(thing):
            yield thing
        if inspect.isclass(thing):
            for name, member in vars(thing).items():
                if not name.startswith("_"):
                    yield member


def first_sentence(thing):
    """Return the first sentence of a docstring, on one line."""
    first, *_ = re.split(r"(?<=\.)\s|\n\s*\n", inspect.getdoc(thing) or "")
    return " ".join(first.split())


def is_prose(sentence):
    """Return whether this is a sentence of usual length, and no signature or name."""
    starts = re.match(r"[A-Z][a-z]+ [a-z]", sentence) is not None
    return 20 <= len(sentence) <= 90 and starts


found = {}
for subject, modules in SUBJECTS.items():
    things = (thing for module in modules for thing in documented(module))
    found[subject] = {first_sentence(thing) for thing in things}
subjects_of = Counter(sentence for each in found.values() for sentence in each)
own = {
    subject: sorted(s for s in sentences if is_prose(s) and subjects_of[s] == 1)
    for subject, sentences in found.items()
}
count = min(map(len, own.values()))  # the same for each subject: balanced classes
with (work / "sentences.csv").open("w", newline="", encoding="utf-8") as file:
    table = csv.writer(file)
    table.writerow(["sentence", "subject"])
    for subject, sentences in own.items():
        some = random.Random(0).sample(sentences, count)
        table.writerows([sentence, subject] for sentence in some)
print(*(work / "sentences.csv").read_text("utf-8").splitlines()[:4], sep="\n")

# %% [markdown]
# ## 2 · Specs: describe the data
#
# A *spec* names the data, and options name the columns. The splits are decided by a hash of the content, so the same
# sentence cannot be in two splits.

# %%
import tfxfer

digits = tfxfer.load(f"folder:{work}/digits")
texts = tfxfer.load(f"csv:{work}/sentences.csv", text="sentence", label="subject")
for dataset in (digits, texts):
    print(dataset.describe().replace(str(work), "…"), end="\n\n")

# %% [markdown]
# Real data have errors. A good error message names the file, the row, and the remedy. Here are three frequent errors:

# %%
from tfxfer.errors import UserError


def error_of(spec, **columns):
    """Return the error message for a data set that cannot be used."""
    try:
        list(tfxfer.load(spec, **columns).batches("train", 8))
        return "no error"
    except UserError as error:
        return str(error).replace(str(work), "…")


rows = "sentence,subject\nOpen a file.,files\n\nClose a socket.,\n"
(work / "short.csv").write_text(rows, "utf-8")
rows = "image,label\nmissing.png,cat\nmissing2.png,dog\n"
(work / "photos.csv").write_text(rows, "utf-8")
print(error_of(f"csv:{work}/sentences.csv", text="sentense", label="subject"))
print(error_of(f"csv:{work}/short.csv", text="sentence", label="subject"))
print(error_of(f"csv:{work}/photos.csv"))

# %% [markdown]
# ## 3 · Inspect the input of the network
#
# Inspect the input before you train. The source is trained on digits of 32 × 32 pixels. A sentence is long, so it is
# wrapped into rows. Two things can go wrong: letters that are much smaller or larger than the digits of the source, and
# an image that is too small for the whole sentence.

# %%
from tfxfer.transfer.bridges.render import RenderText, draw

DRAWING = {"height": 120, "width": 224, "font_size": 20, "layout": "rows"}
sentences = texts.texts("train")
some = [*sentences[:3], max(sentences, key=len)]
images = digits.with_at_most(train=10).arrays("train", channels=1)["image"]
figures.source_and_target(images, draw(some, **DRAWING))

# %%
everything = [text for split in texts.sizes for text in texts.texts(split)]


def number_cut(height):
    """Return how many sentences do not fit into images of this height."""
    cut = RenderText(**{**DRAWING, "height": height}).count(everything)["cut"]
    return int((np.array(cut) > 0).sum())


lower, height = 64, DRAWING["height"]
cut = number_cut(height)
rest = "none is cut: the network and the native baseline get the same text"
if cut:
    rest = f"{cut} are cut, and only the native baseline gets their whole text"
teach.say(f"""
There are {len(everything)} sentences. In images {lower} pixels high,
{number_cut(lower)} would be cut. In images {height} pixels high, {rest}.
""")

# %% [markdown]
# ## 4 · Train all arms
#
# This is the command that you would type in a terminal. It does every cheap check first, so that a typing error costs a
# second and not an hour.

# %%
import os
import shlex
import subprocess
import sys


def command(module, *words):
    """Run `python -m module words…` as in a terminal; return what it prints."""
    print("$ python -m", module, shlex.join(words))
    # plain text, without colours and progress bars
    settings = {
        name: value for name, value in os.environ.items() if "COLOR" not in name
    }
    settings |= {"COLUMNS": "100", "TERM": "dumb"}
    done = subprocess.run(
        [sys.executable, "-m", module, *words],
        cwd=work,
        env=settings,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.replace(str(work), "…").rstrip()


source_epochs, epochs = str(teach.size(6, 1)), str(teach.size(4, 1))
source = ("--source", "folder:digits", "--source-epochs", source_epochs)
target = ("--target", "csv:sentences.csv")
columns = ("--target-text", "sentence", "--target-label", "subject")
budgets = ("--labels-per-class", "5", "20")
training = ("--epochs", epochs, "--learning-rates", "1e-3", "1e-2")
drawing = [f"--{name.replace('_', '-')}={value}" for name, value in DRAWING.items()]
smoke = ["--smoke"] * teach.smoke()
options = (*source, *target, *columns, *budgets, *training, *drawing)
print(command("tfxfer.train", *options, "--run-dir", "runs/mine", *smoke))

# %% [markdown]
# ## 5 · The folder of the run

# %%
run = work / "runs" / "mine"
for file in sorted(run.iterdir()):
    print(f"{file.name:20} {file.stat().st_size:>10,} bytes")

# %% [markdown]
# `report.html` is a single page that needs no other file: open it in a browser. The same records can be read in Python:

# %%
from tfxfer.evaluate import Verdict, story, summary, verdicts
from tfxfer.records import Comparison
from tfxfer.report.figures import label_efficiency

comparison = Comparison.load(run)
most = max(comparison.budgets)
rows = [row for row in summary(comparison) if row["budget"] == most]
score = {row["arm"]: row["score"] for row in rows}
listed = ", ".join(f"{arm} {value:.3f}" for arm, value in score.items())
teach.show_figure(
    label_efficiency(comparison),
    f"""Accuracy on the test sentences against the number of labels a class, a line with
    an interval for each arm. At {most} labels a class: {listed}.""",
)

# %%
rows = verdicts(comparison, "transfer", "native")
native = Verdict.from_dict(next(row for row in rows if row["budget"] == most))
where = f"at {most} labels a class"
advice = {
    "helped": "use the transfer",
    "hurt": "use the native baseline",
    "no evidence": "no difference is shown, so use the simpler model, the baseline",
}
teach.say(f"""
> {" ".join(story(comparison)[:2])}

There are only {len(comparison.labels)} test sentences, and the source was trained once.
The interval does not contain the variation between trainings of the source (lesson 03).
If one end of it is near 0, another source can give another verdict.

The source was trained on handwritten digits, and the task is to classify the subject of
English sentences. With {most} labels a class the transfer gets {score["transfer"]:.1%},
and random weights get {score["random"]:.1%}. The native baseline, n-grams of words or
letters, gets **{score["native"]:.1%}**. Which one should you use? This is a question
about their difference on the same test sentences:

> {native.sentence("accuracy", where, comparison.about)}

So, for these data: {advice[native.word]}. One command was enough to find out.
""")

# %% [markdown]
# ## 6 · Share the model, and use it
#
# The model takes raw text. The bridge, the CNN and the head are in one file, and so are the glyphs, so the other
# machine needs no font. We copy three files into another folder, and use the model there.

# %%
import shutil

shared = work / "somewhere" / "else"
shared.mkdir(parents=True)
for name in ("model.keras", "model.json", "config.yaml"):
    shutil.copy(run / name, shared)
given = ("--text", "Open a socket and wait.", "Double a number.")
print(command("tfxfer.predict", "somewhere/else", *given))

# %%
teach.show(RenderText.save_assets)

# %% [markdown]
# ## 7 · Evaluate on new data
#
# There are six new sentences with their subjects. `evaluate` predicts them with the saved model, and compares the
# predictions with the labels. `--json` prints the scores for a program. These are the first lines:

# %%
import json

new = [
    ("Return the sine of x.", "numbers"),
    ("Round to n digits.", "numbers"),
    ("Remove a directory.", "files"),
    ("Copy a file and its mode.", "files"),
    ("Wait for a connection.", "network"),
    ("Send a line to the server.", "network"),
]
with (work / "new.csv").open("w", newline="", encoding="utf-8") as file:
    csv.writer(file).writerows([("sentence", "subject"), *new])
columns = ("--text", "sentence", "--label", "subject")
options = ("--data", "csv:new.csv", "--split", "all", *columns, "--json")
printed = command("tfxfer.evaluate", "runs/mine", *options)
print(*printed.splitlines()[:4], sep="\n")

# %%
from scipy.stats import binomtest

accuracy = json.loads(printed)["accuracy"]
correct = round(accuracy * len(new))
low, high = binomtest(correct, len(new)).proportion_ci()  # Clopper and Pearson
chance = 1 / len(SUBJECTS)
meaning = f"It contains chance ({chance:.0%}), so there is no evidence of skill."
if not low <= chance <= high:
    meaning = f"It does not contain chance ({chance:.0%}), but it is wide."
teach.say(f"""
An accuracy of {accuracy:.3f} on **{len(new)} examples** means that {correct} of
{len(new)} are correct. The exact 95 % interval goes from {low:.0%} to {high:.0%}.
{meaning} An accuracy without the number of examples says little.
""")

# %% [markdown]
# `python -m tfxfer.train --config runs/mine/config.yaml` repeats the run, also in a year. What has not changed is taken
# from the cache.
#
# ## Exercises
#
# **08.1** Your images are in `birds/`, with a sub-folder for each species. Which spec: "folder:birds", "csv:birds" or
# "tfds:birds"?

# %%
teach.check("08.1", ...)

# %% [markdown]
# **08.2** The run above has two budgets and three seeds. Transfer, random and native run at both budgets; scratch and
# finetune at one. Majority does not depend on the seed: it runs at both budgets with one seed. How many records are
# there?

# %%
teach.check("08.2", ...)

# %% [markdown]
# **08.3** A colleague gets your `model.keras`. What else does the other machine need: "training data", "font" or
# "tfxfer"?

# %%
teach.check("08.3", ...)

# %% [markdown]
# **08.4** You try ten ways to draw the text, and keep the one with the highest test accuracy. What is this accuracy
# as an estimate: "honest", "too high" or "too low"?

# %%
teach.check("08.4", ...)

# %% [markdown]
# ## Read next
#
# - T. Gebru et al., *Datasheets for datasets*, 2021: what to document about your data.
# - M. Mitchell et al., *Model cards for model reporting*, 2019: what to document about your model.
# - E. Alpaydin, C. Kaynak, *Optical recognition of handwritten digits* (UCI), 1998: the digits of this lesson.
# - All options: `python -m tfxfer.train --help-all`. A data set of your own in tfxfer: `docs/adding.md`.
#
# {{ navigation }}
