"""Choosing a generator for a whole model by the number of parameters it may store."""

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
from keras_hyper.generators.tiled import kernel_rank
from keras_hyper.hypernetwork.selection import Include, as_include, divide, initialization_of
from keras_hyper.kernels import as_shape
from keras_hyper.typing import DType
from keras_hyper.utils.checks import one_of, positive_int
from keras_hyper.utils.graph import NamedWeight
from keras_hyper.weights import as_composition

# A perceptron does not make chunks of the rank of its hidden layer from one number each.
_ENOUGH = 8
# The widest hidden layer of a generator that was not asked for. Each number that is
# generated costs as many multiplications.
_HIDDEN = 64
# And the narrowest: of a few units some are zero for every embedding, and stay so.
_LEAST = 16
_WIDTHS = (1, 2, 4, 8, 16, 32, 64)  # Of which 1 cannot carry a condition.


@dataclasses.dataclass(frozen=True)
class Plan:
    """A generator for the weights of a model, and what it costs.

    Attributes:
        generator: The generator, to be passed to `Hypernetwork`.
        weights: How many weights are generated.
        generated: How many numbers they have.
        stored: How many numbers are stored in their place: the generator,
            embeddings, projections of a condition and gates. Not the weights of
            the target that a composition changes.
        budget: How many were allowed.
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
            f"{type(self.generator).__name__}({chosen}) makes {self.generated:,} numbers of "
            f"{self.weights} weights from {self.stored:,}, within {self.budget:,}"
        )


@dataclasses.dataclass(frozen=True)
class _Choice:
    """A generator that could be made, what it stores, and how much it can express."""

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
    """Proposes a generator that makes the weights of a model within a budget.

    Of the generators that fit, those are taken that can make weights of the
    highest rank; of these, those with the widest embeddings; of these, the one
    that stores least. For chunks that is the rank of the matrix of all chunks,
    for tiles and low rank that of the kernels. Embeddings of chunks are 8 wide if that
    fits at all.

    Args:
        target: A built Keras model.
        budget: Integer, how many numbers may be stored for what is generated.
        include: Which weights are generated, as for `Hypernetwork`.
        condition_dim: Integer, width of the condition, None for none.
        kind: `"chunked"`, for weights of any shape; `"tiled"`, for kernels with
            the same spatial size; or `"low_rank"`, a generator for each weight.
        composition: As for `Hypernetwork`.

    Returns:
        A `Plan`, with the generator. As a string it says what was chosen.

    Raises:
        ValueError: If the budget is impossible: the message has the smallest one.
            If the model is not built, or tiles cannot make one of the weights.

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
        ChunkedGenerator(chunk_size=74, hidden_units=(12,), embedding_dim=8) makes 8,320
        numbers of 4 weights from 1,984, within 2,000
        >>> hyper = Hypernetwork(target, generator=chosen.generator)
    """
    budget = positive_int("budget", budget)
    if condition_dim is not None:
        condition_dim = positive_int("condition_dim", condition_dim)
    kind = one_of("kind", kind, list(_KINDS))
    as_composition(composition)
    if not isinstance(target, keras.Model) or not target.built:
        raise ValueError(
            f"`target` must be a Keras model that is built. Received: target={target!r}. Call it "
            "on inputs first."
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
            f"No {kind} generator makes these {len(weights)} weights "
            f"({_size(weights):,} numbers) from {budget:,} numbers. The smallest possible "
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
    """Returns what `generator=None` stands for: see `Hypernetwork`."""
    if not weights:
        return None
    every = _choices("chunked", weights, composition, condition_dim)
    choices = [choice for choice in every if choice.hidden <= _HIDDEN]
    able = [c for c in choices if c.hidden >= _LEAST and c.embedding_dim >= _ENOUGH]
    best = _best(able, _size(weights) // 2)
    if best is None and condition_dim is None:
        # Nothing that is worth its numbers: the weights are stored as they are.
        return DirectGenerator("native", dtype=dtype, name=name)
    best = best or min(able or choices, key=lambda choice: choice.stored)
    return best.make(dtype=dtype, name=name)


def _best(choices: Sequence[_Choice], budget: int) -> _Choice | None:
    fitting = [choice for choice in choices if choice.stored <= budget]

    def cost(choice: _Choice) -> tuple[float, ...]:
        enough = min(choice.embedding_dim, _ENOUGH) if choice.hidden else 0
        return -enough, -choice.rank, -choice.embedding_dim, choice.stored

    return min(fitting, key=cost, default=None)


def _size(weights: Sequence[NamedWeight]) -> int:
    return sum(math.prod(weight.shape) for weight in weights)


def _choices(
    kind: str, weights: Sequence[NamedWeight], composition: str, condition_dim: int | None
) -> Iterator[_Choice]:
    """Yields what could be made, with its exact cost."""
    shapes = [_generated_shape(weight, composition, kind == "low_rank") for weight in weights]
    gates = sum(composition != "replace" or initialization_of(w)[1] is not None for w in weights)
    widths = _WIDTHS if condition_dim is None else _WIDTHS[1:]
    for width in widths:
        for choice in _KINDS[kind](shapes, width, condition_dim or 0):
            yield dataclasses.replace(choice, stored=choice.stored + gates)


def _generated_shape(
    weight: NamedWeight, composition: str, factors: bool = False
) -> tuple[int, ...]:
    shape = weight.shape
    if composition == "scale":
        return (*(1,) * (len(shape) - 1), *shape[-1:])
    rows = axes_of(weight.layers[-1], weight.variable.name)[0] if factors else None
    if rows is None:
        return shape
    return as_shape(shape, rows, [axis for axis in range(len(shape)) if axis not in rows])


def _chunked(
    shapes: Sequence[tuple[int, ...]], width: int, condition_dim: int
) -> Iterator[_Choice]:
    sizes = [math.prod(shape) for shape in shapes]
    for chunk in _steps(max(sizes)):
        chunks = sum(math.ceil(size / chunk) for size in sizes)
        own = chunks * width + len(sizes) * condition_dim * width
        # Wider than this, the matrix of all chunks has no higher rank; those of many conditions
        # are more than the chunks of one.
        for hidden in _steps(chunk if condition_dim else min(chunk, chunks)):
            generator = (width + 1) * hidden + (hidden + 1) * chunk
            make = functools.partial(ChunkedGenerator, chunk, (hidden,), embedding_dim=width)
            rank = min(hidden + 1, chunk, chunks)
            yield _Choice(make, generator + own, rank, width, hidden)


def _tiled(shapes: Sequence[tuple[int, ...]], width: int, condition_dim: int) -> Iterator[_Choice]:
    spatial = {shape[:-2] for shape in shapes}
    if len(spatial) > 1 or min(map(len, shapes)) < 2:
        raise ValueError(
            "kind='tiled' is for kernels with the same spatial size, and none without two axes of "
            f"channels. Received: weights of shapes {sorted(set(shapes))}. Choose them with "
            "`include`, or use kind='chunked'."
        )
    area = math.prod(next(iter(spatial)))
    for rows in _powers(max(shape[-2] for shape in shapes)):
        for columns in _powers(max(shape[-1] for shape in shapes)):
            tile = (*next(iter(spatial)), rows, columns)
            tiles = sum(math.ceil(s[-2] / rows) * math.ceil(s[-1] / columns) for s in shapes)
            generator = (rows * width + area * columns) * (width + 1)
            share = min(
                kernel_rank(tile, width, width, s) / min(s[-2], math.prod(s) // s[-2])
                for s in shapes
            )
            stored = generator + tiles * width * (1 + condition_dim)
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


def _powers(most: int) -> list[int]:
    return sorted({*(2**k for k in range(most.bit_length())), most})


def _steps(most: int) -> list[int]:
    """Returns lengths up to `most`, each an eighth of a doubling above the last, or 1.

    From 128 on they are multiples of 16, for products and slices without copies.
    """
    steps = {1, most}
    length = 1.0
    while length < most:
        steps.add(round(length) if length < 128 else min(16 * round(length / 16), most))
        length = max(length + 1, length * 2**0.125)
    return sorted(steps)
