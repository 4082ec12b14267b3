"""A scope in which variables have generated values, wherever a model reads them."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_hyper.kernels import Kernel


class ServingScope(keras.StatelessScope):
    """Gives generated values to all who read a variable, and collects what is assigned.

    A block may read the variable of another layer: tied embeddings are one example. It gets
    the generated weight if that is one for the batch. Per-sample weights raise.

    Args:
        variables: All variables that may be read or assigned.
        served: Path and kernel for each variable in whose place a weight is generated, by
            the `id` of the variable.
    """

    def __init__(
        self, variables: Sequence[keras.Variable], served: Mapping[int, tuple[str, Kernel]]
    ) -> None:
        # A scope inside another sees nothing of the outer one: it gets all values.
        pairs = [(v, v.value) for v in variables if id(v) not in served]
        super().__init__(pairs, collect_losses=True)
        self._served = served
        self._assigned: dict[int, keras.Variable] = {}

    def get_current_value(self, variable: Any) -> Any:
        """Returns the value of a variable, or raises if it differs between samples."""
        if id(variable) not in self._served:
            return super().get_current_value(variable)
        path, kernel = self._served[id(variable)]
        if kernel.batched:
            raise ValueError(
                f"The target reads its weight '{path}' outside of the layer that holds it, and "
                "that weight is generated for each sample. Leave it out with `include`, or pass a "
                "condition of shape (dim,)."
            )
        return ops.cast(kernel.materialize(), variable.dtype)

    def add_update(self, update: Any) -> None:
        """Collects an assignment."""
        variable, _ = update
        if id(variable) in self._served:
            raise ValueError(
                f"The target assigns to its weight '{self._served[id(variable)][0]}' when it is "
                "called, and that weight is generated. Leave it out with `include`."
            )
        self._assigned[id(variable)] = variable
        super().add_update(update)

    def commit(self) -> None:
        """Assigns outside of the scope what was assigned inside."""
        for variable in self._assigned.values():
            variable.assign(super().get_current_value(variable))
