"""The variables of a target by their role."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_hyper.hypernetwork.selection import Parts
from keras_hyper.typing import Tensor
from keras_hyper.utils.graph import own_weights, walk
from keras_hyper.weights import GeneratedWeight


class TargetVariables:
    """The variables of a target by their role.

    Args:
        model: The target.
        parts: Its weights.
        made: The generated weights by path.
        of_tasks: None, or a variable with a row for each task for each of `parts.state`.

    Attributes:
        generated: The variables of the target for which weights are generated, by path.
        ordinary: The variables for which none are, by path.
        own_state: The variables that the target updates itself, by path.
        state: The variables that hold this state, by path.
        frozen: The `ordinary` variables that were frozen at construction.
    """

    def __init__(
        self,
        model: keras.Layer,
        parts: Parts,
        made: Mapping[str, GeneratedWeight],
        of_tasks: Sequence[keras.Variable] | None,
    ) -> None:
        self._model = model
        self.generated = {w.path: w.variable for w in parts.included if w.path in made}
        self.ordinary = {w.path: w.variable for w in parts.weights if w.path not in made}
        self.own_state = {w.path: w.variable for w in parts.state}
        kept = self.own_state.values() if of_tasks is None else of_tasks
        self.state = dict(zip(self.own_state, kept, strict=True))
        known = [*self.generated.values(), *self.ordinary.values(), *self.own_state.values()]
        # Integer variables are those of a quantized layer.
        self._known = {id(v) for v in known if keras.backend.is_float_dtype(v.dtype)}
        self._replaced = {
            id(v)
            for path, v in self.generated.items()
            if not made[path].base_outside and made[path].base is not v
        }
        if of_tasks is not None:
            self._replaced |= {id(v) for v in self.own_state.values()}
        self._owners = [w.layers[-1] for w in parts.included if id(w.variable) in self._replaced]
        self.frozen = [v for v in self.ordinary.values() if not v.trainable]
        self._modes: tuple[str | None, ...] = ()
        self._unused = self._replaced

    def unused(self) -> set[int]:
        """Returns the `id` of each variable of the target that is never read."""
        modes = quantization_modes(self._owners)
        if modes != self._modes:
            quantized = [v for owner in self._owners for v in self._of_quantization(owner)]
            self._unused = {*self._replaced, *map(id, quantized)}
            self._modes = modes
        return self._unused

    def _of_quantization(self, layer: keras.Layer) -> list[keras.Variable]:
        """Returns the variables that quantization added to a layer."""
        if getattr(layer, "quantization_mode", None) is None:
            return []
        return [v for v in own_weights(layer).values() if id(v) not in self._known]

    def stored(self) -> list[keras.Variable]:
        """Returns the variables for files, in an order that does not depend on `trainable`."""
        unused, current = self.unused(), {id(v) for v in self._model.weights}
        quantized = [v for layer in walk(self._model) for v in self._of_quantization(layer)]
        # Quantization replaces some variables of a layer.
        own = [v for v in self.ordinary.values() if id(v) in current]
        return [*own, *self.state.values(), *(v for v in quantized if id(v) not in unused)]

    def state_of(self, task: Tensor) -> dict[str, Tensor]:
        """Returns the state of a task, or of a task for each sample, by path."""
        return {path: ops.take(v.value, task, axis=0) for path, v in self.state.items()}

    def write(self, task: Tensor, path: str, value: Tensor) -> None:
        """Assigns a state variable of one task."""
        rows = self.state[path]
        here = ops.equal(ops.arange(rows.shape[0]), ops.cast(task, "int32"))
        here = ops.reshape(here, (rows.shape[0], *(1,) * len(value.shape)))
        rows.assign(ops.where(here, ops.cast(value, rows.dtype), rows.value))

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

    def save(self, store: Any) -> None:
        """Writes the `stored` variables into an H5 group or a dict."""
        for i, variable in enumerate(self.stored()):
            store[str(i)] = variable

    def load(self, store: Mapping[str, Any]) -> None:
        """Reads the variables that `save` wrote."""
        stored = self.stored()
        if stored and "0" not in store:
            raise ValueError(
                "The file has no variables of the target, because an older version of keras_hyper "
                "(before 0.1) wrote it. Load the file with that version, write an adapter "
                "with `save_adapter`, and read it with `load_adapter` in this version."
            )
        for i, variable in enumerate(stored):
            variable.assign(store[str(i)])


def quantization_modes(layers: Iterable[keras.Layer]) -> tuple[str | None, ...]:
    """Returns the quantization mode of each layer, None without quantization."""
    return tuple(getattr(layer, "quantization_mode", None) for layer in layers)
