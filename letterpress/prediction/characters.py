"""Finds the characters among all that is dark or light in a picture."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from letterpress.prediction.ink import SIDE, Floats, Page, find_inks, read_page, rim

Mask = npt.NDArray[np.bool_]
Box = tuple[slice, slice]

_LEAST_CONTRAST = 0.1  # of black to white; JPEG artefacts and stains stay below
_STRONG, _FAINT = 0.5, 0.2  # of the strongest ink: what is ink everywhere, and on clean paper
_LEAST_SIDE = SIDE // 40  # pixels; smaller parts are specks
_LEAST_AREA = 0.03  # of the largest part
_TALL = 0.6  # of the largest part's height: such a part is another character, not a dot
_APART = 0.11  # of the largest part: the least gap between two characters
_NEAR = 0.35  # of the largest part: the greatest gap between a letter and its dot
_THIN = 0.3  # of a stroke's half width
_LINE, _SHADOW = 3, SIDE // 8  # pixels: half widths, of what touches the rim
_FOOT = 0.25  # of the longer side
_FILLED = 0.82  # of its box: a frame or a sheet, tilted by 5 degrees
_BLOT = 0.6  # of the longer side: the greatest diameter of a circle inside a stroke
_MOST_LOOPS, _MOST_FRAMES = 2, 2
_FAINTEST = 0.1  # of the strongest ink, at the edges of a stroke


class _BlotError(ValueError):
    """What was found is too thick for a character: perhaps it is paper."""


class _Parts(NamedTuple):
    """Connected parts of a mask."""

    labels: npt.NDArray[np.int32]
    """[height, width]; 0 for no part."""
    boxes: list[Box]
    """By label - 1; so are the others."""
    areas: npt.NDArray[np.int64]
    on_rim: Mask
    depths: Floats
    """Distance of each pixel to the outside of its part, [height, width]."""

    def mask(self, indices: Sequence[int]) -> Mask:
        return np.isin(self.labels, np.array(indices) + 1)

    def longer_side(self, index: int) -> int:
        return max(self.height(index), _length(self.boxes[index][1]))

    def height(self, index: int) -> int:
        return _length(self.boxes[index][0])


def find_characters(picture: Image.Image) -> list[Floats]:
    """Returns the ink of each character, in reading order: 0..1, cropped to its box.

    Lines, frames, stains, specks and what touches the rim are left out, shadows are evened out.

    Raises:
        ValueError: nothing looks like a character.
    """
    return _search(read_page(picture))


def _search(page: Page) -> list[Floats]:
    """Tries each side as the ink."""
    problem: _BlotError | None = None
    for ink in find_inks(page.grey):
        try:
            return _find(page, ink, inside=problem is not None)
        except _BlotError as error:
            problem = problem or error
    raise ValueError(str(problem))


def _find(page: Page, ink: Floats, inside: bool) -> list[Floats]:
    """Finds the characters of one ink; `inside` refuses those that touch the rim."""
    parts, kept = _drop_rim(ink, max(_LEAST_CONTRAST, 5 * page.noise))
    largest = int(np.where(kept, parts.areas, 0).argmax())
    if parts.longer_side(largest) < _LEAST_SIDE or (inside and parts.on_rim[largest]):
        raise ValueError("no character found (only specks or lines)")
    if parts.on_rim[largest]:
        half_width = parts.depths[parts.mask([largest])].max()
        if half_width <= _LINE:
            raise ValueError("no character found (only lines)")
        if half_width > _SHADOW:
            raise _BlotError("no character found (a shadow or a block)")
    if page.level < _MOST_FRAMES:
        sheet = _inside_of_frame(page.grey, parts)
        if sheet is not None:
            try:
                return _search(page._replace(grey=sheet, level=page.level + 1))
            except ValueError as error:
                raise _BlotError(str(error)) from error
    kept &= parts.areas >= _LEAST_AREA * parts.areas[largest]
    groups = _group(parts, largest, np.flatnonzero(kept).tolist())
    return [_cut(ink, parts, group, page.factor) for group in _in_reading_order(parts, groups)]


def _drop_rim(ink: Floats, least: float) -> tuple[_Parts, Mask]:
    """Returns the parts of the ink, and which to keep, bool [n].

    What touches the rim is dropped, unless nothing else is large. As it may be darker than the
    character, the threshold is set again without it.
    """
    while True:
        peak = float(ink.max())
        if peak < least:
            raise ValueError("no character found (too little contrast). Use a darker pen")
        parts = _split(_threshold(ink, peak, least))
        if not len(parts.boxes):
            raise ValueError("no character found (only lines)")
        kept = np.ones(len(parts.boxes), np.bool_)
        on_rim = parts.on_rim
        if on_rim.any() and parts.areas[~on_rim].max(initial=0) >= parts.areas[on_rim].max() / 10:
            kept = ~on_rim
        rest = float(np.percentile(ink[parts.mask(np.flatnonzero(kept).tolist())], 90))
        if kept.all() or rest > 0.8 * peak:
            return parts, kept
        ink = np.where(parts.mask(np.flatnonzero(~kept).tolist()), 0, ink)


def _threshold(ink: Floats, peak: float, least: float) -> Mask:
    """Returns where ink is strong; with faint ink that belongs to it, unless lines or stains do."""
    strong: Mask = ink > _STRONG * peak
    labels, _ = _label(ink > max(_FAINT * peak, least / 2))
    joined: Mask = np.isin(labels, np.setdiff1d(labels[strong], 0))
    crossings = np.diff(strong, axis=0).sum() + np.diff(strong, axis=1).sum()
    # Each row crosses the two edges of an upright stroke: its area is width * crossings / 2.
    width = 2 * strong.sum() / max(crossings, 1)  # of a stroke, pixels
    is_thick = ndimage.minimum_filter(joined.astype(np.uint8), int(3 * width) + 8).any()
    return strong if is_thick or rim(joined).any() else joined


def _split(mask: Mask) -> _Parts:
    """Splits a mask into connected parts, without thin lines if any crosses the picture."""
    box = _extent(mask)
    depths = np.zeros(mask.shape, np.float32)  # the transform is slow: only where it is needed
    # Padded, because there is no ink outside the picture.
    depths[box] = ndimage.distance_transform_edt(np.pad(mask[box], 1))[1:-1, 1:-1]
    if rim(mask).any():
        least = max(_THIN * float(depths.max()), 1.01)
        # What is left of a mask after erosion and dilation by `least`: thin lines are not.
        thick = mask & (ndimage.distance_transform_edt(depths <= least) <= least + 0.5)
        thin, _ = _label(mask & ~thick)
        lines = np.isin(thin, np.setdiff1d(rim(thin), 0))
        if max(lines.any(axis=0).mean(), lines.any(axis=1).mean()) > 0.3:
            mask, depths = thick, np.where(thick, depths, 0)
    labels, n_parts = _label(mask)
    areas = np.bincount(labels.ravel(), minlength=n_parts + 1)[1:]
    boxes = ndimage.find_objects(labels)
    return _Parts(labels, boxes, areas, _find_on_rim(labels, boxes), depths)


def _find_on_rim(labels: npt.NDArray[np.int32], boxes: Sequence[Box]) -> Mask:
    """Returns which parts touch the rim at two sides or with more than a foot, bool [n]."""
    sides = (labels[0], labels[-1], labels[:, 0], labels[:, -1])
    counts = np.array([np.bincount(side, minlength=len(boxes) + 1)[1:] for side in sides])
    longer = np.array([max(map(_length, box)) for box in boxes])
    touches: Mask = ((counts > 0).sum(axis=0) > 1) | (counts.sum(axis=0) > _FOOT * longer)
    return touches


def _label(mask: Mask) -> tuple[Any, int]:
    """Numbers the parts of a mask; corners connect."""
    labels, n_parts = ndimage.label(mask, np.ones((3, 3)))
    return labels, int(n_parts)


def _inside_of_frame(grey: Floats, parts: _Parts) -> Floats | None:
    """Returns the inside of a form's box or of a sheet, or None if there is none."""
    extents = [_length(rows) * _length(columns) for rows, columns in parts.boxes]
    index = int(np.argmax(extents))
    box = parts.boxes[index]
    own = parts.labels[box] == index + 1
    filled = ndimage.binary_fill_holes(own)
    if filled.mean() < _FILLED or filled.sum() < grey.size / 20:
        return None
    holes, least = filled & ~own, 0.01 * filled.sum()
    depth = float(parts.depths[box][own].max())
    if depth < max(own.shape) / 8:  # a frame, if there is ink in it
        if (holes & (parts.labels[box] > 0)).sum() < least:
            return None
        inside = ndimage.binary_fill_holes(holes)
    else:  # a sheet has thin holes, a thick letter has others
        hole_depth = float(ndimage.distance_transform_edt(holes & (parts.labels[box] == 0)).max())
        if hole_depth > 0.3 * depth or holes.sum() < least:
            return None
        inside = filled
    inside = ndimage.binary_erosion(inside, iterations=3)  # without the frame's blurred edge
    if not inside.any():
        return None
    return np.where(inside, grey[box], np.median(grey[box][inside])).astype(np.float32)


