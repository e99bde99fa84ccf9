# %% [markdown]
# # 08 · Your own data, start to end
#
# You have a folder of pictures and a table of texts. At the end of this lesson you have a model that takes raw text,
# a page that says whether the pictures helped, and a folder that you can give to somebody else.
#
# **After this lesson you can**
# - describe your data to tfxfer in one line, and read its complaints;
# - run an experiment with all arms, and find your way in its folder;
# - ask the saved model, judge it on new data, and hand it on.
#
# **Time to run:** about a minute on 2 CPU cores. **Needs:** nothing but tfxfer; no network. **Before:** lesson 03.

# %%
from tfxfer import teach

teach.start("08")

# %%
from tfxfer.teach.figures import lesson_08 as figures

figures.way()

# %% [markdown]
# ## 1 · A folder and a table
#
# Let us pretend that these are yours. The pictures are handwritten digits, which come with scikit-learn; each class
# has a folder. The texts are first sentences from the documentation of Python's own library, each with its subject.
# Both are real, and on your disk already.

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
    grey = Image.fromarray((255 - scan * 255 / 16).astype(np.uint8))  # black ink on white
    grey.resize((32, 32), Image.Resampling.BICUBIC).save(folder / f"{i}.png")

SUBJECTS = {
    "numbers": ("math", "cmath", "statistics", "decimal", "fractions", "random", "operator"),
    "files": ("os", "shutil", "pathlib", "tempfile", "zipfile", "tarfile", "io"),
    "network": ("socket", "ssl", "http.client", "urllib.request", "ftplib", "smtplib", "imaplib", "ipaddress"),
}


def documented(module):
    """Yield what a module offers: functions, classes, and the public members of classes."""
    for thing in vars(importlib.import_module(module)).values():
        if callable(thing):
            yield thing
        if inspect.isclass(thing):
            yield from (member for name, member in vars(thing).items() if not name.startswith("_"))


def first_sentence(thing):
    """Return the first sentence of a thing's documentation, on one line."""
    first, *_ = re.split(r"(?<=\.)\s|\n\s*\n", inspect.getdoc(thing) or "")
    return " ".join(first.split())


def is_prose(sentence):
    """Return whether this is a sentence of usual length, rather than a signature or a name."""
    return 20 <= len(sentence) <= 90 and re.match(r"[A-Z][a-z]+ [a-z]", sentence) is not None


found = {
    subject: {first_sentence(thing) for module in modules for thing in documented(module)}
    for subject, modules in SUBJECTS.items()
}
subjects_with = Counter(sentence for sentences in found.values() for sentence in sentences)
own = {
    subject: sorted(s for s in sentences if is_prose(s) and subjects_with[s] == 1)
    for subject, sentences in found.items()
}
least = min(map(len, own.values()))  # as many of each, so that no subject is the safe guess
with (work / "sentences.csv").open("w", newline="", encoding="utf-8") as file:
    table = csv.writer(file)
    table.writerow(["sentence", "subject"])
    for subject, sentences in own.items():
        table.writerows([sentence, subject] for sentence in random.Random(0).sample(sentences, least))
print(*(work / "sentences.csv").read_text("utf-8").splitlines()[:4], sep="\n")

# %% [markdown]
# ## 2 · Say what they are
#
# A *spec* names the data; options name the columns. The splits are cut by a hash of the content, so the same sentence
# can never stand in two of them.

# %%
import tfxfer

digits = tfxfer.load(f"folder:{work}/digits")
texts = tfxfer.load(f"csv:{work}/sentences.csv", text="sentence", label="subject")
print("\n\n".join(part.describe().replace(str(work), "…") for part in (digits, texts)))

# %% [markdown]
# Real data have faults. A good complaint names the file, the row, and what to do. Three typical ones:

# %%
from tfxfer.errors import UserError


def complaint(spec, **columns):
    """Return what tfxfer says about a data set that cannot be used."""
    try:
        list(tfxfer.load(spec, **columns).batches("train", 8))
        return "nothing to complain about"
    except UserError as error:
        return str(error).replace(str(work), "…")


