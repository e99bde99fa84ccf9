"""Knowledge transfer: K = f(X)·g(Y) + h(X, Y), what goes with what across two modalities.

- `KnowledgeMatrix`: the layer of the equation, K [B, C] over all pairs, its two terms readable one by one.
"""

from tfxfer.transfer.knowledge.matrix import KnowledgeMatrix

__all__ = ["KnowledgeMatrix"]
