"""A second model of the same architecture, with generators shared as in the first."""

import keras

from keras_hyper.transforms.rebuild import rebuild
from keras_hyper.utils.checks import check_model


def clone(model: keras.Model) -> keras.Model:
    """Returns a new model of the same architecture, with newly drawn weights.

    Layers that share a generator share one in the copy, too. Unlike
    `keras.models.clone_model` it takes subclassed models.

    Args:
        model: A Sequential or functional model, or a subclassed one that has a
            `get_config`. Custom layers in it need a `get_config` as well, and
            `keras_hyper.saving.serialize_shared` in it if they take a generator.

    Returns:
        The new model; it is not compiled.

    Raises:
        TypeError: If `model` is not a Keras model.

    Examples:
        >>> import keras
        >>> from keras_hyper import HyperDense, TiledKernelGenerator, clone
        >>> kernels = TiledKernelGenerator(tile=(8, 8), embedding_dim=4)
        >>> model = keras.Sequential([
        ...     keras.Input((16,)),
        ...     HyperDense(16, generator=kernels),
        ...     HyperDense(16, generator=kernels),
        ... ])
        >>> copy = clone(model)
        >>> copy.layers[0].generator is copy.layers[1].generator
        True
        >>> copy.layers[0].generator is kernels
        False
    """
    check_model(model)
    return rebuild(model)
