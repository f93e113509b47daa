"""A small job for each package; each returns a few numbers. Run by `python -m parity.packages` on both sides, each in a process of its own."""

from __future__ import annotations

import json
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

TRIALS: dict[str, Callable[[], list[Any]]] = {}


def trial(function: Callable[[], list[Any]]) -> Callable[[], list[Any]]:
    TRIALS[function.__name__] = function
    return function


def perceptron() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


@trial
def einops() -> list[Any]:
    from einops import rearrange, reduce
    from einops.layers.torch import Rearrange

    x = torch.arange(24.0).reshape(2, 3, 4)
    return [reduce(rearrange(x, "a b c -> (a b) c"), "a c -> c", "mean").tolist(), list(Rearrange("a b c -> c (a b)")(x).shape)]


@trial
def safetensors() -> list[Any]:
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "x.safetensors"))
        save_file({"a": torch.full((2, 3), 1.5, dtype=torch.bfloat16), "b": torch.arange(4)}, path)
        loaded = load_file(path)
        with safe_open(path, "pt") as file:
            part = file.get_slice("a")[0:1]
    return [str(loaded["a"].dtype), loaded["b"].tolist(), part.tolist()]


@trial
def torchinfo() -> list[Any]:
    from torchinfo import summary

    found = summary(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()), (1, 1, 8, 8), verbose=0)
    return [found.total_params, found.total_mult_adds]


@trial
def torchmetrics() -> list[Any]:
    import torchmetrics as metrics

    scores, target = torch.rand(64, 5).softmax(1), torch.randint(0, 5, (64,))
    results = []
    for metric in (metrics.Accuracy, metrics.AUROC, metrics.F1Score, metrics.ConfusionMatrix):
        measure = metric(task="multiclass", num_classes=5)
        measure.update(scores[:32], target[:32])
        measure.update(scores[32:], target[32:])
        results.append(measure.compute().float().sum().item())
    similarity = metrics.image.StructuralSimilarityIndexMeasure(data_range=1.0)
    return [*results, similarity(torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32)).item()]


@trial
def torchdiffeq() -> list[Any]:
    from torchdiffeq import odeint

    return [odeint(lambda t, y: -y, torch.ones(3), torch.linspace(0, 1, 5)).sum().item()]


@trial
def kornia() -> list[Any]:
    import kornia

    x = torch.rand(1, 3, 16, 16)
    turned = kornia.geometry.rotate(x, torch.tensor([30.0]))
    blurred = kornia.filters.gaussian_blur2d(x, (3, 3), (1.0, 1.0))
    return [each.sum().item() for each in (kornia.color.rgb_to_hsv(x), blurred, kornia.filters.sobel(x), turned)]


@trial
def transformers() -> list[Any]:
    from transformers import BertConfig, BertForSequenceClassification, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    tokens = torch.randint(0, 100, (2, 16))
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 100}
    results: list[Any] = []
    gpt = GPT2LMHeadModel(
        GPT2Config(n_layer=2, n_head=2, n_embd=32, vocab_size=100, n_positions=64, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0)
    )
    optimizer = torch.optim.AdamW(gpt.parameters(), 1e-3)
    for _ in range(3):
        loss = gpt(tokens, labels=tokens).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        results.append(loss.item())
    results.append(gpt.generate(tokens[:, :4], max_new_tokens=5, do_sample=False, pad_token_id=0).tolist())
    bert = BertForSequenceClassification(BertConfig(**small))
    results.append(bert(tokens, attention_mask=torch.ones_like(tokens), labels=torch.tensor([0, 1])).loss.item())
    llama = LlamaForCausalLM(LlamaConfig(num_key_value_heads=2, **small))
    return [*results, llama(tokens, labels=tokens).loss.item()]


@trial
def transformers_trainer() -> list[Any]:
    from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

    model = BertForSequenceClassification(
        BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, vocab_size=100)
    )
    samples = [
        {"input_ids": torch.randint(0, 100, (16,)), "attention_mask": torch.ones(16).long(), "labels": torch.tensor(n % 2)}
        for n in range(32)
    ]
    with tempfile.TemporaryDirectory() as folder:
        options = TrainingArguments(
            folder, num_train_epochs=1, per_device_train_batch_size=8, report_to=[], use_cpu=True, save_strategy="no", disable_tqdm=True
        )
        return [Trainer(model, options, train_dataset=samples).train().training_loss]


@trial
def peft() -> list[Any]:
    from peft import LoraConfig, get_peft_model
    from transformers import GPT2Config, GPT2LMHeadModel

    model = get_peft_model(
        GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=2, n_embd=32, vocab_size=100)), LoraConfig(r=4, target_modules=["c_attn"])
    )
    tokens = torch.randint(0, 100, (2, 8))
    loss = model(input_ids=tokens, labels=tokens).loss
    loss.backward()
    return [loss.item(), sum(each.grad.abs().sum().item() for each in model.parameters() if each.grad is not None)]


