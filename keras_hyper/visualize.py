"""Pictures of generated weights, with matplotlib.

Every function draws into `axes`, or into a new figure, and returns the axes.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import keras
import numpy as np

from keras_hyper.conditions import TaskEmbedding
from keras_hyper.inspect.images import kernel_tiles
from keras_hyper.inspect.recording import WeightRecord
from keras_hyper.inspect.summary import check_built, inventory
from keras_hyper.ops import as_array
from keras_hyper.typing import Condition, Tensor
from keras_hyper.utils.checks import numeric, one_of, positive_int
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
    """Draws a generated weight: of a convolution, a tile for each pair of channels.

    Args:
        weight: A built layer, whose first generated weight is drawn, or an array.
        condition: For a conditioned layer, one condition of shape `(dim,)`.
        most: Maximum number of tiles, and of pixels along an axis of a matrix.
        axes: Where to draw.

    Raises:
        TypeError: If `weight` is neither a layer with a generated weight nor an array.
        ValueError: If the layer is not built, or needs a condition.

    Examples:
        >>> import keras, matplotlib
        >>> matplotlib.use("agg")
        >>> from keras_hyper import HyperConv2D, visualize
        >>> layer = HyperConv2D(8, 3)
        >>> layer.build((None, 16, 16, 4))
        >>> axes = visualize.kernels(layer)
        >>> axes.get_xlabel()
        'output channel'
    """
    if isinstance(weight, keras.layers.Layer):
        found = find_weights(weight)
        if not weight.built and hasattr(weight, "generated_weights"):
            raise ValueError(f"Layer '{weight.name}' is not built. Call it on inputs first.")
        if not found:
            raise TypeError(
                "`weight` must be a built layer with a generated weight, or an array. Received: "
                f"weight={weight!r} (of type {type(weight).__name__})"
            )
        if condition is not None and len(np.shape(condition)) != 1:
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
    """Draws a text, and above each token the change of the weights of every gate there.

    After figure 4 of Ha, Dai & Le, "HyperNetworks", ICLR 2017. Dark is a large change, relative
    to the largest one of the gate.

    Args:
        record: What `record_weights` returned.
        tokens: A text, or strings, one for each step.
        matrix: `"recurrent_kernel"`, `"kernel"` or `"bias"`.
        sample: Index of the sequence in the record.
        width: Tokens in a line.
        axes: Where to draw.

    Raises:
        TypeError: If `record` is not a `WeightRecord`.
        ValueError: If the record has no such matrix or sample, or another number of steps.

    Examples:
        >>> import keras, matplotlib
        >>> matplotlib.use("agg")
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
            f"`record` is of {samples} sequences of {steps} steps. Received: sample={sample}, and "
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
    axes.set_title(f"change of {matrix}, as a share of the gate's largest", fontsize="medium")
    return axes


def saturation(records: Mapping[str, WeightRecord], axes: "Axes | None" = None) -> "Axes":
    """Draws histograms of `tanh(c)`, the memory of recurrent layers.

    After figure 5 of Ha, Dai & Le, "HyperNetworks", ICLR 2017.

    Args:
        records: What `record_weights` returned, by the name to show.
        axes: Where to draw.

    Raises:
        TypeError: If `records` is not a dict of `WeightRecord`.
        ValueError: If a record is of a layer without a memory `c`.

    Examples:
        >>> import keras, matplotlib
        >>> matplotlib.use("agg")
        >>> from keras_hyper import HyperLSTM, record_weights, visualize
        >>> layer = HyperLSTM(8, hyper_units=4)
        >>> x = keras.random.normal((1, 11, 3))
        >>> y = layer(x)
        >>> axes = visualize.saturation({"HyperLSTM": record_weights(layer, x)})
    """
    if not isinstance(records, Mapping):
        raise TypeError(
            "`records` must be a dict from names to what `record_weights` returned. Received: "
            f"records={records!r} (of type {type(records).__name__})"
        )
    without = [name for name, x in records.items() if _check_record(x).saturation is None]
    if without or not records:
        raise ValueError(
            "`records` must be of layers with a memory `c`, such as HyperLSTM. Received: "
            f"{list(records)}, without one: {without}"
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
    """Draws embeddings in the plane of their two largest principal components.

    Args:
        points: A built `TaskEmbedding`, or an array of shape `(count, dim)`.
        labels: One for each point. None numbers them.
        axes: Where to draw.

    Raises:
        ValueError: If there are not two points of two numbers, or not as many labels.

    Examples:
        >>> import matplotlib
        >>> matplotlib.use("agg")
        >>> from keras_hyper import TaskEmbedding, visualize
        >>> tasks = TaskEmbedding(num_tasks=3, dim=8)
        >>> vectors = tasks([0, 1, 2])
        >>> axes = visualize.embeddings(tasks, ["round", "square", "long"])
    """
    if isinstance(points, TaskEmbedding):
        points = points.embeddings
    array = np.zeros(0) if points is None else as_array(numeric("points", points))
    if array.ndim != 2 or min(array.shape) < 2:
        raise ValueError(
            "`points` must be a built TaskEmbedding, or an array of shape (count, dim), both 2 or "
            f"more. Received: {'None' if points is None else f'shape {array.shape}'}"
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
    """Draws which layer draws its weights from which generator.

    Args:
        model: A built model with generated weights.
        axes: Where to draw.

    Raises:
        ValueError: If the model has no generated weights, or is not built.

    Examples:
        >>> import keras, matplotlib
        >>> matplotlib.use("agg")
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
        raise ValueError(f"'{model.name}' has no generated weights.")
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
        raise TypeError(
            f"A record must be what `record_weights` returned. Received: {record!r} (of type "
            f"{type(record).__name__})"
        )
    return record


def _axes(axes: "Axes | None", size: tuple[float, float]) -> "Axes":
    if axes is not None:
        return axes
    advice = "keras_hyper.visualize needs matplotlib: pip install matplotlib"
    (plt,) = optional(advice, "matplotlib.pyplot")
    drawn: Axes = plt.subplots(figsize=size, layout="constrained")[1]
    return drawn
