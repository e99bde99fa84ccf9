"""How a text model's token features become one vector: what its folder says it was trained with."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tfxfer.given_files import read_given_json, read_given_text

REMEDY = "copy the model's own file there again"
NORMALIZE = '"sentence_transformers.models.Normalize"'


@dataclass(frozen=True)
class Pooling:
    """How features [B, T, D] become [B, D].

    Attributes:
        tokens: "mean" over all tokens that are not padding, or the first token, "cls".
        normalised: Whether a vector is scaled to length 1.
    """

    tokens: str = "mean"
    normalised: bool = False

    @classmethod
    def of(cls, folder: str | Path) -> Self:
        """Return what a sentence-transformers folder says (`1_Pooling/config.json` and `modules.json`), else the mean.

        A BERT without these files was trained with neither; there the mean is the usual choice for frozen features
        (Reimers & Gurevych 2019, table 6).
        """
        own, modules = (
            Path(folder).expanduser() / "1_Pooling" / "config.json",
            Path(folder).expanduser() / "modules.json",
        )
        first = own.is_file() and read_given_json(own, REMEDY).get("pooling_mode_cls_token") is True
        normalised = modules.is_file() and NORMALIZE in read_given_text(modules, REMEDY)
        return cls("cls" if first else "mean", normalised)
