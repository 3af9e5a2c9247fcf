from pathlib import Path

import pytest

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
    with pytest.raises(SystemExit, match="no-such-package states no licence"):
        find_licences(tmp_path / "lock", {})
