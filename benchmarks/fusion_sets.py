"""The two real sets of docs/fusion.md, made of the real data beside the repository.

python -m benchmarks.fusion_sets FOLDER        writes FOLDER/flickr8k.csv, FOLDER/ag_news.csv and their images

flickr8k.csv   image, one caption, and the cluster of the photo's other four captions. Words of these four (TF-IDF)
               are reduced to 50 dimensions, and k-means finds 8 clusters. Vocabulary, reduction and clusters are made
               on the training photos; those of validation and test are put into the nearest cluster. The caption that
               is given is in no cluster. 400 photos for training, 120 for validation and 280 for test, with a seed.
ag_news.csv    title, the same title drawn as an image, and the topic: an image that can tell nothing new.
"""

import csv
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

SHARED = Path(__file__).parent.parent.parent / "shared" / "data"
CLUSTERS, DIMENSIONS = 8, 50
SPLITS = (("train", 400), ("validation", 120), ("test", 280))
NEWS = (("train", 1200), ("validation", 400), ("test", 800))


def main(folder: str) -> None:
    """Write both sets."""
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    if not SHARED.is_dir():
        sys.exit(f"{SHARED}: the real data are not here")
    flickr(out)
    news(out)


def flickr(out: Path) -> None:
    """Write photos with their first caption, and the cluster of the other captions."""
    captions: dict[str, list[str]] = defaultdict(list)
    with (SHARED / "flickr8k_800" / "captions.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            captions[row["image"]].append(row["caption"])
    names = sorted(captions)
    splits = _splits(len(names), SPLITS)
    others = [" ".join(captions[name][1:]) for name in names]
    clusters = _clusters(others, splits == "train")
    images = out / "flickr8k_images"
    if not images.exists():
        images.symlink_to(SHARED / "flickr8k_800" / "images")
    rows = [
        {"image": f"{images.name}/{name}", "caption": captions[name][0], "cluster": cluster, "split": split}
        for name, cluster, split in zip(names, clusters, splits)
    ]
    _write(out / "flickr8k.csv", rows)


def news(out: Path) -> None:
    """Write titles with their image and their topic."""
    from PIL import Image

    from tfxfer.transfer.bridges.render import RenderText

    with (SHARED / "ag_news.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[: sum(size for _, size in NEWS)]
    splits = _splits(len(rows), NEWS)
    folder = out / "ag_news_images"
    folder.mkdir(exist_ok=True)
    pixels = np.asarray(RenderText(64, 224, 16, layout="rows")(np.array([row["title"] for row in rows], object)))
    table = []
    for number, (row, image, split) in enumerate(zip(rows, pixels, splits)):
        place = folder / f"{number:04d}.png"
        Image.fromarray(image[..., 0]).save(place)
        relative = f"{folder.name}/{place.name}"
        table.append({"image": relative, "title": row["title"], "topic": row["label"], "split": split})
    _write(out / "ag_news.csv", table)


def _splits(count: int, sizes: tuple[tuple[str, int], ...]) -> np.ndarray:
    names = np.repeat([name for name, _ in sizes], [size for _, size in sizes])[:count]
    return names[np.argsort(np.random.default_rng(0).permutation(count))]


def _clusters(texts: list[str], train: np.ndarray) -> list[str]:
    """Return the name of each text's cluster, its number and its three commonest words."""
    from sklearn.cluster import KMeans
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    known = [text for text, one in zip(texts, train) if one]
    words = TfidfVectorizer(stop_words="english", min_df=3, sublinear_tf=True).fit(known)
    small = TruncatedSVD(DIMENSIONS, random_state=0).fit(words.transform(known))
    rows = normalize(small.transform(words.transform(texts)))
    found = KMeans(CLUSTERS, n_init=10, random_state=0).fit(rows[train])
    centres = small.inverse_transform(found.cluster_centers_)
    vocabulary = words.get_feature_names_out()
    names = ["_".join(vocabulary[place] for place in np.argsort(-centre)[:3]) for centre in centres]
    return [f"{cluster}_{names[cluster]}" for cluster in found.predict(rows)]


def _write(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print(f"{path}: {len(rows):,} rows")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "fusion_sets")
