"""Layers of `torch.nn`, with sizes as they are and with the batch free."""

from __future__ import annotations

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.nn import functional as F
from flambeau.onnx import OnnxExporterError, export

onnx = pytest.importorskip("onnx")

from tests.onnx.checks import check, check_free, compare, example, module_of  # noqa: E402

NEAR = (example(3, 4), example(3, 5)[:, 1:].contiguous())
SIGNS = torch.where(example(3, 4) > 0, 1.0, -1.0)
PROBABILITIES = (torch.sigmoid(NEAR[0]), torch.sigmoid(NEAR[1]))
CLASSES = torch.tensor([0, 3, 1])
IMAGE = example(2, 3, 8, 9)


class Unpooled(nn.Module):
    def __init__(self, dims):
        super().__init__()
        self.pool = getattr(nn, f"MaxPool{dims}d")(2, return_indices=True)
        self.unpool = getattr(nn, f"MaxUnpool{dims}d")(2)

    def forward(self, x):
        return self.unpool(*self.pool(x))


class Stepped(nn.Module):
    def __init__(self, cell):
        super().__init__()
        self.cell = cell

    def forward(self, x):
        state = self.cell(x)
        return self.cell(x * 2, state)


LAYERS = {
    "adaptive windows of several sizes": (lambda: nn.Sequential(nn.AdaptiveAvgPool2d((3, 4)), nn.AdaptiveMaxPool2d((2, 3))), IMAGE),
    "adaptive pools of volumes": (lambda: nn.Sequential(nn.AdaptiveMaxPool3d(3), nn.AdaptiveAvgPool3d(2)), example(2, 2, 5, 4, 6)),
    "average pools": (lambda: nn.Sequential(nn.AvgPool2d(3, 2, 1, ceil_mode=True), nn.AvgPool2d(2, 1, 1, count_include_pad=False)), IMAGE),
    "average pool with a divisor": (lambda: nn.AvgPool2d(2, divisor_override=3), IMAGE),
    "max pools": (lambda: nn.Sequential(nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.MaxPool2d(2, 1, dilation=2)), IMAGE),
    "max pool with places": (lambda: nn.MaxPool2d(2, return_indices=True), IMAGE),
    "max unpool": (lambda: nn.Sequential(Unpooled(2)), example(2, 3, 8, 8)),
    "power pools": (lambda: nn.Sequential(nn.LPPool2d(2, 2), nn.LPPool2d(1, 2, 1)), IMAGE),
    "batch norm without statistics": (lambda: nn.BatchNorm2d(3, track_running_stats=False), IMAGE),
    "instance norm with statistics": (lambda: nn.InstanceNorm2d(3, affine=True, track_running_stats=True), IMAGE),
    "rms norm": (lambda: nn.RMSNorm(4), example(2, 3, 4)),
    "local response norm": (lambda: nn.LocalResponseNorm(2), IMAGE),
    "bilinear": (lambda: nn.Bilinear(4, 4, 2), *NEAR),
    "circular padding": (lambda: nn.Sequential(nn.CircularPad2d((1, 2, 0, 1)), nn.Conv2d(3, 2, 3, padding=1, padding_mode="circular")), IMAGE),
    "padding that cuts": (lambda: nn.ConstantPad2d((1, -1, 0, 2), 2.5), IMAGE),
    "transposed": (lambda: nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1, output_padding=1, dilation=2), IMAGE),
    "embedding bags": (lambda: nn.EmbeddingBag(7, 3, mode="mean", padding_idx=2), torch.tensor([[0, 6, 2], [2, 2, 1]])),
    "largest of bags": (lambda: nn.EmbeddingBag(7, 3, mode="max"), torch.tensor([[0, 6, 2], [2, 2, 1]])),
    "fold": (lambda: nn.Fold((4, 5), (2, 2)), example(2, 12, 12)),
    "unfold": (lambda: nn.Unfold((2, 3), padding=1, stride=2), IMAGE),
    "pixels": (lambda: nn.Sequential(nn.PixelUnshuffle(2), nn.ChannelShuffle(4), nn.PixelShuffle(2)), example(2, 3, 4, 6)),
    "thresholds": (lambda: nn.Sequential(nn.Threshold(0.1, 2.0), nn.Hardshrink(), nn.Softshrink(0.2), nn.Tanhshrink()), IMAGE),
    "random slopes": (lambda: nn.RReLU(), IMAGE),
    "gelu": (lambda: nn.Sequential(nn.GELU(), nn.GELU("tanh"), nn.GLU(-2)), example(2, 4, 4)),
    "upsampled nearest": (lambda: nn.Sequential(nn.Upsample(scale_factor=2), nn.Upsample(size=(5, 7), mode="nearest-exact")), IMAGE),
    "upsampled smooth": (lambda: nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Upsample(size=(9, 7), mode="bicubic")), IMAGE),
    "upsampled to corners": (lambda: nn.Upsample(size=(5, 7), mode="bilinear", align_corners=True), IMAGE),
    "weight norm": (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 2)), NEAR[0]),
    "transformer": (lambda: nn.Transformer(4, 2, 1, 1, 8, batch_first=True), example(2, 3, 4), example(2, 5, 4)),
    "attention, length first": (lambda: nn.MultiheadAttention(4, 2), example(3, 2, 4), example(5, 2, 4), example(5, 2, 4)),
    "causal attention": (lambda: module_of(lambda q, k: F.scaled_dot_product_attention(q, k, k, is_causal=True), 2), example(2, 2, 3, 4), example(2, 2, 5, 4)),
    "attention with shared heads": (lambda: module_of(lambda q, k: F.scaled_dot_product_attention(q, k, k, enable_gqa=True), 2), example(2, 4, 3, 4), example(2, 2, 3, 4)),
    "lstm": (lambda: nn.LSTM(3, 4, batch_first=True), example(2, 5, 3)),
    "lstm both ways": (lambda: nn.LSTM(3, 4, 2, bidirectional=True, batch_first=True), example(2, 5, 3)),
    "lstm without biases": (lambda: nn.LSTM(3, 4, 3, bias=False, dropout=0.3, batch_first=True), example(2, 5, 3)),
    "gru": (lambda: nn.GRU(3, 4, 2, bidirectional=True, batch_first=True), example(2, 5, 3)),
    "rnn": (lambda: nn.RNN(3, 4, 2, batch_first=True), example(2, 5, 3)),
    "cells": (lambda: nn.Sequential(nn.RNNCell(3, 4), nn.GRUCell(4, 2)), example(2, 3)),
    "lstm cell": (lambda: Stepped(nn.LSTMCell(3, 4)), example(2, 3)),
    "l1": (nn.L1Loss, *NEAR),
    "mse": (lambda: nn.MSELoss(reduction="none"), *NEAR),
    "huber": (lambda: nn.HuberLoss(delta=0.5), *NEAR),
    "smooth l1": (lambda: nn.SmoothL1Loss(reduction="sum"), *NEAR),
    "binary": (nn.BCELoss, *PROBABILITIES),
    "binary of logits": (lambda: nn.BCEWithLogitsLoss(pos_weight=torch.ones(4) * 2), NEAR[0], PROBABILITIES[1]),
    "divergence": (lambda: nn.KLDivLoss(reduction="none"), NEAR[0].log_softmax(1), NEAR[1].softmax(1)),
    "divergence of a batch": (lambda: nn.KLDivLoss(reduction="batchmean"), NEAR[0].log_softmax(1), NEAR[1].softmax(1)),
    "divergence of logarithms": (lambda: nn.KLDivLoss(reduction="sum", log_target=True), NEAR[0].log_softmax(1), NEAR[1].log_softmax(1)),
    "likelihood": (lambda: nn.NLLLoss(ignore_index=3), NEAR[0].log_softmax(1), CLASSES),
    "classes": (nn.CrossEntropyLoss, NEAR[0], CLASSES),
    "smoothed classes": (lambda: nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0, 4.0]), label_smoothing=0.1), NEAR[0], CLASSES),
    "probabilities": (nn.CrossEntropyLoss, NEAR[0], NEAR[1].softmax(1)),
    "cosine": (lambda: nn.CosineEmbeddingLoss(margin=0.1), *NEAR, SIGNS[:, 0].contiguous()),
    "ranking": (lambda: nn.MarginRankingLoss(0.1), *NEAR, SIGNS),
    "hinge": (nn.HingeEmbeddingLoss, NEAR[0], SIGNS),
    "soft margin": (nn.SoftMarginLoss, NEAR[0], SIGNS),
    "margins": (lambda: nn.MultiMarginLoss(p=2), NEAR[0], CLASSES),
    "margins of labels": (nn.MultiLabelMarginLoss, NEAR[0][:2], torch.tensor([[3, 0, -1, 1], [1, -1, 2, 0]])),
    "soft margins of labels": (nn.MultiLabelSoftMarginLoss, NEAR[0], (SIGNS > 0).float()),
    "poisson": (lambda: nn.PoissonNLLLoss(full=True), NEAR[0], NEAR[1].abs() * 3),
    "triplets": (lambda: nn.TripletMarginLoss(swap=True), *NEAR, SIGNS),
    "similarity": (lambda: nn.CosineSimilarity(), *NEAR),
    "distance": (lambda: nn.PairwiseDistance(1.0, keepdim=True), *NEAR),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    torch.manual_seed(0)
    make, *inputs = LAYERS[name]
    layer = make()
    check(layer, *inputs)
    check_free(layer, *inputs, dims=(1,) if name == "attention, length first" else (0,))


