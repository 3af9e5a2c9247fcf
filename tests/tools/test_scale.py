"""What the page on scale measures, computes and simulates, where the answer is known, and that it shows it."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from statistics import mean

import pytest

from stages.ascii_letter.build_tarball import draw_letters
from stages.ascii_letter.config import AsciiLetterConfig
from stages.ascii_letter.glyphs import split_families
from stages.mnist.errors import PipelineError
from tests.conftest import ROOT
from tools.cards import rewrite
from tools.costs import Costs, at_scale, measure_bandwidths, measure_letters, measure_training
from tools.estimates import (
    CORES,
    DAY,
    LETTERS_A_SHARD,
    NETWORK,
    count_drawings,
    epoch_with_losses,
    exchange,
    machine_seconds,
    over_ideal,
    steps,
    through_driver,
)
from tools.scale import PAGE, RESULTS, figures
from tools.simulation import Cluster, GivenUpError, ideal, makespan
from tools.units import duration, number, size

RESULTS_HERE = json.loads((ROOT / RESULTS).read_text(encoding="utf-8"))
COSTS: Costs = RESULTS_HERE["costs"]


@pytest.fixture
def config() -> AsciiLetterConfig:
    return AsciiLetterConfig.from_yaml(ROOT / "params.yaml")


def test_one_core_takes_the_sum_of_its_jobs() -> None:
    assert makespan([2.0, 1.0, 3.0], Cluster([1.0])) == 6
    assert makespan([2.0, 1.0, 3.0], Cluster([0.5])) == 12 == ideal([2.0, 1.0, 3.0], Cluster([0.5]))


def test_equal_jobs_fill_equal_cores() -> None:
    cluster = Cluster([1.0] * 4, n_cores=8, ahead=2)
    assert makespan([3.0] * 64, cluster) == 6 == ideal([3.0] * 64, cluster)
    assert makespan([3.0] * 65, cluster) == 9


def test_a_driver_that_is_slower_than_the_cores_decides() -> None:
    cluster = Cluster([1.0], n_cores=100, fetch=10, ahead=2)
    assert makespan([1.0] * 50, cluster) == 1 + 50 * 10


def test_the_driver_sends_all_that_it_may_before_it_fetches() -> None:
    # Two jobs a core may be begun: sent at 1 and 2, ended at 2 and 3, fetched at 3 and 4.
    assert makespan([1.0] * 2, Cluster([1.0], send=1, fetch=1, ahead=2)) == 4
    # One may: sent at 1, ended at 2, fetched at 3, and only then the other.
    assert makespan([1.0] * 2, Cluster([1.0], send=1, fetch=1, ahead=1)) == 6


def test_a_straggler_takes_fewer_jobs_where_there_are_many() -> None:
    # The slow core takes the first of four jobs, to 4 s, and the fast one the other three, to 3 s.
    cluster = Cluster([0.25, 1.0])
    assert ideal([1.0] * 4, cluster) == 3.2
    assert makespan([1.0] * 4, cluster) == 4
    assert makespan([2.0] * 2, cluster) == 8


def test_a_straggler_holds_up_no_other_where_a_job_a_core_is_ahead() -> None:
    # The slow core has the first to 4 s; the fast one, which waits for each of its own to be fetched, the rest.
    assert makespan([1.0] * 4, Cluster([0.25, 1.0], fetch=0.5, ahead=1)) == 5
    assert makespan([1.0] * 4, Cluster([0.25, 1.0], ahead=1)) == 4
    # Half a job a core is one at a time, and the cores take turns.
    assert makespan([1.0] * 4, Cluster([0.25, 1.0], ahead=0.5)) == 4 + 1 + 4 + 1


def test_losses_take_as_long_as_they_must_on_average() -> None:
    # A job of s seconds that begins anew after each loss: (e**(s / life) - 1) * (life + repair).
    cluster = Cluster([1.0], mean_life=5.0, repair=2.0)
    taken = mean(makespan([5.0], cluster, seed) for seed in range(4000))
    assert taken == pytest.approx((math.e - 1) * (5 + 2), rel=0.05)


def test_what_is_lost_before_it_is_fetched_is_made_again() -> None:
    # Of two jobs on two machines only the first is fetched by 11 s; a loss costs the second.
    jobs, cluster = [1.0, 1.0], Cluster([1.0, 1.0], fetch=10, mean_life=20.0)
    assert makespan(jobs, cluster._replace(mean_life=math.inf)) == 21
    taken = {makespan(jobs, cluster, seed) for seed in range(50)}
    assert min(taken) == 21 < max(taken)


def test_a_job_is_given_up_after_its_retries() -> None:
    cluster = Cluster([1.0], mean_life=0.01, max_retries=3)
    with pytest.raises(GivenUpError, match="job 0 was lost 4 times"):
        makespan([1.0], cluster)


def test_the_same_seed_gives_the_same_losses() -> None:
    cluster = Cluster([1.0, 0.5], n_cores=2, mean_life=30.0, repair=3.0, ahead=2)
    runs = [makespan([1.0] * 100, cluster, seed) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


def test_the_page_shows_what_was_measured_and_what_follows() -> None:
    page = (ROOT / PAGE).read_text(encoding="utf-8")
    known = figures(RESULTS_HERE)
    assert rewrite(page, known) == page, "run `python -m tools.scale --tables`"
    assert set(re.findall(r"<!-- (\w+) -->", page)) == set(known)


def test_all_letters_that_are_counted_can_be_drawn_and_no_more(config: AsciiLetterConfig) -> None:
    config = replace(config, n_classes=2, off_center=0.5)
    families, _ = split_families(config.unseen_families)
    per_class, rest = divmod(count_drawings(config), config.n_classes)
    assert rest == 0
    assert len(list(draw_letters(config, families, per_class))) == 2 * per_class
    with pytest.raises(PipelineError, match="not enough different drawings"):
        list(draw_letters(config, families, per_class + 1))


def test_the_drawings_are_those_of_today(config: AsciiLetterConfig) -> None:
    assert count_drawings(config) == COSTS["drawings"]
    assert count_drawings(at_scale(config, 100)) == COSTS["drawings_48"]


def test_letters_and_training_are_measured(
    config: AsciiLetterConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    letters = measure_letters(at_scale(config, 5), tmp_path)
    assert min(letters.values()) > 0
    assert 48 * 48 < letters["record_bytes"] < letters["letter_bytes"] < 2 * 48 * 48
    trained = measure_training(at_scale(config, 5), tmp_path / "small")
    # Two convolutions, a dense layer of 22 x 22 x 64 to 128, one of 26, and two batch norms.
    convolutions = 9 * 32 + 32 + 9 * 32 * 64 + 64
    dense = 22 * 22 * 64 * 128 + 128 + 128 * 26 + 26
    assert trained["weights"] == convolutions + dense + 2 * 64 + 2 * 128
    assert trained["microseconds"] > 0


def test_bandwidths_are_measured(tmp_path: Path) -> None:
    rates = measure_bandwidths(tmp_path / "block", n=4)
    assert {"write", "read", "md5", "tcp"} == rates.keys()
    assert min(rates.values()) > 1e6
    assert (tmp_path / "block").stat().st_size == 4 << 20


def test_what_is_divided_takes_less_on_more_machines_and_what_is_not_the_same() -> None:
    ten, hundred = (steps(COSTS, 10**9, n) for n in (10, 100))
    assert [ten[step] / hundred[step] for step in ten if "cores" in step] == pytest.approx([10] * 3)
    same = [step for step in ten if "driver" in step or "DVC" in step or "one core" in step]
    assert len(same) == 5
    assert all(ten[step] == hundred[step] for step in same)
    drawn = ten["letters: the driver's network, or the disk"]
    assert drawn == pytest.approx(1e9 * COSTS["letter_bytes"] / NETWORK)


def test_machines_are_held_while_they_wait_for_the_driver() -> None:
    seconds = dict(
        zip(steps(COSTS, 10, 1), (1.0, 5.0, 4.0, 2.0, 1.0, 7.0, 8.0, 3.0, 2.0), strict=True)
    )
    assert machine_seconds(seconds, 10) == 10 * (5 + 4 + 1 + 3 + 2) + 7 + 8


def test_gradients_pass_once_each_way_between_two_workers() -> None:
    assert exchange(NETWORK / 4, 2) == 1
    assert exchange(NETWORK / 4, 1) == 0


def test_an_epoch_begins_anew_after_a_loss() -> None:
    seconds = {"an epoch: the cores": 60.0, "an epoch: gradients": 40.0, "records: the cores": 9.0}
    assert epoch_with_losses(seconds, 10, life=1000) == pytest.approx((math.e - 1) * 100)
    assert epoch_with_losses(seconds, 10, 1000, every=10) == pytest.approx(
        10 * (math.e**0.1 - 1) * 100
    )
    assert epoch_with_losses(seconds, 1, life=1e12) == pytest.approx(100)
    assert epoch_with_losses(seconds, 10, life=1) == math.inf


def test_a_cluster_without_a_fault_is_ideal_but_for_what_shards_cost() -> None:
    cluster = Cluster([1.0] * 10, CORES, ahead=2)
    assert over_ideal(60, 4, 0, cluster) == pytest.approx(1)
    assert over_ideal(60, 4, 1.5, cluster) == pytest.approx(1.1)
    assert over_ideal(60, 1000, 0, cluster) == math.inf  # more shards than there may be


def test_the_driver_lets_through_what_its_network_does() -> None:
    drawn, fetched, written, both = through_driver(COSTS, 64)
    first = LETTERS_A_SHARD * COSTS["letter_microseconds"] / 1e6  # nothing can be fetched before
    n = 2000 * LETTERS_A_SHARD
    assert drawn > fetched == pytest.approx(n / (first + n * COSTS["letter_bytes"] / NETWORK))
    bytes_both = COSTS["letter_bytes"] + COSTS["record_bytes"]
    assert written > both == pytest.approx(NETWORK / bytes_both)


def test_units() -> None:
    assert [number(v) for v in (0.123, 12.3, 123.4, 1234567, 2.14e9)] == [
        "0.12",
        "12",
        "123",
        "1,234,567",
        "2.1 x 10^9",
    ]
    assert [size(v) for v in (0, 2028, 4.9e6, 5.7e15)] == ["0 B", "2,028 B", "4.9 MB", "5.7 PB"]
    assert [duration(v) for v in (0.5, 90, 3 * DAY, math.inf)] == [
        "0.5 s",
        "1.5 min",
        "3 d",
        "never",
    ]
