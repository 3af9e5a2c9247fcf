"""The parent pipeline: only what is MNIST's."""
