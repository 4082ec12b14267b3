"""Arguments of the recurrent cells and layers, and what is refused."""

import inspect

import keras
import numpy as np
import pytest

from keras_hyper import (
    HyperGRU,
    HyperGRUCell,
    HyperLSTM,
    HyperLSTMCell,
    Hypernetwork,
    HyperSimpleRNN,
    HyperSimpleRNNCell,
    LayerNormLSTM,
    LayerNormLSTMCell,
    bake,
)
from keras_hyper.initializers import OrthogonalPerGate

HYPER_CELLS = [HyperSimpleRNNCell, HyperLSTMCell, HyperGRUCell]
CELLS = [*HYPER_CELLS, LayerNormLSTMCell]
LAYERS = [HyperSimpleRNN, HyperLSTM, HyperGRU, LayerNormLSTM]
X = np.ones((2, 5, 3), "float32")


@pytest.mark.parametrize(
    ("layer", "stock"),
    [
        (HyperSimpleRNN, keras.layers.SimpleRNN),
        (HyperLSTM, keras.layers.LSTM),
        (HyperGRU, keras.layers.GRU),
        (LayerNormLSTM, keras.layers.LSTM),
    ],
)
def test_every_argument_of_the_stock_layer_is_taken(layer, stock):
    absent = {"self", "kwargs", "units"}
    # A simple RNN has no candidate, and a GRU only the form that resets after the product.
    absent |= {"recurrent_dropout"} if layer is HyperSimpleRNN else set()
    absent |= {"reset_after"} if layer is HyperGRU else set()
    defaults = {
        name: p.default
        for name, p in inspect.signature(stock.__init__).parameters.items()
        if name not in absent
    }
    assert layer(4, **defaults).units == 4


@pytest.mark.parametrize("cls", CELLS)
def test_every_argument_of_a_cell_is_in_its_configuration(cls):
    names = inspect.signature(cls.__init__).parameters.keys() - {"self", "kwargs"}
    assert sorted(cls.argument_names) == sorted(names)
    assert names <= cls(4).get_config().keys()


@pytest.mark.parametrize("cls", CELLS)
@pytest.mark.parametrize("units", [0, -3, 2.5, True, "4"])
def test_units_must_be_a_positive_integer(cls, units):
    with pytest.raises(ValueError, match="`units` must be a positive integer"):
        cls(units)


@pytest.mark.parametrize("cls", HYPER_CELLS)
@pytest.mark.parametrize("name", ["hyper_units", "embedding_dim"])
def test_sizes_must_be_positive_integers(cls, name):
    with pytest.raises(ValueError, match=f"`{name}` must be a positive integer"):
        cls(4, **{name: 0})


@pytest.mark.parametrize("cls", HYPER_CELLS)
def test_an_initialization_is_one_by_name(cls):
    with pytest.raises(ValueError, match=r"`initialization` must be one of 'paper'.*'zeros'"):
        cls(4, initialization="zeros")


@pytest.mark.parametrize("initialization", ["supercell", "distinct"])
def test_a_full_matrix_has_one_initialization(initialization):
    with pytest.raises(ValueError, match='`form="full"` has no scales'):
        HyperSimpleRNNCell(4, form="full", initialization=initialization)


def test_a_form_is_one_by_name():
    with pytest.raises(ValueError, match="`form` must be one of 'scaled', 'full'"):
        HyperSimpleRNNCell(4, form="half")


@pytest.mark.parametrize("cls", [HyperLSTMCell, HyperGRUCell, LayerNormLSTMCell])
@pytest.mark.parametrize(
    ("rate", "error"), [(1.0, ValueError), (-0.1, ValueError), ("a", TypeError)]
)
def test_a_rate_is_less_than_one(cls, rate, error):
    with pytest.raises(error, match="`recurrent_dropout` must be"):
        cls(4, recurrent_dropout=rate)


def test_what_only_the_layers_have_is_checked_there():
    assert HyperLSTM(4, dropout=np.float32(0.25)).dropout == 0.25
    with pytest.raises(ValueError, match="`dropout` must be at least 0"):
        HyperLSTM(4, dropout=1)
    with pytest.raises(ValueError, match="no cuDNN kernel for HyperLSTM"):
        HyperLSTM(4, use_cudnn=True)
    with pytest.raises(ValueError, match="Unrecognized keyword arguments.*no_such"):
        HyperLSTM(4, no_such=1)


@pytest.mark.parametrize("cls", CELLS)
def test_wrong_states_are_refused(cls):
    cell = cls(4)
    x, states = X[:, 0], cell.get_initial_state(2)
    cell(x, states)
    sizes = rf"needs {len(states)} states of shapes \(batch, 4\)"
    with pytest.raises(ValueError, match=sizes):
        cell(x, states[:-1])
    with pytest.raises(ValueError, match=sizes):
        cell(x, states[0])
    with pytest.raises(ValueError, match=sizes):
        cell(x, [*states[:-1], np.zeros((2, 9), "float32")])


