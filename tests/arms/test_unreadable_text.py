"""Texts that a face cannot draw stop a run before anything is trained."""

from types import SimpleNamespace

import here
import pytest

from tfxfer.arms.frozen_features import FrozenFeatures
from tfxfer.errors import UserError
from tfxfer.models import glyph_cnn

pytestmark = pytest.mark.tensorflow


def test_a_run_on_texts_that_would_be_boxes_is_refused():
    texts = SimpleNamespace(texts=lambda split: ["中文新闻", "更多的新闻", "plain"])
    task = SimpleNamespace(key="text", dataset=texts, sizes={"test": 3}, augment=None)
    over = FrozenFeatures(glyph_cnn(3), task, here.config_of("feature", target="csv:zh.csv"), here.Quiet())
    with pytest.raises(UserError, match=r"the target csv:zh\.csv: 2 of 3 texts are mostly characters"):
        over.count_losses()
