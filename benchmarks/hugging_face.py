"""A decoder's weights in Hugging Face's `VisionEncoderDecoderModel`, for benchmarks that run both side by side."""

import re

import numpy as np

NAMES = (
    (r"^decoder_layer_(\d+)/", r"bert.encoder.layer.\1/"),
    (r"/self_attention/(query|key|value)/", r"/attention.self.\1/"),
    (r"/cross_attention/(query|key|value)/", r"/crossattention.self.\1/"),
    (r"/self_attention/attention_output/", "/attention.output.dense/"),
    (r"/cross_attention/attention_output/", "/crossattention.output.dense/"),
    (r"/self_attention_layer_norm/", "/attention.output.LayerNorm/"),
    (r"/cross_attention_layer_norm/", "/crossattention.output.LayerNorm/"),
    (r"/feedforward_layer_norm/", "/output.LayerNorm/"),
    (r"/feedforward_intermediate_dense/", "/intermediate.dense/"),
    (r"/feedforward_output_dense/", "/output.dense/"),
    (r"^token_embedding/", "bert.embeddings.word_embeddings/"),
    (r"^position_embedding/", "bert.embeddings.position_embeddings/"),
    (r"^segment_embedding/", "bert.embeddings.token_type_embeddings/"),
    (r"^embeddings_layer_norm/", "bert.embeddings.LayerNorm/"),
    (r"^head_dense/", "cls.predictions.transform.dense/"),
    (r"^head_norm/", "cls.predictions.transform.LayerNorm/"),
    (r"^head_bias/", "cls.predictions/"),
    (r"/(kernel|gamma|embeddings|position_embeddings)$", "/weight"),
    (r"/beta$", "/bias"),
)


def twin(decoder, width, heads, positions):
    """Return a `VisionEncoderDecoderModel` whose decoder has the weights of a `causal_decoder` of this width.

    Its encoder is a tiny one that never runs: `generate` is given the memory.
    """
    import torch
    from transformers import BertConfig, BertLMHeadModel, VisionEncoderDecoderModel, ViTConfig, ViTModel

    weights = dict(_theirs(v, width) for v in decoder.variables if "seed_generator" not in v.path)
    words, layers = len(weights["cls.predictions.bias"]), sum("crossattention.self.query.bias" in n for n in weights)
    config = BertConfig(
        vocab_size=words,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=len(weights["bert.encoder.layer.0.intermediate.dense.bias"]),
        max_position_embeddings=positions,
        is_decoder=True,
        add_cross_attention=True,
    )
    theirs = BertLMHeadModel(config).eval()
    result = theirs.load_state_dict({name: torch.tensor(value) for name, value in weights.items()}, strict=False)
    rest = [
        name for name in result.missing_keys if "position_ids" not in name and "cls.predictions.decoder" not in name
    ]
    assert not rest and not result.unexpected_keys, (rest, result.unexpected_keys)
    theirs.tie_weights()
    image = ViTConfig(image_size=4, patch_size=2, hidden_size=width, num_hidden_layers=1, num_attention_heads=heads)
    return VisionEncoderDecoderModel(encoder=ViTModel(image, add_pooling_layer=False), decoder=theirs).eval()


def _theirs(variable, width):
    """Return Hugging Face's name and array of one of our variables; its kernels are transposed, its heads joined."""
    name, value = variable.path, np.asarray(variable)
    if name.endswith("kernel"):
        if value.ndim == 3:  # heads: [D, H, d], or [H, d, D] of an attention's output
            value = value.reshape(-1, width) if "attention_output" in name else value.reshape(width, -1)
        value = value.T
    elif "/query/" in name or "/key/" in name or "/value/" in name:
        value = value.reshape(-1)
    for ours, theirs in NAMES:
        name = re.sub(ours, theirs, name)
    return name.replace("/", "."), np.ascontiguousarray(value)
