"""Visual question answering: the logits of the answers are K = f(X)·g(Y) + h(X, Y), averaged over the map.

    X        feature map of the image encoder, at most 8 x 8 positions, projected, with position embeddings   [P, M, D]
    Y        features of the question's tokens, by a BERT or a small text tower                               [U, T, E]
    logits   a value for each pair of an image and a question, and each answer                                [Q, A]

Answers are classes. The image encoder is frozen and its feature maps are computed once, unless `train_encoder` lets it
train with the rest. A batch holds each image and each question once, however many pairs they are in. The layer K is
`VQAHead`; its terms f, g and h are described in docs/knowledge.md.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, Self

import keras
import numpy as np
import tensorflow as tf
from scipy.special import softmax

from tfxfer.config import TrainingConfig, VQAHeadConfig
from tfxfer.errors import UserError
from tfxfer.evaluate.vqa import vqa
from tfxfer.fit import fit_batches, rate_schedule
from tfxfer.models.batching import in_batches
from tfxfer.models.low_rank import optimizer_for
from tfxfer.models.randomness import reset_seed_generators
from tfxfer.models.saved_folder import load_folder, save_folder
from tfxfer.models.standardize import mean_and_deviation
from tfxfer.transfer.graph import unfreeze
from tfxfer.transfer.knowledge.answer_head import VQAHead
from tfxfer.transfer.knowledge.callbacks import StepRates
from tfxfer.transfer.knowledge.caption_model import VisualTokens, feature_map_encoder, pool_positions
from tfxfer.transfer.knowledge.knowledge_matrix import rebuilding
from tfxfer.transfer.knowledge.question_batches import QuestionBatch, batches, checked_index, parts, question_order
from tfxfer.transfer.knowledge.text_towers import TextTower

MAX_SIDE = 8  # positions along each side of a feature map; larger maps are averaged
HEAD = VQAHeadConfig()
TRAINING = TrainingConfig(batch_size=128)


class Answers(NamedTuple):
    """Answers to Q questions.

    Attributes:
        texts: The most probable answer to each question, [Q].
        probabilities: Of all A answers, float32 [Q, A].
    """

    texts: list[str]
    probabilities: np.ndarray


class VisualQA:
    """An image encoder and a text encoder whose K gives the logits of answers to questions about images.

    Args:
        encoder: A convolutional image model. Its weights are shared, and changed only with `train_encoder`.
        text_tower: From `text_towers`: a BERT or a small one. It is trained in place.
        answers: Names of the A answers.
        image_shape: (H, W, C) of the images.
        head: Options of the layer K.
        train_encoder: Whether the image encoder trains too.

    Attributes:
        image_encoder: Model from images [P, H, W, C] to feature maps [P, h, w, E].
        head: The layer K, a `VQAHead`.
        model: Model {"images", "token_ids" int [U, T], "image_index" int [Q], "question_index" int [Q]} → logits
            [Q, A], which `fit` trains; the inputs are those of `QuestionBatch`.

    Raises:
        UserError: The encoder has no feature map, or there are fewer than two answers.

    Example:
        >>> qa = VisualQA(cnn, bert_tower(bert, vocabulary), ["no", "yes"], (32, 32, 1))         # doctest: +SKIP
        >>> qa.fit(images, ["is it red?", "is it old?"], ["yes", "no"], image_index=[0, 0])      # doctest: +SKIP
        >>> qa.predict(images[:1], ["is it red?"]).texts                                         # doctest: +SKIP
        ['yes']
        >>> VisualQA.load(qa.save("runs/my-answers"))                                            # doctest: +SKIP
    """

    def __init__(
        self,
        encoder: keras.Model,
        text_tower: TextTower,
        answers: Sequence[str],
        image_shape: tuple[int, int, int],
        head: VQAHeadConfig = HEAD,
        *,
        train_encoder: bool = False,
    ) -> None:
        if len(answers) < 2:
            raise UserError(f"answers {list(answers)}: at least two are needed, to choose from")
        self.text_tower, self.answers, self.image_shape = text_tower, tuple(answers), tuple(image_shape)
        self.head_config, self.train_encoder = head, train_encoder
        self.image_encoder = pooled_encoder(encoder, image_shape, train_encoder)
        if train_encoder:
            unfreeze(self.image_encoder)
        fixed = {"center": False, "scale": False, "epsilon": 1e-12, "trainable": False}
        self.standardise = keras.layers.BatchNormalization(**fixed, name="standardise")
        self.visual_tokens = VisualTokens(head.dim, name="visual_tokens")
        self.head = VQAHead(
            len(answers), head.h, dim=head.dim, heads=head.heads, dot=head.dot, dropout=head.dropout, name="K"
        )
        self.model = self._training_model()
        self._feature_maps = in_batches(self.image_encoder)
        self._calls: dict[str | None, Callable[..., Any]] = {}  # what is left out → logits of a part of a batch

    def fit(
        self,
        images: np.ndarray | QuestionBatch,
        questions: Sequence[str] | None = None,
        answers: Sequence[str] | None = None,
        image_index: Sequence[int] | np.ndarray | None = None,
        *,
        training: TrainingConfig = TRAINING,
        seed: int = 0,
        jit: bool = False,
        callbacks: Sequence[keras.callbacks.Callback] = (),
    ) -> keras.callbacks.History:
        """Train on questions and their answers by cross-entropy.

        The first call also sets the scale of the feature maps; a later one continues. With the weights of `model` set
        back to what they were before, training starts anew. Truncated questions get a `TruncationWarning`.

        Args:
            images: [P, H, W, C]; or a `QuestionBatch` of `encode`, and then no questions, answers or image_index.
            questions: Q questions.
            answers: Their answers, [Q]; questions whose answer is no class are left out.
            image_index: int [Q], which image each question is about; by default question i is about image i.
            training: Steps, questions in a batch (all of an image's together), and the largest learning rate.
            seed: Seed of the order and of dropout.
            jit: Compile with XLA; on a CPU, compiling takes longer than one training saves.
            callbacks: Further callbacks of Keras.

        Returns:
            The Keras history of one epoch: the mean loss in nats.

        Raises:
            UserError: No question has an answer that is a class, there are no steps, or the inputs do not fit.
            TfxferError: The loss is not finite.
        """
        batch = self._encode(images, questions, answers, image_index)
        usable = np.flatnonzero(batch.labels >= 0)
        if not len(usable):
            raise UserError("none of the questions has an answer that is a class; see `answers` of VisualQA")
        steps = training.steps_for(len(usable))
        if steps < 1:
            raise UserError("steps 0 and epochs 0: nothing would be trained; give 1 or more of either")
        if not self.train_encoder and not self._has_scale():
            self._set_scale(batch.images)
        self._compile(jit)
        reset_seed_generators(self.model, seed)
        order = question_order(batch.image_index[usable], steps * min(training.batch_size, len(usable)), seed)
        rows = usable[order].reshape(steps, -1)
        schedule = StepRates(rate_schedule(training, steps))
        return fit_batches(self.model, batches(batch, rows), [schedule, *callbacks])

    def predict(
        self,
        images: np.ndarray | QuestionBatch,
        questions: Sequence[str] | None = None,
        image_index: Sequence[int] | np.ndarray | None = None,
        *,
        without: str | None = None,
    ) -> Answers:
        """Return the most probable answer to each question, and the probabilities of all answers.

        Args:
            images: [P, H, W, C]; or a `QuestionBatch` of `encode`, and then no questions or image_index.
            questions: Q questions; it warns of those that are truncated.
            image_index: int [Q], which image each question is about; by default question i is about image i.
            without: "dot" or "h": leave this term of K out.
        """
        return self._answers(self._encode(images, questions, None, image_index), without)

    def score(
        self,
        images: np.ndarray,
        questions: Sequence[str],
        answers: Sequence[str],
        image_index: Sequence[int] | np.ndarray | None = None,
    ) -> dict[str, float]:
        """Return "accuracy", "balanced_accuracy" and the accuracy of each kind of answer, as "accuracy_yes/no".

        Args:
            images: [P, H, W, C].
            questions: Q questions.
            answers: The true answers, [Q]. One that is no class counts as an error.
            image_index: int [Q], which image each question is about; by default question i is about image i.
        """
        found = vqa(self._answers(self._encode(images, questions, None, image_index)).texts, answers)
        by_kind = {f"accuracy_{kind}": row["accuracy"] for kind, row in found["by_kind"].items()}
        return {name: found[name] for name in ("accuracy", "balanced_accuracy")} | by_kind

    def encode(
        self,
        images: np.ndarray,
        questions: Sequence[str],
        answers: Sequence[str] | None = None,
        image_index: Sequence[int] | np.ndarray | None = None,
    ) -> QuestionBatch:
        """Return the inputs of the network, to be encoded once and used many times; warn of truncated questions.

        Args:
            images: uint8 [P, H, W, C].
            questions: Q questions.
            answers: Their answers, [Q]. One that is no class counts as an error and is never trained on.
            image_index: int [Q], which image each question is about; by default question i is about image i.

        Raises:
            UserError: A question is empty, or images, questions, answers and image_index do not fit.
        """
        return self._encode(images, questions, answers, image_index)

    def logits(self, batch: QuestionBatch, without: str | None = None) -> np.ndarray:
        """Return float32 [Q, A]; `without` "dot" or "h" leaves this term of K out."""
        if without not in self._calls:

            def call(images: Any, token_ids: Any, image_index: Any, question_index: Any) -> Any:
                sides = self._sides(images, token_ids)
                return self.head(*sides, image_index, question_index, without=without, training=False)

            inputs = [self.model.input[name] for name in ("images", "token_ids", "image_index", "question_index")]
            signature = [tf.TensorSpec(one.shape, one.dtype) for one in inputs]
            self._calls[without] = tf.function(call, input_signature=signature)
        return np.concatenate([np.asarray(self._calls[without](*part), np.float32) for part in parts(batch)])

    def attention_maps(self, batch: QuestionBatch) -> np.ndarray:
        """Return the weight of each position in the predicted answers, float [Q, h, w]; see `VQAHead.attention_map`."""
        answers, height_width = self.logits(batch).argmax(1), self.image_encoder.output.shape[1:3]
        found, start = [], 0
        for images, token_ids, image_index, question_index in parts(batch):
            answer = tf.constant(answers[start : start + len(image_index)])
            sides = self._sides(images, token_ids)
            found.append(np.asarray(self.head.attention_map(*sides, image_index, question_index, answer), np.float32))
            start += len(image_index)
        return np.concatenate(found).reshape(-1, *height_width)

    def end_to_end(self) -> keras.Model:
        """Return all as one model: {"image" [B, H, W, C], "question" string [B]} → probabilities [B, A]."""
        image = keras.Input(self.image_shape, name="image")
        question = keras.Input((), dtype="string", name="question")
        images = image if self.train_encoder else self.image_encoder(image)
        logits = self.head(*self._sides(images, self.text_tower.tokenizer(question)))
        probabilities = keras.layers.Activation("softmax", dtype="float32", name="answers")(logits)
        return keras.Model({"image": image, "question": question}, probabilities, name="visual_qa")

    def save(self, path: str | Path) -> Path:
        """Write `model.keras`, which is `end_to_end()`, and `model.json` into a folder; return the folder."""
        described: dict[str, Any] = {"class": type(self).__name__, "task": "vqa", "input": "image"}
        described |= {"class_names": list(self.answers), "train_encoder": self.train_encoder}
        described |= {"image_size": list(self.image_shape[:2]), "channels": self.image_shape[2]}
        described |= {"head": asdict(self.head_config)}
        described |= {"tokenizer": self.text_tower.tokenizer.name, "text_encoder": self.text_tower.sequence.name}
        return save_folder(path, self.end_to_end(), described)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Return what `save` wrote: it predicts the same, and can be trained further.

        Args:
            path: The folder, or the .keras file in it.

        Raises:
            UserError: The folder holds a model of another class, or is damaged.
        """
        model, described = load_folder(path, cls.__name__)
        with rebuilding(path, model):
            tower = TextTower(model.get_layer(described["tokenizer"]), model.get_layer(described["text_encoder"]))
            loaded = cls(
                model.get_layer("image_encoder"),
                tower,
                described["class_names"],
                (*described["image_size"], described["channels"]),
                VQAHeadConfig(**described["head"]),
                train_encoder=described["train_encoder"],
            )
            for layer in (loaded.standardise, loaded.visual_tokens, loaded.head):
                layer.set_weights(model.get_layer(layer.name).get_weights())
        return loaded

    def _training_model(self) -> keras.Model:
        shape = self.image_shape if self.train_encoder else self.image_encoder.output.shape[1:]
        images = keras.Input(shape, name="images", dtype="uint8" if self.train_encoder else "float32")
        token_ids = keras.Input((self.text_tower.tokenizer.length,), dtype="int32", name="token_ids")
        index = {name: keras.Input((), dtype="int32", name=name) for name in ("image_index", "question_index")}
        logits = self.head(*self._sides(images, token_ids), *index.values())
        return keras.Model({"images": images, "token_ids": token_ids, **index}, logits, name="visual_qa")

    def _sides(self, images: Any, token_ids: Any) -> tuple[Any, Any, Any]:
        """Return X float [P, M, D], Y float [U, T, E] and the mask of Y, bool [U, T], of a batch's inputs."""
        feature_maps = self.image_encoder(images) if self.train_encoder else images
        return self.visual_tokens(self.standardise(feature_maps)), self.text_tower.sequence(token_ids), token_ids != 0

    def _encode(self, images: Any, questions: Any, answers: Any, image_index: Any) -> QuestionBatch:
        """Return what `encode` does. Public methods call it directly, so a warning names the line of their caller."""
        if isinstance(images, QuestionBatch):
            if not all(one is None for one in (questions, answers, image_index)):
                raise UserError("a QuestionBatch holds questions, answers and image_index; leave them out")
            return images
        if questions is None:
            raise UserError("there are no questions; give one or more about the images")
        answers = [""] * len(questions) if answers is None else answers
        if len(answers) != len(questions):
            raise UserError(f"{len(questions)} questions and {len(answers)} answers; give one answer for each question")
        different = list(dict.fromkeys(questions))
        token_ids = self.text_tower.encode(different, stacklevel=3)
        index = checked_index(image_index, len(images), len(questions), "questions")
        row = {text: i for i, text in enumerate(different)}
        label = {name: i for i, name in enumerate(self.answers)}
        return QuestionBatch(
            np.asarray(images) if self.train_encoder else self._feature_maps(np.asarray(images)),
            token_ids,
            index,
            np.array([row[text] for text in questions], np.int32),
            np.array([label.get(name, -1) for name in answers], np.int32),
        )

    def _answers(self, batch: QuestionBatch, without: str | None = None) -> Answers:
        probabilities = softmax(self.logits(batch, without), axis=1)
        return Answers([self.answers[i] for i in probabilities.argmax(1)], probabilities)

    def _set_scale(self, feature_maps: np.ndarray) -> None:
        """Set the fixed (x − mean) / deviation of each channel of the feature maps."""
        mean, deviation = mean_and_deviation(feature_maps.reshape(-1, feature_maps.shape[-1]))
        self.standardise.set_weights([mean, deviation**2])

    def _has_scale(self) -> bool:
        """Return whether a training has set the scale. The weights tell, so that setting them back undoes it."""
        mean, variance = self.standardise.get_weights()
        return bool(np.any(mean != 0) or np.any(variance != 1))

    def _compile(self, jit: bool) -> None:
        """Compile once; a second training starts with a fresh optimizer and needs no second compilation."""
        if not self.model.compiled or self.model.jit_compile != jit:
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            self.model.compile(optimizer_for(self.model), loss, jit_compile=jit)
            self.model.optimizer.build(self.model.trainable_variables)
        for variable in self.model.optimizer.variables:
            variable.assign(keras.ops.zeros_like(variable))


def pooled_encoder(encoder: keras.Model, image_shape: tuple[int, int, int], trains: bool = False) -> keras.Model:
    """Return a model from images [P, H, W, C] to the encoder's last feature map, averaged to at most `MAX_SIDE` a side.

    Args:
        encoder: An image model; its layers are shared, those of models within it too.
        image_shape: (H, W, C).
        trains: Whether normalisation and dropout are in training mode when the model trains.

    Raises:
        UserError: The encoder has no feature map [P, h, w, E], as a vision transformer has none.
    """
    whole = feature_map_encoder(encoder, image_shape, trains)
    return keras.Model(whole.input, pool_positions(whole.output, MAX_SIDE, "pool_positions"), name="image_encoder")