def _group(parts: _Parts, largest: int, kept: Sequence[int]) -> list[list[int]]:
    """Groups parts into characters: one tall part each, and its dots."""
    size = parts.longer_side(largest)
    heads, dots = [largest], list[int]()
    for index in sorted(kept, key=lambda i: -parts.areas[i]):
        gap = min(_gap(parts.boxes[head], parts.boxes[index]) for head in heads)
        is_tall = parts.height(index) > _TALL * parts.height(largest)
        if index != largest:
            (heads if is_tall and gap > _APART * size else dots).append(index)
    groups = {head: [head] for head in heads}
    for dot in dots:
        # A dot belongs to the nearest character; far from all of them, it is dirt.
        gap, head = min((_gap(parts.boxes[head], parts.boxes[dot]), head) for head in heads)
        if gap <= _NEAR * size:
            groups[head].append(dot)
    return list(groups.values())


def _in_reading_order(parts: _Parts, groups: list[list[int]]) -> list[list[int]]:
    """Sorts characters by rows, then from left to right."""
    rows: list[list[list[int]]] = []
    for group in sorted(groups, key=lambda g: parts.boxes[g[0]][0].start):
        top = parts.boxes[group[0]][0]
        first = parts.boxes[rows[-1][0][0]][0] if rows else top
        if rows and (top.start + top.stop) / 2 < first.stop:
            rows[-1].append(group)
        else:
            rows.append([group])
    return [g for row in rows for g in sorted(row, key=lambda g: parts.boxes[g[0]][1].start)]