@trial
def accelerate() -> list[Any]:
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    model = perceptron()
    parts = accelerator.prepare(
        model, torch.optim.SGD(model.parameters(), 0.1), DataLoader(TensorDataset(torch.rand(8, 4), torch.zeros(8).long()), 4)
    )
    model, optimizer, loader = parts
    for x, y in loader:
        loss = F.cross_entropy(model(x), y)
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
    return [loss.item()]


@trial
def pytorch_lightning() -> list[Any]:
    import pytorch_lightning as lightning

    class Classifier(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = perceptron()

        def training_step(self, batch: Any, number: int) -> Any:
            loss = F.cross_entropy(self.net(batch[0]), batch[1])
            self.log("loss", loss)
            return loss

        def validation_step(self, batch: Any, number: int) -> None:
            self.log("accuracy", (self.net(batch[0]).argmax(1) == batch[1]).float().mean())

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.Adam(self.parameters(), 1e-2)
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)]

    x = torch.randn(256, 4)
    loader = DataLoader(TensorDataset(x, (x.sum(1) > 0).long()), 32, shuffle=True)
    with tempfile.TemporaryDirectory() as folder:
        trainer = lightning.Trainer(
            max_epochs=2,
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=folder,
            gradient_clip_val=1.0,
        )
        trainer.fit(Classifier(), loader, loader)
    return [value.item() for _, value in sorted(trainer.callback_metrics.items())]


@trial
def torch_geometric() -> list[Any]:
    from torch_geometric.data import Data
    from torch_geometric.loader import DataLoader as GraphLoader
    from torch_geometric.nn import GATConv, GCNConv, SAGEConv, global_mean_pool

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.third = GCNConv(8, 16), GATConv(16, 4, heads=2), SAGEConv(8, 3)

        def forward(self, x: Any, edges: Any) -> Any:
            return self.third(self.second(self.first(x, edges).relu(), edges).relu(), edges)

    graph = Data(x=torch.randn(20, 8), edge_index=torch.randint(0, 20, (2, 60)), y=torch.randint(0, 3, (20,)))
    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(10):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(graph.x, graph.edge_index), graph.y)
        loss.backward()
        optimizer.step()
    batch = next(iter(GraphLoader([graph] * 4, 2)))
    return [loss.item(), list(global_mean_pool(batch.x, batch.batch).shape)]


@trial
def gpytorch() -> list[Any]:
    import gpytorch as gp

    class Model(gp.models.ExactGP):
        def __init__(self, x: Any, y: Any, likelihood: Any) -> None:
            super().__init__(x, y, likelihood)
            self.mean, self.kernel = gp.means.ConstantMean(), gp.kernels.ScaleKernel(gp.kernels.RBFKernel())

        def forward(self, x: Any) -> Any:
            return gp.distributions.MultivariateNormal(self.mean(x), self.kernel(x))

    x = torch.linspace(0, 1, 20)
    y = torch.sin(6 * x)
    likelihood = gp.likelihoods.GaussianLikelihood()
    model = Model(x, y, likelihood)
    optimizer = torch.optim.Adam(model.parameters(), 0.1)
    objective = gp.mlls.ExactMarginalLogLikelihood(likelihood, model)
    for _ in range(10):
        optimizer.zero_grad()
        loss = -objective(model(x), y)
        loss.backward()
        optimizer.step()
    return [loss.item()]


@trial
def pyro() -> list[Any]:
    import pyro as p
    import pyro.distributions as dist
    from pyro.infer import SVI, Trace_ELBO

    p.set_rng_seed(0)
    p.clear_param_store()
    data = torch.tensor([1.0] * 6 + [0.0] * 4)

    def model(data: Any) -> None:
        fairness = p.sample("fairness", dist.Beta(10.0, 10.0))
        with p.plate("data", len(data)):
            p.sample("obs", dist.Bernoulli(fairness), obs=data)

    def guide(data: Any) -> None:
        first = p.param("first", torch.tensor(15.0), constraint=dist.constraints.positive)
        second = p.param("second", torch.tensor(15.0), constraint=dist.constraints.positive)
        p.sample("fairness", dist.Beta(first, second))

    inference = SVI(model, guide, p.optim.Adam({"lr": 0.01}), Trace_ELBO())
    losses = [inference.step(data) for _ in range(10)]
    return [losses[-1], p.param("first").item()]


@trial
def captum() -> list[Any]:
    from captum.attr import IntegratedGradients

    return [IntegratedGradients(perceptron()).attribute(torch.ones(2, 4), target=1).sum().item()]


