"""Trains a classifier whose kernels are generated, and takes it all the way to serving.

Real handwritten digits (8 x 8 pixels, they ship with scikit-learn), a small
convolutional network twice: with ordinary kernels, and with one generator for
all of its convolutions. Exits with an error if anything is not as it should be.
"""

import pathlib
import subprocess
import sys
import tempfile

import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import keras_hyper
from keras_hyper import HyperConv2D, TiledKernelGenerator

EPOCHS, BATCH = 30, 64
STEPS = EPOCHS * -(-1347 // BATCH)  # Of 1,797 digits, 1,347 are trained on.


def network(convolution) -> keras.Model:
    """Returns the classifier; `convolution` makes its three inner convolutions."""
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.GaussianNoise(0.1)])
    model.add(layers.Conv2D(32, 3, padding="same", activation="relu"))
    for filters, pool in ((32, True), (64, False), (64, True)):
        model.add(layers.BatchNormalization(momentum=0.9))
        model.add(convolution(filters))
        if pool:
            model.add(layers.MaxPooling2D())
    for layer in (layers.Flatten(), layers.Dropout(0.4), layers.Dense(10)):
        model.add(layer)
    model.compile(
        optimizer=keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(4e-3, decay_steps=STEPS)
        ),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def check(what: str, passed: bool) -> None:
    """Prints what was checked, and stops the program if it failed."""
    print(f"{'ok    ' if passed else 'FAILED'}  {what}", flush=True)
    if not passed:
        sys.exit(1)


def main() -> None:
    """Trains both networks, then saves, reloads, bakes, exports and serves one."""
    keras.utils.set_random_seed(1)
    images, labels = load_digits(return_X_y=True)
    images = (images / 16.0).reshape(-1, 8, 8, 1).astype("float32")
    x, x_test, y, y_test = train_test_split(
        images, labels, test_size=0.25, random_state=1, stratify=labels
    )

    generator = TiledKernelGenerator(tile=(3, 3, 8, 8), embedding_dim=32, name="kernels")
    options = {"kernel_size": 3, "padding": "same", "activation": "relu"}
    networks = {
        "ordinary kernels": network(lambda n: layers.Conv2D(n, **options)),
        "generated kernels": network(lambda n: HyperConv2D(n, **options, generator=generator)),
    }
    accuracy = {}
    for name, model in networks.items():
        print(f"\n{name}: {model.count_params():,} parameters")
        model.fit(x, y, batch_size=BATCH, epochs=EPOCHS)
        accuracy[name] = model.evaluate(x_test, y_test, verbose=0)[1]

    print()
    model = networks["generated kernels"]
    figures = keras_hyper.summary(model)
    print()
    for name, value in accuracy.items():
        print(f"test accuracy with {name:17}  {value:.2%}")
    print(f"stored parameters {figures.stored:,}, generated weights {figures.generated:,}\n")
    for name, value in accuracy.items():
        check(f"accuracy with {name} at least 97%", value >= 0.97)

    logits = model.predict(x_test, verbose=0)
    with tempfile.TemporaryDirectory() as folder:
        directory = pathlib.Path(folder)
        model.save(directory / "digits.keras")
        reloaded = keras.models.load_model(directory / "digits.keras")
        same = np.array_equal(reloaded.predict(x_test, verbose=0), logits)
        check("the reloaded .keras file predicts the same", same)
        convolutions = [layer for layer in reloaded.layers if isinstance(layer, HyperConv2D)]
        shared = {id(layer.generator) for layer in convolutions}
        check("and its convolutions share one generator again", len(shared) == 1)

        plain = keras_hyper.bake(model)
        difference = np.abs(plain.predict(x_test, verbose=0) - logits).max()
        check("baked into an ordinary Keras model, it predicts the same", difference < 1e-5)

        model.export(directory / "saved_model", verbose=False)
        np.save(directory / "inputs.npy", x_test)
        np.save(directory / "expected.npy", logits)
        program = pathlib.Path(__file__).with_name("serve_alone.py")
        names = ("saved_model", "inputs.npy", "expected.npy")
        served = subprocess.run([sys.executable, program, *(directory / name for name in names)])
        check("a process without Keras serves the SavedModel and agrees", served.returncode == 0)


if __name__ == "__main__":
    main()
