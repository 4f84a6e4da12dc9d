"""Rows of text: of the declared dtype, or an error that says where not."""

from __future__ import annotations

import csv
import pickle
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pytest

from intake_bluesky.assets import AssetArray, Location
from intake_bluesky.assets.text import parsed_files
from intake_bluesky.assets.text.grammar import Grammar
from intake_bluesky.assets.text.reader import CSVReader
from intake_bluesky.documents.columns import TEXT
from intake_bluesky.errors import AssetUnavailable, DamagedRun
from tests.assets.by_hand import asset, both, key, opened

MIMETYPE = "text/csv;header=absent"


def array(text: str | bytes | Path, spec: dict[str, Any], rows: int, where: Path, **parameters: Any) -> AssetArray:
    path = where / "x.csv"
    if isinstance(text, Path):
        path = text
    else:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return opened(asset(path, [(1, rows + 1, 0, rows)], mimetype=MIMETYPE, **parameters), spec, rows)


def two(dtype: str) -> list[list[str]]:
    return [["a", dtype], ["b", "<U1"]]


TWO = key(dtype_descr=two("<f8"))


def floats(*shape: int) -> dict[str, Any]:
    return key(*shape, dtype_numpy="<f8")


def test_floats_as_numpy_wrote_them(tmp_path: Path) -> None:
    data = np.random.default_rng(1).standard_normal((50, 3)) * 10.0 ** np.arange(-100, 200, 100)
    np.savetxt(tmp_path / "n.csv", data, fmt="%.17g", delimiter=",")
    np.testing.assert_array_equal(both(array(tmp_path / "n.csv", floats(3), 50, tmp_path)), data)


def test_what_pandas_wrote(tmp_path: Path) -> None:
    frame = pd.DataFrame({"n": [1, -2, 3], "x": [0.1, 1e-320, np.inf], "what": ['a "quoted", word', "öff", ""]})
    frame.to_csv(tmp_path / "p.csv", header=False, index=False)
    dtype = [["n", "<i2"], ["x", "<f8"], ["what", "<U16"]]
    observed = both(array(tmp_path / "p.csv", key(dtype_numpy=dtype), 3, tmp_path))
    assert observed.tolist() == list(frame.itertuples(index=False, name=None))


def test_what_csv_wrote(tmp_path: Path) -> None:
    with open(tmp_path / "c.csv", "w", newline="") as file:
        csv.writer(file, delimiter=";").writerows([[1, "a\nb"], [2, "c;d"], [3, 'e"']])
    observed = both(array(tmp_path / "c.csv", key(dtype_descr=[["n", "|u1"], ["t", "<U4"]]), 3, tmp_path, sep=";"))
    assert observed.tolist() == [(1, "a\nb"), (2, "c;d"), (3, 'e"')]


