"""Several tasks over one image encoder: the body is shared, each task has a head of its own.

    body       images [P, H, W, C] → feature map [P, h, w, E], at most 8 x 8 positions; shared by all tasks
    classify   mean of the map → classes
    caption    a small decoder that attends to the positions of the map → words
    vqa        K = f(X)·g(Y) + h(X, Y) over the positions of the map and the words of a question → answers

Hard parameter sharing (Caruana 1997). A batch holds examples of each task; all of their images go through the body at
once. The loss is a weighted sum of the tasks' mean cross-entropies (`tfxfer.transfer.knowledge.loss_weights`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf
from scipy.special import log_softmax, softmax

from tfxfer.config import TrainingConfig, VQAHeadConfig
from tfxfer.errors import UserError
from tfxfer.evaluate.captions import captions
from tfxfer.models.batching import in_batches
from tfxfer.models.saved_folder import load_folder, save_folder
from tfxfer.transfer.bridges.tokens import TextTokens
from tfxfer.transfer.graph import unfreeze
from tfxfer.transfer.knowledge.caption_head import BEGIN, END, PAD, UNKNOWN, caption_ids, caption_text, words_of
from tfxfer.transfer.knowledge.knowledge_matrix import rebuilding
from tfxfer.transfer.knowledge.loss_weights import batch_sizes
from tfxfer.transfer.knowledge.multitask_training import EncodedTask, MultiTaskTraining
from tfxfer.transfer.knowledge.task_heads import TaskAnswers, TaskExamples, TaskHead, head_model, head_of, trained
from tfxfer.transfer.knowledge.visual_qa import pooled_encoder

HEAD = VQAHeadConfig(dim=64)
TRAINING = TrainingConfig(steps=160, batch_size=16, learning_rates=(1e-2,))
BATCH = 256  # examples that are answered at a time


class MultiTask:
    """An image encoder with a head for each of several tasks.

    Args:
        encoder: A convolutional image model. Its layers are shared, and trained.
        heads: What the heads are for.
        image_shape: (H, W, C) of the images of all tasks.
        config: Width of the heads, and the layer K of question answering.

    Attributes:
        body: Model from images [P, H, W, C] to feature maps [P, h, w, E].
        models: Task → model from feature maps, and token ids where the task has texts, to logits.

    Raises:
        UserError: There is no task, a task is there twice, or the encoder has no feature map.

    Example:
        >>> model = MultiTask(cnn, [TaskHead("classify", "classify", ("a", "b"))], (32, 32, 1))  # doctest: +SKIP
        >>> model.predict(images)["classify"].texts                                              # doctest: +SKIP
        ['b', 'a']
    """

    def __init__(
        self,
        encoder: keras.Model,
        heads: Sequence[TaskHead],
        image_shape: tuple[int, int, int],
        config: VQAHeadConfig = HEAD,
        models: dict[str, keras.Model] | None = None,
    ) -> None:
        self.heads = {head.task: head for head in heads}
        if not heads or len(self.heads) < len(heads):
            raise UserError(f"tasks {[head.task for head in heads]}: give one or more, each once")
        self.image_shape, self.config = tuple(image_shape), config
        encoder = pooled_encoder(encoder, image_shape, trains=True)
        self.body = keras.Model(encoder.input, encoder.output, name="body")
        unfreeze(self.body)
        maps = self.body.output.shape[1:]
        self.models = models or {
            task: head_model(head, maps, config, f"head_{i}") for i, (task, head) in enumerate(self.heads.items())
        }
        self._maps = in_batches(self.body)
        self._tokenizers = {
            head.task: TextTokens(head.length, "words", head.words, name="tokenizer")
            for head in heads
            if head.kind == "vqa"
        }

    def fit(
        self,
        examples: Mapping[str, TaskExamples],
        *,
        training: TrainingConfig = TRAINING,
        weighting: str = "fixed",
        weights: Mapping[str, float] | None = None,
        exponent: float = 0.0,
        seed: int = 0,
        jit: bool = False,
        callbacks: Sequence[keras.callbacks.Callback] = (),
    ) -> keras.callbacks.History:
        """Train the body and the heads of some tasks together; a later call continues.

        Args:
            examples: Task → what it learns from; tasks about the same images share the array of images.
            training: Steps, mean examples of a task in a batch, and one learning rate.
            weighting: "fixed", "uncertainty" or "gradnorm".
            weights: Task → weight of its loss to begin with; 1 where it is missing.
            exponent: τ of the sampling, see `batch_sizes`; 0 draws equally many examples of each task.
            seed: Of the order of examples and of dropout.
            jit: Compile with XLA.
            callbacks: Further callbacks of Keras.

        Returns:
            The Keras history: the loss of the last step, and that of each task.

        Raises:
            UserError: There are no steps, or a task has no example.
            TfxferError: The loss is not finite.
        """
        network = MultiTaskTraining(self, list(examples), weighting, weights)
        encoded = {task: EncodedTask(self, task, each) for task, each in examples.items()}
        sizes = batch_sizes({task: len(e.answers) for task, e in examples.items()}, training.batch_size, exponent)
        return network.fit_examples(encoded, sizes, training, seed, jit, callbacks)

    def score(self, examples: Mapping[str, TaskExamples]) -> dict[str, float]:
        """Return task → the accuracy of its classes or answers, or the token F1 of its captions.

        Args:
            examples: Task → what it is judged by. An answer that is no class counts as an error.
        """
        found = {}
        for task, each in examples.items():
            answers = self.answer(task, self.feature_maps(each.images), each.image_index, each.questions).texts
            if self.heads[task].kind == "caption":
                true = [[" ".join(words_of(text))] for text in each.answers]
                found[task] = float(captions(answers, true)["token_f1"])
            else:
                found[task] = float(np.mean([a == b for a, b in zip(answers, each.answers)]))
        return found

    def predict(
        self,
        images: np.ndarray,
        questions: Sequence[str] | None = None,
        image_index: Sequence[int] | np.ndarray | None = None,
    ) -> dict[str, TaskAnswers]:
        """Return task → its answers: of each image, and to each question where there are questions.

        Args:
            images: uint8 [P, H, W, C].
            questions: Q questions; without them the tasks that need one are left out.
            image_index: int [Q], which image each question is about; by default question i is about image i.
        """
        maps = self.feature_maps(images)
        found = {}
        for task, head in self.heads.items():
            if head.kind == "vqa" and questions is not None:
                index = np.arange(len(questions)) if image_index is None else np.asarray(image_index)
                found[task] = self.answer(task, maps, index, questions)
            elif head.kind != "vqa":
                found[task] = self.answer(task, maps, np.arange(len(maps)))
        return found

    def answer(
        self, task: str, maps: np.ndarray, image_index: np.ndarray, questions: Sequence[str] = ()
    ) -> TaskAnswers:
        """Return the answers of one task.

        Args:
            task: Its name.
            maps: Feature maps float32 [P, h, w, E] of `feature_maps`.
            image_index: int [Q], the image of each example.
            questions: The question of each, where the task has them.
        """
        head = self.heads[task]
        if head.kind == "caption":
            return self._captions(head, maps[image_index])
        texts = self.tokens(task, questions) if head.kind == "vqa" else None
        probabilities = softmax(self.logits(task, maps, image_index, texts), axis=-1)
        return TaskAnswers([head.names[i] for i in probabilities.argmax(-1)], probabilities)

    def feature_maps(self, images: np.ndarray) -> np.ndarray:
        """Return what the body makes of images uint8 [P, H, W, C], float32 [P, h, w, E]."""
        return self._maps(np.asarray(images))

    def tokens(self, task: str, texts: Sequence[str]) -> np.ndarray:
        """Return the token ids of questions int32 [Q, T], or of captions int32 [Q, T + 1]."""
        head = self.heads[task]
        if head.kind == "caption":
            return caption_ids(texts, head.names, head.length)
        encoded = [str(text).encode("utf-8", "replace") for text in texts]
        return np.asarray(self._tokenizers[task](tf.constant(encoded, tf.string)))

    def labels(self, task: str, answers: Sequence[str]) -> np.ndarray:
        """Return the classes of answers, int32 [Q]; −1 for what is no class and is never trained on."""
        number = {name: i for i, name in enumerate(self.heads[task].names)}
        return np.array([number.get(answer, -1) for answer in answers], np.int32)

    def logits(self, task: str, maps: np.ndarray, image_index: np.ndarray, ids: np.ndarray | None = None) -> np.ndarray:
        """Return the logits of a task, float32 [Q, A]; of a caption [Q, T, V + 4] for the ids that were read."""
        model, parts = self.models[task], []
        for start in range(0, len(image_index), BATCH):
            some = slice(start, start + BATCH)
            own = tf.constant(maps[image_index[some]])
            found = model(own if ids is None else [own, tf.constant(ids[some])], training=False)
            parts.append(np.asarray(found, np.float32))
        return np.concatenate(parts)

    def parameters(self, tasks: Sequence[str] | None = None) -> dict[str, dict[str, int]]:
        """Return task → its trained parameters: "shared" (of the body), "private" (of its head) and "total"."""
        shared = trained(self.body)
        own = {task: trained(self.models[task]) for task in tasks or self.heads}
        return {task: {"shared": shared, "private": n, "total": shared + n} for task, n in own.items()}

    def weights(self) -> list[Any]:
        """Return the variables of the body and of all heads."""
        return [weight for model in (self.body, *self.models.values()) for weight in model.weights]

    def end_to_end(self) -> keras.Model:
        """Return all as one model: {"image" [B, H, W, C], "question" string [B], "words" int [B, T]} → task → output.

        Outputs are probabilities; of a caption the logits of the word after each of `words`.
        """
        inputs: dict[str, Any] = {"image": keras.Input(self.image_shape, name="image")}
        maps = self.body(inputs["image"])
        outputs = {}
        for task, head in self.heads.items():
            given = [maps]
            if head.kind == "caption":
                inputs["words"] = keras.Input((head.length,), dtype="int32", name="words")
                given.append(inputs["words"])
            elif head.kind == "vqa":
                inputs["question"] = keras.Input((), dtype="string", name="question")
                given.append(self._tokenizers[head.task](inputs["question"]))
            logits = self.models[task](given if len(given) > 1 else given[0])
            last = logits if head.kind == "caption" else keras.layers.Activation("softmax", dtype="float32")(logits)
            outputs[self.models[task].name] = last
        return keras.Model(inputs, outputs, name="multitask")

    def save(self, path: str | Path) -> Path:
        """Write `model.keras`, which is `end_to_end()`, and `model.json` into a folder; return the folder."""
        described: dict[str, Any] = {"class": type(self).__name__, "task": "multitask", "input": "image"}
        described |= {"image_size": list(self.image_shape[:2]), "channels": self.image_shape[2]}
        described |= {"heads": [asdict(head) for head in self.heads.values()], "head": asdict(self.config)}
        return save_folder(path, self.end_to_end(), described)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Return what `save` wrote: it predicts the same.

        Args:
            path: The folder, or the .keras file in it.

        Raises:
            UserError: The folder holds a model of another class, or is damaged.
        """
        model, described = load_folder(path, cls.__name__, ("heads", "head"))
        given: list[dict[str, Any]] = described["heads"]
        with rebuilding(path, model, "head_0"):
            heads = [head_of(row) for row in given]
            models = {head.task: model.get_layer(f"head_{i}") for i, head in enumerate(heads)}
            shape = (*described["image_size"], described["channels"])
            return cls(model.get_layer("body"), heads, shape, VQAHeadConfig(**described["head"]), models)

    def _captions(self, head: TaskHead, maps: np.ndarray) -> TaskAnswers:
        """Write captions word by word, each the most probable one (greedy search)."""
        ids = np.full((len(maps), head.length), PAD, np.int32)
        ids[:, 0] = BEGIN
        written = np.full((len(maps), head.length), END, np.int32)
        done, total, count = np.zeros(len(maps), bool), np.zeros(len(maps)), np.zeros(len(maps))
        for place in range(head.length):
            logits = self.logits(head.task, maps, np.arange(len(maps)), ids)[:, place]  # [Q, V + 4]
            logits[:, [PAD, UNKNOWN, BEGIN]] = -np.inf
            best = logits.argmax(1)
            total += np.where(done, 0, log_softmax(logits, axis=1)[np.arange(len(best)), best])
            count += ~done
            written[:, place] = np.where(done, END, best)
            done |= best == END
            if done.all() or place + 1 == head.length:
                break
            ids[:, place + 1] = np.where(done, PAD, best)
        return TaskAnswers([caption_text(row, head.names) for row in written.tolist()], total / count)
