"""The weight map itself: tensors, names, matching, rules, operations, rows, ledger, apply, proof.

Use it through `tfxfer.transfer.structure`.
"""
