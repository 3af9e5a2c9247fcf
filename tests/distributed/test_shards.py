"""The pipeline on data in several shards, made by several processes."""

from __future__ import annotations

from dvc.utils.hydra import apply_overrides

from tests.test_pipeline import Repository, repository, reproduced

__all__ = ["repository", "reproduced"]  # fixtures


def test_data_in_shards_is_written_and_evaluated_as_in_one(repository: Repository) -> None:
    before = repository.read("data/mnist/metrics.json")
    apply_overrides(repository.folder / "params.yaml", ["n_shards=3"])
    repository.run("dvc", "repro", "write_tfrecords")
    for split in ("mnist/tfrecords/train", "ascii_letter/tfrecords/unseen"):
        folder = repository.folder / "data" / split
        names = {f"{folder.name}-0000{index}-of-00003.tfrecord" for index in range(3)}
        assert {path.name for path in folder.iterdir()} == names | {"lengths.json"}
    for module in ("mnist.evaluate", "ascii_letter.evaluate", "mistakes.show"):
        repository.run("python", "-m", f"stages.{module}")
    assert repository.read("data/mnist/metrics.json") == before  # the same digits
    letters = repository.read("data/ascii_letter/metrics.json")
    assert letters.keys() >= {"accuracy", "accuracy_unseen"}
    assert repository.read("data/mistakes/ceiling.json").keys() >= {"ceiling", "ceiling_unseen"}
