"""Smaller weights of a trained model: quantisation, low rank, pruning, fewer units, LoRA merged.

    matrices        which weights of a model are matrices, and how each is laid out
    quantisation    fewer bits for each number
    low_rank        two factors in the place of a matrix
    pruning         the smallest entries become 0
    narrowing       whole units go, by the weight map `shrink`
    lora            LoRA layers become the layers that they stand on

The first three change the file, not what the model computes with; `tfxfer.models.coded_weights` has the form of the
file. Narrowing changes the model itself. Which method a command names is in `tfxfer.recipes.compress_methods`.
"""
