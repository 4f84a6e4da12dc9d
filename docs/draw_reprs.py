"""Take the pictures of a terminal on the page "Look at runs" with chromium: ``python docs/draw_reprs.py``.

`docs/draw_notebook.py` takes those of a notebook, of the same runs.
"""

from __future__ import annotations

import html
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unicodedata import east_asian_width

import numpy as np
from PIL import Image, ImageChops

from intake_bluesky import BlueskyCatalog, Start
from intake_bluesky.apps.terminal.tables import runs_table
from intake_bluesky.testing import MemoryStore, RunComposer, data_key

FOLDER = Path(__file__).parent / "_static"
WIDTH = 860
MORNING = 1_772_456_400.0  # 2 March 2026, 8:00 in New York
SAMPLES = ["Ni foil", "LiFePO4, cell 7", "標準試料 Si", "Pt/Al2O3 after reduction at 450 °C"]
PLANS = [("scan", 41, 62.0), ("count", 10, 31.0), ("grid_scan", 441, 1510.0), ("rel_scan", 21, 40.0)]


def catalog(folder: Path) -> BlueskyCatalog:
    """The runs of a morning at a beamline that there is not."""
    return BlueskyCatalog(MemoryStore(_runs(folder)), name="hard_xray")


def _runs(folder: Path) -> Iterator[Any]:
    began = MORNING
    for number in range(12):
        plan, events, took = PLANS[number % 4]
        run = _begun(number, plan, began)
        if number == 9:
            run.stop("fail", "the shutter closed: beam lost", time=began + 12, num_events={"primary": 57})
        elif number == 6:
            run.stop("abort", time=began + 301, num_events={"primary": 88})
        elif number != 10:
            run.stop(time=began + took, num_events={"primary": events, "baseline": 2})
        yield run.documents
        began += took + 340
    yield _imaged(folder, began)


