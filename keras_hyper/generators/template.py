"""A kernel as a mixture of templates."""

import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_hyper.generators.generator import Generator
from keras_hyper.kernels import Full, Kernel, Mixture
from keras_hyper.saving import serializable
from keras_hyper.typing import Tensor
from keras_hyper.utils.checks import one_of, positive_int

_COEFFICIENTS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda logits: logits,
    "softmax": lambda logits: ops.softmax(logits, axis=-1),
    "sigmoid": ops.sigmoid,
}


@serializable
class TemplateGenerator(Generator):
    r"""Makes a kernel as a mixture of learned templates: `W = sum_k a_k T_k`.

    The coefficients are the embedding itself (`"linear"`), its softmax or its sigmoid. It serves
    one weight shape and has `num_templates` kernels of it.

    - *Soft parameter sharing*: layers of equal shape share one generator, each with its own
      coefficients (Savarese & Maire, "Learning implicitly recurrent CNNs through parameter
      sharing", ICLR 2019). `layer_similarity` measures how alike they became.
    - *Conditionally parameterized convolutions*: a generator for each layer, with
      `coefficients="sigmoid"`, `normalize_condition=False` and the pooled inputs as the condition
      (Yang et al., "CondConv", NeurIPS 2019).

    Per-sample kernels stay a mixture of shared ones: a dense product with inputs of rank 2 never
    writes them out.

    Args:
        num_templates: Integer, number of templates.
        coefficients: `"linear"`, `"softmax"` or `"sigmoid"`.
        temperature: Float, divides the embedding before softmax or sigmoid. Smaller values make
            sharper coefficients.
        normalize_condition: Whether an embedding made from a condition is scaled to a root mean
            square of 1, which also bounds how sharp the coefficients can be. Otherwise the
            projection of the condition starts at zero, and all samples start with one kernel.
        **kwargs: `normalization` (see `Generator`) and arguments of `keras.layers.Layer`.

    Call arguments:
        embedding: Tensor of shape `(..., 1, num_templates)`.

    Output shape:
        `(..., 1, size)`, the kernel laid out flat. Each template starts as a draw of the layer's
        `kernel_initializer`, divided by the root mean square length of the coefficients, so that
        the kernel has its variance (softmax and sigmoid: on average over embeddings).

    Raises:
        ValueError: If one generator is shared by weights of different shapes, or if the layer's
            initializer has no known standard deviation: draws that are all alike, such as the
            identity, are no templates.

    Examples:
        Three convolutions out of two templates:

        >>> import keras
        >>> from keras_hyper import HyperConv2D, TemplateGenerator
        >>> templates = TemplateGenerator(num_templates=2)
        >>> model = keras.Sequential([keras.Input((8, 8, 16))])
        >>> for _ in range(3):
        ...     model.add(HyperConv2D(16, 3, padding="same", generator=templates))
        >>> templates.count_params()  # 2 * 3 * 3 * 16 * 16
        4608
        >>> templates.layer_similarity([layer.kernel_weight for layer in model.layers]).shape
        (3, 3)
    """

    argument_names = (
        *("num_templates", "coefficients", "temperature"),
        *("normalize_condition", "normalization"),
    )
    initializations = ("native",)

    def __init__(
        self,
        num_templates: int = 4,
        coefficients: str = "linear",
        temperature: float = 1.0,
        normalize_condition: bool = True,
        **kwargs: Any,
    ) -> None:
        self.num_templates = positive_int("num_templates", num_templates)
        super().__init__(
            self.num_templates, "native", normalize_condition=normalize_condition, **kwargs
        )
        self.coefficients = one_of("coefficients", coefficients, tuple(_COEFFICIENTS))
        if not isinstance(temperature, Real) or not 0 < temperature < math.inf:
            raise ValueError(
                f"`temperature` must be a number above zero. Received: temperature={temperature!r}"
            )
        self.temperature: float = float(temperature)
        self.templates: Tensor = None

    def embedding_shape(self, weight_shape: Sequence[int]) -> tuple[int, int]:
        """Returns `(1, num_templates)`: a weight is one piece."""
        return 1, self.num_templates

    def match_initializer(
        self, weight_shape: Sequence[int], initializer: keras.Initializer
    ) -> tuple[float, keras.Initializer | None]:
        """Returns the scale 1, and what the templates are drawn from."""
        self.matching_std(weight_shape, initializer)
        return super().match_initializer(weight_shape, initializer)

    def projection_initializer(self, condition_dim: int) -> keras.Initializer:
        """Returns an initializer for the projection of a condition onto an embedding."""
        if not self.normalize_condition:
            return keras.initializers.Zeros()
        return super().projection_initializer(condition_dim)

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates the templates. Called by `prepare`, which knows the weight's shape."""
        self.templates = self.add_weight(
            name="templates",
            shape=(self.num_templates, *self.one_shape()),
            initializer=self._draw_templates,
        )

    def mix(self, embedding: Tensor) -> Tensor:
        """Returns the coefficients.

        Args:
            embedding: Tensor of shape `(..., num_templates)`.
        """
        if self.coefficients == "linear":
            return embedding
        return _COEFFICIENTS[self.coefficients](embedding / self.temperature)

    def call(self, embedding: Tensor) -> Tensor:
        """Returns the numbers of the weight, flat."""
        bank = ops.reshape(self.templates, (self.num_templates, -1))
        return self.mix(embedding) @ ops.cast(bank, embedding.dtype)

    def kernel(self, embedding: Tensor, weight_shape: Sequence[int]) -> Kernel:
        """Returns the weight; for a batch of embeddings, as a mixture."""
        if len(embedding.shape) == 2:
            return Full(self.assemble(self(embedding), weight_shape), batched=False)
        dtype = self.compute_dtype
        coefficients = ops.cast(self.mix(ops.squeeze(embedding, 1)), dtype)
        return Mixture(ops.cast(self.templates, dtype), coefficients)

    def layer_similarity(self, weights: Sequence[keras.Layer]) -> np.ndarray:
        """Returns how alike the static kernels are that share these templates.

        `S_ij = |<a_i, a_j>| / (|a_i| |a_j|)`, the layer similarity matrix of Savarese & Maire: 1
        where two layers use the same kernel up to a factor.

        Args:
            weights: The `kernel_weight` of each layer.

        Returns:
            Array of shape `(len(weights), len(weights))`.

        Raises:
            ValueError: If there are none, or if they are not static weights of this generator.
        """
        if not weights or not all(
            getattr(weight, "generator", None) is self
            and getattr(weight, "embedding", None) is not None
            and not weight.conditioned
            for weight in weights
        ):
            raise ValueError(
                "`weights` must be the `kernel_weight` of built layers without a condition that "
                f"use '{self.name}'. Received: weights={weights}"
            )
        rows = [
            keras.ops.convert_to_numpy(ops.stop_gradient(self.mix(weight.embed()))).reshape(-1)
            for weight in weights
        ]
        units = np.stack([row / np.linalg.norm(row) for row in rows])
        similarity: np.ndarray = np.abs(units @ units.T)
        return similarity

    def _draw_templates(self, shape: Sequence[int], dtype: str | None = None) -> Tensor:
        # Each template apart: drawn together, they would have other fans.
        draws = [self._draw(k, shape[1:], dtype) for k in range(shape[0])]
        return ops.stack(draws) / self._mean_length()

    def _draw(self, k: int, shape: Sequence[int], dtype: str | None) -> Tensor:
        initializer: Any = self._native
        seed = getattr(initializer, "seed", None)
        if isinstance(seed, int):
            # An initializer with a seed draws the same numbers every time.
            config = {**initializer.get_config(), "seed": seed + k}
            initializer = type(initializer).from_config(config)
        return initializer(shape, dtype=dtype)

    def _mean_length(self) -> float:
        """Returns the root mean square length of the coefficients at the start."""
        if self.coefficients == "linear":
            return math.sqrt(self.num_templates)
        draws = np.random.default_rng(0).normal(size=(4096, self.num_templates))
        logits = draws / np.sqrt(np.mean(draws**2, axis=-1, keepdims=True)) / self.temperature
        if self.coefficients == "sigmoid":
            mixed = 1 / (1 + np.exp(-logits))
        else:
            powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
            mixed = powers / powers.sum(axis=-1, keepdims=True)
        return math.sqrt(np.mean(np.sum(mixed**2, axis=-1)))
