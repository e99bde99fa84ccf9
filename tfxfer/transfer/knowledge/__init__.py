"""Knowledge transfer: K = f(X)·g(Y) + h(X, Y), what goes with what across two modalities.

- `KnowledgeMatrix`: the layer of the equation, K [B, C] over all pairs, its two terms readable one by one.
- `DualEncoder`: f·g alone. A locked picture tower and a trained text tower; retrieval and zero-shot classes.
- `VisualQA`: both terms over a picture's places and a question, pooled to an answer.
- `Captioner`: both terms in every word of a caption. A picture's places and a BERT that looks at them.
- `caption_model`: the network inside it, whose h is the likelihood of a caption.
"""

from tfxfer.transfer.knowledge.caption_model import caption_model
from tfxfer.transfer.knowledge.captioner import Captioner
from tfxfer.transfer.knowledge.dual_encoder import DualEncoder
from tfxfer.transfer.knowledge.knowledge_matrix import KnowledgeMatrix
from tfxfer.transfer.knowledge.text_towers import bert_tower, small_tower
from tfxfer.transfer.knowledge.visual_qa import VisualQA

__all__ = [
    "Captioner",
    "DualEncoder",
    "KnowledgeMatrix",
    "VisualQA",
    "bert_tower",
    "caption_reader",
    "small_tower",
]
