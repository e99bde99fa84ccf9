"""Augmentation: edited copies of training examples, whose labels stay true. The other splits are never edited."""
