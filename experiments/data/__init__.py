"""Data of the experiments: from TensorFlow Datasets, or from files as they are published."""
