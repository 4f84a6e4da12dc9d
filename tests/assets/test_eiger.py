"""Series of Eiger detectors: every image equals what h5py reads from the data files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import area_detector_handlers.eiger
import h5py
import numpy as np
import pytest

from intake_bluesky.assets import AssetArray, AssetOptions, asset_files, datum_array
from intake_bluesky.assets.hdf5.eiger import EigerReader
from intake_bluesky.assets.hdf5.open_files import open_files
from intake_bluesky.assets.hdf5.reader import HDF5Reader
from intake_bluesky.errors import AssetUnavailable, UntrustedName
from tests.assets.by_hand import Array, both, frames, key, write
from tests.assets.hdf5_by_hand import eiger, read_eiger


def resource(prefix: Path | str, **kwargs: Any) -> dict[str, Any]:
    return {
        "uid": "r",
        "spec": "AD_EIGER2",
        "root": "",
        "resource_path": str(prefix),
        "resource_kwargs": kwargs or {"images_per_file": 1},
    }


def opened(one: dict[str, Any], datums: list[dict[str, Any]], declared: dict[str, Any], **options: Any) -> AssetArray:
    """A datum a row."""
    known = {f"r/{number}": ("r", own) for number, own in enumerate(datums)}
    return datum_array(list(known), "det", declared, {"r": one}, known, AssetOptions(**options))


def series(tmp_path: Path, count: int, images: int, **how: Any) -> Array:
    """So many series, from the sequence id 4 on."""
    data = frames(count * images).reshape(count, images, 4, 6)
    for number in range(count):
        eiger(tmp_path / "x", 4 + number, data[number], **how)
    return data


@pytest.mark.parametrize("kind", ["links", "virtual", "both"])
@pytest.mark.parametrize("per_file", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("spec", ["AD_EIGER", "AD_EIGER2"])
def test_a_series_a_datum(tmp_path: Path, kind: str, per_file: int, spec: str) -> None:
    expected = series(tmp_path, 3, 7, per_file=per_file, kind=kind)
    one = {**resource(tmp_path / "x", images_per_file=per_file), "spec": spec}
    datums = [{"seq_id": 4 + number} for number in range(3)]
    array = opened(one, datums, key(7, 4, 6))
    assert array.dtype == np.uint16
    np.testing.assert_array_equal(both(array), expected)
    np.testing.assert_array_equal(read_eiger(sorted(tmp_path.glob("x_5_data*"))), expected[1])


def test_what_the_handler_of_others_gives(tmp_path: Path) -> None:
    expected = series(tmp_path, 1, 5, per_file=5)
    with h5py.File(tmp_path / "x_4_master.h5", "a") as file:
        for name in area_detector_handlers.eiger.EigerHandler.EIGER_MD_LAYOUT.values():
            if name not in file:
                file[name] = 1.0
    handler = area_detector_handlers.eiger.EigerHandler(str(tmp_path / "x"), images_per_file=5)
    given = handler(seq_id=4).compute(scheduler="sync")
    handler.close()
    observed = both(opened(resource(tmp_path / "x", frame_per_point=5), [{"seq_id": 4}], key(5, 4, 6)))
    np.testing.assert_array_equal(observed[0], given)
    np.testing.assert_array_equal(observed, expected)


@pytest.mark.parametrize("declared", [(4, 6), (1, 4, 6), (0, 4, 6), (None, None), (6, 4, 99)])
@pytest.mark.parametrize("name", ["frame_num", "image_slice"])
def test_an_image_a_datum(tmp_path: Path, declared: tuple[int | None, ...], name: str) -> None:
    data = series(tmp_path, 2, 7, per_file=3)
    one = {**resource(tmp_path / "x", images_per_file=3), "spec": "AD_EIGER_SLICE"}
    datums = [{"seq_id": seq_id, name: number} for seq_id in (4, 5) for number in (0, 3, 6, 2)]
    observed = both(opened(one, datums, key(*declared)))
    np.testing.assert_array_equal(observed.reshape(2, 4, 4, 6), data[:, [0, 3, 6, 2]])


@pytest.mark.parametrize("declared", [(7, 4, 6), (0, 4, 6), (4, 6), (None, None, None), (1, 6, 4)])
def test_the_number_of_images_is_read_from_the_files(tmp_path: Path, declared: tuple[int | None, ...]) -> None:
    data = series(tmp_path, 2, 7, per_file=3)
    observed = both(opened(resource(tmp_path / "x"), [{"seq_id": 4}, {"seq_id": 5}], key(*declared)))
    np.testing.assert_array_equal(observed, data)


def test_series_of_different_length(tmp_path: Path) -> None:
    eiger(tmp_path / "x", 1, frames(4).astype("<f4"), per_file=2)
    eiger(tmp_path / "x", 2, frames(7, first=4).astype("<f4"), per_file=2)
    observed = both(opened(resource(tmp_path / "x"), [{"seq_id": 1}, {"seq_id": 2}], key(7, 4, 6)))
    np.testing.assert_array_equal(observed[0, :4], frames(4))
    assert np.isnan(observed[0, 4:]).all()
    np.testing.assert_array_equal(observed[1], frames(7, first=4))


def test_firmware_before_1_3(tmp_path: Path) -> None:
    eiger(tmp_path / "x", 1, frames(4), per_file=2, group="/entry")
    np.testing.assert_array_equal(both(opened(resource(tmp_path / "x"), [{"seq_id": 1}], key(4, 4, 6)))[0], frames(4))


def test_a_large_series_is_many_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = series(tmp_path, 1, 12, per_file=4)
    array = opened(resource(tmp_path / "x"), [{"seq_id": 4}], key(12, 4, 6), target_chunk=3 * 48)
    assert array.dask().chunks[:2] == ((1,), (3, 3, 3, 3))
    read: list[str] = []
    original = HDF5Reader.read_into

    def counting(self: HDF5Reader, start: int, stop: int, *rest: Any) -> None:
        read.append(f"{self.path[-9:]} {start}-{stop}")
        original(self, start, stop, *rest)

    monkeypatch.setattr(HDF5Reader, "read_into", counting)
    described = array.dask()[0, 6:9, 1:3]
    np.testing.assert_array_equal(described.compute(scheduler="sync"), data[0, 6:9, 1:3])
    assert read == ["000002.h5 2-4", "000003.h5 0-1"]


def test_a_data_file_that_is_gone(tmp_path: Path) -> None:
    data = series(tmp_path, 2, 6, per_file=2)
    (tmp_path / "x_4_data_000002.h5").unlink()
    array = opened(resource(tmp_path / "x"), [{"seq_id": 4}, {"seq_id": 5}], key(6, 4, 6), target_chunk=100)
    described = array.dask()
    np.testing.assert_array_equal(described[0, :2].compute(scheduler="sync"), data[0, :2])
    np.testing.assert_array_equal(described[:, 4:].compute(scheduler="sync"), data[:, 4:])
    with pytest.raises(AssetUnavailable, match=r"x_4_data_000002\.h5: there is no such file"):
        described[0, 1:3].compute(scheduler="sync")
    single = {**resource(tmp_path / "x"), "spec": "AD_EIGER_SLICE"}
    datums = [{"seq_id": 4, "frame_num": number} for number in range(6)]
    filled = both(opened(single, datums, key(4, 6), on_missing="fill"))
    np.testing.assert_array_equal(filled, data[0] * np.array([1, 1, 0, 0, 1, 1])[:, None, None])


def test_the_last_data_file_is_gone(tmp_path: Path) -> None:
    data = series(tmp_path, 1, 6, per_file=2)
    (tmp_path / "x_4_data_000003.h5").unlink()
    array = opened(resource(tmp_path / "x"), [{"seq_id": 4}], key(6, 4, 6))
    np.testing.assert_array_equal(array.dask()[0, :4].compute(scheduler="sync"), data[0, :4])
    with pytest.raises(AssetUnavailable, match=r"x_4_data_000003\.h5: there is no such file"):
        array.read()


def test_a_data_file_that_is_short(tmp_path: Path) -> None:
    series(tmp_path, 1, 6, per_file=2)
    write(tmp_path / "x_4_data_000002.h5", frames(1))
    with pytest.raises(AssetUnavailable, match=r"x_4_data_000002\.h5 has 1 frames"):
        opened(resource(tmp_path / "x"), [{"seq_id": 4}], key(6, 4, 6)).read()


def test_images_that_a_series_does_not_have(tmp_path: Path) -> None:
    series(tmp_path, 1, 6, per_file=2)
    one = {**resource(tmp_path / "x"), "spec": "AD_EIGER_SLICE"}
    array = opened(one, [{"seq_id": 4, "frame_num": number} for number in (5, 6)], key(4, 6))
    assert array.missing.tolist() == [1]
    with pytest.raises(AssetUnavailable, match="has frames for 6 events where the documents speak of 7"):
        array.read()


@pytest.mark.parametrize("datum", [{}, {"seq_id": "../../etc/x"}, {"seq_id": 1, "frame_num": "x"}])
def test_datums_without_meaning(tmp_path: Path, datum: dict[str, Any]) -> None:
    with pytest.raises(AssetUnavailable, match="EigerReader needs"):
        opened(resource(tmp_path / "x"), [datum], key(6, 4, 6)).read()


def test_no_master(tmp_path: Path) -> None:
    declared = key(6, 4, 6, dtype_numpy="<u4")
    array = opened(resource(tmp_path / "x"), [{"seq_id": 4}], declared)
    assert array.shape == (1, 6, 4, 6)
    assert array.dtype == np.uint32
    with pytest.raises(AssetUnavailable, match=r"x_4_master\.h5: there is no such file"):
        array.read()
    write(tmp_path / "x_4_master.h5", frames(1), dataset="/other")
    with pytest.raises(AssetUnavailable, match=r"x_4_master\.h5 is no master file"):
        opened(resource(tmp_path / "x"), [{"seq_id": 4}], declared).read()


def test_a_master_that_skips_a_data_file(tmp_path: Path) -> None:
    series(tmp_path, 1, 6, per_file=2)
    with h5py.File(tmp_path / "x_4_master.h5", "a") as file:
        del file["/entry/data/data_000002"]
    with pytest.raises(AssetUnavailable, match=r"x_4_master\.h5 names no data file 2 of 3"):
        opened(resource(tmp_path / "x"), [{"seq_id": 4}], key(6, 4, 6)).read()


def test_files_of_a_series(tmp_path: Path) -> None:
    files = [*eiger(tmp_path / "x", 1, frames(4), per_file=2), *eiger(tmp_path / "x", 11, frames(1))]
    eiger(tmp_path / "xy", 1, frames(1))
    found = {Path(file.path) for file in asset_files(resource(tmp_path / "x"))}
    assert found == set(files)
    array = opened(resource(tmp_path / "x"), [{"seq_id": 1}], key(4, 4, 6))
    assert {Path(file.path) for file in array.files()} == set(files[:3])


def test_names_change_with_the_series(tmp_path: Path) -> None:
    def token() -> str:
        return opened(resource(tmp_path / "x"), [{"seq_id": 4}], key(6, 4, 6)).token

    series(tmp_path, 1, 6, per_file=2)
    before = token()
    assert token() == before
    write(tmp_path / "x_4_data_000003.h5", frames(2, first=9))
    assert token() != before


def test_nothing_stays_open(tmp_path: Path) -> None:
    series(tmp_path, 2, 7, per_file=2)
    both(opened(resource(tmp_path / "x"), [{"seq_id": 4}, {"seq_id": 5}], key(7, 4, 6), target_chunk=100))
    assert len(open_files) == 0


@pytest.mark.parametrize("kind", ["links", "virtual"])
def test_untrusted_masters_lead_to_allowed_folders_only(tmp_path: Path, kind: str) -> None:
    (tmp_path / "data").mkdir()
    data = series(tmp_path / "data", 1, 6, per_file=2, kind=kind)
    write(tmp_path / "secret.h5", frames(2, first=50))
    roots = (str(tmp_path / "data"),)
    one, declared = resource(tmp_path / "data" / "x"), key(6, 4, 6)
    observed = both(opened(one, [{"seq_id": 4}], declared, trusted=False, allowed_roots=roots))
    np.testing.assert_array_equal(observed, data)
    (tmp_path / "data" / "x_4_data_000002.h5").unlink()
    (tmp_path / "data" / "x_4_data_000002.h5").symlink_to(tmp_path / "secret.h5")
    with pytest.raises(UntrustedName, match=r"secret\.h5"):
        opened(one, [{"seq_id": 4}], declared, trusted=False, allowed_roots=roots).read()


@pytest.mark.parametrize("group", ["entry", "entry/data"])
def test_a_group_of_another_file_is_not_looked_into(tmp_path: Path, group: str) -> None:
    (tmp_path / "data").mkdir()
    series(tmp_path, 1, 6)
    with h5py.File(tmp_path / "data" / "x_4_master.h5", "w") as file:
        file[group] = h5py.ExternalLink(str(tmp_path / "x_4_master.h5"), group)
    one = resource(tmp_path / "data" / "x")
    refused = opened(one, [{"seq_id": 4}], key(6, 4, 6), trusted=False, allowed_roots=(str(tmp_path / "data"),))
    with pytest.raises((UntrustedName, AssetUnavailable), match=r"no root_map target|no master file"):
        refused.read()


def test_remote_series(tmp_path: Path) -> None:
    import fsspec

    for file in eiger(tmp_path / "x", 3, frames(5), per_file=2):
        with fsspec.open(f"memory://eiger/{file.name}", "wb") as out:
            out.write(file.read_bytes())
    one = {**resource("x"), "root": "memory://eiger"}
    array = opened(one, [{"seq_id": 3}], key(5, 4, 6))
    np.testing.assert_array_equal(both(array)[0], frames(5))
    assert len(array.files()) == 4


def test_a_master_alone_is_an_ordinary_file_too(tmp_path: Path) -> None:
    from intake_bluesky.assets import Location

    eiger(tmp_path / "x", 3, frames(5), per_file=5)
    reader = HDF5Reader(Location(str(tmp_path / "x_3_master.h5")), "/entry/data/data_000001")
    out: Array = np.empty((5, 4, 6), "<u2")
    reader.read_into(0, 5, out)
    np.testing.assert_array_equal(out, frames(5))
    assert EigerReader(Location(str(tmp_path / "x")), "3").structure().frames == 5
