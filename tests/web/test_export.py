"""The stage export_web."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from stages.ascii_letter.config import AsciiLetterConfig
from stages.mnist.errors import PipelineError
from stages.mnist.model import build_classifier, load_weights
from stages.web.export import CLASSIFIER, MODEL, draw_golden, main


def test_missing_weights_leave_nothing(project: Path) -> None:
    with pytest.raises(PipelineError, match="is missing: run `dvc repro`"):
        main()
    assert not MODEL.exists()


def test_the_golden_examples_are_different_letters_and_what_keras_says_of_them(
    random_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(random_model.parents[2])
    golden = json.loads((random_model / "golden.json").read_text(encoding="utf-8"))
    config = AsciiLetterConfig.from_yaml()
    images = draw_golden(config)
    assert images.shape == (26, 32, 32, 1)
    assert len({image.tobytes() for image in images}) == 26
    assert golden["images"] == images.reshape(26, -1).tolist()
    classifier = build_classifier(config)
    load_weights(classifier, CLASSIFIER)
    expected = classifier(images / np.float32(255), training=False)
    np.testing.assert_allclose(golden["probabilities"], expected, atol=1e-6)


def test_the_same_weights_give_the_same_bytes(
    random_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(random_model.parents[2])
    before = {path.name: path.read_bytes() for path in random_model.iterdir()}
    main()
    assert {path.name: path.read_bytes() for path in random_model.iterdir()} == before
    assert before.keys() == {"model.json", "weights.bin", "golden.json"}
