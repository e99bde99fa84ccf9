"""DistilBERT of Hugging Face (Sanh et al. 2019) → keras_hub.layers.TransformerEncoder, as in DistilBertBackbone.

KerasHub converts complete DistilBERTs itself if their names begin with "distilbert."; here the prefix is optional.
"""

from tfxfer.transfer.structure.checkpoints.architectures.table import (
    Architecture,
    Table,
    dense,
    heads,
    joined,
    normalization,
)

_TARGET, _SOURCE = "transformer_layer_*", "transformer.layer.*"

ENCODER = Table(
    target="KerasHub's TransformerEncoder",
    required="self_attention_layer/query/kernel",
    blocks=_TARGET,
    rows=(
        ("embeddings.word_embeddings.weight", "token_embedding/embeddings", "copy"),
        ("embeddings.position_embeddings.weight", "position_embedding/embeddings", "positions"),
        *normalization("embeddings.LayerNorm", "embeddings_layer_norm"),
        *heads(f"{_SOURCE}.attention.q_lin", f"{_TARGET}/self_attention_layer/query"),
        *heads(f"{_SOURCE}.attention.k_lin", f"{_TARGET}/self_attention_layer/key"),
        *heads(f"{_SOURCE}.attention.v_lin", f"{_TARGET}/self_attention_layer/value"),
        *joined(f"{_SOURCE}.attention.out_lin", f"{_TARGET}/self_attention_layer/attention_output"),
        *normalization(f"{_SOURCE}.sa_layer_norm", f"{_TARGET}/self_attention_layer_norm"),
        *dense(f"{_SOURCE}.ffn.lin1", f"{_TARGET}/feedforward_intermediate_dense"),
        *dense(f"{_SOURCE}.ffn.lin2", f"{_TARGET}/feedforward_output_dense"),
        *normalization(f"{_SOURCE}.output_layer_norm", f"{_TARGET}/feedforward_layer_norm"),
    ),
)

DISTILBERT = Architecture(
    name="Hugging Face's DistilBERT",
    config_names=("distilbert",),
    tables=(ENCODER,),
    prefixes=("", "distilbert."),
    heads="n_heads",
    supported={"activation": ("gelu",)},
)
