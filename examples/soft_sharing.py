"""Soft parameter sharing: eight convolutions out of one, two or four templates.

Eight convolutions of equal shape learn to tell digits apart (8 x 8 pixels, they
ship with scikit-learn), with kernels of their own and with kernels mixed from
templates that all of them share (Savarese & Maire, "Learning implicitly recurrent
CNNs through parameter sharing", ICLR 2019). Prints how many are told apart and
how alike the layers became, and exits with an error unless four templates come
within two points of kernels of their own, and one template does not.

    python -m pip install "keras-hyper[tensorflow-cpu]" scikit-learn
    python examples/soft_sharing.py
"""

import argparse
import sys

import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from keras_hyper import HyperConv2D, TemplateGenerator

DEPTH, WIDTH = 8, 16
BATCH, LEARNING_RATE = 64, 3e-3


def network(templates: int | None) -> tuple[keras.Model, list[keras.layers.Layer]]:
    """Returns the classifier and its convolutions; `None` templates share nothing."""
    options = {"padding": "same", "use_bias": False, "kernel_initializer": "he_normal"}
    if templates is None:
        convolutions = [layers.Conv2D(WIDTH, 3, **options) for _ in range(DEPTH)]
    else:
        options["generator"] = TemplateGenerator(templates)
        convolutions = [HyperConv2D(WIDTH, 3, **options) for _ in range(DEPTH)]
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(WIDTH, 3, padding="same")(inputs)
    for convolution in convolutions:
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(convolution(x)))
    outputs = layers.Dense(10)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, outputs), convolutions


def train(templates: int | None, seed: int, images: int, epochs: int) -> tuple[float, float]:
    """Returns the accuracy on images not seen, and the mean similarity of two layers."""
    keras.utils.set_random_seed(seed)
    x, y = load_digits(return_X_y=True)
    x = (x / 16.0).reshape(-1, 8, 8, 1).astype("float32")
    x, x_test, y, y_test = train_test_split(x, y, train_size=images, random_state=seed, stratify=y)
    model, convolutions = network(templates)
    steps = epochs * -(-images // BATCH)
    model.compile(
        optimizer=keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(LEARNING_RATE, decay_steps=steps)
        ),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(x, y, batch_size=BATCH, epochs=epochs, verbose=0)
    accuracy = model.evaluate(x_test, y_test, verbose=0)[1]
    if templates is None:
        return accuracy, 0.0
    generator = convolutions[0].generator
    similarity = generator.layer_similarity([layer.kernel_weight for layer in convolutions])
    return accuracy, similarity[np.triu_indices(DEPTH, 1)].mean()


def stored(convolutions: list[keras.layers.Layer]) -> int:
    """Returns how many numbers the convolutions store, shared ones once."""
    variables = {id(v): v for layer in convolutions for v in layer.weights}
    return sum(int(np.prod(v.shape)) for v in variables.values())


def main() -> None:
    """Trains every network with every seed and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=800, help="images trained on, of 1,797")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()

    means = {}
    print(f"{'kernels':22}{'numbers':>9}{'accuracy':>10}  (of each seed)  similarity of two layers")
    for templates in (1, 2, 4, None):
        results = [
            train(templates, seed, options.images, options.epochs) for seed in range(options.seeds)
        ]
        accuracies, similarities = zip(*results, strict=True)
        means[templates] = np.mean(accuracies)
        name = "of their own" if templates is None else f"out of {templates} shared"
        numbers = stored(network(templates)[1])
        each = ", ".join(f"{a:.1%}" for a in accuracies)
        similarity = "" if templates is None else f"{np.mean(similarities):.2f}"
        print(f"{name:22}{numbers:9,}{means[templates]:10.1%}  ({each})  {similarity}", flush=True)

    four, one = means[None] - means[4], means[None] - means[1]
    print(f"\nbehind kernels of their own: 4 templates by {four:.1%}, 1 template by {one:.1%}")
    if not four <= 0.02 < one:
        sys.exit("expected 4 templates to be within 2 points, and 1 template not to be")


if __name__ == "__main__":
    main()
