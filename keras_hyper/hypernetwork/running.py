"""Running a target with generated weights, and its variables by their role."""

import functools
import inspect
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from keras_hyper.application import RowsError, WeightInjection, quantized_shapes
from keras_hyper.hypernetwork.selection import Parts
from keras_hyper.kernels import Full, Kernel, grouped
from keras_hyper.ops.sample_axis import fold, unfold
from keras_hyper.typing import Tensor, Tensors
from keras_hyper.utils.graph import is_of_lora, own_weights, walk

if TYPE_CHECKING:
    from keras_hyper.hypernetwork.generating_model import GeneratingModel


# The quantization modes of several layers, None without quantization.
Modes = tuple[str | None, ...]


class TargetRunner:
    """Runs the target of a model with generated weights, and manages its variables.

    Args:
        model: The model, with its generated weights.
        parts: The weights of its target.
        of_tasks: None, or a variable with a row for each task for each of `parts.state`.

    Attributes:
        generated: The variables of the target that have a generated weight, by path.
        ordinary: The variables that have none, by path.
        own_state: The variables that the target updates itself, by path.
        state: The variables that hold this state, by path.
        frozen: The `ordinary` variables that were frozen at construction.
        injection: Puts generated weights into the layers of the target.
    """

    def __init__(
        self,
        model: "GeneratingModel",
        parts: Parts,
        of_tasks: Sequence[keras.Variable] | None,
    ) -> None:
        self._target, self._sample_axis = model.target, model.sample_axis
        self._composition, self._weights = model.composition, model.generated_weights
        generated = [w for w in parts.included if w.path in self._weights]
        self.generated = {w.path: w.variable for w in generated}
        self.ordinary = {w.path: w.variable for w in parts.weights if w.path not in self._weights}
        self.own_state = {w.path: w.variable for w in parts.state}
        kept = self.own_state.values() if of_tasks is None else of_tasks
        self.state = dict(zip(self.own_state, kept, strict=True))
        self.frozen = [v for v in self.ordinary.values() if not v.trainable]
        self.injection = WeightInjection(self._target, generated, parts.state, model.sample_seeds)
        parameters = inspect.signature(self._target.call).parameters.values()
        self._takes_training = any(
            p.name == "training" or p.kind is p.VAR_KEYWORD for p in parameters
        )
        known = [*self.generated.values(), *self.ordinary.values(), *self.own_state.values()]
        # Integer variables are those of a quantized layer.
        self._known = {id(v) for v in known if keras.backend.is_float_dtype(v.dtype)}
        self._owners = parts.owners
        replaced = {
            path: id(variable)
            for path, variable in self.generated.items()
            if not self._weights[path].base_outside and self._weights[path].base is not variable
        }
        self._replaced = set(replaced.values())
        if of_tasks is not None:
            self._replaced |= {id(v) for v in self.own_state.values()}
        self._replaced_owners = [self._owners[path] for path in replaced]
        self._unused: dict[Modes, set[int]] = {}
        self._added: dict[Modes, set[str]] = {}

    def unused(self) -> set[int]:
        """Returns the `id` of each variable of the target that is never read."""
        modes = _modes(self._replaced_owners)
        if modes not in self._unused:
            quantized = [v for owner in self._replaced_owners for v in self._of_quantization(owner)]
            self._unused[modes] = {*self._replaced, *map(id, quantized)}
        return self._unused[modes]

    def _of_quantization(self, layer: keras.Layer) -> list[keras.Variable]:
        """Returns the variables that quantization added to a layer."""
        if _modes([layer]) == (None,):
            return []
        return [v for v in own_weights(layer).values() if id(v) not in self._known]

    def added(self) -> set[str]:
        """Returns the paths of generated weights that are added to quantized weights.

        Drops the bases of these weights, since the layers hold them in fewer bits.
        """
        modes = _modes(self._owners[path] for path in self._weights)
        if modes not in self._added:
            self._added[modes] = {path for path in self._weights if self._is_added(path)}
        return self._added[modes]

    def _is_added(self, path: str) -> bool:
        owner, name, weight = self._owners[path], path.rpartition("/")[2], self._weights[path]
        if self._composition == "replace" or name not in quantized_shapes(owner):
            return False
        if self._composition != "add":
            raise ValueError(
                f"Layer '{owner.name}' is quantized, and composition='{self._composition}' "
                "needs its kernel. Use composition='add', or do not quantize the layer."
            )
        if not weight.base_outside:
            weight.base_outside = True
            del weight.base
            weight.base = None
            self.generated[path] = own_weights(owner)[name]
        return True

    def run(
        self, inputs: Tensors, kernels: Mapping[str, Kernel], task: Tensor, training: bool | None
    ) -> Tensors:
        """Returns the outputs of the target, with the state of a task if `task` is given."""
        state: dict[str, Kernel] = {}
        if task is not None:
            batched = len(task.shape) == 1
            state = {path: Full(v, batched) for path, v in self.state_of(task).items()}
        count = None
        if self._sample_axis:
            inputs, count = fold(inputs)
            kernels, state = grouped(kernels, count), grouped(state, count)
        arguments = {"training": training} if self._takes_training else {}
        write = functools.partial(self._write, task)
        samples = next((ops.shape(x)[0] for x in batched_tensors(inputs)), None)

        def run() -> Tensors:
            with self.injection.weights(kernels, state, write, self.added(), samples):
                return self._target(inputs, **arguments)

        folded = False
        try:
            outputs = run()
        except RowsError:
            # The target may fold windows or tokens into the batch.
            inference = {"training": False} if self._takes_training else {}
            folded = self.injection.find_folded(inputs, **inference)
            if not folded:
                raise
        outputs = run() if folded else outputs
        return outputs if count is None else unfold(outputs, count)

    def state_of(self, task: Tensor) -> dict[str, Tensor]:
        """Returns the state of a task, or of a task for each sample, by path."""
        return {path: ops.take(v.value, task, axis=0) for path, v in self.state.items()}

    def _write(self, task: Tensor, path: str, value: Tensor) -> None:
        """Assigns a state variable of one task."""
        rows = self.state[path]
        here = ops.equal(ops.arange(rows.shape[0]), ops.cast(task, "int32"))
        here = ops.reshape(here, (rows.shape[0], *(1,) * len(value.shape)))
        rows.assign(ops.where(here, ops.cast(value, rows.dtype), rows.value))

    def paths(self) -> list[str]:
        """Returns the paths of all weights, with those of LoRA that was enabled later."""
        by_layer: dict[keras.Layer, list[str]] = {}
        for path, layer in self._owners.items():
            by_layer.setdefault(layer, []).append(path)
        for layer, paths in by_layer.items():
            place, slash, _ = paths[0].rpartition("/")
            names = [name for name, v in own_weights(layer).items() if is_of_lora(v)]
            factors = [f"{place}{slash}{name}" for name in names]
            paths += [path for path in factors if path not in paths]
        return [path for paths in by_layer.values() for path in paths]

    def frozen_paths(self) -> dict[str, list[str]]:
        """Returns which weights were frozen at construction, and which are now."""
        at_first = {id(v) for v in self.frozen}
        weights = {**self.generated, **self.ordinary}
        return {
            "frozen": [path for path, v in weights.items() if id(v) in at_first],
            "frozen_now": [path for path, v in weights.items() if not v.trainable],
        }

    def freeze(self, paths: Collection[str]) -> None:
        """Freezes the weights with these paths, and unfreezes all others."""
        for path, variable in {**self.generated, **self.ordinary}.items():
            variable.trainable = path not in paths

    def stored(self) -> list[keras.Variable]:
        """Returns the variables for files, in an order that does not depend on their history.

        Variables that LoRA or quantization added come last. Generated weights store their bases.
        """
        current = {id(v) for v in self._target.weights}
        first = [v for v in self.ordinary.values() if id(v) in current and not is_of_lora(v)]
        first += self.state.values()
        bases = (weight.base for weight in self._weights.values())
        done = {*self.unused(), *map(id, (*bases, *first, *self.own_state.values()))}
        own = [v for layer in walk(self._target) for _, v in sorted(own_weights(layer).items())]
        return [*first, *(v for v in own if id(v) not in done)]

    def load(self, store: Mapping[str, Any]) -> None:
        """Assigns the `stored` variables from an H5 group or a dict."""
        stored = self.stored()
        if stored and "0" not in store:
            raise ValueError(
                "The file has no variables of the target, because an older version of keras_hyper "
                "(before 0.1) wrote it. Load the file with that version, write an adapter "
                "with `save_adapter`, and read it with `load_adapter` in this version."
            )
        for i, variable in enumerate(stored):
            variable.assign(store[str(i)])


def _modes(layers: Iterable[keras.Layer]) -> Modes:
    return tuple(getattr(layer, "quantization_mode", None) for layer in layers)


def batched_tensors(inputs: Tensors) -> list[Any]:
    """Returns the tensors of a structure that have a batch axis."""
    return [x for x in keras.tree.flatten(inputs) if len(getattr(x, "shape", ()))]
