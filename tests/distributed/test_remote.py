"""The commands of docs/sharing.md: a remote on a real SSH server, and one cache for two clones."""

from __future__ import annotations

import getpass
import hashlib
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from dvc.cli import main as dvc
from dvc.utils.hydra import apply_overrides

from tests.conftest import ROOT
from tests.mnist.test_files import contents
from tests.pages import read_blocks
from tests.test_pipeline import Repository, reproduced, stages_run

__all__ = ["reproduced"]

PAGE = (ROOT / "docs/sharing.md").read_text("utf-8")
BLOCKS = read_blocks(ROOT / "docs/sharing.md")
HOST, STORE, CACHE = "your.host", "/srv/letterpress", "/srv/dvc-cache"
SHARE, TAKE, CLEAN, _, USE_CACHE = (block.text for block in BLOCKS)
FEATURES = "data/mnist/features.weights.h5"
LETTERS = "data/ascii_letter/raw"


class Server:
    """An SSH server of this user's on a port of 127.0.0.1, with keys and a configuration of its own."""

    def __init__(self, folder: Path) -> None:
        binary = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
        if not binary:
            pytest.skip("no sshd: apt-get install openssh-server")
        self.binary, self.folder = binary, folder
        self.objects = folder / "store/files/md5"
        self.home = folder / "home"
        """With the user's key and configuration, as people have them."""
        (self.home / ".ssh").mkdir(parents=True)
        for key in (folder / "host_key", folder / "stranger", self.home / ".ssh/id_ed25519"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)]
            subprocess.run(command, check=True)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        (self.home / ".ssh/config").write_text(
            f"Host {HOST}\nHostName 127.0.0.1\nPort {self.port}\nUser {getpass.getuser()}\n"
        )
        (folder / "sshd_config").write_text(
            f"ListenAddress 127.0.0.1:{self.port}\n"
            f"HostKey {folder / 'host_key'}\n"
            f"AuthorizedKeysFile {self.home / '.ssh/id_ed25519.pub'}\n"
            "AuthenticationMethods publickey\n"
            "PidFile none\n"
            "PermitUserRC no\n"
            "StrictModes no\n"  # /tmp is everybody's
            "Subsystem sftp internal-sftp\n"
            "UsePAM no\n"
        )

    def start(self, largest_file: str = "unlimited") -> None:
        """Starts it; `largest_file`, in blocks of the shell's `ulimit -f`, ends a longer transfer."""
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(
                mode=0o755, exist_ok=True
            )  # where root's server locks itself in
        limited = f'ulimit -c 0; ulimit -f {largest_file}; exec "$@"'
        command = [self.binary, "-D", "-e", "-f", str(self.folder / "sshd_config")]
        self.process = subprocess.Popen(
            ["sh", "-c", limited, "sh", *command],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        first = self.process.stderr.readline()
        assert first.startswith("Server listening"), first

    def stop(self) -> None:
        self.process.terminate()
        self.process.communicate()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "server")
    server.start()
    yield server
    server.stop()


class Clone(Repository):
    """A clone of somebody whose home folder is the server's `home`."""

    def __init__(self, origin: Path, folder: Path, home: Path) -> None:
        super().__init__(folder)
        self.environment["HOME"] = str(home)
        self.environment.pop("SSH_AUTH_SOCK", None)
        folder.mkdir()
        self.run("git", "clone", "--quiet", str(origin), ".")
        for name in ("user.name", "user.email"):
            self.run("git", "config", name, "t@localhost")

    def follow(self, commands: str, store: Path | None = None, cache: Path | None = None) -> str:
        """Runs commands of the page, with these folders in the place of the page's."""
        commands = commands.replace(STORE, str(store)).replace(CACHE, str(cache))
        return self.run("sh", "-euc", commands)


@pytest.fixture
def ours(server: Server, reproduced: Path, tmp_path: Path) -> Clone:
    """A clone whose results are shared as the page says."""
    origin = tmp_path / "origin.git"
    Repository(tmp_path).git("clone", "--quiet", "--bare", str(reproduced), str(origin))
    ours = Clone(origin, tmp_path / "ours", server.home)
    shutil.copytree(reproduced / ".dvc/cache", ours.folder / ".dvc/cache")
    ours.run("dvc", "checkout")
    ours.follow(SHARE, store=server.folder / "store")
    return ours


@pytest.fixture
def theirs(server: Server, ours: Clone, tmp_path: Path) -> Clone:
    """A clone of somebody else, who has pulled nothing yet."""
    return Clone(tmp_path / "origin.git", tmp_path / "theirs", server.home)


