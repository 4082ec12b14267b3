"""Propagate `trainable=False` to sublayers created in `build`."""

import keras


def freeze_what_is_new(layer: keras.Layer) -> None:
    """Freezes the variables and sublayers of a layer that is not trainable.

    `trainable` may be False before `build`, by an argument or out of a file;
    Keras does not hand it on to sublayers that are created later.

    Args:
        layer: A layer whose sublayers are built.
    """
    if not layer.trainable:
        # TensorFlow skips an assignment that changes nothing, so change it.
        layer.trainable = True
        layer.trainable = False
