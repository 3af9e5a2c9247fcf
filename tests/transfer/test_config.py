from letterpress.transfer.config import TransferConfig
from tests.conftest import ROOT
from tests.core.test_config import Limits, assert_limits

LIMITS: Limits = {
    "labels_per_class": (([1],), ([], 5, None, [2, 1, 2], [1, 0], [1, "2"])),
    "starts": ((["frozen"],), ([], "scratch", ["warm"], ["scratch", "scratch"])),
    "split": (("validation",), ("test", None)),
    "n_test_per_class": ((1,), (0, 2.0)),
    "n_seeds": ((2,), (1, "5")),  # one value has no interval
    "n_steps": ((1,), (0, 1.5)),
    "batch_size": ((1,), (0, True)),
    "learning_rate": ((1e-5, 10), (0, 10.1, True, "0.003", float("nan"))),
}


def test_limits_of_the_values() -> None:
    assert not TransferConfig.inherits_root
    assert set(TransferConfig.model_fields) == set(LIMITS)
    assert_limits(TransferConfig.from_yaml(ROOT / "params.yaml"), LIMITS)
