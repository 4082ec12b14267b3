"""TensorBoard logs of the weights that a hypernetwork generates during training."""

import collections
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import keras
import numpy as np

from keras_hyper.conditions import TaskEmbedding
from keras_hyper.generators import Generator
from keras_hyper.inspect.gradients import loss_gradients
from keras_hyper.inspect.images import kernel_image
from keras_hyper.inspect.inventory import hyper_cells_of, hyper_variables
from keras_hyper.inspect.observing import observe
from keras_hyper.inspect.recording import WeightRecord
from keras_hyper.ops import as_array
from keras_hyper.typing import FilePath, Tensors
from keras_hyper.utils.checks import positive_int
from keras_hyper.utils.graph import walk
from keras_hyper.utils.optional import optional
from keras_hyper.weights import FoundWeight, find_weights

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter

_SATURATED = 0.99  # Relative to the largest value of tanh(c).
_FEW_ROWS = 4  # Maximum number of per-sample weights to draw.
_OF_HYPER_CELLS = ("embedding_", "scale_", "bias_embedding_", "bias_scale_")


class HyperTensorBoard(keras.callbacks.Callback):
    """Logs generated weights for TensorBoard, at the end of epochs.

    - `weights/LAYER/WEIGHT`: histogram and norm of a generated weight.
    - `kernels/LAYER/WEIGHT`: image of the weight. A convolution has a tile for each pair of an
      input and an output channel. Only the first few per-sample weights are drawn.
    - `generators/NAME/norm`, `gradient_norm`: norms of the variables of a generator and of their
      gradient. A recurrent layer counts as one generator, with the kernels, embeddings and
      scales of its hyper cell.
    - `recurrent/LAYER/scales/MATRIX`: histogram of the scales that a recurrent layer generates
      along sequences. `changes/MATRIX`: mean change of its weights from step to step.
      `saturation`, `saturated`: histogram of `tanh(c)`, and its share beyond 0.99.

    When training ends, the projector gets the embeddings of every generator, one point for each
    piece of a weight, and the table of every `TaskEmbedding`.

    The model is called eagerly, in inference, on one batch, and does not change. Works on every
    backend, without TensorFlow: `pip install tensorboard tensorboardX pillow`.

    Args:
        log_dir: Folder for the logs, as for `tensorboard --logdir`.
        inputs: One batch of inputs, as for `fit`. Without it, conditioned weights, recurrent
            layers and gradients are not logged.
        targets: The targets of the batch. Without them, gradients are not logged.
        every: Number of epochs between two logs.
        labels: Dict from the name of a `TaskEmbedding` to a label for each task, for the
            projector.

    Raises:
        ImportError: If `tensorboardX` is not installed.
        ValueError: If `every` is not positive, `targets` are passed without `inputs`, or `labels`
            do not fit the model.

    Examples:
        >>> import keras, tempfile
        >>> from keras_hyper import HyperDense
        >>> from keras_hyper.callbacks import HyperTensorBoard
        >>> x, y = keras.random.normal((64, 8)), keras.random.normal((64, 1))
        >>> model = keras.Sequential([keras.Input((8,)), HyperDense(16), HyperDense(1)])
        >>> model.compile("adam", "mse")
        >>> with tempfile.TemporaryDirectory() as logs:
        ...     board = HyperTensorBoard(logs, inputs=x[:16], targets=y[:16])
        ...     history = model.fit(x, y, epochs=2, verbose=0, callbacks=[board])
    """

    def __init__(
        self,
        log_dir: FilePath,
        inputs: Tensors = None,
        targets: Tensors = None,
        every: int = 1,
        labels: Mapping[str, Sequence[object]] | None = None,
    ) -> None:
        super().__init__()
        if targets is not None and inputs is None:
            raise ValueError("`targets` need the `inputs` of the same batch. Received: inputs=None")
        self.log_dir = pathlib.Path(log_dir)
        self.inputs = inputs
        self.targets = targets
        self.every = positive_int("every", every)
        self.labels = dict(labels or {})
        self._writer: SummaryWriter = None

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        """Opens the logs."""
        advice = "HyperTensorBoard needs the package tensorboardX: pip install tensorboardX pillow"
        (tensorboard,) = optional(advice, "tensorboardX")
        tasks = {name: table.num_tasks for name, table in self._task_embeddings().items()}
        for name, labels in self.labels.items():
            if tasks.get(name) != len(labels):
                raise ValueError(
                    "`labels` must have a label for each task of a TaskEmbedding. The model has "
                    f"these numbers of tasks: {tasks}. Received: {len(labels)} labels for {name!r}."
                )
        self._writer = tensorboard.SummaryWriter(str(self.log_dir))

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Logs the weights that the model generates now."""
        if epoch % self.every:
            return
        observed = observe(self.model, self.inputs)
        for name, weight in observed.weights.items():
            self._writer.add_histogram(f"weights/{name}", weight, epoch)
            self._writer.add_scalar(f"weights/{name}/norm", _norm([weight]), epoch)
            rows = weight[:_FEW_ROWS] if name in observed.batched else [weight]
            for i, row in enumerate(rows):
                tag = f"kernels/{name}" if len(rows) == 1 else f"kernels/{name}/{i}"
                if row.ndim > 1:
                    self._writer.add_image(tag, kernel_image(row), epoch, dataformats="HW")
        for name, record in observed.records.items():
            self._write_record(f"recurrent/{name}", record, epoch)
        known = self.targets is not None
        gradients = loss_gradients(self.model, self.inputs, self.targets) if known else {}
        for name, variables in self._generators().items():
            arrays = [as_array(v) for v in variables]
            self._writer.add_scalar(f"generators/{name}/norm", _norm(arrays), epoch)
            found = [gradients[id(v)] for v in variables if id(v) in gradients]
            if found:
                self._writer.add_scalar(f"generators/{name}/gradient_norm", _norm(found), epoch)
        self._writer.flush()

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        """Writes the embeddings for the projector, and closes the logs."""
        for name, (points, labels) in self._embeddings().items():
            self._writer.add_embedding(points, metadata=labels, tag=name)
        self._writer.close()
        self._writer = None

    def _write_record(self, tag: str, record: WeightRecord, epoch: int) -> None:
        for name, scales in record.scales.items():
            self._writer.add_histogram(f"{tag}/scales/{name}", as_array(scales), epoch)
        for name, changes in record.changes.items():
            # The first step changes nothing.
            mean = float(as_array(changes)[:, 1:].mean()) if changes.shape[1] > 1 else 0.0
            self._writer.add_scalar(f"{tag}/changes/{name}", mean, epoch)
        if record.saturation is not None:
            saturation = as_array(record.saturation)
            share = float((np.abs(saturation) > _SATURATED).mean())
            self._writer.add_histogram(f"{tag}/saturation", saturation, epoch)
            self._writer.add_scalar(f"{tag}/saturated", share, epoch)

    def _generators(self) -> dict[str, list[keras.Variable]]:
        """Returns the variables of generators and recurrent layers by their names."""
        found = {name: x.weight.generator.weights for x, name in self._names()}
        for layer, cell in hyper_cells_of(self.model):
            scales = [v for v in cell.variables if v.name.startswith(_OF_HYPER_CELLS)]
            found[layer] = [*hyper_variables(cell), *scales]
        return {name: variables for name, variables in found.items() if variables}

    def _names(self) -> list[tuple[FoundWeight, str]]:
        """Returns generated weights with unique names of their generators."""
        found = find_weights(self.model)
        first = {x.weight.generator: x for x in reversed(found)}
        count = collections.Counter(generator.name for generator in first)

        def name_of(generator: Generator) -> str:
            layer, name = first[generator].names[0], generator.name
            return name if count[name] == 1 else f"{layer}/{name}"

        return [(x, name_of(x.weight.generator)) for x in found]

    def _task_embeddings(self) -> dict[str, TaskEmbedding]:
        return {x.name: x for x in walk(self.model) if isinstance(x, TaskEmbedding) and x.built}

    def _embeddings(self) -> dict[str, tuple[np.ndarray, list[str]]]:
        """Returns the points and labels of each generator and each table of tasks."""
        points: dict[str, list[np.ndarray]] = collections.defaultdict(list)
        labels: dict[str, list[str]] = collections.defaultdict(list)
        for each, name in self._names():
            if each.weight.embedding is None:
                continue  # The condition is the embedding.
            rows, path = as_array(each.weight.embedding), "/".join(each.names)
            points[name].append(rows)
            labels[name] += [f"{path}/{i}" for i in range(len(rows))] if len(rows) > 1 else [path]
        for name, table in self._task_embeddings().items():
            points[name] = [as_array(table.embeddings)]
            labels[name] = list(map(str, self.labels.get(name, range(table.num_tasks))))
        joined = {name: np.concatenate(rows) for name, rows in points.items()}
        # The projector needs two points and two axes.
        return {name: (x, labels[name]) for name, x in joined.items() if min(x.shape) > 1}


def _norm(arrays: Sequence[np.ndarray]) -> float:
    return float(np.sqrt(sum(np.square(a, dtype="float64").sum() for a in arrays)))
