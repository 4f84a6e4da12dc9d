"""Take the pictures of JupyterLab on the pages "Look at runs" and "Plot runs": ``python docs/draw_notebook.py``.

Needs jupyterlab, playwright and the extra ``plot`` in the environment of this package (``pip install jupyterlab
playwright``), and chromium (``apt install chromium``).
"""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from PIL import Image
from playwright.sync_api import ElementHandle, Page, sync_playwright

DOCS = Path(__file__).parent
VIEW = {"width": 960, "height": 1000}
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
# IPython leaves out the types of names where jedi does not find them in time; on a busy machine it would.
PREPARED = """\
%config Completer.jedi_compute_type_timeout = 10_000
from pathlib import Path
from draw_reprs import catalog
cat = catalog(Path.cwd())"""
SHOWN = {"catalog": "cat", "run": "cat[-1]", "stream": "cat[-1].primary", "plot": "axes = cat[-1].plot()"}
TYPED = {"names": "cat[-1].primary.", "keys": 'cat["'}
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
    "completer-extension/manager": {"providerTimeout": 60_000},  # milliseconds: as above
}


def main() -> None:
    """Take the pictures of both themes."""
    for theme, called in THEMES.items():
        with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
            settings = SETTINGS | {"apputils-extension/themes": {"theme": called}}
            with _jupyterlab(Path(folder), settings) as address:
                chromium = shutil.which("chromium")
                browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
                page = browser.new_page(viewport=VIEW)
                page.set_default_timeout(300_000)
                _photograph(page, address, theme)
                browser.close()


@contextmanager
def _jupyterlab(folder: Path, settings: Mapping[str, Any]) -> Iterator[str]:
    """JupyterLab in a folder, with settings of its own; gives the address of a notebook."""
    for name, setting in settings.items():
        file = folder / f"settings/@jupyterlab/{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(setting), encoding="utf-8")
    cell = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    cells = [cell | {"source": source} for source in (PREPARED, *SHOWN.values(), "")]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    notebook = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 4}
    (folder / "runs.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {"JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces", "IPYTHONDIR": "ipython"}
    own |= {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_RUNTIME_DIR": "runtime"}
    places = {name: str(folder / part) for name, part in own.items()}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--ServerApp.port={port}"]
    command += ["--IdentityProvider.token=", "--LabApp.expose_app_in_browser=True"]
    environment = os.environ | places | {"TZ": "America/New_York", "PYTHONPATH": str(DOCS)}
    with subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.DEVNULL) as server:
        try:
            _wait_for(f"http://127.0.0.1:{port}/api", server)
            yield f"http://127.0.0.1:{port}/doc/tree/runs.ipynb"
        finally:
            server.terminate()


def _wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    while server.poll() is None:
        try:
            urlopen(address).close()  # noqa: S310  # of the server that was started here
        except OSError:
            time.sleep(0.2)
        else:
            return
    sys.exit(f"jupyterlab ended with {server.returncode}")


def _photograph(page: Page, address: str, theme: str) -> None:
    page.goto(address)
    page.wait_for_selector(".jp-Notebook .jp-Cell")
    page.wait_for_function("window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status == 'idle'")
    page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
    page.wait_for_selector(".jp-OutputArea-output img")
    _, *shown, last = page.query_selector_all(".jp-Notebook .jp-Cell")
    for name, cell in zip(SHOWN, shown, strict=True):
        _keep(cell.screenshot(), f"look-{name}-{theme}")
    for name, typed in TYPED.items():
        _photograph_completions(page, last, typed, f"look-{name}-{theme}")


def _photograph_completions(page: Page, cell: ElementHandle, typed: str, name: str) -> None:
    cell.click()
    page.keyboard.press("Control+A")
    page.keyboard.type(typed)
    page.keyboard.press("Tab")
    popup = page.wait_for_selector(".jp-Completer:has(.jp-Completer-item)")
    above, below = cell.bounding_box(), popup.bounding_box()
    top = min(above["y"], below["y"])
    bottom = max(box["y"] + box["height"] for box in (above, below))
    _keep(page.screenshot(clip=above | {"y": top - 4, "height": bottom - top + 16}), name)
    page.keyboard.press("Escape")


def _keep(shot: bytes, name: str) -> None:
    with Image.open(io.BytesIO(shot)) as taken:
        taken.convert("RGB").quantize(200).save(DOCS / "_static" / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
