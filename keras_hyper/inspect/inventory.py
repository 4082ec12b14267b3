"""The generated weights of a model, their generators, and the parameters stored for them."""

import dataclasses
import math
from collections.abc import Iterator

import keras

from keras_hyper.utils.graph import walk
from keras_hyper.weights import find_weights


@dataclasses.dataclass(frozen=True)
class WeightSummary:
    """Sizes of one generated weight.

    Attributes:
        layer: Name of the layer.
        weight: Name of the weight in the layer.
        shape: Shape of the weight.
        generated: Number of generated parameters, for one condition or one step of one sequence.
        base: Number of parameters of the stored base of a composition.
        stored: Number of parameters stored for this weight alone: its embedding, the projection
            of its condition, gates and gains.
        generator: Name of its generator.
        conditioned: Whether the weight depends on a condition. In recurrent layers, the condition
            is the state of the hyper cell.
        limits: Sentences that describe why the generator does not fit the weight.
        every_step: Description of the parameters that a hyper cell generates at every step, or
            an empty string outside of recurrent layers.
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
    """Size of one generator. The hyper cell of a recurrent layer counts as a generator.

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
    """Returns the generated weights with the keys of their generators, and the generators."""
    rows = [*_weight_rows(model), *_cell_rows(model)]
    generators = {}
    for weight, maker, stored in rows:
        users = dict.fromkeys(other.layer for other, its, _ in rows if its is maker)
        name, kind = weight.generator, type(maker).__name__
        generators[id(maker)] = GeneratorSummary(name, kind, stored, tuple(users))
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


# A weight, its generator, and the number of parameters of the generator.
_Row = tuple[WeightSummary, keras.layers.Layer, int]


def _weight_rows(model: keras.layers.Layer) -> Iterator[_Row]:
    for found in find_weights(model):
        weight, generator = found.weight, found.weight.generator
        shape, held = tuple(weight.weight_shape), generator.count_params()
        generated = math.prod(shape)
        base = 0 if weight.base is None or isinstance(weight.base, float) else generated
        stored = weight.count_params() - held - base
        name, conditioned, limits = generator.name, weight.conditioned, weight.limits().values()
        row = WeightSummary(
            *found.names, shape, generated, base, stored, name, conditioned, tuple(limits)
        )
        yield row, generator, held


def _cell_rows(model: keras.layers.Layer) -> Iterator[_Row]:
    for layer, cell in hyper_cells_of(model):
        columns = cell.gates * cell.units
        # Each of the two matrices has half of the embeddings and scales.
        half = _count(cell.embedding_kernel, cell.embedding_bias, cell.scale_kernel) // 2
        for name in ("kernel", "recurrent_kernel", "bias")[: 3 if cell.use_bias else 2]:
            variable = getattr(cell, name)
            shape = (*variable.shape[:-1], columns)
            base, stored = _count(variable), half
            change = f"a scale for each of the {columns} columns"
            if name == "bias":
                stored = _count(cell.bias_embedding_kernel, cell.bias_scale_kernel)
                change = f"{columns} added values"
            elif not cell.scaled:
                base, stored = 0, half + base
                change = f"{cell.copies} factors, for the sum of {cell.copies} stored matrices"
            generated, generator = math.prod(shape), f"{layer}/hyper_cell"
            row = WeightSummary(
                layer, name, shape, generated, base, stored, generator, True, every_step=change
            )
            yield row, cell, _count(*hyper_variables(cell))


def _count(*variables: keras.Variable | None) -> int:
    return sum(math.prod(v.shape) for v in variables if v is not None)
