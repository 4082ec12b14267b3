"""Choice of a generator for the weights of a model within a parameter budget."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Sequence

import keras

from keras_hyper.application import axes_of
from keras_hyper.generators import (
    ChunkedGenerator,
    DirectGenerator,
    Generator,
    LowRankGenerator,
    TiledKernelGenerator,
)
from keras_hyper.generators.tiled import kernel_rank, tile_sides, tiles_stored
from keras_hyper.hypernetwork.selection import Include, as_include, divide, initialization_of
from keras_hyper.kernels import as_shape
from keras_hyper.typing import DType
from keras_hyper.utils.checks import one_of, positive_int
from keras_hyper.utils.graph import NamedWeight
from keras_hyper.weights import as_composition
from keras_hyper.weights.checks import as_unit_axes

# Embeddings of chunks get this width if possible. From one component, an MLP hardly generates
# chunks of the rank of its hidden layer.
_ENOUGH = 8
# The range of hidden layers of a default generator. Each generated parameter costs as many
# multiplications. Of a few units, some would be zero for every embedding, and stay zero.
_NARROWEST, _WIDEST = 16, 64
_WIDTHS = (1, 2, 4, 8, 16, 32, 64)  # A condition needs at least 2.


@dataclasses.dataclass(frozen=True)
class Plan:
    """A generator for the weights of a model, and its cost.

    Attributes:
        generator: The generator, for the argument `generator` of `Hypernetwork`.
        weights: Number of generated weights.
        generated: Number of parameters in the generated weights.
        stored: Number of parameters stored instead: those of the generator, embeddings,
            projections of a condition, and gates. Bases of a composition are not counted.
        budget: The budget for `stored`.
    """

    generator: Generator
    weights: int
    generated: int
    stored: int
    budget: int

    def __str__(self) -> str:
        config = self.generator.get_config()
        names = ("chunk_size", "hidden_units", "tile", "rank", "embedding_dim")
        chosen = ", ".join(f"{name}={config[name]}" for name in names if name in config)
        return (
            f"{type(self.generator).__name__}({chosen}) generates {self.generated:,} parameters "
            f"of {self.weights} weights from {self.stored:,}, within {self.budget:,}"
        )


@dataclasses.dataclass(frozen=True)
class _Choice:
    """A possible generator, the number of stored parameters, and its expressiveness."""

    make: Callable[..., Generator]
    stored: int
    rank: float
    embedding_dim: int
    hidden: int = 0


def plan(
    target: keras.Model,
    budget: int,
    include: Include = "*",
    condition_dim: int | None = None,
    kind: str = "chunked",
    composition: str = "replace",
) -> Plan:
    """Proposes a generator for the weights of a model within a parameter budget.

    Among the generators that fit, `plan` prefers the highest rank of generated weights, then the
    widest embeddings, then the fewest stored parameters. The rank is that of the matrix of all
    chunks for `"chunked"`, otherwise that of the kernels. Embeddings of chunks have at least 8
    components if any such generator fits.

    Args:
        target: A built Keras model.
        budget: Integer, maximum number of stored parameters of the generated weights.
        include: Weights to generate. See `Hypernetwork`.
        condition_dim: Integer, width of the condition. None for no condition.
        kind: `"chunked"`, for weights of any shape; `"tiled"`, for kernels with the same spatial
            size; or `"low_rank"`, with a generator for each weight.
        composition: See `Hypernetwork`.

    Returns:
        A `Plan` with the generator. `print` shows the choice.

    Raises:
        ValueError: If no generator fits the budget (the message has the smallest possible budget),
            if the model is not built, or if tiles cannot make one of the weights.

    Examples:
        >>> import keras
        >>> from keras_hyper import Hypernetwork, plan
        >>> target = keras.Sequential([
        ...     keras.Input((64,)),
        ...     keras.layers.Dense(64),
        ...     keras.layers.Dense(64),
        ... ])
        >>> chosen = plan(target, budget=2_000)
        >>> print(chosen)
        ChunkedGenerator(chunk_size=74, hidden_units=(12,), embedding_dim=8) generates 8,320
        parameters of 4 weights from 1,984, within 2,000
        >>> hyper = Hypernetwork(target, generator=chosen.generator)
    """
    budget = positive_int("budget", budget)
    if condition_dim is not None:
        condition_dim = positive_int("condition_dim", condition_dim)
    kind = one_of("kind", kind, list(_KINDS))
    as_composition(composition)
    if not isinstance(target, keras.Model) or not target.built:
        raise ValueError(
            f"`target` must be a built Keras model. Received: target={target!r}. Call it on inputs "
            "first."
        )
    include = as_include(include)
    weights = divide(target, include, composition).included
    if not weights:
        raise ValueError(
            f"None of the weights of '{target.name}' can be generated with include={include!r} and "
            f"composition={composition!r}."
        )
    choices = list(_choices(kind, weights, composition, condition_dim))
    best = _best(choices, budget)
    if best is None:
        least = min(choice.stored for choice in choices)
        raise ValueError(
            f"No {kind} generator can generate these {len(weights)} weights "
            f"({_size(weights):,} parameters) from {budget:,} parameters. The smallest possible "
            f"budget is {least:,}."
        )
    return Plan(best.make(), len(weights), _size(weights), best.stored, budget)


def default_for(
    weights: Sequence[NamedWeight],
    composition: str,
    condition_dim: int | None,
    dtype: DType,
    name: str,
) -> Generator | None:
    """Returns the default generator of a `Hypernetwork`."""
    if not weights:
        return None
    every = _choices("chunked", weights, composition, condition_dim)
    choices = [choice for choice in every if choice.hidden <= _WIDEST]
    able = [c for c in choices if c.hidden >= _NARROWEST and c.embedding_dim >= _ENOUGH]
    best = _best(able, _size(weights) // 2)
    if best is None and condition_dim is None:
        # Ordinary variables, since no generator saves enough parameters.
        return DirectGenerator("native", dtype=dtype, name=name)
    best = best or min(able or choices, key=lambda choice: choice.stored)
    return best.make(dtype=dtype, name=name)


def _best(choices: Sequence[_Choice], budget: int) -> _Choice | None:
    def cost(choice: _Choice) -> tuple[float, ...]:
        enough = min(choice.embedding_dim, _ENOUGH) if choice.hidden else 0
        return -enough, -choice.rank, -choice.embedding_dim, choice.stored

    return min((c for c in choices if c.stored <= budget), key=cost, default=None)


def _size(weights: Sequence[NamedWeight]) -> int:
    return sum(math.prod(weight.shape) for weight in weights)


def _choices(
    kind: str, weights: Sequence[NamedWeight], composition: str, condition_dim: int | None
) -> Iterator[_Choice]:
    """Yields all possible generators of a kind."""
    shapes = [_generated_shape(weight, composition, kind == "low_rank") for weight in weights]
    gates = sum(composition != "replace" or initialization_of(w)[1] is not None for w in weights)
    for width in _WIDTHS if condition_dim is None else _WIDTHS[1:]:
        for choice in _KINDS[kind](shapes, width, condition_dim or 0):
            yield dataclasses.replace(choice, stored=choice.stored + gates)


def _generated_shape(weight: NamedWeight, composition: str, factors: bool) -> tuple[int, ...]:
    """Returns the shape that a generator makes for a weight."""
    shape, axes = weight.shape, range(len(weight.shape))
    rows, units = axes_of(weight.layers[-1], weight.variable.name)
    if composition == "scale":
        units = as_unit_axes(units, len(shape))
        return tuple(shape[axis] if axis in units else 1 for axis in axes)
    if not factors or rows is None:
        return shape
    return as_shape(shape, rows, [axis for axis in axes if axis not in rows])


def _chunked(
    shapes: Sequence[tuple[int, ...]], width: int, condition_dim: int
) -> Iterator[_Choice]:
    sizes = [math.prod(shape) for shape in shapes]
    for chunk in _steps(max(sizes)):
        chunks = sum(math.ceil(size / chunk) for size in sizes)
        own = chunks * width + len(sizes) * condition_dim * width
        # Without a condition, more units than chunks do not increase the rank of the matrix.
        for hidden in _steps(chunk if condition_dim else min(chunk, chunks)):
            generator = (width + 1) * hidden + (hidden + 1) * chunk
            make = functools.partial(ChunkedGenerator, chunk, (hidden,), embedding_dim=width)
            rank = min(hidden + 1, chunk, chunks)
            yield _Choice(make, generator + own, rank, width, hidden)


def _tiled(shapes: Sequence[tuple[int, ...]], width: int, condition_dim: int) -> Iterator[_Choice]:
    if len({shape[:-2] for shape in shapes}) > 1 or min(map(len, shapes)) < 2:
        raise ValueError(
            "kind='tiled' is for kernels with at least two axes and the same spatial size. "
            f"Received: weights of shapes {sorted(set(shapes))}. Select kernels with "
            "`include`, or use kind='chunked'."
        )
    spatial = shapes[0][:-2]
    for rows in tile_sides(max(shape[-2] for shape in shapes)):
        for columns in tile_sides(max(shape[-1] for shape in shapes)):
            tile = (*spatial, rows, columns)
            share = min(
                kernel_rank(tile, width, width, s) / min(s[-2], math.prod(s) // s[-2])
                for s in shapes
            )
            stored = tiles_stored(tile, width, shapes, condition_dim)
            make = functools.partial(TiledKernelGenerator, tile, width)
            yield _Choice(make, stored, share, width)


def _low_rank(
    shapes: Sequence[tuple[int, ...]], width: int, condition_dim: int
) -> Iterator[_Choice]:
    sides = [(math.prod(shape[:-1]), shape[-1] if shape else 1) for shape in shapes]
    for rank in _steps(max(min(pair) for pair in sides)):
        heads = sum((width + 1) * rank * (m + n) for m, n in sides)
        own = len(sides) * width * (1 + condition_dim)
        make = functools.partial(LowRankGenerator, rank, width)
        yield _Choice(make, heads + own, rank, width)


_KINDS = {"chunked": _chunked, "tiled": _tiled, "low_rank": _low_rank}


def _steps(most: int) -> list[int]:
    """Returns lengths up to `most`, each an eighth of a doubling above the last, or 1 above.

    From 128 on they are multiples of 16, for aligned products and slices.
    """
    steps = {1, most}
    length = 1.0
    while length < most:
        steps.add(round(length) if length < 128 else min(16 * round(length / 16), most))
        length = max(length + 1, length * 2**0.125)
    return sorted(steps)
