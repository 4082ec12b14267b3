"""A hypernetwork over any Keras model."""

import os
from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_hyper.hypernetwork.adapter import load_adapter, save_adapter
from keras_hyper.hypernetwork.arguments import (
    Untracked,
    as_condition,
    as_generators,
    as_target,
    check_mask,
    check_per_weight,
    check_tasks,
)
from keras_hyper.hypernetwork.at import HypernetworkAt
from keras_hyper.hypernetwork.generating_model import GeneratingModel
from keras_hyper.hypernetwork.selection import Generators, Include, as_include
from keras_hyper.saving import deserialize_shared, serializable
from keras_hyper.transforms.bake import bake_with
from keras_hyper.typing import Condition, Config, Tensor, Tensors
from keras_hyper.weights import as_composition, kernels_of
from keras_hyper.weights.factors import Value


@serializable
class Hypernetwork(GeneratingModel):
    r"""Generates the weights of any Keras model.

    `y = f(x; W(c))`: the target `f` is called with weights that a generator
    makes from the condition `c`, for the whole batch or for each sample, as in Ha,
    Dai & Le ("HyperNetworks", ICLR 2017) and von Oswald et al. ("Continual
    learning with hypernetworks", ICLR 2020).

    The target may be a single layer, or a Sequential, functional or subclassed model
    with layers of any kind. It is not copied: its other weights are trained, and its
    moving averages updated, in place.

    Args:
        target: A Keras model or layer.
        generator: A `Generator`, or a dict from patterns of paths to generators.
            One that serves every shape (`ChunkedGenerator`,
            `TiledKernelGenerator`) is shared by all its weights; of any other,
            each weight gets a copy, or each shape (`share_generators`).
            None (default): a `ChunkedGenerator` that stores at most half as
            many parameters as it generates. For small targets where that is
            impossible, a minimal `ChunkedGenerator` if there is a condition;
            otherwise the weights stay ordinary variables.
        condition: What the weights depend on. None: a learned embedding. An
            integer: a tensor of that width, passed with every call. A layer that
            makes one: `TaskEmbedding`, `NoiseCondition`, or any other. A list of
            these is concatenated. An `AdapterMask` in it marks samples without an adapter.
        include: Which weights are generated: a pattern of paths (`"*kernel"`,
            `"block_1"` for all below it), a layer type, a function of path and
            variable, or an iterable of these. `generated_weights` of a built
            hypernetwork has the paths. Weights that the generator cannot make stay
            ordinary ones; `keras_hyper.summary` lists them with the reason. One that is
            named, without wildcards, raises.
        composition: `"replace"`: the generated numbers are the weight. A weight
            that starts as a constant (a bias, a scale) starts there, plus the
            generated numbers times a learned gate that starts at zero. `"add"`,
            `"multiply"`, `"scale"`: the generated numbers change the target's own
            weight (see `GeneratedWeight`), from which training starts exactly.
            Factors cannot change what starts at zero: such weights stay ordinary.
        base_trainable: Whether the target's own weights are trained below
            the generated ones, and their regularizers act on them alone. They are
            frozen, in the target too, if not.
        state_per_task: Whether moving averages and other state of the target are
            kept for each task. `condition` must have a `TaskEmbedding`.
        condition_per_weight: Whether the condition has a row for each generated weight, in the
            order of `generated_weights`: of shape `(weights, dim)`, or `(batch, weights, dim)` for
            per-sample weights. A row is the embedding of its weight, with no learned part, so
            `dim` is the `embedding_dim` of `generator`. If the generator makes a weight in several
            pieces, the row is added to the learned embedding of each. A layer of `condition` may
            return rows, or one vector for all weights.
        share_generators: Whether weights of one shape share a copy of a generator that serves
            one shape, such as `LowRankGenerator`. Each generator of a dict has its own copies.
        output_regularization: None, or the strength of the regularizer that keeps
            the weights of tasks that ended (`end_task`).
        sample_axis: Whether inputs and outputs have the shape `(conditions, samples, ...)`,
            with one condition for each row of the first axis. The weights of a condition
            are generated once for all of its samples. In `fit`, `batch_size` counts
            conditions.
        **kwargs: Arguments of `keras.Model`.

    Call arguments:
        inputs: What the target takes. In `fit` and the like, a dict
            `{"inputs": ..., "condition": ...}` has both; so has a dict with a key for
            each tensor, as an exported endpoint takes it.
        condition: For one part a tensor of shape `(dim,)` (one set of weights),
            or `(batch, dim)` (a set for each sample), or task ids (see
            `TaskEmbedding`); for several a list of one value for each part but noise.
            With `condition_per_weight`, tensors of shape `(weights, dim)` or
            `(batch, weights, dim)`.
        training: Boolean.

    Output shape:
        That of the target.

    Raises:
        TypeError: If an argument is of a type that has no meaning here.
        ValueError: If the target cannot be built, a pattern matches nothing, no
            weight can be generated, or a condition does not fit.

    Examples:
        Ten classifiers, whose weights are made from ten learned vectors:

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
        # From a file: which weights are generated, and which are frozen.
        record = kwargs.pop("record", None)
        # The target's layers cast what they take; ids must not be cast.
        super().__init__(autocast=False, **kwargs)
        self.record = record
        self.supports_masking = True
        self.target = as_target(deserialize_shared(target, self, "target"))
        self.condition = as_condition(condition, self, bool(condition_per_weight))
        check_per_weight(condition_per_weight, self.condition, generator, output_regularization)
        self.share_generators = bool(share_generators)
        self.generators = Untracked(as_generators(generator, self))
        self.include = as_include(include)
        self.composition = as_composition(composition)
        check_mask(self.condition, self.composition, bool(state_per_task))
        self.base_trainable = bool(base_trainable)
        self.state_per_task = bool(state_per_task)
        check_tasks(self.condition, self.state_per_task, output_regularization)
        strength = output_regularization
        self.output_regularization = None if strength is None else float(strength)
        self.sample_axis = bool(sample_axis)
        self.generated_weights = {}
        self.ordinary_reasons = {}
        self.past_tasks = None
        # Draws seeds for layers that are called once for each sample.
        self.sample_seeds = keras.random.SeedGenerator()
        self.built_for = {}
        shapes = self.known_shapes()
        # Built before a call, so that `fit` need not.
        if shapes is not None and self.condition is None:
            self.build(shapes)
        elif shapes is not None and self.condition and self.condition.width() is not None:
            self.build(shapes, self.condition.default_shape())

    def generate(self, condition: Condition = None, factored: bool = False) -> dict[str, Any]:
        """Returns the generated weights for a condition, as a dict from path to tensor.

        Args:
            condition: As in a call. With a row for each sample, every tensor has
                a batch axis in front. Noise is drawn once for each row, or once.
            factored: Whether to return what is generated, without the target's own weights, as
                a dict of tensors for each path: `"left"` and `"right"` for a low-rank weight,
                `"scale"` for `composition="scale"`, and `"value"` otherwise.

        Raises:
            ValueError: If the model is not built, or the condition does not fit.
        """
        self._check_built("generate")
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
            weights: Dict from path to tensor, or to a dict of factors, as `generate` returns
                it: one for each of `generated_weights`, with a batch axis for per-sample weights.
            inputs: What the target takes.
            task: With `state_per_task`, the id of the task whose state is used.
            training: Boolean.

        Raises:
            ValueError: If a weight is missing, unknown, or of another shape, or if
                a task is missing.
        """
        self._check_built("apply")
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
        return self.runner.run(inputs, kernels, task, training, self.sample_axis)

    def bake(self, condition: Condition = None) -> keras.Model:
        """Returns a plain Keras model with the weights for a condition.

        Args:
            condition: One condition: a task id, or a tensor of shape `(dim,)`.
                None without one. If the only condition is noise, each call samples a
                different network.

        Raises:
            ValueError: If the condition has a batch dimension (it describes several
                models), or if the target cannot be constructed again.
        """
        if condition is None and self.condition is not None and self.condition.takes_values:
            raise self.needs_condition(
                "Received: condition=None. Call `hyper.bake(condition=...)` with one condition. A "
                "model that takes all of them can be exported (`keras_hyper.export_saved_model`).",
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
        variables, task = self.target_variables.generated, self.task_in(condition)
        if task is not None:
            weights |= self.target_variables.state_of(task)
            variables = variables | self.target_variables.own_state
        values = {id(variables[path]): value for path, value in weights.items()}
        plain = bake_with(self.target, values)
        return plain if isinstance(plain, keras.Model) else keras.Sequential([plain])

    to_stock = bake  # As a layer of a model that is baked.

    def at(self, condition: Condition) -> HypernetworkAt:
        """Returns a Keras model with the condition fixed, for `fit`, `evaluate` or `export`.

        It shares all variables with this one.

        Args:
            condition: One condition: a task id, or a tensor of shape `(dim,)`.
        """
        return HypernetworkAt(self, condition)

    def end_task(self, task: int | None = None) -> None:
        """Stores the weights of a task, from which the regularizer measures the drift.

        `L = L_task + beta / n sum_t |W(c_t) - W_t|^2`, over the `n` tasks that ended,
        with the conditions `c_t` and the weights `W_t` of when they did (von Oswald
        et al., equation 2, without the look-ahead, which has no measurable effect).
        It enters the loss when the model is called with `training=True`. Compile
        again before the next task: an optimizer that goes on would still move the
        embeddings of tasks before.

        Args:
            task: The task's id. Defaults to the first that did not end.

        Raises:
            ValueError: If there is no `output_regularization`, or no such task.
        """
        if self.past_tasks is None:
            if self.output_regularization is not None:
                self._check_built("end_task")
            raise ValueError(
                f"Hypernetwork '{self.name}' keeps no weights: make it with output_regularization="
                "0.01, say, and condition=TaskEmbedding(num_tasks, dim)."
            )
        task = self.past_tasks.task_to_end(task)
        vector = self.joined(ops.convert_to_tensor(task))
        weights = self.kernels(vector, penalize=False).values()
        self.past_tasks.keep(task, vector, [kernel.materialize() for kernel in weights])

    def save_adapter(self, path: str | os.PathLike[str]) -> None:
        """Writes all weights but those of the target that were frozen from the start.

        Args:
            path: Where to, with the ending `.npz`. An older file is replaced at
                the end only.
        """
        self._check_built("save_adapter")
        save_adapter(self, path)

    def load_adapter(self, path: str | os.PathLike[str]) -> None:
        """Reads what `save_adapter` wrote, into a model of the same configuration.

        Args:
            path: Where from.

        Raises:
            ValueError: If the file has other weights than this model. Nothing is
                changed then.
        """
        self._check_built("load_adapter")
        load_adapter(self, path)

    def _check_built(self, method: str) -> None:
        if not self.built:
            raise ValueError(
                f"Hypernetwork '{self.name}' has no weights yet: call it on inputs before "
                f"`{method}`."
            )
