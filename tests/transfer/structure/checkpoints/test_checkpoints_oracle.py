"""Parity with PyTorch: a random model of Hugging Face or torchvision's names, written as safetensors, and ours."""

import json

import numpy as np
import pytest

pytestmark = [pytest.mark.tensorflow, pytest.mark.oracle]
torch = pytest.importorskip("torch", reason="needs the extra `oracle` (make oracle)")
transformers = pytest.importorskip("transformers", reason="needs the extra `oracle` (make oracle)")

import keras  # noqa: E402
import keras_hub  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from tfxfer.transfer.structure import plan  # noqa: E402

hub = keras_hub.models
N, T = 4, 12
TANH = "gelu_pytorch_tanh"  # the GELU of KerasHub's BertBackbone; Hugging Face's BERT has the exact one by default
DIMENSIONS = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48}
KERAS = {"vocabulary_size": 60, "num_layers": 3, "num_heads": 4, "hidden_dim": 32, "max_sequence_length": 20}


def randomise(model, seed=0):
    """Give every tensor of a PyTorch model random values, norms and biases too, and statistics that are positive."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                spread = 0.3 * (max(1, tensor[0].numel()) ** -0.5 if tensor.ndim > 1 else 1)
                value = 2 * spread * torch.randn(tensor.shape, generator=generator)
                positive = name.endswith("running_var") or (tensor.ndim == 1 and name.endswith("weight"))
                tensor.copy_(value.abs() + 0.7 if positive else value)
    return model.eval()


def saved(model, tmp_path):
    randomise(model).save_pretrained(tmp_path / "m")
    return f"hf:{tmp_path / 'm'}"


def texts():
    """Return token ids [N, T], their mask [N, T] (some texts are shorter) and segments [N, T]."""
    rng = np.random.default_rng(0)
    mask = (np.arange(T) < np.array([[T], [7], [10], [3]])).astype(np.int64)
    return rng.integers(1, 60, (N, T)), mask, rng.integers(0, 2, (N, T))


def filled(source, target, rules=()):
    weight_map = plan(source, target, rules or None)
    return weight_map, weight_map.apply()


def agree(ours, theirs, mask=None):
    ours, theirs = np.asarray(keras.ops.convert_to_numpy(ours)), theirs.detach().numpy()
    if mask is not None:
        ours, theirs = ours[mask.astype(bool)], theirs[mask.astype(bool)]
    assert np.abs(theirs).max() > 0.1  # something was computed
    np.testing.assert_allclose(ours, theirs, atol=1e-4, rtol=1e-4)


def bert_config(activation):
    return transformers.BertConfig(vocab_size=60, max_position_embeddings=20, hidden_act=activation, **DIMENSIONS)


def test_bert_as_it_is_initialised(tmp_path):
    model = transformers.BertModel(bert_config("gelu")).eval()
    model.save_pretrained(tmp_path / "m")
    ids, mask, segments = texts()
    _, ours = filled(f"hf:{tmp_path / 'm'}", hub.BertBackbone(intermediate_dim=48, **KERAS))
    given = ours({"token_ids": ids, "padding_mask": mask, "segment_ids": segments}, training=False)
    with torch.no_grad():
        theirs = model(*map(torch.tensor, (ids, mask, segments)))
    agree(given["sequence_output"], theirs.last_hidden_state, mask)
    agree(given["pooled_output"], theirs.pooler_output)


def test_berts_blocks_with_the_exact_gelu(tmp_path):
    model = transformers.BertModel(bert_config("gelu"))
    source = saved(model, tmp_path)
    x = inputs = keras.Input((T, 32))
    for i in range(3):
        x = keras_hub.layers.TransformerEncoder(48, 4, activation="gelu", layer_norm_epsilon=1e-12, name=f"story{i}")(x)
    _, ours = filled(source, keras.Model(inputs, x))
    states = np.random.default_rng(0).normal(size=(N, T, 32)).astype(np.float32)
    with torch.no_grad():
        theirs = model.encoder(torch.tensor(states)).last_hidden_state
    agree(ours(states, training=False), theirs)


def test_bert(tmp_path):
    config = bert_config(TANH)
    model = transformers.BertForMaskedLM(config)  # its names begin with "bert.", and it has no pooler
    source = saved(model, tmp_path)
    ids, mask, segments = texts()
    _, ours = filled(source, hub.BertBackbone(intermediate_dim=48, **KERAS), [(None, "pooled_dense/*", "fresh")])
    given = ours({"token_ids": ids, "padding_mask": mask, "segment_ids": segments}, training=False)
    with torch.no_grad():
        theirs = model.bert(*map(torch.tensor, (ids, mask, segments)))
    agree(given["sequence_output"], theirs.last_hidden_state, mask)


def test_bert_with_its_pooler_promises_equal_outputs(tmp_path):
    config = bert_config(TANH)
    model = transformers.BertModel(config)
    source = saved(model, tmp_path)
    ids, mask, segments = texts()
    weight_map, _ = filled(source, hub.BertBackbone(intermediate_dim=48, **KERAS))
    with torch.no_grad():
        theirs = model(*map(torch.tensor, (ids, np.ones_like(mask), segments)))
    proof = weight_map.verify(
        {"token_ids": ids, "padding_mask": np.ones_like(mask), "segment_ids": segments},
        reference={"sequence_output": theirs.last_hidden_state, "pooled_output": theirs.pooler_output},
    )
    assert weight_map.preserves == "yes" and proof.equal and proof.expected == "equal"


def test_a_body_of_berts_first_two_layers(tmp_path):
    config = bert_config(TANH)
    model = transformers.BertModel(config)
    source = saved(model, tmp_path)
    ids, mask, segments = texts()
    fewer = hub.BertBackbone(intermediate_dim=48, **(KERAS | {"num_layers": 2}))
    _, ours = filled(source, fewer)
    given = ours({"token_ids": ids, "padding_mask": mask, "segment_ids": segments}, training=False)
    with torch.no_grad():
        theirs = model(*map(torch.tensor, (ids, mask, segments)), output_hidden_states=True)
    agree(given["sequence_output"], theirs.hidden_states[2], mask)


@pytest.mark.parametrize("bare", [True, False])
def test_distilbert(tmp_path, bare):
    config = transformers.DistilBertConfig(
        vocab_size=60, max_position_embeddings=20, dim=32, n_layers=3, n_heads=4, hidden_dim=48
    )
    model = (transformers.DistilBertModel if bare else transformers.DistilBertForMaskedLM)(config)
    source = saved(model, tmp_path)
    ids, mask, _ = texts()
    _, ours = filled(source, hub.DistilBertBackbone(intermediate_dim=48, **KERAS))
    with torch.no_grad():
        theirs = (model if bare else model.distilbert)(torch.tensor(ids), torch.tensor(mask))
    agree(ours({"token_ids": ids, "padding_mask": mask}, training=False), theirs.last_hidden_state, mask)


def test_gpt2(tmp_path):
    config = transformers.GPT2Config(vocab_size=60, n_positions=20, n_embd=32, n_layer=3, n_head=4)
    model = transformers.GPT2LMHeadModel(config)
    source = saved(model, tmp_path)
    ids, mask, _ = texts()
    _, ours = filled(source, hub.GPT2Backbone(intermediate_dim=128, **KERAS))
    with torch.no_grad():
        theirs = model.transformer(torch.tensor(ids), attention_mask=torch.tensor(mask))
    agree(ours({"token_ids": ids, "padding_mask": mask}, training=False), theirs.last_hidden_state, mask)


@pytest.mark.parametrize("head", [True, False])
def test_vit(tmp_path, head):
    config = transformers.ViTConfig(image_size=32, patch_size=8, **DIMENSIONS)
    model = transformers.ViTForImageClassification(config) if head else transformers.ViTModel(config)
    source = saved(model, tmp_path)
    ours = hub.ViTBackbone((32, 32, 3), (8, 8), num_layers=3, num_heads=4, hidden_dim=32, mlp_dim=48)
    _, ours = filled(source, ours)
    images = np.random.default_rng(0).normal(size=(N, 32, 32, 3)).astype(np.float32)
    with torch.no_grad():
        theirs = (model.vit if head else model)(torch.tensor(images.transpose(0, 3, 1, 2)))
    agree(ours(images, training=False), theirs.last_hidden_state)


class Block(torch.nn.Module):
    """A residual block as torchvision names and strides it: of two convolutions, or a bottleneck of three (v1.5)."""

    def __init__(self, inner, width, stride, bottleneck):
        super().__init__()
        out, sides = (4 * width, (1, 3, 1)) if bottleneck else (width, (3, 3))
        self.count, last = len(sides), inner
        for i, side in enumerate(sides, start=1):
            wide = out if i == len(sides) else width
            step = stride if side == 3 and i == (2 if bottleneck else 1) else 1
            setattr(self, f"conv{i}", torch.nn.Conv2d(last, wide, side, step, side // 2, bias=False))
            setattr(self, f"bn{i}", torch.nn.BatchNorm2d(wide))
            last = wide
        self.downsample = None
        if stride > 1 or inner != out:
            kernel = torch.nn.Conv2d(inner, out, 1, stride, bias=False)
            self.downsample = torch.nn.Sequential(kernel, torch.nn.BatchNorm2d(out))

    def forward(self, x):
        y = x
        for i in range(1, self.count + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            y = torch.relu(y) if i < self.count else y
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(torch.nn.Module):
    """ResNet-18, -34 or -50 under torchvision's names, without the head."""

    def __init__(self, depth):
        super().__init__()
        counts = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}[depth]
        self.conv1, self.bn1 = torch.nn.Conv2d(3, 64, 7, 2, 3, bias=False), torch.nn.BatchNorm2d(64)
        self.maxpool, inner = torch.nn.MaxPool2d(3, 2, 1), 64
        for stage, count in enumerate(counts):
            blocks = []
            for i in range(count):
                blocks.append(Block(inner, 64 * 2**stage, 2 if stage and not i else 1, depth == 50))
                inner = 64 * 2**stage * (4 if depth == 50 else 1)
            setattr(self, f"layer{stage + 1}", torch.nn.Sequential(*blocks))

    def forward(self, x):
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


