from __future__ import annotations

import io
import mmap
import zipfile
from pathlib import Path

import pytest

import flambeau
from flambeau import load, save, serialization
from flambeau.serialization import LoadEndianness
from flambeau.utils.serialization import config


def saved(value: object, **options: object) -> io.BytesIO:
    buffer = io.BytesIO()
    save(value, buffer, **options)
    buffer.seek(0)
    return buffer


def checksums(file: io.BytesIO) -> list[int]:
    found = [record.CRC for record in zipfile.ZipFile(file).infolist()]
    file.seek(0)
    return found


def test_checksums_can_be_left_out() -> None:
    assert serialization.get_crc32_options() and all(checksums(saved(flambeau.ones(3))))
    serialization.set_crc32_options(False)
    try:
        file = saved(flambeau.ones(3))
    finally:
        serialization.set_crc32_options(True)
    assert not any(checksums(file)) and load(file).tolist() == [1, 1, 1]


def test_alignment(tmp_path: Path) -> None:
    with config.patch("save.storage_alignment", 4096):
        save([flambeau.full((5,), 1.25), flambeau.full((7,), 2.5)], tmp_path / "aligned.pt")
    data = (tmp_path / "aligned.pt").read_bytes()
    assert all(data.index(flambeau.full((n,), value).numpy().tobytes()) % 4096 == 0 for n, value in ((5, 1.25), (7, 2.5)))
    assert load(tmp_path / "aligned.pt", mmap=True)[1].tolist() == [2.5] * 7


def test_the_byte_order_of_files_that_do_not_say() -> None:
    assert serialization.get_default_load_endianness() is None
    numbers = flambeau.tensor([1, 256], dtype=flambeau.int16)
    file = saved(numbers, _disable_byteorder_record=True)
    for endianness, expected in ((LoadEndianness.LITTLE, [1, 256]), (LoadEndianness.BIG, [256, 1]), (None, [1, 256])):
        serialization.set_default_load_endianness(endianness)
        file.seek(0)
        assert load(file).tolist() == expected and serialization.get_default_load_endianness() is endianness
    with pytest.raises(TypeError, match="expected LoadEndianness"):
        serialization.set_default_load_endianness("big")  # type: ignore[arg-type]
    with config.patch({"load.endianness": LoadEndianness.BIG}):
        assert load(saved(numbers)).tolist() == [1, 256]


def test_mapped_storages_that_change_the_file(tmp_path: Path) -> None:
    path = tmp_path / "shared.pt"
    save(flambeau.zeros(100), path)
    with serialization.set_default_mmap_options(mmap.MAP_SHARED):
        assert serialization.get_default_mmap_options() == mmap.MAP_SHARED
        load(path, mmap=True).numpy()[3] = 5.0
    assert serialization.get_default_mmap_options() == mmap.MAP_PRIVATE
    with config.patch("load.mmap", True):
        private = load(path)
    assert private[3].item() == 5
    private.numpy()[3] = 6.0
    assert load(path, mmap=True)[3].item() == 5
    with pytest.raises(ValueError, match="expected mmap.MAP_PRIVATE or mmap.MAP_SHARED, but got 77"):
        serialization.set_default_mmap_options(77)


def test_options_have_names() -> None:
    with pytest.raises(AttributeError), config.patch({"save.compute_crc32": False, "save.nothing": 1}):
        pass
    assert config.save.compute_crc32
    with pytest.raises(AttributeError):
        config.load.nothing = 1  # type: ignore[attr-defined]


def test_locations() -> None:
    assert serialization.location_tag(flambeau.ones(1).untyped_storage()) == "cpu"
    assert serialization.location_tag(flambeau.ones(1, device="meta").untyped_storage()) == "meta"
    restored = load(saved(flambeau.ones(2)), map_location=lambda storage, _: serialization.default_restore_location(storage, "meta"))
    assert restored.device.type == "meta" and restored.shape == (2,)
    with pytest.raises(RuntimeError, match="Attempting to deserialize object on device 'cuda:0'"):
        load(saved(flambeau.ones(2)), map_location=lambda storage, _: serialization.default_restore_location(storage, "cuda:0"))
