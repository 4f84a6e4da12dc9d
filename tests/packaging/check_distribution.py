"""Builds the wheel and the sdist, and uses them as users do: away from the clone, in environments of their own.

The wheel is installed with each extra alone, and does what that extra is for; the sdist is installed; and the lines of
the README by which a reader gets to a catalog run as they are typed. ``make distribution`` runs it.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from email import message_from_bytes
from pathlib import Path
from typing import Any, Final

from intake_bluesky.testing import EXAMPLES
from intake_bluesky_jsonl import BlueskyJSONLCatalog

ROOT: Final = Path(__file__).parents[2]
UV: Final = Path(sys.executable).with_name("uv")
URI: Final = "MONGODB_URI"
ENDPOINT: Final = "S3_ENDPOINT"

WRITE: Final = """
from pathlib import Path
from intake_bluesky.testing import EXAMPLES

def write(cat, name):
    with cat.writer() as writer:
        for pair in EXAMPLES[name](Path.cwd()):
            writer(*pair)
"""

CORE: Final = """
import sys
from importlib.metadata import distribution
from pathlib import Path
import intake
import intake_bluesky

assert Path(intake_bluesky.__file__).is_relative_to(sys.prefix), intake_bluesky.__file__
assert distribution("bluesky-intake").version == intake_bluesky.__version__
Path("beamline.yml").write_text('''
sources:
  runs: {driver: bluesky-jsonl-catalog, args: {paths: "{{ CATALOG_DIR }}/runs"}}
''')
for cat in (intake.open_catalog("beamline.yml").runs, intake.open_bluesky_jsonl_catalog("runs")):
    assert cat[-1].primary.read()["theta"].size == 11, cat
"""

EXTRAS: Final = {
    "assets": WRITE
    + """
import fabio, hdf5plugin, intake, PIL, tifffile
cat = intake.open_bluesky_jsonl_catalog("images")
write(cat, "stream_hdf5")
assert cat[-1].primary.to_dask()["image"][3].max().compute() == 300 + 35
""",
    "cli": """
import subprocess, sys, sysconfig
from pathlib import Path
command = Path(sysconfig.get_path("scripts")) / "intake-bluesky"
done = subprocess.run([command, "ls", "runs"], capture_output=True, text=True)
assert "d12f041e" in done.stdout and done.returncode == 0, done
""",
    "mongo": WRITE
    + """
import os
import intake
cat = intake.open_bluesky_mongo_normalized_catalog(os.environ["MONGODB_URI"] + "/packaging", writable=True)
write(cat, "scan")
assert cat[-1].primary.read()["theta"].size == 11
""",
    "sql": WRITE
    + """
import intake, psycopg
cat = intake.open_bluesky_sql_catalog("sqlite:///runs.db")
write(cat, "scan")
assert cat[-1].primary.read()["theta"].size == 11
""",
    "zarr": """
import intake, numpy, zarr
from intake_bluesky.testing import RunComposer, data_key
zarr.save_array("image.zarr", numpy.arange(24).reshape(2, 3, 4))
run = RunComposer("zarr")
primary = run.descriptor({"image": data_key("array", [1, 3, 4], dtype_numpy="<i8", external="STREAM:")})
from pathlib import Path
uri = (Path.cwd() / "image.zarr").as_uri()
image = run.stream_resource("image", mimetype="application/x-zarr", uri=uri, path="", chunk_shape=[1, 3, 4])
run.stream_datum(image, primary, (1, 3))
run.stop()
cat = intake.open_bluesky_jsonl_catalog("zarr")
with cat.writer() as writer:
    for pair in run.documents:
        writer(*pair)
assert cat[-1].primary.read()["image"].values.max() == 23
""",
    "s3": """
import os
import intake
options = {"key": "testing", "secret": "testing", "endpoint_url": os.environ["S3_ENDPOINT"]}
cat = intake.open_bluesky_jsonl_catalog("s3://beamline/runs", storage_options=options)
assert cat[-1].primary.read()["theta"].size == 11
""",
    "demo": """
import io, sys
from contextlib import redirect_stdout
from pathlib import Path
from intake_bluesky.apps.demo import run_demo
with redirect_stdout(io.StringIO()):
    left = run_demo(Path("demonstration"), grid_points=3)
assert left.picture.stat().st_size > 10_000
assert left.silicon.picture.stat().st_size > 10_000
""",
    "docs": """
import subprocess, sys
from pathlib import Path
Path("page").mkdir()
Path("page/conf.py").write_text("extensions = ['myst_parser', 'numpydoc', 'sphinx.ext.autodoc']\\n"
                                "html_theme = 'pydata_sphinx_theme'\\n")
Path("page/index.md").write_text("# Errors\\n\\n```{eval-rst}\\n.. automodule:: intake_bluesky.errors\\n```\\n")
subprocess.run([sys.executable, "-m", "sphinx", "-q", "page", "page/html"], check=True)
assert "RunNotFound" in Path("page/html/index.html").read_text()
""",
    "simulation": """
