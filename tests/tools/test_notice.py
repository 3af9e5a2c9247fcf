from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tools.notice import HEAD, licence, packages, read_notice

LISTED = read_notice(ROOT / "NOTICE")


def test_the_notice_lists_exactly_what_the_lock_file_installs() -> None:
    # Another version of Python has other versions of some packages, which word their licence otherwise.
    found = packages(ROOT / "requirements.txt", LISTED)
    assert found.keys() == LISTED.keys(), "run `make notice`"
    assert sum(found[name] == terms for name, terms in LISTED.items()) > 0.9 * len(LISTED) > 100
    assert (ROOT / "NOTICE").read_text(encoding="utf-8").startswith(HEAD)


def test_a_package_of_another_system_keeps_its_line(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.txt"
    lock.write_text("no-such-package==1 --hash=sha256:a\n")
    assert packages(lock, {"no-such-package": "MIT"}) == {"no-such-package": "MIT"}
    with pytest.raises(SystemExit, match="no-such-package does not state"):
        packages(lock, {})


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("License-Expression: MIT\nLicense: other", "MIT"),
        ("License: BSD\nClassifier: License :: OSI Approved :: BSD License", "BSD"),
        ("License: " + "long " * 40 + "\nClassifier: License :: OSI Approved :: A", "A"),
        ("Classifier: License :: OSI Approved :: A\nClassifier: License :: B", "A OR B"),
        ("Classifier: License :: OSI Approved", ""),
        ("Summary: no words about it", ""),
    ],
)
def test_the_licence_is_what_the_package_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stated: str, expected: str
) -> None:
    info = tmp_path / "thing-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: thing\nVersion: 1\n{stated}\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert metadata.version("thing") == "1"
    assert licence("thing") == expected