@pytest.mark.parametrize("dtype", ["|u1", "<i2", ">i4", "<u8", "<i8", "<f4", ">f8"])
def test_dtype_is_the_declared_one(tmp_path: Path, dtype: str) -> None:
    observed = both(array("1,2\n3,4\n", key(2, dtype_numpy=dtype), 2, tmp_path))
    assert (observed.dtype, observed.tolist()) == (np.dtype(dtype), [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    ("dtype", "text", "expected"),
    [
        ("|b1", "True\nFalse\n", [True, False]),
        ("|b1", "1\n0\n", [True, False]),
        ("<u8", "18446744073709551615\n0\n", [2**64 - 1, 0]),
        ("<i8", "9007199254740993\n-9223372036854775808\n", [2**53 + 1, -(2**63)]),
        ("<i4", "1.0\n2e3\n", [1, 2000]),
        ("<f8", "99999999999999999999999\n1\n", [1e23, 1]),
        ("<c16", "(1+2j)\n3\n", [1 + 2j, 3]),
        ("<M8[s]", "2026-11-23T10:00:00\n2026-11-24\n", np.array(["2026-11-23T10", "2026-11-24"], "M8[s]").tolist()),
        ("|S3", "on\noff\n", [b"on", b"off"]),
        ("<U3", "NA\n1.0\n", ["NA", "1.0"]),
    ],
)
def test_values(tmp_path: Path, dtype: str, text: str, expected: list[Any]) -> None:
    observed = both(array(text, key(dtype_numpy=dtype), 2, tmp_path))
    assert (observed.dtype, observed.tolist()) == (np.dtype(dtype), expected)


def test_words(tmp_path: Path) -> None:
    observed = both(array("on,NA\nöff,\n", key(2, dtype="string"), 2, tmp_path))
    assert (observed.dtype, observed.tolist()) == (TEXT, [["on", "NA"], ["öff", ""]])


@pytest.mark.parametrize(
    ("dtype", "text", "message"),
    [
        ("<i8", "1,2\n3,4.5\n", r"column 1 of row 1 is .*4\.5.* int64"),
        ("|u1", "1,2\n300,4\n", r"column 0 of row 1 is .*300.* uint8"),
        ("<u2", "1,2\n3,-4\n", r"column 1 of row 1 is .*-4.* uint16"),
        ("<i8", "1,18446744073709551615\n3,4\n", "column 1 of row 0 is .*18446744073709551615"),
        ("<i8", "1,99999999999999999999\n3,4\n", "column 1 of row 0 is .*99999999999999999999"),
        ("<i8", "1,1e300\n3,4\n", r"column 1 of row 0 is .*1e300"),
        ("<i8", "1,2\n3,\n", "column 1 of row 1 is missing, which int64"),
        ("<i8", "1,2\n3\n", "row 1 has fewer than 2 fields"),
        ("|b1", "True,False\nTrue,\n", "column 1 of row 1 is missing"),
        ("|b1", "1,0\n1,2\n", "column 1 of row 1 is .*2"),
        ("<f8", "1,2\n3,four\n", "column 1 of row 1 is 'four', which float64"),
        ("<f8", "1,2\n3,0x10\n", "column 1 of row 1 is '0x10'"),
        ("<f8", "1,2\n3,1_000\n", "column 1 of row 1 is '1_000'"),
        ("<f8", "1,True\n3,False\n", "column 1 of row 0 is .*True"),
        ("<f4", "1,2\n3,1e300\n", r"column 1 of row 1 is .*1e\+300.* float32"),
        ("<U3", "a,b\nc,long\n", "column 1 of row 1 is 'long', which <U3"),
        ("|S3", "a,b\nc,ö\n", "column 1 is not of"),
        ("<M8[s]", "2026,2026\n2026,soon\n", "column 1 is not of"),
        ("<f8", "1,2\n3,4,5\n", "row 1 has more than 2 fields"),
        ("<f8", "1,2\n3,1e400\n", "column 1 of row 1 is '1e400', which float64"),
        ("<i8", "1,2.0\n3,4.00000000000000001\n", "column 1 of row 1 is '4.00000000000000001', which int64"),
        ("<i8", "1,2.0\n3,1e-400\n", "column 1 of row 1 is '1e-400', which int64"),
    ],
)
def test_nothing_is_cast_silently(tmp_path: Path, dtype: str, text: str, message: str) -> None:
    described = array(text, key(2, dtype_numpy=dtype), 2, tmp_path)
    with pytest.raises(DamagedRun, match=rf"(?s)x\.csv.*{message}"):
        described.read()


@pytest.mark.parametrize("part", [4, 1000])
def test_a_longer_row_at_the_head_of_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int) -> None:
    monkeypatch.setattr(parsed_files, "PART", part)
    described = array("1,2\n3,4,5\n6,7\n", floats(2), 3, tmp_path)
    with pytest.raises(DamagedRun, match=r"x\.csv: row 1 has more than 2 fields"):
        described.read()
    assert (described[:1].tolist(), described[2:].tolist()) == ([[1, 2]], [[6, 7]]), "the rows beside it are read"


