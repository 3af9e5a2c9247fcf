"""Very many contents, known by their hashes."""

import tracemalloc
from array import array

from stages.mnist.digests import DigestSet, digest, repeated


def test_a_content_is_new_once() -> None:
    contents = DigestSet()
    assert contents.add(b"one")
    assert not contents.add(b"one")
    assert contents.add(b"two")


def test_it_is_a_set_of_any_size() -> None:
    contents, expected = DigestSet(), set()
    for number in range(5000):
        content = str(number % 3000).encode()
        assert contents.add(content) == (content not in expected)
        expected.add(content)
    assert len(expected) == 3000
    assert all(contents.add(str(number).encode()) == (number >= 3000) for number in range(5000))


def test_a_content_takes_few_bytes() -> None:
    tracemalloc.start()
    contents = DigestSet()
    for number in range(50_000):
        contents.add(str(number).encode())
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 25 * 50_000


def test_a_digest_is_the_same_number_on_every_machine_and_never_0() -> None:
    assert digest(b"") == 0xB4B2797457A0A6E4
    assert digest(b"a") != digest(b"b")
    assert all(0 < digest(str(number).encode()) < 2**64 for number in range(1000))


def test_a_repeated_digest_is_found() -> None:
    assert repeated(array("Q", [3, 2**64 - 1, 1, 2**64 - 1])) == 2**64 - 1
    assert repeated(array("Q", [3, 2**64 - 1, 1])) is None
    assert repeated(array("Q")) is None
