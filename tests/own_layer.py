"""A user's layer with generated weights, for tests of what finds and uses them."""

import keras
from keras import layers

from keras_hyper import ChunkedGenerator, GeneratedWeight
from keras_hyper.saving import deserialize_shared, serialize_shared


@keras.saving.register_keras_serializable("own")
class Bilinear(layers.Layer):
    """`(x A_1 z) ... (x A_n z) + b`, with a matrix in an attribute and others in a list."""

    def __init__(self, generator, units=2, **kwargs):
        super().__init__(**kwargs)
        self.generator = deserialize_shared(generator, self)
        self.units = units
        self.heads = []
        self.offset = None

    def build(self, inputs_shape, condition_shape=None):
        width = inputs_shape[-1]

        def made(shape, **kwargs):
            weight = GeneratedWeight(self.generator, shape, dtype=self.dtype_policy, **kwargs)
            weight.build(condition_shape)
            return weight

        self.heads = [made((width, width)) for _ in range(self.units)]
        self.offset = made((self.units,), name="bias")

    def call(self, inputs, condition=None):
        heads = [weight.kernel(condition).dense(inputs) for weight in self.heads]
        products = keras.ops.stack([keras.ops.sum(h * inputs, axis=-1) for h in heads], axis=-1)
        return products + self.offset.kernel(condition).materialize()

    def compute_output_shape(self, inputs_shape, condition_shape=None):
        return (*inputs_shape[:-1], self.units)

    def get_config(self):
        config = {"generator": serialize_shared(self.generator, self), "units": self.units}
        return {**super().get_config(), **config}


def bilinear(conditioned=False):
    chunks = ChunkedGenerator(4, (8,), name="chunks")
    x, c = keras.Input((3,)), keras.Input((2,))
    layer = Bilinear(chunks, name="bilinear")
    y = layer(x, condition=c) if conditioned else layer(x)
    return keras.Model([x, c] if conditioned else x, layers.Dense(2, name="dense")(y))
