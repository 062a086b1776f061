"""A run rewrites its own block of the page and leaves everything else alone."""

from __future__ import annotations

from pathlib import Path

from bench import page
from bench.against import table
from bench.report import Row


def test_a_block_is_replaced_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("# Title\n\n<!-- bench: a -->\nold\n<!-- end of a -->\n\nprose\n")
    page.write("a", r"new \1", path)
    page.write("b", "another", path)
    text = path.read_text()
    assert text.index("# Title") < text.index(r"new \1") < text.index("prose") < text.index("another")
    assert "old" not in text
    page.write("b", "again", path)
    assert path.read_text().count("bench: b") == 1


def test_the_comparison_takes_medians_of_rounds_and_divides_new_by_old() -> None:
    def rounds(*values: float) -> list[list[Row]]:
        return [[Row("fan-out", "", figures={"µs": value})] for value in values]

    assert "| fan-out | µs | 2.00 | 3.00 | 1.50 |" in table(rounds(9.0, 3.0, 1.0), rounds(2.0, 2.0, 8.0))
