"""Solutions of lesson 11. Try the exercises first."""


def non_inferior(low, margin):
    """Whether the whole interval lies above minus the margin."""
    return low > -margin


SOLUTIONS = {
    "11.1": 200 * (0.04 / 0.02) ** 2,  # the standard error falls with the square root of N
    "11.2": "nothing",  # -1.6 % lies below -1 %
    "11.3": non_inferior,
    "11.4": (0.8 - (0.9 * 0.9 + 0.1 * 0.1)) / (1 - (0.9 * 0.9 + 0.1 * 0.1)),
    "11.5": 3,  # 0.01 * 3, 0.02 * 2 and 0.04 * 1, never falling: 0.03, 0.04, 0.04
    "11.6": "the new model's",
}
