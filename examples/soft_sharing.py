"""Soft parameter sharing: eight convolutions out of one, two or four templates.

Eight convolutions of equal shape learn to tell digits apart, with kernels of
their own and with kernels mixed from templates that all of them share (Savarese
& Maire, "Learning implicitly recurrent CNNs through parameter sharing", ICLR
2019). Prints test accuracies over seeds, and how alike the layers became.

    python examples/soft_sharing.py --seeds 3
"""

import argparse

import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from keras_hyper import HyperConv2D, TemplateGenerator

DEPTH, WIDTH = 8, 16


def network(templates):
    """Returns the network and its eight convolutions; `templates=None` shares nothing."""
    generator = templates and TemplateGenerator(templates)
    convolutions = []
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(WIDTH, 3, padding="same")(inputs)
    for _ in range(DEPTH):
        options = {"padding": "same", "use_bias": False, "kernel_initializer": "he_normal"}
        if generator is None:
            convolutions.append(layers.Conv2D(WIDTH, 3, **options))
        else:
            convolutions.append(HyperConv2D(WIDTH, 3, **options, generator=generator))
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(convolutions[-1](x)))
    x = layers.Dense(10)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, x), convolutions


def train(templates, seed, epochs, images):
    """Returns the test accuracy and the convolutions' similarity."""
    keras.utils.set_random_seed(seed)
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8, 1).astype("float32") / 16
    x_train, x_test, y_train, y_test = train_test_split(
        images, labels, train_size=args.images, random_state=seed, stratify=labels
    )
    model, convolutions = network(templates)
    steps = epochs * -(-len(x_train) // 64)
    rate = keras.optimizers.schedules.CosineDecay(3e-3, steps)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    model.fit(x_train, y_train, batch_size=64, epochs=epochs, verbose=0)
    accuracy = model.evaluate(x_test, y_test, verbose=0)[1]
    if templates is None:
        return accuracy, None
    generator = convolutions[0].generator
    return accuracy, generator.layer_similarity([c.kernel_weight for c in convolutions])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seeds", type=int, default=1)
    args = parser.parse_args()
    for templates in (1, 2, 4, None):
        accs=[]
        for seed in range(args.seeds):
            a,s=train(templates,seed,args.epochs,args.images); accs.append(a)
        print(templates, np.round(accs,4), np.mean(accs), None if s is None else (np.round(s[np.triu_indices(8,1)].mean(),2)), flush=True)
