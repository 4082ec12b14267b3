"""Which weights a model generates, from which generators, and what is stored for them."""

import dataclasses
import math
from collections.abc import Iterator

import keras

from keras_hyper.utils.graph import walk
from keras_hyper.weights import find_weights


@dataclasses.dataclass(frozen=True)
class WeightSummary:
    """The figures of one generated weight.

    Attributes:
        layer: Name of the layer.
        weight: Name of the weight in it.
        shape: Shape of the weight.
        generated: Number of its parameters: for one condition, or at one step of one sequence.
        base: Number of parameters of its stored base, with a composition.
        stored: Number of other parameters that are stored for it alone: its embedding,
            the projection of its condition, gates and gains.
        generator: Name of its generator.
        conditioned: Whether it depends on a condition. That of a recurrent layer is
            the state of its hyper cell.
        limits: Sentences that say why the generator does not fit it, with figures.
        every_step: What the hyper cell of a recurrent layer generates for it at every
            step. Empty for other weights.
    """

    layer: str
    weight: str
    shape: tuple[int, ...]
    generated: int
    base: int
    stored: int
    generator: str
    conditioned: bool
    limits: tuple[str, ...] = ()
    every_step: str = ""


@dataclasses.dataclass(frozen=True)
class GeneratorSummary:
    """The figures of one generator. The hyper cell of a recurrent layer counts as one.

    Attributes:
        name: Name of the generator.
        type: Name of its class.
        stored: Number of its parameters.
        layers: Names of the layers that use it.
    """

    name: str
    type: str
    stored: int
    layers: tuple[str, ...]


def inventory(
    model: keras.layers.Layer,
) -> tuple[list[tuple[WeightSummary, int]], dict[int, GeneratorSummary]]:
    """Returns each generated weight of a model with the key of its generator, and those by key."""
    rows = [*_weight_rows(model), *_cell_rows(model)]
    generators = {}
    for weight, maker, stored in rows:
        users = [other.layer for other, its, _ in rows if its is maker]
        generators[id(maker)] = GeneratorSummary(
            weight.generator, type(maker).__name__, stored, tuple(dict.fromkeys(users))
        )
    return [(weight, id(maker)) for weight, maker, _ in rows], generators


def hyper_cells_of(model: keras.layers.Layer) -> list[tuple[str, keras.layers.Layer]]:
    """Returns the built hyper cells of a model, with the names of the layers that run them."""
    cells: dict[int, tuple[str, keras.layers.Layer]] = {}
    for layer in walk(model):
        cell = getattr(layer, "cell", layer)
        if "hyper_h" in getattr(cell, "state_names", ()) and cell.built:
            cells.setdefault(id(cell), (layer.name, cell))
    return list(cells.values())


def hyper_variables(cell: keras.layers.Layer) -> list[keras.Variable]:
    """Returns the variables of the small recurrent cell inside a built cell."""
    norms = (getattr(cell, f"hyper_{name}_norm", None) for name in ("gate", "carry"))
    inside = [v for norm in norms if norm is not None for v in norm.weights]
    return [*(v for v in cell.weights if v.name.startswith("hyper_")), *inside]


# A weight, what generates it, and how many numbers that holds.
_Row = tuple[WeightSummary, keras.layers.Layer, int]


def _weight_rows(model: keras.layers.Layer) -> Iterator[_Row]:
    for found in find_weights(model):
        layer, name = found.names
        weight, generator = found.weight, found.weight.generator
        stored_base = weight.base is not None and not isinstance(weight.base, float)
        base = math.prod(weight.weight_shape) if stored_base else 0
        held = generator.count_params()
        row = WeightSummary(
            layer=layer,
            weight=name,
            shape=tuple(weight.weight_shape),
            generated=math.prod(weight.weight_shape),
            base=base,
            stored=weight.count_params() - held - base,
            generator=generator.name,
            conditioned=weight.conditioned,
            limits=tuple(weight.limits().values()),
        )
        yield row, generator, held


def _cell_rows(model: keras.layers.Layer) -> Iterator[_Row]:
    for layer, cell in hyper_cells_of(model):
        held = _count(*hyper_variables(cell))
        for name, rows, base, stored, change in _of_cell(cell):
            shape = (*rows, cell.gates * cell.units)
            weight = WeightSummary(
                layer=layer,
                weight=name,
                shape=shape,
                generated=math.prod(shape),
                base=base,
                stored=stored,
                generator=f"{layer}/hyper_cell",
                conditioned=True,
                every_step=change,
            )
            yield weight, cell, held


def _of_cell(
    cell: keras.layers.Layer,
) -> Iterator[tuple[str, tuple[int, ...], int, int, str]]:
    """Yields each weight of a cell that differs at every step.

    These are its name, the shape of its rows, how many numbers its base has and how many others
    are stored for it alone, and what is generated for it.
    """
    columns = cell.gates * cell.units
    # Half of the embeddings and scales belongs to each of the two matrices.
    half = _count(cell.embedding_kernel, cell.embedding_bias, cell.scale_kernel) // 2
    for name in ("kernel", "recurrent_kernel"):
        matrix = getattr(cell, name)
        size, rows = _count(matrix), (matrix.shape[0],)
        if cell.scaled:
            yield name, rows, size, half, f"a scale for each of the {columns} columns"
        else:
            change = f"{cell.copies} factors, for the sum of {cell.copies} stored matrices"
            yield name, rows, 0, half + size, change
    if cell.use_bias:
        stored = _count(cell.bias_embedding_kernel, cell.bias_scale_kernel)
        yield "bias", (), _count(cell.bias), stored, f"{columns} numbers, which are added"


def _count(*variables: keras.Variable | None) -> int:
    return sum(math.prod(v.shape) for v in variables if v is not None)
