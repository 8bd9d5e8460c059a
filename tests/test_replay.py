"""Fault lists replayed: counts against whole faulty models, and the same counts however the replay was run."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import listed_nets
import numpy as np
import onnxruntime as ort
import pytest

from onnxfi import Data, DataError, FaultError, Machine, Precision, StudyError, analyze, inject, merge, write_report
from onnxfi.api import faults
from onnxfi.faults.listing import Entry, FaultList, read_list
from onnxfi.faults.writing import list_text
from onnxfi.study import blocks
from onnxfi.study.replayed import Replayed, replayed
from onnxfi.study.replaying import Step

ONE = Machine(exact=True, workers=1)
IMAGES = 12


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("replay")
    listed_nets.pytorch(folder / "pytorch.onnx")
    listed_nets.pytorch(folder / "nameless.onnx", named=False)
    listed_nets.keras(folder / "keras.onnx")
    listed_nets.match(folder / "match.txt")
    listed_nets.images(folder / "images.npz", IMAGES)
    drawn = faults.draw(folder / "pytorch.onnx", faults.Draw(margin=0.09, seed=2))
    some = tuple(entry for entry in drawn.entries if entry.bit >= 22 or entry.bit < 2)
    (folder / "list.csv").write_text(list_text(replace(drawn, entries=some), "list"))
    return folder


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 5, 5 and 2 images, units of two faults: every border is met."""
    monkeypatch.setattr(blocks, "MOST", 5)
    monkeypatch.setattr(blocks, "TRIALS", 10)


def data(room: Path) -> Data:
    return Data((room / "images.npz",))


def run(room: Path, out: Path, listed: str = "list.csv", model: str = "pytorch.onnx", **more: Any) -> Replayed:
    return faults.run(room / listed, room / model, data=data(room), **{"machine": ONE, "out": out, **more})


@pytest.fixture(scope="module")
def whole(room: Path, tmp_path_factory: pytest.TempPathFactory) -> Replayed:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "MOST", 5)
        patch.setattr(blocks, "TRIALS", 10)
        return run(room, tmp_path_factory.mktemp("whole") / "study")


def answers(model: Path, images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Logits of a whole model, run plainly: nothing optimised, one thread."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.disable_prepacking", "1")
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": images})[0])


def test_every_count_is_that_of_the_whole_faulty_model(room: Path, whole: Replayed, tmp_path: Path) -> None:
    with np.load(room / "images.npz") as stored:
        images = np.resize(stored["images"], (16, *stored["images"].shape[1:]))  # whole batches of eight
    golden = answers(room / "pytorch.onnx", images)[:IMAGES]
    assert len(whole.listed.entries) > 40 and whole.complete
    seen = set()
    for entry in whole.listed.entries[::3]:
        spec = f"{entry.layer}.weight[{','.join(map(str, entry.index))}]:flip@{entry.bit}"
        inject(room / "pytorch.onnx", [spec], tmp_path / "faulty.onnx", baked=True)
        faulty = answers(tmp_path / "faulty.onnx", images)[:IMAGES]
        masked = (faulty.view("u4") == golden.view("u4")).all(axis=1)
        bad = ~np.isfinite(faulty).all(axis=1) | (faulty.argmax(axis=1) != golden.argmax(axis=1))
        counts = entry.counts
        assert counts is not None
        assert (counts.injections, counts.critical) == (IMAGES, int((bad & ~masked).sum())), entry
        assert counts.masked + counts.non_critical + counts.critical == IMAGES
        assert counts.masked == int(masked.sum()), entry
        seen |= {name for name in ("masked", "non_critical", "critical") if getattr(counts, name)}
    assert seen == {"masked", "non_critical", "critical"}


def test_results_are_written_as_a_list_that_reads_back(whole: Replayed) -> None:
    again = read_list(whole.folder / "results.csv")
    assert tuple(replace(e, counts=replace(e.counts, scores=None)) for e in whole.listed.entries if e.counts) == (
        again.entries
    )
    told = json.loads((whole.folder / "replay.json").read_text())
    assert told["trials"] == IMAGES * len(again.entries) == sum(told["outcomes"][k] for k in list(told["outcomes"])[:3])
    assert {row["how"] for row in told["matched"]} == {"initializer"}
    assert told["golden"]["images"] == IMAGES


