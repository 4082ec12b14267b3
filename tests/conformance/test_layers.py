"""Properties that every layer has: configuration, building, shapes, precision."""

import json

import keras
import numpy as np
import pytest

from conformance.descriptors import CLASSES, CONDITIONS, FULL, LAYERS, MODELS, NOISE, ROWS, over
from helpers import JIT, TRUE_FLOAT64, compiled, gradients, to_numpy


@over(ROWS)
def test_config_round_trip(row):
    layer = row.make()
    config = layer.get_config()
    revived = type(layer).from_config(config)
    assert json.dumps(revived.get_config(), default=str) == json.dumps(config, default=str)


@over([*LAYERS, *CONDITIONS, NOISE, *MODELS])
def test_config_is_json(row):
    layer = row.make()
    config = keras.saving.serialize_keras_object(layer)
    revived = keras.saving.deserialize_keras_object(json.loads(json.dumps(config)))
    assert json.dumps(revived.get_config(), default=str) == json.dumps(
        layer.get_config(), default=str
    )


@over(FULL)
def test_attributes_exist_after_init_and_variables_after_build(row):
    layer = row.make()
    attributes = set(dir(layer))
    layer.build(**row.shapes())
    # The frameworks' own bookkeeping appears with the first variable.
    ours = {name for name in dir(layer) if not name.startswith(("_self_", "_torch_"))}
    assert ours <= attributes
    weights = [w.path for w in layer.weights]
    compiled(layer, layer)(**row.data(2))
    assert [w.path for w in layer.weights] == weights
    assert weights


@over(ROWS)
def test_symbolic_call_matches_real_call(row):
    layer = row.make()
    model = row.model(layer)
    for batch in (1, 3):
        data = row.data(batch)
        outputs = compiled(layer, layer)(data.pop(row.argument), **data)
        assert tuple(outputs.shape[1:]) == tuple(model.output.shape[1:])
        assert keras.backend.standardize_dtype(outputs.dtype) == model.output.dtype


@over(FULL)
def test_mixed_precision(row):
    check_policy(row, "mixed_bfloat16")


@over(CLASSES)
@pytest.mark.parametrize("policy", ["mixed_float16", "float64", "bfloat16"])
def test_other_policies(row, policy):
    check_policy(row, policy)


def check_policy(row, policy):
    reference = row.built()
    keras.config.set_dtype_policy(policy)
    layer = row.make()
    layer.build(**row.shapes())
    layer.set_weights(reference.get_weights())
    policy = keras.dtype_policies.get(policy)
    assert all(w.dtype == policy.variable_dtype for w in layer.weights)
    data = row.data(4)
    outputs = compiled(layer, layer)(**data)
    assert keras.backend.standardize_dtype(outputs.dtype) == policy.compute_dtype
    # Two to four roundings of the compute type between weights and outputs. Where
    # two generated factors are multiplied, both carry the rounding of one embedding,
    # and their products may cancel: twice that.
    tolerance = (
        row.rounding * {"float16": 4e-3, "bfloat16": 3e-2, "float64": 1e-6}[policy.compute_dtype]
    )
    expected = to_numpy(compiled(reference, reference)(**data))
    actual = to_numpy(keras.ops.cast(outputs, "float32"))
    assert np.abs(actual - expected).max() <= tolerance * np.abs(expected).max()


@over([*LAYERS, *MODELS])
def test_gradients_match_finite_differences(row):
    keras.config.set_dtype_policy("float64")
    keras.config.set_floatx("float64")
    layer = row.built()
    data = row.data(2, dtype="float64")
    shape = layer.compute_output_shape(**row.shapes(2))
    weights = keras.ops.convert_to_tensor(np.random.default_rng(1).normal(size=shape))

    def loss(*tensors):
        call = dict(zip(data, tensors, strict=True))
        return keras.ops.sum(layer(**call) * weights)

    tensors = list(data.values())
    # A gate that starts at zero lets no gradient through to the generator.
    for variable in layer.trainable_variables:
        if variable.name == "gate":
            variable.assign(0.7)
    floats = [i for i, t in enumerate(tensors) if t.dtype.kind == "f"]

    def loss_of(*chosen):
        every = dict(zip(floats, chosen, strict=True))
        return loss(*(every.get(i, t) for i, t in enumerate(tensors)))

    analytic = gradients(loss_of, layer, *(tensors[i] for i in floats))
    places = [*layer.trainable_variables, *floats]
    # A central difference with step h is wrong by h^2 from the third derivative
    # and by rounding / h: 1e-12 + 1e-10 in float64, 1e-6 + 1e-4 in float32.
    loss = compiled(loss, layer)
    step, tolerance = (1e-6, 1e-6) if TRUE_FLOAT64 and row.float64 else (1e-3, 2e-3)
    rng = np.random.default_rng(2)
    for place, gradient in zip(places, analytic, strict=True):
        direction = rng.normal(size=gradient.shape)
        values = []
        for sign in (1, -1):
            if isinstance(place, int):
                moved = list(tensors)
                moved[place] = tensors[place] + sign * step * direction
                values.append(float(to_numpy(loss(*moved))))
            else:
                value = place.numpy()
                place.assign(value + sign * step * direction)
                values.append(float(to_numpy(loss(*tensors))))
                place.assign(value)
        numeric = (values[0] - values[1]) / (2 * step)
        analytic_value = float((gradient * direction).sum())
        assert numeric == pytest.approx(analytic_value, rel=tolerance, abs=tolerance)


