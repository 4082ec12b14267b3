"""A hypernetwork over any Keras model."""

import contextlib
import functools
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_hyper.application import WeightInjection, is_quantized, quantized_shapes
from keras_hyper.conditions import JoinedCondition
from keras_hyper.hypernetwork.adapter import load_adapter, save_adapter
from keras_hyper.hypernetwork.arguments import (
    Untracked,
    as_generators,
    as_target,
    check_per_weight,
    check_tasks,
    is_text,
    takes_training,
)
from keras_hyper.hypernetwork.at import HypernetworkAt
from keras_hyper.hypernetwork.continual import KeptWeights
from keras_hyper.hypernetwork.data import ConditionalModel
from keras_hyper.hypernetwork.generating import generate, make_weights
from keras_hyper.hypernetwork.planning import default_for
from keras_hyper.hypernetwork.selection import as_include, divide
from keras_hyper.hypernetwork.target import TargetVariables
from keras_hyper.kernels import Full, Kernel, grouped
from keras_hyper.ops import same_batch
from keras_hyper.ops.sample_axis import (
    fold,
    folded_spec,
    spec_with_axis,
    unfold,
    unfolded_spec,
    with_axis,
    without_axis,
)
from keras_hyper.saving import deserialize_shared, hold, is_config, serializable, serialize_shared
from keras_hyper.saving.places import one_load
from keras_hyper.saving.sharing import copy_in_graph, graph_mark, hold_in_graph
from keras_hyper.saving.sublayers import restore_sublayers, unquantized, with_sublayers
from keras_hyper.transforms.bake import bake_with
from keras_hyper.utils.constants import warn_of_constants
from keras_hyper.utils.freezing import freeze_what_is_new
from keras_hyper.utils.graph import NamedWeight, finish_loading, own_weights, walk
from keras_hyper.utils.inputs import (
    as_tuples,
    build_target,
    check_inputs,
    dtype_of,
    input_shapes,
    inputs_of,
)
from keras_hyper.weights import GeneratedWeight, as_composition
from keras_hyper.weights.scopes import given