def test_stopped_anywhere_it_goes_on_to_the_same_numbers(room: Path, whole: Replayed, tmp_path: Path) -> None:
    for moment in (1, 7, 30, 20):
        calls = 0

        def stop(step: Step, moment: int = moment) -> None:
            nonlocal calls
            calls += 1
            if calls > moment:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(room, tmp_path / "study", progress=stop)
    steps: list[Step] = []
    found = run(room, tmp_path / "study", progress=steps.append)
    assert found.listed == whole.listed
    assert steps[0].done > 0 and steps[-1].done == steps[-1].planned == IMAGES * whole.faults
    steps.clear()
    again = run(room, tmp_path / "study", progress=steps.append)
    assert again.listed == whole.listed and again.cost == found.cost
    assert {step.run[0] for step in steps} == {0}


def test_shards_join_to_the_same_numbers(room: Path, whole: Replayed, tmp_path: Path) -> None:
    parts = [tmp_path / str(i) for i in (1, 2, 3)]
    found = [run(room, part, shard=(i, 3)) for i, part in enumerate(parts, 1)]
    assert sum(len(part.listed.entries) for part in found) == whole.faults and not found[0].complete
    assert faults.merge(parts, tmp_path / "whole").listed == whole.listed
    with pytest.raises(StudyError, match="is no replay of a fault list"):
        few = Precision(budget=100)
        analyze(room / "pytorch.onnx", data=data(room), precision=few, out=tmp_path / "study", machine=ONE)
        faults.merge([tmp_path / "study"], tmp_path / "other")
    with pytest.raises(StudyError, match="replay of a fault list: join it with `onnxfi faults merge`"):
        merge(parts, tmp_path / "another")


@pytest.mark.slow
def test_two_processes_give_the_same_numbers(room: Path, whole: Replayed, tmp_path: Path) -> None:
    assert run(room, tmp_path / "study", machine=Machine(exact=True, workers=2)).listed == whole.listed


def test_blocks_change_nothing(room: Path, whole: Replayed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "MOST", 1_000)
    assert run(room, tmp_path / "study").listed == whole.listed


def shuffled(found: FaultList) -> FaultList:
    order = np.random.default_rng(0).permutation(len(found.entries))
    return replace(found, entries=tuple(found.entries[i] for i in order))


def test_order_form_and_line_ends_of_the_list_change_nothing(room: Path, whole: Replayed, tmp_path: Path) -> None:
    mixed = shuffled(read_list(room / "list.csv"))
    text = list_text(mixed, "list", "crlf").removesuffix("\r\n")
    (tmp_path / "mixed.csv").write_bytes(text.encode())
    found = faults.run(tmp_path / "mixed.csv", room / "pytorch.onnx", data=data(room), machine=ONE, out=tmp_path / "a")
    assert [e.injection for e in found.listed.entries] == [e.injection for e in mixed.entries]
    assert sorted(found.listed.entries, key=lambda e: e.injection) == list(whole.listed.entries)


def criticals(found: Replayed) -> list[int]:
    return [entry.counts.critical for entry in found.listed.entries if entry.counts]


def test_a_list_finds_its_layers_by_name_by_match_file_and_by_numbers(
    room: Path, whole: Replayed, tmp_path: Path
) -> None:
    turned = faults.convert(room / "list.csv", models=(room / "pytorch.onnx", room / "keras.onnx"))
    (room / "keras.csv").write_text(list_text(turned, "list"))
    ways = {
        "keras.csv on keras.onnx": run(room, tmp_path / "a", "keras.csv", "keras.onnx"),
        "list.csv on keras.onnx": run(
            room, tmp_path / "b", "list.csv", "keras.onnx", meet=faults.Meet(match=room / "match.txt")
        ),
        "list.csv on nameless.onnx": run(
            room, tmp_path / "c", "list.csv", "nameless.onnx", meet=faults.Meet(names_from=room / "pytorch.onnx")
        ),
    }
    for way, found in ways.items():
        assert criticals(found) == criticals(whole), way
    hows = [{row["how"] for row in found.about["matched"]} for found in ways.values()]
    assert hows == [{"metadata"}, {"metadata"}, {"weights"}]
    assert [found.about["form"] for found in ways.values()] == ["keras", "pytorch", "pytorch"]


def test_a_rule_is_chosen_afterwards(room: Path, whole: Replayed) -> None:
    rules = {rule: replayed(whole.folder, rule) for rule in ("onnxfi", "sfi", "keras-weight-injector")}
    own = rules["onnxfi"].listed.entries
    for rule in ("sfi", "keras-weight-injector"):
        for one, other in zip(own, rules[rule].listed.entries, strict=True):
            assert one.counts and other.counts
            assert one.counts.critical >= other.counts.critical  # NaN and infinity are always critical to onnxfi
            assert one.counts.masked <= other.counts.masked
    assert sum(criticals(rules["onnxfi"])) > sum(criticals(rules["sfi"]))


