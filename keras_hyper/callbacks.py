"""What a hypernetwork generates while it is trained, for TensorBoard."""

import collections
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import keras
import numpy as np

from keras_hyper.conditions import TaskEmbedding
from keras_hyper.inspect.gradients import loss_gradients
from keras_hyper.inspect.images import kernel_image
from keras_hyper.inspect.inventory import hyper_cells_of, hyper_variables
from keras_hyper.inspect.observing import observe
from keras_hyper.inspect.recording import WeightRecord
from keras_hyper.ops import as_array
from keras_hyper.typing import FilePath, Tensors
from keras_hyper.utils.checks import positive_int
from keras_hyper.utils.graph import walk
from keras_hyper.weights import find_weights

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter

_SATURATED = 0.99  # Relative to the largest value of tanh(c).
_FEW_ROWS = 4  # Maximum number of per-sample weights to draw.
_OF_HYPER_CELLS = ("embedding_", "scale_", "bias_embedding_", "bias_scale_")


class HyperTensorBoard(keras.callbacks.Callback):
    r"""Writes what a model generates to files that TensorBoard shows, once for an epoch.

    - `weights/LAYER/WEIGHT`: histogram of the generated weight, and its norm.
    - `kernels/LAYER/WEIGHT`: picture of it; of a convolution, a tile for each pair of an
      input and an output channel. Of weights for each sample, those of the first few.
    - `generators/NAME/norm`, `gradient_norm`: norm of the variables of a generator, and
      of the gradient of the loss by them. A recurrent layer counts as one, with the
      kernels, embeddings and scales of its hyper cell.
    - `recurrent/LAYER/scales/MATRIX`: histogram of the scales that a recurrent layer
      generates along sequences. `changes/MATRIX`: mean change of its weights from step to
      step. `saturation` and `saturated`: histogram of `tanh(c)`, and how much of it is
      beyond 0.99.

    The projector gets the embeddings of every generator, a point for each weight that it
    makes (or for each piece of it), and the table of every `TaskEmbedding`, when training
    ends.

    The model is called eagerly, as in inference, on the batch that is given, and changes in
    nothing. Works on every backend. Needs the package `tensorboardX`, and no TensorFlow:
    `pip install tensorboard tensorboardX pillow` (the extra `tensorboard`).

    Args:
        log_dir: A folder for the files; `tensorboard --logdir` of it, or of one above it, shows
            them.
        inputs: One batch of what the model takes, as `fit` takes it. None leaves out weights
            that depend on a condition, recurrent layers and gradients.
        targets: What the loss compares its outputs with, for the norms of gradients; None
            leaves these out.
        every: Epochs from one writing to the next.
        labels: For the projector, a dict from the name of a `TaskEmbedding` to a label for each
            task.

    Raises:
        ImportError: If `tensorboardX` is not installed.
        ValueError: If `every` is not positive, if `targets` come without `inputs`, or `labels`
            do not fit.

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
            raise ValueError(
                "`targets` need the `inputs` that they belong to. Received: inputs=None"
            )
        self.log_dir = pathlib.Path(log_dir)
        self.inputs = inputs
        self.targets = targets
        self.every = positive_int("every", every)
        self.labels = dict(labels or {})
        self._writer: SummaryWriter = None

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        """Opens the files."""
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise ImportError(
                "HyperTensorBoard needs the package tensorboardX: pip install tensorboardX pillow"
            ) from error
        self._check_labels()
        self._writer = SummaryWriter(str(self.log_dir))

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Writes what the model generates now."""
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
        gradients = {}
        if self.targets is not None:
            gradients = loss_gradients(self.model, self.inputs, self.targets)
        for name, variables in self._generators().items():
            arrays = [as_array(v) for v in variables]
            self._writer.add_scalar(f"generators/{name}/norm", _norm(arrays), epoch)
            found = [gradients[id(v)] for v in variables if id(v) in gradients]
            if found:
                self._writer.add_scalar(f"generators/{name}/gradient_norm", _norm(found), epoch)
        self._writer.flush()

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        """Writes the embeddings for the projector, and closes the files."""
        for name, (points, labels) in self._embeddings().items():
            self._writer.add_embedding(points, metadata=labels, tag=name)
        self._writer.close()
        self._writer = None

    def _write_record(self, tag: str, record: WeightRecord, epoch: int) -> None:
        for name, scales in record.scales.items():
            self._writer.add_histogram(f"{tag}/scales/{name}", as_array(scales), epoch)
        for name, changes in record.changes.items():
            # The first step has no step before it.
            mean = float(as_array(changes)[:, 1:].mean()) if changes.shape[1] > 1 else 0.0
            self._writer.add_scalar(f"{tag}/changes/{name}", mean, epoch)
        if record.saturation is not None:
            saturation = as_array(record.saturation)
            share = float((np.abs(saturation) > _SATURATED).mean())
            self._writer.add_histogram(f"{tag}/saturation", saturation, epoch)
            self._writer.add_scalar(f"{tag}/saturated", share, epoch)

    def _generators(self) -> dict[str, list[keras.Variable]]:
        """Returns the variables that generate, by the name of a generator or a recurrent layer."""
        names = self._names()
        generators = [found.weight.generator for found in find_weights(self.model)]
        found = {names[id(generator)]: generator.weights for generator in generators}
        for layer, cell in hyper_cells_of(self.model):
            found[layer] = [
                *hyper_variables(cell),
                *(v for v in cell.variables if v.name.startswith(_OF_HYPER_CELLS)),
            ]
        return {name: variables for name, variables in found.items() if variables}

    def _names(self) -> dict[int, str]:
        """Returns the names of generators by `id`, with a layer's where several have one."""
        generators = {id(x.weight.generator): x for x in reversed(find_weights(self.model))}
        names = {key: x.weight.generator.name for key, x in generators.items()}
        users = {key: x.names[0] for key, x in generators.items()}
        count = collections.Counter(names.values())
        return {
            key: name if count[name] == 1 else f"{users[key]}/{name}" for key, name in names.items()
        }

    def _task_embeddings(self) -> dict[str, TaskEmbedding]:
        return {x.name: x for x in walk(self.model) if isinstance(x, TaskEmbedding) and x.built}

    def _check_labels(self) -> None:
        tables = self._task_embeddings()
        for name, labels in self.labels.items():
            if name not in tables or len(labels) != tables[name].num_tasks:
                known = {n: table.num_tasks for n, table in tables.items()}
                raise ValueError(
                    "`labels` must have a label for each task of a TaskEmbedding. The model has "
                    f"these, with so many tasks: {known}. Received: {len(labels)} labels for "
                    f"{name!r}."
                )

    def _embeddings(self) -> dict[str, tuple[np.ndarray, list[str]]]:
        """Returns points with their labels, by name: of each generator, and each table of tasks."""
        found: dict[str, tuple[list[np.ndarray], list[str]]] = {}
        names = self._names()
        for each in find_weights(self.model):
            if each.weight.embedding is None:
                continue  # Its condition is the embedding.
            # Generators that make several shapes have embeddings of one width.
            points = as_array(each.weight.embedding)
            rows, labels = found.setdefault(names[id(each.weight.generator)], ([], []))
            rows.extend(points)
            pieces = ["/".join(each.names)] * len(points)
            labels += pieces if len(points) == 1 else [f"{n}/{i}" for i, n in enumerate(pieces)]
        for name, table in self._task_embeddings().items():
            points = as_array(table.embeddings)
            found[name] = list(points), list(map(str, self.labels.get(name, range(len(points)))))
        return {
            name: (np.stack(rows), labels)
            for name, (rows, labels) in found.items()
            if len(rows) > 1 and rows[0].size > 1  # A point alone, or on a line, is no map.
        }


def _norm(arrays: Sequence[np.ndarray]) -> float:
    return float(np.sqrt(sum(np.square(a, dtype="float64").sum() for a in arrays)))