@trial
def x_transformers() -> list[Any]:
    from x_transformers import Decoder, TransformerWrapper

    model = TransformerWrapper(num_tokens=50, max_seq_len=32, attn_layers=Decoder(dim=32, depth=2, heads=2)).eval()
    return [model(torch.arange(32).reshape(2, 16)).sum().item()]


@trial
def skorch() -> list[Any]:
    import numpy as np
    from skorch import NeuralNetClassifier

    x = np.random.RandomState(0).randn(64, 4).astype("float32")
    net = NeuralNetClassifier(nn.Sequential(perceptron(), nn.Softmax(-1)), max_epochs=2, lr=0.1, verbose=0, train_split=None)
    net.fit(x, (x.sum(1) > 0).astype("int64"))
    return [float(net.history[-1]["train_loss"])]


@trial
def torchvision() -> list[Any]:
    """Networks, transforms and losses of an installed torchvision (version 2 of its transforms, which `flambeau.vision` does not have)."""
    from torchvision import models, tv_tensors
    from torchvision.models.feature_extraction import create_feature_extractor
    from torchvision.transforms import v2

    image = torch.randint(0, 256, (3, 40, 48), dtype=torch.uint8)
    boxes = tv_tensors.BoundingBoxes([[4, 4, 20, 24]], format="XYXY", canvas_size=(40, 48))  # type: ignore[call-overload]
    change = v2.Compose([v2.RandomHorizontalFlip(1), v2.RandomRotation(10), v2.ColorJitter(0.3), v2.ToDtype(torch.float32, scale=True)])
    changed, moved = change(tv_tensors.Image(image), boxes)
    results = [changed.sum().item(), *moved.flatten().tolist()]
    for build in (models.efficientnet_b0, models.vit_b_32, models.swin_t):
        network = build(weights=None).eval()
        network(torch.rand(1, 3, 224, 224)).square().sum().backward()
        results.append(next(network.parameters()).grad.abs().sum().item())
    features = create_feature_extractor(models.resnet18(weights=None).eval(), ["layer2"])
    results.append(features(torch.rand(1, 3, 64, 64))["layer2"].sum().item())
    detector = models.detection.fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None, num_classes=3)
    losses = detector([changed[:, :40, :40]], [{"boxes": torch.tensor([[5.0, 5, 30, 30]]), "labels": torch.tensor([1])}])
    return [*results, losses["loss_classifier"].item(), losses["loss_objectness"].item()]


@trial
def diffusers() -> list[Any]:
    """A step of training a denoiser, and samples drawn with it."""
    from diffusers import DDIMScheduler, DDPMScheduler, EulerDiscreteScheduler, UNet2DModel

    model = UNet2DModel(
        sample_size=16, layers_per_block=1, block_out_channels=(16, 32), norm_num_groups=8, down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    images, noise, steps = torch.randn(2, 3, 16, 16), torch.randn(2, 3, 16, 16), torch.tensor([10, 60])
    noisy = DDPMScheduler(num_train_timesteps=100).add_noise(images, noise, steps)
    loss = nn.functional.mse_loss(model(noisy, steps).sample, noise)
    loss.backward()
    results = [loss.item(), next(model.parameters()).grad.abs().sum().item()]
    for kind in (DDIMScheduler, EulerDiscreteScheduler):
        scheduler = kind(num_train_timesteps=100)
        scheduler.set_timesteps(4)
        sample = images[:1] * scheduler.init_noise_sigma
        with torch.no_grad():
            for step in scheduler.timesteps:
                sample = scheduler.step(model(scheduler.scale_model_input(sample, step), step).sample, step, sample).prev_sample
        results.append(sample.square().sum().item())
    return results


@trial
def stable_baselines3() -> list[Any]:
    import numpy as np
    from stable_baselines3 import PPO

    agent = PPO("MlpPolicy", "CartPole-v1", seed=0, device="cpu", n_steps=64, batch_size=32, n_epochs=2)
    agent.learn(128)
    return [
        int(agent.predict(np.zeros(4, np.float32), deterministic=True)[0]),
        sum(each.abs().sum().item() for each in agent.policy.parameters()),
    ]


def main() -> None:
    """Run the trials that are named and print the numbers of each as a line of JSON, or the error's text; without names, print which trials there are."""
    warnings.simplefilter("ignore")
    if not sys.argv[1:]:
        print(json.dumps({"trials": list(TRIALS)}))
    for name in sys.argv[1:]:
        torch.manual_seed(0)
        try:
            result: Any = TRIALS[name]()
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            result = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
        print(json.dumps({"trial": name, "result": result}), flush=True)


if __name__ == "__main__":
    main()