def random_images(side=64):
    return np.random.default_rng(0).normal(size=(N, side, side, 3)).astype(np.float32)


def backbone(depth):
    counts = {18: [2, 2, 2, 2], 34: [3, 4, 6, 3], 50: [3, 4, 6, 3]}[depth]
    kind = "bottleneck_block" if depth == 50 else "basic_block"
    return hub.ResNetBackbone([64], [7], [64, 128, 256, 512], counts, [1, 2, 2, 2], kind, image_shape=(64, 64, 3))


@pytest.mark.parametrize("depth", [18, 34, 50])
def test_torchvision_resnet_onto_kerashub(tmp_path, depth):
    model = randomise(ResNet(depth))
    save_file(model.state_dict(), tmp_path / "x.safetensors")
    _, ours = filled(str(tmp_path / "x.safetensors"), backbone(depth))
    with torch.no_grad():
        theirs = model(torch.tensor(random_images().transpose(0, 3, 1, 2))).permute(0, 2, 3, 1)
    scale = float(theirs.abs().max())  # activations grow with depth: 1e-4 of the greatest
    agree(ours(random_images(), training=False) / scale, theirs / scale)


def test_torchvision_resnet50_onto_keras_applications_differs_as_stated(tmp_path):
    model = randomise(ResNet(50))
    save_file(model.state_dict(), tmp_path / "x.safetensors")
    target = keras.applications.ResNet50(weights=None, include_top=False, input_shape=(64, 64, 3))
    weight_map, _ = filled(str(tmp_path / "x.safetensors"), target)
    assert weight_map.preserves == "no"
    with torch.no_grad():
        theirs = model(torch.tensor(random_images().transpose(0, 3, 1, 2))).permute(0, 2, 3, 1).numpy()
    proof = weight_map.verify(random_images(), reference=theirs)
    assert proof.expected == "agree" and not proof.equal and proof.relative > 1e-3


