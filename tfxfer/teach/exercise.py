"""What an exercise is: the type of its answer, the right answer, and what typical wrong answers have misunderstood."""

import copy
import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any


class AnswerType:
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
class Number(AnswerType):
    """A number, compared after rounding: an answer with as many decimals as the lesson prints is right.

    Attributes:
        decimals: Decimals that the lesson prints; None compares as exactly as a float can.
    """

    decimals: int | None = None
    words: str = "a number, such as 0.25"

    def accepts(self, answer: Any) -> bool:
        """Return whether this is a finite number or its text, such as "0.25" or "2/3", and not a truth value."""
        return number_in(answer) is not None

    def same(self, answer: Any, expected: Any) -> bool:
        """Return whether the two differ by no more than rounding to these decimals does."""
        given, wanted = number_in(answer), number_in(expected)
        tolerance = 1e-9 if self.decimals is None else 0.5 * 10**-self.decimals + 1e-9
        return given is not None and wanted is not None and abs(given - wanted) <= tolerance


@dataclass(frozen=True)
class WholeNumber(AnswerType):
    """A whole number; 12.0, "12" and "1,290" are accepted as well."""

    words: str = "a whole number, such as 12"

    def accepts(self, answer: Any) -> bool:
        """Return whether this is a number without a fraction, and not a truth value."""
        given = number_in(answer)
        return given is not None and given.is_integer()

    def same(self, answer: Any, expected: Any) -> bool:
        """Return whether the two are the same number."""
        return number_in(answer) == number_in(expected)


@dataclass(frozen=True)
class Choice(AnswerType):
    """One of a few words; case and surrounding spaces do not matter, and 0 counts as "0"."""

    options: tuple[str, ...]

    @property
    def words(self) -> str:  # type: ignore[override]
        """The options, in quotes."""
        return "one of " + ", ".join(f'"{option}"' for option in self.options)

    def accepts(self, answer: Any) -> bool:
        """Return whether this is one of the options."""
        return _word(answer) in {_word(option) for option in self.options}

    def same(self, answer: Any, expected: Any) -> bool:
        """Return whether both are the same option."""
        return _word(answer) == _word(expected)


@dataclass(frozen=True)
class Shape(AnswerType):
    """The shape of a tensor: a tuple, a list, an array or a `TensorShape` of whole numbers."""

    words: str = "a shape, such as (32, 10)"

    def accepts(self, answer: Any) -> bool:
        """Return whether this is a sequence of whole numbers."""
        if hasattr(answer, "tolist") or hasattr(answer, "as_list"):
            answer = _sizes(answer)
        return isinstance(answer, tuple | list) and all(WholeNumber().accepts(n) for n in answer)

    def same(self, answer: Any, expected: Any) -> bool:
        """Return whether the two have the same numbers in the same order."""
        return [number_in(n) for n in _sizes(answer)] == [number_in(n) for n in _sizes(expected)]


@dataclass(frozen=True)
class Function(AnswerType):
    """A function that is called with examples: `expected` is ((arguments, result), …), compared as arrays.

    Each call gets copies of the arguments, so that a function that changes them cannot change the next call.

    Attributes:
        read: Turns what a function returns into the array that is compared.
    """

    words: str = "a function: write its name without brackets"
    read: Callable[[Any], Any] | None = None

    def accepts(self, answer: Any) -> bool:
        """Return whether this can be called."""
        return callable(answer)

    def same(self, answer: Any, expected: Any) -> bool:
        """Return whether the function gives the expected results."""
        return self.first_difference(answer, expected) is None

    def first_difference(self, answer: Callable, expected: Sequence[Any]) -> "Difference | None":
        """Return the first example on which the function does not give the expected result, or None."""
        for arguments, result in expected:
            try:
                given = self.call(answer, arguments)
            except Exception as error:
                return Difference(arguments, None, result, error)
            if not self._equal(given, result):
                return Difference(arguments, given, result)
        return None

    def call(self, answer: Callable, arguments: Sequence[Any]) -> Any:
        """Call a function with copies of the arguments."""
        return answer(*copy.deepcopy(list(arguments)))

    def _equal(self, given: Any, result: Any) -> bool:
        import numpy as np

        if given is None:
            return False
        try:
            array = np.asarray(self.read(given) if self.read else given, dtype=float)
        except (TypeError, ValueError):  # rows of unequal length, or no numbers
            return False
        return array.shape == np.shape(result) and np.allclose(array, np.asarray(result, dtype=float), atol=1e-6)