@pytest.mark.parametrize("cls", LAYERS)
def test_wrong_inputs_and_states_of_a_layer_are_refused(cls):
    layer = cls(4)
    with pytest.raises(ValueError, match="expected ndim=3, found ndim=2"):
        layer(X[:, 0])
    layer(X)
    with pytest.raises(ValueError, match="expected axis -1 of input shape to have value 3"):
        layer(X[..., :2])
    with pytest.raises(ValueError, match="states of shapes"):
        layer(X, initial_state=[np.zeros((2, 5), "float32")])


@pytest.mark.parametrize("cls", CELLS)
def test_cells_refuse_inputs_of_unknown_width(cls):
    with pytest.raises(ValueError, match="with `features` known"):
        cls(4).build((None, None))
    with pytest.raises(ValueError, match=r"takes one time step of shape \(batch, features\)"):
        cls(4).build((None, 5, 3))


@pytest.mark.parametrize("cls", LAYERS)
def test_layers_refuse_inputs_of_unknown_width(cls):
    with pytest.raises(ValueError, match="Layer 'mine' takes sequences of shape"):
        cls(4, name="mine")(keras.Input((5, None)))


@pytest.mark.parametrize("cls", LAYERS)
def test_regularizers_and_constraints_act_on_the_stored_weights(cls):
    constraints = {
        "kernel": keras.constraints.MaxNorm(1.0),
        "recurrent": keras.constraints.NonNeg(),
        "bias": keras.constraints.MaxNorm(2.0),
    }
    layer = cls(
        4,
        use_bias=True,
        kernel_regularizer=keras.regularizers.L1(1.0),
        recurrent_regularizer=keras.regularizers.L2(1.0),
        bias_regularizer=keras.regularizers.L1(1.0),
        bias_initializer="ones",
        **{f"{name}_constraint": constraint for name, constraint in constraints.items()},
    )
    layer(X)
    cell = layer.cell
    kernel, recurrent = cell.kernel.numpy(), cell.recurrent_kernel.numpy()
    expected = np.abs(kernel).sum() + (recurrent**2).sum() + cell.bias.shape[0]
    np.testing.assert_allclose(float(sum(layer.losses)), expected, rtol=1e-5)
    weights = (cell.kernel, cell.recurrent_kernel, cell.bias)
    assert [w.constraint for w in weights] == list(constraints.values())


@pytest.mark.parametrize("cls", LAYERS)
def test_what_is_frozen_stays_frozen(cls, tmp_path):
    model = keras.Sequential([keras.Input((5, 3)), cls(4, trainable=False)])
    assert not model.trainable_variables
    model.layers[0].trainable = True
    assert len(model.trainable_variables) == len(model.layers[0].trainable_variables) > 0
    model.layers[0].trainable = False
    model.save(tmp_path / "model.keras")
    for again in (
        keras.models.load_model(tmp_path / "model.keras"),
        keras.models.clone_model(model),
    ):
        assert again.count_params() == model.count_params()
        assert not again.trainable_variables


@pytest.mark.parametrize("cls", [HyperLSTMCell, LayerNormLSTMCell])
def test_a_frozen_cell_has_frozen_norms(cls):
    cell = cls(4, layer_norm=True, trainable=False)
    cell.build((None, 3))
    assert not cell.trainable_variables
    assert not cell.gate_norm.trainable_variables


@pytest.mark.parametrize("cls", LAYERS)
def test_a_recurrent_network_cannot_be_baked(cls):
    model = keras.Sequential([keras.Input((5, 3)), cls(4)])
    with pytest.raises(ValueError, match=cls.__name__):
        bake(model)


def test_orthogonal_gates_are_drawn_apart():
    draw = OrthogonalPerGate(3, gain=2.0, seed=5)
    matrix = keras.ops.convert_to_numpy(draw((4, 12)))
    for gate in np.split(matrix, 3, axis=1):
        np.testing.assert_allclose(gate.T @ gate, 4 * np.eye(4), atol=1e-5)
    assert np.abs(matrix[:, :4] - matrix[:, 4:8]).max() > 0.1
    revived = OrthogonalPerGate.from_config(draw.get_config())
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(revived((4, 12))), matrix)
    for shape in [(4, 10), (2, 4, 12), (12,)]:
        with pytest.raises(ValueError, match="must hold 3 gates"):
            draw(shape)
    with pytest.raises(TypeError, match="`seed` must be None or an integer"):
        OrthogonalPerGate(3, seed="5")


def test_neighbouring_seeds_share_no_gate():
    one, two = (keras.ops.convert_to_numpy(OrthogonalPerGate(3, seed=s)((4, 12))) for s in (0, 1))
    for a in np.split(one, 3, axis=1):
        for b in np.split(two, 3, axis=1):
            assert np.abs(a - b).max() > 0.1


