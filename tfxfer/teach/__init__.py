"""What the lessons in `notebooks/` share: the first cell, and exercises that answer.

    from tfxfer import teach
    teach.start("02")                    are Python and the packages the ones the lesson was written for?
    teach.show(linear_probe)             the source of the real thing, with file and line
    teach.say(f"It got {share:.0%}.")    a sentence whose numbers come from the cells above
    teach.check("02.3", my_answer)       right, or a hint, or which type was wanted

Nothing here starts TensorFlow.
"""

from tfxfer.teach.checking import Feedback, check, exercises
from tfxfer.teach.opening import size, smoke, start
from tfxfer.teach.showing import say, show

__all__ = ["Feedback", "check", "exercises", "say", "show", "size", "smoke", "start"]
