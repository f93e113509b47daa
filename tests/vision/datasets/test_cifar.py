"""CIFAR's files, made small: read from the folder and from the archive, and refused if damaged or hostile."""

from __future__ import annotations

import pickle
import tarfile

import numpy as np
import pytest

from flambeau.vision import datasets, transforms


def write(folder, name, content, protocol=2):
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(pickle.dumps(content, protocol))


@pytest.fixture
def cifar(tmp_path):
    """A folder with 3 images in each file, and all pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (18, 3072), dtype=np.uint8)
    folder = tmp_path / "cifar-10-batches-py"
    for number, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
        write(folder, name, {"data": pixels[3 * number : 3 * number + 3], "labels": [number, 0, 9]})
    write(folder, "batches.meta", {"label_names": list("abcdefghij")})
    return tmp_path, pixels


def test_folder(cifar):
    root, pixels = cifar
    train, test = datasets.CIFAR10(root), datasets.CIFAR10(root, train=False, transform=transforms.ToTensor())
    assert len(train) == 15 and len(test) == 3 and train.classes == list("abcdefghij") and train.class_to_idx["c"] == 2
    assert train.targets[:4] == [0, 0, 9, 1] and test.targets == [5, 0, 9]
    image, label = train[4]
    assert label == 0 and np.array_equal(np.asarray(image), pixels[4].reshape(3, 32, 32).transpose(1, 2, 0))
    tensor, label = test[0]
    assert label == 5 and tensor.shape == (3, 32, 32) and tensor[2, 0, 1].item() == np.float32(pixels[15, 2049]) / 255


def test_archive(cifar, tmp_path):
    root, _ = cifar
    expected = datasets.CIFAR10(root).data
    other = tmp_path / "other"
    other.mkdir()
    with tarfile.open(other / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(root / "cifar-10-batches-py", "cifar-10-batches-py")
    assert np.array_equal(datasets.CIFAR10(other).data, expected)
    content = (other / "cifar-10-python.tar.gz").read_bytes()
    (other / "cifar-10-python.tar.gz").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="damaged or cut off"):
        datasets.CIFAR10(other)


def test_cifar100(tmp_path):
    folder = tmp_path / "cifar-100-python"
    write(folder, "train", {"data": np.zeros((2, 3072), np.uint8), "fine_labels": [99, 0], "coarse_labels": [1, 2]})
    write(folder, "meta", {"fine_label_names": [str(n) for n in range(100)]})
    assert datasets.CIFAR100(tmp_path).targets == [99, 0]


def test_absent(tmp_path):
    with pytest.raises(RuntimeError, match=r"data_batch_1.*cifar-10-python\.tar\.gz.*downloads nothing"):
        datasets.CIFAR10(tmp_path, download=True)


class Hostile:
    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.parametrize(
    "content",
    [Hostile(), {"data": Hostile(), "labels": [0]}, [1, 2], {"data": np.zeros((2, 5), np.uint8), "labels": [0, 1]}, {"data": np.zeros((1, 3072), np.uint8), "labels": [10]}],
    ids=["hostile", "hostile inside", "no dictionary", "wrong shape", "wrong label"],
)  # fmt: skip
def test_bad_file(cifar, content, capsys):
    root, _ = cifar
    write(root / "cifar-10-batches-py", "data_batch_3", content)
    with pytest.raises(ValueError, match="cifar-10-batches-py"):
        datasets.CIFAR10(root)
    assert "executed" not in capsys.readouterr().out


def test_truncated_file(cifar):
    root, _ = cifar
    path = root / "cifar-10-batches-py" / "test_batch"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="test_batch"):
        datasets.CIFAR10(root, train=False)
