"""Running a target with generated weights."""

import functools
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING

from keras import ops

from keras_hyper.application import RowsError, WeightInjection, quantized_shapes
from keras_hyper.hypernetwork.selection import Parts
from keras_hyper.hypernetwork.target import quantization_modes
from keras_hyper.hypernetwork.target_model import batched_tensors
from keras_hyper.kernels import Full, Kernel, grouped
from keras_hyper.ops.sample_axis import fold, unfold
from keras_hyper.typing import Tensor, Tensors
from keras_hyper.utils.graph import own_weights

if TYPE_CHECKING:
    from keras_hyper.hypernetwork.generating_model import GeneratingModel


class TargetRunner:
    """Runs the target of a model with generated weights in its layers.

    Args:
        model: The model, with its generated weights and the variables of its target.
        parts: The weights of the target.
    """

    def __init__(self, model: "GeneratingModel", parts: Parts) -> None:
        self._target = model.target
        self._sample_axis = model.sample_axis
        self._composition = model.composition
        self._variables = model.target_variables
        self._weights = model.generated_weights
        generated = [weight for weight in parts.included if weight.path in self._weights]
        self._owners = {weight.path: weight.layers[-1] for weight in generated}
        self.injection = WeightInjection(self._target, generated, parts.state, model.sample_seeds)
        parameters = inspect.signature(self._target.call).parameters.values()
        self._takes_training = any(
            p.name == "training" or p.kind is p.VAR_KEYWORD for p in parameters
        )
        self._modes: tuple[str | None, ...] = ()
        self._added: set[str] = set()

    def added(self) -> set[str]:
        """Returns the paths of generated weights that are added to quantized weights.

        Drops the bases of these weights, since the layers hold them in fewer bits.
        """
        modes = quantization_modes(self._owners.values())
        if modes != self._modes:
            self._added = {path for path in self._weights if self._is_added(path)}
            self._modes = modes
        return self._added

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
            self._variables.generated[path] = own_weights(owner)[name]
        return True

    def run(
        self, inputs: Tensors, kernels: Mapping[str, Kernel], task: Tensor, training: bool | None
    ) -> Tensors:
        """Returns the outputs of the target, with the state of a task if `task` is given."""
        state: dict[str, Kernel] = {}
        if task is not None:
            batched = len(task.shape) == 1
            state = {k: Full(v, batched) for k, v in self._variables.state_of(task).items()}
        count = None
        if self._sample_axis:
            inputs, count = fold(inputs)
            kernels, state = grouped(kernels, count), grouped(state, count)
        arguments = {"training": training} if self._takes_training else {}
        write = functools.partial(self._variables.write, task)
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
