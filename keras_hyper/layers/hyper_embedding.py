"""An embedding layer with a generated table."""

from typing import Any, NoReturn

import keras

from keras_hyper.application import apply_layer
from keras_hyper.generators import Generator
from keras_hyper.layers.hyper_layer import HyperLayer
from keras_hyper.saving import serializable
from keras_hyper.typing import Config, Constraint, Initializer, Regularizer, Shape, Tensor
from keras_hyper.utils.arguments import passed


@serializable
class HyperEmbedding(HyperLayer, keras.layers.Embedding):
    r"""An embedding layer whose table is generated: `y = E(e)[ids]`.

    `layer(ids)` is static: the table is made from an embedding that the layer learns. In
    `layer(ids, condition)` a condition of shape `(batch, dim)` gives each sample its own table, and
    one of shape `(dim,)` gives one table to the batch. The first call decides which it is.

    Per sample, with a low-rank generator or with `composition="scale"`, no table is written out for
    any sample. With a linear or template generator none is where each sample has few ids: embedding
    width times ids not above `input_dim`.

    Args:
        input_dim: Integer, number of rows; ids are `0 ... input_dim - 1`.
        output_dim: Integer, width of the rows.
        embeddings_initializer: Initializer whose variance the generated table starts with.
        embeddings_regularizer: Regularizer of the generated table; its mean over per-sample tables.
        embeddings_constraint: Must be None: a constraint projects a variable.
        mask_zero: Whether id 0 is padding that is to be masked.
        generator: A `Generator`, which several layers may share. None for the layer's own, which
            usually stores at most half as many parameters as the table has (`default_generator`).
        embedding_dim: Integer or None, width of the embedding of the layer's own generator.
        composition: `"replace"`: the generated values are the table. `"add"`, `"multiply"` and
            `"scale"` change a stored table that training starts from, see `GeneratedWeight`.
        **kwargs: `base_trainable=False`, to freeze the stored table, and arguments of
            `keras.layers.Layer`.

    Call arguments:
        inputs: Integer tensor of shape `(batch, ...)`. On TensorFlow and JAX it may be sparse, on
            TensorFlow also ragged.
        condition: None, or a floating point tensor of shape `(batch, dim)` or `(dim,)`.
        training: Boolean, passed on to the generator.

    Output shape:
        `(batch, ..., output_dim)`.

    Raises:
        ValueError: If an argument has no meaning for a generated table, if the generator cannot
            make it, or if a condition does not fit.

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

    @property
    def embeddings(self) -> NoReturn:
        """Raises: there is no table to read before `generate` makes one."""
        raise AttributeError(
            f"{type(self).__name__} has no stored table. Use `generate(condition)['embeddings']` "
            "for its value."
        )

    def build(
        self, inputs_shape: Shape | None = None, condition_shape: Shape | None = None
    ) -> None:
        """Creates the generated table."""
        self.build_weights((self.input_dim, self.output_dim), None, condition_shape)

    def check_inputs(self, inputs: Tensor) -> None:
        """Accepts ids of any type, as the stock layer does."""

    def call(
        self, inputs: Tensor, condition: Tensor | None = None, training: bool | None = None
    ) -> Tensor:
        """Returns the rows of the ids."""
        self.check_call(inputs, condition)
        if hasattr(inputs, "nested_row_lengths"):
            return self._ragged_rows(inputs, condition)
        weights = {self.weight_name: self.kernel_weight.kernel(condition)}
        return apply_layer(self.stock, self, weights, inputs)

    def _ragged_rows(self, ids: Tensor, condition: Tensor | None) -> Tensor:
        """Returns the rows of a ragged tensor of ids, which only TensorFlow has."""
        import tensorflow as tf

        rows = self.call(ids.to_tensor(), condition)
        return tf.RaggedTensor.from_tensor(
            rows, ids.nested_row_lengths(), ragged_rank=ids.ragged_rank
        )

    def compute_output_spec(
        self, inputs: Tensor, condition: Tensor | None = None, training: bool | None = None
    ) -> keras.KerasTensor:
        """Returns shape and dtype of the outputs, after the checks of a real call."""
        outputs = super().compute_output_spec(inputs, condition, training)
        if getattr(inputs, "ragged", False):
            return keras.KerasTensor(outputs.shape, outputs.dtype, ragged=True)
        return outputs

    def get_config(self) -> Config:
        """Returns the arguments to construct this layer again."""
        config = super().get_config()
        del config["generate_bias"]
        return config
