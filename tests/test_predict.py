"""What a saved captioner is asked: as many tokens as it has room for."""

import json

import keras
import numpy as np
import pytest
from PIL import Image

from tfxfer import predict
from tfxfer.cli import main
from tfxfer.errors import UserError
from tfxfer.models.bert import masked_lm, small_bert
from tfxfer.transfer.knowledge import caption_model
from tfxfer.transfer.knowledge.caption_model import whole

pytestmark = pytest.mark.tensorflow
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "blue", "square"]


def captioner(prefix_length, positions):
    """A captioner that says one word again and again: what it answers is as long as it may be."""
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 1), name="image")
    encoder = keras.Model(image, keras.layers.Conv2D(4, 4, strides=4)(image), name="encoder")
    language = masked_lm(small_bert(len(PIECES), 1, 16, 2, positions), PIECES, 8)[0]
    reader, _ = caption_model((2, 2, 4), language, prefix_length=prefix_length)
    bias = reader.get_layer("causal_decoder").get_layer("head_bias").weights[0]
    bias.assign(1000 * np.eye(len(PIECES))[PIECES.index("red")])
    return whole(encoder, reader)


@pytest.fixture
def picture(tmp_path):
    Image.fromarray(np.full((8, 8), 128, np.uint8)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


@pytest.fixture
def told(tmp_path, picture, capsys):
    """Save a captioner as a run leaves it; return what asking it exits with, its best caption, and what is said."""

    def ask(prefix_length, positions, *words):
        captioner(prefix_length, positions).save(tmp_path / "model.keras")
        about = {"task": "captions", "input": "image", "pieces": PIECES, "lowercase": True, "image_size": [8, 8]}
        about |= {"channels": 1, "num_beams": 2, "length_penalty": 1.0}
        (tmp_path / "model.json").write_text(json.dumps(about))
        code = main(predict.work, [str(tmp_path), "--image", str(picture), "--json", *words])
        said = capsys.readouterr()
        return code, said.out and json.loads(said.out)["captions"][0][0].split(), said.err

    return ask


@pytest.mark.parametrize(
    ("prefix_length", "positions", "words"), [(20, 64, 43), (0, 64, 49), (0, 12, 11)], ids=["prefix", "more", "fewer"]
)
def test_a_caption_is_as_long_as_there_is_room_but_for_the_begin(told, prefix_length, positions, words):
    code, caption, said = told(prefix_length, positions)
    assert code == 0 and caption == ["red"] * words, said


def test_a_length_that_is_asked_for_is_not_shortened_in_silence(told):
    code, _, said = told(20, 64, "--max-length", "45")
    assert code == 2 and "max_length 45" in said and "44 positions for words" in said
    code, caption, said = told(20, 64, "--max-length", "44")
    assert code == 0 and len(caption) == 43, said


@pytest.mark.parametrize("flag", ["--num-beams", "--max-length"])
def test_a_model_that_writes_no_captions_is_not_asked_for_a_search(flag):
    asked = predict.parser().parse_args(["runs/a", "--text", "a", flag, "5"])
    with pytest.raises(UserError, match=f"{flag}: runs/a writes no captions and searches nothing"):
        predict.check(asked, {"task": "classification", "input": "text"})
