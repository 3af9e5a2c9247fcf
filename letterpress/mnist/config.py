"""The config of the parent pipeline."""

from letterpress.core.config import ClassifierConfig


class MnistConfig(ClassifierConfig):
    """The digits: all defaults of `ClassifierConfig`. A child pipeline subclasses this."""
