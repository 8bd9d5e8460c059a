"""The space of all faults, by arithmetic: fault id <-> (region, site, bit), and its strata. Never a list of faults."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from onnxfi.errors import FaultError
from onnxfi.faults.bits import Word, bit_classes
from onnxfi.faults.fault import Change

Target = Literal["weights", "activations"]
Kind = Literal["weight", "bias", "scale", "shift", "mean", "variance", "constant", "input", "output", "mac"]
FaultModel = Literal["bit-flip", "stuck-at-0", "stuck-at-1"]

TRIAL = np.dtype(
    [("fault", "<u8"), ("region", "<u4"), ("site", "<u8"), ("keep", "<u8"), ("toggle", "<u8"), ("image", "<u4")]
)
"""One trial, one image under one fault: fault id, index of its region, site in the region, change, image."""

_LARGEST = 1 << 62


@dataclass(frozen=True)
class Region:
    """The sites of one stored tensor in one role: a weight, or the activation words at one place of the network.

    A site is a flat index into the tensor (of an activation: into one image's row). For `mac` it is
    element * operands + operand, with the element of the layer's output that the multiplication adds to.
    `bits` are the positions that may go wrong, from high to low.
    """

    target: Target
    kind: Kind
    layer: int
    tensor: str
    elements: int
    dtype: str
    bits: tuple[int, ...]
    operands: int = 1

    def __post_init__(self) -> None:
        if self.elements < 1 or self.operands < 1:
            raise FaultError(
                f"{self.tensor!r} has {self.elements} elements of {self.operands} operands: no site at all"
            )
        if self.bits != Word(self.dtype).check_bits(self.bits):
            raise FaultError(f"the bits of {self.tensor!r} must fall from high to low, each once: {self.bits}")

    @property
    def sites(self) -> int:
        """Stored numbers that can go wrong."""
        return self.elements * self.operands

    @property
    def population(self) -> int:
        """Faults: sites times bits, under one fault model."""
        return self.sites * len(self.bits)


class Selection:
    """The positions at which a boolean array is True, in order, kept as one bit each and found by arithmetic."""

    _BLOCK = 512

    def __init__(self, flags: NDArray[np.bool_]) -> None:
        blocks = np.pad(flags, (0, -len(flags) % self._BLOCK)).reshape(-1, self._BLOCK)
        self._packed = np.packbits(blocks, axis=1, bitorder="little")
        self._before = np.concatenate([[0], np.cumsum(blocks.sum(axis=1, dtype=np.int64))])

    def __len__(self) -> int:
        return int(self._before[-1])

    def at(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        """The position of each `index`-th True; int64, same shape. The index must be within [0, len)."""
        block = np.searchsorted(self._before, index, side="right") - 1
        bits = np.unpackbits(self._packed[block], axis=-1, bitorder="little")
        rank = (index - self._before[block])[..., None]
        within = np.argmax(np.cumsum(bits, axis=-1, dtype=np.int64) > rank, axis=-1)
        return np.asarray(block * self._BLOCK + within)


class Counted:
    """So many positions of which nothing else is known: enough for a stratum's population, not to draw from it."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def at(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        """Always `FaultError`."""
        raise FaultError("the sites of a split stratum are not known here; draw with the model at hand")


@dataclass(frozen=True)
class _Segment:
    """A stratum's share of one region: `sites` of them (all, or those selected), each at the stratum's bits."""

    first: int  # fault id of the region's first fault
    stride: int  # bits of the region
    offsets: NDArray[np.int64]  # places of the stratum's bits among the region's
    sites: int
    selection: Selection | Counted | None

    @property
    def population(self) -> int:
        return self.sites * len(self.offsets)

    def faults(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        site, place = np.divmod(index, len(self.offsets))
        if self.selection is not None:
            site = self.selection.at(site)
        return self.first + site * self.stride + self.offsets[place]


@dataclass(frozen=True)
class Stratum:
    """Faults that are counted together: those of one target, layer, dtype and class of bits.

    `feature` is '' or, where the stratum was split, '1' for the sites at which the static feature holds and '0' for
    the others. `population` counts faults.
    """

    target: Target
    layer: int
    dtype: str
    bits: tuple[int, ...]
    feature: str
    segments: tuple[_Segment, ...] = field(repr=False, compare=False)

    @property
    def kin(self) -> tuple[str, str, tuple[int, ...], str]:
        """What strata of different layers share when they are of one kind."""
        return self.target, self.dtype, self.bits, self.feature

    @cached_property
    def _edges(self) -> NDArray[np.int64]:
        return np.cumsum([0] + [segment.population for segment in self.segments], dtype=np.int64)

    @property
    def population(self) -> int:
        """Faults in the stratum."""
        return int(self._edges[-1])

    def faults(self, index: NDArray[Any]) -> NDArray[np.uint64]:
        """Fault ids, uint64, of the `index`-th faults of the stratum (1-D, each within [0, population))."""
        wanted = np.asarray(index).astype(np.int64)
        if wanted.size and not (wanted.min() >= 0 and wanted.max() < self.population):
            raise FaultError(f"an index into a stratum of {self.population} faults is out of range")
        ids = np.empty(wanted.shape, np.uint64)
        home = np.searchsorted(self._edges, wanted, side="right") - 1
        for number in np.unique(home):
            here = home == number
            ids[here] = self.segments[number].faults(wanted[here] - self._edges[number])
        return ids


class FaultSpace:
    """All single faults of one fault model over `regions`, numbered region by region, site by site, bit by bit.

    `FaultError` where there is no region, or more than 2**62 faults.
    """

    def __init__(self, regions: Sequence[Region], fault_model: FaultModel = "bit-flip") -> None:
        if not regions:
            raise FaultError("there is nothing to inject into: no region was chosen")
        self.regions = tuple(regions)
        self.fault_model = fault_model
        self.edges = [0]
        for region in self.regions:
            self.edges.append(self.edges[-1] + region.population)
        if self.size > _LARGEST:
            raise FaultError(f"{self.size} faults are more than 2**62; choose fewer layers or bits")
        self._edges = np.array(self.edges, np.int64)
        self._strides = np.array([len(region.bits) for region in self.regions], np.int64)
        widest = int(self._strides.max())
        self._bits = np.array([region.bits + (-1,) * (widest - len(region.bits)) for region in self.regions], np.int64)
        by_bit = [_CHANGES[fault_model](bit) for bit in range(64)]
        self._keep = np.array([change.keep for change in by_bit], np.uint64)
        self._toggle = np.array([change.toggle for change in by_bit], np.uint64)

    @property
    def size(self) -> int:
        """The number of faults."""
        return self.edges[-1]

    def locate(self, ids: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.int64]]:
        """Region index (int64), site (uint64) and bit (int64) of each fault id, all of shape (T,)."""
        wanted = np.asarray(ids).astype(np.int64)
        if wanted.size and not (wanted.min() >= 0 and wanted.max() < self.size):
            raise FaultError(f"a fault id is outside of the {self.size} faults of this space")
        region = np.searchsorted(self._edges, wanted, side="right") - 1
        site, place = np.divmod(wanted - self._edges[region], self._strides[region])
        return region, site.astype(np.uint64), self._bits[region, place]

    def ids(self, region: NDArray[Any], site: NDArray[Any], bit: NDArray[Any]) -> NDArray[np.uint64]:
        """Fault ids, uint64 (T,), of region indices, sites and bits (integers, (T,)): the inverse of `locate`."""
        home, where, what = (np.asarray(part).astype(np.int64) for part in (region, site, bit))
        if home.size and not (home.min() >= 0 and home.max() < len(self.regions)):
            raise FaultError(f"a fault names a region outside of the {len(self.regions)} of this space")
        sites = np.array([entry.sites for entry in self.regions], np.int64)
        if np.any((where < 0) | (where >= sites[home])):
            raise FaultError("a fault names a site that its tensor does not have")
        match = self._bits[home] == what[:, None]
        if not match.any(axis=1).all():
            raise FaultError("a fault names a bit that this study leaves out")
        place = match.argmax(axis=1)
        return np.asarray(self._edges[home] + where * self._strides[home] + place, np.uint64)

    def trials(self, ids: NDArray[Any], images: NDArray[Any]) -> NDArray[np.void]:
        """TRIAL records, (T,), of fault ids and image numbers, (T,) each."""
        trials = np.zeros(len(ids), TRIAL)
        region, site, bit = self.locate(ids)
        trials["fault"], trials["region"], trials["site"], trials["image"] = ids, region, site, images
        trials["keep"], trials["toggle"] = self._keep[bit], self._toggle[bit]
        return trials

    def strata(
        self,
        split: Mapping[int, NDArray[np.bool_] | int] | None = None,
        split_bits: Callable[[Word], Sequence[int]] = lambda word: (),
        classes: Callable[[Word, tuple[int, ...]], tuple[tuple[int, ...], ...]] = bit_classes,
    ) -> tuple[Stratum, ...]:
        """The strata: (target, layer, dtype, class of bits), in the order in which the regions first name them.

        `split` gives, for some region indices, one bool a site: a static feature, fixed before the first trial (the
        sign of the stored weight, say); or only the number of sites that have it, where nothing is to be drawn.
        Classes whose bits are all in `split_bits(word)` fall into two strata there.
        """
        found: dict[tuple[Target, int, str, tuple[int, ...], str], list[_Segment]] = {}
        for number, region in enumerate(self.regions):
            word = Word(region.dtype)
            halves = _halves(region, (split or {}).get(number))
            apart = set(split_bits(word)) if halves else set()
            for members in classes(word, region.bits):
                offsets = np.array([region.bits.index(bit) for bit in members], np.int64)
                parts = halves if apart.issuperset(members) else (("", None),)
                for feature, selection in parts:
                    sites = region.sites if selection is None else len(selection)
                    if sites:
                        key = (region.target, region.layer, region.dtype, members, feature)
                        segment = _Segment(self.edges[number], len(region.bits), offsets, sites, selection)
                        found.setdefault(key, []).append(segment)
        return tuple(Stratum(*key, tuple(segments)) for key, segments in found.items())


def _halves(
    region: Region, split: NDArray[np.bool_] | int | None
) -> tuple[tuple[str, Selection | Counted | None], ...]:
    """The sites without and with the feature, by the name of their half; none where the region is not split."""
    if split is None:
        return ()
    if isinstance(split, int):
        return ("0", Counted(region.sites - split)), ("1", Counted(split))
    if split.shape != (region.sites,):
        raise FaultError(f"the split of {region.tensor!r} has shape {split.shape}, not ({region.sites},)")
    return ("0", Selection(~split)), ("1", Selection(split))


_CHANGES: dict[FaultModel, Callable[[int], Change]] = {
    "bit-flip": Change.flip,
    "stuck-at-0": Change.stuck_at_0,
    "stuck-at-1": Change.stuck_at_1,
}
