"""Chooses the params of a pipeline from what is in its data."""

from typing import Any

from letterpress.new.look import Findings

_SIDE, _SIDE_WITH_PARENT = 64, 32
"""The most pixels along the longer side. A parent has learned the lines of small drawings."""
_PIXELS = 120_000_000
"""Pixels of training images in all epochs together: some minutes on two cores."""


def choose_params(findings: Findings, source: str, parent: str) -> dict[str, Any]:
    """Returns the pipeline's section of params.yaml: all values that people change most."""
    is_colour = findings.is_colour
    height, width = _choose_size(findings, _SIDE_WITH_PARENT if parent else _SIDE)
    shares = {f"{s}_share": 0.15 for s in ("test", "validation") if s not in findings.splits}
    n_train = sum(n.get("train", 0) for n in findings.counts.values()) * (1 - sum(shares.values()))
    n_images = [splits["train"] for splits in findings.counts.values()]
    return {
        "source": source,
        "classes": list(findings.counts),
        **shares,
        "data_seed": 12345,
        "image_height": height,
        "image_width": width,
        "n_channels": 3 if is_colour else 1,
        "invert": not is_colour and findings.is_dark_on_light,
        "parent": parent,
        "pretrained_features": bool(parent),
        "freeze_features": False,
        "match_channels": bool(parent),  # the parent may be grey and these images RGB
        "class_weights": "balanced" if max(n_images) > 3 * min(n_images) else "equal",
        "seed": 12345,
        "batch_size": 32,
        "n_epochs": _choose_epochs(n_train, height * width),
        "learning_rate": 0.002,
        "validation_freq": 1,
        "max_rotation": 10.0,
        "max_shift": round(max(height, width) / 12, 1),
        "max_zoom": 0.1,
        "max_shear": 0.1,
        "mirror": is_colour,  # a mirrored photograph is one, a mirrored letter is not
        "feature_dropout": 0.2,
        "dense_dropout": 0.3,
    }


def _choose_size(findings: Findings, side: int) -> tuple[int, int]:
    """Returns the median height and width, scaled so that the longer is at most `side`."""
    (_, width, _), (_, height, _) = findings.sizes
    scale = min(1, side / max(width, height))
    if scale == 1:
        return max(height, 16), max(width, 16)
    # A multiple of 4, and no side below half of the longer.
    return tuple(max(side // 2, 4 * round(n * scale / 4)) for n in (height, width))  # type: ignore[return-value]


def _choose_epochs(n_train: float, n_pixels: int) -> int:
    n_epochs = round(_PIXELS / (n_pixels * max(n_train, 1)))
    return min(max(n_epochs, 3 if n_train > 20_000 else 10), 40)
