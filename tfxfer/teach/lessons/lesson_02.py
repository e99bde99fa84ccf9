"""Exercises of lesson 02, feature transfer."""

import numpy as np

from tfxfer.teach.exercise import Choice, Exercise, Function, Mistake, Shape, WholeNumber

PHI = np.array([[1.0, 2.0], [0.0, -1.0], [3.0, 0.5]])  # [B, D]
W = np.array([[0.5, -1.0, 0.0], [1.0, 0.0, 2.0]])  # [D, C]
B = np.array([0.1, 0.0, -0.3])  # [C]


def _right(phi: np.ndarray, W: np.ndarray, b: np.ndarray) -> np.ndarray:
    logits = phi @ W + b
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)


def _over_the_batch(phi: np.ndarray, W: np.ndarray, b: np.ndarray) -> np.ndarray:
    exponentials = np.exp(phi @ W + b)
    return exponentials / exponentials.sum(0)


def _over_everything(phi: np.ndarray, W: np.ndarray, b: np.ndarray) -> np.ndarray:
    exponentials = np.exp(phi @ W + b)
    return exponentials / exponentials.sum()


COLUMNS = np.array(
    [[1.0, 0.0, 2.0], [3.0, -1.0, 0.0], [0.0, 4.0, 1.0], [2.0, 2.0, 5.0], [6.0, 1.0, 0.0], [0.0, 3.0, 7.0]]
)


def _windows(columns: np.ndarray, K: int) -> np.ndarray:
    return columns.reshape(K, -1, columns.shape[1]).mean(1).reshape(-1)


EXERCISES = {
    "02.1": Exercise(
        WholeNumber(),
        right=1290,
        because="128 · 10 weights in W and 10 biases in b. Nothing else is trained.",
        hint="W has a row for each feature and a column for each class. What is added to W·φ(x)?",
        mistakes=(
            Mistake(1280, "That is W alone. f(x) = W·φ(x) + b has a second trained parameter."),
            Mistake(138, "Features and classes are not added: each class has a weight for every feature."),
            Mistake(1408, "b has one value for each class, not for each feature."),
        ),
    ),
    "02.2": Exercise(
        Shape(),
        right=(1500, 128),
        because="150 labels a class and 10 classes make 1,500 phrases, and each phrase becomes 128 features.",
        hint="One row for each phrase: how many phrases are drawn? One column for each feature of φ(x).",
        mistakes=(
            Mistake((150, 128), "150 is the number of phrases of one language; there are ten languages."),
            Mistake((128, 1500), "Rows are examples, columns are features: [N, D]."),
            Mistake((1500, 10), "10 is the number of logits, W·φ(x) + b. The features are the input of W."),
            Mistake((1500, 32, 224, 1), "That is the input of φ: the images. What is the shape of its output?"),
        ),
    ),
    "02.3": Exercise(
        Function(),
        right=(((PHI, W, B), _right(PHI, W, B)), ((PHI[:1], W, B * 0), _right(PHI[:1], W, B * 0))),
        because="A softmax over the classes of W·φ(x) + b; each row of probabilities sums to 1.",
        hint="Logits first: phi @ W + b, shape [B, C]. Then exp, and divide each row by its own sum (axis 1).",
        mistakes=(
            Mistake(lambda phi, W, b: phi @ W + b, "Those are the logits. Probabilities are positive and sum to 1."),
            Mistake(lambda phi, W, b: _right(phi, W, b * 0), "b is missing."),
            Mistake(_over_the_batch, "Your columns sum to 1. Each row should: sum over axis 1."),
            Mistake(
                _over_everything, "All numbers together sum to 1. Each row should: sum over axis 1 with keepdims=True."
            ),
        ),
    ),
    "02.4": Exercise(
        Choice(("most frequent class", "random class", "nearest phrase")),
        right="most frequent class",
        because="The penalty is on W alone. W goes to 0, and b learns how frequent each class is.",
        hint="With λ huge, every weight in W is 0. What is left of W·φ(x) + b, and does it depend on x?",
        mistakes=(
            Mistake("random class", "Nothing is random here: with W = 0 the answer is always the same."),
            Mistake(
                "nearest phrase", "With W = 0 the features have no influence, so no distance between phrases matters."
            ),
        ),
    ),
    "02.5": Exercise(
        Choice(("0", "1", "many")),
        right="0",
        because="φ is frozen. The same CNN can be used for many tasks, each with its own W and b.",
        hint="Look at the cell that compares the CNN's weights before and after.",
        mistakes=(
            Mistake("many", "That would be fine-tuning. What does `extractor` do to the layers it takes?"),
            Mistake("1", "Does `extractor` leave a layer trainable? Print `phi.trainable_weights`."),
        ),
    ),
    "02.6": Exercise(
        Shape(),
        right=(56, 258),
        because="224 / 4 columns, and for each the probabilities of 257 letters and of blank.",
        hint="A row for each column of the image: how many are there? A number for each answer the reader can give.",
        mistakes=(
            Mistake((56, 257), "Most columns hold the centre of no letter. Is there an answer for them?"),
            Mistake((224, 258), "A column of the reader is wider than one pixel."),
            Mistake((258, 56), "Columns first, as in [w, D]; then the answers."),
            Mistake((32, 56, 258), "The height of the image does not remain: a letter is read from the whole height."),
        ),
    ),
    "02.7": Exercise(
        Function(),
        right=tuple(((COLUMNS, K), _windows(COLUMNS, K)) for K in (2, 3, 6, 1)),
        because="With K = 1 it is the average, with K = w every column stays. Between windows order is kept.",
        hint="Cut the columns into K blocks that follow one another (np.split); take the mean of each.",
        mistakes=(
            Mistake(lambda columns, K: columns.mean(0), "That is one mean over all columns: no window, no order."),
            Mistake(
                lambda columns, K: columns.reshape(K, -1, columns.shape[1]).mean(1),
                "The means are right. One example should be a vector: put them one after the other.",
            ),
            Mistake(
                lambda columns, K: np.concatenate([columns[k::K].mean(0) for k in range(K)]),
                "Your windows take every K-th column. A window is columns that stand beside one another.",
            ),
            Mistake(
                lambda columns, K: columns.reshape(K, -1, columns.shape[1]).sum(1).reshape(-1),
                "Those are sums. Divide by the number of columns of a window.",
            ),
            Mistake(
                lambda columns, K: columns.reshape(K, -1, columns.shape[1]).mean(1).T.reshape(-1),
                "The numbers are right, their order is not: first all features of the first window, then of the next.",
            ),
        ),
    ),
}
