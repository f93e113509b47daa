"""A batch of MNIST and the graph of a ResNet-50 that reads it, in TensorBoard.

    python -m flambeau examples/seed/tensorboard_mnist.py [FOLDER] [--test]

FOLDER (default: mnist_train) holds the IDX files of the split that is asked for: the training digits, or with `--test` the
test digits. Afterwards: tensorboard --logdir=runs
"""

from __future__ import annotations

import sys

import torch
import torchvision
from torch.utils.tensorboard import SummaryWriter
from torchvision import datasets, transforms

arguments = sys.argv[1:]
train = "--test" not in arguments
folder = next((argument for argument in arguments if not argument.startswith("--")), "mnist_train")

# Writer will output to ./runs/ directory by default
writer = SummaryWriter()

transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])
trainset = datasets.MNIST(folder, train=train, download=False, transform=transform)
trainloader = torch.utils.data.DataLoader(trainset, batch_size=64, shuffle=True)
model = torchvision.models.resnet50(weights=None)
# Have ResNet model take in grayscale rather than RGB
model.conv1 = torch.nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
images, labels = next(iter(trainloader))

grid = torchvision.utils.make_grid(images)
writer.add_image("images", grid, 0)
writer.add_graph(model, images)
writer.close()
print(f"a grid of {len(images)} images, {tuple(grid.shape)}, and the graph are in {writer.log_dir}")
