"""The parent pipeline, MNIST digits. It knows nothing of its children."""
