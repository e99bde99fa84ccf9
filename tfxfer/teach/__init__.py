"""What the lessons in `notebooks/` share: the first cell, and exercises that answer.

    from tfxfer import teach
    teach.start("02")                    are Python and the packages the ones the lesson was written for?
    teach.check("02.3", my_answer)       right, or a hint, or which type was wanted

Nothing here starts TensorFlow.
"""

from tfxfer.teach.checking import Feedback, check, exercises
from tfxfer.teach.opening import size, smoke, start

__all__ = ["Feedback", "check", "exercises", "size", "smoke", "start"]
