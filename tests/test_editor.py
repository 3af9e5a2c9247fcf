"""What editors read is valid, and names what the project has."""

from __future__ import annotations

import json
import re

from packaging.specifiers import SpecifierSet

from tests.conftest import ROOT


def test_the_container_has_a_python_that_the_project_runs_on_and_installs_it() -> None:
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text(encoding="utf-8"))
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (supported,) = re.findall(r'^requires-python = "(.+)"', project, re.MULTILINE)
    assert SpecifierSet(supported).contains(re.findall(r"python:([\d.]+)", container["image"])[0])
    command, target = container["postCreateCommand"].split()
    assert command == "make"
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_recommended_extensions_have_a_publisher_and_a_name() -> None:
    listed = json.loads((ROOT / ".vscode/extensions.json").read_text(encoding="utf-8"))
    assert listed["recommendations"]
    assert all(re.fullmatch(r"[\w-]+\.[\w-]+", name) for name in listed["recommendations"])
