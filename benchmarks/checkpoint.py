"""A BERT-base (110 million parameters) from a folder of safetensors: our plan against KerasHub's `from_preset`.

Each import runs in a process of its own, three times in turns, and builds the model too; the fastest run counts. Memory
is the greatest resident size of the process, above that of a process that has imported the framework and made a small
model; files that are mapped count as far as their pages were used.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

LAYERS, WIDTH, WORDS, POSITIONS = 12, 768, 30_522, 512
REPEATS = 3


def folder(path: Path) -> int:
    """Write a random BERT-base as Hugging Face lays it out; return the bytes of its weights."""
    from safetensors.numpy import save_file

    rng = np.random.default_rng(0)
    shapes = {
        "embeddings.word_embeddings.weight": (WORDS, WIDTH),
        "embeddings.position_embeddings.weight": (POSITIONS, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
        "pooler.dense.weight": (WIDTH, WIDTH),
        "pooler.dense.bias": (WIDTH,),
    }
    norms = ["embeddings.LayerNorm"]
    for i in range(LAYERS):
        block = f"encoder.layer.{i}"
        norms += [f"{block}.attention.output.LayerNorm", f"{block}.output.LayerNorm"]
        for part in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            shapes |= {f"{block}.{part}.weight": (WIDTH, WIDTH), f"{block}.{part}.bias": (WIDTH,)}
        for part, size in (("intermediate.dense", (4 * WIDTH, WIDTH)), ("output.dense", (WIDTH, 4 * WIDTH))):
            shapes |= {f"{block}.{part}.weight": size, f"{block}.{part}.bias": size[:1]}
    shapes |= {f"{norm}.{part}": (WIDTH,) for norm in norms for part in ("weight", "bias")}
    tensors = {name: 0.02 * rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    config = {
        "model_type": "bert",
        "vocab_size": WORDS,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 12,
        "hidden_size": WIDTH,
        "intermediate_size": 4 * WIDTH,
        "hidden_dropout_prob": 0.1,
        "max_position_embeddings": POSITIONS,
        "type_vocab_size": 2,
    }
    (path / "config.json").write_text(json.dumps(config))
    (path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]))
    return sum(tensor.nbytes for tensor in tensors.values())


def once(how: str, path: str) -> None:
    """Import the folder in this process and print seconds, MiB above the framework's own, and a sum to compare."""
    import keras
    import keras_hub

    keras_hub.models.BertBackbone(10, 1, 2, 8, 8, max_sequence_length=4)
    before, started = peak(), time.perf_counter()
    if how == "kerashub":
        model = keras_hub.models.BertBackbone.from_preset(path)
    else:
        from tfxfer.transfer.structure import plan

        model = keras_hub.models.BertBackbone(WORDS, LAYERS, 12, WIDTH, 4 * WIDTH, max_sequence_length=POSITIONS)
        plan(f"hf:{path}", model).apply()
    seconds, used = time.perf_counter() - started, peak() - before
    total = float(sum(keras.ops.sum(keras.ops.abs(weight)) for weight in model.weights))
    print(json.dumps({"seconds": seconds, "mib": used, "sum": total}))


def peak() -> float:
    """Return the greatest resident size of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        size = folder(Path(place)) / 2**20
        found: dict[str, list[dict[str, float]]] = {"kerashub": [], "ours": []}
        for _ in range(REPEATS):
            for how, rows in found.items():
                command = [sys.executable, "-m", "benchmarks.checkpoint", how, place]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                rows.append(json.loads(done.stdout.strip().splitlines()[-1]))
                print(
                    f"{how:9s} {rows[-1]['seconds']:.2f} s, {rows[-1]['mib']:.0f} MiB above the framework", flush=True
                )
    assert len({row["sum"] for rows in found.values() for row in rows}) == 1, "the two models differ"
    best = {how: min(row["seconds"] for row in rows) for how, rows in found.items()}
    mib = {how: min(row["mib"] for row in rows) for how, rows in found.items()}
    time_share, memory_share = best["ours"] / best["kerashub"], mib["ours"] / size
    promises = {
        "110 M import: seconds over KerasHub's from_preset": [round(time_share, 2), "<=", 1.2],
        "110 M import: peak memory over the model's bytes": [round(memory_share, 2), "<=", 1.3],
    }
    figures = {"model_mib": round(size), "seconds": best, "mib": mib}
    print(json.dumps({"benchmark": "checkpoint", **figures, "promises": promises}))


if __name__ == "__main__":
    if len(sys.argv) == 3:
        once(*sys.argv[1:])
    else:
        main()
