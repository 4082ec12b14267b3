"""Trans-INR: a transformer makes the weights of a perceptron that represents a signal.

Its tokens are samples of the signal, and a learned one for each weight of the perceptron. A linear
head makes a weight from the output at its token (Chen & Wang, 2022; weights are not normalized).
"""

from keras import layers, ops

from keras_hyper import Hypernetwork, LinearGenerator


class WeightTokens(layers.Layer):
    """Returns the outputs of a transformer at its weight tokens."""

    def __init__(self, weights, dim, depth=2, heads=2, **kwargs):
        super().__init__(**kwargs)
        self.embed = layers.Dense(dim)
        self.tokens = self.add_weight(name="tokens", shape=(1, weights, dim))
        self.attend = [layers.MultiHeadAttention(heads, dim // heads) for _ in range(depth)]
        self.widen = [layers.Dense(2 * dim, "gelu") for _ in range(depth)]
        self.narrow = [layers.Dense(dim) for _ in range(depth)]
        self.norms = [layers.LayerNormalization() for _ in range(2 * depth)]

    def call(self, samples):
        """Returns rows of shape `(batch, weights, dim)` for `(batch, samples, features)`."""
        tokens = ops.repeat(self.tokens, ops.shape(samples)[0], axis=0)
        x = ops.concatenate([self.embed(samples), tokens], axis=1)
        for i, attend in enumerate(self.attend):
            y = self.norms[2 * i](x)
            x = x + attend(y, y)
            x = x + self.narrow[i](self.widen[i](self.norms[2 * i + 1](x)))
        return x[:, -self.tokens.shape[1] :]


def trans_inr(target, weights, dim=32):
    """Returns a target whose kernels are made from samples of a signal."""
    options = {"condition_per_weight": True, "share_generators": True, "include": "*kernel"}
    return Hypernetwork(target, LinearGenerator(dim), WeightTokens(weights, dim), **options)
