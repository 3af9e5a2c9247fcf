from collections import defaultdict
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from letterpress.core.errors import PipelineError
from tests.conftest import ROOT
from tools.notice import find_licences, split_notice

LISTED = split_notice((ROOT / "NOTICE").read_text(encoding="utf-8"))[1]


def test_the_notice_lists_what_the_lock_file_installs() -> None:
    # Another version of Python has other versions of some packages, with other words.
    found = find_licences(ROOT / "requirements.txt", LISTED)
    assert found.keys() == LISTED.keys(), "run `make notice`"
    assert sum(found[name] == terms for name, terms in LISTED.items()) > 0.9 * len(LISTED) > 100


def test_a_package_for_another_system_keeps_its_line(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("no-such-package[extra]==1 --hash=sha256:a\n")
    known = {"no-such-package": "MIT"}
    assert find_licences(tmp_path / "lock", known) == known
    with pytest.raises(PipelineError, match="no-such-package states no licence"):
        find_licences(tmp_path / "lock", {})


@pytest.mark.parametrize("lock", sorted(ROOT.glob("requirements*.txt")), ids=lambda path: path.stem)
def test_extras_are_pinned_too(lock: Path) -> None:
    """pip looks for the newest version of package[extra] unless a line pins it with the extra."""
    lines = lock.read_text("utf-8").splitlines()
    pins = [Requirement(line.removesuffix("\\")) for line in lines if line[:1].isalnum()]
    extras: defaultdict[str, set[str]] = defaultdict(set)
    for pin in pins:
        extras[pin.name] |= pin.extras
    needed = []
    for name in extras:
        try:
            requires = map(Requirement, metadata.requires(name) or ())
        except metadata.PackageNotFoundError:  # for another system or Python
            continue
        needed += [r for r in requires if r.extras and (not r.marker or r.marker.evaluate())]
    assert needed
    assert [str(r) for r in needed if not r.extras <= extras[r.name.replace(".", "-")]] == []
