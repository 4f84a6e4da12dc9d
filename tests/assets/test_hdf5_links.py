"""HDF5 files that name other files: links, virtual datasets, raw storage; and where they may not lead."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from intake_bluesky.assets import AssetArray
from intake_bluesky.assets.hdf5.open_files import open_files
from intake_bluesky.errors import AssetUnavailable, UntrustedName
from tests.assets.by_hand import DATASET, Array, asset, both, frames, key, opened, write


def linked(folder: Path, file: str, path: str = DATASET) -> Path:
    """A master file whose dataset is a link."""
    folder.mkdir(exist_ok=True)
    with h5py.File(folder / "master.h5", "w") as master:
        master[DATASET] = h5py.ExternalLink(file, path)
    return folder / "master.h5"


def virtual(folder: Path, files: list[str], shape: tuple[int, ...] = (3, 4, 6), dataset: str = DATASET) -> Path:
    """A master file whose dataset is made of those of other files, one after the other."""
    folder.mkdir(exist_ok=True)
    layout = h5py.VirtualLayout((len(files) * shape[0], *shape[1:]), "<u2")
    for number, name in enumerate(files):
        layout[number * shape[0] : (number + 1) * shape[0]] = h5py.VirtualSource(name, dataset, shape)
    with h5py.File(folder / "master.h5", "w") as master:
        master.create_virtual_dataset(DATASET, layout, fillvalue=9)
    return folder / "master.h5"


def interleaved(folder: Path, files: list[str], shape: tuple[int, ...] = (3, 4, 6)) -> Path:
    """A master file whose dataset has the frames of other files by turns."""
    folder.mkdir(exist_ok=True)
    layout = h5py.VirtualLayout((len(files) * shape[0], *shape[1:]), "<u2")
    for number, name in enumerate(files):
        layout[number :: len(files)] = h5py.VirtualSource(name, DATASET, shape)
    with h5py.File(folder / "master.h5", "w") as master:
        master.create_virtual_dataset(DATASET, layout)
    return folder / "master.h5"


def raw(folder: Path, file: str) -> Path:
    """A file whose dataset lies outside of it."""
    folder.mkdir(exist_ok=True)
    with h5py.File(folder / "master.h5", "w") as master:
        master.create_dataset(DATASET, (3, 4, 6), "<u2", external=[(file, 0, 144)])
    return folder / "master.h5"


def array(path: Path, count: int = 3, **options: object) -> AssetArray:
    return opened(asset(path, [(1, count + 1, 0, count)]), key(4, 6), count, **options)


def test_links_of_every_kind(tmp_path: Path) -> None:
    write(tmp_path / "far.h5", frames(3), dataset="/deep/down/data")
    with h5py.File(tmp_path / "near.h5", "w") as near:
        near["other"] = h5py.ExternalLink("far.h5", "/deep/down")
        near["entry/here"] = h5py.SoftLink("/other")
        near["entry/data/data"] = h5py.SoftLink("/entry/here/data")
        near["entry/beside"] = h5py.SoftLink("data/data")
    for dataset in ("/entry/data/data", "entry/beside", "other/data", "/entry/./here//data"):
        streamed = asset(tmp_path / "near.h5", [(1, 4, 0, 3)], dataset=dataset)
        np.testing.assert_array_equal(both(opened(streamed, key(4, 6), 3)), frames(3))
    assert len(open_files) == 0


def test_a_link_by_an_absolute_path_that_moved_with_its_master(tmp_path: Path) -> None:
    write(tmp_path / "data.h5", frames(3))
    np.testing.assert_array_equal(both(array(linked(tmp_path, "/gone/since/data.h5"))), frames(3))


def test_a_link_beside_the_file_that_a_symbolic_link_means(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    write(tmp_path / "real" / "data.h5", frames(3))
    (tmp_path / "alias.h5").symlink_to(linked(tmp_path / "real", "data.h5"))
    np.testing.assert_array_equal(both(array(tmp_path / "alias.h5")), frames(3))


def test_a_link_to_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(AssetUnavailable, match=r"'det' cannot be read from .*absent\.h5: there is no such file"):
        array(linked(tmp_path, "absent.h5")).read()


@pytest.mark.parametrize("target", [h5py.SoftLink(DATASET), h5py.ExternalLink("master.h5", DATASET)])
def test_links_in_a_circle(tmp_path: Path, target: object) -> None:
    with h5py.File(tmp_path / "master.h5", "w") as master:
        master[DATASET] = target
    with pytest.raises(AssetUnavailable, match=r"leads nowhere|without end"):
        array(tmp_path / "master.h5").read()
    assert len(open_files) == 0


@pytest.mark.parametrize("dataset", ["/nowhere", "/entry/nowhere/data", DATASET + "/more", "/entry", "/"])
def test_no_such_dataset(one_file: Path, dataset: str) -> None:
    with pytest.raises(AssetUnavailable, match=r"has no dataset|is no array"):
        opened(asset(one_file, [(1, 4, 0, 3)], dataset=dataset), key(4, 6), 3).read()


def test_the_name_changes_with_the_file_that_a_link_leads_to(tmp_path: Path) -> None:
    write(tmp_path / "data.h5", frames(3))
    master = linked(tmp_path, "data.h5")
    before = array(master).token
    assert array(master).token == before
    write(tmp_path / "data.h5", frames(3, first=1))
    assert array(master).token != before


def test_a_virtual_dataset(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{n}.h5", frames(3, first=3 * n)).name for n in range(4)]
    np.testing.assert_array_equal(both(array(virtual(tmp_path, files), 12, target_chunk=200)), frames(12))


def test_a_virtual_dataset_of_its_own_file(tmp_path: Path) -> None:
    path = write(tmp_path / "own.h5", frames(3), dataset="/raw")
    layout = h5py.VirtualLayout((3, 4, 6), "<u2")
    with h5py.File(path, "a") as file:
        layout[:2], layout[2:] = h5py.VirtualSource(file["raw"])[1:], h5py.VirtualSource(file["raw"])[:1]
        file.create_virtual_dataset(DATASET, layout)
    np.testing.assert_array_equal(
        both(array(path, trusted=False, allowed_roots=(str(tmp_path),))), frames(3)[[1, 2, 0]]
    )


@pytest.mark.parametrize("how", ["gone", "other", "short", "dataset"])
def test_what_a_virtual_dataset_lacks_is_not_made_up(tmp_path: Path, how: str) -> None:
    files = [write(tmp_path / f"{n}.h5", frames(3, first=3 * n)).name for n in range(4)]
    master = virtual(tmp_path, files)
    (tmp_path / "1.h5").unlink()
    if how == "other":
        (tmp_path / "1.h5").write_bytes(b"other")
    if how in ("short", "dataset"):
        short = how == "short"
        write(tmp_path / "1.h5", frames(2 if short else 3, first=3), dataset=DATASET if short else "/x")
    if how == "gone":
        with h5py.File(master) as file:
            assert (file[DATASET][5] == 9).all(), "HDF5 fills"
    described = array(master, 12, target_chunk=3 * 48).dask()
    np.testing.assert_array_equal(described[6:].compute(scheduler="sync"), frames(12)[6:])
    with pytest.raises(AssetUnavailable, match=r"1\.h5"):
        described[5:7].compute(scheduler="sync")


def test_virtual_datasets_of_any_shape_are_as_hdf5_reads_them(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", frames(6))
    write(tmp_path / "b.h5", frames(1, first=7)[0], chunks=(4, 6))
    layout = h5py.VirtualLayout((9, 8, 8), "<i4")
    layout[1:4, 2:6, 1:7] = h5py.VirtualSource("a.h5", DATASET, (6, 4, 6))[2:5]
    layout[5, :4, 2:] = h5py.VirtualSource("b.h5", DATASET, (4, 6))
    layout[6, 1:3, 0] = h5py.VirtualSource("b.h5", DATASET, (4, 6))[1:3, 5]
    layout[7, ::2, :6] = h5py.VirtualSource("a.h5", DATASET, (6, 4, 6))[0]
    layout[8] = h5py.VirtualSource("gone.h5", DATASET, (8, 8))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_virtual_dataset(DATASET, layout, fillvalue=-3)
    with h5py.File(tmp_path / "x.h5") as file:
        expected = file[DATASET][:8]
    described = opened(asset(tmp_path / "x.h5", [(1, 10, 0, 9)]), key(8, 8), 9).dask()
    assert described.dtype == np.int32
    for part in (np.s_[:7], np.s_[:8], np.s_[2:6, 1:5, 3:8], np.s_[3], np.s_[5:7, 2:3], np.s_[6:8, :, 0:1]):
        np.testing.assert_array_equal(described[part].compute(scheduler="sync"), expected[part])
    reversed_ = opened(asset(tmp_path / "x.h5", [(1, 9, 0, 8)], slice="[7::-1, ::3]"), key(3, 8), 8)
    np.testing.assert_array_equal(both(reversed_), expected[::-1, ::3])


@pytest.mark.parametrize("pattern", ["%b.h5", "part-%b.h5"])
def test_a_virtual_dataset_of_files_by_a_pattern(tmp_path: Path, pattern: str) -> None:
    for number in range(3):
        write(tmp_path / pattern.replace("%b", str(number)), frames(2, first=2 * number))
    how = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    every = h5py.h5s.create_simple((2, 4, 6), (h5py.h5s.UNLIMITED, 4, 6))
    every.select_hyperslab((0, 0, 0), (h5py.h5s.UNLIMITED, 1, 1), (2, 4, 6), (2, 4, 6))
    how.set_virtual(every, pattern.encode(), DATASET.encode(), h5py.h5s.create_simple((2, 4, 6)))
    with h5py.File(tmp_path / "master.h5", "w") as file:
        h5py.h5d.create(file.id, b"data", h5py.h5t.NATIVE_UINT16, every, how)
    streamed = asset(tmp_path / "master.h5", [(1, 7, 0, 6)], dataset="data")
    np.testing.assert_array_equal(both(opened(streamed, key(4, 6), 6)), frames(6))
    with pytest.raises(UntrustedName, match="pattern"):
        opened(streamed, key(4, 6), 6, trusted=False, allowed_roots=(str(tmp_path),)).read()


SECRET: Array = frames(3, first=30)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder that untrusted documents may not name files of."""
    (tmp_path / "secret").mkdir()
    write(tmp_path / "secret" / "data.h5", SECRET)
    SECRET.tofile(tmp_path / "secret" / "data.bin")
    return tmp_path / "secret"


