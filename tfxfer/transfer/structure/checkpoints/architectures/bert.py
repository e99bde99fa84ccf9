"""BERT of Hugging Face (Devlin et al. 2019) → keras_hub.layers.TransformerEncoder, as in BertBackbone.

KerasHub converts complete BERTs itself (`preset:DIR`). This table is for other targets: fewer layers, and your own
models with the same layers. Its blocks normalise after the addition, as TransformerEncoder does unless
`normalize_first` is set.

Most BERTs use the exact GELU, and KerasHub's BertBackbone its tanh approximation: with the same weights, outputs
differ by a few 1e-4 where activations are large. A model of `TransformerEncoder(activation="gelu")` agrees.
"""

from tfxfer.transfer.structure.checkpoints.architectures.table import (
    Architecture,
    Table,
    dense,
    heads,
    joined,
    normalization,
)

_TARGET, _SOURCE = "transformer_layer_*", "encoder.layer.*"

ENCODER = Table(
    target="KerasHub's TransformerEncoder",
    required="self_attention_layer/query/kernel",
    blocks=_TARGET,
    rows=(
        ("embeddings.word_embeddings.weight", "token_embedding/embeddings", "copy"),
        ("embeddings.position_embeddings.weight", "position_embedding/embeddings", "positions"),
        ("embeddings.token_type_embeddings.weight", "segment_embedding/embeddings", "copy"),
        *normalization("embeddings.LayerNorm", "embeddings_layer_norm"),
        *heads(f"{_SOURCE}.attention.self.query", f"{_TARGET}/self_attention_layer/query"),
        *heads(f"{_SOURCE}.attention.self.key", f"{_TARGET}/self_attention_layer/key"),
        *heads(f"{_SOURCE}.attention.self.value", f"{_TARGET}/self_attention_layer/value"),
        *joined(f"{_SOURCE}.attention.output.dense", f"{_TARGET}/self_attention_layer/attention_output"),
        *normalization(f"{_SOURCE}.attention.output.LayerNorm", f"{_TARGET}/self_attention_layer_norm"),
        *dense(f"{_SOURCE}.intermediate.dense", f"{_TARGET}/feedforward_intermediate_dense"),
        *dense(f"{_SOURCE}.output.dense", f"{_TARGET}/feedforward_output_dense"),
        *normalization(f"{_SOURCE}.output.LayerNorm", f"{_TARGET}/feedforward_layer_norm"),
        *dense("pooler.dense", "pooled_dense"),
    ),
)

BERT = Architecture(
    name="Hugging Face's BERT",
    config_names=("bert",),
    tables=(ENCODER,),
    prefixes=("", "bert."),
    heads="num_attention_heads",
    supported={
        "hidden_act": ("gelu", "gelu_new", "gelu_pytorch_tanh"),
        "position_embedding_type": ("absolute",),
        "is_decoder": (False,),
    },
)
