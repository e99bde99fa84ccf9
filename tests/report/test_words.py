from tfxfer.report import words


def test_a_duration_is_rounded_before_its_unit_is_chosen():
    assert words.duration(59.7) == "1 min 0 s"
    assert words.duration(9.97) == "10.0 s"
