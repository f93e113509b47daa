"""Every layer prints as PyTorch's, draws the same parameters, and computes the same outputs and gradients."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore")

RNG = np.random.default_rng(1)


def r(*shape):
    return RNG.uniform(-1.5, 1.5, shape).astype(np.float32)


def ints(*shape, high=4):
    return RNG.integers(0, high, shape)


IMAGE = (2, 4, 7, 6)
CASES = [
    ("Identity()", r(2, 3)),
    ("Linear(3, 4)", r(2, 3)),
    ("Linear(3, 4, bias=False)", r(2, 5, 3)),
    ("Bilinear(3, 4, 5)", r(2, 3), r(2, 4)),
    ("LazyLinear(4)", r(2, 3)),
    ("Flatten()", r(*IMAGE)),
    ("Unflatten(1, (2, 2))", r(*IMAGE)),
    ("Conv1d(4, 6, 3, padding=1)", r(2, 4, 7)),
    ("Conv2d(4, 6, (3, 2), stride=2, padding=(1, 0), groups=2, bias=False)", r(*IMAGE)),
    ("Conv2d(4, 6, 3, padding='same', dilation=2)", r(*IMAGE)),
    ("Conv2d(4, 6, 3, padding=2, padding_mode='circular')", r(*IMAGE)),
    ("Conv2d(4, 6, 4, padding='same', padding_mode='reflect')", r(*IMAGE)),
    ("Conv3d(2, 3, 2)", r(1, 2, 4, 4, 4)),
    ("ConvTranspose1d(4, 6, 3, stride=2, output_padding=1)", r(2, 4, 7)),
    ("ConvTranspose2d(4, 6, 3, stride=2, groups=2)", r(*IMAGE)),
    ("ConvTranspose3d(2, 3, 2)", r(1, 2, 4, 4, 4)),
    ("LazyConv2d(6, 3, 2)", r(*IMAGE)),
    ("LazyConvTranspose2d(6, 3)", r(*IMAGE)),
    ("BatchNorm1d(4)", r(5, 4)),
    ("BatchNorm2d(4, momentum=None)", r(*IMAGE)),
    ("BatchNorm2d(4, affine=False)", r(*IMAGE)),
    ("BatchNorm2d(4, bias=False, track_running_stats=False)", r(*IMAGE)),
    ("BatchNorm3d(2)", r(3, 2, 3, 3, 2)),
    ("LazyBatchNorm2d()", r(*IMAGE)),
    ("InstanceNorm1d(4)", r(2, 4, 5)),
    ("InstanceNorm2d(4, affine=True, track_running_stats=True)", r(*IMAGE)),
    ("InstanceNorm2d(4)", r(4, 7, 6)),
    ("GroupNorm(2, 4)", r(*IMAGE)),
    ("GroupNorm(2, 4, affine=False)", r(*IMAGE)),
    ("LayerNorm((7, 6))", r(*IMAGE)),
    ("LayerNorm(6, bias=False)", r(*IMAGE)),
    ("RMSNorm(6)", r(*IMAGE)),
    ("LocalResponseNorm(3)", r(*IMAGE)),
    ("MaxPool1d(3, 2, 1)", r(2, 4, 7)),
    ("MaxPool2d((3, 2), stride=2, ceil_mode=True)", r(*IMAGE)),
    ("MaxPool3d(2)", r(1, 2, 4, 4, 4)),
    ("AvgPool1d(3, 2)", r(2, 4, 7)),
    ("AvgPool2d(3, padding=1)", r(*IMAGE)),
    ("AvgPool3d(2)", r(1, 2, 4, 4, 4)),
    ("LPPool2d(2, 3, stride=2)", np.abs(r(*IMAGE)) + 0.1),
    ("AdaptiveAvgPool1d(3)", r(2, 4, 7)),
    ("AdaptiveAvgPool2d((3, None))", r(*IMAGE)),
    ("AdaptiveAvgPool3d(2)", r(1, 2, 4, 4, 4)),
    ("AdaptiveMaxPool1d(3)", r(2, 4, 7)),
    ("AdaptiveMaxPool2d(3)", r(*IMAGE)),
    ("AdaptiveMaxPool3d(2)", r(1, 2, 4, 4, 4)),
    ("ZeroPad2d((1, 2, 0, 1))", r(*IMAGE)),
    ("ConstantPad1d(2, 3.5)", r(2, 4, 7)),
    ("ReflectionPad2d(2)", r(*IMAGE)),
    ("ReplicationPad3d(1)", r(1, 2, 4, 4, 4)),
    ("CircularPad1d((1, 2))", r(2, 4, 7)),
    ("ReLU(inplace=True)", r(3, 4)),
    ("ReLU6()", r(3, 4)),
    ("Threshold(0.1, 2)", r(3, 4)),
    ("Hardtanh(-0.5, 0.5)", r(3, 4)),
    ("ELU(0.7)", r(3, 4)),
    ("CELU(0.7)", r(3, 4)),
    ("SELU()", r(3, 4)),
    ("GELU('tanh')", r(3, 4)),
    ("GLU(1)", r(3, 4)),
    ("SiLU()", r(3, 4)),
    ("Mish()", r(3, 4)),
    ("Hardswish()", r(3, 4)),
    ("Hardsigmoid()", r(3, 4)),
    ("Hardshrink()", r(3, 4)),
    ("Softshrink()", r(3, 4)),
    ("Tanhshrink()", r(3, 4)),
    ("Softplus(2, 10)", r(3, 4)),
    ("Softsign()", r(3, 4)),
    ("Sigmoid()", r(3, 4)),
    ("LogSigmoid()", r(3, 4)),
    ("Tanh()", r(3, 4)),
    ("LeakyReLU(0.2)", r(3, 4)),
    ("PReLU(4)", r(3, 4)),
    ("Softmax(dim=1)", r(3, 4)),
    ("Softmin(dim=1)", r(3, 4)),
    ("LogSoftmax(dim=1)", r(3, 4)),
    ("Softmax2d()", r(*IMAGE)),
    ("Dropout(0.5)", r(30, 4)),
    ("Dropout1d(0.5)", r(2, 4, 7)),
    ("Dropout2d(0.5)", r(*IMAGE)),
    ("Dropout3d(0.5)", r(1, 2, 4, 4, 4)),
    ("AlphaDropout(0.3)", r(30, 4)),
    ("FeatureAlphaDropout(0.3)", r(*IMAGE)),
    ("Embedding(5, 3, padding_idx=1)", ints(2, 4)),
    ("EmbeddingBag(5, 3, mode='sum')", ints(2, 4)),
    ("PixelShuffle(2)", r(*IMAGE)),
    ("PixelUnshuffle(2)", r(1, 2, 4, 6)),
    ("ChannelShuffle(2)", r(*IMAGE)),
    ("Unfold(2)", r(*IMAGE)),
    ("Fold((5, 6), 2)", r(2, 12, 20)),
    ("Upsample(scale_factor=2)", r(*IMAGE)),
    ("Upsample(size=(9, 8), mode='bilinear', align_corners=True)", r(*IMAGE)),
    ("UpsamplingNearest2d(scale_factor=2)", r(*IMAGE)),
    ("UpsamplingBilinear2d(size=9)", r(*IMAGE)),
    ("CosineSimilarity()", r(3, 4), r(3, 4)),
    ("PairwiseDistance(3)", r(3, 4), r(3, 4)),
    ("L1Loss()", r(3, 4), r(3, 4)),
    ("MSELoss(reduction='sum')", r(3, 4), r(3, 4)),
    ("SmoothL1Loss(beta=0.5)", r(3, 4), r(3, 4)),
    ("HuberLoss(delta=0.5)", r(3, 4), r(3, 4)),
    ("NLLLoss(ignore_index=2)", r(3, 4), ints(3)),
    ("CrossEntropyLoss(label_smoothing=0.1)", r(3, 4), ints(3)),
    ("LinearCrossEntropyLoss(3, 4, bias=True)", r(5, 3), ints(5)),
    ("BCELoss()", np.abs(r(3, 4)) / 2, np.abs(r(3, 4)) / 2),
    ("BCEWithLogitsLoss()", r(3, 4), np.abs(r(3, 4)) / 2),
    ("KLDivLoss(reduction='batchmean')", r(3, 4), np.abs(r(3, 4))),
    ("PoissonNLLLoss()", r(3, 4), np.abs(r(3, 4))),
    ("GaussianNLLLoss()", r(3, 4), r(3, 4), np.abs(r(3, 4))),
    ("HingeEmbeddingLoss()", r(3), np.sign(r(3))),
    ("SoftMarginLoss()", r(3), np.sign(r(3))),
    ("MultiMarginLoss()", r(3, 4), ints(3)),
    ("MultiLabelSoftMarginLoss()", r(3, 4), (r(3, 4) > 0).astype(np.float32)),
    ("MarginRankingLoss(margin=0.2)", r(3), r(3), np.sign(r(3))),
    ("CosineEmbeddingLoss()", r(3, 4), r(3, 4), np.sign(r(3))),
    ("TripletMarginLoss()", r(3, 4), r(3, 4), r(3, 4)),
    ("TripletMarginWithDistanceLoss()", r(3, 4), r(3, 4), r(3, 4)),
    ("RNN(3, 4, 2, nonlinearity='relu')", r(5, 2, 3)),
    ("RNN(3, 4, bidirectional=True, batch_first=True)", r(2, 5, 3)),
    ("GRU(3, 4, 2, bidirectional=True, bias=False)", r(5, 2, 3)),
    ("GRU(3, 4)", r(5, 3)),
    ("LSTM(3, 4, 2, batch_first=True, bidirectional=True)", r(2, 5, 3)),
    ("LSTM(3, 4, 2, proj_size=2)", r(5, 2, 3)),
    ("RNNCell(3, 4, nonlinearity='relu')", r(2, 3), r(2, 4)),
    ("LSTMCell(3, 4, bias=False)", r(2, 3)),
    ("GRUCell(3, 4)", r(3), r(4)),
    ("MultiheadAttention(8, 2)", r(5, 2, 8), r(6, 2, 8), r(6, 2, 8)),
    ("MultiheadAttention(8, 2, batch_first=True, add_bias_kv=True, add_zero_attn=True)", r(2, 5, 8), r(2, 5, 8), r(2, 5, 8)),
    ("MultiheadAttention(8, 2, kdim=3, vdim=4, bias=False)", r(5, 2, 8), r(6, 2, 3), r(6, 2, 4)),
    ("TransformerEncoderLayer(8, 2, 16, 0.0)", r(5, 2, 8)),
    ("TransformerEncoderLayer(8, 2, 16, 0.0, activation='gelu', norm_first=True, batch_first=True, bias=False)", r(2, 5, 8)),
    ("TransformerDecoderLayer(8, 2, 16, 0.0)", r(5, 2, 8), r(6, 2, 8)),
    ("TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, 0.0), 2)", r(5, 2, 8)),
    ("Transformer(8, 2, 1, 1, 16, 0.0)", r(5, 2, 8), r(4, 2, 8)),
    ("AdaptiveLogSoftmaxWithLoss(8, 10, [3, 6], div_value=2.0)", r(7, 8), ints(7, high=10)),
    ("Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))", r(5, 3)),
]


def tensors(arrays, make):
    result = []
    for array in arrays:
        tensor = make(array)
        result.append(tensor.requires_grad_() if array.dtype == np.float32 and not result else tensor)
    return result


def ours(array):
    return flambeau.tensor(array.tolist(), dtype=getattr(flambeau, str(array.dtype)))


def flatten(result):
    if isinstance(result, tuple):
        return [leaf for item in result for leaf in flatten(item)]
    return [] if result is None else [result]


def close(mine, theirs):
    np.testing.assert_allclose(mine.detach().numpy(), theirs.detach().numpy(), rtol=1e-4, atol=1e-5)


def built(package, code):
    package.manual_seed(0)
    module = eval(f"nn.{code}", {"nn": package.nn})
    return module


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_module(case, training):
    code, *arrays = case
    mine, theirs = built(flambeau, code).train(training), built(torch, code).train(training)
    assert repr(mine) == repr(theirs)
    for seed in (3, 4):  # twice: running statistics and lazy shapes change with the first call
        inputs, their_inputs = tensors(arrays, ours), tensors(arrays, torch.tensor)
        if "inplace" in code:
            inputs, their_inputs = [inputs[0] * 1], [their_inputs[0] * 1]
        flambeau.manual_seed(seed)
        outputs = flatten(mine(*inputs))
        torch.manual_seed(seed)
        their_outputs = flatten(theirs(*their_inputs))
        assert len(outputs) == len(their_outputs)
        for output, expected in zip(outputs, their_outputs):
            assert tuple(output.shape) == tuple(expected.shape)
            close(output, expected)
    assert repr(mine) == repr(theirs)
    state, their_state = mine.state_dict(), theirs.state_dict()
    assert list(state) == list(their_state)
    for name, value in state.items():
        close(value, their_state[name])
    assert {k: v["version"] for k, v in state._metadata.items()} == {k: v["version"] for k, v in their_state._metadata.items()}
    if their_outputs[0].requires_grad:
        outputs[0].square().sum().backward()
        their_outputs[0].square().sum().backward()
        for (name, parameter), (their_name, expected) in zip(mine.named_parameters(), theirs.named_parameters()):
            assert name == their_name
            assert (parameter.grad is None) == (expected.grad is None), name
            if expected.grad is not None:
                close(parameter.grad, expected.grad)
        for given, expected in zip(inputs, their_inputs):
            if expected.grad is not None:
                close(given.grad, expected.grad)
