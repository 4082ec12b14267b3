"""Plots of generated weights, with matplotlib.

Every function plots on `axes`, or on a new figure, and returns the axes.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import keras
import numpy as np

from keras_hyper.conditions import TaskEmbedding
from keras_hyper.inspect import WeightRecord
from keras_hyper.inspect.images import kernel_tiles
from keras_hyper.inspect.inventory import inventory
from keras_hyper.ops import as_array
from keras_hyper.typing import Condition, Tensor
from keras_hyper.utils.checks import check_built, numeric, one_of, positive_int, wrong_type
from keras_hyper.utils.optional import optional
from keras_hyper.weights import find_weights

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def kernels(
    weight: keras.layers.Layer | Tensor,
    condition: Condition = None,
    most: int = 64,
    axes: "Axes | None" = None,
) -> "Axes":
    """Plots a generated weight. A convolution kernel has a tile for each pair of channels.

    Args:
        weight: A built layer, whose first generated weight is plotted, or an array.
        condition: For a conditioned layer, one condition of shape `(dim,)`.
        most: Maximum number of tiles, and of pixels along each axis of a matrix.
        axes: Matplotlib axes. Defaults to a new figure.

    Raises:
        TypeError: If `weight` is neither a layer with a generated weight nor an array.
        ValueError: If the layer is not built, or the condition does not fit.

    Examples:
        >>> import keras
        >>> from keras_hyper import HyperConv2D, visualize
        >>> layer = HyperConv2D(8, 3)
        >>> layer.build((None, 16, 16, 4))
        >>> axes = visualize.kernels(layer)
        >>> axes.get_xlabel()
        'output channel'
    """
    if isinstance(weight, keras.layers.Layer):
        if hasattr(weight, "generated_weights"):
            check_built(weight)
        found = find_weights(weight)
        if not found:
            expected = "a built layer with a generated weight, or an array"
            raise wrong_type("weight", weight, expected)
        if condition is not None and np.ndim(condition) != 1:
            raise ValueError(
                "`condition` must be one condition of shape (dim,). Received: condition of shape "
                f"{np.shape(condition)}"
            )
        weight = found[0].weight(condition)
    array = as_array(numeric("weight", weight))
    if not 0 < array.ndim < 6:
        raise ValueError(
            f"`weight` must have one to five axes. Received: weight of shape {array.shape}"
        )
    tiles = kernel_tiles(array, positive_int("most", most))
    axes = _axes(axes, (6, 4))
    largest = float(np.nanmax(np.abs(tiles)))
    image = axes.imshow(tiles, cmap="RdBu", vmin=-largest, vmax=largest)
    axes.figure.colorbar(image, ax=axes, label="weight", shrink=0.8)
    if array.ndim < 3:
        axes.set(xlabel="output", ylabel="input")
        return axes
    axes.set(xlabel="output channel", ylabel="input channel")
    height, width = array.shape[-4:-2] if array.ndim > 3 else (array.shape[0], 1)
    for set_ticks, size, total in (
        (axes.set_xticks, width, tiles.shape[1]),
        (axes.set_yticks, height, tiles.shape[0]),
    ):
        count = (total + 1) // (size + 1)
        places = range(0, count, max(count // 8, 1))
        set_ticks([i * (size + 1) + (size - 1) / 2 for i in places], list(map(str, places)))
    return axes


def weight_changes(
    record: WeightRecord,
    tokens: Sequence[str],
    matrix: str = "recurrent_kernel",
    sample: int = 0,
    width: int = 80,
    axes: "Axes | None" = None,
) -> "Axes":
    """Plots a text, with the change of the weights of each gate above each token.

    Dark colors are large changes relative to the largest change of the gate, as in figure 4 of
    Ha, Dai & Le, "HyperNetworks", ICLR 2017.

    Args:
        record: Result of `record_weights`.
        tokens: A text, or one string for each step.
        matrix: `"recurrent_kernel"`, `"kernel"` or `"bias"`.
        sample: Index of the sequence in the record.
        width: Number of tokens in a line.
        axes: Matplotlib axes. Defaults to a new figure.

    Raises:
        TypeError: If `record` is not a `WeightRecord`.
        ValueError: If the record has no such matrix or sample, or a different number of steps.

    Examples:
        >>> import keras
        >>> from keras_hyper import HyperLSTM, record_weights, visualize
        >>> layer = HyperLSTM(8, hyper_units=4)
        >>> x = keras.random.normal((1, 11, 3))
        >>> y = layer(x)
        >>> axes = visualize.weight_changes(record_weights(layer, x), "hello world")
    """
    _check_record(record)
    one_of("matrix", matrix, sorted(record.changes))
    samples, steps, gates = record.changes[matrix].shape
    if not 0 <= sample < samples or len(tokens) != steps:
        raise ValueError(
            f"`record` has {samples} sequences of {steps} steps. Received: sample={sample}, and "
            f"{len(tokens)} `tokens`."
        )
    changes = as_array(record.changes[matrix])[sample]
    changes = changes / np.maximum(changes.max(axis=0), 1e-12)
    width = min(positive_int("width", width), steps)
    lines, block = math.ceil(steps / width), gates + 2
    strip = np.full((lines * block - 1, width), np.nan)
    axes = _axes(axes, (0.14 * width + 1.5, 0.22 * len(strip) + 0.3))
    for step, token in enumerate(tokens):
        line, column = divmod(step, width)
        strip[line * block : line * block + gates, column] = changes[step]
        axes.text(column, line * block + gates, token, ha="center", va="center", family="monospace")
    axes.imshow(strip, aspect="auto", cmap="Greys", vmin=0, vmax=1)
    heights = [line * block + gate for line in range(lines) for gate in range(gates)]
    axes.set_yticks(heights, record.gate_names * lines)
    axes.set_xticks([])
    axes.spines[:].set_visible(False)
    axes.set_title(f"change of {matrix}, relative to the largest of the gate", fontsize="medium")
    return axes


def saturation(records: Mapping[str, WeightRecord], axes: "Axes | None" = None) -> "Axes":
    """Plots histograms of `tanh(c)`, the memory of recurrent layers.

    As figure 5 of Ha, Dai & Le, "HyperNetworks", ICLR 2017.

    Args:
        records: Dict from labels to results of `record_weights`.
        axes: Matplotlib axes. Defaults to a new figure.

    Raises:
        TypeError: If `records` is not a dict of `WeightRecord`.
        ValueError: If a record comes from a layer without a memory `c`.

    Examples:
        >>> import keras
        >>> from keras_hyper import HyperLSTM, record_weights, visualize
        >>> layer = HyperLSTM(8, hyper_units=4)
        >>> x = keras.random.normal((1, 11, 3))
        >>> y = layer(x)
        >>> axes = visualize.saturation({"HyperLSTM": record_weights(layer, x)})
    """
    if not isinstance(records, Mapping):
        raise wrong_type("records", records, "a dict of results of `record_weights`")
    without = [name for name, x in records.items() if _check_record(x).saturation is None]
    if without or not records:
        raise ValueError(
            "`records` must be of layers with a memory `c`, such as HyperLSTM. Received: "
            f"{list(records)}, without a memory: {without}"
        )
    axes = _axes(axes, (5, 3))
    edges = np.linspace(-1, 1, 41).tolist()
    for name, record in records.items():
        values = as_array(record.saturation).ravel()
        shares = np.full(values.size, 1 / values.size)
        axes.hist(values, edges, weights=shares, histtype="step", label=name)
    axes.set(xlabel="tanh(c)", ylabel="share of units and steps")
    axes.legend()
    return axes


def embeddings(
    points: TaskEmbedding | Tensor,
    labels: Sequence[object] | None = None,
    axes: "Axes | None" = None,
) -> "Axes":
    """Plots embeddings in the plane of their two largest principal components.

    Args:
        points: A built `TaskEmbedding`, or an array of shape `(count, dim)`.
        labels: One label for each point. Defaults to their indices.
        axes: Matplotlib axes. Defaults to a new figure.

    Raises:
        TypeError: If `points` is not numeric.
        ValueError: If `count` or `dim` is less than 2, the number of labels is not `count`, or the
            layer is not built.

    Examples:
        >>> from keras_hyper import TaskEmbedding, visualize
        >>> tasks = TaskEmbedding(num_tasks=3, dim=8)
        >>> vectors = tasks([0, 1, 2])
        >>> axes = visualize.embeddings(tasks, ["round", "square", "long"])
    """
    if isinstance(points, TaskEmbedding):
        check_built(points)
        points = points.embeddings
    array = as_array(numeric("points", points))
    if array.ndim != 2 or min(array.shape) < 2:
        raise ValueError(
            "`points` must be a built TaskEmbedding, or an array of shape (count, dim) with sizes "
            f"of at least 2. Received: points of shape {array.shape}"
        )
    labels = range(len(array)) if labels is None else labels
    if len(labels) != len(array):
        raise ValueError(f"There are {len(array)} points. Received: {len(labels)} `labels`.")
    left, sizes, _ = np.linalg.svd(array - array.mean(axis=0), full_matrices=False)
    places = left[:, :2] * sizes[:2]
    shares = np.square(sizes) / max(np.square(sizes).sum(), 1e-30)
    axes = _axes(axes, (5, 4))
    axes.scatter(*places.T)
    for label, place in zip(labels, places, strict=True):
        axes.annotate(str(label), place, xytext=(4, 4), textcoords="offset points")
    axes.set(
        xlabel=f"first component ({shares[0]:.0%} of the variance)",
        ylabel=f"second component ({shares[1]:.0%})",
    )
    axes.margins(0.15)
    return axes


def sharing(model: keras.Model, axes: "Axes | None" = None) -> "Axes":
    """Plots lines between generators and the layers that use them.

    Args:
        model: A built model with generated weights.
        axes: Matplotlib axes. Defaults to a new figure.

    Raises:
        ValueError: If the model has no generated weights, or is not built.

    Examples:
        >>> import keras
        >>> from keras_hyper import ChunkedGenerator, HyperDense, visualize
        >>> shared = ChunkedGenerator(16)
        >>> model = keras.Sequential([
        ...     keras.Input((8,)),
        ...     HyperDense(8, generator=shared),
        ...     HyperDense(4, generator=shared),
        ... ])
        >>> axes = visualize.sharing(model)
    """
    check_built(model)
    weights, generators = inventory(model)
    if not weights:
        raise ValueError(f"Model '{model.name}' has no generated weights.")
    rows = len(weights)
    axes = _axes(axes, (8, 0.6 * rows + 0.6))
    places = {
        key: (f"C{i}", rows * (i + 0.5) / len(generators)) for i, key in enumerate(generators)
    }
    for i, (weight, key) in enumerate(weights):
        color, height = places[key]
        shape = " x ".join(map(str, weight.shape))
        text = f"{weight.layer}, {weight.weight}\n{shape}: {weight.generated:,} generated"
        axes.plot([0, 1], [height, i + 0.5], color=color)
        axes.text(1.03, i + 0.5, text, va="center")
    for key, (color, height) in places.items():
        generator = generators[key]
        text = f"{generator.name} ({generator.type})\n{generator.stored:,} stored"
        axes.text(-0.03, height, text, va="center", ha="right", color=color)
    axes.set(xlim=(-1, 2), ylim=(rows, 0))
    axes.axis("off")
    return axes


def _check_record(record: WeightRecord) -> WeightRecord:
    if not isinstance(record, WeightRecord):
        raise wrong_type("record", record, "a result of `record_weights`")
    return record


def _axes(axes: "Axes | None", size: tuple[float, float]) -> "Axes":
    if axes is not None:
        return axes
    advice = "keras_hyper.visualize needs matplotlib: pip install matplotlib"
    (plt,) = optional(advice, "matplotlib.pyplot")
    drawn: Axes = plt.subplots(figsize=size, layout="constrained")[1]
    return drawn
