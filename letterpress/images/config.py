"""The config of the pipelines that `letterpress new` makes: images in class folders."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from annotated_types import Len
from pydantic import AfterValidator, model_validator
from typing_extensions import Self

from letterpress.core.config import ClassifierConfig, Rate

TRAIN = "python -m stages.train_images"
"""The command of the stage that trains such a pipeline, without its name."""


def check_class_name(name: str) -> str:
    """Returns the name of a class. Raises a ValueError if results would take it for no class."""
    if name.casefold() == "none":
        raise ValueError(f"{name} stands for images of no class. Rename the class folder")
    return name


class ImagesConfig(ClassifierConfig):
    """A pipeline whose data are images in class folders. Its values do not depend on other ones."""

    inherits_root: ClassVar[bool] = False

    source: str = ""
    """The images: a folder, a tar file or a zip file. See `letterpress/images/files.py`."""
    classes: Annotated[list[Annotated[str, AfterValidator(check_class_name)]], Len(2, 100_000)]
    """The class folders, in the order of the labels."""
    n_classes: int = 2
    """The number of `classes`; not to be set."""
    test_share: Rate = 0.15
    """Share of the images of each class for the test split, if the data have no test folder."""
    validation_share: Rate = 0.15
    """The same for validation."""
    invert: bool = False
    """Whether black and white are exchanged, so that dark drawings on white resemble MNIST."""
    parent: str = ""
    """The file of feature weights that the training starts from if pretrained_features is true."""

    @classmethod
    def named(cls, name: str) -> type[Self]:
        """Returns the class of the pipeline of that name, which is its section of params.yaml."""
        return type(cls.__name__, (cls,), {"section": name, "__module__": cls.__module__})

    @model_validator(mode="before")
    @classmethod
    def _count_classes(cls, values: Any) -> Any:
        classes = values.get("classes")
        return {**values, "n_classes": len(classes)} if isinstance(classes, list) else values

    @staticmethod
    def list_names(pipeline: Mapping[str, Any]) -> list[str]:
        """Returns the names of the pipelines of this kind in a dvc.yaml that was read."""
        commands = [str(stage.get("cmd")) for stage in pipeline.get("stages", {}).values()]
        return [cmd.split()[-1] for cmd in commands if cmd.startswith(f"{TRAIN} ")]

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the class folders."""
        return tuple(self.classes)