@pytest.mark.parametrize("damage", ["", "NA", "4.5", "four", "True", "-1e300", "99999999999999999999"])
@pytest.mark.parametrize(
    ("dtype", "cells", "expected"),
    [
        ("<i8", ["9007199254740993", "-1"], [2**53 + 1, -1]),
        ("<u8", ["18446744073709551615", "2e3"], [2**64 - 1, 2000]),
        ("<f8", ["0.1", " 1e23"], [0.1, 1e23]),
        ("|b1", ["True", "false"], [True, False]),
    ],
)
def test_what_is_elsewhere_in_a_column_changes_no_value(
    tmp_path: Path, dtype: str, cells: list[str], expected: list[Any], damage: str
) -> None:
    described = array(
        "".join(f"{cell},x\n" for cell in [*cells, damage]), TWO | {"dtype_descr": two(dtype)}, 3, tmp_path
    )
    observed = described[:2]
    assert (observed["a"].dtype, observed["a"].tolist()) == (np.dtype(dtype), expected)


def test_numbers_are_written_alike_where_a_column_has_words(tmp_path: Path) -> None:
    described = array("1.234,5;x\n2;x\nno;x\n", TWO, 3, tmp_path, sep=";", decimal=",", thousands=".")
    assert described[:2]["a"].tolist() == [1234.5, 2.0]
    with pytest.raises(DamagedRun, match=r"x\.csv: column 0 of row 2 is 'no', which float64 does not hold"):
        described.read()


def test_missing_floats_are_nan(tmp_path: Path) -> None:
    observed = both(array("1,NA,3\n4,-,6\n7,,\n,nan,null\n", floats(3), 4, tmp_path, na_values="-"))
    np.testing.assert_array_equal(observed, [[1, np.nan, 3], [4, np.nan, 6], [7, np.nan, np.nan], [np.nan] * 3])


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("1,2,3\n4,5,|\n7,8,9\n", {}),
        ("1,2,3\r\n4,5,|\r\n\r\n7,8,9\r\n", {}),
        ("1,2,3\n\n4,5,|\n  \n7,8,9\n", {}),
        ("1;2;3\n4;5;|\n7;8;9\n", {"sep": ";"}),
        ("1,2,3\n4,5,|# , and so on\n# a comment, of three, fields\n7,8,9\n", {"comment": "#"}),
        ("1,2,3\n'4',5,|\n7,8,9\n", {"quotechar": "'"}),
        ("1,2,3\n4,5,|\n7,8,9\n10,11,12\n", {"nrows": 3}),
        ("a,b\nx,y,z\n1,2,3\n4,5,|\n7,8,9\n", {"skiprows": 1, "header": 0}),
        ("1,2,3\n4,5,|\n7,8,9\nso,far\n", {"skipfooter": 1}),
    ],
)
def test_fewer_fields_are_an_error_and_empty_ones_are_nan(
    tmp_path: Path, text: str, parameters: dict[str, Any]
) -> None:
    values = both(array(text.replace("|", ""), floats(3), 3, tmp_path, **parameters))
    np.testing.assert_array_equal(values, [[1, 2, 3], [4, 5, np.nan], [7, 8, 9]])
    short = text.replace(";|", "").replace(",|", "")
    with pytest.raises(DamagedRun, match="row 1 has fewer than 3 fields"):
        array(short, floats(3), 3, tmp_path, **parameters).read()


@pytest.mark.parametrize(
    ("shape", "text", "expected"),
    [
        ((), "1\n2\n", (2,)),
        ((1,), "1\n2\n", (2,)),
        ((1, 1), "1\n2\n", (2, 1, 1)),
        ((3,), "1\n2\n3\n4\n5\n6\n", (2, 3)),
        ((3, 1), "1\n2\n3\n4\n5\n6\n", (2, 3, 1)),
        ((2,), "1,2\n3,4\n", (2, 2)),
        ((1, 2), "1,2\n3,4\n", (2, 1, 2)),
        ((3, 2), "1,2\n" * 6, (2, 3, 2)),
    ],
)
def test_several_rows_an_event(tmp_path: Path, shape: tuple[int, ...], text: str, expected: tuple[int, ...]) -> None:
    observed = both(array(text, floats(*shape), 2, tmp_path))
    assert observed.shape == expected
    assert observed.ravel().tolist() == [float(n) for n in text.replace("\n", ",").split(",")[:-1]]


