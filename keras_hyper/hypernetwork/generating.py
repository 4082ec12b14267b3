"""The generated weights of a model, and generating all of them."""

import dataclasses
from collections.abc import Hashable, Mapping, Sequence

from keras import ops

from keras_hyper.application import axes_of
from keras_hyper.generators import Generator
from keras_hyper.generators.generator import initializer_key
from keras_hyper.hypernetwork.selection import (
    Generators,
    Include,
    Parts,
    generator_of,
    initialization_of,
    is_named,
)
from keras_hyper.kernels import Full, Kernel
from keras_hyper.typing import DType, Initializer, Tensor
from keras_hyper.utils.graph import NamedWeight
from keras_hyper.weights import GeneratedWeight
from keras_hyper.weights.composition import generated_part
from keras_hyper.weights.scopes import given, report


@dataclasses.dataclass(frozen=True)
class Making:
    """How weights are generated: arguments of `Hypernetwork`, and the width of the condition."""

    generator: Generators
    width: int | None
    include: Include
    composition: str
    base_trainable: bool
    per_weight: bool
    share_generators: bool
    dtype: DType

    def make(self, parts: Parts) -> tuple[dict[str, GeneratedWeight], dict[str, str]]:
        """Returns a built `GeneratedWeight` for each weight that can be one, and why not, by path.

        Raises `ValueError` if a weight that is named, or all of them, cannot be generated, or if
        a pattern of `generator` matches nothing.
        """
        reasons, made = dict(parts.reasons), dict[str, GeneratedWeight]()
        used, copies = set[str](), _Copies(self.share_generators)
        for weight in parts.included:
            generator, pattern = generator_of(weight, self.generator)
            used.add(pattern)
            if generator is None:
                reasons[weight.path] = "no pattern of `generator` matches"
                continue
            try:
                made[weight.path] = self._made(weight, generator, copies)
            except ValueError as error:
                if is_named(weight.path, self.include) or pattern == weight.path:
                    raise ValueError(
                        f"Weight '{weight.path}' of shape {weight.shape} was named "
                        f"to be generated, and cannot be: {error}"
                    ) from error
                reasons[weight.path] = str(error)
        unused = set(self.generator) - used if isinstance(self.generator, Mapping) else set()
        if unused:
            raise ValueError(
                f"`generator` has patterns that no included weight goes by: {sorted(unused)}. The "
                f"weights are: {[w.path for w in parts.included]}"
            )
        if not made:
            listed = "\n".join(f"- {path}: {reason}" for path, reason in reasons.items())
            raise ValueError(f"No weight of the target can be generated:\n{listed}")
        for weight in parts.included:
            own = weight.path in made and made[weight.path].base is weight.variable
            if own and not self.base_trainable:
                weight.variable.trainable = False
        return made, reasons

    def _made(
        self, weight: NamedWeight, generator: Generator, copies: "_Copies"
    ) -> GeneratedWeight:
        initializer, start = initialization_of(weight)
        variable, replaced = weight.variable, self.composition == "replace"
        composition = "add" if replaced and start is not None else self.composition
        name = weight.path.replace("/", "_")
        input_axes, unit_axes = axes_of(weight.layers[-1], variable.name)
        if not generator.shape_free:
            part = generated_part(weight.shape, initializer, composition, unit_axes)
            generator = copies.of(generator, name, *part, input_axes)
        # A base that is trained is penalized itself.
        penalized = self.base_trainable and not replaced
        made = GeneratedWeight(
            generator,
            weight.shape,
            initializer,
            regularizer=None if penalized else variable.regularizer,
            composition=composition,
            base_trainable=self.base_trainable,
            unit_axes=unit_axes,
            input_axes=input_axes,
            project_condition=not self.per_weight,
            dtype=self.dtype,
            name=name,
        )
        if not generator.shape_free:
            # Built here, a copy has the path of the hypernetwork.
            generator.prepare(made.generated_shape, made.generated_initializer)
        if weight.logical_shape is not None:
            made.base_outside = True
        elif not replaced or start is variable:
            # Tracked by what was asked for, whatever is frozen now: files have one order then.
            flag, variable.trainable = variable.trainable, self.base_trainable
            made.base = variable
            variable.trainable = flag
        elif isinstance(start, float):
            made.base = start
        elif start is not None:
            made.base = made.add_weight(
                name="base",
                shape=variable.shape,
                initializer=start,
                trainable=self.base_trainable,
            )
        made.build(None if self.width is None else (None, self.width))
        return made


