"""`languages`: CLDR's names of countries, currencies, units, … in many languages; the label is the language."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from tfxfer.data.builders.faces import inked_characters
from tfxfer.data.builders.offline import OfflineBuilder
from tfxfer.data.splits import SPLITS, same_text, split_of

LATIN = ("de", "en", "es", "fr", "it", "nl", "pl", "pt", "sv", "tr")
OTHERS = ("bg", "cs", "da", "el", "et", "fi", "hu", "hy", "id", "ka", "lt", "ro", "ru", "sk", "uk", "vi")
OTHER_LATIN = ("cs", "da", "et", "fi", "hu", "id", "lt", "ro", "sk", "vi")  # of OTHERS, those in Latin script
CODES = {"all": LATIN + OTHERS, "latin": LATIN, "other": OTHER_LATIN}  # configuration -> languages
KINDS = ("territories", "languages", "scripts", "currencies", "variants", "cities", "time zones", "units")


def english_name(code: str) -> str:
    """Return the English name of a language.

    >>> english_name("pt")
    'Portuguese'
    """
    from babel import Locale

    return str(Locale(code).english_name)


def display_names(code: str) -> dict[str, str]:
    """Return phrase -> kind for one language, in CLDR's order; numbers and codes without letters left out."""
    from babel import Locale

    locale = Locale(code)
    zones = [zone.get("long") or {} for zone in locale.meta_zones.values()]
    tables: dict[str, Any] = {kind: getattr(locale, kind).values() for kind in KINDS[:5]}
    tables["cities"] = [zone["city"] for zone in locale.time_zones.values() if "city" in zone]
    tables["time zones"] = [zone.get("generic") or zone.get("standard") for zone in zones]  # not the summer name too
    tables["units"] = [unit.get("long") for unit in locale.unit_display_names.values()]
    found: dict[str, str] = {}
    for kind in KINDS:
        for phrase in tables[kind]:
            if isinstance(phrase, str) and sum(map(str.isalpha, phrase)) >= 2:
                found.setdefault(phrase.strip(), kind)
    return found


def phrases(codes: tuple[str, ...]) -> tuple[list[dict[str, str]], Counter]:
    """Return the phrases that occur in one language only, and reason -> number of phrases left out.

    Two phrases are the same when they agree after NFC and case folding. A phrase with a character that is
    blank or missing in DejaVu Sans is left out, spaces excepted.
    """
    ink = inked_characters("DejaVuSans") | {" "}
    rows, left_out = [], Counter[str]()
    languages: dict[str, set[str]] = defaultdict(set)
    for code in codes:
        seen: set[str] = set()
        for phrase, kind in display_names(code).items():
            phrase = " ".join(phrase.split())
            key = same_text(phrase)
            languages[key].add(code)
            if key in seen:
                left_out["written twice"] += 1
            elif not ink.issuperset(phrase):
                left_out["not drawable"] += 1
            else:
                rows.append({"text": phrase, "label": english_name(code), "kind": kind})
            seen.add(key)
    kept = [row for row in rows if len(languages[same_text(row["text"])]) == 1]
    left_out["shared by languages"] = len(rows) - len(kept)
    return kept, left_out


class Languages(OfflineBuilder):
    """CLDR display names, labelled by language."""

    BUILDER_CONFIGS: ClassVar = [
        tfds.core.BuilderConfig(name="all", description="26 languages in 5 scripts."),
        tfds.core.BuilderConfig(name="latin", description="10 languages in Latin script."),
        tfds.core.BuilderConfig(name="other", description="10 other languages in Latin script."),
    ]

    @property
    def codes(self) -> tuple[str, ...]:
        """ISO 639-1 codes of the languages of this configuration."""
        return CODES[self.builder_config.name]

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "text": tfds.features.Text(),
            "label": tfds.features.ClassLabel(names=sorted(map(english_name, self.codes))),
            "kind": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description="CLDR display names in many languages; those that two languages share are left out.",
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("text", "label"),
            homepage="https://cldr.unicode.org",
            license="Unicode licence",
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[str, dict]]]:
        rows, _ = phrases(self.codes)
        assigned = [split_of(same_text(row["text"])) for row in rows]
        return {s: self._generate_examples([r for r, split in zip(rows, assigned) if split == s]) for s in SPLITS}

    def _generate_examples(self, rows: list[dict[str, str]]) -> Iterator[tuple[str, dict]]:
        for row in rows:
            yield same_text(row["text"]), row
