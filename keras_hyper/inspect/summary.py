"""Summaries of stored and generated parameters."""

import dataclasses
from collections.abc import Callable, Sequence

import keras

from keras_hyper.hypernetwork import Hypernetwork
from keras_hyper.inspect.inventory import GeneratorSummary, WeightSummary, inventory
from keras_hyper.utils.checks import check_built
from keras_hyper.utils.graph import walk


@dataclasses.dataclass(frozen=True)
class Summary:
    """Numbers of stored and generated parameters of a model.

    Attributes:
        weights: One entry for each generated weight.
        generators: One entry for each generator.
        generated: Number of generated parameters.
        stored: Number of stored parameters.
        kept: Number of parameters that hypernetworks in the model keep for past tasks.
        plain: Number of stored parameters if all weights were ordinary, without `kept`.
        ratio: `stored / plain`.
        ordinary: For a `Hypernetwork`, a dict from the path of each target weight that is not
            generated to the reason.
        mapped: For a `Hypernetwork` with a condition, names of the layers that are called once
            for each sample with per-sample weights. Their classes have no function from
            `register_application`.
    """

    weights: tuple[WeightSummary, ...]
    generators: tuple[GeneratorSummary, ...]
    generated: int
    stored: int
    kept: int
    plain: int
    ratio: float
    ordinary: dict[str, str]
    mapped: tuple[str, ...] = ()


def summary(model: keras.Model, print_fn: Callable[[str], object] | None = None) -> Summary:
    """Prints and returns how many parameters of a model are stored and generated.

    Args:
        model: A built model with hyper layers, or a built hyper layer.
        print_fn: Called with each line of the table. Defaults to `print`.

    Returns:
        A `Summary`.

    Raises:
        TypeError: If `model` is not a Keras layer or model.
        ValueError: If it is not built.

    Examples:
        >>> import keras
        >>> from keras_hyper import HyperDense, TiledKernelGenerator, summary
        >>> kernels = TiledKernelGenerator(tile=(16, 16), embedding_dim=4, name="kernels")
        >>> model = keras.Sequential([
        ...     keras.Input((64,)),
        ...     HyperDense(64, generator=kernels, name="first"),
        ...     HyperDense(64, generator=kernels, name="second"),
        ... ])
        >>> figures = summary(model)
        layer   weight  shape    generated  own  generator
        first   kernel  64 x 64      4,096   64  kernels
        second  kernel  64 x 64      4,096   64  kernels
        generator  type                  stored  used by
        kernels    TiledKernelGenerator     400  first, second
        first kernel, kernels does not fit: its rank, as a matrix of input channels by the rest,
        is at most 17 of 64
        second kernel, kernels does not fit: its rank, as a matrix of input channels by the rest,
        is at most 17 of 64
        generated weights: 8,192
        stored parameters: 656 (ordinary 128, generators 400, embeddings 128)
        the same model with ordinary weights: 8,320 (7.9% of it stored)
        >>> figures.stored, figures.generated
        (656, 8192)
    """
    check_built(model)
    rows, found = inventory(model)
    weights, generators = tuple(weight for weight, _ in rows), tuple(found.values())
    generated, stored = sum(w.generated for w in weights), model.count_params()
    hyper = sum(w.stored + w.base for w in weights) + sum(g.stored for g in generators)
    over = [layer for layer in walk(model) if isinstance(layer, Hypernetwork)]
    kept = sum(layer.past_tasks.count_params() for layer in over if layer.past_tasks is not None)
    plain = stored - hyper - kept + generated
    figures = Summary(
        weights=weights,
        generators=generators,
        generated=generated,
        stored=stored,
        kept=kept,
        plain=plain,
        ratio=stored / plain if plain else 1.0,
        ordinary={k: reason for layer in over for k, reason in layer.ordinary_reasons.items()},
        mapped=tuple(inner.name for layer in over for inner in layer.mapped_layers()),
    )
    for line in _lines(figures, "model" if isinstance(model, keras.Model) else "layer"):
        (print_fn or print)(line)
    return figures


def _lines(figures: Summary, kind: str) -> list[str]:
    weights = []
    for w in figures.weights:
        when = " (at every step)" if w.every_step else " (conditioned)" if w.conditioned else ""
        shape, counts = " x ".join(map(str, w.shape)), (f"{w.generated:,}", f"{w.stored:,}")
        weights.append((w.layer, w.weight, shape, *counts, w.generator + when))
    generators = [
        (g.name, g.type, f"{g.stored:,}", ", ".join(g.layers)) for g in figures.generators
    ]
    parts = {
        "generators": sum(g.stored for g in figures.generators),
        "embeddings": sum(w.stored for w in figures.weights),
        "bases": sum(w.base for w in figures.weights),
        "kept of tasks": figures.kept,
    }
    ordinary = figures.stored - sum(parts.values())
    shown = [f"{n} {x:,}" for n, x in parts.items() if x or n in ("generators", "embeddings")]
    stepwise = [w for w in figures.weights if w.every_step]
    at_steps = sum(w.generated for w in stepwise)
    return [
        *_table(("layer", "weight", "shape", "generated", "own", "generator"), weights, "<<<>><"),
        *_table(("generator", "type", "stored", "used by"), generators, "<<><"),
        *(f"{w.layer} {w.weight}, at every step: {w.every_step}" for w in stepwise),
        *(
            f"{w.layer} {w.weight}, {w.generator} does not fit: {limit}"
            for w in figures.weights
            for limit in w.limits
        ),
        *(f"{path} stays ordinary: {reason}" for path, reason in figures.ordinary.items()),
        *(
            f"{name} is called once for each sample with per-sample weights. Use "
            "`register_application` to call it on the whole batch."
            for name in figures.mapped
        ),
        f"generated weights: {figures.generated:,}"
        + (f" ({at_steps:,} of them at every step)" if at_steps else ""),
        f"stored parameters: {figures.stored:,} (ordinary {ordinary:,}, {', '.join(shown)})",
        f"the same {kind} with ordinary weights: {figures.plain:,} ({figures.ratio:.1%} of it "
        "stored)",
    ]


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], align: str) -> list[str]:
    """Returns the lines of a table with aligned columns, or an empty list without rows."""
    if not rows:
        return []
    columns = list(zip(head, *rows, strict=True))
    cells = [
        [f"{cell:{side}{max(map(len, column))}}" for cell in column]
        for side, column in zip(align, columns, strict=True)
    ]
    return ["  ".join(row).rstrip() for row in zip(*cells, strict=True)]
