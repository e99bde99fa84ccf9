"""Random checkpoints of other libraries, as tensors by name and config.json, without PyTorch."""

import numpy as np

WIDTH, HEADS, INNER, WORDS, LENGTH = 8, 2, 12, 30, 16


def filled(shapes, seed=0):
    """Return random float32 tensors of these shapes; variances positive."""
    rng = np.random.default_rng(seed)
    found = {name: rng.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    return {name: np.abs(value) + 0.5 if name.endswith("running_var") else value for name, value in found.items()}


def linear(name, out, inner):
    return {f"{name}.weight": (out, inner), f"{name}.bias": (out,)}


def norm(name, width, names=("weight", "bias")):
    return {f"{name}.{one}": (width,) for one in names}


def bert(layers=2, prefix="", names=("weight", "bias"), d=WIDTH):
    shapes = {
        "embeddings.word_embeddings.weight": (WORDS, d),
        "embeddings.position_embeddings.weight": (LENGTH, d),
        "embeddings.token_type_embeddings.weight": (2, d),
        **norm("embeddings.LayerNorm", d, names),
        **linear("pooler.dense", d, d),
    }
    for i in range(layers):
        layer = f"encoder.layer.{i}"
        for part in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            shapes |= linear(f"{layer}.{part}", d, d)
        shapes |= norm(f"{layer}.attention.output.LayerNorm", d, names) | norm(f"{layer}.output.LayerNorm", d, names)
        shapes |= linear(f"{layer}.intermediate.dense", INNER, d) | linear(f"{layer}.output.dense", d, INNER)
    config = {
        "model_type": "bert",
        "vocab_size": WORDS,
        "num_hidden_layers": layers,
        "num_attention_heads": HEADS,
        "hidden_size": d,
        "intermediate_size": INNER,
        "max_position_embeddings": LENGTH,
        "hidden_act": "gelu",
    }
    return {prefix + name: value for name, value in filled(shapes).items()}, config


def distilbert(layers=2, prefix="distilbert.", d=WIDTH):
    shapes = {
        "embeddings.word_embeddings.weight": (WORDS, d),
        "embeddings.position_embeddings.weight": (LENGTH, d),
        **norm("embeddings.LayerNorm", d),
    }
    for i in range(layers):
        layer = f"transformer.layer.{i}"
        for part in ("q_lin", "k_lin", "v_lin", "out_lin"):
            shapes |= linear(f"{layer}.attention.{part}", d, d)
        shapes |= norm(f"{layer}.sa_layer_norm", d) | norm(f"{layer}.output_layer_norm", d)
        shapes |= linear(f"{layer}.ffn.lin1", INNER, d) | linear(f"{layer}.ffn.lin2", d, INNER)
    config = {
        "model_type": "distilbert",
        "vocab_size": WORDS,
        "n_layers": layers,
        "n_heads": HEADS,
        "dim": d,
        "hidden_dim": INNER,
        "dropout": 0.1,
        "max_position_embeddings": LENGTH,
        "activation": "gelu",
    }
    return {prefix + name: value for name, value in filled(shapes).items()}, config


def vit(layers=2, prefix="vit.", d=WIDTH, side=16):
    shapes = {
        "embeddings.cls_token": (1, 1, d),
        "embeddings.patch_embeddings.projection.weight": (d, 3, 8, 8),
        "embeddings.patch_embeddings.projection.bias": (d,),
        "embeddings.position_embeddings": (1, (side // 8) ** 2 + 1, d),
        **norm("layernorm", d),
    }
    for i in range(layers):
        layer = f"encoder.layer.{i}"
        for part in ("attention.query", "attention.key", "attention.value", "output.dense"):
            shapes |= linear(f"{layer}.attention.{part}", d, d)
        shapes |= norm(f"{layer}.layernorm_before", d) | norm(f"{layer}.layernorm_after", d)
        shapes |= linear(f"{layer}.intermediate.dense", INNER, d) | linear(f"{layer}.output.dense", d, INNER)
    config = {
        "model_type": "vit",
        "image_size": side,
        "patch_size": 8,
        "num_hidden_layers": layers,
        "num_attention_heads": HEADS,
        "hidden_size": d,
        "intermediate_size": INNER,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "qkv_bias": True,
        "hidden_act": "gelu",
    }
    return {prefix + name: value for name, value in filled(shapes).items()}, config


def gpt2(layers=2, prefix="", d=WIDTH):
    shapes = {"wte.weight": (WORDS, d), "wpe.weight": (LENGTH, d), **norm("ln_f", d)}
    for i in range(layers):
        shapes |= norm(f"h.{i}.ln_1", d) | norm(f"h.{i}.ln_2", d)
        for part, inner, out in (
            ("attn.c_attn", d, 3 * d),
            ("attn.c_proj", d, d),
            ("mlp.c_fc", d, 4 * d),
            ("mlp.c_proj", 4 * d, d),
        ):
            shapes |= {f"h.{i}.{part}.weight": (inner, out), f"h.{i}.{part}.bias": (out,)}
    config = {
        "model_type": "gpt2",
        "vocab_size": WORDS,
        "n_layer": layers,
        "n_head": HEADS,
        "n_embd": d,
        "resid_pdrop": 0.1,
        "n_positions": LENGTH,
        "activation_function": "gelu_new",
    }
    return {prefix + name: value for name, value in filled(shapes).items()}, config


def convolution(name, norm_name, out, inner, side):
    statistics = dict.fromkeys(
        (f"{norm_name}.{one}" for one in ("weight", "bias", "running_mean", "running_var")), (out,)
    )
    return {f"{name}.weight": (out, inner, side, side), **statistics}


def resnet(depth=18, classes=5):
    """Return torchvision's ResNet-18 or ResNet-50, with timm's config.json."""
    blocks, sides, wider = ((2, 2, 2, 2), (3, 3), 1) if depth == 18 else ((3, 4, 6, 3), (1, 3, 1), 4)
    shapes, inner = convolution("conv1", "bn1", 64, 3, 7), 64
    for stage, count in enumerate(blocks):
        width = 64 * 2**stage
        for block in range(count):
            place = f"layer{stage + 1}.{block}"
            if block == 0 and inner != width * wider:
                shapes |= convolution(f"{place}.downsample.0", f"{place}.downsample.1", width * wider, inner, 1)
            for i, side in enumerate(sides, start=1):
                out = width * wider if i == len(sides) else width
                shapes |= convolution(f"{place}.conv{i}", f"{place}.bn{i}", out, inner, side)
                inner = out
    tensors = filled({**shapes, **linear("fc", classes, inner)})
    tensors["bn1.num_batches_tracked"] = np.asarray(7)
    return tensors, {"architecture": f"resnet{depth}", "num_classes": classes, "num_features": inner}
