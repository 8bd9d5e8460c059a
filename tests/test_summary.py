"""summary.json, the CSVs and the tables: made of one small study, and of made-up records."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import onnxfi
from onnxfi.metrics.estimate import Estimate
from onnxfi.report import summary as module
from onnxfi.report import tables
from onnxfi.report.summary import BitRate, LayerRates, Outcomes, Summary
from onnxfi.study.accuracy import Accuracy

HALF = Estimate(0.5, 0.25, 0.75, 100, 3200)
NEVER = Estimate(0.0, 0.0, 0.01, 400, 6400)
UNSEEN = Estimate(None, 0.0, 1.0, 0, 32)


def made_up(**changes: Any) -> Summary:
    """Two layers, the second one with a name that a stranger chose."""
    whole = Summary(
        model="net.onnx",
        model_sha256="0" * 64,
        mvf_weights=HALF,
        mvf_activations=NEVER,
        mvf_total=HALF,
        population_vf=HALF,
        layers=(
            LayerRates("conv1", "Conv", HALF, NEVER, HALF, "input", ("[red]b[/red]",)),
            LayerRates("[red]b[/red]", "Gemm", UNSEEN, NEVER, None, "input", ("conv1",)),
        ),
        bits=(
            BitRate("weights", "float32", (30,), HALF),
            BitRate("weights", "float32", tuple(range(22, -1, -1)), NEVER),
        ),
        outcomes_weights=Outcomes(HALF, NEVER, HALF, NEVER),
        outcomes_activations=Outcomes(HALF, NEVER, HALF, NEVER),
        activation="input",
        plan={"kind": "adaptive"},
        converged=False,
        trials=500,
        image_inferences=700,
        equivalent_inferences=250.5,
        seconds=2.0,
        provider="cpu",
        seed=0,
        golden_accuracy=Accuracy(0.9, 1.0, 50, 10),
        warnings=("A sentence that warns.",),
        settings={"precision": {"confidence": 0.99}},
        versions={"onnxfi": "0.1.0"},
    )
    return replace(whole, **changes)


def printed(summary: Summary) -> str:
    console = Console(file=io.StringIO(), width=80, markup=False, highlight=False, emoji=False)
    for block in tables.study(summary):
        console.print(block)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_every_field_is_documented_and_every_word_is_a_field() -> None:
    """`sdc, scm, tensorfi, fragile, fit` come with what trials mean (report/meaning.py), which is not made up here."""
    lines = [line for line in (module.__doc__ or "").splitlines() if line.startswith("    ") and line[4].isalpha()]
    documented = {name.removesuffix("[]") for line in lines for name in line[4:].split("  ")[0].split(", ")}
    assert documented - {"sdc", "scm", "tensorfi", "fragile", "fit"} == set(made_up().to_dict())


def test_a_real_summary_has_the_documented_fields(study: onnxfi.Run) -> None:
    lines = [line for line in (module.__doc__ or "").splitlines() if line.startswith("    ") and line[4].isalpha()]
    documented = [name.removesuffix("[]") for line in lines for name in line[4:].split("  ")[0].split(", ")]
    assert sorted(json.loads((study.folder / "summary.json").read_text(encoding="utf-8"))) == sorted(documented)


def test_json_is_strict_and_plain() -> None:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    text = made_up().to_json()
    assert json.loads(text, parse_constant=refuse) == made_up().to_dict()
    with pytest.raises(ValueError):
        made_up(seconds=float("nan")).to_json()


def test_rates_travel_whole() -> None:
    whole = made_up().to_dict()
    rate = {"value": 0.5, "low": 0.25, "high": 0.75, "trials": 100, "population": 3200}
    assert whole["mvf"]["weights"] == rate
    assert whole["layers"][0]["activations"]["shared_with"] == ["[red]b[/red]"]
    assert whole["layers"][1]["total"] is None
    assert whole["bits"][0] == {"target": "weights", "dtype": "float32", "bits": [30], **rate}
    assert whole["trials_per_second"] == 250.0  # 500 trials in 2 s
    assert whole["golden_accuracy"] == {"top1": 0.9, "top5": 1.0, "images": 50}


def test_the_most_vulnerable_are_seen_and_in_order() -> None:
    worst = made_up().most_vulnerable
    assert [(target, layer) for target, layer, _ in worst] == [
        ("weights", "conv1"),
        ("activations", "conv1"),
        ("activations", "[red]b[/red]"),
    ]


def test_tables_fit_and_take_names_as_data() -> None:
    text = printed(made_up())
    assert max(map(len, text.splitlines())) <= 80
    assert "[red]b[/red]" in text
    assert "50.00 [25.00, 75.00]" in text  # HALF in percent
    assert "- [0.00, 100.00]" in text  # UNSEEN
    assert "22-0" in text and "WARNING A sentence that warns." in text and "NOT converged" in text


def test_control_characters_are_written_out() -> None:
    text = printed(made_up(model="a\x1b]0;x\x07.onnx"))
    assert "\x1b" not in text and "a\\x1b]0;x\\x07.onnx" in text


@pytest.mark.parametrize(
    ("bits", "text"), [((30,), "30"), ((22, 21, 20), "22-20"), ((31, 3, 2, 0), "31, 3-2, 0"), ((7, 6), "7-6")]
)
def test_positions(bits: tuple[int, ...], text: str) -> None:
    assert tables.positions(bits) == text


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> onnxfi.Run:
    """600 trials on two layers of the bundled model."""
    return onnxfi.analyze(
        data=onnxfi.Data(images=10),
        target=onnxfi.Target(layers=("conv1", "linear")),
        precision=onnxfi.Precision(budget=600),
        machine=onnxfi.Machine(workers=1),
        plan=onnxfi.Plan(seed=3),
        out=tmp_path_factory.mktemp("study") / "run",
    )


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_study_in_numbers(study: onnxfi.Run) -> None:
    found = study.summary
    assert [(row.layer, row.op) for row in found.layers] == [("conv1", "Conv"), ("linear", "Gemm")]
    assert found.trials == 600 and not found.converged
    for row in found.layers:
        assert row.weights and row.activations and row.total
        assert row.total.trials == row.weights.trials + row.activations.trials
    # By hand: 16x1x3x3 and 10x64 float32 weights, 28x28 and 64 float32 words that are read.
    assert [row.weights.population for row in found.layers if row.weights] == [144 * 32, 640 * 32]
    assert [row.activations.population for row in found.layers if row.activations] == [784 * 32, 64 * 32]
    assert found.population_vf.population == (144 + 640 + 784 + 64) * 32


def test_the_mvf_is_the_mean_of_the_lvfs(study: onnxfi.Run) -> None:
    found = study.summary
    for mvf, lvfs in (
        (found.mvf_weights, [row.weights for row in found.layers]),
        (found.mvf_activations, [row.activations for row in found.layers]),
        (found.mvf_total, [row.total for row in found.layers]),
    ):
        assert mvf and mvf.value is not None
        assert mvf.value == pytest.approx(sum(lvf.value for lvf in lvfs if lvf and lvf.value is not None) / 2)


def test_totals_are_the_bracket_of_eq_15(study: onnxfi.Run) -> None:
    """N_l = 16x28x28 and 10 output elements, W_l = 144 and 640 weights (DeepVigor+, Eq. 15)."""
    for row, n, w in zip(study.summary.layers, (16 * 28 * 28, 10), (144, 640), strict=True):
        assert row.weights and row.activations and row.total
        assert row.weights.value is not None and row.activations.value is not None
        expected = (n * row.activations.value + w * row.weights.value) / (n + w)
        assert row.total.value == pytest.approx(expected)


def test_outcomes_are_a_partition(study: onnxfi.Run) -> None:
    for ends in (study.summary.outcomes_weights, study.summary.outcomes_activations):
        assert ends and None not in (ends.masked.value, ends.non_critical.value, ends.critical.value)
        assert ends.masked.value + ends.non_critical.value + ends.critical.value == pytest.approx(1.0)
        assert ends.non_finite.value <= ends.critical.value


def test_the_csvs_say_the_same(study: onnxfi.Run) -> None:
    found = study.summary
    layers = {(row["target"], row["layer"]): row for row in rows(study.folder / "layers.csv")}
    assert len(layers) == 6
    first = found.layers[0]
    assert first.weights and float(layers["weights", "conv1"]["value"]) == first.weights.value
    assert first.total and int(layers["total", "conv1"]["trials"]) == first.total.trials
    assert [row["bits"] for row in rows(study.folder / "bits.csv")][:2] == ["31", "30"]
    assert len(rows(study.folder / "bits.csv")) == len(found.bits)


def test_channels_add_up_to_their_layer(study: onnxfi.Run) -> None:
    cells = rows(study.folder / "channels.csv")
    assert list(cells[0]) == ["target", "layer", "channel", "trials", "value", "low", "high"]
    counts: dict[tuple[str, str], list[int]] = {}
    for row in cells:
        counts.setdefault((row["target"], row["layer"]), []).append(int(row["trials"]))
        assert (row["value"] == "") == (row["trials"] == "0")
    # By hand: 16 filters, one grey input channel; 10 classes, 64 features.
    assert {key: len(found) for key, found in counts.items()} == {
        ("weights", "conv1"): 16,
        ("activations", "conv1"): 1,
        ("weights", "linear"): 10,
        ("activations", "linear"): 64,
    }
    for row in study.summary.layers:
        assert row.weights and sum(counts["weights", row.layer]) == row.weights.trials
        assert row.activations and sum(counts["activations", row.layer]) == row.activations.trials


def test_the_channel_of_a_layer_with_one_channel_is_the_layer(study: onnxfi.Run) -> None:
    cell = next(r for r in rows(study.folder / "channels.csv") if (r["target"], r["layer"]) == ("activations", "conv1"))
    lvf = study.summary.layers[0].activations
    assert lvf and float(cell["value"]) == pytest.approx(lvf.value)
    assert float(cell["high"]) == pytest.approx(lvf.high)


def test_another_precision_goes_on(study: onnxfi.Run) -> None:
    more = onnxfi.analyze(
        data=onnxfi.Data(images=10),
        target=onnxfi.Target(layers=("conv1", "linear")),
        precision=onnxfi.Precision(budget=700),
        machine=onnxfi.Machine(workers=1),
        plan=onnxfi.Plan(seed=3),
        out=study.folder,
    )
    assert more.summary.trials == 700


def test_synthetic_images_are_said_everywhere(tmp_path: Path) -> None:
    run = onnxfi.analyze(
        data=onnxfi.Data(synthetic=4),
        target=onnxfi.Target(kind="weights", layers=("linear",)),
        precision=onnxfi.Precision(budget=200),
        machine=onnxfi.Machine(workers=1),
        out=tmp_path / "run",
    )
    assert any("synthetic" in warning for warning in run.summary.warnings)
    assert "synthetic" in (tmp_path / "run" / "summary.json").read_text(encoding="utf-8")
    assert "WARNING The images are synthetic" in printed(run.summary)
    assert run.summary.golden_accuracy is None and run.summary.mvf_total is None
