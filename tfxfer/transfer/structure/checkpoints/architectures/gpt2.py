"""GPT-2 of Hugging Face (Radford et al. 2019) → keras_hub.layers.TransformerDecoder, as in GPT2Backbone.

Its dense kernels are [in, out] already, and query, key and value stand in one kernel [D, 3 · D]. KerasHub converts
whole GPT-2s itself.
"""

from tfxfer.transfer.structure.checkpoints.architectures.table import House, Row, Table, normalization

_OURS, _THEIRS = "transformer_layer_*", "h.*"


def _third(number: int, name: str) -> tuple[Row, ...]:
    """Return the rows of query, key or value."""
    return tuple(
        (
            f"{_THEIRS}.attn.c_attn.{theirs}",
            f"{_OURS}/self_attention/{name}/{ours}",
            [("part", {"axis": axis, "number": number, "of": 3}), "reshape"],
        )
        for theirs, ours, axis in (("weight", "kernel", 1), ("bias", "bias", 0))
    )


DECODER = Table(
    target="KerasHub's TransformerDecoder",
    mark="self_attention/query/kernel",
    blocks=_OURS,
    rows=(
        ("wte.weight", "token_embedding/embeddings", "copy"),
        ("wpe.weight", "position_embedding/embeddings", "positions"),
        *_third(0, "query"),
        *_third(1, "key"),
        *_third(2, "value"),
        (f"{_THEIRS}.attn.c_proj.weight", f"{_OURS}/self_attention/attention_output/kernel", "reshape"),
        (f"{_THEIRS}.attn.c_proj.bias", f"{_OURS}/self_attention/attention_output/bias", "copy"),
        *normalization(f"{_THEIRS}.ln_1", f"{_OURS}/self_attention_layer_norm"),
        (f"{_THEIRS}.mlp.c_fc.weight", f"{_OURS}/feedforward_intermediate_dense/kernel", "copy"),
        (f"{_THEIRS}.mlp.c_fc.bias", f"{_OURS}/feedforward_intermediate_dense/bias", "copy"),
        (f"{_THEIRS}.mlp.c_proj.weight", f"{_OURS}/feedforward_output_dense/kernel", "copy"),
        (f"{_THEIRS}.mlp.c_proj.bias", f"{_OURS}/feedforward_output_dense/bias", "copy"),
        *normalization(f"{_THEIRS}.ln_2", f"{_OURS}/feedforward_layer_norm"),
        *normalization("ln_f", "layer_norm"),
    ),
)

GPT2 = House(
    name="Hugging Face's GPT-2",
    architectures=("gpt2",),
    tables=(DECODER,),
    prefixes=("", "transformer."),
    heads="n_head",
    usual={
        "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
        "scale_attn_by_inverse_layer_idx": (False,),
        "scale_attn_weights": (True,),
        "add_cross_attention": (False,),
    },
)
