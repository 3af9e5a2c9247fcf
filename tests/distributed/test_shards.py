"""Data in several shards, written by several processes, gives the same metrics as in one."""

from dvc.utils.hydra import apply_overrides

from tests.test_pipeline import Repository, repository, reproduced

__all__ = ["repository", "reproduced"]  # fixtures


def test_data_in_shards_is_evaluated_like_data_in_one(repository: Repository) -> None:
    before = repository.read("data/mnist/metrics.json")
    apply_overrides(repository.folder / "params.yaml", ["n_shards=3"])
    repository.run("dvc", "repro", "write_tfrecords")
    for split in ("mnist/tfrecords/train", "ascii_letter/tfrecords/unseen"):
        folder = repository.folder / "data" / split
        shards = {path.name for path in folder.glob("*.tfrecord")}
        assert shards == {f"{folder.name}-0000{index}-of-00003.tfrecord" for index in range(3)}
    repository.run("python", "-m", "stages.evaluate")
    assert repository.read("data/mnist/metrics.json") == before  # the same digits
