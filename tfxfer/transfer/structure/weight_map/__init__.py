"""The parts of a weight map: tensors, names, matching, rules, operations, rows, ledger, apply, proof.

The public face is `tfxfer.transfer.structure`.
"""
