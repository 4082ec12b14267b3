"""No operation of this package changes the model that it is given."""

import contextlib
import json
import pickle

import keras
import numpy as np
import pytest
from keras import layers

from export.models import CASES
from helpers import CAN_EXPORT, long_where_compiled, to_numpy
from keras_hyper import (
    HyperDense,
    HyperLSTM,
    Hypernetwork,
    LowRankGenerator,
    NoiseCondition,
    TaskEmbedding,
    bake,
    clone,
    export_saved_model,
    plan,
    record_weights,
    summary,
    visualize,
)
from keras_hyper.callbacks import HyperTensorBoard
from keras_hyper.export import export_file
from keras_hyper.rnn.recurrent_layer import RecurrentLayer
from keras_hyper.saving import save_model
from keras_hyper.utils.graph import walk


def computed_condition():
    x, c = keras.Input((5,), name="x"), keras.Input((3,), name="c")
    return keras.Model([x, c], HyperDense(3)(x, condition=layers.Dense(8)(c)))


def own_context():
    """A layer whose condition is made of its own inputs, called twice."""
    x, c = keras.Input((5,), name="x"), keras.Input((3,), name="c")
    context = layers.Dense(4, activation="tanh", name="context")(layers.Concatenate()([x, c]))
    layer = HyperDense(5, name="twice")
    return keras.Model([x, c], layer(layer(x, condition=context), condition=context) + x)


def nested():
    x, c = keras.Input((5,), name="x"), keras.Input((3,), name="c")
    inner = keras.Model([x, c], HyperDense(4)(x, condition=layers.Dense(2)(c)))
    a, b = keras.Input((5,), name="a"), keras.Input((3,), name="b")
    return keras.Model([a, b], layers.Dense(2)(inner([a, b]) + inner([2 * a, b])))


def part():
    """A functional model from inner tensors of a larger one."""
    x, c = keras.Input((5,), name="x"), keras.Input((3,), name="c")
    y, context = layers.Dense(4)(x), layers.Dense(2)(c)
    whole = keras.Model([x, c], HyperDense(3)(y, condition=context))
    part = keras.Model([y, context], whole.output)
    part.whole = lambda: whole  # Keep it alive, and out of sight.
    return part


def frozen():
    target = keras.Sequential([keras.Input((5,)), layers.Dense(4), layers.BatchNormalization()])
    target.layers[0].bias.trainable = False
    target.layers[1].trainable = False
    return Hypernetwork(
        target, LowRankGenerator(2), condition=3, include="*kernel", composition="add"
    )


def in_a_model():
    hyper = Hypernetwork(keras.Sequential([keras.Input((5,)), layers.Dense(3)]), condition=3)
    x, c = keras.Input((5,), name="x"), keras.Input((3,), name="c")
    return keras.Model([x, c], layers.Dense(2)(hyper(x, condition=c)))


def at_in_a_model():
    target = keras.Sequential([keras.Input((5,)), layers.Dense(3)])
    hyper = Hypernetwork(target, condition=TaskEmbedding(4, 3))
    x = keras.Input((5,), name="x")
    return keras.Model(x, [hyper.at(1)(x), hyper.at(2)(x)])


