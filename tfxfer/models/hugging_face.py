"""Settings in a Hugging Face folder's config.json that KerasHub's converters leave out: honoured here, or refused.

KerasHub copies weights and sizes. The activation, the ε of layer norms and the kind of positions change the outputs
too. A BERT and a RoBERTa get their activation and ε. What KerasHub's models cannot do is refused.
"""

import math
from collections.abc import Mapping
from typing import Any

import keras
import keras_hub

from tfxfer.errors import UserError

EXACT, TANH = ("gelu", "gelu_python"), ("gelu_new", "gelu_pytorch_tanh", "gelu_fast", "gelu_accurate")
SAME = ("relu", "relu6", "silu", "swish", "tanh", "sigmoid", "elu", "selu", "mish")  # one name for one function in both
ENCODER = {
    "hidden_act": (*EXACT, *TANH, *SAME),
    "position_embedding_type": ("absolute",),
    "is_decoder": (False,),
    "add_cross_attention": (False,),
}
# model_type → key of config.json → its values for which outputs are Hugging Face's; a missing key means the first
SUPPORTED: dict[str, dict[str, tuple[Any, ...]]] = {
    "bert": ENCODER,
    "roberta": ENCODER,
    "xlm-roberta": ENCODER | {"hidden_act": EXACT, "layer_norm_eps": (1e-5,)},
    "albert": ENCODER | {"hidden_act": TANH, "layer_norm_eps": (1e-12,)},
    "distilbert": {"activation": EXACT},
    "gpt2": {
        "activation_function": TANH,
        "layer_norm_epsilon": (1e-5,),
        "scale_attn_weights": (True,),
        "scale_attn_by_inverse_layer_idx": (False,),
    },
    "vit": {"hidden_act": EXACT},
    "deit": {"hidden_act": EXACT},
    "dinov2": {"hidden_act": EXACT, "layer_norm_eps": (1e-6,)},
    "dinov2_with_registers": {"hidden_act": EXACT, "layer_norm_eps": (1e-6,)},
    "swin": {"hidden_act": EXACT, "layer_norm_eps": (1e-5,), "use_absolute_embeddings": (False,)},
}


class _Settings:
    """Two more options of an encoder of KerasHub, before which it stands among the bases.

    Args:
        hidden_act: The activation of the feed-forward layers, by Hugging Face's name.
        layer_norm_eps: ε of every layer norm.
        config: The options of KerasHub's class.
    """

    def __init__(self, *, hidden_act: str = "gelu", layer_norm_eps: float = 1e-12, **config: Any) -> None:
        super().__init__(**config)
        self.hidden_act, self.layer_norm_eps = hidden_act, layer_norm_eps
        _set_blocks(self, hidden_act, layer_norm_eps)

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds the model."""
        config: dict[str, Any] = super().get_config()  # type: ignore[misc]  # of KerasHub's class
        return config | {"hidden_act": self.hidden_act, "layer_norm_eps": self.layer_norm_eps}


@keras.saving.register_keras_serializable("tfxfer")
class BertBackbone(_Settings, keras_hub.models.BertBackbone):
    """KerasHub's BERT with Hugging Face's `hidden_act` and `layer_norm_eps`."""


@keras.saving.register_keras_serializable("tfxfer")
class RobertaBackbone(_Settings, keras_hub.models.RobertaBackbone):
    """KerasHub's RoBERTa with Hugging Face's `hidden_act` and `layer_norm_eps`."""


def check_settings(config: Mapping[str, Any], spec: str) -> None:
    """Raise `UserError` for a setting of config.json with which KerasHub's model has other outputs.

    Args:
        config: The config.json of a Hugging Face folder.
        spec: The model's spec, for the message.
    """
    kind = config.get("model_type", "")
    for key, supported in SUPPORTED.get(kind, {}).items():
        value = config.get(key, supported[0])
        if not any(_equal(value, one) for one in supported):
            raise UserError(
                f"model spec '{spec}': config.json has {key} = {value}; KerasHub's {kind} can do "
                f"{', '.join(map(str, supported))}, so its outputs would be wrong; name a model with such a setting"
            )


def load_backbone(loader: Any, spec: str) -> keras.Model:
    """Return the backbone of a Hugging Face folder, with the outputs that it has there.

    Args:
        loader: KerasHub's loader of the folder.
        spec: The model's spec, for messages.

    Raises:
        UserError: A setting cannot be honoured.
    """
    config = loader.config
    check_settings(config, spec)
    kind, epsilon = config["model_type"], config.get("layer_norm_eps", 1e-12)
    act = {"hidden_act": config.get("hidden_act", "gelu"), "layer_norm_eps": epsilon}
    if kind == "bert":
        return loader.load_backbone(BertBackbone, True, num_segments=config.get("type_vocab_size", 2), **act)
    if kind == "roberta":
        return _with_token_type(loader.load_backbone(RobertaBackbone, True, **act), loader.preset)
    options = {"layer_norm_epsilon": epsilon} if kind == "vit" else {}
    return loader.load_backbone(loader.check_backbone_class(), True, **options)


def name_of_activation(activation: Any) -> str:
    """Return Hugging Face's name of an activation of Keras or KerasHub."""
    return "gelu_new" if activation.__name__ == "gelu_approximate" else str(activation.__name__)


def _set_blocks(backbone: Any, hidden_act: str, epsilon: float) -> None:
    """Give every block of a KerasHub encoder an activation, and every layer norm an ε."""
    registered = "keras_hub>gelu_approximate" if hidden_act in TANH else None
    activation = (
        keras.saving.get_registered_object(registered)
        if registered
        else keras.activations.get("gelu" if hidden_act in EXACT else hidden_act)
    )
    norms = [backbone.embeddings_layer_norm]
    for block in backbone.transformer_layers:
        block.activation = block._feedforward_intermediate_dense.activation = activation
        block.layer_norm_epsilon = epsilon
        norms += [block._self_attention_layer_norm, block._feedforward_layer_norm]
    for norm in norms:
        norm.epsilon = epsilon


def _with_token_type(backbone: Any, preset: str) -> keras.Model:
    """Add the vector of token type 0 to each position: a RoBERTa adds it to every token, KerasHub's has no types."""
    from keras_hub.src.utils.transformers.safetensor_utils import SafetensorLoader

    with SafetensorLoader(preset) as file:
        types = file.get_tensor("embeddings.token_type_embeddings.weight")  # [types, D]
    positions = backbone.embeddings.position_embedding.position_embeddings
    positions.assign(positions + types[0])
    return backbone


def _equal(value: Any, one: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isinstance(one, float):
        return bool(value == one)
    return math.isclose(value, one, rel_tol=1e-6)
