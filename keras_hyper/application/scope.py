"""A scope in which variables have different values, wherever a model reads them."""

import contextlib
from collections.abc import Callable, Iterable, Iterator

import keras
from keras import ops

from keras_hyper.application.given import Given
from keras_hyper.typing import Tensor


class WeightScope(keras.StatelessScope):
    """Replaces the values of variables, and collects assignments and losses.

    A layer may read a variable of another layer, for example a tied embedding. The scope returns
    the given weight, but raises for per-sample weights. Other variables keep their values.

    Args:
        given: Values of variables.
        values: Values of other variables, as pairs.
    """

    def __init__(
        self, given: Iterable[Given], values: Iterable[tuple[keras.Variable, Tensor]] = ()
    ) -> None:
        super().__init__(list(values), collect_losses=True)
        self._given = {id(one.variable): one for one in given if not one.added}
        self._assigned: dict[int, keras.Variable] = {}

    def get_current_value(self, variable: keras.Variable) -> Tensor:
        """Returns the value of a variable. Raises if it differs between samples."""
        value, given = super().get_current_value(variable), self._given.get(id(variable))
        if value is None and given is not None:
            if given.kernel.batched:
                raise ValueError(
                    f"The target reads its weight '{given.path}' outside of the layer that holds "
                    "it, and the weight is generated for each sample. Exclude it with `include`, "
                    "or pass a condition of shape (dim,)."
                )
            return ops.cast(given.kernel.materialize(), variable.dtype)
        if value is None and self.original_scope is not None:
            return self.original_scope.get_current_value(variable)
        return value

    def add_update(self, update: tuple[keras.Variable, Tensor]) -> None:
        """Collects an assignment. Raises if the variable is a generated weight."""
        given = self._given.get(id(update[0]))
        if given is not None and not given.state:
            raise ValueError(
                f"The target assigns to its weight '{given.path}' when it is called, but the "
                "weight is generated. Exclude it with `include`."
            )
        self._assigned[id(update[0])] = update[0]
        super().add_update(update)

    def updates(self) -> list[tuple[keras.Variable, Tensor]]:
        """Returns the assigned variables and their new values."""
        return [(v, super(WeightScope, self).get_current_value(v)) for v in self._assigned.values()]


@contextlib.contextmanager
def serving(
    layer: keras.Layer,
    given: Iterable[Given] = (),
    values: Iterable[tuple[keras.Variable, Tensor]] = (),
    assign: Callable[[keras.Variable, Tensor], None] = keras.Variable.assign,
) -> Iterator[None]:
    """Runs a block in a `WeightScope`, then calls `assign` for each assignment of the block.

    The losses of the block become losses of `layer`.
    """
    with WeightScope(given, values) as scope:
        yield
    for variable, value in scope.updates():
        assign(variable, value)
    # Called on the class, because `add_loss` of a functional model raises.
    keras.Layer.add_loss(layer, scope.losses)
