"""What npm installs is fixed to the byte, wherever it comes from."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import ROOT

LOCK: dict[str, Any] = json.loads((ROOT / "web/package-lock.json").read_text(encoding="utf-8"))[
    "packages"
]


def test_the_lock_belongs_to_the_package() -> None:
    package = json.loads((ROOT / "web/package.json").read_text(encoding="utf-8"))
    assert LOCK[""]["dependencies"] == package["dependencies"]
    assert set(package["dependencies"].values()) == {"4.22.0"}


@pytest.mark.parametrize("name", [name for name in LOCK if name])
def test_the_lock_has_a_hash_and_no_address(name: str) -> None:
    assert LOCK[name]["integrity"].startswith("sha512-")
    assert "resolved" not in LOCK[name]
