"""What the README promises: its example runs, its links exist."""

import re
from pathlib import Path

import matplotlib as mpl

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_example_runs(capsys):
    mpl.use("Agg")
    example = re.search(r"```python\n(.*?)```", README, re.DOTALL).group(1)
    smaller = {"40_000": "200", "1_000": "20", "CRBWeightedRegressor()": "CRBWeightedRegressor(max_epochs=1)"}
    for large, small in smaller.items():
        assert large in example
        example = example.replace(large, small)
    exec(compile(example, "README.md", "exec"), {})
    assert "variance_over_crb" in capsys.readouterr().out


def test_links_to_files_exist():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("http")]
    assert links
    assert all((ROOT / link).exists() for link in links)
