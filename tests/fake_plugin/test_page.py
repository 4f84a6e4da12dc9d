"""The page for authors of drivers shows the driver that is tested here, and it is as short as it says."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "how-to" / "write-a-driver.md"
FIRST = "from __future__ import annotations\n\n"
FILES = ("one_file_plugin/store.py", "one_file_plugin/catalog.py", "test_one_file_store.py")


@pytest.mark.parametrize("name", FILES)
def test_the_page_has_the_code_that_is_tested(name: str) -> None:
    _, _, code = (HERE / name).read_text(encoding="utf-8").partition(FIRST)
    _, named, rest = PAGE.read_text(encoding="utf-8").partition(f"\n`{name}`:\n")
    assert named, f"the page does not show {name}"
    shown = rest.partition("```python\n")[2].partition("```\n")[0]
    assert shown == code, f"copy {name} into the page: it has to show the code that is tested"


def test_the_driver_is_short() -> None:
    lines = {name: len((HERE / name).read_text(encoding="utf-8").splitlines()) for name in FILES}
    assert lines["one_file_plugin/store.py"] <= 150
    assert lines["test_one_file_store.py"] <= 40
