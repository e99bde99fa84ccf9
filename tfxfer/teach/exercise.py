"""What an exercise is: the type it wants, the right answer, and what typical wrong answers have misunderstood."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any


class Wanted:
    """The type of an answer.

    Attributes:
        words: What is wanted, to finish the sentence "this exercise wants …".
    """

    words = "an answer"

    def accepts(self, answer: Any) -> bool:
        """Return whether `answer` has this type."""
        raise NotImplementedError

    def same(self, answer: Any, expected: Any) -> bool:
        """Return whether an accepted answer says what `expected` says."""
        return bool(answer == expected)


@dataclass(frozen=True)
class Number(Wanted):
    """A number; answers within `tolerance` of each other are the same."""

    tolerance: float = 1e-9
    words: str = "a number, such as 0.25"

    def accepts(self, answer: Any) -> bool:
        """Return whether this is a finite number, and not a truth value."""
        return isinstance(answer, Real) and not _is_truth(answer) and math.isfinite(answer)

    def same(self, answer: Any, expected: Any) -> bool:
        """Return whether the two are within the tolerance."""
        return abs(float(answer) - float(expected)) <= self.tolerance


@dataclass(frozen=True)
class Whole(Wanted):
    """A whole number; 12.0 is taken for 12."""

    words: str = "a whole number, such as 12"

    def accepts(self, answer: Any) -> bool:
        """Return whether this is a number without a fraction, and not a truth value."""
        if _is_truth(answer):
            return False
        return isinstance(answer, Integral) or (isinstance(answer, Real) and float(answer).is_integer())


@dataclass(frozen=True)
class Choice(Wanted):
    """One word of a few; case and blanks around it do not matter."""

    options: tuple[str, ...]

    @property
    def words(self) -> str:  # type: ignore[override]
        """The options, in quotes."""
        return "one of " + ", ".join(f'"{option}"' for option in self.options)

    def accepts(self, answer: Any) -> bool:
        """Return whether this is one of the options."""
        return isinstance(answer, str) and answer.strip().casefold() in {o.casefold() for o in self.options}

    def same(self, answer: Any, expected: Any) -> bool:
        """Return whether both are the same option."""
        return answer.strip().casefold() == expected.casefold()


@dataclass(frozen=True)
class Shape(Wanted):
    """The shape of a tensor, as a tuple or list of whole numbers."""

    words: str = "a shape, such as (32, 10)"

    def accepts(self, answer: Any) -> bool:
        """Return whether this is a tuple or list of whole numbers."""
        return isinstance(answer, tuple | list) and all(Whole().accepts(n) for n in answer)

    def same(self, answer: Any, expected: Any) -> bool:
        """Return whether the two have the same numbers in the same order."""
        return tuple(int(n) for n in answer) == tuple(expected)


@dataclass(frozen=True)
class Function(Wanted):
    """A function that is tried on examples: `expected` is ((arguments, result), …), compared as arrays."""

    words: str = "a function: write its name without brackets"

    def accepts(self, answer: Any) -> bool:
        """Return whether this can be called."""
        return callable(answer)

    def same(self, answer: Any, expected: Any) -> bool:
        """Return whether the function gives the expected results."""
        import numpy as np

        for arguments, result in expected:
            given = np.asarray(answer(*arguments))
            if given.shape != np.shape(result) or not np.allclose(given, result, atol=1e-6):
                return False
        return True


@dataclass(frozen=True)
class Mistake:
    """A typical wrong answer, and a hint that helps without giving the answer away."""

    answer: Any
    hint: str


@dataclass(frozen=True)
class Exercise:
    """One question of a lesson.

    Attributes:
        wanted: Type of the answer.
        right: The right answer, in the form `wanted.same` compares with.
        because: Why it is right; shown after the right answer.
        mistakes: Typical wrong answers.
        hint: Shown for any other wrong answer.
    """

    wanted: Wanted
    right: Any
    because: str
    hint: str
    mistakes: tuple[Mistake, ...] = ()

    def makes(self, mistake: Mistake, answer: Any) -> bool:
        """Return whether `answer` is this mistake; a function is, when it gives what the mistaken one gives."""
        if not isinstance(self.wanted, Function):
            return self.wanted.same(answer, mistake.answer)
        wrong: Callable = mistake.answer
        return self.wanted.same(answer, [(arguments, wrong(*arguments)) for arguments, _ in self.right])


def _is_truth(answer: Any) -> bool:
    return isinstance(answer, bool) or type(answer).__name__ in ("bool_", "bool")