def _cut(ink: Floats, parts: _Parts, group: Sequence[int], factor: int) -> Floats:
    """Returns the ink of one character, with the grey values around it."""
    mask = parts.mask(group)
    half_width = float(parts.depths[mask].max())
    reach = max(2.0, half_width * (0.4 if factor == 1 else 1))
    box = _extent(mask, int(reach) + 1, factor)
    ink, mask = ink[box], mask[box]
    _refuse_shape(mask, half_width, bool(parts.on_rim[group[0]]))
    near = ndimage.distance_transform_edt(~mask) <= reach
    # A percentile, not the maximum: noise makes single pixels darker than the stroke.
    values = np.minimum(ink / np.percentile(ink[mask], 90), 1) * near
    if factor > 1:  # back to the pixels of the picture
        values = np.asarray(Image.fromarray(values.astype(np.float32)).reduce(factor))
    values = np.where(values < _FAINTEST * values.max(), 0, values).astype(np.float32)
    return values[_extent(values > 0)]


def _refuse_shape(mask: Mask, half_width: float, on_rim: bool) -> None:
    """Raises an error if a shape is too thick or has too many loops for a character."""
    longer = max(_length(side) for side in _extent(mask))
    # Unlike those of ink, corners of holes do not connect: a diagonal stroke separates them.
    holes, _ = ndimage.label(~np.pad(mask, 1))
    areas = np.sort(np.bincount(holes.ravel())[1:])[:-1]  # the largest is what is around
    large = areas > max(20, 0.01 * longer**2)
    if 2 * half_width > _BLOT * longer:
        kind = _BlotError if on_rim or large.any() else ValueError
        raise kind("no character found (a blot or a block)")
    if large.sum() > _MOST_LOOPS:
        raise ValueError(f"no character found (more than {_MOST_LOOPS} loops)")


def _extent(mask: Mask, margin: int = 0, step: int = 1) -> Box:
    """Returns the box around what is true, with a margin, in multiples of `step`."""
    sides = [np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0)]
    return tuple(  # type: ignore[return-value]
        slice(max(side[0] - margin, 0) // step * step, -(-(side[-1] + 1 + margin) // step) * step)
        for side in sides
    )


def _length(side: slice) -> int:
    return int(side.stop - side.start)


def _gap(box: Box, other: Box) -> float:
    """Returns the distance between two boxes, pixels; 0 if they overlap."""
    sides = zip(box, other, strict=True)
    gaps = [max(a.start - b.stop, b.start - a.stop, 0) for a, b in sides]
    return float(np.hypot(*gaps))
