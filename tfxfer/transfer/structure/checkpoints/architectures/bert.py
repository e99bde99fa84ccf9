"""BERT of Hugging Face (Devlin et al. 2019) → keras_hub.layers.TransformerEncoder, as in BertBackbone.

KerasHub converts whole BERTs itself (`preset:DIR`). This table is for other targets: fewer layers, and models of one's
own over the same layers. Its blocks normalise after adding, as TransformerEncoder does unless `normalize_first` is set.

Most BERTs use the exact GELU, and KerasHub's BertBackbone its approximation by tanh: with the same weights, outputs
differ by a few 1e-4 where activations are large. A model over `TransformerEncoder(activation="gelu")` agrees.
"""

from tfxfer.transfer.structure.checkpoints.architectures.table import House, Table, dense, heads, joined, normalization

_OURS, _THEIRS = "transformer_layer_*", "encoder.layer.*"

ENCODER = Table(
    target="KerasHub's TransformerEncoder",
    mark="self_attention_layer/query/kernel",
    blocks=_OURS,
    rows=(
        ("embeddings.word_embeddings.weight", "token_embedding/embeddings", "copy"),
        ("embeddings.position_embeddings.weight", "position_embedding/embeddings", "positions"),
        ("embeddings.token_type_embeddings.weight", "segment_embedding/embeddings", "copy"),
        *normalization("embeddings.LayerNorm", "embeddings_layer_norm"),
        *heads(f"{_THEIRS}.attention.self.query", f"{_OURS}/self_attention_layer/query"),
        *heads(f"{_THEIRS}.attention.self.key", f"{_OURS}/self_attention_layer/key"),
        *heads(f"{_THEIRS}.attention.self.value", f"{_OURS}/self_attention_layer/value"),
        *joined(f"{_THEIRS}.attention.output.dense", f"{_OURS}/self_attention_layer/attention_output"),
        *normalization(f"{_THEIRS}.attention.output.LayerNorm", f"{_OURS}/self_attention_layer_norm"),
        *dense(f"{_THEIRS}.intermediate.dense", f"{_OURS}/feedforward_intermediate_dense"),
        *dense(f"{_THEIRS}.output.dense", f"{_OURS}/feedforward_output_dense"),
        *normalization(f"{_THEIRS}.output.LayerNorm", f"{_OURS}/feedforward_layer_norm"),
        *dense("pooler.dense", "pooled_dense"),
    ),
)

BERT = House(
    name="Hugging Face's BERT",
    architectures=("bert",),
    tables=(ENCODER,),
    prefixes=("", "bert."),
    heads="num_attention_heads",
    usual={
        "hidden_act": ("gelu", "gelu_new", "gelu_pytorch_tanh"),
        "position_embedding_type": ("absolute",),
        "is_decoder": (False,),
    },
)
