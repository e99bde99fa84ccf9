"""The figures of the lessons: each function takes what a lesson has computed, and shows it with an alt text."""
