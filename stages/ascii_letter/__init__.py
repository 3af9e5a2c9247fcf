"""The child pipeline, ASCII letters. It states only what differs from its parent, MNIST."""