(work / "short.csv").write_text("sentence,subject\nOpen a file.,files\n\nClose a socket.,\n", "utf-8")
(work / "photos.csv").write_text("image,label\nmissing.png,cat\nmissing2.png,dog\n", "utf-8")
print(complaint(f"csv:{work}/sentences.csv", text="sentense", label="subject"))
print(complaint(f"csv:{work}/short.csv", text="sentence", label="subject"))
print(complaint(f"csv:{work}/photos.csv"))

# %% [markdown]
# ## 3 · What will the network see?
#
# Look before you train. The source learns digits of 32 × 32 pixels. A sentence is long, so it is wrapped into rows.
# Letters much smaller or larger than those digits will not look familiar to the source, and a picture that is too
# small cuts the end off.

# %%
from tfxfer.transfer.bridges.render import RenderText, draw

DRAWING = {"height": 120, "width": 224, "font_size": 20, "layout": "rows"}
sentences = texts.texts("train")
some = [*sentences[:3], max(sentences, key=len)]
figures.seen(digits.with_at_most(train=10).arrays("train", channels=1)["image"], draw(some, **DRAWING))

# %%
everything = [text for split in texts.sizes for text in texts.texts(split)]


def cut_off(height):
    """Return how many sentences lose their end in pictures of this height."""
    lost = RenderText(**{**DRAWING, "height": height}).count(everything)["cut"]
    return int((np.array(lost) > 0).sum())


lower, height, cut = 64, DRAWING["height"], cut_off(DRAWING["height"])
rest = "none is cut: the network is shown all that the native model reads"
if cut:
    rest = f"{cut} are cut, and the native model still reads all of these"
teach.say(f"""
Of {len(everything)} sentences, pictures {lower} pixels high would cut {cut_off(lower)} at the edge. With {height}
pixels {rest}.
""")

# %% [markdown]
# ## 4 · Train, with every arm
#
# The command is what you would type in a terminal. It first checks all that is quick to check, so that a typing error
# costs a second and not an hour.

# %%
import os
import shlex
import subprocess
import sys