@serializable
class Hypernetwork(ConditionalModel):
    r"""Generates the weights of any Keras model.

    `y = f(x; W(c))`: the target `f` is called with weights that a generator
    makes from the condition `c`, the same for the whole batch or others for each
    sample, in the manner of Ha, Dai & Le ("HyperNetworks", ICLR 2017) and of
    von Oswald et al. ("Continual learning with hypernetworks", ICLR 2020).

    The target may be Sequential, functional or subclassed, a single layer, with
    layers of any kind in it. It is not copied: weights of it that are not
    generated are trained as they are, and so are its moving averages updated.

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
            these is concatenated.
        include: Which weights are generated: a pattern of paths (`"*kernel"`,
            `"block_1"` for all below it), a layer type, a function of path and
            variable that is asked once, or an iterable of these. `generated_weights` of
            a built hypernetwork has the paths. Weights that the generator cannot
            make stay ordinary ones; `keras_hyper.summary` lists them with the
            reason. One that is named, without wildcards, is refused then.
        composition: `"replace"`: the generated numbers are the weight. A weight
            that starts as a constant (a bias, a scale) starts there, plus the
            generated numbers times a learned gate that starts at zero. `"add"`,
            `"multiply"`, `"scale"`: the generated numbers change the target's own
            weight (see `GeneratedWeight`), from which training starts exactly.
            Factors of what starts at zero would do nothing: such weights stay
            ordinary.
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
        output_regularization: Float, the strength of the regulariser that keeps
            the weights of tasks that ended (`end_task`), None for none.
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
        >>> tuple(hyper(x, condition=[0, 1, 2, 0, 1]).shape)  # others for each sample
        (5, 4)
        >>> type(hyper.bake(condition=3)).__name__
        'Sequential'
    """

    def __init__(
        self,
        target: Any,
        generator: Any = None,
        condition: Any = None,
        include: Any = "*",
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
        self._record = record
        self.supports_masking = True
        self.target = as_target(deserialize_shared(target, self, "target"))
        self.condition: Any = None
        if condition is not None:
            if isinstance(condition, JoinedCondition) or is_config(condition):
                condition = deserialize_shared(condition, self, "condition")
            joined = isinstance(condition, JoinedCondition)
            self.condition = (
                condition
                if joined
                else JoinedCondition(condition, bool(condition_per_weight), name="condition")
            )
        check_per_weight(condition_per_weight, self.condition, generator, output_regularization)
        self.share_generators = bool(share_generators)
        self._generators = Untracked(as_generators(generator, self))
        self.include = as_include(include)
        self.composition = as_composition(composition)
        self.base_trainable = bool(base_trainable)
        self.state_per_task = bool(state_per_task)
        check_tasks(self.condition, self.state_per_task, output_regularization)
        self.output_regularization = (
            None if output_regularization is None else float(output_regularization)
        )
        self.sample_axis = bool(sample_axis)
        self.generated_weights: dict[str, GeneratedWeight] = {}
        self._paths: list[str] = []
        self.ordinary_reasons: dict[str, str] = {}
        self.kept: Any = None
        # Draws seeds for layers that are called once for each sample.
        self.sample_seeds = keras.random.SeedGenerator()
        self.target_variables: Any = None
        self._injection: Any = None
        self._owners: Any = None
        self._was_quantized = False
        self._shapes: Any = {}
        self._input_dtypes: Any = None
        self._build_if_known()

    @property
    def generator(self) -> Any:
        """The generator, or the dict from patterns to generators.

        It is no sublayer, since it is never built where each weight has a copy of it.
        The generated weights have those that are used.
        """
        return self._generators.value

    @property
    def condition_per_weight(self) -> bool:
        """Whether the condition has a row for each generated weight."""
        return self.condition is not None and bool(self.condition.per_weight)

    @property
    def input_spec(self) -> Any:
        """What the target takes. Keras checks inputs with it before a call."""
        return None if self.sample_axis else self.target.input_spec

    def __dir__(self) -> list[str]:
        """Lists the attributes but the target, whose replaced weights Keras would save."""
        return [name for name in super().__dir__() if name != "target"]

    @property
    def variables(self) -> list[keras.Variable]:
        """All variables but those of the target in whose place weights are generated."""
        return self._used(super().variables)

    @property
    def weights(self) -> list[keras.Variable]:
        """All weights but those of the target in whose place weights are generated."""
        return self._used(super().weights)

    def _used(self, variables: list[keras.Variable]) -> list[keras.Variable]:
        if self.target_variables is None:
            return variables
        unused = self.target_variables.unused()
        return [v for v in variables if id(v) not in unused]

    @property
    def trainable(self) -> bool:
        """Whether the model is trained. A frozen base stays frozen."""
        return bool(super().trainable)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        keras.Model.trainable.fset(self, value)
        # TensorFlow skips an assignment to a layer that has the value, and so those below it.
        for layer in walk(self):
            if layer is not self and layer.trainable is not bool(value):
                layer.trainable = value
        for weight in self.generated_weights.values() if not self.base_trainable else ():
            if isinstance(weight.base, keras.Variable):
                weight.base.trainable = False

    def _build_if_known(self) -> None:
        """Builds what can be built before a call, so that `fit` need not."""
        shapes = input_shapes(self.target)
        if shapes is None or (self.condition is not None and self.condition.width() is None):
            return
        shapes = with_axis(shapes) if self.sample_axis else shapes
        if self.condition is None:
            self.build(shapes)
        else:
            self.build(shapes, self.condition.default_shape())

    def build(self, inputs_shape: Any, condition_shape: Any = None) -> None:
        """Builds the target, and makes the generated weights."""
        self._shapes = {"inputs_shape": inputs_shape, "condition_shape": condition_shape}
        model = self.target
        build_target(model, self._target_shapes(), self._input_dtypes)
        self._was_quantized = any(is_quantized(layer) for layer in walk(model))
        width = None
        if self.condition is not None:
            if condition_shape is None and self.condition.takes_values:
                raise ValueError(
                    f"Hypernetwork '{self.name}' needs a `condition`: {self.condition.describe()}. "
                    "Received: condition=None"
                )
            self.condition.build(condition_shape)
            width = self.condition.width()
        parts = divide(model, self.include, self.composition, self._record)
        self._paths = parts.paths
        if self.generator is None:
            # Kept, for files: another version may choose another.
            self._generators.value = default_for(
                parts.included, self.composition, width, self.dtype_policy
            )
        made, self.ordinary_reasons = make_weights(
            parts,
            self.generator,
            width,
            include=self.include,
            composition=self.composition,
            base_trainable=self.base_trainable,
            per_weight=self.condition_per_weight,
            share_generators=self.share_generators,
            dtype=self.dtype_policy,
        )
        if self.condition is not None:
            self.condition.expect_weights(len(made))
        hold(self, "generated_weights", made)
        ordinary = [w for w in parts.weights if w.path not in made]
        generated = [w for w in parts.included if w.path in made]
        for weight in ordinary if self._record is not None else ():
            weight.variable.trainable = weight.path not in parts.frozen
        of_tasks = [self._per_task(w) for w in parts.state] if self.state_per_task else None
        if of_tasks is not None:
            hold(self, "state_of_tasks", of_tasks)
        self._owners = Untracked({w.path: w.layers[-1] for w in generated})
        bases = [w.variable if made[w.path].base_outside else made[w.path].base for w in generated]
        self.target_variables = TargetVariables(
            model, generated, ordinary, parts.state, of_tasks, bases
        )
        self._injection = WeightInjection(model, generated, parts.state, self.sample_seeds)
        self._takes_training = takes_training(model)
        if self.output_regularization is not None:
            self.kept = KeptWeights(
                self.condition.task_embedding.num_tasks, dtype=self.dtype_policy, name="kept"
            )
            self.kept.build(width, list(self._weight_shapes().values()))
        if self._record is not None:
            restore_sublayers(self._record, self)
            self.target_variables.freeze(self._record["frozen_now"])
            self._added()
        freeze_what_is_new(self)

    def takes(self) -> Any:
        """Returns what the model takes besides a condition, as symbolic tensors, if known."""
        structure = inputs_of(self.target, self.get_build_config())
        if not self.sample_axis or getattr(self.target, "inputs", None) is None:
            return structure
        return keras.tree.map_structure(spec_with_axis, structure)

    def _target_inputs(self, inputs: Any) -> Any:
        """Returns the shapes and dtypes of what the target takes, or the inputs themselves."""
        return folded_spec(inputs) if self.sample_axis and len(_batched(inputs)) else inputs

    def _target_shapes(self) -> Any:
        shapes = self._shapes["inputs_shape"]
        return without_axis(shapes) if self.sample_axis else shapes

    def _added(self) -> set[str]:
        """Returns the paths of weights that are added to those of quantized layers.

        Their bases are dropped, which the layers hold in fewer bits.
        """
        added = set()
        for path, weight in self.generated_weights.items():
            owner, name = self._owners.value[path], path.rpartition("/")[2]
            if self.composition == "replace" or name not in quantized_shapes(owner):
                continue
            if self.composition != "add":
                raise ValueError(
                    f"Layer '{owner.name}' is quantized, and composition='{self.composition}' "
                    "needs its kernel. Use composition='add', or do not quantize the layer."
                )
            added.add(path)
            if not weight.base_outside:
                weight.base_outside = True
                del weight.base
                weight.base = None
                self.target_variables.generated[path] = own_weights(owner)[name]
        return added

    def _per_task(self, weight: NamedWeight) -> keras.Variable:
        """Returns a variable with a row of the state for each task."""
        tasks, variable = self.condition.task_embedding.num_tasks, weight.variable

        def start(shape: Any, dtype: Any = None) -> Any:
            return ops.stack([ops.cast(variable.value, dtype)] * tasks)

        return self.add_weight(
            name=f"{weight.path.replace('/', '_')}_of_tasks",
            shape=(tasks, *variable.shape),
            dtype=variable.dtype,
            initializer=start,
            trainable=False,
        )

    def __call__(self, inputs: Any, condition: Any = None, **kwargs: Any) -> Any:
        """Calls the target with generated weights; builds what is not built yet."""
        inputs, condition = self.unpack(inputs, condition)
        hold_in_graph(self, inputs, condition)
        warn_of_constants(self, inputs, condition)
        condition = self.check_condition(inputs, condition)
        if not self.built:
            self._input_dtypes = keras.tree.map_structure(dtype_of, inputs)
        if condition is not None:
            kwargs["condition"] = condition
        return super().__call__(inputs, **kwargs)

    def call(self, inputs: Any, condition: Any = None, training: Any = None) -> Any:
        """Returns the outputs of the target."""
        # JAX trains with `call` itself.
        inputs, condition = self.unpack(inputs, condition)
        condition = self.check_condition(inputs, condition)
        vector = None
        if self.condition is not None and not self._all_given():
            vector = self.condition(condition, inputs=inputs, training=training)
            for x in _batched(inputs)[:1]:
                vector = same_batch(vector, x, rank=2 if self.condition_per_weight else 1)
        weights = self._kernels(vector, training)
        if self.kept is not None and training and self.output_regularization:
            conditions = ops.convert_to_tensor(self.kept.conditions)
            kernels = self._kernels(conditions, penalize=False)
            drift = self.kept([kernel.materialize() for kernel in kernels.values()])
            self.add_loss(self.output_regularization * drift)
        task = self.condition.task_ids(condition) if self.state_per_task else None
        return self._run(inputs, weights, task, training)

    def _run(self, inputs: Any, kernels: Mapping[str, Kernel], task: Any, training: Any) -> Any:
        """Returns what the target makes of inputs with weights, and with the state of a task."""
        state: dict[str, Kernel] = {}
        if task is not None:
            batched = len(task.shape) == 1
            state = {k: Full(v, batched) for k, v in self.target_variables.state_of(task).items()}
        count = None
        if self.sample_axis:
            inputs, count = fold(inputs)
            kernels, state = grouped(kernels, count), grouped(state, count)
        arguments = {"training": training} if self._takes_training else {}
        write = functools.partial(self.target_variables.write, task)
        with self._injection.weights(kernels, state, write, self._added()):
            outputs = self.target(inputs, **arguments)
        return outputs if count is None else unfold(outputs, count)

    def compute_output_spec(self, inputs: Any, condition: Any = None, training: Any = None) -> Any:
        """Returns the outputs of the target, symbolically."""
        inputs, condition = self.unpack(inputs, condition)
        self._check_condition(inputs, condition)
        return self.outputs_of(inputs)

    def outputs_of(self, inputs: Any) -> Any:
        """Returns the outputs for inputs, symbolically."""
        outputs = self.target.compute_output_spec(self._target_inputs(inputs))
        return unfolded_spec(outputs, inputs) if self.sample_axis else outputs

    def compute_output_shape(self, inputs_shape: Any, condition_shape: Any = None) -> Any:
        """Returns the shapes of the outputs of the target."""
        if not self.sample_axis:
            return self.target.compute_output_shape(inputs_shape)
        lead = tuple(inputs_shape[:2])
        outputs_shape = self.target.compute_output_shape((None, *inputs_shape[2:]))
        return keras.tree.map_shape_structure(lambda s: (*lead, *s[1:]), outputs_shape)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """Returns None: the target's own layers put masks on the outputs."""
        return

    def check_condition(self, inputs: Any, condition: Any) -> Any:
        """Returns the condition as tensors, or raises if it does not fit."""
        if self.condition is not None and condition is not None:
            condition = self.condition.tensors(condition, inputs)
        self._check_condition(inputs, condition)
        return condition

    def _check_condition(self, inputs: Any, condition: Any) -> None:
        check_inputs(self.target, self._target_inputs(inputs))
        if self.condition is None:
            if condition is not None:
                raise ValueError(
                    f"Hypernetwork '{self.name}' was made without a condition. Received: "
                    f"condition={condition!r}. Pass `condition=` to its constructor: a "
                    "TaskEmbedding, or the width of a tensor."
                )
            return
        if condition is None:
            if self.condition.takes_values:
                raise ValueError(
                    f"Hypernetwork '{self.name}' needs a `condition`: {self.condition.describe()}. "
                    "Received: condition=None. Pass one to the call, to `generate` or to `bake`; "
                    'in `fit` pass {"inputs": x, "condition": c}; or use `hyper.at(condition)`.'
                )
            return
        self.condition.check(condition)
        rows = self.condition.rows(condition)
        batches = {x.shape[0] for x in _batched(inputs)}
        if rows is not None and batches and None not in batches and batches != {rows}:
            raise ValueError(
                f"Hypernetwork '{self.name}' needs one condition for each sample, or one for all. "
                f"Received: conditions for {rows} samples, and inputs of batch size "
                f"{sorted(batches)}"
            )

    def _kernels(
        self, vector: Any, training: Any = None, penalize: bool = True
    ) -> dict[str, Kernel]:
        """Returns the generated weights as kernels, by path."""
        self._added()
        weights, per_weight = self.generated_weights, self.condition_per_weight
        return generate(weights, vector, training, penalize, per_weight)

    def _all_given(self) -> bool:
        return all(given(weight) is not None for weight in self.generated_weights.values())

    def _as_kernels(self, weights: Mapping[str, Any]) -> dict[str, Kernel]:
        shapes = self._weight_shapes()
        return {k: Full(v, len(v.shape) > len(shapes[k])) for k, v in weights.items()}

    def generate(self, condition: Any = None) -> dict[str, Any]:
        """Returns the generated weights for a condition, as a dict from path to tensor.

        Args:
            condition: As in a call. With a row for each sample, every tensor has
                a batch axis in front. Noise is drawn once for each row, or once.

        Raises:
            ValueError: If the model is not built, or the condition does not fit.
        """
        self._check_built("generate")
        condition = self.check_condition((), condition)
        vector = None if self.condition is None else self.condition(condition)
        kernels = self._kernels(vector)
        return {path: kernel.materialize() for path, kernel in kernels.items()}

    def apply(
        self, weights: Mapping[str, Any], inputs: Any, task: Any = None, training: Any = None
    ) -> Any:
        """Returns what the target makes of inputs with given weights.

        Args:
            weights: Dict from path to tensor, as `generate` returns it: one for
                each of `generated_weights`, with a batch axis for weights of each
                sample's own.
            inputs: What the target takes.
            task: With `state_per_task`, the id of the task whose state is used.
            training: Boolean.

        Raises:
            ValueError: If a weight is missing, unknown, or of another shape, or if
                a task is missing.
        """
        self._check_built("apply")
        if not isinstance(weights, Mapping):
            raise TypeError(
                "`weights` must be a dict from path to tensor, as `generate` returns it. Received: "
                f"weights={weights!r} (of type {type(weights).__name__})"
            )
        if self.state_per_task is (task is None):
            raise ValueError(
                "`apply` needs a `task` with state_per_task=True, and takes none without. "
                f"Received: task={task!r}"
            )
        missing = sorted(set(self.generated_weights) - set(weights))
        unknown = sorted(set(weights) - set(self.generated_weights))
        if missing or unknown:
            raise ValueError(
                "`weights` must have a tensor for each of `generated_weights`. Missing: "
                f"{missing}. Unknown: {unknown}"
            )
        shapes = self._weight_shapes()
        tensors = {path: ops.convert_to_tensor(value) for path, value in weights.items()}
        for path, value in tensors.items():
            shape = tuple(value.shape)
            if shape != shapes[path] and shape[1:] != shapes[path]:
                raise ValueError(
                    f"`weights['{path}']` must have shape {shapes[path]}, with or without a batch "
                    f"axis in front. Received: a tensor of shape {shape}"
                )
        if task is not None:
            task = ops.convert_to_tensor(task)
            self.condition.task_embedding.check(task)
            rows = any(len(w.shape) > len(shapes[path]) for path, w in tensors.items())
            if len(task.shape) > int(rows):
                raise ValueError(
                    "`task` must be one id for one set of weights. Received: `task` of shape "
                    f"{tuple(task.shape)}"
                )
        return self._run(inputs, self._as_kernels(tensors), task, training)

    def bake(self, condition: Any = None) -> keras.Model:
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
            raise ValueError(
                f"Hypernetwork '{self.name}' needs a `condition` to be baked: "
                f"{self.condition.describe()}. Received: condition=None. Call `hyper.bake("
                "condition=...)` with one condition. A model that takes all of them can be "
                "exported (`keras_hyper.export_saved_model`)."
            )
        if self._added():
            raise ValueError(
                f"The target '{self.target.name}' is quantized, and generated weights cannot be "
                "written into its kernels. Bake the model first, and quantize the baked one."
            )
        weights = self.generate(condition)
        shapes = self._weight_shapes()
        for path, value in weights.items():
            if len(value.shape) > len(shapes[path]):
                raise ValueError(
                    f"Hypernetwork '{self.name}' can be baked for one condition, of shape (dim,) "
                    "or a task id. Received: a condition with a row for each sample."
                )
        variables = self.target_variables.generated
        if self.state_per_task:
            weights |= self.target_variables.state_of(self.condition.task_ids(condition))
            variables = variables | self.target_variables.own_state
        values = {id(variables[path]): value for path, value in weights.items()}
        plain = bake_with(self.target, values)
        return plain if isinstance(plain, keras.Model) else keras.Sequential([plain])

    to_stock = bake  # As a layer of a model that is baked.

    def at(self, condition: Any) -> keras.Model:
        """Returns a Keras model with the condition fixed, for `fit`, `evaluate` or `export`.

        It shares all variables with this one.

        Args:
            condition: One condition: a task id, or a tensor of shape `(dim,)`.
        """
        return HypernetworkAt(self, condition)

    def end_task(self, task: int | None = None) -> None:
        """Keeps the weights of a task: the regulariser holds on to them from now on.

        `L = L_task + beta / n sum_t |W(c_t) - W_t|^2`, over the `n` tasks that ended,
        with the conditions `c_t` and the weights `W_t` of when they did (von Oswald
        et al., equation 2, without the look-ahead, which has no measurable effect).
        It enters the loss when the model is called with `training=True`. Compile
        anew before the next task: an optimizer that goes on would still move the
        embeddings of tasks before.

        Args:
            task: The task's id. Defaults to the first that did not end.

        Raises:
            ValueError: If there is no `output_regularization`, or no such task.
        """
        if self.kept is None:
            raise ValueError(
                f"Hypernetwork '{self.name}' keeps no weights: make it with output_regularization="
                "0.01, say, and condition=TaskEmbedding(num_tasks, dim)."
            )
        self._check_built("end_task")
        tasks = self.condition.task_embedding.num_tasks
        task = self.kept.next() if task is None else task
        known = isinstance(task, int | np.integer) and not isinstance(task, bool)
        if not known or not 0 <= task < tasks:
            raise ValueError(f"`task` must be in [0, {tasks - 1}]. Received: task={task!r}")
        vector = self.condition(ops.convert_to_tensor(task))
        made = self._kernels(vector, penalize=False)
        self.kept.keep(task, vector, [kernel.materialize() for kernel in made.values()])

    def save_adapter(self, path: Any) -> None:
        """Writes all weights but those of the target that were frozen from the start.

        Args:
            path: Where to, with the ending `.npz`. An older file is replaced at
                the end only.
        """
        self._check_built("save_adapter")
        save_adapter(self, path)

    def load_adapter(self, path: Any) -> None:
        """Reads what `save_adapter` wrote, into a model of the same configuration.

        Args:
            path: Where from.

        Raises:
            ValueError: If the file has other weights than this model. Nothing is
                changed then.
        """
        self._check_built("load_adapter")
        load_adapter(self, path)

    def _weight_shapes(self) -> dict[str, tuple[int, ...]]:
        return {path: weight.weight_shape for path, weight in self.generated_weights.items()}

    def _check_built(self, method: str) -> None:
        if not self.built:
            raise ValueError(
                f"Hypernetwork '{self.name}' has no weights yet: call it on inputs before "
                f"`{method}`."
            )

    def save_own_variables(self, store: Any) -> None:
        """Saves the weights and the state of the target that are not generated."""
        self._added()
        self.target_variables.save(store)

    def load_own_variables(self, store: Any) -> None:
        """Loads what `save_own_variables` saved."""
        self.target_variables.load(store)
        finish_loading(self.target)

    def get_build_config(self) -> dict[str, Any] | None:
        """Returns what `build_from_config` needs to create the variables again."""
        if not self.built:
            return None
        return {**self._shapes, "input_dtypes": self._input_dtypes}

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Creates the variables as they were when the model was saved."""
        if self.built:
            return
        self._input_dtypes = config["input_dtypes"]
        inputs, condition = as_tuples(config["inputs_shape"]), as_tuples(config["condition_shape"])
        self.build(inputs) if condition is None else self.build(inputs, condition)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments to construct this model again."""
        include = self.include
        if not is_text(include):
            # Types and functions are not for files; what they chose is.
            if not self.built:
                raise ValueError(
                    f"Hypernetwork '{self.name}' has `include` of types or functions, and was not "
                    "built: which weights that means is not known yet. Call it on inputs first."
                )
            include = list(self.generated_weights)
        generator = self.generator
        if isinstance(generator, Mapping):
            generator = {k: serialize_shared(v, self, k) for k, v in generator.items()}
        else:
            generator = serialize_shared(generator, self)
        target = serialize_shared(self.target, self, "target")
        config = {
            # What was quantized later is quantized again once the model is built.
            "target": target if self._was_quantized else unquantized(target),
            "generator": generator,
            "condition": serialize_shared(self.condition, self, "condition"),
            "include": include,
            "composition": self.composition,
            "base_trainable": self.base_trainable,
            "state_per_task": self.state_per_task,
            "output_regularization": self.output_regularization,
            "sample_axis": self.sample_axis,
            "condition_per_weight": self.condition_per_weight,
            "share_generators": self.share_generators,
            "record": None,
        }
        if self.built:
            config["record"] = {
                "paths": list(self._paths),
                "generated": list(self.generated_weights),
                **self.target_variables.frozen_paths(),
            }
            config["record"] = with_sublayers(config["record"], self)
        return {**keras.layers.Layer.get_config(self), **config, **graph_mark(self)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "Hypernetwork":
        """Returns a model from the arguments that `get_config` returned."""
        with contextlib.ExitStack() as scopes:
            scopes.enter_context(one_load(join=True))
            if custom_objects:  # An empty scope would hide one that is open.
                scopes.enter_context(keras.saving.custom_object_scope(custom_objects))
            return copy_in_graph(config, cls)


def _batched(inputs: Any) -> list[Any]:
    """Returns the tensors of a structure that have a batch axis."""
    return [x for x in keras.tree.flatten(inputs) if len(getattr(x, "shape", ()))]
