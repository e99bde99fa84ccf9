"""Data sets made of others: `fuse:A+B?on=…` joins images and texts into pairs, `fuse:A+B?mix=…` mixes sets.

- `query`: the spec, taken apart; starts no TensorFlow.
- `parts`: a loaded set as one list of rows, and what both ways share: leaks, fingerprint, notes.
- `join`: pairs by equal keys, by a shared class, or by the nearest neighbour in an aligned space.
- `mix`: examples of several sets, with weights, a temperature, or equally many a class.
"""
