"""Which emoji show one concept: variants for man, woman and person, hair, direction, hour and the like."""

import re

PEOPLE = "man woman person people men women boy girl child children baby kid adult male female"
DIRECTIONS = "left right up down upwards downwards leftwards rightwards clockwise counterclockwise facing pointing"
HAIR = r"\b(?:red|curly|white|blond) hair\b|\bbald\b|\bbeard\b"
SERIES = {  # a name that matches -> its concept, as a whole
    r"o['’]clock$|-thirty$": "clock",
    r"^keycap\b": "keycap",
    r"^family\b": "family",
    r"^globe showing\b": "globe",
    r"\b(?:new|full|crescent|gibbous|quarter) moon\b": "moon",
    r"^\d\w\w place medal$": "medal",
    r"\bclaus$": "Claus",
    r"^mer(?:man|maid|person)$": "merperson",
    r"^prince(?:ss)?$|^person with crown$": "royal",
}
LEFT_OUT = {*PEOPLE.split(), *DIRECTIONS.split()}


def concept_of(name: str) -> str:
    """Return the concept of an English CLDR name: the name without sex, age, hair and direction.

    >>> concept_of("woman running facing right"), concept_of("person running"), concept_of("ten-thirty")
    ('running', 'running', 'clock')
    >>> concept_of("man red hair"), concept_of("old woman"), concept_of("old key")
    ('person', 'person', 'old key')
    """
    name = name.casefold()
    for pattern, concept in SERIES.items():
        if re.search(pattern, name):
            return concept
    name = re.sub(r"\bold(?:er)? (?=man|woman|person|adult)", "", re.sub(HAIR, "", name))
    words = [word for word in re.split(r"[\s\-–,:()]+", name) if word and word not in LEFT_OUT]
    return " ".join(words) or "person"
