import pytest

from tfxfer.report import words


@pytest.mark.parametrize(
    ("recipe", "equation"),
    [(None, "f(x)"), ("feature", "f(x)"), ("retrieval", "K ="), ("structure", "M ="), ("unknown", "f(x)")],
)
def test_each_recipe_has_its_equation(recipe, equation):
    assert words.explanation(recipe)[0].startswith(equation)


def test_a_finished_minute_is_no_sixty_seconds():
    assert words.duration(59.7) == "1 min 0 s"
    assert words.duration(9.97) == "10.0 s"
