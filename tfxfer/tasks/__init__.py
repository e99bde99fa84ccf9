"""The target tasks as the arms see them: examples, labels and splits."""
