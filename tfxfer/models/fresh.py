"""The same architecture with fresh weights: the control that every transfer runs beside."""

import keras

from tfxfer.models.randomness import set_initializer_seed

SMALL = 2_000_000  # parameters of a frozen model whose random copies run with all probe seeds
AWAY = 7919  # added to a seed, so that fresh weights are not those of the source or of a head


def cheap_to_repeat(model: keras.Model, probe_seeds: int | None) -> bool:
    """Return whether arms over a frozen model and its random copies run with all probe seeds: asked for, or small."""
    return probe_seeds is not None or bool(model.count_params() <= SMALL)


def fresh_copy(model: keras.Model, seed: int) -> keras.Model:
    """Return the same architecture with weights drawn anew from its own initialisers."""
    set_initializer_seed(AWAY + seed)
    return keras.models.clone_model(model)


def fresh_language_model(language_model: keras.Model, seed: int) -> keras.Model:
    """Return the same KerasHub language model with fresh weights, its masked-LM head too where it has one."""
    set_initializer_seed(AWAY + seed)
    backbone = getattr(language_model, "backbone", language_model)
    fresh = type(backbone).from_config(backbone.get_config())
    return fresh if backbone is language_model else type(language_model)(fresh, preprocessor=None)