def hash_of(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def damaged(objects: Path) -> list[str]:
    """The objects below a folder whose bytes do not have the hash that they are called by."""
    return [
        path.name
        for path in objects.glob("??/[!.]*")
        if hash_of(path) != path.parent.name + path.stem
    ]


def flip_a_bit(server: Server, clone: Clone, path: str) -> Path:
    """Flips one in the server's object of an output, or of a file in an output that is a folder."""
    stages = yaml.safe_load((clone.folder / "dvc.lock").read_text("utf-8"))["stages"].values()
    outputs = {out["path"]: out["md5"] for stage in stages for out in stage.get("outs", ())}
    md5: str = outputs.get(path) or hash_of(clone.folder / path)
    target = server.objects / md5[:2] / md5[2:]
    content = bytearray(target.read_bytes())
    content[len(content) // 2] ^= 1
    target.chmod(0o644)
    target.write_bytes(content)
    return target


def state(clone: Clone) -> dict[str, bytes]:
    """All that is in a clone, but for git's and DVC's own notes."""
    return {
        path: content
        for path, content in contents(clone.folder).items()
        if not path.startswith((".git/", ".dvc/tmp/"))
    }


def test_what_one_pushes_another_pulls_and_has_nothing_left_to_run(
    ours: Clone, theirs: Clone
) -> None:
    assert not (theirs.folder / FEATURES).exists()
    output = theirs.follow(TAKE)
    assert stages_run(output) == []
    assert "cached" not in output
    assert "Data and pipelines are up to date." in output
    assert contents(theirs.folder / "data") == contents(ours.folder / "data")
    assert theirs.git("status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("path", "code", "message"),
    [
        (FEATURES, 1, f"Checkout failed for following targets:\n{FEATURES}\n"),
        (
            f"{LETTERS}/letters/letters-00000-of-00001.tar",
            1,
            f"Checkout failed for following targets:\n{LETTERS}\n",
        ),
        (LETTERS, 255, ".dir is corrupted: "),
    ],
)
def test_a_damaged_object_is_refused_and_the_page_mends_it(
    server: Server, ours: Clone, theirs: Clone, path: str, code: int, message: str
) -> None:
    damaged_object = flip_a_bit(server, ours, path)
    assert message in theirs.run("dvc", "pull", code=code)
    assert not (theirs.folder / path).exists()
    assert damaged(theirs.folder / ".dvc/cache/files/md5") == []
    removed = ours.follow(CLEAN, store=server.folder / "store")
    assert removed == f"./{damaged_object.relative_to(server.objects)}\n"
    assert "pushed" in ours.run("dvc", "push")
    assert damaged(server.objects) == []
    assert stages_run(theirs.follow(TAKE)) == []
    assert contents(theirs.folder / "data") == contents(ours.folder / "data")


def test_dvc_takes_a_damaged_object_where_it_is_not_told_to_verify(
    server: Server, ours: Clone, theirs: Clone
) -> None:
    """Why the page tells it; if this fails, DVC is better than the page says."""
    damaged_object = flip_a_bit(server, ours, FEATURES)
    assert ours.run("dvc", "push").strip() == "Everything is up to date."
    theirs.run("dvc", "remote", "modify", "--local", "team", "verify", "false")
    theirs.run("dvc", "pull")
    assert (theirs.folder / FEATURES).read_bytes() == damaged_object.read_bytes()
    assert "up to date" in theirs.run("dvc", "status")


def test_an_object_that_is_gone_is_not_pushed_while_the_list_of_its_folder_is_there(
    server: Server, ours: Clone
) -> None:
    """Why the page removes both."""
    flip_a_bit(server, ours, f"{LETTERS}/letters/letters-00000-of-00001.tar").unlink()
    assert ours.run("dvc", "push").strip() == "Everything is up to date."


def test_a_wrong_key_and_a_server_that_is_away_change_nothing(
    server: Server, theirs: Clone
) -> None:
    stranger = str(server.folder / "stranger")
    theirs.run("dvc", "remote", "modify", "--local", "team", "keyfile", stranger)
    before = state(theirs)
    refused = theirs.run("dvc", "pull", code=1)
    assert re.search("failed to connect to ssh .*Permission denied", refused)
    assert state(theirs) == before
    theirs.run("dvc", "remote", "modify", "--local", "--unset", "team", "keyfile")
    before = state(theirs)
    server.stop()
    refused = theirs.run("dvc", "pull", code=1)
    assert re.search("failed to connect to ssh .*Connect call failed", refused)
    assert state(theirs) == before
    server.start()
    assert stages_run(theirs.follow(TAKE)) == []


def test_a_push_that_is_cut_off_leaves_no_part_of_an_object(server: Server, ours: Clone) -> None:
    shutil.rmtree(server.folder / "store")
    server.stop()
    server.start(largest_file="2000")
    done = subprocess.run(
        ["dvc", "push"],
        cwd=ours.folder,
        env=ours.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (1, 255)  # by the moment at which the connection ends
    assert "Connection not open" in done.stderr
    assert list(server.objects.glob("??/.*.tmp"))
    assert damaged(server.objects) == []
    server.stop()
    server.start()
    assert "pushed" in ours.run("dvc", "push")
    pushed = {path.name for path in server.objects.glob("??/[!.]*")}
    expected = {path.name for path in (ours.folder / ".dvc/cache/files/md5").glob("??/*")}
    assert pushed <= expected
    assert stages_run(ours.run("dvc", "repro")) == []


@pytest.mark.parametrize("where", re.findall(r"^\|[^|]*\| `(\S+)` \|", PAGE, re.MULTILINE))
def test_dvc_takes_the_addresses_and_the_settings_of_the_page(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (row,) = [line for line in PAGE.splitlines() if f"| `{where}` |" in line]
    for command in (
        "dvc init --quiet --no-scm",
        f"dvc remote add --default team {where}",
        "dvc remote modify team verify true",
        *re.findall("`(dvc remote modify [^`]+)`", row),
    ):
        assert dvc(command.split()[1:]) == 0, command


@pytest.fixture
def pair(reproduced: Path, tmp_path: Path) -> tuple[Clone, Clone]:
    """Two clones that have nothing yet, and beside them a cache that has the results."""
    shutil.copytree(reproduced / ".dvc/cache", tmp_path / "cache")
    first, second = (Clone(reproduced, tmp_path / name, tmp_path) for name in ("first", "second"))
    return first, second


@pytest.mark.parametrize("link", ["symlink", "hardlink"])
def test_clones_with_one_cache_hold_links_and_write_beside_them(
    pair: tuple[Clone, Clone], reproduced: Path, link: str
) -> None:
    first, second = pair
    objects = first.folder.parent / "cache/files/md5"
    results, target = contents(reproduced / "data"), "build_ascii_tarball"
    for clone in pair:
        commands = USE_CACHE.replace("reflink,symlink", link)
        assert stages_run(clone.follow(commands, cache=first.folder.parent / "cache")) == []
        assert contents(clone.folder / "data") == results
        for path in (FEATURES, f"{LETTERS}/letters/letters-00000-of-00001.tar"):
            md5 = hash_of(clone.folder / path)
            assert (clone.folder / path).samefile(objects / md5[:2] / md5[2:])
        assert not (clone.folder / ".dvc/cache").exists()
    # What one makes the other takes.
    for clone in pair:
        apply_overrides(clone.folder / "params.yaml", ["seed=77"])
    assert stages_run(first.run("dvc", "repro", target)) == [target]
    assert damaged(objects) == []
    assert contents(second.folder / "data") == results
    assert stages_run(second.run("dvc", "repro", target)) == []
    made = contents(second.folder / LETTERS)
    assert made == contents(first.folder / LETTERS) != contents(reproduced / LETTERS)
    # Without DVC, which removes an output before its stage runs, nothing goes through a link either.
    apply_overrides(first.folder / "params.yaml", ["seed=78"])
    for module in ("mnist.fetch", "ascii_letter.build_tarball"):
        first.run("python", "-m", f"stages.{module}")
    assert contents(first.folder / LETTERS) != made
    assert contents(second.folder / LETTERS) == made
    assert damaged(objects) == []


def test_dvc_trains_again_where_it_was_not_told_to_check_out(pair: tuple[Clone, Clone]) -> None:
    """Why the page says `dvc checkout` and `dvc pull` first; if this fails, they are not needed."""
    clone, training = pair[0], ("dvc", "repro", "--dry", "train_mnist")
    commands = USE_CACHE.removesuffix("dvc repro\n")
    clone.follow(commands, cache=clone.folder.parent / "cache")
    (clone.folder / FEATURES).unlink()
    assert stages_run(clone.run(*training)) == ["train_mnist"]
    clone.run("dvc", "checkout")
    assert stages_run(clone.run(*training)) == []
