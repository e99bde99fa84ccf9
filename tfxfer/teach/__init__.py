"""What the lessons in `notebooks/` share: the first cell, sentences with numbers, exercises and navigation.

    from tfxfer import teach
    teach.start("02")                    check that Python and the packages are those the lesson needs
    teach.show(linear_probe)             show source code of tfxfer, with file and line
    teach.say(f"Accuracy {share:.0%}.")  show a sentence whose numbers come from the cells above
    teach.check("02.3", my_answer)       say whether an answer is right, give a hint, or name the type that is wanted

Nothing here starts TensorFlow.
"""

from tfxfer.teach.checking import Feedback, check, exercises
from tfxfer.teach.course import badge, header, navigation
from tfxfer.teach.markdown import plain
from tfxfer.teach.opening import size, smoke, start
from tfxfer.teach.showing import say, show, show_figure, show_signature, show_slider

__all__ = [
    "Feedback",
    "badge",
    "check",
    "exercises",
    "header",
    "navigation",
    "plain",
    "say",
    "show",
    "show_figure",
    "show_signature",
    "show_slider",
    "size",
    "smoke",
    "start",
]