def test_every_size_of_a_network_may_be_free():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Upsample(scale_factor=2, mode="bilinear"), nn.GroupNorm(2, 4),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2),
    )  # fmt: skip
    model = check_free(network.eval(), IMAGE, dims=(0, 2, 3))
    assert [node.op_type for node in model.graph.node][:4] == ["Conv", "BatchNormalization", "Relu", "MaxPool"]
    check_free(nn.LSTM(3, 4, 2, bidirectional=True), example(5, 2, 3), dims=(0, 1))
    check_free(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), example(2, 3, 4), dims=(0, 1))
    check_free(module_of(lambda x: x.view(x.shape[0], -1).repeat(1, 2)[:, :: x.shape[1]] / x.shape[2]), example(2, 3, 4), dims=(0, 1, 2))


def test_recurrent_graphs_are_one_operator_a_layer():
    torch.manual_seed(0)
    layer = nn.LSTM(3, 4, 2, bidirectional=True)
    model = check(layer, example(5, 2, 3))
    assert [node.op_type for node in model.graph.node] == [
        "LSTM",
        "Transpose",
        "Reshape",
        "LSTM",
        "Transpose",
        "Reshape",
        "Concat",
        "Concat",
    ]
    assert {each.name for each in model.graph.initializer} >= {"W_l0", "R_l0", "B_l0", "W_l1", "R_l1", "B_l1"}
    assert [node.op_type for node in check(nn.GRU(3, 4), example(5, 2, 3)).graph.node] == ["GRU", "Squeeze"]
    first, second = example(2, 2, 4), example(2, 2, 4) + 1
    assert check(Stated(), example(5, 2, 3), first, second).graph.node[0].op_type == "Slice"
    relu = export(nn.RNN(3, 4, nonlinearity="relu"), (example(5, 2, 3),)).model_proto  # which ONNX's reference does not run
    assert [b"Relu"] in [list(each.strings) for each in relu.graph.node[0].attribute]
    lrn = export(nn.LocalResponseNorm(3), (IMAGE,)).model_proto  # of which it sees some channels only
    assert [node.op_type for node in lrn.graph.node] == ["LRN"]