@pytest.mark.parametrize("shape", [(), (1,), (3,), (1, 1), (3, 1)])
def test_records(tmp_path: Path, shape: tuple[int, ...]) -> None:
    dtype = [["a", "<i8"], ["b", "<f4", [2]]]
    rows = 2 * (shape or (1,))[0]
    text = "".join(f"{n},{n}.5,0.25\n" for n in range(rows))
    observed = both(array(text, key(*shape, dtype_descr=dtype), 2, tmp_path))
    assert observed.shape == (2, *(() if shape == (1,) else shape))
    assert observed["a"].ravel().tolist() == list(range(rows))
    assert observed["b"].reshape(-1, 2).tolist() == [[n + 0.5, 0.25] for n in range(rows)]


def test_another_number_of_columns_than_fields(tmp_path: Path) -> None:
    described = array("1,2,3\n", key(dtype_descr=[["a", "<i8"], ["b", "<i8"]]), 1, tmp_path)
    with pytest.raises(DamagedRun, match="rows have 3 columns, where 2 were found or declared"):
        described.read()


def test_concatenated_and_multiplied(tmp_path: Path) -> None:
    text = "1,2\n3,4\n5,6\n7,8\n"
    observed = both(array(text, floats(2), 2, tmp_path, multiplier=2, join_method="concat"))
    assert observed.tolist() == [[1, 2], [3, 4], [5, 6], [7, 8]]


def test_several_files_follow_each_other(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.csv").write_text(f"{number},0\n{number},1\n")
    parts = [asset(tmp_path / f"{n}.csv", [(2 * n + 1, 2 * n + 3, 0, 2)], mimetype=MIMETYPE) for n in range(3)]
    observed = both(opened(parts, key(2, dtype_numpy="<i8"), 6))
    assert observed.tolist() == [[n // 2, n % 2] for n in range(6)]


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"sep": ";", "decimal": ","}, "1,5;2\n3;4\n"),
        ({"delimiter": "\t"}, "1.5\t2\n3\t4\n"),
        ({"sep": r"\s+"}, "  1.5   2\n\t3 4 \n"),
        ({"sep": " "}, "1.5 2\n3 4\n"),
        ({"comment": "#"}, "# head\n1.5,2 # first\n#\n3,4\n"),
        ({"skiprows": 2}, "a,b\nc\n1.5,2\n3,4\n"),
        ({"skiprows": [1, 3]}, "1.5,2\nno\n3,4\nno,\n"),
        ({"header": 0, "names": ["a", "b"]}, "a,b\n1.5,2\n3,4\n"),
        ({"header": None, "skiprows": 1}, "a,b\n1.5,2\n3,4\n"),
        ({"skipfooter": 1}, "1.5,2\n3,4\ntotal\n"),
        ({"nrows": 2}, "1.5,2\n3,4\n5,6\n"),
        ({"usecols": [3, 1]}, "x,1.5,y,2\nx,3,y,4\n"),
        ({"quotechar": "'"}, "'1.5',2\n3,'4'\n"),
        ({"thousands": "'"}, "1.5,2\n3,4\n"),
        ({"skipinitialspace": True}, '1.5, "2"\n3, 4\n'),
        ({}, "\n1.5,2\n   \n\r\n3,4\r\n\n"),
        ({"chunk_shape": [100], "join_chunks": False, "dtype": "float"}, "1.5,2\n3,4\n"),
    ],
)
def test_keywords_of_pandas(tmp_path: Path, parameters: dict[str, Any], text: str) -> None:
    assert both(array(text, floats(2), 2, tmp_path, **parameters)).tolist() == [[1.5, 2], [3, 4]]


def test_other_missing_values(tmp_path: Path) -> None:
    described = array("1,none\n", floats(2), 1, tmp_path, na_values=["none"], keep_default_na=False)
    np.testing.assert_array_equal(both(described), [[1, np.nan]])
    with pytest.raises(DamagedRun, match="'NA'"):
        array("1,NA\n", floats(2), 1, tmp_path, na_values=["none"], keep_default_na=False).read()


@pytest.mark.parametrize(
    ("encoding", "mark"), [("latin-1", b""), ("utf-8", b"\xef\xbb\xbf"), ("utf-8-sig", b"\xef\xbb\xbf")]
)
def test_encodings(tmp_path: Path, encoding: str, mark: bytes) -> None:
    text = mark + "1,é\n2,ü\n".encode("latin-1" if encoding == "latin-1" else "utf-8")
    observed = both(array(text, key(dtype_descr=[["n", "<i8"], ["t", "<U1"]]), 2, tmp_path, encoding=encoding))
    assert observed.tolist() == [(1, "é"), (2, "ü")]


