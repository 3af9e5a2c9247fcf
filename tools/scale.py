"""Writes docs/scale.md's tables: what letters cost here, and what a million, 10^9 and 10^12 would cost.

python -m tools.scale             measures this machine first, for minutes, into docs/scale.json
python -m tools.scale --tables    computes and writes the tables again
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stages.ascii_letter.config import AsciiLetterConfig
from stages.mnist.files import replacing, write_json
from stages.mnist.processes import n_cores
from tools.cards import markdown_table, rewrite
from tools.costs import Costs, at_scale, measure
from tools.estimates import (
    DAY,
    MACHINES,
    TRAIN,
    cluster,
    count_drawings,
    epoch_with_losses,
    limits,
    machine_seconds,
    over_ideal,
    steps,
    through_driver,
)
from tools.units import duration, number, power_of_ten, size, times

RESULTS = Path("docs/scale.json")
PAGE = Path("docs/scale.md")


def figures(results: Mapping[str, Any]) -> dict[str, Callable[[], str]]:
    """Returns the function that words each figure of the page, by the name of its markers."""
    costs = results["costs"]
    known = {**_measured(costs), **_estimated(costs), **_simulated(costs)}
    return {name: text.__str__ for name, text in (known | {"machine": results["machine"]}).items()}


def _measured(costs: Costs) -> dict[str, str]:
    def makes(key: str) -> str:
        if f"{key}_weights" in costs:
            return f"{size(4 * costs[f'{key}_weights'])} of gradients a step"
        return f"{costs[f'{key}_bytes']:,.0f} B" if f"{key}_bytes" in costs else ""

    rows = {
        "letter": "a letter drawn, into a tarball",
        "shard": "a shard of letters, beside its letters",
        "record": "a letter written as a record",
        "digest": "its digest sorted and looked for",
        "loaded": "an image loaded",
        "image": "an image of 48 x 48 trained on, in batches of 32",
        "small": "an image of 28 x 28 trained on, in batches of 64",
        "found": "a shard found by the training",
    }
    columns = ("what", "CPU µs", "makes")
    speeds = ("write", "read", "md5", "tcp")
    return {
        "costs": markdown_table(
            columns,
            (
                (what, number(costs[f"{key}_microseconds"]), makes(key))
                for key, what in rows.items()
            ),
        ),
        "bandwidths": markdown_table(
            ("disk, written and synchronized", "disk, read", "MD5, one core", "TCP to itself"),
            [[f"{size(costs[key])}/s" for key in speeds]],
        ),
    }


def _estimated(costs: Costs) -> dict[str, str]:
    drawn, written = costs["letter_bytes"], costs["record_bytes"]
    boundaries = {
        "a job that draws, to the driver and its disk": drawn,
        "the driver's disk, to a job that writes records": drawn,
        "that job, to the driver and its disk": written,
        "the driver's disk, to DVC's MD5 and its cache": drawn + written,
        "the records, to the training's workers, an epoch": TRAIN * written,
    }
    took = {n: steps(costs, n, n_machines) for n, n_machines in MACHINES.items()}
    rows = [[step, *(duration(took[n][step]) for n in MACHINES)] for step in took[10**6]]
    hours = (machine_seconds(took[n], n_machines) / 3600 for n, n_machines in MACHINES.items())
    rows.append(["machine-hours", *map(number, hours)])
    rows.append(
        ["on disk, DVC's cache included", *(size(2 * n * (drawn + written)) for n in MACHINES)]
    )
    return {
        "boundaries": markdown_table(
            ("from, to", "B a letter", *(f"{power_of_ten(n)} letters" for n in MACHINES)),
            ([what, number(b), *(size(n * b) for n in MACHINES)] for what, b in boundaries.items()),
        ),
        "sizes": markdown_table(
            ("step", *(f"{power_of_ten(n)} letters, machines: {m:,}" for n, m in MACHINES.items())),
            rows,
        ),
        "losses": markdown_table(
            ("a machine lives", "kept", *(f"machines: {m:,}" for m in MACHINES.values())),
            (
                [
                    duration(life),
                    f"every {duration(every)}" if every else "at the end",
                    *(
                        duration(epoch_with_losses(took[n], m, life, every))
                        for n, m in MACHINES.items()
                    ),
                ]
                for life in (DAY, 30 * DAY)
                for every in (0, 600)
            ),
        ),
        "limits": markdown_table(
            ("what", "how many"), ([what, number(n)] for what, n in limits(costs).items())
        ),
    }


def _simulated(costs: Costs) -> dict[str, str]:
    runs = [(10, 60.0), (100, 3600.0), (1000, 3600.0)]
    begin = costs["shard_microseconds"] / 1e6
    rates = ("letters/s drawn", "and fetched", "records/s written", "sent and fetched")
    return {
        "shards": markdown_table(
            ("shards a core", *(f"machines: {m:,}, {duration(work)} a core" for m, work in runs)),
            (
                [str(n), *(times(over_ideal(work, n, begin, cluster(m))) for m, work in runs)]
                for n in (1, 2, 4, 8, 16, 32, 64)
            ),
        ),
        "driver": markdown_table(
            ("machines", *rates),
            ([str(n), *map(number, through_driver(costs, n))] for n in (1, 2, 4, 8, 16, 64)),
        ),
    }


def describe_machine() -> str:
    """Returns in words where this runs."""
    names = re.findall(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text("utf-8"))
    processor = names[0] if names else platform.machine()
    return (
        f"{n_cores()} of {os.cpu_count()} cores of {processor}, Python {platform.python_version()}"
    )


def main() -> None:
    if "--tables" not in sys.argv[1:]:
        config = AsciiLetterConfig.from_yaml()
        with tempfile.TemporaryDirectory(dir="data") as folder:
            costs = measure(config, Path(folder), per_class=2000)
        costs["drawings"] = count_drawings(config)
        costs["drawings_48"] = count_drawings(at_scale(config, 100))
        write_json(RESULTS, {"machine": describe_machine(), "costs": costs})
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    page = rewrite(PAGE.read_text(encoding="utf-8"), figures(results))
    with replacing(PAGE) as path:
        path.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
