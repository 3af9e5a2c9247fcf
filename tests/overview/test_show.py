"""A data set is shown: examples, counts and near-duplicates."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from letterpress.core.errors import PipelineError
from letterpress.mnist.config import MnistConfig
from letterpress.overview.show import (
    N_EACH,
    NEAR,
    Split,
    count_by,
    draw_examples,
    find_near_duplicates,
    show_data,
)
from letterpress.records.example import Example
from letterpress.records.write import write_splits
from tests.trained import Trained

CONFIG = MnistConfig()


def split_of(images: list[np.ndarray], labels: list[int]) -> Split:
    names = [f"{index}.png" for index in range(len(images))]
    return Split(names, np.array(labels), np.stack(images))


def test_near_duplicates_are_those_of_one_class_in_different_splits_that_differ_little() -> None:
    random = np.random.default_rng(0)
    image = random.integers(0, 200, (30, 30, 1), dtype=np.uint8)
    other = random.integers(0, 200, (30, 30, 1), dtype=np.uint8)
    near, far = image + np.uint8(9), image + np.uint8(12)  # 0.035 and 0.047 of white
    splits = {
        "train": split_of([other, image, image, near], [1, 1, 2, 1]),
        "validation": split_of([near, far], [1, 1]),
        "test": split_of([image, other], [1, 1]),
    }
    found = {(one, two): difference for one, two, difference in find_near_duplicates(splits)}
    assert found == {
        ("train/0.png", "test/1.png"): 0,
        ("train/1.png", "test/0.png"): 0,
        ("train/3.png", "validation/0.png"): 0,
        ("train/3.png", "validation/1.png"): pytest.approx(3 / 255),
        ("train/1.png", "validation/0.png"): pytest.approx(9 / 255),
        ("train/3.png", "test/0.png"): pytest.approx(9 / 255),
        ("validation/0.png", "test/0.png"): pytest.approx(9 / 255),
    }
    assert list(found.values()) == sorted(found.values())


def test_the_search_by_blocks_finds_what_comparing_all_pixels_finds() -> None:
    random = np.random.default_rng(1)
    bases = random.integers(0, 256, (6, 28, 28, 1))
    splits = {}
    for name in ("train", "test"):
        noise = random.normal(0, random.uniform(2, 12, (60, 1, 1, 1)), (60, 28, 28, 1))
        images = np.clip(bases[np.arange(60) % 6] + noise, 0, 255).astype(np.uint8)
        splits[name] = split_of(list(images), [0] * 60)
    one, other = (splits[name].images.astype(float) / 255 for name in splits)
    differences = np.sqrt(((one[:, None] - other) ** 2).mean(axis=(2, 3, 4)))
    expected = {(f"train/{i}.png", f"test/{j}.png") for i, j in np.argwhere(differences <= NEAR)}
    assert 0 < len(expected) < 600
    assert {(a, b) for a, b, _ in find_near_duplicates(splits)} == expected


def test_examples_have_a_column_per_class_and_rows_per_split() -> None:
    grey = [np.full((28, 28, 1), 20 * label + 60, np.uint8) for label in range(9)]
    splits = {"train": split_of(grey, list(range(9))), "test": split_of(grey[:1], [0])}
    sheet = np.asarray(draw_examples(splits, CONFIG))
    assert sheet.shape == (56 + 30 * 2 * N_EACH, 56 + 30 * 10, 3)
    for label in range(9):
        assert (
            sheet[56 : 56 + 28, 56 + 30 * label : 56 + 30 * label + 28] == 20 * label + 60
        ).all()
    assert (sheet[56:146, 56 + 30 * 9 :] == 24).all()  # no image of this class


def test_the_counts_and_examples_of_records_are_written(trained: Trained, tmp_path: Path) -> None:
    splits = ["train", "validation", "test"]
    show_data(trained.config, trained.records, splits, tmp_path)
    with (tmp_path / "counts_by_class.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [rows[0][key] for key in ("class", "split", "n")] == ["0", "train", "20"]
    assert sum(int(row["n"]) for row in rows) == 280
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"counts_by_class.csv", "examples.png", "near_duplicates.csv"}
    with Image.open(tmp_path / "examples.png") as sheet:
        assert sheet.height == 56 + 30 * 3 * N_EACH


def test_a_split_without_images_is_refused(tmp_path: Path) -> None:
    write_splits(tmp_path / "data", {"test": []}, CONFIG)
    with pytest.raises(PipelineError, match="data/test: no records"):
        show_data(CONFIG, tmp_path / "data", ["test"], tmp_path / "results")


def test_a_manifest_adds_counts_by_style_and_family(tmp_path: Path) -> None:
    examples = [Example(np.full((28, 28, 1), n, np.uint8), n % 2, f"{n}.png") for n in range(4)]
    config = MnistConfig(n_classes=2)
    write_splits(tmp_path / "records", {"train": examples}, config)
    styles = {f"{n}.png": {"style": "serif", "family": f"F{n % 2}"} for n in range(4)}
    show_data(config, tmp_path / "records", ["train"], tmp_path / "shown", styles)
    written = (tmp_path / "shown/counts_by_family.csv").read_text(encoding="utf-8")
    assert written.splitlines() == ["family,split,n", "F0,train,2", "F1,train,2"]


def test_names_that_a_split_lacks_are_counted_as_0() -> None:
    assert count_by({"train": "aab", "test": "c"})[-2:] == [("c", "train", 0), ("c", "test", 1)]
