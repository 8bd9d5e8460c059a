"""Trains the bundled network on Fashion-MNIST: PyTorch on the CPU, seeded, well under an hour on two cores."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.fashion import Split
from models.normalisation import Normalisation

SHIFT = 2  # pixels


@dataclass(frozen=True)
class Recipe:
    """What decides the trained weights, together with the data, the number of threads and the version of PyTorch."""

    epochs: int = 20
    seed: int = 0
    batch: int = 128
    rate: float = 0.1
    momentum: float = 0.9
    decay: float = 5e-4


def augmented(images: Tensor, random: torch.Generator) -> Tensor:
    """Each image of float32 (N, C, H, W) mirrored with probability 1/2 and moved by up to SHIFT pixels each way.

    The border is repeated outwards, so that no grey level appears which the data set does not have.
    """
    count, _, height, width = images.shape
    padded = F.pad(images, (SHIFT,) * 4, mode="replicate")
    down, right = torch.randint(0, 2 * SHIFT + 1, (2, count, 1), generator=random)
    mirror = torch.rand(count, 1, generator=random) < 0.5
    rows = down + torch.arange(height)
    columns = right + torch.where(mirror, torch.arange(width).flip(0), torch.arange(width))
    picked = padded.permute(0, 2, 3, 1)[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return picked.permute(0, 3, 1, 2).contiguous()


def train(net: nn.Module, data: Split, by: Normalisation, recipe: Recipe) -> Iterator[tuple[int, float, float]]:
    """Trains `net` in place by SGD with one cosine; yields (epoch, mean loss, seconds so far) after each epoch.

    The net's initial weights are the caller's: seed PyTorch before building it.
    """
    images, labels = torch.from_numpy(by.apply(data.images)), torch.from_numpy(data.labels.astype(np.int64))
    random = torch.Generator().manual_seed(recipe.seed)
    optimizer = torch.optim.SGD(
        net.parameters(), recipe.rate, momentum=recipe.momentum, weight_decay=recipe.decay, nesterov=True
    )
    steps = recipe.epochs * (len(labels) // recipe.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.rate, total_steps=steps, pct_start=0.1, cycle_momentum=False
    )
    start = time.monotonic()
    for epoch in range(1, recipe.epochs + 1):
        net.train()
        losses = []
        for picks in torch.randperm(len(labels), generator=random).split(recipe.batch):  # type: ignore[no-untyped-call]
            if len(picks) < recipe.batch:
                break
            loss = F.cross_entropy(net(augmented(images[picks], random)), labels[picks])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        net.eval()
        yield epoch, float(np.mean(losses)), time.monotonic() - start