@pytest.mark.parametrize("cls", LAYERS)
def test_a_layer_has_the_arguments_of_its_cell_as_attributes(cls):
    layer = cls(4, activation="relu", use_bias=True)
    assert (layer.units, layer.use_bias) == (4, True)
    assert layer.activation is keras.activations.relu
    assert layer.kernel_initializer is layer.cell.kernel_initializer


@pytest.mark.parametrize("cls", LAYERS)
@pytest.mark.parametrize("dtype", ["int32", "bool"])
def test_integers_are_taken_as_keras_takes_them(cls, dtype):
    ids = np.eye(3)[None]
    layer = cls(4, dropout=0.0)
    expected = layer(ids.astype("float32"))
    outputs = layer(ids.astype(dtype))
    assert keras.backend.standardize_dtype(outputs.dtype) == "float32"
    difference = keras.ops.max(keras.ops.abs(outputs - expected))
    assert float(difference) < 1e-6
    keras.layers.RNN(cls.cell_class(4))(ids.astype(dtype))


@pytest.mark.parametrize(
    ("cls", "states", "gates"),
    [
        (HyperSimpleRNNCell, ["h", "hyper_h"], 1),
        (HyperLSTMCell, ["h", "c", "hyper_h", "hyper_c"], 4),
        (HyperGRUCell, ["h", "hyper_h"], 3),
        (LayerNormLSTMCell, ["h", "c"], 4),
    ],
)
def test_cells_name_their_states_and_gates(cls, states, gates):
    cell = cls(4)
    assert cell.state_names == states
    assert len(cell.state_size) == len(cell.get_initial_state(2)) == len(states)
    assert len(cell.gate_names) == cell.gates == gates
    cell.build((None, 3))
    assert cell.kernel.shape[1] == gates * 4


def test_the_baseline_has_a_bias_where_nothing_is_normalized():
    assert LayerNormLSTM(4).use_bias is False
    assert LayerNormLSTM(4, layer_norm=False).use_bias is True
    assert LayerNormLSTM(4, use_bias=True).use_bias is True


@pytest.mark.parametrize("cls", [*LAYERS, *CELLS])
def test_implementation_is_accepted_and_ignored(cls):
    layer = cls(4, implementation=1)
    assert "implementation" not in layer.get_config()


@pytest.mark.parametrize("cls", LAYERS)
def test_a_recurrent_layer_takes_no_condition(cls):
    condition = np.ones((2, 7), "float32")
    with pytest.raises(TypeError, match=r"takes no `condition`.*Concatenate.*Hypernetwork"):
        cls(4)(X, condition=condition)
    with pytest.raises(TypeError, match="takes no `condition`"):
        cls.cell_class(4)(X[:, 0], [condition], condition=condition)
    with pytest.raises(ValueError, match="take no condition"):
        cls(4)(X, condition)
    with pytest.raises(ValueError, match="and no condition"):
        keras.layers.RNN(cls.cell_class(4))([X, condition])


@pytest.mark.parametrize("cls", LAYERS)
def test_a_recurrent_layer_takes_one_tensor(cls):
    condition = np.ones((2, 7), "float32")
    states = cls.cell_class(4).get_initial_state(2)
    inputs = [
        ([X, condition], "a list of 2"),
        ((X, *states), f"a tuple of {1 + len(states)}"),
        ({"sequences": X, "condition": condition}, "a dict of 2"),
        ([keras.Input((5, 3)), keras.Input((7,))], "a list of 2"),
    ]
    for values, received in inputs:
        message = f"takes one tensor as inputs, and no `condition`.*{received}. Pass states as"
        with pytest.raises(ValueError, match=message):
            cls(4)(values)
        with pytest.raises(ValueError, match=message):
            cls(4)(sequences=values)
    with pytest.raises(ValueError, match=r"one tensor as inputs.*a list of 2"):
        cls.cell_class(4)([X[:, 0], condition], states)


def test_what_the_message_advises_works():
    condition = np.ones((2, 7), "float32")
    each_step = np.repeat(condition[:, None], 5, axis=1)
    assert HyperLSTM(4)(np.concatenate([X, each_step], axis=-1)).shape == (2, 4)
    hyper = Hypernetwork(keras.layers.LSTM(4), condition=7)
    assert hyper(X, condition=condition).shape == (2, 4)


@pytest.mark.parametrize("cls", LAYERS)
def test_a_mask_may_be_in_a_list(cls):
    mask = keras.ops.convert_to_tensor([[True] * 5, [True, True, False, False, False]])
    layer = cls(4)
    expected = keras.ops.convert_to_numpy(layer(X, mask=mask))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer(X, mask=[mask])), expected)
