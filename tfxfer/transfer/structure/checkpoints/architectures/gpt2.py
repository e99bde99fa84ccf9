"""GPT-2 of Hugging Face (Radford et al. 2019) → keras_hub.layers.TransformerDecoder, as in GPT2Backbone.

Its dense kernels are [in, out] already, and query, key and value are one kernel [D, 3 · D]. KerasHub converts complete
GPT-2s itself.
"""

from tfxfer.transfer.structure.checkpoints.architectures.table import Architecture, Row, Table, normalization

_TARGET, _SOURCE = "transformer_layer_*", "h.*"


def _third(number: int, name: str) -> tuple[Row, ...]:
    """Return the rows of query, key or value."""
    return tuple(
        (
            f"{_SOURCE}.attn.c_attn.{source}",
            f"{_TARGET}/self_attention/{name}/{target}",
            [("part", {"axis": axis, "number": number, "of": 3}), "reshape"],
        )
        for source, target, axis in (("weight", "kernel", 1), ("bias", "bias", 0))
    )


DECODER = Table(
    target="KerasHub's TransformerDecoder",
    required="self_attention/query/kernel",
    blocks=_TARGET,
    rows=(
        ("wte.weight", "token_embedding/embeddings", "copy"),
        ("wpe.weight", "position_embedding/embeddings", "positions"),
        *_third(0, "query"),
        *_third(1, "key"),
        *_third(2, "value"),
        (f"{_SOURCE}.attn.c_proj.weight", f"{_TARGET}/self_attention/attention_output/kernel", "reshape"),
        (f"{_SOURCE}.attn.c_proj.bias", f"{_TARGET}/self_attention/attention_output/bias", "copy"),
        *normalization(f"{_SOURCE}.ln_1", f"{_TARGET}/self_attention_layer_norm"),
        (f"{_SOURCE}.mlp.c_fc.weight", f"{_TARGET}/feedforward_intermediate_dense/kernel", "copy"),
        (f"{_SOURCE}.mlp.c_fc.bias", f"{_TARGET}/feedforward_intermediate_dense/bias", "copy"),
        (f"{_SOURCE}.mlp.c_proj.weight", f"{_TARGET}/feedforward_output_dense/kernel", "copy"),
        (f"{_SOURCE}.mlp.c_proj.bias", f"{_TARGET}/feedforward_output_dense/bias", "copy"),
        *normalization(f"{_SOURCE}.ln_2", f"{_TARGET}/feedforward_layer_norm"),
        *normalization("ln_f", "layer_norm"),
    ),
)

GPT2 = Architecture(
    name="Hugging Face's GPT-2",
    config_names=("gpt2",),
    tables=(DECODER,),
    prefixes=("", "transformer."),
    heads="n_head",
    supported={
        "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
        "scale_attn_by_inverse_layer_idx": (False,),
        "scale_attn_weights": (True,),
        "add_cross_attention": (False,),
    },
)