@pytest.mark.parametrize(
    "parameters",
    [
        {"storage_options": {"anon": True}},
        {"converters": {"0": "os.system"}},
        {"date_parser": "os.system"},
        {"engine": "python"},
        {"compression": "zip"},
        {"filepath_or_buffer": "/etc/passwd"},
        {"memory_map": True},
        {"dialect": "excel"},
        {"sep": "(a+)+$"},
        {"delimiter": "::"},
        {"encoding": "utf-16"},
        {"encoding": "rot13"},
        {"encoding": "no such"},
        {"skiprows": "lambda n: n"},
        {"skiprows": ["1"]},
        {"usecols": ["a"]},
        {"usecols": [-1]},
        {"na_values": {"0": "-"}},
        {"comment": "//"},
        {"decimal": "\N{ARABIC DECIMAL SEPARATOR}"},
        {"nrows": "many"},
    ],
)
def test_what_is_not_understood_is_refused(tmp_path: Path, parameters: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(parameters))[:2]):
        CSVReader.of(Location("x.csv"), parameters)
    described = array("1,2\n", floats(2), 1, tmp_path, **parameters)
    with pytest.raises(AssetUnavailable, match="CSVReader cannot make sense"):
        described.read()


def test_half_a_row_is_no_row(tmp_path: Path) -> None:
    described = array("1,2\n3,4\n5,6", floats(2), 3, tmp_path)
    assert described.missing.tolist() == [2]
    np.testing.assert_array_equal(both(described), [[1, 2], [3, 4], [np.nan, np.nan]])


@pytest.mark.parametrize("part", [1, 1000])
@pytest.mark.parametrize(
    ("text", "expected", "odd"),
    [
        ("1,2\n3,4\n5,6", [[1, 2], [3, 4], [5, 6]], "taken to be whole"),
        ("5,6", [[5, 6]], "taken to be whole"),
        ("1,2\n3,4\n5", [[1, 2], [3, 4]], "ends within a row"),
        ('1,2\n3,4\n"5', [[1, 2], [3, 4]], "ends within a row"),
        ("1,2\n3,4\n#5", [[1, 2], [3, 4]], ""),
        ("1,2\n3,4\n", [[1, 2], [3, 4]], ""),
        ("1,2\n3,4,5\n", [[1, 2], [3, 4]], "row 1 has more than 2 fields"),
    ],
)
def test_the_last_row_of_a_run_that_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int, text: str, expected: list[list[float]], odd: str
) -> None:
    monkeypatch.setattr(parsed_files, "PART", part)
    path = tmp_path / "x.csv"
    path.write_text(text)
    of = CSVReader.of(Location(str(path)), {"comment": "#"}).knowing({}, finished=True)
    header = of.structure()
    assert (header.frames, odd in header.odd, bool(header.odd)) == (len(expected), True, bool(odd))
    out = np.empty((1, 2))
    for row, values in enumerate(expected[: 1 if "fields" in odd else None]):
        of.read_into(row, row + 1, out)
        assert out[0].tolist() == values


def test_a_footer_without_a_line_break(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("1,2\n3,4\ntotal")
    assert CSVReader.of(Location(str(path)), {"skipfooter": 1}).knowing({}, finished=True).structure().frames == 2


HEADERS = [
    ("text/csv;header=absent", "1,2\n3,4\n", [[1, 2], [3, 4]]),
    ("text/csv;header=present", "a,b\n1,2\n3,4\n", [[1, 2], [3, 4]]),
    ("text/csv; Header=Present", "100,200\n1,2\n3,4\n", [[1, 2], [3, 4]]),
    ("text/csv", "a,b\n1,2\n3,4\n", [[1, 2], [3, 4]]),
    ("text/csv", "1,2\n3,4\n", [[1, 2], [3, 4]]),
    ("TEXT/CSV", '"a\nb",c\n1,2\n3,4\n', [[1, 2], [3, 4]]),
]


@pytest.mark.parametrize("part", [1, 1000])
@pytest.mark.parametrize(("mimetype", "text", "expected"), HEADERS)
def test_with_and_without_a_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int, mimetype: str, text: str, expected: list[list[int]]
) -> None:
    monkeypatch.setattr(parsed_files, "PART", part)
    path = tmp_path / "x.csv"
    path.write_text(text)
    described = opened(asset(path, [(1, 3, 0, 2)], mimetype=mimetype), key(2, dtype_numpy="<i8"), 2)
    assert both(described).tolist() == expected


