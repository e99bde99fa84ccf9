"""Render 20,000 real phrases with `RenderText` and with Pillow phrase by phrase, side by side in one run.

    python -m benchmarks.render [--phrases 20000] [--repeats 7]

Prints a table and one JSON line. The phrases are names of countries, languages and currencies in many
languages, from Babel's CLDR data. Both render them at the same size into one uint8 array, and the images of
the phrases without kerning pairs are compared pixel by pixel. The best of `--repeats` is taken, because other
work on the machine can only slow it.
"""

import argparse
import json
import os
import time
from collections.abc import Callable

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
LANGUAGES = ("cs", "de", "el", "en", "es", "et", "fi", "fr", "hu", "it", "lt", "nl", "pl", "pt", "ru", "sv", "tr", "vi")
PILLOW, DRAW, MAP = "Pillow, phrase by phrase", "draw (arrays)", "tf.data.map, batches of 256"
HEIGHT, WIDTH, MARGIN, FACE = 32, 256, 2, "DejaVuSans"


def phrases(number: int) -> list[str]:
    """Return the first `number` of CLDR's display names, repeated when there are fewer."""
    from babel import Locale

    names: list[str] = []
    for language in LANGUAGES:
        locale = Locale(language)
        names += [*locale.territories.values(), *locale.languages.values(), *locale.currencies.values()]
    names = [str(n) for n in names]
    return (names * (number // len(names) + 1))[:number]


def with_pillow(texts: list[str], size: int) -> np.ndarray:
    """Render phrase by phrase: uint8 [N, H, W]."""
    from PIL import Image, ImageDraw

    from tfxfer.transfer.bridges.atlas import load_font

    font = load_font(FACE, size)
    top = (HEIGHT - sum(font.getmetrics())) // 2
    images = np.empty((len(texts), HEIGHT, WIDTH), np.uint8)
    for pixels, text in zip(images, texts):
        image = Image.new("L", (WIDTH, HEIGHT), 255)
        ImageDraw.Draw(image).text((MARGIN, top), text, 0, font=font)
        pixels[:] = np.asarray(image)
    return images


def best_of(repeats: int, works: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return the least seconds of each work; they run in turns, so that other work on the machine slows all alike."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - start)
    return {name: min(values) for name, values in times.items()}


def agreement(texts: list[str], size: int, ours: np.ndarray, pillows: np.ndarray) -> tuple[int, int]:
    """Count the phrases both can render alike (no kerning pair, nothing cut off), and those that are equal."""
    from tfxfer.transfer.bridges.atlas import load_font

    font = load_font(FACE, size)
    widths = [sum(font.getlength(c) for c in t) for t in texts]
    alike = [i for i, t in enumerate(texts) if font.getlength(t) == widths[i] <= WIDTH - 2 * MARGIN]
    return len(alike), int((ours[alike, ..., 0] == pillows[alike]).all((1, 2)).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--phrases", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    texts = phrases(arguments.phrases)

    import tensorflow as tf

    from tfxfer.transfer.bridges.render import RenderText, draw

    options = {"height": HEIGHT, "width": WIDTH, "margin": MARGIN, "face": FACE}
    start = time.perf_counter()
    layer = RenderText(**options)
    build = time.perf_counter() - start
    pipeline = tf.data.Dataset.from_tensor_slices(texts).batch(256).map(layer, num_parallel_calls=2).prefetch(2)

    ours, pillows = draw(texts, **options), with_pillow(texts, layer.font_size)
    works = {
        PILLOW: lambda: with_pillow(texts, layer.font_size),
        DRAW: lambda: draw(texts, **options),
        MAP: lambda: [None for _ in pipeline],
    }
    seconds = best_of(arguments.repeats, works)
    alike, equal = agreement(texts, layer.font_size, ours, pillows)
    print(f"{len(texts):,} phrases of {HEIGHT} x {WIDTH} pixels, {FACE} {layer.font_size}; atlas: {build:.2f} s")
    for name, value in seconds.items():
        rate, ratio = len(texts) / value, seconds[PILLOW] / value
        print(f"  {name:30}{value:8.2f} s{rate:12,.0f} phrases/s{ratio:8.1f}x")
    print(f"  equal to Pillow, pixel by pixel: {equal:,} of the {alike:,} phrases without kerning that fit")
    promises = {
        f"rendering {len(texts):,} phrases, times faster than Pillow": [seconds[PILLOW] / seconds[DRAW], ">=", 10],
        "share of phrases without kerning that are pixel-equal to Pillow": [equal / alike, ">=", 1],
    }
    figures = {"benchmark": "render", "phrases": len(texts), "seconds": seconds, "equal": [equal, alike]}
    print(json.dumps(figures | {"promises": promises}))


if __name__ == "__main__":
    main()