def command(module, *words):
    """Run `python -m module words…` in the working folder, as in a terminal; return what it printed."""
    print("$ python -m", module, shlex.join(words))
    settings = {name: value for name, value in os.environ.items() if "COLOR" not in name}  # plain text, no bars
    settings |= {"COLUMNS": "100", "TERM": "dumb"}
    argv = [sys.executable, "-m", module, *words]
    done = subprocess.run(argv, cwd=work, env=settings, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return done.stdout.replace(str(work), "…").rstrip()


options = [f"--{name.replace('_', '-')}={value}" for name, value in DRAWING.items()]
told = command(
    "tfxfer.train",
    *("--source", "folder:digits", "--source-epochs", "6"),
    *("--target", "csv:sentences.csv", "--target-text", "sentence", "--target-label", "subject"),
    *("--labels-per-class", "5", "20", "--epochs", "4", "--learning-rates", "1e-3", "1e-2", *options),
    *("--run-dir", "runs/mine", *["--smoke"] * teach.smoke()),
)
print(told)

# %% [markdown]
# ## 5 · What is in the folder

# %%
run = work / "runs" / "mine"
for file in sorted(run.iterdir()):
    print(f"{file.name:20} {file.stat().st_size:>10,} bytes")

# %% [markdown]
# `report.html` is one page that needs nothing else: open it in a browser. The same records are there for Python:

# %%
from tfxfer.evaluate import Verdict, story, summary, verdicts
from tfxfer.records import Comparison
from tfxfer.report.figures import label_efficiency

comparison = Comparison.load(run)
label_efficiency(comparison)

# %%
most = max(comparison.budgets)
score = {row["arm"]: row["score"] for row in summary(comparison) if row["budget"] == most}
against_native = {row["budget"]: row for row in verdicts(comparison, "transfer", "native")}[most]
advice = {"helped": "use the transfer", "hurt": "use the native model"}.get(
    against_native["word"], "no difference was shown, so take the simpler model, which is the native one"
)
teach.say(f"""
> {story(comparison)[0]}

A network that knows handwritten digits was asked for the subject of English sentences. At {most} labels per class it
gets {score["transfer"]:.1%}. The same network with random weights gets {score["random"]:.1%}; its head was trained in
the same way. The native model, which counts words or letters, gets **{score["native"]:.1%}**. Two scores do not say
which one to use. Their difference on the same test sentences, with its interval, does:

> {Verdict.from_dict(against_native).sentence("accuracy", f"at {most} labels per class")}

So the advice, with these data, is: {advice}. It took one command to find out.
""")

# %% [markdown]
# ## 6 · Hand it on, and ask it
#
# The model takes raw text. The drawing, the CNN and the head are inside one file, and so are the glyphs, so the other
# machine needs no font. We copy three files to “somewhere else” and ask there.

# %%
import shutil

shared = work / "somewhere" / "else"
shared.mkdir(parents=True)
for name in ("model.keras", "model.json", "config.yaml"):
    shutil.copy(run / name, shared)
print(command("tfxfer.predict", "somewhere/else", "--text", "Open a socket and wait.", "Double a number."))

# %%
teach.show(RenderText.save_assets)

# %% [markdown]
# ## 7 · Judge it on new data
#
# Six new sentences came in, with their subjects. `evaluate` answers them with the saved model and scores the answers.
# With `--json` a program can read the scores; these are the first lines.

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
told = command("tfxfer.evaluate", "runs/mine", "--data", "csv:new.csv", "--split", "all", *columns, "--json")
print(*told.splitlines()[:4], sep="\n")

# %%
from scipy.stats import binomtest

right = round(json.loads(told)["accuracy"] * len(new))
low, high = binomtest(right, len(new)).proportion_ci()  # Clopper and Pearson's, exact for however few
guess = 1 / len(SUBJECTS)
meaning = "lies outside. Still, so few sentences cannot say how good the model is"
if low <= guess <= high:
    meaning = "lies inside. So few sentences decide nothing"
teach.say(f"""
**{right} of {len(new)}** are right. The exact 95 % interval of that share goes from {low:.0%} to {high:.0%}. Guessing
would give {guess:.0%}, which {meaning}.
""")

# %% [markdown]
# And in a year? `python -m tfxfer.train --config runs/mine/config.yaml` runs exactly this again. What has not changed
# is taken from the cache.
#
# ## Exercises
#
# **08.1** Your pictures lie in `birds/` with a sub-folder for each kind. Which spec: "folder:birds", "csv:birds" or
# "tfds:birds"?

# %%
teach.check("08.1", ...)

# %% [markdown]
# **08.2** The run above has two budgets and three seeds. Transfer, random and native run at both budgets; scratch and
# finetune at one. Majority, where luck plays no part, runs at both with one seed. How many records is that?

# %%
teach.check("08.2", ...)

# %% [markdown]
# **08.3** A colleague gets your `model.keras`. What else does the other machine need: "training data", "font" or
# "tfxfer"?

# %%
teach.check("08.3", ...)

# %% [markdown]
# **08.4** You try ten ways to draw the text and keep the one with the best test score. What is that score now:
# "honest", "too high" or "too low"?

# %%
teach.check("08.4", ...)

# %% [markdown]
# ## Read next
#
# - T. Gebru et al., *Datasheets for datasets*, 2021: what to write beside your own data.
# - M. Mitchell et al., *Model cards for model reporting*, 2019: what to write beside your model.
# - E. Alpaydin, C. Kaynak, *Optical recognition of handwritten digits* (UCI), 1998: the digits of this lesson.
# - All options: `python -m tfxfer.train --help`. Adding a data set of your own to tfxfer: `docs/adding.md`.
