"""A hypernetwork over any Keras model."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import keras
from keras import ops

from keras_hyper.hypernetwork.adapter import load_adapter, save_adapter
from keras_hyper.hypernetwork.arguments import (
    as_condition,
    as_generators,
    as_target,
    check_combination,
)
from keras_hyper.hypernetwork.at import HypernetworkAt
from keras_hyper.hypernetwork.generating_model import GeneratingModel
from keras_hyper.hypernetwork.selection import Generators, Include, as_include
from keras_hyper.ops.sample_axis import with_axis
from keras_hyper.saving import deserialize_shared, serializable
from keras_hyper.transforms.bake import bake_with
from keras_hyper.typing import Condition, Config, FilePath, Tensor, Tensors
from keras_hyper.utils.checks import check_built
from keras_hyper.utils.inputs import input_shapes
from keras_hyper.weights import as_composition, kernels_of
from keras_hyper.weights.factors import Value


@serializable
class Hypernetwork(GeneratingModel):
    r"""Runs a Keras model with generated weights.

    `y = f(x; W(c))`: a generator makes the weights `W` of the target `f` from the condition `c`.
    All samples of a batch share the weights, or each sample has its own (Ha, Dai & Le,
    "HyperNetworks", ICLR 2017; von Oswald et al., "Continual learning with hypernetworks", ICLR
    2020).

    The target is a layer, or a Sequential, functional or subclassed model with any layers. It is
    not copied: ordinary weights are trained, and moving averages updated, in place.

    Args:
        target: Keras model or layer. Its weights are generated.
        generator: `Generator` that makes the weights, or a dict from path patterns to generators. A
            generator for weights of any shape (`ChunkedGenerator`, `TiledKernelGenerator`) is
            shared by all weights. Any other generator is copied for each weight (see
            `share_generators`). None (default): a `ChunkedGenerator` that stores at most half as
            many parameters as it generates. For small targets where that is impossible, a minimal
            `ChunkedGenerator` if there is a condition; otherwise the weights stay ordinary
            variables.
        condition: Input on which the weights depend:

            - None (default): no input. Each weight has a learned embedding.
            - An integer: a tensor of this width, passed with every call.
            - A layer: its output, for example that of `TaskEmbedding` or `NoiseCondition`.
            - A list of integers and layers: their concatenation. An `AdapterMask` in the list
              marks samples that use the target without an adapter.

        include: Weights to generate: a path pattern (`"*kernel"`, or `"block_1"` for all weights
            below it), a layer class, a function of path and variable, or an iterable of these.
            Default: all. `generated_weights` lists the paths after building. Weights that the
            generator cannot make stay ordinary; `keras_hyper.summary` gives the reasons. If
            `include` contains the full path of such a weight, `Hypernetwork` raises.
        composition: How generated values are combined with the target's own weight, the base:

            - `"replace"` (default): the generated values are the weight. A weight with a constant
              initializer, such as a bias, starts at this constant. Generated values are added to
              the constant through a learned gate that starts at zero.
            - `"add"`, `"multiply"` or `"scale"`: generated values modify the base (see
              `GeneratedWeight`). Training starts exactly at the base. `"multiply"` and `"scale"`
              cannot change zeros, so weights that start at zero stay ordinary.

        base_trainable: Whether to train the base. If False (default), the base is frozen, also in
            `target`. If True, the regularizers of the target apply to the base alone.
        state_per_task: Whether to keep moving averages and other state of the target for each
            task. Requires a `TaskEmbedding` in `condition`.
        output_regularization: None (default), or the strength of the regularizer that preserves
            the weights of finished tasks (see `end_task`).
        sample_axis: Whether inputs and outputs have the shape `(conditions, samples, ...)`, with
            one condition for each row of the first axis. Weights are generated once for all
            samples of a condition. `batch_size` in `fit` counts conditions.
        condition_per_weight: Whether the condition has a row for each of `generated_weights`: of
            shape `(weights, dim)`, or `(batch, weights, dim)` for per-sample weights. A row is the
            embedding of its weight, so `dim` must equal the `embedding_dim` of `generator`. If the
            generator makes a weight in several pieces, the row is added to the learned embedding
            of each piece. A layer in `condition` may return rows, or one vector for all weights.
        share_generators: Whether weights of the same shape share one copy of a generator, such as
            `LowRankGenerator`, that serves a single shape. Generators of a dict are copied
            separately.
        **kwargs: Arguments of `keras.Model`.

    Call arguments:
        inputs: Inputs of the target. `fit` and similar methods take inputs and condition in one
            dict: `{"inputs": ..., "condition": ...}`, or a dict with a key for each tensor.
        condition: Tensor of shape `(dim,)` for one set of weights, or `(batch, dim)` for
            per-sample weights; or task ids (see `TaskEmbedding`). For several parts, a list with
            one value for each part except noise. With `condition_per_weight`, a tensor of shape
            `(weights, dim)` or `(batch, weights, dim)`.
        training: Boolean.

    Output shape:
        That of the target.

    Raises:
        TypeError: If an argument has an invalid type.
        ValueError: If the target cannot be built, a pattern matches nothing, no weight can be
            generated, or a condition has an invalid shape or value.

    Examples:
        Ten classifiers, whose weights are generated from ten learned vectors:

        >>> import keras
        >>> from keras_hyper import Hypernetwork, TaskEmbedding
        >>> target = keras.Sequential([
        ...     keras.Input((16,)),
        ...     keras.layers.Dense(32, activation="relu"),
        ...     keras.layers.Dense(4),
        ... ])
        >>> hyper = Hypernetwork(target, condition=TaskEmbedding(num_tasks=10, dim=8))
        >>> x = keras.ops.ones((5, 16))
        >>> tuple(hyper(x, condition=3).shape)
        (5, 4)
        >>> tuple(hyper(x, condition=[0, 1, 2, 0, 1]).shape)  # per-sample weights
        (5, 4)
        >>> type(hyper.bake(condition=3)).__name__
        'Sequential'
    """

    def __init__(
        self,
        target: keras.Layer | Config,
        generator: Generators = None,
        condition: Any = None,
        include: Include = "*",
        composition: str = "replace",
        base_trainable: bool = False,
        state_per_task: bool = False,
        output_regularization: float | None = None,
        sample_axis: bool = False,
        condition_per_weight: bool = False,
        share_generators: bool = False,
        **kwargs: Any,
    ) -> None:
        record = kwargs.pop("record", None)
        # The layers of the target cast their inputs. Task ids must not be cast.
        super().__init__(autocast=False, **kwargs)
        self.record = record
        self.supports_masking = True
        self.target = as_target(deserialize_shared(target, self, "target"))
        self.condition = as_condition(condition, self, bool(condition_per_weight))
        self.generators = SimpleNamespace(value=as_generators(generator, self))
        self.include = as_include(include)
        self.composition = as_composition(composition)
        self.base_trainable = bool(base_trainable)
        self.state_per_task = bool(state_per_task)
        self.sample_axis = bool(sample_axis)
        self.share_generators = bool(share_generators)
        strength = output_regularization
        check_combination(
            self.condition,
            self.generator,
            self.composition,
            self.state_per_task,
            strength,
            bool(condition_per_weight),
        )
        self.output_regularization = None if strength is None else float(strength)
        self.generated_weights = {}
        self.ordinary_reasons = {}
        self.past_tasks = None
        # Draws the seeds of layers that are called once for each sample.
        self.sample_seeds = keras.random.SeedGenerator()
        self.built_for = {}
        # Build now if possible: `fit` would build in its first step.
        shapes = input_shapes(self.target)
        if shapes is not None and self.sample_axis:
            shapes = with_axis(shapes)
        if shapes is not None and self.condition is None:
            self.build(shapes)
        elif shapes is not None and self.condition and self.condition.width() is not None:
            self.build(shapes, self.condition.default_shape())

    def generate(self, condition: Condition = None, factored: bool = False) -> dict[str, Any]:
        """Returns the generated weights for a condition, as a dict from path to tensor.

        Args:
            condition: As in a call. For a batch of conditions, each tensor has a leading batch
                axis. Noise is drawn once for each row, or once without rows.
            factored: Whether to return the generated values alone, without the base, as a dict of
                tensors for each path: `"left"` and `"right"` for a low-rank weight, `"scale"` for
                `composition="scale"`, and `"value"` otherwise.

        Raises:
            ValueError: If the model is not built, or the condition is invalid.
        """
        check_built(self)
        condition = self.check_condition((), condition)
        adapted = None if self.condition is None else self.condition.adapted(condition)
        kernels = self.kernels(self.joined(condition), adapted=adapted)
        return {
            path: kernel.factors() if factored else kernel.materialize()
            for path, kernel in kernels.items()
        }

    def apply(
        self,
        weights: Mapping[str, Value],
        inputs: Tensors,
        task: Tensor = None,
        training: bool | None = None,
    ) -> Tensors:
        """Returns the outputs of the target with given weights.

        Args:
            weights: Dict from path to tensor, or to a dict of factors, as `generate` returns it.
                It has an entry for each of `generated_weights`. Per-sample weights have a leading
                batch axis.
            inputs: Inputs of the target.
            task: With `state_per_task`, the id of the task whose state is used.
            training: Boolean.

        Raises:
            ValueError: If a weight is missing, unknown, or has an invalid shape, or if a task is
                missing.
        """
        check_built(self)
        if self.state_per_task is (task is None):
            raise ValueError(
                "`apply` needs a `task` with state_per_task=True, and takes none without. "
                f"Received: task={task!r}"
            )
        kernels = kernels_of(self.generated_weights, weights)
        if task is not None:
            task = ops.convert_to_tensor(task)
            self.tasks().check(task)
            rows = any(kernel.batched for kernel in kernels.values())
            if len(task.shape) > int(rows):
                raise ValueError(
                    "`task` must be one id for one set of weights. Received: `task` of shape "
                    f"{tuple(task.shape)}"
                )
        return self.runner.run(inputs, kernels, task, training)

    def bake(self, condition: Condition = None) -> keras.Model:
        """Returns a plain Keras model with the weights for a condition.

        Args:
            condition: One condition: a task id, or a tensor of shape `(dim,)`. None if the model
                takes none. If the only condition is noise, each call samples a different network.

        Raises:
            ValueError: If the condition has a batch dimension (it describes several models), or if
                the target cannot be constructed again.
        """
        if condition is None and self.condition is not None and self.condition.takes_values:
            raise self.needs_condition(
                "Received: condition=None. Call `hyper.bake(condition=...)` with one condition. To "
                "export a model that takes conditions, use `keras_hyper.export_saved_model`.",
                " to be baked",
            )
        weights = self.generate(condition)
        if self.runner.added():
            raise ValueError(
                f"The target '{self.target.name}' is quantized, and generated weights cannot be "
                "written into its kernels. Bake the model first, and quantize the baked one."
            )
        for path, value in weights.items():
            if len(value.shape) > len(self.generated_weights[path].weight_shape):
                raise ValueError(
                    f"Hypernetwork '{self.name}' can be baked for one condition, of shape (dim,) "
                    "or a task id. Received: a condition with a row for each sample."
                )
        variables, task = self.runner.generated, self.task_in(condition)
        if task is not None:
            weights |= self.runner.state_of(task)
            variables = variables | self.runner.own_state
        values = {id(variables[path]): value for path, value in weights.items()}
        plain = bake_with(self.target, values)
        return plain if isinstance(plain, keras.Model) else keras.Sequential([plain])

    to_stock = bake  # Called by `keras_hyper.bake` for a model that contains this one.

    def at(self, condition: Condition) -> HypernetworkAt:
        """Returns a Keras model with a fixed condition, which shares all variables.

        Args:
            condition: One condition: a task id, or a tensor of shape `(dim,)`.
        """
        return HypernetworkAt(self, condition)

    def end_task(self, task: int | None = None) -> None:
        """Stores the weights of a finished task, to be preserved by the regularizer.

        Calls with `training=True` add `beta / n sum_t |W(c_t) - W_t|^2` to the loss, where `beta`
        is `output_regularization`. The sum is over the `n` finished tasks, with their conditions
        `c_t` and weights `W_t` at the time of `end_task`. (This is von Oswald et al., equation 2,
        without the look-ahead, which has no measurable effect.)

        Compile again before the next task. Otherwise the state of the optimizer still moves the
        embeddings of earlier tasks.

        Args:
            task: The id of the task. Defaults to the first unfinished task.

        Raises:
            ValueError: If there is no `output_regularization`, or no such task.
        """
        if self.past_tasks is None:
            if self.output_regularization is not None:
                check_built(self)
            raise ValueError(
                f"Hypernetwork '{self.name}' keeps no weights of finished tasks. Construct it with "
                "output_regularization=0.01 and condition=TaskEmbedding(num_tasks, dim)."
            )
        task = self.past_tasks.task_to_end(task)
        vector = self.joined(ops.convert_to_tensor(task))
        weights = self.kernels(vector, penalize=False).values()
        self.past_tasks.keep(task, vector, [kernel.materialize() for kernel in weights])

    def save_adapter(self, path: FilePath) -> None:
        """Writes all variables, except weights of the target that were never trainable.

        Args:
            path: File name that ends in `.npz`. An existing file is replaced atomically.
        """
        check_built(self)
        save_adapter(self, path)

    def load_adapter(self, path: FilePath) -> None:
        """Reads a file of `save_adapter` into a model of the same configuration.

        Args:
            path: File name.

        Raises:
            ValueError: If the variables in the file do not match the model, which stays unchanged
                then.
        """
        check_built(self)
        load_adapter(self, path)
