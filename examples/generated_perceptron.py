"""One embedding, one small network, and out of it the weights of a whole perceptron.

The classic picture of a hypernetwork, in twenty lines: a learned embedding, a
small network that makes the weights of both layers from it chunk by chunk, and
the perceptron that uses them. The generated weights are normalised, by layer or
by weight normalisation, and BatchNormalization or LayerNormalization of the
perceptron itself work beside it as ever.

    python -m pip install "keras-hyper[tensorflow-cpu]" scikit-learn
    python examples/generated_perceptron.py
"""

import keras
from keras import layers
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from keras_hyper import ChunkedGenerator, HyperDense, TaskEmbedding


class GeneratedPerceptron(keras.Model):
    """A two-layer perceptron that stores no weight matrix."""

    def __init__(self, hidden, classes, normalization, target_normalization):
        super().__init__()
        network = ChunkedGenerator(200, hidden_units=(32,), normalization=normalization)
        self.embedding = TaskEmbedding(num_tasks=1, dim=16)
        self.first = HyperDense(hidden, use_bias=False, generator=network)
        self.normalize = target_normalization()
        self.second = HyperDense(classes, use_bias=False, generator=network)

    def call(self, inputs):
        """Returns the logits."""
        embedding = self.embedding(0)  # The one embedding, for both layers.
        x = keras.ops.relu(self.normalize(self.first(inputs, condition=embedding)))
        return self.second(x, condition=embedding)


if __name__ == "__main__":
    images, labels = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(images / 16, labels, random_state=0)
    for normalization in ("layer", "weight"):
        for target in (layers.BatchNormalization, layers.LayerNormalization):
            keras.utils.set_random_seed(0)
            model = GeneratedPerceptron(64, 10, normalization, target)
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            model.compile(keras.optimizers.Adam(0.005), loss, metrics=["accuracy"])
            model.fit(x_train, y_train, epochs=15, verbose=0)
            accuracy = model.evaluate(x_test, y_test, verbose=0)[1]
            print(f"weights by {normalization} norm, {target.__name__}: {accuracy:.1%}")
