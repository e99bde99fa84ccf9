"""Solutions of lesson 03. Try the exercises first."""


def lead_of(a, b):
    """Mean over seeds and examples; True counts 1."""
    return (a.astype(float) - b.astype(float)).mean()


SOLUTIONS = {
    "03.1": "random",  # the same architecture and trainable set, random weights
    "03.2": "no evidence",  # 0 is in the interval
    "03.3": 20 * 0.05,
    "03.4": lead_of,
    "03.5": 10,  # the same tuning for every arm
    "03.6": "it stays or rises",  # the list of photographs pairs the words
}