@keras.saving.register_keras_serializable("tests")
class Named(keras.Model):
    """A model of the user's, whose `call` has names of its own."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first, self.second = HyperDense(4), layers.Dense(2)
        self.first.trainable = False

    def build(self, images_shape):
        self.first.build(images_shape)
        self.second.build((*images_shape[:-1], 4))

    def call(self, images):
        return self.second(self.first(images))


def subclassed():
    model = Named()
    model(np.ones((2, 5), "float32"))
    return model


def over_subclassed():
    hyper = Hypernetwork(Named(), condition=3)
    hyper(np.ones((2, 5), "float32"), condition=np.ones((2, 3), "float32"))
    return hyper


def trained():
    x = keras.Input((None, 3), name="x")
    model = keras.Model(x, layers.Dropout(0.5)(HyperLSTM(4, hyper_units=2)(x)))
    model.compile("adam", "mse")
    model.fit(np.ones((2, 4, 3)), np.ones((2, 4)), verbose=0)
    return model


def quantized():
    """A model with quantized layers and half precision, that was trained."""
    x, c = keras.Input((5,), name="x"), keras.Input((3,), name="c")
    half = layers.Dense(4, dtype="mixed_bfloat16")(x)
    model = keras.Model([x, c], layers.Dense(2)(HyperDense(3)(half, condition=c)))
    model.layers[-1].quantize("int8")
    model.layers[-2].kernel_weight.generator.head.quantize("int8")
    model.layers[-1].trainable = False
    model.compile(keras.optimizers.Adam(use_ema=True), "mse", metrics=["mae"])
    model.fit([two(5), two(3)], np.ones((2, 2)), verbose=0)
    return model


def noisy():
    target = keras.Sequential([keras.Input((5,)), layers.Dense(3)])
    return Hypernetwork(target, condition=[TaskEmbedding(4, 3), NoiseCondition(2, seed=1)])


def two(*shape):
    return np.random.default_rng(3).normal(size=(2, *shape)).astype("float32")


PAIR = [two(5), two(3)]
TASK = {"inputs": two(5), "condition": np.array([1, 2], "int32")}


def inputs_of(case):
    inputs = CASES[case].inputs(np.random.default_rng(3), 2, 4)
    conditions = [inputs.pop(name) for name in list(inputs) if name.startswith("condition")]
    if conditions:
        return {"inputs": inputs["inputs"], "condition": conditions}
    return inputs if len(inputs) > 1 else next(iter(inputs.values()))


# A function that makes a model, and inputs for it.
KINDS = {
    **{case: (CASES[case].make, inputs_of(case)) for case in CASES},
    "computed condition": (computed_condition, PAIR),
    "own context": (own_context, PAIR),
    "nested": (nested, PAIR),
    "part of a larger graph": (part, [two(4), two(2)]),
    "frozen": (frozen, {"inputs": two(5), "condition": two(3)}),
    "hypernetwork in a model": (in_a_model, PAIR),
    "hypernetwork at tasks in a model": (at_in_a_model, two(5)),
    "subclassed": (subclassed, two(5)),
    "over a subclassed model": (over_subclassed, {"inputs": two(5), "condition": two(3)}),
    "trained": (trained, two(4, 3)),
    "quantized": (quantized, PAIR),
    "noise": (noisy, {"inputs": two(5), "condition": np.array([1, 2], "int32")}),
}


def over_hypernetworks(function):
    """Returns an operation on the hypernetworks in a model."""

    def operation(model, inputs, folder):
        for layer in walk(model):
            if isinstance(layer, Hypernetwork):
                condition = None
                if layer.condition is not None:
                    specs = layer.condition.value_specs()
                    values = [np.ones(spec.shape[1:], spec.dtype) for spec in specs]
                    condition = values[0] if len(values) == 1 else values
                function(layer, condition, folder)

    return operation


def files_of_a_hypernetwork(hyper, condition, folder):
    hyper.save_adapter(folder / "adapter.npz")
    hyper.load_adapter(folder / "adapter.npz")


def observed(model, inputs, folder):
    board = HyperTensorBoard(folder / "logs", inputs=inputs)
    board.set_model(model)
    board.on_train_begin()
    board.on_epoch_end(0)
    board.on_train_end()


def recorded(model, inputs, folder):
    for layer in walk(model):
        if isinstance(layer, RecurrentLayer):
            record_weights(layer, two(4, layer.cell.kernel.shape[0]))


def drawn_as_pictures(model, inputs, folder):
    visualize.sharing(model)


def exported(**kwargs):
    def operation(model, inputs, folder):
        signature = inputs_signature(model, inputs)
        export_saved_model(model, folder / "saved", input_signature=signature, **kwargs)

    return operation


def inputs_signature(model, inputs):
    return keras.Input(inputs.shape[1:]) if type(model) is Named else None


def exported_file(name, **kwargs):
    def operation(model, inputs, folder):
        signature = inputs_signature(model, inputs)
        export_file(model, folder / name, input_signature=signature, **kwargs)

    return operation


OPERATIONS = {
    "summary": lambda model, inputs, folder: summary(model, print_fn=str),
    "plan": lambda model, inputs, folder: plan(model, 10**6),
    "clone": lambda model, inputs, folder: clone(model),
    "bake": lambda model, inputs, folder: bake(model),
    "hyper.bake": over_hypernetworks(lambda hyper, condition, folder: hyper.bake(condition)),
    "hyper.at": over_hypernetworks(lambda hyper, condition, folder: hyper.at(condition)),
    "hyper.generate": over_hypernetworks(lambda hyper, condition, _: hyper.generate(condition)),
    "adapter": over_hypernetworks(files_of_a_hypernetwork),
    "observe": observed,
    "record": recorded,
    "pictures": drawn_as_pictures,
    "save_model": lambda model, inputs, folder: save_model(model, folder / "model.keras"),
}
if CAN_EXPORT:
    OPERATIONS |= {"export": exported(xla=False), "live": exported(xla=False, fold=False)}
if keras.backend.backend() == "tensorflow":
    OPERATIONS |= {
        "litert": exported_file("model.tflite", batch_size=2),
        "no endpoint": exported_file("model.tflite", endpoint="apply", batch_size=3),
    }


def training_state(model):
    """Returns what `compile` and `fit` leave behind."""
    trained = getattr(model, "optimizer", None)
    measured = [v for metric in model.metrics for v in metric.variables]
    return {
        "optimizer": trained and (id(trained), [to_numpy(v).tolist() for v in trained.variables]),
        "metrics": [(id(metric), metric.name) for metric in model.metrics],
        "values of metrics": [to_numpy(v).tolist() for v in measured],
        "compiled": model.compiled,
        "functions": [id(model.train_function), id(model.test_function)],
        "history": id(getattr(model, "history", None)),
        "policy of Keras": keras.config.dtype_policy().name,
    }


def snapshot(model):
    """Returns all that an operation must leave as it was."""
    every = [*walk(model)]
    every += [
        inner for layer in every if isinstance(layer, Hypernetwork) for inner in walk(layer.target)
    ]
    attributes = [(x.name, sorted(k for k in vars(x) if not k.startswith("_"))) for x in every]
    return {
        "config": json.dumps(model.get_config(), default=str),
        "layers": [x.path for x in every],
        "attributes": attributes,
        "inbound nodes": [len(x._inbound_nodes) for x in every],
        "outbound nodes": [len(x._outbound_nodes) for x in every],
        "trainable layers": [x.trainable for x in every],
        "variables": [v.path for v in model.variables],
        "trainable variables": [v.trainable for x in every for v in x.variables],
        "losses": len(model.losses),
        "dtype policies": [x.dtype_policy.get_config() for x in every],
        "dtypes": [str(v.dtype) for v in model.variables],
        "built": [x.built for x in every],
        "training": training_state(model),
    }


def values(model):
    # Drawing weights from noise moves the seeds on, as a call does.
    noise = any(isinstance(layer, NoiseCondition) for layer in walk(model))
    return [to_numpy(v) for v in (model.weights if noise else model.variables)]


def outputs(model, inputs):
    return [to_numpy(x) for x in keras.tree.flatten(model(inputs, training=False))]


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


QUICK = ("computed condition", "part of a larger graph", "at a task")


@pytest.mark.parametrize(
    "kind", [kind if kind in QUICK else long_where_compiled(kind) for kind in KINDS]
)
def test_operations_leave_a_model_as_it_was(kind, tmp_path):
    make, inputs = KINDS[kind]
    model = make()
    expected, before, weights = outputs(model, inputs), snapshot(model), values(model)
    for name, operation in OPERATIONS.items():
        # Some do not apply to the model. They must leave it as it was all the same.
        with contextlib.suppress(ValueError, TypeError, NotImplementedError):
            operation(model, inputs, tmp_path)
        after = snapshot(model)
        for aspect, value in before.items():
            assert after[aspect] == value, f"{name} changed: {aspect}"
        assert same(values(model), weights), f"{name} changed the weights"
    if kind != "noise":
        assert same(outputs(model, inputs), expected)
    model.save(tmp_path / "after.keras")
    for again in (
        keras.saving.load_model(tmp_path / "after.keras"),
        pickle.loads(pickle.dumps(model)),
        clone(model),
    ):
        again.set_weights(model.get_weights())
        for x, y in zip(outputs(again, inputs), outputs(model, inputs), strict=True):
            if kind != "noise":
                np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)