class _Copies:
    """The copies of generators that serve one shape: one for each weight, or for each shape."""

    def __init__(self, shared: bool) -> None:
        self._shared = shared
        self._made: list[tuple[Hashable, Generator]] = []

    def of(
        self,
        generator: Generator,
        name: str,
        shape: tuple[int, ...],
        start: Initializer,
        axes: Sequence[int] | None,
    ) -> Generator:
        """Returns the copy of a generator for a weight of a shape, initializer and input axes."""
        key = None
        if self._shared:
            native = initializer_key(generator.match_initializer(shape, start)[1])
            key = (id(generator), shape, axes if generator.factors else None, native)
            for other, copy in self._made:
                if other == key:
                    return copy
            name = "x".join(map(str, shape)) or "scalar"
            alike = sum(copy.name.startswith(f"{generator.name}_{name}") for _, copy in self._made)
            name += f"_{alike}" if alike else ""
        config = {**generator.get_config(), "name": f"{generator.name}_{name}"}
        made: Generator = type(generator).from_config(config)
        self._made.append((key, made))
        return made


def generate(
    weights: Mapping[str, GeneratedWeight],
    vector: Tensor | None,
    training: bool | None = None,
    penalize: bool = False,
    per_weight: bool = False,
    adapted: Tensor | None = None,
) -> dict[str, Kernel]:
    """Returns weights as kernels by path, those of one generator by one call of it.

    Args:
        weights: The weights by path.
        vector: The condition: None, or a tensor of shape `(dim,)` or `(batch, dim)`; with
            `per_weight`, `(weights, dim)` or `(batch, weights, dim)`.
        training: Boolean.
        penalize: Whether regularizers of conditioned weights add their losses.
        per_weight: Whether the condition has a row for each weight.
        adapted: None, or what `JoinedCondition.adapted` returns.
    """
    vectors = dict.fromkeys(weights, vector)
    if per_weight and vector is not None:  # Weights that are given need none.
        vectors = dict(zip(weights, ops.unstack(vector, len(weights), axis=-2), strict=True))
    groups: dict[Hashable, list[str]] = {}
    for path, weight in weights.items():
        alone = not weight.generator.shape_free or given(weight) is not None
        alone = alone or (penalize and weight.regularizer is not None)
        # Embeddings of one width: those of a `DirectGenerator` are as wide as their weights.
        width = weight.generator.embedding_shape(weight.generated_shape)[-1]
        groups.setdefault(path if alone else (id(weight.generator), width), []).append(path)
    kernels: dict[str, Kernel] = {}
    for group in groups.values():
        some, own = [weights[path] for path in group], [vectors[path] for path in group]
        if len(group) == 1:
            made = [some[0].kernel(own[0], training, penalize, adapted)]
        else:
            made = _together(some, own, training, adapted)
        kernels.update(zip(group, made, strict=True))
    return {path: kernels[path] for path in weights}


def _together(
    weights: Sequence[GeneratedWeight],
    vectors: Sequence[Tensor],
    training: bool | None,
    adapted: Tensor | None,
) -> list[Kernel]:
    generator = weights[0].generator
    embeddings = [weight.embed(vector) for weight, vector in zip(weights, vectors, strict=True)]
    axis = len(embeddings[0].shape) - 2
    pieces = generator.pieces(ops.concatenate(embeddings, axis=axis))
    kernels = []
    shapes = [weight.generated_shape for weight in weights]
    tensors = generator.assemble_all(pieces, shapes, axis)
    for weight, tensor in zip(weights, tensors, strict=True):
        made = Full(tensor, batched=bool(axis))
        kernels.append(weight.scale_and_compose(made, training, adapted))
        report(weight, kernels[-1])
    return kernels
