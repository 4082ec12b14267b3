"""The variables of a target: which are generated, which are trained, and which it changes."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_hyper.typing import Tensor
from keras_hyper.utils.graph import NamedWeight, own_weights, walk
from keras_hyper.weights import GeneratedWeight


class TargetVariables:
    """The variables of a target by what becomes of them.

    Args:
        model: The target.
        owners: The layer of each weight by path, in the order of the model.
        generated: Weights that are generated.
        ordinary: Its other weights.
        state: What the target changes itself.
        of_tasks: None, or for each of `state` a variable with a row for each task.
        made: What generates each of `generated`, by path.

    Attributes:
        frozen: Those of `ordinary` that were not trained at construction.
    """

    def __init__(
        self,
        model: keras.Layer,
        owners: Mapping[str, keras.Layer],
        generated: Sequence[NamedWeight],
        ordinary: Sequence[NamedWeight],
        state: Sequence[NamedWeight],
        of_tasks: Sequence[keras.Variable] | None,
        made: Mapping[str, GeneratedWeight],
    ) -> None:
        self._model = model
        self._paths = dict[keras.Layer, list[str]]()
        for path, owner in owners.items():
            self._paths.setdefault(owner, []).append(path)
        self.generated = {weight.path: weight.variable for weight in generated}
        self.ordinary = {weight.path: weight.variable for weight in ordinary}
        self.own_state = {weight.path: weight.variable for weight in state}
        self.per_task = of_tasks is not None
        kept = self.own_state.values() if of_tasks is None else of_tasks
        # Where the state is kept, by path.
        self.state = dict(zip(self.own_state, kept, strict=True))
        known = [*self.generated.values(), *self.ordinary.values(), *self.own_state.values()]
        # Quantized ones are no longer those of the model's weights.
        self._known = {id(v) for v in known if keras.backend.is_float_dtype(v.dtype)}
        self._made = made
        self._replaced = {
            id(v): v
            for path, v in self.generated.items()
            if made[path].base is not v and not made[path].base_outside
        }
        if self.per_task:
            self._replaced |= {id(v): v for v in self.own_state.values()}
        self._owners = [w.layers[-1] for w in generated if id(w.variable) in self._replaced]
        self.frozen = [v for v in self.ordinary.values() if not v.trainable]
        self._modes: tuple[str | None, ...] = ()
        self._unused = set(self._replaced)

    def unused(self) -> set[int]:
        """Returns the `id` of each variable of the target that nothing reads."""
        modes = quantization_modes(self._owners)
        if modes != self._modes:
            quantized = [v for owner in self._owners for v in self._of_quantization(owner)]
            self._unused = {*self._replaced, *map(id, quantized)}
            self._modes = modes
        return self._unused

    def _of_quantization(self, layer: keras.Layer) -> list[keras.Variable]:
        """Returns the variables that a layer was given when it was quantized."""
        if getattr(layer, "quantization_mode", None) is None:
            return []
        return [v for v in own_weights(layer).values() if id(v) not in self._known]

    def stored(self) -> list[keras.Variable]:
        """Returns the variables in files, in an order that does not depend on their history.

        Those of LoRA and of quantization come last, whenever the layers got them.
        Generated weights store their bases themselves.
        """
        current = {id(v) for v in self._model.weights}
        first = [v for v in self.ordinary.values() if id(v) in current and not _is_of_lora(v)]
        first += self.state.values()
        bases = (weight.base for weight in self._made.values())
        done = {*self.unused(), *map(id, (*bases, *first, *self.own_state.values()))}
        own = [v for layer in walk(self._model) for _, v in sorted(own_weights(layer).items())]
        return [*first, *(v for v in own if id(v) not in done)]

    def paths(self) -> list[str]:
        """Returns the paths of all weights, with those of LoRA that was enabled later."""
        return [path for layer in self._paths for path in self._paths_of(layer)]

    def _paths_of(self, layer: keras.Layer) -> list[str]:
        paths = self._paths[layer]
        place, slash, _ = paths[0].rpartition("/")
        factors = [name for name, v in own_weights(layer).items() if _is_of_lora(v)]
        return list(dict.fromkeys([*paths, *(f"{place}{slash}{name}" for name in factors)]))

    def state_of(self, task: Tensor) -> dict[str, Tensor]:
        """Returns the state of a task, or of one task for each sample, by path."""
        return {path: ops.take(v.value, task, axis=0) for path, v in self.state.items()}

    def write(self, task: Tensor, path: str, value: Tensor) -> None:
        """Replaces the variable with a path in the state of a task, a tensor of shape `()`."""
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
        """Makes all weights trainable but those with some paths."""
        for path, variable in {**self.generated, **self.ordinary}.items():
            variable.trainable = path not in paths

    def save(self, store: Any) -> None:
        """Writes what is stored into an H5 group or a dict."""
        for i, variable in enumerate(self.stored()):
            store[str(i)] = variable

    def load(self, store: Mapping[str, Any]) -> None:
        """Reads what `save` wrote, or raises if it is not there."""
        stored = self.stored()
        if stored and "0" not in store:
            raise ValueError(
                "The file has no variables of the target. An older version of keras_hyper, before "
                "0.1, wrote them elsewhere. Load the file with that version, write an adapter "
                "with `save_adapter`, and read it with `load_adapter` in this version."
            )
        for i, variable in enumerate(stored):
            variable.assign(store[str(i)])


def quantization_modes(layers: Iterable[keras.Layer]) -> tuple[str | None, ...]:
    """Returns how each of some layers is quantized, None for one that is not."""
    return tuple(getattr(layer, "quantization_mode", None) for layer in layers)


def _is_of_lora(variable: keras.Variable) -> bool:
    return str(variable.name).startswith("lora_")
