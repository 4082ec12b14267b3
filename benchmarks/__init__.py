"""Side by side: this package against Keras, PyTorch, TensorFlow, JAX and the peers."""
