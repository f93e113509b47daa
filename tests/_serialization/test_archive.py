"""The zip file: its layout, and what is refused."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest

from flambeau._serialization import archive
from flambeau._serialization.archive import ArchiveReader, ArchiveWriter, fill


def written(records: dict[str, bytes], folder: str = "archive") -> bytes:
    stream = io.BytesIO()
    writer = ArchiveWriter(stream, folder)
    for name, data in records.items():
        writer.write(name, data)
    writer.close()
    return stream.getvalue()


def zipped(records: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> io.BytesIO:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as file:
        for name, data in records.items():
            file.writestr(name, data)
    return stream


def test_any_zip_reader_reads_it() -> None:
    records = {"data.pkl": b"pickle", "data/0": bytes(range(256)), "data/1": b""}
    with zipfile.ZipFile(io.BytesIO(written(records, "model"))) as file:
        assert file.testzip() is None
        assert file.namelist() == ["model/data.pkl", "model/data/0", "model/data/1", "model/version", "model/.data/serialization_id"]
        assert all(file.read(f"model/{name}") == data for name, data in records.items())
        assert file.read("model/version") == b"3\n"


def test_reading_what_was_written() -> None:
    records = {"data.pkl": b"pickle", "data/0": bytes(100), "data/10": b"x"}
    data = written(records)
    reader = ArchiveReader(io.BytesIO(data))
    for name, content in records.items():
        assert name in reader and reader.size(name) == len(content) and reader.read(name) == content
        assert reader.offset(name) % 64 == 0 and data[reader.offset(name) :].startswith(content)
    assert "data/1" not in reader
    with pytest.raises(RuntimeError, match="has no record data/1;"):
        reader.read("data/1")


def test_the_identification_depends_on_the_contents_alone() -> None:
    def identification(data: bytes) -> bytes:
        return ArchiveReader(io.BytesIO(written({"data.pkl": data}))).read(".data/serialization_id")

    assert identification(b"a") == identification(b"a") != identification(b"b")
    assert len(identification(b"a")) == 40 and identification(b"a").isdigit()


@pytest.mark.parametrize("limit", [0, 40, 300])
def test_records_and_positions_of_4_gigabytes(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if 32 bits ended at ``limit``: what is larger goes to fields of 64 bits, and data stays aligned."""
    monkeypatch.setattr(archive, "_LIMIT32", limit)
    data = written({"data.pkl": b"p" * 50, "data/0": b"q" * 350})
    position = 0
    for content in (b"p" * 50, b"q" * 350):
        start = data.index(content, position)
        assert start % 64 == 0
        position = start + len(content)
        wide = len(content) >= limit or data.rindex(b"PK\x03\x04", 0, start) >= limit
        form = "<4sL2Q" if wide else "<4s3L"
        signature, _, *sizes = struct.unpack_from(form, data, position)
        assert signature == b"PK\x07\x08" and sizes == [len(content)] * 2


def test_compressed_records_are_refused() -> None:
    stream = zipped({"a/data.pkl": b"p", "a/data/0": bytes(100)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(RuntimeError, match="record data/0 of this archive is compressed"):
        ArchiveReader(stream).read("data/0")


def test_archives_that_claim_more_than_they_have() -> None:
    stream = zipped({"a/data.pkl": b"p", "a/data/0": bytes(10**7)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(RuntimeError, match=r"claims to hold 100000\d\d bytes; the file is damaged or hostile"):
        ArchiveReader(stream)


def test_records_of_the_same_name_are_refused() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file, pytest.warns(UserWarning, match="Duplicate name"):
        file.writestr("a/data.pkl", b"one")
        file.writestr("a/data.pkl", b"two")
    with pytest.raises(RuntimeError, match="two records of the same name"):
        ArchiveReader(stream)


@pytest.mark.parametrize("names", [["readme.txt"], ["data.pkl"], ["a/b/data.pkl"], ["a/data.pkl", "b/data.pkl"]])
def test_other_zip_archives_are_refused(names: list[str]) -> None:
    with pytest.raises(RuntimeError, match="this zip archive is no checkpoint"):
        ArchiveReader(zipped(dict.fromkeys(names, b"")))


def test_a_directory_that_points_elsewhere() -> None:
    data = written({"data.pkl": b"pickle"})
    entry = data.index(b"PK\x01\x02")
    for offset in (7, 2**31):
        moved = data[: entry + 42] + offset.to_bytes(4, "little") + data[entry + 46 :]
        with pytest.raises(RuntimeError, match="has no header where the directory says"):
            ArchiveReader(io.BytesIO(moved)).read("data.pkl")


def test_fill_reads_exactly() -> None:
    target = bytearray(4)
    fill(io.BytesIO(b"abcdef"), memoryview(target))
    assert target == b"abcd"
    with pytest.raises(RuntimeError, match="the file ends 1 bytes too early"):
        fill(io.BytesIO(b"abc"), memoryview(target))

    class ReadOnly:
        def read(self, count: int) -> bytes:
            return b"xy"[:count]

    fill(ReadOnly(), memoryview(target))  # type: ignore[arg-type]
    assert target == b"xyxy"