def test_a_report_needs_labels(room: Path, whole: Replayed, tmp_path: Path) -> None:
    found = run(room, whole.folder, form="keras-report", nan_rule="keras-weight-injector", line_ends="crlf")
    lines = (whole.folder / "results.csv").read_bytes().decode().split("\r\n")
    assert lines[0].startswith("inj_id,target_layer,layer_weigths,bit_pos,n_injections,top_1_correct")
    assert lines[1].startswith(f"GOLDEN,,,,{IMAGES},") and lines[1].count(",") == 10  # 11 fields, as the tool has it
    assert read_list(whole.folder / "results.csv") == replace(found.listed, source=str(whole.folder / "results.csv"))
    with np.load(room / "images.npz") as stored:
        np.savez(tmp_path / "bare.npz", images=stored["images"])
    with pytest.raises(FaultError, match="needs images with labels"):
        faults.run(
            room / "list.csv",
            room / "pytorch.onnx",
            data=Data((tmp_path / "bare.npz",)),
            machine=ONE,
            out=tmp_path / "study",
            form="keras-report",
        )


def test_results_of_the_list_are_compared_with(room: Path, whole: Replayed, tmp_path: Path) -> None:
    entries = list(whole.listed.entries)
    most = int(np.argmax(criticals(whole)))
    counts = entries[most].counts
    assert counts is not None
    entries[most] = replace(
        entries[most], counts=replace(counts, critical=counts.critical - 2, masked=counts.masked + 2)
    )
    (tmp_path / "said.csv").write_text(list_text(FaultList("said", tuple(entries)), "results"))
    found = faults.run(tmp_path / "said.csv", room / "pytorch.onnx", data=data(room), machine=ONE, out=tmp_path / "s")
    told = json.loads((found.folder / "replay.json").read_text())["published"]
    assert told["differences"] == {"0": len(entries) - 1, "2": 1}
    assert told["notable"]["faults"] - told["notable"]["within_1"] == 1
    assert told["notable"]["own"] - told["notable"]["published"] == 2
    rows = (found.folder / "comparison.csv").read_text().splitlines()
    assert len(rows) == 1 + len(entries) and rows[0].endswith(
        "published_masked,published_non_critical,published_critical"
    )


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ('0,nowhere,"(0, 0)",3', "layer 'nowhere' is not in pytorch.onnx, which has body.conv, body.depth, head"),
        ('0,head,"(4, 0)",3\n1,head,"(0, 5)",3', "is outside of that layer's weight, which has shape (4, 6)"),
        ('0,head,"(0, 0, 0)",3', "is outside of that layer's weight"),
    ],
)
def test_a_list_of_another_network_is_refused(room: Path, tmp_path: Path, rows: str, says: str) -> None:
    (tmp_path / "list.csv").write_text(f"Injection,Layer,TensorIndex,Bit\n{rows}\n")
    with pytest.raises(FaultError) as caught:
        faults.run(tmp_path / "list.csv", room / "pytorch.onnx", data=data(room), out=tmp_path / "s")
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_no_images_no_replay(room: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No images are given"):
        faults.run(room / "list.csv", room / "pytorch.onnx", data=Data(), out=tmp_path / "s")


def test_another_list_does_not_go_on_in_the_same_folder(room: Path, whole: Replayed, tmp_path: Path) -> None:
    some: Sequence[Entry] = read_list(room / "list.csv").entries[:5]
    (tmp_path / "list.csv").write_text(list_text(FaultList("list", tuple(some)), "list"))
    with pytest.raises(StudyError, match=r"holds another study: plan\.faults is"):
        faults.run(tmp_path / "list.csv", room / "pytorch.onnx", data=data(room), machine=ONE, out=whole.folder)


def test_a_replay_has_no_page(whole: Replayed, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"is a replay of a fault list, which has results\.csv and no page"):
        write_report([whole.folder], tmp_path / "page.html")


def test_the_seconds_of_a_replay_are_those_it_took(room: Path, tmp_path: Path) -> None:
    started = time.monotonic()
    found = run(room, tmp_path / "study")
    assert 0 < found.cost.seconds <= time.monotonic() - started
