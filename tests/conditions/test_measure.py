"""Pictures of each condition are drawn, read and scored."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from letterpress.conditions import measure
from letterpress.conditions.measure import (
    TENSORS,
    ConditionsConfig,
    Pipeline,
    score,
    write_conditions,
)
from letterpress.conditions.pictures import CONDITIONS, NOTHING, TWO, draw_picture, prepare_pictures
from letterpress.evaluation.calibration import Calibration, write_calibration
from letterpress.mnist.config import MnistConfig
from letterpress.prediction.classify import Answer, Guess
from letterpress.prediction.picture import prepare
from tests.prediction import people
from tests.trained import Trained

CONFIG = MnistConfig()
FOUR = (prepare(people.as_picture(people.draw()), CONFIG)[..., 0] * 255).astype(np.uint8)
IMAGE = np.zeros((1, 28, 28, 1), np.float32)


def answer(name: str, probability: float, none: float = 0) -> Answer:
    return Answer([Guess(name, probability)], none)


def test_each_condition_draws_other_files_and_the_same_ones_again() -> None:
    files = {
        condition: [
            draw_picture(condition, FOUR, FOUR, np.random.default_rng(seed)) for seed in (1, 1, 2)
        ]
        for condition in CONDITIONS
    }
    for condition, (first, again, other) in files.items():
        assert first == again
        assert (first == other) == (condition == "picture files")
    assert len({first for first, *_ in files.values()}) == len(CONDITIONS)


def test_a_drawn_character_is_found_under_each_condition() -> None:
    images = np.stack([FOUR] * 4)
    for condition in CONDITIONS:
        found = prepare_pictures(CONFIG, condition, images, (1, 2))
        if condition == TWO:
            assert [len(characters) for characters in found] == [2] * 4
        elif condition != NOTHING:
            for (image,) in found:
                likeness = (
                    (image[..., 0] * FOUR).sum() / np.linalg.norm(image) / np.linalg.norm(FOUR)
                )
                assert likeness > 0.6, condition


def test_scores_are_shares_of_all_pictures() -> None:
    found = [[IMAGE], [IMAGE], [IMAGE], [], [IMAGE, IMAGE]]
    answers = [answer("4", 0.95), answer("7", 0.92), answer("4", 0.3, 0.6)]
    assert score("ruled paper", found, answers, "44444", 0.9) == (0.2, 0.4, 0.5, 0.2)
    assert score(TWO, found, answers, "44444", 0.9) == (0.2, 0.4, 0, 0.4)
    assert score(NOTHING, found, answers, "44444", 0.9) == pytest.approx((0.6, 0.4, 0, 0.4))
    assert score(TENSORS, [[IMAGE]], [answer("4", 0.5)], "4", 0.9) == (1, 0, None, 0)


def test_results_have_a_row_per_condition_and_columns_per_pipeline(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "local_map", lambda function, calls: (function(*c) for c in calls))
    calibration = tmp_path / "calibration.json"
    write_calibration(calibration, Calibration())
    files = trained.weights, calibration, trained.test_records
    pipelines = [Pipeline(name, trained.config, *files) for name in "ab"]
    for name in ("one", "two"):
        write_conditions(pipelines, 3, 5, tmp_path / name)
    with (tmp_path / "one/accuracy_by_condition.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["condition"] for row in rows] == [TENSORS, *CONDITIONS]
    fields = ("accuracy", "sure", "accuracy_when_sure", "wrong_and_sure")
    assert list(rows[0]) == ["condition", *(f"{p}_{field}" for p in "ab" for field in fields)]
    metrics = json.loads((tmp_path / "one/metrics.json").read_text(encoding="utf-8"))
    for row in rows:
        for name in "ab":
            value = metrics[name][row["condition"]]
            assert value["accuracy"] == pytest.approx(float(row[f"{name}_accuracy"]), abs=1e-4)
    for file_name in ("accuracy_by_condition.csv", "metrics.json"):
        again = (tmp_path / "two" / file_name).read_bytes()
        assert (tmp_path / "one" / file_name).read_bytes() == again


def test_the_number_of_images_is_positive() -> None:
    assert ConditionsConfig().n_images == 300
    with pytest.raises(ValueError, match="n_images"):
        ConditionsConfig(n_images=0)
