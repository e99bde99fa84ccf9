"""CIDEr-D of 5,000 captions with five references each, against pycocoevalcap's on the same tokens.

    python -m benchmarks.captions

Needs the extra `oracle`. Captions are drawn from 3,000 words by Zipf's law, about ten a caption. The last line is JSON.
"""

import json
import time

import numpy as np

IMAGES, REFERENCES, WORDS = 5_000, 5, 3_000


def texts(seed=0):
    """Return captions [N] and references [N][5]; a reference shares about half its words with the others."""
    rng = np.random.default_rng(seed)
    frequency = 1 / np.arange(1, WORDS + 1)
    frequency /= frequency.sum()
    found = []
    for _ in range(IMAGES):
        common = rng.choice(WORDS, 10, p=frequency)
        own = [
            np.where(rng.random(10) < 0.5, common, rng.choice(WORDS, 10, p=frequency)) for _ in range(REFERENCES + 1)
        ]
        found.append([" ".join(f"w{i}" for i in words[: rng.integers(7, 11)]) for words in own])
    return [each[0] for each in found], [each[1:] for each in found]


def best_of(work, repeats=5):
    """Return the result and the least seconds of several runs."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - started)
    return result, min(seconds)


def main():
    try:
        from pycocoevalcap.cider.cider import Cider
    except ImportError:
        return print(json.dumps({"benchmark": "captions", "skipped": "needs the extra `oracle`", "promises": {}}))

    from tfxfer.evaluate.cider import cider

    given, wanted = texts()
    results, truths = {i: [text] for i, text in enumerate(given)}, dict(enumerate(wanted))
    ours, our_seconds = best_of(lambda: cider(given, wanted)["cider_d"])
    (_, theirs), their_seconds = best_of(lambda: Cider().compute_score(truths, results))
    apart = float(np.abs(ours - theirs).max())
    ratio = their_seconds / our_seconds
    print(f"ours {our_seconds:.2f} s, pycocoevalcap {their_seconds:.2f} s, greatest difference {apart:.1e}")
    promises = {
        "CIDEr-D of 5,000 images x 5 references, times faster than pycocoevalcap": [round(ratio, 1), ">=", 5],
        "greatest difference of a caption's CIDEr-D from pycocoevalcap's": [float(f"{apart:.1e}"), "<=", 1e-6],
    }
    figures = {"seconds": round(our_seconds, 3), "pycocoevalcap_seconds": round(their_seconds, 3)}
    print(json.dumps({"benchmark": "captions", **figures, "promises": promises}))


if __name__ == "__main__":
    main()
