"""Which sites and images are looked at: all, or channels, a logarithm of their sites, and images, drawn at random."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxfi.graph.channels import Channels
from onnxfi.study.sampling import Permutation
from onnxfi.vigor.settings import Sampling

Places = NDArray[np.int64]
_STREAMS = 1 << 32  # of draws in one region: channels, then the sites of each


@dataclass(frozen=True)
class Drawn:
    """Sites (S,) of one region with their channels (S,), grouped by channel, and the images (S, I) of each.

    channels, sites, images: how many there are to draw from; sites in the region.
    """

    site: Places
    channel: Places
    image: Places
    channels: int
    sites: int
    images: int

    @property
    def all_sites(self) -> bool:
        """Whether no site was left out."""
        return len(self.site) == self.sites

    @property
    def all_images(self) -> bool:
        """Whether no image was left out for any site."""
        return bool(self.image.shape[1] == self.images)


def draw(region: int, channels: Channels, sites: int, images: int, sampling: Sampling) -> Drawn:
    """What `sampling` takes of the `region`-th region, of so many sites, on so many images."""
    channel = channels.of(np.arange(sites))
    groups = np.split(
        np.argsort(channel, kind="stable"), np.cumsum(np.bincount(channel, minlength=channels.count))[:-1]
    )
    chosen = [np.sort(_taken(group, number, region, sampling)) for number, group in _channels(groups, region, sampling)]
    site = np.concatenate(chosen)
    each = min(sampling.images or images, images)
    turn = (np.arange(len(site))[:, None] * each + np.arange(each)) % images
    if each < images:
        order = Permutation(images, sampling.seed, region * _STREAMS + 1).at(np.arange(images)).astype(np.int64)
        turn = order[turn]
    return Drawn(site, channel[site], turn, channels.count, sites, images)


def _channels(groups: list[Places], region: int, sampling: Sampling) -> list[tuple[int, Places]]:
    if sampling.channels is None:
        return list(enumerate(groups))
    count = math.ceil(sampling.channels * len(groups) - 1e-9)
    taken = Permutation(len(groups), sampling.seed, region * _STREAMS).at(np.arange(count))
    return [(int(number), groups[number]) for number in np.sort(taken)]


def _taken(group: Places, number: int, region: int, sampling: Sampling) -> Places:
    if sampling.channels is None:
        return group
    count = min(len(group), sampling.sites or max(1, math.ceil(math.log2(len(group)))))
    return group[Permutation(len(group), sampling.seed, region * _STREAMS + 2 + number).at(np.arange(count))]
