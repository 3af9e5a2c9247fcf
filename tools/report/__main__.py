"""Writes what a change does to the results as Markdown, from two commits and nothing but git.

python -m tools.report --base main --head HEAD --out report.md
"""

import argparse
import sys
from pathlib import Path

from letterpress.core.errors import PipelineError
from tools.report.revision import Revision, git, read_revision
from tools.report.sections import report

CHECKS = (".ci", ".github", "Makefile", "tools")
"""What decides whether a change passes. A change of it must be read, not believed."""


def find_notes(base: Revision, head: Revision) -> list[str]:
    """Returns what a reader must know before the numbers, one line each."""
    names, notes = [one.commit[:10] for one in (base, head)], []
    is_checked_out = git("rev-parse", "HEAD").decode().strip() == head.commit
    if is_checked_out and git("status", "--porcelain", "--untracked-files=no"):
        notes.append(
            "the workspace has uncommitted changes; this report compares "
            f"{' with '.join(names)}. Commit to include them"
        )
    if base.commit == head.commit:
        notes.append(f"base and head are the same commit {names[0]}: nothing can differ")
    if edited := git("diff", "--name-only", base.commit, head.commit, "--", *CHECKS).decode():
        paths = sorted({path.strip('"').partition("/")[0] for path in edited.splitlines()})
        notes.append(f"the commits differ in what checks them: read {', '.join(paths)}")
    return notes


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes what a change does to the results.")
    parser.add_argument("--base", required=True, help="the commit to compare with")
    parser.add_argument("--head", default="HEAD", help="the commit to report on (default: HEAD)")
    parser.add_argument("--out", type=Path, required=True, help="the Markdown file to write")
    arguments = parser.parse_args()
    try:
        base, head = read_revision(arguments.base), read_revision(arguments.head)
        notes = find_notes(base, head)
    except PipelineError as error:
        sys.exit(f"error: {error}")
    for note in notes:
        print(f"warning: {note}", file=sys.stderr)
    arguments.out.write_text(report(base, head, notes), encoding="utf-8")


if __name__ == "__main__":
    main()
