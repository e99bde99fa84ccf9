"""Weight conversion from checkpoints, opened lazily: safetensors, Keras' h5, model folders of Hugging Face and timm.

    plan("hf:DIR", keras_hub.models.BertBackbone(…))        the rules come with the folder's architecture
    plan("resnet18.safetensors", model)                     torchvision's names are recognised
    plan("x.weights.h5", model)

PyTorch is not needed, and pickled checkpoints are refused.
"""

from tfxfer.transfer.structure.checkpoints.choosing import rules_for
from tfxfer.transfer.structure.checkpoints.folders import ModelFolder
from tfxfer.transfer.structure.checkpoints.h5 import WeightsH5
from tfxfer.transfer.structure.checkpoints.opening import open_source
from tfxfer.transfer.structure.checkpoints.safetensors_file import Safetensors, ShardedSafetensors

__all__ = ["ModelFolder", "Safetensors", "ShardedSafetensors", "WeightsH5", "open_source", "rules_for"]
