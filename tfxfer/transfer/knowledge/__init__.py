"""Knowledge transfer: K = f(X)·g(Y) + h(X, Y), how well images and texts match.

- `KnowledgeMatrix`: the layer of the equation, K [B, C] over all pairs, its two terms readable one by one.
- `DualEncoder`: f·g alone. A frozen image tower and a trained text tower; retrieval and zero-shot classes.
- `Dictionary`: g·g. Texts of two languages that meet in the space of images, by ridge regression.
- `VisualQA`: both terms over the positions of a feature map and a question, pooled to an answer.
- `MultiTask`: several tasks over one image encoder, with a head for each.
- `Captioner`: both terms in every word of a caption. A feature map and a BERT made a decoder.
- `ClosedFormCaptioner`: f·g alone, by ridge regression. It retrieves captions, and no network trains.
- `inverted_softmax`, `csls`: rankings by K that look at all queries at once.

Each model that trains a network has fit, predict, score, save and load. The closed form has fit, predict, score and
scores, and is kept as arrays. docs/knowledge.md says where the terms of K are in each.
"""

from tfxfer.transfer.knowledge.caption_model import caption_model
from tfxfer.transfer.knowledge.captioner import Captioner
from tfxfer.transfer.knowledge.closed_form import ClosedFormCaptioner
from tfxfer.transfer.knowledge.dictionary import Dictionary
from tfxfer.transfer.knowledge.dual_encoder import DualEncoder
from tfxfer.transfer.knowledge.hubness import csls, inverted_softmax
from tfxfer.transfer.knowledge.knowledge_matrix import KnowledgeMatrix
from tfxfer.transfer.knowledge.multitask import MultiTask
from tfxfer.transfer.knowledge.text_towers import bert_tower, small_tower
from tfxfer.transfer.knowledge.visual_qa import VisualQA

__all__ = [
    "Captioner",
    "ClosedFormCaptioner",
    "Dictionary",
    "DualEncoder",
    "KnowledgeMatrix",
    "MultiTask",
    "VisualQA",
    "bert_tower",
    "caption_model",
    "csls",
    "inverted_softmax",
    "small_tower",
]
