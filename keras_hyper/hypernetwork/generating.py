"""Construction of the generated weights of a model, and their joint generation."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from keras import ops

from keras_hyper.application import axes_of
from keras_hyper.generators import Generator
from keras_hyper.generators.generator import initializer_key
from keras_hyper.hypernetwork.selection import Parts, generator_of, initialization_of, is_named
from keras_hyper.kernels import Full, Kernel
from keras_hyper.typing import Initializer, Tensor
from keras_hyper.utils.graph import NamedWeight
from keras_hyper.weights import GeneratedWeight, generated_part
from keras_hyper.weights.checks import as_unit_axes
from keras_hyper.weights.scopes import given, report

if TYPE_CHECKING:
    from keras_hyper.hypernetwork.generating_model import GeneratingModel

# Copies of generators, each with a key of the generator and the weights that it serves.
Copies = list[tuple[object, Generator]]


def make_weights(
    model: "GeneratingModel", parts: Parts, condition_dim: int | None
) -> tuple[dict[str, GeneratedWeight], dict[str, str]]:
    """Returns the built generated weights, and why the rest are not generated, by path.

    Raises:
        ValueError: If no weight can be generated, if a weight that the user named cannot, or if a
            pattern of `generator` matches nothing.
    """
    reasons, made = dict(parts.reasons), dict[str, GeneratedWeight]()
    used, copies = set[str](), Copies()
    for weight in parts.included:
        generator, pattern = generator_of(weight, model.generator)
        used.add(pattern)
        if generator is None:
            reasons[weight.path] = "no pattern of `generator` matches"
            continue
        try:
            made[weight.path] = _make(model, weight, generator, copies, condition_dim)
        except ValueError as error:
            if is_named(weight.path, model.include) or pattern == weight.path:
                raise ValueError(
                    f"Weight '{weight.path}' of shape {weight.shape} was named "
                    f"to be generated, and cannot be: {error}"
                ) from error
            reasons[weight.path] = str(error)
    unused = set(model.generator) - used if isinstance(model.generator, Mapping) else set()
    if unused:
        raise ValueError(
            f"`generator` has patterns that select no included weight: {sorted(unused)}. The "
            f"included weights are: {[w.path for w in parts.included]}"
        )
    if not made:
        listed = "\n".join(f"- {path}: {reason}" for path, reason in reasons.items())
        raise ValueError(f"No weight of the target can be generated:\n{listed}")
    for weight in parts.included:
        is_base = weight.path in made and made[weight.path].base is weight.variable
        if is_base and not model.base_trainable:
            weight.variable.trainable = False
    return made, reasons


def _make(
    model: "GeneratingModel",
    weight: NamedWeight,
    generator: Generator,
    copies: Copies,
    condition_dim: int | None,
) -> GeneratedWeight:
    initializer, start = initialization_of(weight)
    variable, replaced = weight.variable, model.composition == "replace"
    composition = "add" if replaced and start is not None else model.composition
    name = weight.path.replace("/", "_")
    input_axes, unit_axes = axes_of(weight.layers[-1], variable.name)
    unit_axes = as_unit_axes(unit_axes, len(weight.shape))
    if not generator.shape_free:
        part = generated_part(weight.shape, initializer, composition, unit_axes)
        shared = copies if model.share_generators else None
        generator = _copy_of(generator, name, *part, input_axes, shared)
    # The regularizer of a trainable base applies to the base alone.
    penalized = model.base_trainable and not replaced
    made = GeneratedWeight(
        generator,
        weight.shape,
        initializer,
        regularizer=None if penalized else variable.regularizer,
        composition=composition,
        base_trainable=model.base_trainable,
        unit_axes=unit_axes,
        input_axes=input_axes,
        project_condition=not model.condition_per_weight,
        dtype=model.dtype_policy,
        name=name,
    )
    if not generator.shape_free:
        # Built here, the variables of a copy have the path of the hypernetwork.
        generator.prepare(made.generated_shape, made.generated_initializer)
    if weight.logical_shape is not None:
        made.base_outside = True
    elif not replaced or start is variable:
        # Tracked by `base_trainable`, whatever is frozen now: the order in files is fixed.
        flag, variable.trainable = variable.trainable, model.base_trainable
        made.base = variable
        variable.trainable = flag
    elif isinstance(start, float):
        made.base = start
    elif start is not None:
        made.base = made.add_weight(
            name="base",
            shape=variable.shape,
            initializer=start,
            trainable=model.base_trainable,
        )
    made.build(None if condition_dim is None else (None, condition_dim))
    return made


def _copy_of(
    generator: Generator,
    name: str,
    shape: tuple[int, ...],
    initializer: Initializer,
    axes: Sequence[int] | None,
    shared: Copies | None,
) -> Generator:
    """Returns a copy of a generator that serves one shape, for one weight.

    With `shared`, weights with the same shape, native initializer and input axes share a copy.
    """
    key = None
    if shared is not None:
        native = initializer_key(generator.match_initializer(shape, initializer)[1])
        key = (id(generator), shape, axes if generator.factors else None, native)
        for other, copy in shared:
            if other == key:
                return copy
        name = "x".join(map(str, shape)) or "scalar"
        alike = sum(copy.name.startswith(f"{generator.name}_{name}") for _, copy in shared)
        name += f"_{alike}" if alike else ""
    config = {**generator.get_config(), "name": f"{generator.name}_{name}"}
    made: Generator = type(generator).from_config(config)
    if shared is not None:
        shared.append((key, made))
    return made


def generate(
    model: "GeneratingModel",
    vector: Tensor | None,
    training: bool | None,
    penalize: bool,
    adapted: Tensor | None,
) -> dict[str, Kernel]:
    """Returns the generated weights by path, with one call for each generator.

    Args:
        model: The model.
        vector: None, or the condition: a tensor of shape `(dim,)` or `(batch, dim)`; or, with
            `condition_per_weight`, `(weights, dim)` or `(batch, weights, dim)`.
        training: Boolean.
        penalize: Whether regularizers of conditioned weights add their losses.
        adapted: As returned by `JoinedCondition.adapted`.
    """
    weights = model.generated_weights
    vectors = dict.fromkeys(weights, vector)
    if model.condition_per_weight and vector is not None:  # None if all weights are given.
        vectors = dict(zip(weights, ops.unstack(vector, len(weights), axis=-2), strict=True))
    groups: dict[object, list[str]] = {}
    for path, weight in weights.items():
        alone = not weight.generator.shape_free or given(weight) is not None
        alone = alone or (penalize and weight.regularizer is not None)
        # The embeddings of a `DirectGenerator` differ in width.
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
