"""Visual question answering: a picture's places and a question meet in K = f(X)·g(Y) + h(X, Y), pooled to an answer.

    X   grid        the encoder's map of a picture, at most 8 x 8 places, as tokens with places        [P, M, D]
    Y   sequence    the question's tokens, by a BERT or a small tower                                  [U, T, E]
    K   one number for each pair that was asked, each place and each answer; its mean over the places  [B, A]

The picture encoder is locked, and its grids are computed once; or it is trained with the rest (`train_encoder`).
Answers are classes. A batch holds each picture and each question once, however many pairs they are in.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfxfer.errors import UserError
from tfxfer.models.randomness import reseed
from tfxfer.transfer.graph import unfreeze
from tfxfer.transfer.knowledge.answer_head import VQAHead
from tfxfer.transfer.knowledge.callbacks import WarmupCosine
from tfxfer.transfer.knowledge.caption_model import VisualTokens, pool_positions, feature_map_encoder
from tfxfer.models.standardize import mean_and_deviation
from tfxfer.models.batching import in_batches
from tfxfer.transfer.knowledge.question_batches import QuestionBatch, batches, question_order, parts
from tfxfer.transfer.knowledge.text_towers import TextTower

SIDE = 8  # places that a grid has at most from side to side; finer maps are averaged


class VisualQA:
    """A picture encoder and a question encoder whose K answers questions.

    Args:
        encoder: A convolutional picture model; its last map is the grid. Its weights are shared, and changed only
            where `train_encoder` says so.
        questions: From `text_towers`: a BERT or a small one. It is trained in place.
        answers: Names of the A answers.
        image_shape: (H, W, C) of the pictures.
        h: None (f·g alone: bilinear), "film" or "cross_attention".
        dim: Width of K's two sides.
        heads: Attention heads of h="cross_attention".
        dot: False leaves f·g out.
        dropout: Share of the units before the answers that training hides.
        train_encoder: Let the picture encoder train too.

    Attributes:
        grid: The model from pictures to grids.
        matrix: The layer K, an `VQAHead`.
        trained: Model {"sight", "tokens" int [U, T], "picture" int [B], "question" int [B]} → logits [B, A];
            what `fit` trains.

    Raises:
        UserError: The encoder has no map, or there are fewer than two answers.

    Example:
        >>> qa = VisualQA(cnn, bert_tower(bert, pieces), ["yes", "no"], (32, 32, 1))    # doctest: +SKIP
        >>> qa.fit(qa.asked(pictures, [0, 0], ["is it red?", "is it old?"], ["yes", "no"]))  # doctest: +SKIP
        >>> qa.model().save("answers.keras")                                            # doctest: +SKIP
    """

    def __init__(
        self,
        encoder: keras.Model,
        questions: TextTower,
        answers: Sequence[str],
        image_shape: tuple[int, int, int],
        *,
        h: str | None = "cross_attention",
        dim: int = 128,
        heads: int = 4,
        dot: bool = True,
        dropout: float = 0.1,
        train_encoder: bool = False,
    ) -> None:
        if len(answers) < 2:
            raise UserError(f"answers {list(answers)}: with fewer than two there is nothing to choose from")
        self.questions, self.answers, self.image_shape = questions, tuple(answers), tuple(image_shape)
        self.train_encoder = train_encoder
        self.grid = pooled_encoder(encoder, image_shape, train_encoder)
        if train_encoder:
            unfreeze(self.grid)
        self.sequence = token_sequence(questions)
        scale = {"center": False, "scale": False, "epsilon": 1e-12, "trainable": False}
        self.standardise = keras.layers.BatchNormalization(**scale, name="standardise")
        self.memory = VisualTokens(dim, name="memory")
        self.matrix = VQAHead(len(answers), h, dim=dim, heads=heads, dot=dot, dropout=dropout, name="K")
        shape = image_shape if train_encoder else self.grid.output.shape[1:]
        sight = keras.Input(shape, name="sight", dtype="uint8" if train_encoder else "float32")
        tokens = keras.Input((questions.tokens.length,), dtype="int32", name="tokens")
        pairs = {name: keras.Input((), dtype="int32", name=name) for name in ("picture", "question")}
        logits = self.k(sight, tokens, **pairs)
        self.trained = keras.Model({"sight": sight, "tokens": tokens, **pairs}, logits, name="visual_qa")
        self._calls: dict[str | None, Any] = {}
        self._grids: Callable[[np.ndarray], np.ndarray] | None = None

    def k(self, sight: Any, tokens: Any, picture: Any = None, question: Any = None, **how: Any) -> Any:
        """Return logits [B, A], or what `how` asks of `VQAHead.call`; `sight` as in `QuestionBatch`."""
        return self.matrix(*self.sides(sight, tokens), picture, question, **how)

    def sides(self, sight: Any, tokens: Any) -> tuple[Any, Any, Any]:
        """Return X float [P, M, D], Y float [U, T, E] and Y's mask bool [U, T]."""
        grid = self.grid(sight) if self.train_encoder else sight
        return self.memory(self.standardise(grid)), self.sequence(tokens), tokens != 0

    def asked(
        self, pictures: np.ndarray, picture: Sequence[int], texts: Sequence[str], answers: Sequence[str] | None = None
    ) -> QuestionBatch:
        """Return pairs for `fit` and `logits`; warn of questions that are cut.

        Args:
            pictures: uint8 [P, H, W, C].
            picture: Which picture each of Q questions is about.
            texts: The questions, [Q].
            answers: Their answers [Q]; those that are none of `answers` count as wrong and teach nothing.

        Raises:
            UserError: A question is empty, or the lists do not fit.
        """
        place = {name: i for i, name in enumerate(self.answers)}
        given = [""] * len(texts) if answers is None else answers
        if not len(picture) == len(texts) == len(given):
            raise UserError(f"{len(picture)} pictures, {len(texts)} questions and {len(given)} answers are no pairs")
        different = list(dict.fromkeys(texts))
        at = {text: i for i, text in enumerate(different)}
        return QuestionBatch(
            self.sight(pictures),
            self.questions.read(different),
            np.asarray(picture, np.int32),
            np.array([at[text] for text in texts], np.int32),
            np.array([place.get(name, -1) for name in given], np.int32),
        )

    def sight(self, pictures: np.ndarray) -> np.ndarray:
        """Return what K sees of pictures uint8 [P, H, W, C]: their grids, or they themselves if the encoder trains."""
        if self.train_encoder:
            return np.asarray(pictures)
        self._grids = self._grids or in_batches(self.grid)
        return self._grids(pictures)

    def fit(
        self,
        asked: QuestionBatch,
        *,
        steps: int = 150,
        batch_size: int = 128,
        learning_rate: float = 3e-3,
        seed: int = 0,
        jit: bool = False,
    ) -> keras.callbacks.History:
        """Learn from pairs by cross-entropy.

        The first call also sets the scale of the grids; a later one goes on. With the weights of `trained` set back to
        what they were before, training begins anew.

        Args:
            asked: The pairs; those whose answer is unknown are left aside.
            steps: Batches to learn from.
            batch_size: Pairs in a batch; a picture's questions come together.
            learning_rate: The largest; it rises over a sixth of the steps and falls as half a cosine.
            seed: Seed of the order and of dropout.
            jit: Compile with XLA; on a CPU, compiling costs more than the steps of one training save.

        Returns:
            Keras' history, of one epoch: the mean loss in nats.

        Raises:
            UserError: No pair has a known answer.
            TfxferError: The loss is no number any more.
        """
        usable = np.flatnonzero(asked.labels >= 0)
        if not len(usable):
            raise UserError("none of the questions has an answer that can be learned")
        if not self.train_encoder and not self._scaled():
            self.learn_scale(asked.sight)
        self._compile(jit)
        reseed(self.trained, seed)
        order = question_order(asked.picture[usable], steps * min(batch_size, len(usable)), seed)
        data = batches(asked, usable[order].reshape(steps, -1))
        watch = WarmupCosine(learning_rate, steps)
        return self.trained.fit(data, verbose=0, shuffle=False, callbacks=[watch])

    def logits(self, asked: QuestionBatch, without: str | None = None) -> np.ndarray:
        """Return float32 [Q, A]; `without` "dot" or "h" leaves this term of K out."""
        if without not in self._calls:

            def call(sight: Any, tokens: Any, picture: Any, question: Any) -> Any:
                return self.k(sight, tokens, picture, question, without=without, training=False)

            numbers = [tf.TensorSpec((None, self.questions.tokens.length), tf.int32)]
            pairs = 2 * [tf.TensorSpec((None,), tf.int32)]
            sight_like = tf.TensorSpec(self.trained.input["sight"].shape, self.trained.input["sight"].dtype)
            self._calls[without] = tf.function(call, input_signature=[sight_like, *numbers, *pairs])
        return np.concatenate([np.asarray(self._calls[without](*part), np.float32) for part in parts(asked)])

    def looks(self, asked: QuestionBatch) -> np.ndarray:
        """Return where each pair's likeliest answer comes from, float [Q, h, w]; see `VQAHead.looks`."""
        answers, height_width = self.logits(asked).argmax(1), self.grid.output.shape[1:3]
        found, start = [], 0
        for sight, tokens, picture, question in parts(asked):
            given = answers[start : start + len(picture)]
            found.append(self.matrix.looks(*self.sides(sight, tokens), picture, question, tf.constant(given)))
            start += len(picture)
        return np.concatenate([np.asarray(part, np.float32) for part in found]).reshape(-1, *height_width)

    def model(self) -> keras.Model:
        """Return all as one model to save: {"image" [B, H, W, C], "question" string [B]} → probabilities [B, A]."""
        image = keras.Input(self.image_shape, name="image")
        question = keras.Input((), dtype="string", name="question")
        sight = image if self.train_encoder else self.grid(image)
        logits = self.k(sight, self.questions.tokens(question))
        probabilities = keras.layers.Activation("softmax", dtype="float32", name="answers")(logits)
        return keras.Model({"image": image, "question": question}, probabilities, name="visual_qa")

    def learn_scale(self, grids: np.ndarray) -> None:
        """Set the fixed (x − mean) / deviation of each channel of the grids."""
        mean, deviation = mean_and_deviation(grids.reshape(-1, grids.shape[-1]))
        self.standardise.set_weights([mean, deviation**2])

    def _scaled(self) -> bool:
        """Return whether a training has set the scale: told by the weights, so that it is forgotten with them."""
        mean, variance = self.standardise.get_weights()
        return bool(np.any(mean != 0) or np.any(variance != 1))

    def _compile(self, jit: bool) -> None:
        """Compile once; a second training starts with a fresh optimizer and needs no second compilation."""
        if not self.trained.compiled or self.trained.jit_compile != jit:
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            self.trained.compile(keras.optimizers.Adam(global_clipnorm=1.0), loss, jit_compile=jit)
            self.trained.optimizer.build(self.trained.trainable_variables)
        for variable in self.trained.optimizer.variables:
            variable.assign(keras.ops.zeros_like(variable))


def pooled_encoder(encoder: keras.Model, image_shape: tuple[int, int, int], trains: bool = False) -> keras.Model:
    """Return a model from pictures [P, H, W, C] to the encoder's last map, averaged to at most `SIDE` a side.

    Args:
        encoder: A picture model; its layers are shared, those of models within it too.
        image_shape: (H, W, C).
        trains: Let normalisation and dropout work as in training when the model trains.

    Raises:
        UserError: The encoder has no map [P, h, w, E], as a vision transformer has none.
    """
    grid = feature_map_encoder(encoder, image_shape, trains)
    return keras.Model(grid.input, pool_positions(grid.output, SIDE, "fewer_places"), name="grid")


def token_sequence(tower: TextTower) -> keras.Model:
    """Return a text tower up to the tokens that its vector is the mean of: int [U, T] → float [U, T, E]."""
    given = tower.body.get_layer("mean").input
    return keras.Model(tower.body.input, given[0] if isinstance(given, list) else given, name="sequence")
