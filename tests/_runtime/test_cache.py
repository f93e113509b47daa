from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from flambeau._runtime import cache


def entries(cache_home: Path) -> list[Path]:
    return sorted(cache_home.glob("*/*"))


def test_gets_what_was_put(cache_home: Path) -> None:
    assert cache.get("plan", "a") is None
    cache.put("plan", "a", b"first")
    assert cache.get("plan", "a") == b"first"
    cache.put("plan", "a", b"")
    assert cache.get("plan", "a") == b""
    assert cache.get("kernel", "a") is None
    assert cache.get("plan", "b") is None


def test_is_private_and_leaves_no_other_files(cache_home: Path) -> None:
    cache.put("plan", "a", b"content")
    assert cache_home.stat().st_mode & 0o777 == 0o700
    (entry,) = entries(cache_home)
    assert entry.stat().st_mode & 0o777 == 0o600


def test_default_place_is_below_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    cache.put("plan", "a", b"content")
    assert len(entries(tmp_path / ".cache" / "flambeau")) == 1


def test_relative_places_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    cache.put("plan", "a", b"content")
    assert cache.get("plan", "a") == b"content"
    assert len(entries(tmp_path / "home" / ".cache" / "flambeau")) == 1
    monkeypatch.setattr(cache.os.path, "expanduser", lambda path: path)  # as for a user that the system does not know
    cache.put("plan", "b", b"content")
    assert cache.get("plan", "b") is None
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content + b"x",
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        lambda content: b"X" + content[1:],
        lambda content: content[:20],
        lambda content: b"",
    ],
    ids=["short", "long", "flipped bit", "magic", "half a header", "empty"],
)
def test_damaged_entry_counts_as_missing_and_is_written_again(cache_home: Path, damage: Callable[[bytes], bytes]) -> None:
    cache.put("plan", "a", b"some content")
    (entry,) = entries(cache_home)
    entry.write_bytes(damage(entry.read_bytes()))
    assert cache.get("plan", "a") is None
    cache.put("plan", "a", b"some content")
    assert cache.get("plan", "a") == b"some content"


def test_entry_that_others_may_write_counts_as_missing(cache_home: Path) -> None:
    cache.put("plan", "a", b"content")
    (entry,) = entries(cache_home)
    entry.chmod(0o622)
    assert cache.get("plan", "a") is None


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can give files away")
def test_what_somebody_else_owns_is_not_used(cache_home: Path) -> None:
    cache.put("plan", "a", b"content")
    (entry,) = entries(cache_home)
    os.chown(entry, 12345, -1)
    assert cache.get("plan", "a") is None
    os.chown(entry, os.geteuid(), -1)
    assert cache.get("plan", "a") == b"content"
    os.chown(cache_home, 12345, -1)
    cache._checked.cache_clear()
    with pytest.warns(RuntimeWarning, match="owner 12345, mode 0700"):
        assert cache.get("plan", "a") is None


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_directory_that_is_open_to_others_is_not_used(cache_home: Path, mode: int) -> None:
    cache_home.mkdir()
    cache_home.chmod(mode)
    with pytest.warns(RuntimeWarning, match=f"must be a directory that you own, with mode 0700 .*mode 0{mode:o}"):
        cache.put("plan", "a", b"content")
    assert entries(cache_home) == []