import intake
import xarray as xr
patterns = xr.Dataset({"I": (("a", "tth"), [[1.0, 2.0], [3.0, 4.0]])}, {"a": [5.43, 5.44], "tth": [1.0, 2.0]})
patterns.to_netcdf("sweep.nc", engine="h5netcdf")
cat = intake.open_bluesky_simulation_catalog("sweep.nc", sweep="a")
[run] = cat.search("text: parameters.a > 5.435").values()
assert run.primary.read()["I"].values.tolist() == [3.0, 4.0]
""",
    "plot": """
import intake, matplotlib
matplotlib.use("Agg")
[line] = intake.open_bluesky_jsonl_catalog("runs")[-1].plot().lines
assert len(line.get_xdata()) == 11
""",
}
EXTRAS_OF_OTHERS: Final = {"all": ("assets", "cli", "sql"), "test": ("assets", "cli", "sql")}
"""Extras that hold others: what they do is done by these."""


class Machine:
    """An empty folder with an environment that is made anew for each installation."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.environment = folder, folder / "environment"
        self.python = self.environment / "bin" / "python"
        # The environment is always at one place: what was compiled of a package is not compiled again for the next.
        places = {"PYTHONPYCACHEPREFIX": str(folder / "compiled"), "INTAKE_BLUESKY_CACHE": str(folder / "cache")}
        self._variables = _variables() | places

    def install(self, *what: str) -> None:
        """Make the environment anew, of these alone; the files are hard links to those of uv's cache."""
        self.run(UV, "venv", "--quiet", "--clear", "--python", sys.executable, self.environment)
        self.run(UV, "pip", "install", "--quiet", "--python", self.python, *what)

    def program(self, text: str, **variables: str) -> None:
        """Run a program in that environment."""
        self.run(self.python, "-P", "-c", text, variables=variables)

    def run(
        self,
        *command: str | Path,
        text: str | None = None,
        cwd: Path | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """Run a command away from the clone, and tell what it said if it fails."""
        done = subprocess.run(
            command, input=text, cwd=cwd or self.folder, env={**self._variables, **(variables or {})},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            shown = " ".join(map(str, command))
            sys.exit(f"{shown}\n{text or ''}\n{done.stdout}\n{done.stderr}\nfailed with status {done.returncode}")


def _variables() -> dict[str, str]:
    """The variables of this process, without those that lead into its clone and its environment."""
    ours = ("PYTHON", "VIRTUAL_ENV", "INTAKE", "AWS_", "DATABROKER", "GIT_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def copy_of_the_clone(machine: Machine) -> Path:
    """Make a clone of what is here, committed or not; what git ignores stays behind."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    clone = machine.folder / "repository"
    for name in filter(None, names):
        if (ROOT / name).is_file():  # one that was deleted is listed until that is committed
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, clone / name)
    machine.run("git", "init", "--quiet", clone)
    machine.run("git", "-C", clone, "add", "--all", "--force")
    author = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    machine.run("git", "-C", clone, *author, "commit", "--quiet", "--message", "as it is here")
    return clone


def build(machine: Machine, clone: Path) -> tuple[Path, Path]:
    """Build the sdist, and the wheel out of the sdist, each in an environment of its own."""
    built = machine.folder / "dist"
    machine.run(UV, "tool", "run", "--from", "build[uv]", "pyproject-build", "--installer=uv", "--outdir", built, clone)
    [wheel], [sdist] = built.glob("*.whl"), built.glob("*.tar.gz")
    machine.run(UV, "tool", "run", "twine", "check", "--strict", wheel, sdist)
    return wheel, sdist


def check_contents(wheel: Path, clone: Path) -> list[str]:
    """Compare what is in the wheel with the clone; give the names of all extras."""
    with zipfile.ZipFile(wheel) as archive:
        observed = {name for name in archive.namelist() if ".dist-info/" not in name}
        [about] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = message_from_bytes(archive.read(about))
        licences = [name for name in archive.namelist() if name.endswith(".dist-info/licenses/LICENSE")]
    roots = [clone, clone / "drivers"]
    packages = [path.parent for root in roots for path in root.glob("intake_bluesky*/__init__.py")]
    files = [path for package in packages for path in package.rglob("*") if path.is_file()]
    expected = {str(path.relative_to(path.parents[len(path.relative_to(clone).parts) - 1])) for path in files}
    expected = {name.removeprefix("drivers/") for name in expected}
    assert observed == expected, f"in the wheel or in the clone alone: {sorted(observed ^ expected)}"
    assert licences, "the wheel has no licence"
    assert metadata["License-Expression"] == "BSD-3-Clause"
    dead = re.findall(r"\]\((?!https?://)[^)]*\)|<!--", str(metadata.get_payload()))
    assert not dead, f"PyPI shows the README away from the files beside it: {dead}"
    extras = metadata.get_all("Provides-Extra") or []
    unknown = set(extras) - EXTRAS.keys() - EXTRAS_OF_OTHERS.keys()
    assert not unknown, f"what are these extras for? {sorted(unknown)}"
    return sorted(extras)


def check_wheel(machine: Machine, wheel: Path, extras: Sequence[str], servers: Mapping[str, str]) -> None:
    """Install the wheel, alone and with each extra alone, and do what each is for."""
    for extra in ("", *extras):
        began = time.perf_counter()
        machine.install(f"{wheel}[{extra}]" if extra else str(wheel))
        programs = [EXTRAS[name] for name in EXTRAS_OF_OTHERS.get(extra, (extra,) if extra else ())]
        for program in (CORE, *programs):
            machine.program(program, **servers)
        _tell(f"wheel[{extra}]", began)
        for name in ("images", "zarr", "runs.db", "demonstration", "page", "sweep.nc"):
            place = machine.folder / name
            shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)


def check_sdist(machine: Machine, sdist: Path, clone: Path) -> None:
    """Look whether the sdist has what the clone has, and install it."""
    began = time.perf_counter()
    with tarfile.open(sdist) as archive:
        observed = {member.name.partition("/")[2] for member in archive if member.isfile()}
    listed = subprocess.run(["git", "-C", clone, "ls-files"], capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    missing = set(filter(None, listed)) - observed - {".gitignore"}
    assert not missing, f"in the clone and not in the sdist: {sorted(missing)}"
    machine.install(str(sdist))
    machine.program(CORE)
    _tell("sdist", began)


def lines_of_the_readme() -> tuple[str, int]:
    """Give what the README has its reader type to see a run of their own, and how many lines that are."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.partition("\n## Your own runs\n")[2].partition("\n## ")[0]
    shell, python = (
        re.search(r"```sh\n(.*?)```", section, re.DOTALL),
        re.search(r"```python\n(.*?)```", section, re.DOTALL),
    )
    assert shell is not None
    assert python is not None
    typed = [*shell[1].splitlines(), *(line.removeprefix(">>> ") for line in python[1].splitlines())]
    return "\n".join(typed) + "\n", len(typed)


def check_readme(machine: Machine, clone: Path) -> None:
    """Type those lines into a shell, whose Python reads on where the shell has stopped, in an empty home."""
    began = time.perf_counter()
    typed, lines = lines_of_the_readme()
    assert lines <= 6, f"{lines} lines up to the first plot"
    home = machine.folder / "home"
    shutil.copytree(machine.folder / "runs", home / "runs")
    cache = subprocess.run([sys.executable, "-m", "pip", "cache", "dir"], capture_output=True, text=True, check=True)
    variables = {
        "HOME": str(home), "REPOSITORY": str(clone), "MPLBACKEND": "Agg",
        "PIP_CACHE_DIR": cache.stdout.strip(), "PIP_NO_COMPILE": "1",
    }  # fmt: skip
    machine.run("bash", "-e", text=typed, cwd=home, variables=variables)
    [picture] = home.rglob("newest.png")
    assert picture.stat().st_size > 5000
    _tell("README", began)


def _tell(what: str, began: float) -> None:
    print(f"{what:<16} {time.perf_counter() - began:5.1f} s", flush=True)


@contextmanager
def servers(folder: Path) -> Iterator[dict[str, str]]:
    """Run a server of MongoDB's protocol, and one of S3 with the runs of that folder in a bucket."""
    import boto3  # type: ignore[import-untyped]
    from moto.server import ThreadedMotoServer

    from tests.servers.mongo import server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    bucket = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    bucket.start()
    host, port = bucket.get_host_and_port()
    keys: dict[str, Any] = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1", **keys)
    client.create_bucket(Bucket="beamline")
    for path in folder.iterdir():
        client.put_object(Bucket="beamline", Key=f"runs/{path.name}", Body=path.read_bytes())
    with server() as mongo:
        yield {URI: mongo.uri, ENDPOINT: f"http://{host}:{port}"}
    bucket.stop()


def main() -> None:
    """Build, and check all of it."""
    with tempfile.TemporaryDirectory(prefix="intake-bluesky-distribution-") as name:
        machine = Machine(Path(name).resolve())
        with BlueskyJSONLCatalog(machine.folder / "runs").writer() as writer:
            for pair in EXAMPLES["scan"](machine.folder):
                writer(*pair)
        began = time.perf_counter()
        clone = copy_of_the_clone(machine)
        wheel, sdist = build(machine, clone)
        _tell("build", began)
        extras = check_contents(wheel, clone)
        with servers(machine.folder / "runs") as running:
            check_wheel(machine, wheel, extras, running)
        check_sdist(machine, sdist, clone)
        check_readme(machine, clone)
    print("the distribution is whole")


if __name__ == "__main__":
    main()
