"""Kernels as mixtures of templates."""

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_hyper.generators.generator import Generator
from keras_hyper.kernels import Kernel, Mixture
from keras_hyper.ops import as_array
from keras_hyper.saving import serializable
from keras_hyper.typing import Tensor
from keras_hyper.utils.checks import one_of, positive_int


@serializable
class TemplateGenerator(Generator):
    r"""Makes a kernel as a mixture of learned templates: `W = sum_k a_k T_k`.

    The coefficients are the embedding itself (`"linear"`), its softmax or its sigmoid. The
    generator serves one weight shape and stores `num_templates` kernels.

    - *Soft parameter sharing*: layers of equal shape share one generator, and each layer has its
      own coefficients (Savarese & Maire, "Learning implicitly recurrent CNNs through parameter
      sharing", ICLR 2019). `layer_similarity` compares the layers.
    - *Conditionally parameterized convolutions*: one generator per layer, with
      `coefficients="sigmoid"`, `normalize_condition=False` and the pooled inputs as the condition
      (Yang et al., "CondConv", NeurIPS 2019).

    Per-sample kernels are mixtures of shared templates. A dense product with inputs of rank 2 never
    materializes them.

    Args:
        num_templates: Integer, number of templates.
        coefficients: `"linear"`, `"softmax"` or `"sigmoid"`.
        temperature: Float, divides the embedding before the softmax or sigmoid. Smaller values make
            sharper coefficients.
        normalize_condition: Boolean, see `Generator`. If True, it also bounds the sharpness of the
            coefficients. If False, the projection of the condition starts at zero, and all samples
            start with the same kernel.
        **kwargs: `normalization` (see `Generator`) and arguments of `keras.layers.Layer`.

    Call arguments:
        embedding: Tensor of shape `(..., 1, num_templates)`.

    Output shape:
        `(..., 1, size)`, the flattened kernel. It starts with the variance of the layer's
        `kernel_initializer` (softmax and sigmoid: on average over embeddings). For this, templates
        are draws from that initializer, divided by the root mean square length of the coefficients.

    Raises:
        ValueError: If weights of different shapes share the generator, or the standard deviation of
            the layer's initializer is unknown.

    Examples:
        Three convolutions with two templates:

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
        self.coefficients = one_of("coefficients", coefficients, ("linear", "softmax", "sigmoid"))
        if not isinstance(temperature, Real) or not 0 < temperature < math.inf:
            raise ValueError(
                f"`temperature` must be a positive number. Received: temperature={temperature!r}"
            )
        self.temperature: float = float(temperature)
        self.templates: Tensor = None

    def embedding_shape(self, weight_shape: Sequence[int]) -> tuple[int, int]:
        """Returns `(1, num_templates)`."""
        return 1, self.num_templates

    def match_initializer(
        self, weight_shape: Sequence[int], initializer: keras.Initializer
    ) -> tuple[float, keras.Initializer | None]:
        """Returns 1.0 and the initializer of the templates."""
        self.matching_std(weight_shape, initializer)  # Raises if all draws are equal.
        return 1.0, initializer

    def projection_initializer(self, condition_dim: int) -> keras.Initializer:
        """Returns an initializer for the projection of a condition onto an embedding."""
        if not self.normalize_condition:
            return keras.initializers.Zeros()
        return super().projection_initializer(condition_dim)

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates the templates. Called by `prepare`, which sets the weight's shape."""
        self.templates = self.add_weight(
            name="templates",
            shape=(self.num_templates, *self.one_shape()),
            initializer=self._draw_templates,
        )

    def mix(self, embedding: Tensor) -> Tensor:
        """Returns the coefficients for embeddings of shape `(..., num_templates)`."""
        if self.coefficients == "linear":
            return embedding
        function = ops.softmax if self.coefficients == "softmax" else ops.sigmoid
        return function(embedding / self.temperature)

    def call(self, embedding: Tensor) -> Tensor:
        """Returns the flattened kernel."""
        bank = ops.reshape(self.templates, (self.num_templates, -1))
        return self.mix(embedding) @ ops.cast(bank, embedding.dtype)

    def kernel(self, embedding: Tensor, weight_shape: Sequence[int]) -> Kernel:
        """Returns the weight, as a mixture for a batch of embeddings."""
        if len(embedding.shape) == 2:
            return super().kernel(embedding, weight_shape)
        dtype = self.compute_dtype
        coefficients = ops.cast(self.mix(ops.squeeze(embedding, 1)), dtype)
        return Mixture(ops.cast(self.templates, dtype), coefficients)

    def layer_similarity(self, weights: Sequence[keras.Layer]) -> np.ndarray:
        """Returns the similarity of static kernels that share these templates.

        This is the layer similarity matrix of Savarese & Maire,
        `S_ij = |<a_i, a_j>| / (|a_i| |a_j|)`. It is 1 if two kernels are equal up to a factor.

        Args:
            weights: The `kernel_weight` of each layer.

        Returns:
            Array of shape `(len(weights), len(weights))`.

        Raises:
            ValueError: If `weights` is empty, or has other items than static weights of this
                generator.
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
        rows = [as_array(self.mix(weight.embed())).reshape(-1) for weight in weights]
        units = np.stack([row / np.linalg.norm(row) for row in rows])
        similarity: np.ndarray = np.abs(units @ units.T)
        return similarity

    def _draw_templates(self, shape: Sequence[int], dtype: str | None = None) -> Tensor:
        draws = []
        # One by one: a kernel of the stacked shape would have different fans.
        for k in range(shape[0]):
            initializer: Any = self._native
            seed = getattr(initializer, "seed", None)
            if isinstance(seed, int):
                # With the same seed, all draws would be equal.
                config = {**initializer.get_config(), "seed": seed + k}
                initializer = type(initializer).from_config(config)
            draws.append(initializer(shape[1:], dtype=dtype))
        return ops.stack(draws) / self._mean_length()

    def _mean_length(self) -> float:
        """Returns the initial root mean square length of the coefficients."""
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