def by_link(folder: Path, target: str) -> Path:
    return linked(folder, f"{target}.h5")


def by_virtual(folder: Path, target: str) -> Path:
    return virtual(folder, [f"{target}.h5"])


def by_turns(folder: Path, target: str) -> Path:
    return interleaved(folder, [f"{target}.h5"] * 2)


def by_raw(folder: Path, target: str) -> Path:
    return raw(folder, f"{target}.bin")


def by_soft_link(folder: Path, target: str) -> Path:
    path = linked(folder, f"{target}.h5")
    with h5py.File(path, "a") as file:
        file["group"] = h5py.ExternalLink(f"{target}.h5", "/entry")
        del file[DATASET]
        file[DATASET] = h5py.SoftLink("/group/data/data")
    return path


def by_two_links(folder: Path, target: str) -> Path:
    path = linked(folder, "between.h5")
    with h5py.File(folder / "between.h5", "w") as file:
        file[DATASET] = h5py.ExternalLink(f"{target}.h5", DATASET)
    return path


def by_virtual_of_link(folder: Path, target: str) -> Path:
    path = virtual(folder, ["between.h5"])
    with h5py.File(folder / "between.h5", "w") as file:
        file[DATASET] = h5py.ExternalLink(f"{target}.h5", DATASET)
    return path


