"""What the page on scale computes: the simulation where the answer is known, and the page's tables."""

from __future__ import annotations

import json
import math
import re
from statistics import mean

import pytest

from tests.conftest import ROOT
from tools.simulation import Cluster, GivenUpError, ideal, makespan


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


def test_a_straggler_holds_up_the_others_where_few_jobs_may_be_ahead_of_it() -> None:
    # The first result comes at 4 s; until then one other job is begun. Then two, the slow one to 8 s.
    assert makespan([1.0] * 4, Cluster([0.25, 1.0], ahead=1)) == 8
    assert makespan([1.0] * 4, Cluster([0.25, 1.0], ahead=2)) == 4


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
