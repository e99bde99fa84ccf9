"""The pictures of the lessons: each takes what a lesson has computed, and gives a matplotlib figure."""