def _begun(number: int, plan: str, began: float) -> RunComposer:
    sample = SAMPLES[number // 3 % 4]
    run = RunComposer(f"{number} of the morning", time=began, scan_id=18230 + number, plan_name=plan, sample=sample)
    run.descriptor({"theta": data_key("number", units="deg"), "I0": data_key("integer", units="counts")})
    return run


def _imaged(folder: Path, began: float) -> Any:
    """A scan with two detectors, of which the files of one are not there."""
    there = folder / "pilatus_0412.h5"
    there.touch()
    run = RunComposer(
        "images", time=began, scan_id=18242, plan_name="scan", motors=["theta"], detectors=["I0", "pilatus", "eiger"],
        num_points=41, proposal={"id": 311_942, "title": "Strain in operating cells", "pi": "M. Skłodowska"},
        sample={"name": "LiFePO4, cell 7", "temperature": 298.5, "holder": "capillary 0.5 mm, Hilgenberg, number 14"},
        hints={"dimensions": [[["theta"], "primary"]]}, operator="night shift",
    )  # fmt: skip
    images = {"dtype_numpy": "<u4", "external": "STREAM:", "units": "counts"}
    keys = {
        "theta": data_key("number", units="deg", precision=4),
        "theta_setpoint": data_key("number", units="deg"),
        "I0": data_key("integer", units="counts"),
        "pilatus": data_key("array", [1, 619, 487], **images),
        "eiger": data_key("array", [1, 1065, 1030], **images),
    }
    configuration = {
        "theta": {"data": {"theta_velocity": 2.0, "theta_offset": -0.0213}, "timestamps": {}, "data_keys": {}},
        "pilatus": {"data": {"acquire_time": 1.0, "threshold": 6.35}, "timestamps": {}, "data_keys": {}},
    }
    configuration["theta"]["data_keys"] = {"theta_velocity": data_key("number", units="deg/s")}
    slow = {"cryo": data_key("number", units="K"), "ring": data_key("number", units="mA")}
    baseline = run.descriptor(slow, stream="baseline")
    devices = {"theta": ["theta", "theta_setpoint"], "I0": ["I0"], "pilatus": ["pilatus"], "eiger": ["eiger"]}
    primary = run.descriptor(keys, configuration=configuration, object_keys=devices)
    for key, path in (("pilatus", there), ("eiger", Path("/data/2026-1/311942/eiger_0412_master.h5"))):
        resource = run.stream_resource(key, mimetype="application/x-hdf5", uri=f"file://localhost{path}", dataset="/d")
        run.stream_datum(resource, primary, (1, 42))
    run.event(baseline, {"cryo": 298.4, "ring": 400.1})
    for place in np.linspace(8.0, 10.0, 41):
        counts = int(9000 * np.exp(-(((place - 9.1) / 0.2) ** 2)))
        run.event(primary, {"theta": float(place), "theta_setpoint": float(place), "I0": counts})
    run.event(baseline, {"cryo": 298.6, "ring": 399.8})
    run.stop(time=began + 66)
    return run.documents


def terminal(*parts: str) -> str:
    """A page with text as a terminal of 80 columns has it."""
    style = "margin:0;padding:14px;width:80ch;font:14px/1.35 'DejaVu Sans Mono',monospace;color:#dedede"
    # A terminal gives wide characters two columns exactly; a browser gives them what their font has.
    wide = "<span style='display:inline-block;width:2ch'>{}</span>"
    text = "".join(wide.format(one) if east_asian_width(one) == "W" else one for one in "".join(parts))
    text = f'<pre style="{style}">{text}</pre>'
    return f"<meta charset='utf-8'><body style='margin:0;background:#111'>{text}</body>"


def prompt(number: int, typed: str) -> str:
    """A line of IPython."""
    return f"<span style='color:#56c271'>In [{number}]:</span> {html.escape(typed)}\n"


def listed(cat: BlueskyCatalog) -> str:
    """The table of the command line, in its colours."""
    from rich.console import Console
    from rich.terminal_theme import SVG_EXPORT_THEME

    page = Console(record=True, width=80, file=io.StringIO(), color_system="truecolor", force_terminal=True)
    page.print(runs_table(list(cat.arrangement.runs(limit=8)), 80))
    made = page.export_html(inline_styles=True, code_format="{code}", theme=SVG_EXPORT_THEME)
    return f"$ intake-bluesky ls beamline.yml:hard_xray -n 8\n{made}"


def pretty(thing: Any) -> str:
    """What IPython prints."""
    from IPython.lib.pretty import pretty as printed

    return html.escape(printed(thing)) + "\n\n"


def completed(names: dict[str, Any], typed: str) -> str:
    """What IPython with jedi offers, in columns as it shows them."""
    from IPython.core.completer import provisionalcompleter
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    shell.user_ns.update(names)
    shell.Completer.use_jedi = True
    with provisionalcompleter():
        found = [one.text for one in shell.Completer.completions(typed, len(typed)) if not one.text.startswith("_")]
    width = max(map(len, found)) + 2
    across = max(1, 78 // width)
    down = -(-len(found) // across)
    rows = ["".join(name.ljust(width) for name in found[row::down]) for row in range(down)]
    return "".join(f"  <span style='background:#333'>{html.escape(row.ljust(76))}</span>\n" for row in rows) + "\n"


def photograph(page: str, name: str) -> None:
    """Show a page in chromium, and keep the part that has anything in it."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("chromium is needed to take the pictures: apt install chromium")
    with tempfile.TemporaryDirectory() as folder:
        source, shot = Path(folder, "page.html"), Path(folder, "shot.png")
        source.write_text(page, encoding="utf-8")
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--screenshot={shot}"]
        subprocess.run([*command, f"--window-size={WIDTH},1600", source.as_uri()], check=True, capture_output=True)
        image = Image.open(shot).convert("RGB")
    ground = Image.new("RGB", image.size, image.getpixel((image.width - 1, image.height - 1)))
    _, _, _, bottom = ImageChops.difference(image, ground).getbbox() or (0, 0, 0, image.height)
    image = image.crop((0, 0, image.width, min(image.height, bottom + 14)))
    image.quantize(200).save(FOLDER / f"{name}.png", optimize=True)


def main() -> None:
    """Take all pictures."""
    os.environ |= {"TZ": "America/New_York", "COLUMNS": "80"}
    time.tzset()
    with tempfile.TemporaryDirectory() as folder:
        cat = catalog(Path(folder))
        found = cat.search(Start("plan_name") == "scan")
        text = [prompt(1, "found"), pretty(found), prompt(2, "cat[-1]"), pretty(cat[-1])]
        photograph(terminal(listed(cat), "\n", *text).replace(folder, "/data/2026-1/311942"), "look-terminal")
        names = {"cat": cat, "run": cat[-1]}
        typed = ["cat[-1].primary.", "run.", "run['"]
        offered = [part for n, line in enumerate(typed, 3) for part in (prompt(n, line), completed(names, line))]
        photograph(terminal(*offered), "look-completion")


if __name__ == "__main__":
    main()