@pytest.mark.parametrize("kind", ["basic", "bottleneck"])
def test_hugging_face_resnet_onto_kerashub(tmp_path, kind):
    wider = 4 if kind == "bottleneck" else 1
    config = transformers.ResNetConfig(
        embedding_size=64, hidden_sizes=[64 * wider, 128 * wider], depths=[2, 2], layer_type=kind
    )
    model = transformers.ResNetModel(config)
    source = saved(model, tmp_path)
    block = f"{kind}_block"
    _, ours = filled(source, hub.ResNetBackbone([64], [7], [64, 128], [2, 2], [1, 2], block, image_shape=(64, 64, 3)))
    with torch.no_grad():
        theirs = model(torch.tensor(random_images().transpose(0, 3, 1, 2))).last_hidden_state.permute(0, 2, 3, 1)
    scale = float(theirs.abs().max())
    agree(ours(random_images(), training=False) / scale, theirs / scale)


def test_bfloat16_as_pytorch_writes_it(tmp_path):
    config = bert_config(TANH)
    model = randomise(transformers.BertModel(config)).to(torch.bfloat16)
    model.save_pretrained(tmp_path / "m", max_shard_size="20KB")
    assert len(json.loads((tmp_path / "m" / "model.safetensors.index.json").read_text())["weight_map"]) > 40
    ids, mask, segments = texts()
    _, ours = filled(f"hf:{tmp_path / 'm'}", hub.BertBackbone(intermediate_dim=48, **KERAS))
    given = ours({"token_ids": ids, "padding_mask": mask, "segment_ids": segments}, training=False)
    with torch.no_grad():
        theirs = model.float()(*map(torch.tensor, (ids, mask, segments)))
    agree(given["sequence_output"], theirs.last_hidden_state, mask)
