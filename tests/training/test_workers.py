import json
from typing import Any

import pytest

from letterpress.core.errors import PipelineError
from letterpress.training.workers import Strategy, is_chief, join_workers


def text(index: int, *workers: str, **jobs: Any) -> str:
    task = {"type": "worker", "index": index}
    return json.dumps({"cluster": {"worker": workers} | jobs, "task": task})


def test_a_malformed_tf_config_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    malformed = {
        "{": "Expecting property name",
        "[]": "list indices",
        "{}": "'cluster' is missing",
        '{"cluster": {"worker": ["a:1", "b:1"]}}': "'task' is missing",
        '{"cluster": {"worker": 3}, "task": {}}': "not iterable",
        text(0, "a", "b:1"): "an address is not host:port",
        text(0, "a:1", "b:1", ps=["c:1"]): "it has jobs other than worker",
        text(2, "a:1", "b:1"): "there is no worker 2",
    }
    for config, reason in malformed.items():
        monkeypatch.setenv("TF_CONFIG", config)
        assert is_chief()
        with pytest.raises(PipelineError, match=f"TF_CONFIG: .*{reason}.*Unset it") as refused:
            join_workers(24)
        assert "\n" not in str(refused.value)


def test_tf_config_names_the_chief_and_the_number_of_workers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for index in range(3):
        monkeypatch.setenv("TF_CONFIG", text(index, "a:1", "b:1", "c:1"))
        assert is_chief() == (index == 0)
        with pytest.raises(PipelineError, match=r"batch_size: .*\(got 64 and 3\)"):
            join_workers(64)
    monkeypatch.setenv("TF_CONFIG", text(0, "a:1"))
    assert type(join_workers(7)) is Strategy