class Stated(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(3, 4, 2)

    def forward(self, x, h, c):
        return self.rnn(x, (h, c))


@pytest.mark.filterwarnings("ignore:.torch.nn.utils.weight_norm.:FutureWarning")
def test_hooks_may_assign_attributes():
    layer = nn.utils.weight_norm(nn.Linear(4, 2))
    before = layer.weight
    check(layer, NEAR[0])
    assert isinstance(layer.weight, torch.Tensor) and torch.equal(layer.weight, before)


def test_bags_with_offsets():
    indices, offsets = torch.tensor([0, 6, 2, 2, 1]), torch.tensor([0, 2, 2])
    for mode in ("sum", "mean", "max"):
        check(nn.EmbeddingBag(7, 3, mode=mode), indices, offsets)
    check(nn.EmbeddingBag(7, 3, mode="sum", include_last_offset=True, padding_idx=2), indices, torch.tensor([0, 2, 5]))


def test_samples_of_images_and_grids():
    grid = example(2, 3, 3, 2).clamp(-1, 1)
    for mode in ("bilinear", "nearest"):
        check(module_of(lambda x, g, mode=mode: F.grid_sample(x, g, mode, "border", align_corners=False), 2), IMAGE, grid)
    check(module_of(lambda theta: F.affine_grid(theta, (1, 2, 3, 4), align_corners=False)), example(1, 2, 3))
    check(module_of(lambda x: F.interpolate(x, size=(2, 3), mode="area")), example(1, 2, 5, 7))
    check(module_of(torch.linalg.det), example(2, 3, 3))


def written(x):
    x = x * 1
    x[0] = 1.0
    x[:, 1:3, ::2] += 2
    rows = x.view(-1, 5)
    rows[3].mul_(3)
    first, second = x.chunk(2, 2)
    second.zero_()
    x.transpose(0, 1)[1] = x[:, 0]
    x[..., -1].copy_(x[..., 0])
    return x, rows, first


def masked(x):
    x = x.clone()
    x[x > 0.5] = 0
    x[torch.tensor([0, 2]), torch.tensor([1, 1])] = torch.tensor([5.0, 6.0])
    x[:, torch.tensor([3])] = 9.0
    return x.masked_fill_(x < -1, 7)


def test_writes_are_new_values():
    check(module_of(written), example(3, 4, 5))
    check(module_of(masked), example(3, 4))
    check_free(module_of(masked), example(3, 4), dims=(0,))


@pytest.mark.parametrize(
    ("layer", "inputs", "text"),
    [
        (
            nn.CTCLoss(),
            (example(5, 2, 4).log_softmax(-1), torch.tensor([[1, 2], [3, 1]]), torch.tensor([5, 5]), torch.tensor([2, 2])),
            "ctc_loss",
        ),
        (nn.LSTM(3, 4, proj_size=2), (example(5, 2, 3),), "proj_size"),
        (nn.AdaptiveMaxPool2d(3, return_indices=True), (IMAGE,), "with indices"),
        (nn.GaussianNLLLoss(), (*NEAR, PROBABILITIES[0]), "asks for the numbers"),
        (module_of(lambda x: torch.view_as_complex(x)), (example(3, 2),), "view_as_complex"),
        (module_of(torch.nonzero), (example(3, 2),), "depends on numbers"),
    ],
)
def test_what_has_no_counterpart_is_said(layer, inputs, text):
    with pytest.raises(OnnxExporterError, match=text):
        export(layer, inputs)


def test_vision():
    from flambeau.vision import models

    torch.manual_seed(0)
    for make in (models.mobilenet_v2, models.densenet121):
        network = make(num_classes=3).eval()
        x = example(1, 3, 64, 64)
        model = export(network, (x,), input_names=["x"], dynamic_axes={"x": {0: "batch"}}).model_proto
        assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"  # from an example of one
        compare(model, network, [torch.cat([x, x * 2, x + 1])], 1e-4)