def test_fields_are_the_columns_of_their_names(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("n,b,a\n0,2,1\n1,4,3\n")

    def read(*names: str) -> Any:
        spec = key(dtype_numpy=[[name, "<i8"] for name in names])
        return both(opened(asset(path, [(1, 3, 0, 2)], mimetype="text/csv"), spec, 2)).tolist()

    assert read("a", "b") == [(1, 2), (3, 4)]
    assert read("x", "y", "z") == [(0, 2, 1), (1, 4, 3)], "names that the header has not: columns in their order"
    with pytest.raises(DamagedRun, match=r"x\.csv has no column 'c'; its header has \['n', 'b', 'a'\]"):
        read("a", "c")


def test_a_file_that_grows(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("1,2\n")
    of = CSVReader.of(Location(str(path)), {})
    before = of.structure()
    with path.open("a") as file:
        file.write("3,4\n5,")
    after = of.structure()
    assert (before.frames, after.frames) == (1, 2)
    assert before.version != after.version
    out = np.empty((2, 2))
    of.read_into(0, 2, out)
    assert out.tolist() == [[1, 2], [3, 4]]
    with pytest.raises(AssetUnavailable, match=r"x\.csv has 2 rows, row 2 was asked"):
        of.read_into(0, 3, np.empty((3, 2)))


@pytest.mark.parametrize("text", ["", "\n\n", "1,2"])
def test_no_rows(tmp_path: Path, text: str) -> None:
    described = array(text, floats(2), 2, tmp_path)
    assert described.missing.tolist() == [0, 1]
    assert np.isnan(both(described)).all()


def test_no_file(tmp_path: Path) -> None:
    described = array(tmp_path / "gone.csv", floats(2), 2, tmp_path)
    assert (described.shape, described.dtype) == ((2, 2), np.dtype("<f8"))
    with pytest.raises(OSError, match=r"gone\.csv"):
        described.read()


def test_columns_that_are_not_there(tmp_path: Path) -> None:
    path = array("1,2\n", floats(2), 1, tmp_path).files()[0].path
    with pytest.raises(AssetUnavailable, match=r"x\.csv: Usecols"):
        CSVReader.of(Location(path), {"usecols": [2]}).structure()


def test_a_quote_that_is_never_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsed_files, "PART", 64)
    monkeypatch.setattr(parsed_files, "LONGEST", 256)
    path = tmp_path / "x.csv"
    path.write_text('1,"2\n' + "3,4\n" * 200)
    with pytest.raises(AssetUnavailable, match=r"x\.csv has a row of more than 256 bytes"):
        CSVReader.of(Location(str(path)), {}).structure()


def test_stray_quotes_are_text(tmp_path: Path) -> None:
    observed = both(array('1,5"\n2,6"\n3,7\n', key(2, dtype="string"), 3, tmp_path))
    assert observed.tolist() == [["1", '5"'], ["2", '6"'], ["3", "7"]]


@pytest.mark.parametrize("seed", range(12))
def test_any_rows_of_any_text(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(seed)
    monkeypatch.setattr(parsed_files, "PART", int(rng.integers(1, 200)))
    count = int(rng.integers(1, 120))
    between = ["", "", "", "\n", "#x\n", "  \n", "\r\n"]
    lines = ['{0},"{1}{0}"\n'.format(n, "a,\n"[: rng.integers(0, 4)]) for n in range(count)]
    text = "".join(between[rng.integers(0, 7)] + line for line in lines) + '12,"half\nof'
    path = tmp_path / "x.csv"
    path.write_bytes(text.encode())
    of = CSVReader.of(Location(str(path)), {"comment": "#"})
    assert of.structure().frames == count
    for _ in range(5):
        start, stop = sorted(rng.integers(0, count + 1, 2).tolist())
        out = np.empty(stop - start, [("n", "i8"), ("t", "U9")])
        of.read_into(start, stop, out)
        assert out["n"].tolist() == list(range(start, stop))
        assert [t.rpartition("\n")[2].lstrip("a,") for t in out["t"].tolist()] == [str(n) for n in range(start, stop)]


@pytest.mark.parametrize(
    ("parameters", "head", "tail"),
    [
        ({}, "", ""),
        ({"header": 1}, "a,b\n\nc,d\n", ""),
        ({"skiprows": 3}, "".join(f"{n}\n" for n in range(3)), ""),
        ({"skiprows": [0, 2, 21]}, "no\n", ""),
        ({"comment": "#"}, "#\n" * 40, "#\n" * 40),
        ({"nrows": 50}, "", "and,what,ever\n" * 9),
        ({"skipfooter": 2, "comment": "#"}, "", "total,1,2,3\n# of\n\nall\n\n"),
    ],
)
def test_parts_are_of_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parameters: dict[str, Any], head: str, tail: str
) -> None:
    monkeypatch.setattr(parsed_files, "PART", 50)
    lines = [f"{n},{n / 4}\n" for n in range(50)]
    for number in (1, 20) if "no" in head else ():
        lines.insert(number, "no\n")
    described = array(head + "".join(lines) + tail, floats(2), 50, tmp_path, **parameters)
    assert both(described).tolist() == [[n, n / 4] for n in range(50)]


def test_parts_are_parsed_once_and_those_used_last_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsed_files, "PART", 100)
    parse, parsed = Grammar.parse, []

    def counting(self: Grammar, text: bytes, *args: Any, **how: Any) -> Any:
        parsed.append(text)
        return parse(self, text, *args, **how)

    monkeypatch.setattr(Grammar, "parse", counting)
    path = tmp_path / "x.csv"
    path.write_text("".join(f"{n},{n}\n" for n in range(1000)))
    of = CSVReader.of(Location(str(path)), {})
    assert of.structure().frames == 1000
    assert b"".join(parsed).count(b"\n") == 1000
    assert len(parsed) > 2 * parsed_files.MOST_PARTS

    parsed.clear()
    out = np.empty((10, 2))
    of.read_into(990, 1000, out)
    assert out[:, 0].tolist() == list(range(990, 1000))
    assert parsed == []
    for _ in range(3):
        of.read_into(500, 502, out[:2])
    assert out[:2].tolist() == [[500, 500], [501, 501]]
    assert len(parsed) == 1
    assert len(parsed[0]) <= 110
    assert parsed_files._kept.cache_info().currsize <= parsed_files.MOST_PARTS


