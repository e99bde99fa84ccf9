"""The exercises, one file a lesson: `EXERCISES` is number -> `Exercise`. The questions stand in the notebooks."""
