"""DistilBERT of Hugging Face (Sanh et al. 2019) → keras_hub.layers.TransformerEncoder, as in DistilBertBackbone.

KerasHub converts whole DistilBERTs itself, when their names begin with "distilbert."; here they need not.
"""

from tfxfer.transfer.structure.checkpoints.architectures.table import House, Table, dense, heads, joined, normalization

_OURS, _THEIRS = "transformer_layer_*", "transformer.layer.*"

ENCODER = Table(
    target="KerasHub's TransformerEncoder",
    mark="self_attention_layer/query/kernel",
    blocks=_OURS,
    rows=(
        ("embeddings.word_embeddings.weight", "token_embedding/embeddings", "copy"),
        ("embeddings.position_embeddings.weight", "position_embedding/embeddings", "positions"),
        *normalization("embeddings.LayerNorm", "embeddings_layer_norm"),
        *heads(f"{_THEIRS}.attention.q_lin", f"{_OURS}/self_attention_layer/query"),
        *heads(f"{_THEIRS}.attention.k_lin", f"{_OURS}/self_attention_layer/key"),
        *heads(f"{_THEIRS}.attention.v_lin", f"{_OURS}/self_attention_layer/value"),
        *joined(f"{_THEIRS}.attention.out_lin", f"{_OURS}/self_attention_layer/attention_output"),
        *normalization(f"{_THEIRS}.sa_layer_norm", f"{_OURS}/self_attention_layer_norm"),
        *dense(f"{_THEIRS}.ffn.lin1", f"{_OURS}/feedforward_intermediate_dense"),
        *dense(f"{_THEIRS}.ffn.lin2", f"{_OURS}/feedforward_output_dense"),
        *normalization(f"{_THEIRS}.output_layer_norm", f"{_OURS}/feedforward_layer_norm"),
    ),
)

DISTILBERT = House(
    name="Hugging Face's DistilBERT",
    architectures=("distilbert",),
    tables=(ENCODER,),
    prefixes=("", "distilbert."),
    heads="n_heads",
    usual={"activation": ("gelu",)},
)
