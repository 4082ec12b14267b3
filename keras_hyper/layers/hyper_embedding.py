"""Embedding layer with a generated table."""

from typing import Any

import keras

from keras_hyper.application import apply_layer
from keras_hyper.generators import Generator
from keras_hyper.layers.hyper_layer import HyperLayer
from keras_hyper.saving import serializable
from keras_hyper.typing import Config, Constraint, Initializer, Regularizer, Shape, Tensor
from keras_hyper.utils.arguments import passed


@serializable
class HyperEmbedding(HyperLayer, keras.layers.Embedding):
    r"""Embedding layer with a generated table: `y = E(e)[ids]`.

    Takes the arguments of `keras.layers.Embedding`, then `generator`, `embedding_dim` and
    `composition` as in `HyperDense`. The `embeddings_...` arguments are the `kernel_...` arguments
    of `HyperDense`.

    A low-rank generator and `composition="scale"` never form per-sample tables. A linear or
    template generator avoids them if `input_dim` is at least the number of ids per sample times the
    embedding width.

    Call arguments:
        inputs: Integer tensor of shape `(batch, ...)`. May be sparse on TensorFlow and JAX, and
            ragged on TensorFlow.
        condition, training: See `HyperDense`.

    Output shape:
        `(batch, ..., output_dim)`.

    Raises:
        ValueError: See `HyperDense`.
        TypeError: If the condition is an integer tensor.

    Examples:
        >>> import keras
        >>> from keras_hyper import HyperEmbedding, LowRankGenerator
        >>> layer = HyperEmbedding(1000, 16, generator=LowRankGenerator(rank=4))
        >>> ids = keras.ops.convert_to_tensor([[3, 1, 4], [1, 5, 9]])
        >>> tuple(layer(ids, condition=keras.ops.ones((2, 8))).shape)
        (2, 3, 16)
    """

    stock = keras.layers.Embedding
    sizes = ("input_dim", "output_dim")
    weight_name = "embeddings"
    prefix = "embeddings"
    activation = None
    use_bias = False
    embeddings = HyperLayer.kernel

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Initializer = "uniform",
        embeddings_regularizer: Regularizer = None,
        embeddings_constraint: Constraint = None,
        mask_zero: bool = False,
        generator: Generator | None = None,
        embedding_dim: int | None = None,
        composition: str = "replace",
        **kwargs: Any,
    ) -> None:
        super().__init__(**passed(locals()))

    def build(
        self, inputs_shape: Shape | None = None, condition_shape: Shape | None = None
    ) -> None:
        """Creates the weights."""
        self.build_weights((self.input_dim, self.output_dim), None, condition_shape)

    def check_inputs(self, inputs: Tensor) -> None:
        """Accepts ids of any type, like the stock layer."""

    def call(
        self, inputs: Tensor, condition: Tensor | None = None, training: bool | None = None
    ) -> Tensor:
        """Returns the rows of the table for the ids."""
        self.check_call(inputs, condition)
        if hasattr(inputs, "nested_row_lengths"):
            return self._ragged_rows(inputs, condition)
        weights = {self.weight_name: self.kernel_weight.kernel(condition)}
        return apply_layer(self.stock, self, weights, inputs)

    def _ragged_rows(self, ids: Tensor, condition: Tensor | None) -> Tensor:
        """Returns the rows for a ragged tensor of ids (TensorFlow only)."""
        import tensorflow as tf

        rows = self.call(ids.to_tensor(), condition)
        return tf.RaggedTensor.from_tensor(
            rows, ids.nested_row_lengths(), ragged_rank=ids.ragged_rank
        )

    def compute_output_spec(
        self, inputs: Tensor, condition: Tensor | None = None, training: bool | None = None
    ) -> keras.KerasTensor:
        """Returns shape and dtype of the outputs."""
        outputs = super().compute_output_spec(inputs, condition, training)
        if getattr(inputs, "ragged", False):
            return keras.KerasTensor(outputs.shape, outputs.dtype, ragged=True)
        return outputs

    def get_config(self) -> Config:
        """Returns the arguments of the constructor."""
        config = super().get_config()
        del config["generate_bias"]
        return config
