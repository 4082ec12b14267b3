"""A learned condition for each task id."""

from typing import Any, Self

import keras
from keras import ops

from keras_hyper.initializers import UnitRMS
from keras_hyper.ops import squeeze_column, with_known_rank
from keras_hyper.saving import serializable
from keras_hyper.saving.sharing import copy_in_graph, graph_mark, hold_in_graph
from keras_hyper.typing import Config, Shape, Tensor, Tensors
from keras_hyper.utils.checks import numeric, positive_int


@serializable
class TaskEmbedding(keras.layers.Layer):
    """Maps task ids to learned vectors, for use as conditions.

    The vectors start with a root mean square of exactly 1. Weights generated from them then start
    with the variance of their initializers.

    Args:
        num_tasks: Integer, number of tasks. The ids are `0 ... num_tasks - 1`.
        dim: Integer, width of the vectors.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        ids: Integer, list of integers, or integer tensor of shape `()`, `(batch,)` or `(batch, 1)`.
            The shape may differ between calls.

    Output shape:
        `(dim,)` for one id: one set of weights for the whole batch.
        `(batch, dim)` for a batch of ids: per-sample weights.

    Raises:
        TypeError: If the ids are not integers. In a functional or `Sequential` model, use
            `keras.Input((), dtype="int32")`.
        ValueError: If an id is negative or too large. In compiled code, TensorFlow raises
            `InvalidArgumentError` instead. XLA, JAX and PyTorch return a row of NaN there, and
            training with it makes the weights NaN.

    Examples:
        >>> import keras
        >>> from keras_hyper import HyperDense, TaskEmbedding
        >>> tasks = TaskEmbedding(num_tasks=10, dim=8)
        >>> layer = HyperDense(3)
        >>> outputs = layer(keras.ops.ones((2, 5)), condition=tasks([0, 7]))
        >>> tuple(outputs.shape)
        (2, 3)
    """

    def __init__(self, num_tasks: int, dim: int, **kwargs: Any) -> None:
        # Autocasting to half precision would round the ids.
        super().__init__(autocast=False, **kwargs)
        self.num_tasks = positive_int("num_tasks", num_tasks)
        self.dim = positive_int("dim", dim)
        self.embeddings: keras.Variable = None

    def build(self, ids_shape: Shape | None = None) -> None:
        """Creates the table of vectors."""
        self.embeddings = self.add_weight(
            name="embeddings", shape=(self.num_tasks, self.dim), initializer=UnitRMS()
        )

    def __call__(self, ids: Tensor, *args: Tensors, **kwargs: Tensors) -> Tensor:
        """Looks up ids, which may be plain integers and lists."""
        hold_in_graph(self, ids)
        return super().__call__(numeric("ids", ids), *args, **kwargs)

    def call(self, ids: Tensor) -> Tensor:
        """Returns the vectors of the ids."""
        ids = with_known_rank(ids, row=())
        self.check(ids)
        ids = squeeze_column(ids)
        # Wide enough for `num_tasks`. Unsigned ids beyond this range become negative.
        wide = keras.backend.standardize_dtype(ids.dtype) in ("int64", "uint64")
        ids = ops.cast(ids, "int64" if wide else "int32")
        known = ops.logical_and(ids >= 0, ids < self.num_tasks)
        if keras.backend.backend() == "tensorflow":
            ids = _asserted(known, ids, self)
        # Not `zeros_like`, which TensorFlow may fold to zeros of a different shape.
        places = ops.cast(ops.where(known, ids, 0), "int32")
        rows = ops.cast(ops.take(self.embeddings, places, axis=0), self.compute_dtype)
        # 1, or the NaN of a negative root. Some export formats implement `where` as a sum of
        # products, so a NaN inside `where` would reach every row.
        known = ops.sqrt(2 * ops.cast(known, rows.dtype) - 1)
        return rows * ops.expand_dims(known, -1)

    def compute_output_spec(self, ids: Tensor) -> keras.KerasTensor:
        """Returns the output shape and dtype, after the checks of `call`."""
        self.check(ids)
        return keras.KerasTensor(self.compute_output_shape(ids.shape), dtype=self.compute_dtype)

    def compute_output_shape(self, ids_shape: Shape) -> Shape:
        """Returns the output shape."""
        return (*ids_shape[:1], self.dim)

    def check(self, ids: Tensor) -> None:
        """Raises if `ids` has an invalid shape, dtype or value."""
        if len(ids.shape) > 1 and tuple(ids.shape[1:]) != (1,):
            raise ValueError(
                f"TaskEmbedding '{self.name}' takes one id, or one per sample. Received: `ids` of "
                f"shape {tuple(ids.shape)}"
            )
        if on_placeholders():
            return
        dtype = keras.backend.standardize_dtype(ids.dtype)
        if not keras.backend.is_int_dtype(dtype):
            raise TypeError(
                f"TaskEmbedding '{self.name}' takes integer task ids. Received: `ids` of dtype "
                f"{dtype}. In a functional or Sequential model, use "
                "`keras.Input((), dtype='int32')`. Pass a continuous condition without embedding."
            )
        try:
            values = ops.convert_to_numpy(ids)
        except Exception:
            return  # The value is unknown while tracing. Each backend raises a different error.
        wrong = values[(values < 0) | (values >= self.num_tasks)]
        if wrong.size:
            raise ValueError(
                f"`ids` must be in [0, {self.num_tasks - 1}], the tasks of TaskEmbedding "
                f"'{self.name}'. Received: {wrong.size} invalid ids, ids={wrong[:5].tolist()}"
            )

    def get_config(self) -> Config:
        """Returns the arguments to construct this layer again."""
        config = {"num_tasks": self.num_tasks, "dim": self.dim}
        return {**super().get_config(), **config, **graph_mark(self)}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Returns the layer of a configuration, shared within a functional model."""
        return copy_in_graph(config, cls)


def on_placeholders() -> bool:
    """Returns whether Keras builds a model on placeholders, which are always floating point."""
    with keras.SymbolicScope() as scope:
        return scope.original_scope is not None


def _asserted(known: Tensor, ids: Tensor, layer: TaskEmbedding) -> Tensor:
    """Returns ids with an assertion in the TensorFlow graph.

    NaN alone is not enough. Fused kernels turn it into zero in a ReLU, and in training it reaches
    the weights before the step raises. XLA drops the assertion.
    """
    import tensorflow as tf

    message = (
        f"`ids` must be in [0, {layer.num_tasks - 1}], the tasks of TaskEmbedding '{layer.name}'. "
        "Received ids between:"
    )
    ends = [tf.reduce_min(ids), tf.reduce_max(ids)]
    check = tf.debugging.Assert(tf.reduce_all(known), [message, *ends])
    # Eager calls create no operation.
    with tf.control_dependencies([] if check is None else [check]):
        return tf.identity(ids)
