"""Two factors in the place of a matrix, by its singular value decomposition.

W ≈ (U_R √S_R) (√S_R V_Rᵀ) is the nearest matrix of rank R by squared error (Eckart and Young 1936). It saves numbers
where R (rows + columns) < rows · columns; where it does not, the matrix stays as it is.
"""

import numpy as np

from tfxfer.models.coded_weights import CodedWeight, Matrix
from tfxfer.transfer.structure.compression.matrices import is_diagonal


def factored(weight: CodedWeight, rank: float) -> CodedWeight:
    """Return a weight as the product of two matrices, or as it is where that would not be smaller.

    Args:
        weight: One matrix.
        rank: R; below 1 a share of the full rank.
    """
    (matrix,) = weight.parts
    rows, columns = matrix.values.shape
    wanted = rank_of(rank, rows, columns)
    if wanted * (rows + columns) >= rows * columns or is_diagonal(matrix.values):
        return weight
    left, right = factors(matrix.values, wanted)
    return CodedWeight(weight.shape, (Matrix(left, by_rows=True), Matrix(right)))


def rank_of(rank: float, rows: int, columns: int) -> int:
    """Return R for a matrix.

    >>> rank_of(0.25, 128, 512), rank_of(8, 128, 512), rank_of(8, 4, 512)
    (32, 8, 4)
    """
    full = min(rows, columns)
    return min(full, max(1, round(rank * full) if rank < 1 else int(rank)))


def factors(matrix: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Return float32 [rows, R] and [R, columns], whose product is the nearest matrix of rank R.

    >>> left, right = factors(np.outer([1.0, 2.0], [3.0, 4.0]), 1)
    >>> (left @ right).round(4).tolist()
    [[3.0, 4.0], [6.0, 8.0]]
    """
    u, s, vt = np.linalg.svd(np.asarray(matrix, np.float64), full_matrices=False)
    root = np.sqrt(s[:rank])
    return (u[:, :rank] * root).astype(np.float32), (root[:, None] * vt[:rank]).astype(np.float32)
