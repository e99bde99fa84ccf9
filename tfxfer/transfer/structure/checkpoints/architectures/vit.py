"""Vision transformer of Hugging Face (Dosovitskiy et al. 2021) → KerasHub's ViTBackbone, or TransformerEncoder.

KerasHub converts whole ViTs itself, when their names begin with "vit."; here they need not. Another picture size is
reached by resizing the grid of positions. A TransformerEncoder must normalise first, as a ViT does.
"""

from tfxfer.transfer.structure.checkpoints.architectures.table import (
    CONVOLUTION,
    House,
    Row,
    Table,
    dense,
    heads,
    joined,
    normalization,
)


def _block(theirs: str, attention: str, before: str, after: str, up: str, down: str) -> tuple[Row, ...]:
    """Return the rows of a block, under the names that its parts have in the target."""
    return (
        *heads(f"{theirs}.attention.attention.query", f"{attention}/query"),
        *heads(f"{theirs}.attention.attention.key", f"{attention}/key"),
        *heads(f"{theirs}.attention.attention.value", f"{attention}/value"),
        *joined(f"{theirs}.attention.output.dense", f"{attention}/attention_output"),
        *normalization(f"{theirs}.layernorm_before", before),
        *normalization(f"{theirs}.layernorm_after", after),
        *dense(f"{theirs}.intermediate.dense", up),
        *dense(f"{theirs}.output.dense", down),
    )


_PICTURE: tuple[Row, ...] = (
    ("embeddings.cls_token", "class_token", "reshape"),
    ("embeddings.patch_embeddings.projection.weight", "patch_embedding/kernel", CONVOLUTION),
    ("embeddings.patch_embeddings.projection.bias", "patch_embedding/bias", "copy"),
    ("embeddings.position_embeddings", "position_embedding/embeddings", "picture_positions"),
)

_BLOCK = "transformer_block_*"
BACKBONE = Table(
    target="KerasHub's ViTBackbone",
    mark="mha/query/kernel",
    blocks=_BLOCK,
    first=1,
    rows=(
        *_PICTURE,
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
    mark="self_attention_layer/query/kernel",
    blocks=_LAYER,
    rows=(
        *_PICTURE,
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

VIT = House(
    name="Hugging Face's ViT",
    architectures=("vit",),
    tables=(BACKBONE, ENCODER),
    prefixes=("", "vit."),
    heads="num_attention_heads",
    usual={"hidden_act": ("gelu",)},
)
