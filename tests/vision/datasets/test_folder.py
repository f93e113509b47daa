from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from flambeau.vision.datasets import DatasetFolder, ImageFolder


@pytest.fixture
def root(tmp_path):
    for number, path in enumerate(["dog/a.png", "dog/deep/b.JPG", "cat/c.bmp", "cat/notes.txt"]):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".txt":
            file.write_text("none")
        else:
            Image.new("L", (4, 3), number * 50).save(file)
    (tmp_path / "readme.txt").write_text("not a class")
    return tmp_path


def test_images(root):
    dataset = ImageFolder(root, transform=lambda image: (image.mode, image.size, image.getpixel((0, 0))[0] // 50))
    assert dataset.classes == ["cat", "dog"]
    assert dataset.class_to_idx == {"cat": 0, "dog": 1}
    assert dataset.targets == [0, 1, 1]
    assert dataset.imgs == dataset.samples
    assert [dataset[i] for i in range(len(dataset))] == [(("RGB", (4, 3), 2), 0), (("RGB", (4, 3), 0), 1), (("RGB", (4, 3), 1), 1)]


def test_any_files(root):
    dataset = DatasetFolder(
        str(root), loader=lambda path: Path(path).read_text(), is_valid_file=lambda path: path.endswith(".txt"), allow_empty=True
    )
    assert [dataset[i] for i in range(len(dataset))] == [("none", 0)]
    assert "Number of datapoints: 1" in repr(dataset)


def test_classes_without_files(root):
    with pytest.raises(FileNotFoundError, match=r"no valid file for the classes dog in .*Supported extensions are: .*\.bmp"):
        DatasetFolder(root, loader=open, extensions=(".bmp",))
    assert len(DatasetFolder(root, loader=open, extensions=(".bmp",), allow_empty=True)) == 1


def test_no_classes(tmp_path):
    with pytest.raises(FileNotFoundError, match="Couldn't find any class folder"):
        ImageFolder(tmp_path)


def test_one_way_to_choose_files(root):
    with pytest.raises(ValueError, match="cannot be None or not None at the same time"):
        DatasetFolder(root, loader=open)


def test_subclasses_choose_their_classes(root):
    class Dogs(ImageFolder):
        def find_classes(self, directory):
            return ["dog"], {"dog": 7}

    assert Dogs(root).targets == [7, 7]