@dataclass(frozen=True)
class Difference:
    """An example on which a function does not give the expected result.

    Attributes:
        arguments: What the function was called with.
        given: What it returned.
        result: What it should return.
        error: What it raised, if it did.
    """

    arguments: Sequence[Any]
    given: Any
    result: Any
    error: Exception | None = None

    def sentence(self, function: Callable) -> str:
        """Return the arguments, and the shapes of what was returned and of what is expected."""
        names = _names(function, len(self.arguments))
        called = ", ".join(f"{name} = {_short(value)}" for name, value in zip(names, self.arguments))
        if self.error is not None or self.given is None:
            return f"The call was: {called}."
        given, result = _shape(self.given), _shape(self.result)
        if given == result:
            return f"Called with {called}, it returned {_short(self.given, shape=False)}."
        return f"Called with {called}, it returned {given}; expected is {result}."


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
        right: The right answer, in the form that `wanted.same` compares with.
        because: Why it is right; shown after the right answer.
        mistakes: Typical wrong answers.
        hint: Shown for any other wrong answer.
    """

    wanted: AnswerType
    right: Any
    because: str
    hint: str
    mistakes: tuple[Mistake, ...] = ()

    def makes(self, mistake: Mistake, answer: Any) -> bool:
        """Return whether `answer` is this mistake; a function is, when it gives what the mistaken one gives."""
        if not isinstance(self.wanted, Function):
            return self.wanted.same(answer, mistake.answer)
        cases = [(arguments, self.wanted.call(mistake.answer, arguments)) for arguments, _ in self.right]
        return self.wanted.same(answer, cases)


def number_in(answer: Any) -> float | None:
    """Return the finite number that an answer is or writes, or None.

    >>> number_in("1,290"), number_in("2/3") == 2 / 3, number_in(True), number_in("many")
    (1290.0, True, None, None)
    """
    if not isinstance(answer, str) and hasattr(answer, "numpy"):
        answer = answer.numpy()  # a tensor of TensorFlow
    if hasattr(answer, "item") and getattr(answer, "shape", None) == ():
        answer = answer.item()
    if isinstance(answer, bool):
        return None
    try:
        text = answer.strip().replace(",", "").replace("−", "-") if isinstance(answer, str) else answer
        number = float(Fraction(text))
    except (ValueError, TypeError, OverflowError, ZeroDivisionError):
        return None
    return number if math.isfinite(number) else None


def _word(answer: Any) -> str | None:
    if isinstance(answer, str):
        return answer.strip().casefold()
    number = number_in(answer)
    return None if number is None else f"{number:g}"


def _sizes(answer: Any) -> list[Any]:
    for method in ("as_list", "tolist"):
        if hasattr(answer, method):
            listed = getattr(answer, method)()
            return listed if isinstance(listed, list) else [listed]
    return list(answer)


def _names(function: Callable, count: int) -> list[str]:
    """Return the names of a function's first arguments."""
    try:
        names = [name for name in inspect.signature(function).parameters if not name.startswith("_")]
    except (TypeError, ValueError):
        names = []
    return names if len(names) == count else [f"argument {i + 1}" for i in range(count)]


def _shape(value: Any) -> str:
    import numpy as np

    try:
        shape = np.shape(value)
    except ValueError:
        return f"a {type(value).__name__} of parts of unequal shapes"
    return f"shape {shape}" if shape else "a single number"


def _short(value: Any, shape: bool = True, length: int = 60) -> str:
    """Write a value on one line, cut at `length` characters; an array with its shape."""
    if hasattr(value, "tolist") and hasattr(value, "round") and value.dtype.kind == "f":
        value = value.round(3)
    size = f" (shape {tuple(value.shape)})" if shape and getattr(value, "shape", None) else ""
    text = " ".join(repr(value.tolist() if hasattr(value, "tolist") else value).split())
    return (text if len(text) <= length else text[: length - 1] + "…") + size
