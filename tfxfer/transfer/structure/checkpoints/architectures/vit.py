"""Vision transformer of Hugging Face (Dosovitskiy et al. 2021) → KerasHub's ViTBackbone, or TransformerEncoder.

KerasHub converts complete ViTs itself if their names begin with "vit."; here the prefix is optional. For another image
size, the grid of positions is resized. A TransformerEncoder needs `normalize_first=True`, as in a ViT.
"""

from tfxfer.transfer.structure.checkpoints.architectures.table import (
    CONVOLUTION,
    Architecture,
    Row,
    Table,
    dense,
    heads,
    joined,
    normalization,
)


def _block(source: str, attention: str, before: str, after: str, up: str, down: str) -> tuple[Row, ...]:
    """Return the rows of a block; the arguments are the names of its parts in the source and in the target."""
    return (
        *heads(f"{source}.attention.attention.query", f"{attention}/query"),
        *heads(f"{source}.attention.attention.key", f"{attention}/key"),
        *heads(f"{source}.attention.attention.value", f"{attention}/value"),
        *joined(f"{source}.attention.output.dense", f"{attention}/attention_output"),
        *normalization(f"{source}.layernorm_before", before),
        *normalization(f"{source}.layernorm_after", after),
        *dense(f"{source}.intermediate.dense", up),
        *dense(f"{source}.output.dense", down),
    )


_IMAGE: tuple[Row, ...] = (
    ("embeddings.cls_token", "class_token", "reshape"),
    ("embeddings.patch_embeddings.projection.weight", "patch_embedding/kernel", CONVOLUTION),
    ("embeddings.patch_embeddings.projection.bias", "patch_embedding/bias", "copy"),
    ("embeddings.position_embeddings", "position_embedding/embeddings", "image_positions"),
)

_BLOCK = "transformer_block_*"
BACKBONE = Table(
    target="KerasHub's ViTBackbone",
    required="mha/query/kernel",
    blocks=_BLOCK,
    first=1,
    rows=(
        *_IMAGE,
        *_block(
            "encoder.layer.{*-1}",
            f"{_BLOCK}/mha",
            f"{_BLOCK}/ln_1",
            f"{_BLOCK}/ln_2",
            f"{_BLOCK}/mlp/dense_1",
            f"{_BLOCK}/mlp/dense_2",
        ),
        *normalization("layernorm", "vit_encoder/ln"),
    ),
)

_LAYER = "transformer_layer_*"
ENCODER = Table(
    target="KerasHub's TransformerEncoder",
    required="self_attention_layer/query/kernel",
    blocks=_LAYER,
    rows=(
        *_IMAGE,
        *_block(
            "encoder.layer.*",
            f"{_LAYER}/self_attention_layer",
            f"{_LAYER}/self_attention_layer_norm",
            f"{_LAYER}/feedforward_layer_norm",
            f"{_LAYER}/feedforward_intermediate_dense",
            f"{_LAYER}/feedforward_output_dense",
        ),
    ),
)

VIT = Architecture(
    name="Hugging Face's ViT",
    config_names=("vit",),
    tables=(BACKBONE, ENCODER),
    prefixes=("", "vit."),
    heads="num_attention_heads",
    supported={"hidden_act": ("gelu",)},
)
