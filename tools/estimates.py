"""Estimates what letters cost on many machines, from what one costs here: by formulas, and by simulation."""

from __future__ import annotations

import math
from statistics import mean

from stages.ascii_letter.config import AsciiLetterConfig
from stages.ascii_letter.glyphs import draw_ink, places, split_families
from stages.mnist.cluster import AHEAD, MAX_RETRIES
from tools.costs import Costs
from tools.simulation import Cluster, ideal, makespan

MACHINES = {10**6: 1, 10**9: 100, 10**12: 10_000}
"""By number of letters, how many are assumed."""
CORES = 16
"""Of an assumed machine, each like one here."""
NETWORK = 10e9 / 8
"""Bytes a second of an assumed machine, either way."""
MEMORY = 64e9
STORE = 0.3 * MEMORY
"""Bytes of Ray's object store: its default share."""
DAY = 86_400.0
TRAIN = 0.8
"""The share of letters for training."""
BATCH = 32
"""Images of a worker in a step."""
MOST_SHARDS = 100_000
LETTERS_A_SHARD = 10_000


def _seconds(costs: Costs, key: str) -> float:
    return costs[f"{key}_microseconds"] / 1e6


def exchange(weights: float, n_workers: int) -> float:
    """Returns the seconds of a ring all-reduce of float32 gradients, latency left out."""
    return 2 * (n_workers - 1) / n_workers * 4 * weights / NETWORK


def steps(costs: Costs, n: int, n_machines: int) -> dict[str, float]:
    """Returns the clock's seconds of each step with n letters, those that nothing divides included."""
    one, cores = n_machines == 1, CORES * n_machines
    drawn, written = costs["letter_bytes"], costs["record_bytes"]
    n_steps = math.ceil(n * TRAIN / (BATCH * n_machines))
    incoming = costs["write"] if one else min(NETWORK, costs["write"])
    outgoing = costs["read"] if one else min(NETWORK, costs["read"])
    both = n * (drawn + written)
    return {
        "letters: the cores": n * _seconds(costs, "letter") / cores,
        "letters: the driver's network, or the disk": n * drawn / incoming,
        "records: the cores": n * _seconds(costs, "record") / cores,
        "records: the driver's network, or the disk": n * (drawn / outgoing + written / incoming),
        "the splits compared, one core": n * _seconds(costs, "digest"),
        "DVC: MD5 of both, one machine": both / min(costs["read"], CORES * costs["md5"]),
        "DVC: a copy of both in its cache": both * (1 / costs["read"] + 1 / costs["write"]),
        "an epoch: the cores": n * TRAIN * _seconds(costs, "image") / cores,
        "an epoch: gradients": n_steps * exchange(costs["image_weights"], n_machines),
    }


def machine_seconds(seconds: dict[str, float], n_machines: int) -> float:
    """Returns what they add up to: all machines are held while one is waited for, but not for DVC."""
    letters, driver, records, through, splits, md5, copy, epoch, gradients = seconds.values()
    shared = max(letters, driver) + max(records, through) + splits + epoch + gradients
    return n_machines * shared + md5 + copy


def epoch_with_losses(
    seconds: dict[str, float], n_machines: int, life: float, every: float = 0
) -> float:
    """Returns the seconds of an epoch that begins anew at what was kept when a machine is lost, on average.

    Args:
        seconds: what `steps` gives.
        n_machines: each of which is needed.
        life: seconds of a machine, on average (exponential); another takes its place at once.
        every: seconds after which the state is kept, at no cost; 0 for the end of the epoch.
    """
    epoch = sum(value for step, value in seconds.items() if step.startswith("an epoch"))
    n_parts = math.ceil(epoch / every) if every else 1
    if epoch / n_parts > 700 * life / n_machines:  # exp would overflow
        return math.inf
    return n_parts * math.expm1(epoch / n_parts * n_machines / life) * life / n_machines


