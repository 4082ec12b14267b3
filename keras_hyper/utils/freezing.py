"""Propagation of `trainable=False` to sublayers created in `build`."""

import keras


def freeze_what_is_new(layer: keras.Layer) -> None:
    """Freezes the variables and sublayers of a layer that is not trainable.

    Keras propagates `trainable` only to sublayers that exist when it is set, so call this at the
    end of `build`.
    """
    if not layer.trainable:
        # TensorFlow skips an assignment that changes nothing, so change it.
        layer.trainable = True
        layer.trainable = False
