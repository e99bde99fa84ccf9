"""Solutions of lesson 12. Try the exercises first."""


def share(none, first, second, both):
    """The mean of what the first side adds to nothing, and of what it adds to the second."""
    return ((first - none) + (both - second)) / 2


SOLUTIONS = {
    "12.1": "unique",  # each digit is known to one of them only
    "12.2": 1.0,  # either copy tells the whole bit
    "12.3": share,
    "12.4": ((-1.5 + 2) + (-0.2 + 1)) / 2,  # the text first, and the text second
    "12.5": "the partner is not used",
    "12.6": (0.9 + 0.3) / 2,
}