def test_what_changed_meanwhile_is_gone_through_anew(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    of = CSVReader.of(Location(str(path)), {})
    out = np.empty((1, 2))
    for text in ("1,2\n", "\n3,4\n"):
        path.write_text(text)
        of.read_into(0, 1, out)
    assert out.tolist() == [[3, 4]]


def test_part_of_each_row(tmp_path: Path) -> None:
    described = array("1,2,3,4\n5,6,7,8\n", floats(4), 2, tmp_path)
    assert described.dask()[:, 1:3].compute(scheduler="sync").tolist() == [[2, 3], [6, 7]]


def test_remote(tmp_path: Path) -> None:
    with fsspec.open("memory://csv/x.csv", "wb") as file:
        file.write(b"1,2\n3,4\n")
    described = opened(asset("memory://csv/x.csv", [(1, 3, 0, 2)], mimetype=MIMETYPE), floats(2), 2)
    assert both(described).tolist() == [[1, 2], [3, 4]]


def test_pickles_and_computes_in_other_processes(tmp_path: Path) -> None:
    described = array("".join(f"{n},1\n" for n in range(100)), floats(2), 100, tmp_path, sep=",", comment="#")
    assert pickle.loads(pickle.dumps(described.readers)) == described.readers
    assert described.dask().sum().compute(scheduler="processes", num_workers=2) == 99 * 50 + 100
