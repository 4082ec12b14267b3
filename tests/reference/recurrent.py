"""The recurrent equations in plain NumPy float64, for one sample and one step.

HyperNetworks: Ha, Dai & Le, ICLR 2017, section 3.2 and appendix A.2.2, with the
embeddings made from the *new* hyper state. Matrices are as in the paper: the output
is `W x`. Weights are a dict by the paper's names, those of gate `y` under `(name, y)`.
"""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def layer_norm(x, gamma, beta, epsilon=1e-3):
    return gamma * (x - x.mean()) / np.sqrt(x.var() + epsilon) + beta


def normalise(x, weights, name):
    """Layer norm where the weights have one by that name."""
    if ("gamma", name) not in weights:
        return x
    return layer_norm(x, weights["gamma", name], weights["beta", name])


def embeddings(w, hyper, y):
    """Equation (11): `z_h`, `z_x` and `z_b` of gate `y`."""
    z_h = w["E_h", y] @ hyper + w["e_h", y]
    z_x = w["E_x", y] @ hyper + w["e_x", y]
    return z_h, z_x, w["E_b", y] @ hyper


def scaled(w, y, hyper, h, x):
    """The two parts of the pre-activation of gate `y` in equation (12), before LN."""
    z_h, z_x, z_b = embeddings(w, hyper, y)
    d_h, d_x = w["S_h", y] @ z_h, w["S_x", y] @ z_x
    return d_h * (w["W_h", y] @ h), d_x * (w["W_x", y] @ x) + w["S_b", y] @ z_b + w["b", y]


def hyper_parts(w, y, h, x, hyper):
    """The two parts of the pre-activation of gate `y` of the hyper cell, equation (10)."""
    return w["R^", y] @ hyper, w["W^", y] @ np.concatenate([h, x]) + w["b^", y]


def lstm(parts, c, w, prefix, forget_bias=1.0, mask=1.0):
    """Equation (13) from the parts of `i, f, g, o`. Returns `[h', c']`."""
    i, f, g, o = (normalise(sum(parts[y]), w, prefix + y) for y in "ifgo")
    c = sigmoid(f + forget_bias) * c + sigmoid(i) * (mask * np.tanh(g))
    return [sigmoid(o) * np.tanh(normalise(c, w, prefix + "c")), c]


def hyper_lstm(w, x, states, masks=(1.0, 1.0)):
    h, c, hyper_h, hyper_c = states
    hyper_parts_of = {y: hyper_parts(w, y, h, x, hyper_h) for y in "ifgo"}
    hyper_h, hyper_c = lstm(hyper_parts_of, hyper_c, w, "^", mask=masks[1])
    parts = {y: scaled(w, y, hyper_h, h, x) for y in "ifgo"}
    return [*lstm(parts, c, w, "", mask=masks[0]), hyper_h, hyper_c]


def layer_norm_lstm(w, x, states, masks=(1.0,)):
    h, c = states
    parts = {y: (w["W_h", y] @ h, w["W_x", y] @ x + w["b", y]) for y in "ifgo"}
    return lstm(parts, c, w, "", mask=masks[0])


def gru(parts, h, mask=1.0):
    (z_h, z_x), (r_h, r_x), (g_h, g_x) = (parts[y] for y in "zrg")
    z, r = sigmoid(z_h + z_x), sigmoid(r_h + r_x)
    return z * h + (1 - z) * (mask * np.tanh(g_x + r * g_h))


def hyper_gru(w, x, states, masks=(1.0, 1.0)):
    h, hyper = states
    hyper = gru({y: hyper_parts(w, y, h, x, hyper) for y in "zrg"}, hyper, masks[1])
    return [gru({y: scaled(w, y, hyper, h, x) for y in "zrg"}, h, masks[0]), hyper]


def hyper_simple_rnn(w, x, states, masks=()):
    """Equations (6) and (8)."""
    h, hyper = states
    hyper = np.tanh(sum(hyper_parts(w, "h", h, x, hyper)))
    return [np.tanh(sum(scaled(w, "h", hyper, h, x))), hyper]


def full_hyper_simple_rnn(w, x, states, masks=()):
    """Equations (5) and (6): `W(z)` is a sum of matrices weighted by `z`."""
    h, hyper = states
    hyper = np.tanh(sum(hyper_parts(w, "h", h, x, hyper)))
    z_h, z_x, z_b = embeddings(w, hyper, "h")
    w_h = sum(z * matrix for z, matrix in zip(z_h, w["W_hz"], strict=True))
    w_x = sum(z * matrix for z, matrix in zip(z_x, w["W_xz"], strict=True))
    return [np.tanh(w_h @ h + w_x @ x + w["S_b", "h"] @ z_b + w["b", "h"]), hyper]


def weights_of(cell):
    """Returns the weights of a cell by the paper's names."""
    values = {}
    for v in cell.weights:
        *_, layer, name = v.path.split("/")
        name = f"{layer}/{name}" if layer.endswith("_norm") else name
        values[name] = v.numpy().astype("float64")
    names = {4: "ifgo", 3: "zrg", 1: "h"}[cell.gates]
    gates = len(names)
    w = {}

    def columns(name, matrix, copies=1):
        blocks = np.split(matrix.T, gates)
        w.update({(name, y): block for y, block in zip(names, blocks, strict=True)})

    def norms(prefix, folder):
        if folder + "gate_norm/gamma" not in values:
            return
        for part in ("gamma", "beta"):
            blocks = np.split(values[f"{folder}gate_norm/{part}"], gates)
            w.update({(part, prefix + y): b for y, b in zip(names, blocks, strict=True)})
            w[part, prefix + "c"] = values[f"{folder}carry_norm/{part}"]

    norms("", "")
    norms("^", "hyper_")
    units = cell.units
    if getattr(cell, "scaled", True):
        columns("W_x", values["kernel"])
        columns("W_h", values["recurrent_kernel"])
    else:
        w["W_xz"] = np.split(values["kernel"].T, cell.copies)
        w["W_hz"] = np.split(values["recurrent_kernel"].T, cell.copies)
    columns("b", values.get("bias", np.zeros(gates * units))[None])
    w.update({key: b[:, 0] for key, b in w.items() if key[0] == "b"})
    if "hyper_kernel" not in values:
        return w
    columns("W^", np.concatenate([values["hyper_state_kernel"], values["hyper_kernel"]]))
    columns("R^", values["hyper_recurrent_kernel"])
    columns("b^", values.get("hyper_bias", np.zeros(gates * cell.hyper_units))[None])
    w.update({key: b[:, 0] for key, b in w.items() if key[0] == "b^"})
    dim = cell.embedding_dim
    kernel = np.split(values["embedding_kernel"].T, 2 * gates)
    bias = np.split(values["embedding_bias"], 2 * gates)
    scale = values.get("scale_kernel", [None] * (2 * gates))
    no_bias = np.zeros((cell.hyper_units, gates * dim))
    by_bias = np.split(values.get("bias_embedding_kernel", no_bias).T, gates)
    bias_scale = values.get("bias_scale_kernel", np.zeros((gates, dim, units)))
    for n, y in enumerate(names):
        for part, index in (("h", n), ("x", gates + n)):
            w["E_" + part, y], w["e_" + part, y] = kernel[index], bias[index]
            w["S_" + part, y] = None if scale[index] is None else scale[index].T
        w["E_b", y], w["S_b", y] = by_bias[n], bias_scale[n].T
    return w