def check_fit(row, jit):
    model = row.model()
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse", jit_compile=jit)
    assert model.jit_compile is jit
    before = [v.numpy() for v in model.trainable_variables]
    data = row.data(6)
    targets = np.random.default_rng(3).normal(size=(6, *model.output.shape[1:]))
    # The last batch is smaller, unless that is a second program to compile.
    size = 3 if jit else 4
    history = model.fit(data, targets.astype("float32"), batch_size=size, epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    for variable, old in zip(model.trainable_variables, before, strict=True):
        assert np.abs(variable.numpy() - old).max() > 0, variable.path


@over([*LAYERS, *MODELS], long_variants=True)
def test_fit_trains_every_variable(row):
    """Compiled, on the backends that Keras compiles."""
    check_fit(row, jit=JIT)


# Every single operation is compiled for itself then on JAX.
WITHOUT_XLA = [r for r in CLASSES if keras.backend.backend() != "jax" or "dense" in r.name]


@pytest.mark.skipif(not JIT, reason="the test above is not compiled either")
@over(WITHOUT_XLA)
def test_fit_without_xla_trains_every_variable(row):
    check_fit(row, jit=False)


def check_predictions(row, jit):
    model = row.model()
    model.compile(jit_compile=jit)
    data = row.data(6)
    expected = to_numpy(compiled(model, model)(data))
    # In batches of five and of one.
    outputs = model.predict(data, batch_size=5, verbose=0)
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)


@over([*LAYERS, *MODELS], long_variants=True)
def test_predictions_agree_at_any_batch_size(row):
    """Compiled, on the backends that Keras compiles."""
    check_predictions(row, jit=JIT)


@pytest.mark.skipif(not JIT, reason="the test above is not compiled either")
@over(WITHOUT_XLA)
def test_predictions_without_xla_agree_at_any_batch_size(row):
    check_predictions(row, jit=False)


@over(FULL)
def test_samples_do_not_mix(row):
    layer = row.built()
    data = row.data(3)
    call = compiled(layer, layer)
    whole = to_numpy(call(**data))
    for b in range(3):
        alone = to_numpy(call(**{name: value[b : b + 1] for name, value in data.items()}))
        np.testing.assert_allclose(whole[b : b + 1], alone, rtol=1e-4, atol=1e-5)


@over([row for row in FULL if row.condition])
def test_a_condition_of_rank_1_is_one_weight_set_for_the_batch(row):
    layer = row.built()
    data = row.data(3)
    call = compiled(layer, layer)
    condition = data["condition"][0]
    shared = to_numpy(call(data["inputs"], condition=condition))
    repeated = to_numpy(call(data["inputs"], condition=np.stack([condition] * 3)))
    np.testing.assert_allclose(shared, repeated, rtol=1e-4, atol=1e-5)


@over([row for row in FULL if row.condition])
def test_a_bad_condition_harms_only_its_own_sample(row):
    layer = row.built()
    data = row.data(3)
    call = compiled(layer, layer)
    expected = to_numpy(call(**data))
    for bad in (np.nan, np.inf, 1e30):
        condition = data["condition"].copy()
        condition[1] = bad
        outputs = to_numpy(call(data["inputs"], condition=condition))
        np.testing.assert_allclose(outputs[[0, 2]], expected[[0, 2]], rtol=1e-4, atol=1e-5)