def test_link_in_place_of_the_directory_is_not_followed(cache_home: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    cache_home.symlink_to(tmp_path / "elsewhere")
    with pytest.warns(RuntimeWarning, match="is not used"):
        cache.put("plan", "a", b"content")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_home_that_cannot_be_written_is_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a directory")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    cache.put("plan", "a", b"content")
    assert cache.get("plan", "a") is None


def test_cache_that_became_read_only_still_serves(cache_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.put("plan", "a", b"content")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("read-only file system")

    monkeypatch.setattr(cache, "_create", refuse)
    cache.put("plan", "b", b"content")
    assert cache.get("plan", "a") == b"content"
    assert cache.get("plan", "b") is None


def test_failed_write_leaves_nothing_behind(cache_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(cache.os, "replace", fail)
    cache.put("plan", "a", b"content")
    assert entries(cache_home) == []


def test_off(cache_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLAMBEAU_CACHE", "off")
    cache.put("plan", "a", b"content")
    assert cache.get("plan", "a") is None
    assert not cache_home.exists()


def test_directory_that_is_deleted_meanwhile_is_made_again(cache_home: Path) -> None:
    cache.put("plan", "a", b"content")
    (entry,) = entries(cache_home)
    entry.unlink()
    entry.parent.rmdir()
    cache_home.rmdir()
    cache.put("plan", "a", b"content")
    assert cache.get("plan", "a") == b"content"
    assert cache_home.stat().st_mode & 0o777 == 0o700


def test_trim_deletes_what_was_not_used_for_longest(cache_home: Path) -> None:
    now = time.time()
    for number in range(10):
        before = set(entries(cache_home))
        cache.put("plan", str(number), b"x" * 1000)
        (entry,) = set(entries(cache_home)) - before
        os.utime(entry, (now, now - 10_000 * (10 - number)))
    assert cache.get("plan", "0") is not None  # using it makes it young
    size = sum(entry.stat().st_size for entry in entries(cache_home))
    cache.trim(size)
    assert len(entries(cache_home)) == 10
    cache.trim(size - 1)
    left = [number for number in range(10) if cache.get("plan", str(number)) is not None]
    assert left == [0, 4, 5, 6, 7, 8, 9]


def test_trim_deletes_what_dead_processes_left(cache_home: Path) -> None:
    cache.put("plan", "a", b"content")
    shard = entries(cache_home)[0].parent
    (shard / "old.tmp").write_bytes(b"half")
    (shard / "new.tmp").write_bytes(b"half")
    os.utime(shard / "old.tmp", (0, 0))
    cache.trim(1 << 30)
    assert sorted(path.suffix for path in entries(cache_home)) == [".entry", ".tmp"]
    assert (shard / "new.tmp").exists()


def test_putting_keeps_the_size_within_its_bound(cache_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLAMBEAU_CACHE_MB", "1")
    for number in range(400):
        cache.put("plan", str(number), bytes(10_000))
        assert sum(entry.stat().st_size for entry in entries(cache_home)) < (1 << 20) * 17 / 16 + 20_000


@pytest.mark.parametrize("size", ["much", "-5", "0.5"])
def test_size_that_is_no_number_is_warned_about(size: str, cache_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLAMBEAU_CACHE_MB", size)
    with pytest.warns(RuntimeWarning, match=f"FLAMBEAU_CACHE_MB must be a whole number of at least 0, but is '{size}'"):
        cache.put("plan", "a", b"content")
    assert cache.get("plan", "a") == b"content"


def test_first_entry_of_a_process_looks_through_the_cache_once_an_hour(cache_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trims = []
    monkeypatch.setattr(cache, "trim", trims.append)
    monkeypatch.setattr(cache, "_added", None)
    cache.put("plan", "a", b"content")
    assert len(trims) == 1  # nobody ever did
    (cache_home / "trimmed").touch()
    monkeypatch.setattr(cache, "_added", None)
    cache.put("plan", "b", b"content")
    assert len(trims) == 1
    os.utime(cache_home / "trimmed", (0, 0))
    monkeypatch.setattr(cache, "_added", None)
    cache.put("plan", "c", b"content")
    assert len(trims) == 2


def test_an_entry_is_claimed_by_one(cache_home: Path) -> None:
    assert cache.claim("plan", "a")
    assert not cache.claim("plan", "a")
    assert cache.claim("plan", "b")
    cache.put("plan", "a", b"content")
    cache.disclaim("plan", "a")
    cache.disclaim("plan", "b")
    assert [path.suffix for path in entries(cache_home)] == [".entry"]
    assert cache.claim("plan", "a")


def test_a_claim_ends_with_the_patience_of_others(cache_home: Path) -> None:
    assert cache.claim("plan", "a")
    (mark,) = entries(cache_home)
    os.utime(mark, (0, 0))
    assert cache.claim("plan", "a")  # who claimed it may have died
    assert not cache.claim("plan", "a")
    os.utime(mark, (0, 0))
    cache.put("plan", "b", b"content")
    cache.trim(1 << 30)
    assert [path.suffix for path in entries(cache_home)] == [".entry"]


def test_where_nothing_can_be_said_all_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a directory")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    for _ in range(2):
        assert cache.claim("plan", "a")
        cache.disclaim("plan", "a")


_HAMMER = """
import random, sys
from flambeau._runtime import cache
generator = random.Random(int(sys.argv[1]))
hits = 0
for step in range(400):
    key = generator.randrange(10)
    if generator.random() < 0.5:
        cache.put("plan", str(key), bytes([key]) * generator.randrange(1, 50_000))
    elif (content := cache.get("plan", str(key))) is not None:
        assert content == bytes([key]) * len(content), "a torn entry"
        hits += 1
    if step % 100 == 50:
        cache.trim(100_000)
assert hits > 20, hits
"""


def test_processes_that_share_a_cache(cache_home: Path) -> None:
    root = Path(cache.__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    processes = [subprocess.Popen([sys.executable, "-c", _HAMMER, str(seed)], env=environment) for seed in range(3)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0, 0]
