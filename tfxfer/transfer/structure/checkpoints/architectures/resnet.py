"""ResNet (He et al. 2016) of torchvision and timm, and of Hugging Face → KerasHub's ResNetBackbone, keras.applications.

KerasHub's ResNetBackbone computes what torchvision's does, at every depth. keras.applications' ResNet50 does not: in a
downsampling block, its first convolution (1 x 1) has the stride of 2, in torchvision's "v1.5" the second (3 x 3). The
weights can be loaded, but the outputs differ. Its convolutions also have biases, which are set to zero, and its
BatchNorm's ε is 1.001e-5 instead of 1e-5.
"""

from tfxfer.transfer.structure.checkpoints.architectures.table import (
    CONVOLUTION,
    DENSE,
    Architecture,
    Row,
    Table,
    batch_normalization,
)

NOTE = (
    " (keras.applications has the stride in the first convolution of a block, the source's v1.5 in the second: outputs "
    "differ)"
)
HEAD: tuple[Row, ...] = (("fc.weight", "predictions/kernel", DENSE), ("fc.bias", "predictions/bias", "copy"))


def _unit(convolution: str, norm: str, target: str, biased: bool) -> tuple[Row, ...]:
    """Return the rows of a convolution and the BatchNorm after it."""
    bias: tuple[Row, ...] = ((None, f"{target}_conv/bias", ("fresh", {"initializer": "zeros"})),) if biased else ()
    kernel: Row = (f"{convolution}.weight", f"{target}_conv/kernel", CONVOLUTION)
    return kernel, *bias, *batch_normalization(norm, f"{target}_bn")


def _torchvision(block: str, target: str, biased: bool) -> tuple[Row, ...]:
    """Return the rows for names such as "layer1.0.conv1.weight"."""
    rows = [*_unit("conv1", "bn1", "conv1", biased), *HEAD]
    for number in (1, 2, 3):
        rows += _unit(f"{block}.conv{number}", f"{block}.bn{number}", f"{target}_{number}", biased)
    return *rows, *_unit(f"{block}.downsample.0", f"{block}.downsample.1", f"{target}_0", biased)


def _hugging_face(block: str, target: str, biased: bool) -> tuple[Row, ...]:
    """Return the rows for names such as "encoder.stages.0.layers.0.layer.0.convolution.weight"."""
    rows = list(_unit("embedder.embedder.convolution", "embedder.embedder.normalization", "conv1", biased))
    for number in (1, 2, 3):
        layer = f"{block}.layer.{number - 1}"
        rows += _unit(f"{layer}.convolution", f"{layer}.normalization", f"{target}_{number}", biased)
    return *rows, *_unit(f"{block}.shortcut.convolution", f"{block}.shortcut.normalization", f"{target}_0", biased)


def _kerashub(rows: tuple[Row, ...]) -> Table:
    target = "KerasHub's ResNetBackbone"
    return Table(target, "stack0_block0_1_conv/kernel", rows, excluded="stack0_block0_pre_activation_bn/gamma")


def _applications(rows: tuple[Row, ...]) -> Table:
    target = "keras.applications' ResNet"
    return Table(target, "conv2_block1_1_conv/kernel", rows, excluded="conv2_block1_preact_bn/gamma", note=NOTE)


TORCHVISION = Architecture(
    name="torchvision's or timm's ResNet",
    config_names=("resnet18", "resnet26", "resnet34", "resnet50", "resnet101", "resnet152"),
    tables=(
        _kerashub(_torchvision("layer{*+1}.*", "stack*_block*", biased=False)),
        _applications(_torchvision("layer{*-1}.{*-1}", "conv*_block*", biased=True)),
    ),
    file_names=("conv1.weight", "bn1.running_var", "layer1.0.conv1.weight", "layer1.0.bn1.running_var"),
)
HUGGING_FACE = Architecture(
    name="Hugging Face's ResNet",
    config_names=("resnet",),
    prefixes=("", "resnet."),
    tables=(
        _kerashub(_hugging_face("encoder.stages.*.layers.*", "stack*_block*", biased=False)),
        _applications(_hugging_face("encoder.stages.{*-2}.layers.{*-1}", "conv*_block*", biased=True)),
    ),
    supported={"downsample_in_bottleneck": (False,), "downsample_in_first_stage": (False,), "hidden_act": ("relu",)},
)
