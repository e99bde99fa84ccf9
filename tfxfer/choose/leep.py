"""LEEP and NCE: how well a source model's own classes predict the target's classes. No feature and no fit is needed."""

import numpy as np
from numpy.typing import ArrayLike

from tfxfer.choose.inputs import as_probabilities, class_sums


def leep(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Return LEEP, the mean log probability that the source's classes give to the target's labels, in nats.

    With θ the source's probabilities and y the target's labels,

        P(y, z) = (1/N) Σ_{i: yᵢ=y} θᵢ(z)        P(y | z) = P(y, z) / P(z)
        LEEP = (1/N) Σᵢ ln Σ_z P(yᵢ | z) θᵢ(z)

    A source class z to which no example gives any probability takes no part.

    Args:
        probabilities: θ [N, Z], what the source's head says of the target's examples; each row has a sum of 1.
        labels: The target's classes [N]: whole numbers or text.

    Returns:
        A number within −H(Y), the source's classes say nothing, and 0, they predict everything. Higher is better.

    Raises:
        UserError: A row is no distribution, or what else `tfxfer.choose.inputs` refuses.

    References:
        Nguyen et al. 2020, "LEEP: A New Measure to Evaluate Transferability of Learned Representations".

    Example:
        >>> round(leep([[1, 0], [1, 0], [0, 1], [0, 1]], ["cat", "cat", "dog", "cat"]), 3)  # ½·ln ½ of two rows
        -0.347
    """
    theta, classes = as_probabilities(probabilities, labels)
    joint = class_sums(theta, classes) / len(theta)  # [C, Z]
    seen = joint.sum(0) > 0
    given_z = joint[:, seen] / joint[:, seen].sum(0)  # [C, Z']: P(y | z)
    return float(np.mean(np.log((given_z[classes] * theta[:, seen]).sum(1))))


def nce(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Return NCE, the negative conditional entropy −H(Y | Z) of the labels given the source's answers, in nats.

    The source's answer is Z = argmax θ, the first of equal ones:

        NCE = Σ_{y,z} P(y, z) · ln P(y | z)

    Args:
        probabilities: θ [N, Z], what the source's head says of the target's examples; each row has a sum of 1.
        labels: The target's classes [N]: whole numbers or text.

    Returns:
        A number within −H(Y), the answers say nothing, and 0, they predict everything. Higher is better.

    Raises:
        UserError: A row is no distribution, or what else `tfxfer.choose.inputs` refuses.

    References:
        Tran et al. 2019, "Transferability and Hardness of Supervised Classification Tasks".

    Example:
        >>> round(nce([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]], ["cat", "cat", "dog", "cat"]), 3)
        -0.347
    """
    theta, classes = as_probabilities(probabilities, labels)
    joint = class_sums(np.eye(theta.shape[1])[theta.argmax(1)], classes) / len(theta)  # [C, Z]
    filled = joint > 0
    given_z = joint / np.where(joint.sum(0) > 0, joint.sum(0), 1)
    return float(np.sum(joint[filled] * np.log(given_z[filled])))