def by_virtual_of_virtual(folder: Path, target: str) -> Path:
    virtual(folder, [f"{target}.h5"]).rename(folder / "between.h5")
    return virtual(folder, ["between.h5"])


def by_symbolic_link(folder: Path, target: str) -> Path:
    path = linked(folder, "alias.h5")
    (folder / "alias.h5").symlink_to(f"{target}.h5")
    return path


WAYS = [by_turns, by_link, by_virtual, by_raw, by_soft_link, by_two_links, by_virtual_of_link, by_virtual_of_virtual]


@pytest.mark.parametrize("way", [*WAYS, by_symbolic_link])
@pytest.mark.parametrize("named", ["absolute", "climbing"])
def test_untrusted_files_lead_to_allowed_folders_only(
    tmp_path: Path, elsewhere: Path, way: Callable[[Path, str], Path], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way is by_raw:  # HDF5 takes these from the working directory
        monkeypatch.chdir(elsewhere)
    target = str(elsewhere / "data") if named == "absolute" else "../secret/data"
    path = way(tmp_path / "allowed", target)
    count = 6 if way is by_turns else 3
    expected = np.repeat(SECRET, count // 3, axis=0)
    np.testing.assert_array_equal(both(array(path, count)), expected)
    roots = (str(tmp_path / "allowed"),)
    for on_missing in ("raise", "fill"):
        refused = array(path, count, trusted=False, allowed_roots=roots, on_missing=on_missing)
        with pytest.raises(UntrustedName, match=r"secret/data\.(h5|bin).*root_map"):
            refused.read()
        with pytest.raises(UntrustedName):
            refused.dask().compute(scheduler="sync")
    both_roots = (*roots, str(elsewhere))
    np.testing.assert_array_equal(both(array(path, count, trusted=False, allowed_roots=both_roots)), expected)
    mapped = {"/theirs": str(elsewhere), str(tmp_path): str(tmp_path / "allowed")}
    streamed = asset(tmp_path / path.name, [(1, count + 1, 0, count)])
    observed = both(opened(streamed, key(4, 6), count, trusted=False, root_map=mapped))
    np.testing.assert_array_equal(observed, expected)


@pytest.mark.parametrize("way", [by_link, by_virtual, by_raw])
def test_the_working_directory_is_no_allowed_folder(
    tmp_path: Path, elsewhere: Path, way: Callable[[Path, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(elsewhere)
    path = way(tmp_path / "allowed", "data")
    with pytest.raises(UntrustedName):
        array(path, trusted=False, allowed_roots=(str(tmp_path / "allowed"),)).read()


@pytest.mark.parametrize("way", [by_link, by_virtual])
def test_untrusted_files_lead_to_files_beside_them(tmp_path: Path, way: Callable[[Path, str], Path]) -> None:
    path = way(tmp_path, "data")
    write(tmp_path / "data.h5", frames(3))
    os.symlink(path, tmp_path / "again.h5")
    for name in (path, tmp_path / "again.h5"):
        observed = both(array(name, trusted=False, allowed_roots=(str(tmp_path),)))
        np.testing.assert_array_equal(observed, frames(3))


def test_links_of_remote_files_lead_to_files_beside_them(tmp_path: Path) -> None:
    import fsspec

    write(tmp_path / "data.h5", frames(3))
    masters = {
        "good": linked(tmp_path, "data.h5").read_bytes(),
        "moved": linked(tmp_path, "/gone/data.h5").read_bytes(),
        "local": linked(tmp_path, f"file://{tmp_path}/data.h5").read_bytes(),
        "chained": linked(tmp_path, "x::file:///etc/passwd").read_bytes(),
        "up": linked(tmp_path, "../data.h5").read_bytes(),
        "virtual": virtual(tmp_path, ["data.h5"]).read_bytes(),
        "interleaved": interleaved(tmp_path, ["data.h5", "data.h5"]).read_bytes(),
        "data": (tmp_path / "data.h5").read_bytes(),
    }
    for name, content in masters.items():
        with fsspec.open(f"memory://linked/{name}.h5", "wb") as file:
            file.write(content)

    def read(name: str) -> Array:
        streamed = asset(f"memory://linked/{name}.h5", [(1, 4, 0, 3)])
        return both(opened(streamed, key(4, 6), 3))

    for name in ("good", "moved", "virtual"):
        np.testing.assert_array_equal(read(name), frames(3))
    for name in ("local", "chained", "up"):
        with pytest.raises(UntrustedName, match="only links to files beside them"):
            read(name)
    with pytest.raises(AssetUnavailable, match="not read from URLs"):
        read("interleaved")
