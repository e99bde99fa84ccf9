"""The arms of an experiment: the method under study and its controls, each run(budget, seed) -> Outcome."""
