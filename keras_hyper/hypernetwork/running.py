"""Running a target with generated weights."""

import functools
import inspect
from collections.abc import Mapping

import keras
from keras import ops

from keras_hyper.application import RowsError, WeightInjection, quantized_shapes
from keras_hyper.hypernetwork.selection import Parts
from keras_hyper.hypernetwork.target import TargetVariables, quantization_modes
from keras_hyper.hypernetwork.target_model import batched_tensors
from keras_hyper.kernels import Full, Kernel, grouped
from keras_hyper.ops.sample_axis import fold, unfold
from keras_hyper.typing import Tensor, Tensors
from keras_hyper.utils.graph import own_weights
from keras_hyper.weights import GeneratedWeight


class TargetRunner:
    """Runs a target with generated weights in its layers.

    Args:
        model: The target, built.
        variables: Its variables.
        parts: Its weights.
        weights: Those that are generated, by path.
        composition: How they are composed.
        seeds: Draws seeds for layers that are called once for each sample.
    """

    def __init__(
        self,
        model: keras.Layer,
        variables: TargetVariables,
        parts: Parts,
        weights: Mapping[str, GeneratedWeight],
        composition: str,
        seeds: keras.random.SeedGenerator,
    ) -> None:
        self._model = model
        self._variables = variables
        generated = [weight for weight in parts.included if weight.path in weights]
        self._owners = {weight.path: weight.layers[-1] for weight in generated}
        self._weights = weights
        self._composition = composition
        self.injection = WeightInjection(model, generated, parts.state, seeds)
        parameters = inspect.signature(model.call).parameters.values()
        self._takes_training = any(
            p.name == "training" or p.kind is p.VAR_KEYWORD for p in parameters
        )
        self._modes: tuple[str | None, ...] = ()
        self._added: set[str] = set()

    def added(self) -> set[str]:
        """Returns the paths of weights that are added to those of quantized layers.

        Their bases are dropped, which the layers hold in fewer bits.
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
        self,
        inputs: Tensors,
        kernels: Mapping[str, Kernel],
        task: Tensor,
        training: bool | None,
        sample_axis: bool,
    ) -> Tensors:
        """Returns the outputs of the target, with the state of a task if there is one.

        `sample_axis` is whether inputs and outputs have one.
        """
        state: dict[str, Kernel] = {}
        if task is not None:
            batched = len(task.shape) == 1
            state = {k: Full(v, batched) for k, v in self._variables.state_of(task).items()}
        count = None
        if sample_axis:
            inputs, count = fold(inputs)
            kernels, state = grouped(kernels, count), grouped(state, count)
        arguments = {"training": training} if self._takes_training else {}
        write = functools.partial(self._variables.write, task)
        samples = next((ops.shape(x)[0] for x in batched_tensors(inputs)), None)

        def run() -> Tensors:
            with self.injection.weights(kernels, state, write, self.added(), samples):
                return self._model(inputs, **arguments)

        folded = False
        try:
            outputs = run()
        except RowsError:
            # Windows or tokens may be folded into the batch.
            inference = {"training": False} if self._takes_training else {}
            folded = self.injection.find_folded(inputs, **inference)
            if not folded:
                raise
        outputs = run() if folded else outputs
        return outputs if count is None else unfold(outputs, count)
