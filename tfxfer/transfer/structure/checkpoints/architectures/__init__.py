"""Rule tables for checkpoints of other libraries, as data: one file per architecture.

| checkpoint | target |
|---|---|
| Hugging Face BERT, DistilBERT | `keras_hub.layers.TransformerEncoder`: BertBackbone, DistilBertBackbone, and others |
| Hugging Face ViT | ViTBackbone; `TransformerEncoder(normalize_first=True)` |
| Hugging Face GPT-2 | `keras_hub.layers.TransformerDecoder(normalize_first=True)`: GPT2Backbone, and others |
| torchvision, timm and Hugging Face ResNet | ResNetBackbone; keras.applications' ResNet50, 101, 152 |

To add one: a file with an `Architecture`, an entry in `ARCHITECTURES`, and a parity test.
"""

from tfxfer.transfer.structure.checkpoints.architectures.bert import BERT
from tfxfer.transfer.structure.checkpoints.architectures.distilbert import DISTILBERT
from tfxfer.transfer.structure.checkpoints.architectures.gpt2 import GPT2
from tfxfer.transfer.structure.checkpoints.architectures.resnet import HUGGING_FACE, TORCHVISION
from tfxfer.transfer.structure.checkpoints.architectures.vit import VIT

ARCHITECTURES = (BERT, DISTILBERT, VIT, GPT2, TORCHVISION, HUGGING_FACE)
