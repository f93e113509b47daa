"""What is saved under a path appears there whole, or not at all."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

import pytest

from flambeau._serialization.files import reading, writing


def test_the_old_file_stays_until_everything_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with writing(path) as stream:
        stream.write(b"new")
        stream.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new" and os.listdir(tmp_path) == ["a"]


def test_after_an_error_nothing_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for before in ([], ["a"]):
        with pytest.raises(OSError, match="No space left"), writing(path) as stream:
            stream.write(b"new")
            raise OSError(28, "No space left on device")
        assert os.listdir(tmp_path) == before
        path.write_bytes(b"old")
    assert path.read_bytes() == b"old"


def test_links_and_permissions_stay(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(b"old")
    real.chmod(0o640)
    link.symlink_to(real)
    with writing(link) as stream:
        stream.write(b"new")
    assert link.is_symlink() and real.read_bytes() == b"new"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    with writing(tmp_path / "a") as stream:
        stream.write(b"new")
    (tmp_path / "b").touch()
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_a_pipe_is_written_in_place(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    end = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with writing(path) as stream:
        stream.write(b"through")
    assert os.read(end, 100) == b"through" and stat.S_ISFIFO(path.stat().st_mode)
    os.close(end)


def test_a_folder_where_no_file_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with writing(path) as stream:
        stream.write(b"new")
        stream.flush()
        assert path.read_bytes() == b"new"


def test_a_long_name(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    with writing(path) as stream:
        stream.write(b"new")
    assert path.read_bytes() == b"new"


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"Parent directory .*missing does not exist"), writing(tmp_path / "missing" / "a"):
        pass


def test_streams_pass_through_and_stay_open() -> None:
    buffer = io.BytesIO()
    for opened in (writing(buffer), reading(buffer)):
        with opened as stream:
            assert stream is buffer
    assert not buffer.closed


def test_a_stream_that_cannot_seek() -> None:
    class Pipe:
        def read(self, count: int = -1) -> bytes:
            return b""

        readline = read

    with pytest.raises(AttributeError, match=r"'Pipe' object has no attribute 'seek'.*Pre-load the data into a buffer"), reading(Pipe()):  # type: ignore[arg-type]
        pass
