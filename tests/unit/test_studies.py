"""Figures of the pages are those of the kept report, `tests/benchmarks/results/study-confirm/comparison.json`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from trialign_ray.cli.bench import app as bench
from trialign_ray.config.compare import CompareSpec
from trialign_ray.entrypoints.compare.registered import registration
from trialign_ray.evaluation.comparison.model import ArmRow, Comparison

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "tests/benchmarks/results/study-confirm/comparison.json"
ARMS = {
    "nothing": "base",
    "the neutral answer for everybody": "neutral_to_all",
    "a vote": "vote",
    "`sft`": "sft",
    "`truths_light`": "truths_light",
    "`mix_light`": "mix_light",
    "`no_labels_light`": "no_labels_light",
}
CLOSED = ["closed.accuracy", "closed.everyone", "closed.contradiction", "closed.shared_falsehood"]
CLOSED += ["calibrated.accuracy", "calibrated.everyone", "calibrated.contradiction"]
FREE = ["free.named", "free.right_given_named", "free.accuracy", "free.everyone", "free.contradiction"]
FREE += ["free.shared_falsehood", "free.preference"]
ON_THE_PAGE = [
    *[("truths_light", "base", figure) for figure in ("closed.accuracy", "calibrated.accuracy")],
    *[("truths_light", "base", figure) for figure in ("closed.contradiction", "free.right_given_named", "free.named")],
    *[("truths_light", "sft", figure) for figure in ("closed.everyone", "calibrated.everyone", "free.everyone")],
    *[("truths_light", "sft", f"free.{figure}") for figure in ("contradiction", "right_given_named", "preference")],
    *[("mix_light", "sft", figure) for figure in ("closed.contradiction", "free.everyone")],
    *[("mix_light", "truths_light", figure) for figure in ("closed.everyone", "free.right_given_named")],
    *[("no_labels_light", "truths_light", figure) for figure in ("closed.accuracy", "free.everyone")],
]
"""Its contrasts, in its order."""
IN_README = ["closed.accuracy", "closed.contradiction", "free.named", "free.right_given_named", "free.everyone"]
IN_README += ["free.preference"]


@pytest.fixture(scope="module")
def report() -> Comparison:
    return Comparison.model_validate_json(KEPT.read_text(encoding="utf-8"))


def table_after(page: str, heading: str) -> list[list[str]]:
    """Cells of the first table whose head begins with `heading`, its first two lines left out."""
    lines = page[page.index(f"\n| {heading}") :].lstrip("\n").split("\n\n")[0].splitlines()
    return [[cell.strip().strip("*") for cell in line.strip("|").split("|")] for line in lines[2:]]


def arm_of(label: str) -> str:
    return next(arm for start, arm in ARMS.items() if label.startswith(start))


def told(row: ArmRow, figure: str) -> str:
    """'.465' and '0', as the pages write them."""
    found = row.figures[figure]
    assert found is not None
    text = f"{found.value:.3f}".lstrip("0")
    return "0" if text == ".000" else text


@pytest.mark.parametrize(
    ("heading", "first", "figures"), [("closed set | seeds", 2, CLOSED), ("free answers | named", 1, FREE)]
)
def test_the_page_has_the_figures_of_the_report(report: Comparison, heading: str, first: int, figures: list[str]):
    by_arm = {row.arm: row for row in report.regimes[0].rows}
    rows = table_after((ROOT / "docs/studies.md").read_text(encoding="utf-8"), heading)
    assert len(rows) == len(by_arm)
    for label, *cells in rows:
        row = by_arm[arm_of(label)]
        assert cells[first - 1 :] == [told(row, figure) for figure in figures], label
        if row.trained and first == 2:
            assert cells[0] == str(len(row.seeds))


def test_the_readme_has_them_too(report: Comparison):
    by_arm = {row.arm: row for row in report.regimes[0].rows}
    rows = table_after((ROOT / "README.md").read_text(encoding="utf-8"), "trained on the logs of three groups")
    arms = ["base", "sft", "truths_light", "mix_light"]
    assert len(rows) == len(arms)
    for arm, (label, *cells) in zip(arms, rows, strict=True):
        assert arm == "base" or f"`{arm}`" in label
        figures = [by_arm[arm].figures[figure] for figure in IN_README]
        assert cells == [f"{100 * figure.value:.1f} %" for figure in figures if figure is not None]


def test_the_study_is_what_was_registered(tmp_path: Path):
    """So that its report can still be made, by the commands at its head."""
    demo, made = str(ROOT / "demo/questions.json"), str(tmp_path / "names.json")
    asked = ["--rest", "--apart-from", demo, "--without", demo, "--per-subject", "6", "--output", made]
    assert CliRunner().invoke(bench, ["make", "names", *asked]).exit_code == 0
    fields = yaml.safe_load((ROOT / "demo/study_confirm.yaml").read_text(encoding="utf-8"))
    fields["evaluation"] |= {"questions": made, "groups": str(ROOT / "demo/groups.yaml")}
    kept = json.loads((KEPT.parent / "registered.json").read_text(encoding="utf-8"))
    said = registration(CompareSpec.model_validate(fields))
    assert {field: said[field] for field in kept} == kept


def test_contrasts_of_the_page_are_those_of_the_report(report: Comparison):
    """Row by row, as 'difference (low to high)'."""
    page = (ROOT / "docs/studies.md").read_text(encoding="utf-8")
    rows = table_after(page, "contrast | difference | p by Holm | predicted")
    known = {(row.contrast.of, row.contrast.against, row.contrast.figure): row.difference for row in report.contrasts}
    assert len(rows) == len(known) == len(ON_THE_PAGE)
    for (_, *cells), contrast in zip(rows, ON_THE_PAGE, strict=True):
        difference = known[contrast]
        assert difference is not None
        said = re.findall(r"-?\.\d{3}", cells[0])
        assert said == three(difference.value, difference.low, difference.high), contrast


def three(*values: float) -> list[str]:
    return [re.sub(r"^(-?)0", r"\1", f"{value:.3f}") for value in values]