def cluster(n_machines: int) -> Cluster:
    """Returns machines of which every tenth has half the speed, and each lives for a day on average."""
    speeds = [0.5 if index % 10 == 9 else 1.0 for index in range(n_machines)]
    return Cluster(speeds, CORES, 0, 0, AHEAD, DAY, 600, MAX_RETRIES)


def over_ideal(work: float, n_shards: int, begin: float, one: Cluster) -> float:
    """Returns how many times the ideal time of the work it takes, the mean of three seeds.

    Infinity where there would be more shards than there may be.

    Args:
        work: seconds a core.
        n_shards: a core.
        begin: seconds that each shard costs beside its share of the work.
        one: where it is done.
    """
    n = len(one.speeds) * one.n_cores * n_shards
    if n > MOST_SHARDS:
        return math.inf
    least = ideal([work / n_shards] * n, one)
    taken = (makespan([work / n_shards + begin] * n, one, seed) for seed in range(3))
    return mean(taken) / least


def through_driver(costs: Costs, n_machines: int) -> list[float]:
    """Returns letters a second: what the cores draw, what comes through the driver, and the same of records."""
    drawn, written = (LETTERS_A_SHARD * costs[f"{key}_bytes"] for key in ("letter", "record"))
    n = 2000
    rates = []
    for key, send, fetch in (("letter", 0.0, drawn), ("record", drawn, written)):
        jobs = [_seconds(costs, key) * LETTERS_A_SHARD] * n
        alone = Cluster([1.0] * n_machines, CORES, ahead=AHEAD)
        driven = alone._replace(send=send / NETWORK, fetch=fetch / NETWORK)
        for time in (ideal(jobs, alone), makespan(jobs, driven)):
            rates.append(n * LETTERS_A_SHARD / time)
    return rates


def limits(costs: Costs) -> dict[str, float]:
    """Returns where something ends, by what it is."""
    drawn, written = costs["letter_bytes"], costs["record_bytes"]
    manifest = 2**27 / costs["manifest_bytes"]
    return {
        "letters that differ, 32 x 32 pixels, `off_center: 2`": costs["drawings"],
        "letters that differ, 48 x 48 pixels, `off_center: 16`": costs["drawings_48"],
        "cores that draw what the driver's network takes": (
            NETWORK / drawn * _seconds(costs, "letter")
        ),
        "cores that write the records it sends and takes": (
            NETWORK / (drawn + written) * _seconds(costs, "record")
        ),
        f"cores whose {AHEAD} tarballs of {LETTERS_A_SHARD:,} letters its object store holds": (
            STORE / AHEAD / (LETTERS_A_SHARD * drawn)
        ),
        "images of a worker in a step whose gradients take as long as they": (
            CORES * exchange(costs["image_weights"], 100) / _seconds(costs, "image")
        ),
        "letters whose digests fill its memory": MEMORY / 16,
        "letters of a shard whose manifest has 128 MiB": manifest,
        f"letters in {MOST_SHARDS:,} such shards": MOST_SHARDS * manifest,
        "training letters that params.yaml admits": 2.0**31 - 1,
        "letters of which, by chance, one of training has the digest of one of test": (
            math.sqrt(2**64 / TRAIN / (1 - TRAIN))
        ),
    }


def count_drawings(config: AsciiLetterConfig) -> int:
    """Counts the letters that may be asked for in one shard, as many of each class."""
    seen, _ = split_families(config.unseen_families)
    shape = config.image_height, config.image_width

    def count(name: str) -> int:
        inks = (
            draw_ink(character, face, config.letter_size, shape)
            for character in (name, name.upper())
            for faces in seen
            for face in faces
        )
        sizes = [size for size, _ in {(ink.size, ink.tobytes()) for ink in inks}]
        return sum(
            len(places(config.image_width, width, config.off_center))
            * len(places(config.image_height, height, config.off_center))
            for width, height in sizes
        )

    return config.n_classes * min(map(count, config.class_names))
