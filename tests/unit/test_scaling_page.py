"""The scaling benchmark's report and the page docs/scaling.md follow from what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from click.testing import Result as CommandResult

from benchmarks import scaling_page
from benchmarks.harness.checks import Check
from benchmarks.harness.stats import Spread
from benchmarks.scaling_costs import CostsError, read_costs
from benchmarks.scaling_figures import Run, Scaling, markdown
from benchmarks.scaling_plot import plot

ROOT = Path(__file__).parents[2]
COSTS = ROOT / "benchmarks" / "scaling_costs.json"
RIGHT = Check(0, 0, 0, None)


def scaling(*runs: Run) -> Scaling:
    return Scaling({"cores": 8}, {"rounds": 2}, "each worker has its own core", runs)


class TestFigures:
    found = scaling(
        Run(1, 1, 100, 0.3, 3, 0.1, 0.2, RIGHT),
        Run(1, 2, 190, 0.3, 3, 0.1, 0.3, RIGHT),
        Run(2, 1, 110, 0.5, 3, 0.1, 0.2, RIGHT),
        Run(2, 2, 220, 4.0, 3, 0.1, 0.3, RIGHT),
    )

    def test_linear_is_computed_for_each_round(self) -> None:
        assert self.found.linear(2) == Spread(pytest.approx(0.975), pytest.approx(0.95), pytest.approx(1.0))
        assert self.found.linear(1) == Spread(1, 1, 1)
        assert json.loads(json.dumps(self.found.to_dict()))["medians"]["2"]["per_second"]["median"] == 205

    def test_the_table(self) -> None:
        text = markdown(self.found)
        assert "| 2 | 205 (190 to 220) | 0.97 (0.95 to 1.00) | 2.1 (0.3 to 4.0) |" in text
        assert "Every post has exactly one result" in text
        assert "Each worker has its own core." in text

    def test_lost_posts_are_reported(self) -> None:
        wrong = scaling(Run(1, 4, 100, 0.3, 3, 0.1, 0.2, Check(3, 1, 0, None)))
        assert wrong.faults() == ["round 1, 4 workers: 3 lost, 1 duplicated, 0 unknown"]
        assert wrong.faults()[0] in markdown(wrong)

    def test_the_chart_is_a_png(self, tmp_path: Path) -> None:
        plot({1: Spread(100, 90, 110), 2: Spread(190, 180, 200)}, tmp_path / "scaling.png")
        assert (tmp_path / "scaling.png").read_bytes()[1:4] == b"PNG"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page without the simulation, which takes seconds."""
    monkeypatch.setattr(scaling_page, "simulation_table", lambda inputs: "| a table |")


class TestPage:
    def run(self, *arguments: str) -> CommandResult:
        return CliRunner().invoke(scaling_page.main, list(arguments))

    def test_the_page_is_up_to_date_with_its_costs(self) -> None:
        result = self.run("--check")
        assert result.exit_code == 0, result.output

    @pytest.mark.usefixtures("quick")
    def test_other_costs_give_another_page(self, tmp_path: Path) -> None:
        content = json.loads(COSTS.read_text())
        content["costs"]["classify_us"]["value"] *= 2
        (tmp_path / "costs.json").write_text(json.dumps(content))
        result = self.run("--check", "--costs", str(tmp_path / "costs.json"))
        assert result.exit_code == 1
        assert "out of date" in result.output

    @pytest.mark.usefixtures("quick")
    def test_measurements_are_filled_in(self, tmp_path: Path) -> None:
        page = tmp_path / "scaling.md"
        page.write_text((ROOT / "docs" / "scaling.md").read_text())
        (tmp_path / "scaling.json").write_text(json.dumps(TestFigures.found.to_dict()))
        result = self.run("--page", str(page), "--scaling", str(tmp_path / "scaling.json"))
        assert result.exit_code == 0, result.output
        assert "| 2 | 205 (190 to 220) | 0.97 (0.95 to 1.00) |" in page.read_text()
        assert self.run("--page", str(page), "--check").exit_code == 0

    @pytest.mark.usefixtures("quick")
    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            ("[1]", "is not what bench_scaling.py --json writes"),
            ("{", "is not what bench_scaling.py --json writes"),
            ("{}", "'medians' is missing"),
            ('{"medians": {"1": {"per_second": 3, "of_linear": null}}}', "is not what bench_scaling.py --json writes"),
            ('{"medians": {"1": {"per_second": {"median": "x"}, "of_linear": null}}}', "is not what bench_scaling.py"),
            (
                '{"medians": {"1": {"per_second": {"median": "x", "low": 1, "high": 1}, "of_linear": null}}}',
                "is not what bench_scaling.py",
            ),
        ],
    )
    def test_a_file_that_bench_scaling_did_not_write(self, tmp_path: Path, content: str, problem: str) -> None:
        (tmp_path / "scaling.json").write_text(content)
        page = tmp_path / "scaling.md"
        page.write_text((ROOT / "docs" / "scaling.md").read_text())
        before = page.read_text()
        result = self.run("--page", str(page), "--scaling", str(tmp_path / "scaling.json"))
        assert result.exit_code == 1
        assert problem in result.output
        assert len(result.output.splitlines()) == 1
        assert page.read_text() == before

    @pytest.mark.usefixtures("quick")
    def test_a_page_without_markers(self, tmp_path: Path) -> None:
        (tmp_path / "page.md").write_text("# Nothing\n")
        result = self.run("--page", str(tmp_path / "page.md"))
        assert result.exit_code == 1
        assert "the page has 0 blocks <!-- costs:begin -->" in result.output

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            ("{", "not a costs file"),
            ("{}", "not a costs file"),
            ("[]", "not a costs file"),
            ('{"costs": []}', "not a costs file"),
            ('{"costs": {}}', "costs must be"),
        ],
    )
    def test_a_file_that_is_not_a_costs_file(self, tmp_path: Path, content: str, problem: str) -> None:
        (tmp_path / "costs.json").write_text(content)
        with pytest.raises(CostsError, match=problem):
            read_costs(tmp_path / "costs.json")
        with pytest.raises(CostsError, match="cannot read"):
            read_costs(tmp_path / "absent.json")

    @pytest.mark.parametrize(
        ("part", "value", "problem"),
        [
            ("waits_s", [], "waits_s must be"),
            ("waits_s", [0, 1], "waits_s must be"),
            ("tables", {"keywords": 5}, "not a costs file"),
            ("tables", {"keywords": 5, "keywords_per_post": 1, "window_sizes": "soon"}, "not a costs file"),
        ],
    )
    def test_assumptions_that_are_wrong(self, tmp_path: Path, part: str, value: object, problem: str) -> None:
        content = json.loads(COSTS.read_text())
        content["assumed"][part] = value
        (tmp_path / "costs.json").write_text(json.dumps(content))
        with pytest.raises(CostsError, match=problem):
            read_costs(tmp_path / "costs.json")
