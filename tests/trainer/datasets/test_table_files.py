"""Tables as they come: separators, compression, other kinds of files, and DataFrames."""

import bz2
import csv
import datetime
import decimal
import gzip
import io
import json
import lzma
import sys
import tarfile
import warnings
import zipfile

import numpy as np
import pandas as pd
import pytest

from trainer import datasets

ROWS = 20
WORDS = ["北京", "上海", "广州", "深圳，南山", "杭州（西湖）"]


def whole(dataset):
    """All rows in their order in the file, with the target as a column."""
    parts = [dataset.train, dataset.valid, dataset.test]
    return pd.concat([part.x.assign(**{part.y.name: part.y}) for part in parts]).sort_index()


def test_spaces_after_separators_are_no_part_of_cells(tmp_path):
    path = tmp_path / "spaced.csv"
    path.write_text('a, b, c\n1, "x, y", 2\n3, z, 4\n' + "5, z, 6\n" * 4)
    frame = whole(datasets.load(path, target="c"))
    assert frame.columns.tolist() == ["a", "b", "c"]
    assert frame["b"][:2].tolist() == ["x, y", "z"]


def test_blanks_before_separators_are_no_part_of_cells_either(tmp_path):
    path = tmp_path / "spaced.csv"
    for separator in (",", ";", "|", "\t"):
        for end in ("\n", "\r\n"):
            lines = [" a , b , flag , y ", " 1.5 , red wine , True , 7 ", "NA ,  , False,8 "]
            text = end.join(lines[:1] + lines[1:] * 10).replace(",", separator)
            path.write_bytes(text.encode("utf-8-sig"))
            dataset = datasets.load(path, target="y")
            frame = whole(dataset)
            assert frame.columns.tolist() == ["a", "b", "flag", "y"]
            np.testing.assert_array_equal(frame["a"][:2], [1.5, np.nan])
            assert frame["b"][0] == "red wine" and pd.isna(frame["b"][1])
            assert (frame["flag"].dtype, frame["y"].tolist()) == (bool, [7, 8] * 10)
            assert "Read as utf-8-sig" in dataset.description


def test_blanks_inside_quotes_are_part_of_a_cell_but_not_of_a_name(tmp_path):
    path = tmp_path / "quoted.csv"
    path.write_text(
        '"a " , " b", y\n' + '"one , ""two"" " , 5" disk  ,1 \n' + '"x \n y" ,z "q" ,2\n' * 5
    )
    frame = whole(datasets.load(path, target="y"))
    assert frame.columns.tolist() == ["a", "b", "y"]
    assert frame["a"][:2].tolist() == ['one , "two" ', "x \n y"]
    assert frame["b"][:2].tolist() == ['5" disk', 'z "q"']
    assert frame["y"].tolist() == [1, 2, 2, 2, 2, 2]


def test_blanks_are_stripped_in_encodings_whose_characters_contain_separators(tmp_path):
    path = tmp_path / "cities.csv"
    for encoding in ("gb18030", "cp932", "utf-16", "big5hkscs"):
        text = " 城市 | 価 \n" + "ソ連表| 1 \n 東京 |2\n" * 10
        if encoding == "gb18030":
            text = text.replace("ソ連表", "北京蘾")  # its last byte is a bar
        if encoding == "big5hkscs":
            text = text.replace("ソ連表", "育許").replace("価", "價")
        path.write_bytes(text.encode(encoding))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a guess of the encoding
            frame = whole(datasets.load(path, target=text.split("|")[1].split("\n")[0].strip()))
        assert frame["城市"][:2].tolist() == [text.split("\n")[1].split("|")[0], "東京"]


def test_columns_that_differ_only_in_blanks_are_two_of_the_same_name(tmp_path):
    path = tmp_path / "twice.csv"
    path.write_text("a , a,b\n" + "1,2,3\n" * 6)
    with pytest.warns(UserWarning, match=r"several columns 'a': the second is renamed 'a\.1'"):
        assert whole(datasets.load(path, target="b")).columns.tolist() == ["a", "a.1", "b"]
    path.write_text('"a ","a","b"\n' + "1,2,3\n" * 6)
    with pytest.raises(ValueError, match="has several columns 'a': rename them"):
        datasets.load(path, target="b")


def test_columns_of_the_same_name_are_renamed_with_a_warning(tmp_path):
    path = tmp_path / "twice.csv"
    path.write_text("a,a,b\n" + "1,2,3\n" * 6)
    with pytest.warns(UserWarning, match=r"several columns 'a': the second is renamed 'a\.1'"):
        assert whole(datasets.load(path, target="b")).columns.tolist() == ["a", "a.1", "b"]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".txt"])
def test_the_separator_is_found_whatever_the_file_is_called(separator, suffix, tmp_path):
    frame = pd.DataFrame(
        {
            "text": ["a, b; c", "one|two", 'say "no"', "two\nlines", "tab\there"] * 4,
            "size": np.arange(ROWS) / 4,
            "price": np.arange(ROWS) * 1.5,
        }
    )
    path = tmp_path / f"table{suffix}"
    frame.to_csv(path, index=False, sep=separator, quoting=csv.QUOTE_NONNUMERIC)
    pd.testing.assert_frame_equal(whole(datasets.load(path, target="price")), frame)


def test_decimal_commas_and_thousands_become_numbers_and_dates_stay(tmp_path):
    rows = [
        "1.234,5;12;01.02.2024;1.500;3,5;v1.2;10,5",
        "-2,25;7;24.12.2023;999;;v1.3;2,5e3",
        "12.345.678,125;0;03.04.2024;2.000.000;4;v1.4;0,5",
    ]
    path = tmp_path / "werte.csv"
    header = "preis;anzahl;datum;miete;note;version;ziel\n"
    path.write_text(header + "\n".join(rows * 4) + "\n")
    dataset = datasets.load(path, target="ziel")
    frame = whole(dataset)[:3]
    assert frame["preis"].tolist() == [1234.5, -2.25, 12345678.125]
    assert frame["anzahl"].tolist() == [12, 7, 0]
    assert frame["datum"].tolist() == ["01.02.2024", "24.12.2023", "03.04.2024"]
    assert frame["miete"].tolist() == [1500, 999, 2_000_000]
    np.testing.assert_array_equal(frame["note"], [3.5, np.nan, 4])
    assert frame["version"].tolist() == ["v1.2", "v1.3", "v1.4"]
    assert frame["ziel"].tolist() == [10.5, 2500, 0.5]
    assert "separated by semicolons, with decimal commas" in dataset.description
    assert dataset.task == "regression"


def test_decimal_commas_far_from_the_start_are_found(tmp_path):
    path = tmp_path / "late.csv"
    path.write_text("a;b\n" + "1;2\n" * 300 + "1,5;2\n")
    assert whole(datasets.load(path, target="b"))["a"].tolist() == [1.0] * 300 + [1.5]


@pytest.mark.parametrize("separator", [",", ";"])
def test_commas_between_thousands_are_no_part_of_numbers(separator, tmp_path):
    path = tmp_path / "towns.csv"
    rows = '"1,234,567",1.5,a\n"8,250.75",2.5,b\n950,3.5,c\n' * 4
    path.write_text(
        ("people,area,y\n" + rows)
        .replace(",1.5,", f"{separator}1.5{separator}")
        .replace(",2.5,", f"{separator}2.5{separator}")
        .replace(",3.5,", f"{separator}3.5{separator}")
        .replace("people,area,y", separator.join(("people", "area", "y")))
    )
    dataset = datasets.load(path, target="y")
    assert sorted(whole(dataset)["people"].unique()) == [950, 8250.75, 1234567]
    assert "with commas between thousands" in dataset.description


def test_commas_that_may_be_of_either_kind_are_taken_as_decimal_with_a_warning(tmp_path):
    path = tmp_path / "prices.csv"
    path.write_text("price;y\n" + "1,234;a\n5,678;b\n" * 5)
    with pytest.warns(
        UserWarning, match=r"'price', such as '1,234', are taken as decimal"
    ) as caught:
        dataset = datasets.load(path, target="y")
    assert set(dataset.train.x["price"]) <= {1.234, 5.678}
    assert caught[0].filename == __file__


def test_lists_in_cells_of_a_file_separated_by_commas_stay_text(tmp_path):
    path = tmp_path / "baskets.csv"
    path.write_text("items,y\n" + '"1,5",a\n"2,3",b\n' * 5)
    assert set(datasets.load(path, target="y").train.x["items"]) == {"1,5", "2,3"}


def test_a_web_page_in_the_place_of_a_table_is_named(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("\n<!DOCTYPE html><html><head><title>data.csv, raw</title></head></html>")
    with pytest.raises(datasets.DataFileError, match="is a web page or XML, not a table: download"):
        datasets.load(path, target="y")


def test_decimal_points_stay_numbers_where_text_has_commas(tmp_path):
    path = tmp_path / "points.csv"
    path.write_text("a;b;c\n" + "1.5;red, blue;2\n1.234;x;3\n" * 5)
    frame = whole(datasets.load(path, target="c"))
    assert frame["a"].tolist() == [1.5, 1.234] * 5


def test_the_line_of_excel_that_names_the_separator_is_no_row(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("sep=;\na;b\n" + "1,5;2\n" * 6)
    assert whole(datasets.load(path, target="b"))["a"].tolist() == [1.5] * 6


def test_row_names_become_the_index_and_empty_cells_at_the_end_are_dropped(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,b\n" + "".join(f"r{i},{i / 2},{i}\n" for i in range(6)))
    frame = whole(datasets.load(path, target="b"))
    assert frame.index.tolist() == [f"r{i}" for i in range(6)]
    assert frame["a"].tolist() == [0, 0.5, 1, 1.5, 2, 2.5]
    for header in ("a,b", "a,b,"):
        path.write_text(header + "\n" + "".join(f"{i / 2},{i},\n" for i in range(6)))
        frame = whole(datasets.load(path, target="b"))
        assert frame["a"].tolist() == [0, 0.5, 1, 1.5, 2, 2.5]
        assert frame.columns.tolist() == ["a", "b"]


def test_a_document_in_a_cell_is_read_whole(tmp_path):
    path = tmp_path / "long.csv"
    long = "word " * 60_000
    limit = csv.field_size_limit()
    path.write_text("text,y\n" + f'"{long}",1\n"short",0\n' * 4)
    assert whole(datasets.load(path, target="y"))["text"][0] == long
    assert csv.field_size_limit() == limit


CONTENT = pd.DataFrame({"a": np.arange(ROWS), "b": np.arange(ROWS) * 1.5})


def packed_zip(content, name="table.csv", extra=()):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("folder/", "")
        archive.writestr(f"folder/{name}", content)
        for other in extra:
            archive.writestr(other, "x")
    return stream.getvalue()


def packed_tar(content, mode):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=f"w:{mode}") as archive:
        info = tarfile.TarInfo("table.csv")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("table.csv.gz", gzip.compress),
        ("table.CSV.GZ", gzip.compress),
        ("table.tsv.bz2", bz2.compress),
        ("table.csv.xz", lzma.compress),
        ("table.csv.zip", packed_zip),
        ("download.zip", lambda content: packed_zip(content, extra=["__MACOSX/._table.csv"])),
        ("table.csv.tar", lambda content: packed_tar(content, "")),
        ("table.tar.gz", lambda content: packed_tar(content, "gz")),
        ("table.tgz", lambda content: packed_tar(content, "gz")),
    ],
)
def test_compressed_tables_are_unpacked(name, pack, tmp_path):
    path = tmp_path / name
    path.write_bytes(pack(CONTENT.to_csv(index=False).encode()))
    if name == "table.tar.gz":
        with pytest.raises(FileNotFoundError):
            datasets.load(path.with_name("table.tar"), target="b")
    pd.testing.assert_frame_equal(whole(datasets.load(path, target="b")), CONTENT)


def test_tables_compressed_with_zstandard_are_unpacked(tmp_path):
    zstandard = pytest.importorskip("zstandard", reason="needs the extra zstd")
    path = tmp_path / "table.csv.zst"
    path.write_bytes(zstandard.compress(CONTENT.to_csv(index=False).encode()))
    pd.testing.assert_frame_equal(whole(datasets.load(path, target="b")), CONTENT)


def test_parquet_is_read_from_a_file_and_from_a_folder(tmp_path):
    pytest.importorskip("pyarrow", reason="needs the extra parquet")
    import pyarrow.dataset

    frame = CONTENT.assign(
        day=pd.date_range("2024-01-01", periods=ROWS), town=["York", None, "Bath", "Ely"] * 5
    )
    path = tmp_path / "table.parquet"
    frame.to_parquet(path)
    pd.testing.assert_frame_equal(
        whole(datasets.load(path, target="b")), frame[[*"a", "day", "town", "b"]]
    )
    folder = tmp_path / "parts.parquet"
    pyarrow.dataset.write_dataset(pyarrow.Table.from_pandas(frame), folder, format="parquet")
    assert len(whole(datasets.load(folder, target="b"))) == ROWS


def test_dates_and_decimals_of_parquet_become_those_of_pandas(tmp_path):
    pytest.importorskip("pyarrow", reason="needs the extra parquet")
    frame = CONTENT.assign(
        day=[datetime.date(2024, 1, 1 + i) for i in range(ROWS)],
        price=[decimal.Decimal("1.50")] * ROWS,
    )
    path = tmp_path / "table.parquet"
    frame.to_parquet(path)
    dataset = datasets.load(path, target="price")
    assert dataset.train.x["day"].dtype.kind == "M"
    assert (dataset.train.y.dtype, dataset.task) == (np.float64, "regression")


def test_excel_is_read_from_its_first_sheet(tmp_path):
    pytest.importorskip("openpyxl", reason="needs the extra excel")
    frame = CONTENT.rename(columns={"a": "城市", "b": "2024"})
    path = tmp_path / "table.xlsx"
    frame.rename(columns={"2024": 2024}).to_excel(path, index=False)
    pd.testing.assert_frame_equal(
        whole(datasets.load(path, target="2024")), frame, check_dtype=False
    )
    with pd.ExcelWriter(path) as writer:
        frame.to_excel(writer, sheet_name="数据", index=False)
        frame.to_excel(writer, sheet_name="notes", index=False)
    with pytest.warns(
        UserWarning, match=r"has 2 sheets, and the first, '数据', is loaded"
    ) as caught:
        datasets.load(path, target="2024")
    assert caught[0].filename == __file__


def test_blanks_around_the_names_of_columns_in_excel_are_no_part_of_them(tmp_path):
    pytest.importorskip("openpyxl", reason="needs the extra excel")
    path = tmp_path / "table.xlsx"
    CONTENT.rename(columns={"a": " a ", "b": "b "}).to_excel(path, index=False)
    frame = whole(datasets.load(path, target="b"))
    pd.testing.assert_frame_equal(frame, CONTENT, check_dtype=False)


def test_an_old_or_locked_workbook_that_cannot_be_read_is_named(tmp_path):
    pytest.importorskip("python_calamine", reason="needs the extra excel")
    path = tmp_path / "table.xlsx"
    path.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(1024))
    with pytest.raises(datasets.DataFileError, match=r"table.xlsx .* not an Excel file .*password"):
        datasets.load(path, target="b")


@pytest.mark.parametrize("name", ["table.jsonl", "table.ndjson", "table.json", "table.jsonl.gz"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_json_lines_become_columns(name, encoding, tmp_path):
    lines = [{"城市": word, "n": i, "y": i / 2} for i, word in enumerate(WORDS * 2)]
    del lines[3]["n"]
    text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines) + "\n\n"
    content = text.encode(encoding)
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    frame = whole(datasets.load(path, target="y"))
    assert frame["城市"].tolist() == WORDS * 2
    assert np.flatnonzero(frame["n"].isna()).tolist() == [3]


def test_a_list_of_objects_in_json_becomes_rows(tmp_path):
    path = tmp_path / "table.json"
    CONTENT.to_json(path, orient="records", indent=1)
    pd.testing.assert_frame_equal(whole(datasets.load(path, target="b")), CONTENT)


def test_a_data_frame_is_split_like_the_file_of_it(tmp_path):
    path = tmp_path / "table.csv"
    CONTENT.to_csv(path, index=False)
    of_file, of_frame = (datasets.load(source, target="b", seed=3) for source in (path, CONTENT))
    pd.testing.assert_frame_equal(of_file.test.x, of_frame.test.x)
    pd.testing.assert_series_equal(of_file.test.y, of_frame.test.y)
    assert repr(of_frame).startswith("Dataset('DataFrame', regression, train: x (12, 1)")


def test_data_frames_of_other_libraries_and_types_are_taken():
    polars = pytest.importorskip("polars", reason="polars is not a dependency")
    pyarrow = pytest.importorskip("pyarrow", reason="needs the extra parquet")
    with pytest.raises(TypeError, match=r"is of type LazyFrame: .* write collect\(\)"):
        datasets.load(polars.from_dict(CONTENT.to_dict("list")).lazy(), target="b")
    frames = [
        polars.from_dict(CONTENT.to_dict("list")),
        pyarrow.Table.from_pandas(CONTENT),
        CONTENT.convert_dtypes(),
        CONTENT.convert_dtypes(dtype_backend="pyarrow"),
    ]
    for frame in frames:
        dataset = datasets.load(frame, target="b")
        assert (dataset.task, dataset.train.y.dtype) == ("regression", np.float64)
        classes = datasets.load(CONTENT.assign(c=[0, 1] * 10).convert_dtypes(), target="c")
        assert classes.class_names == ["0", "1"]


def test_columns_of_a_data_frame_need_not_be_text_and_the_frame_stays_as_it_is():
    frame = pd.DataFrame(np.arange(40.0).reshape(ROWS, 2))
    before = frame.copy()
    dataset = datasets.load(frame, target=1)
    assert dataset.train.x.columns.tolist() == [0]
    pd.testing.assert_frame_equal(frame, before)


def bad(name, content):
    def write(folder):
        path = folder / name
        path.write_bytes(content)
        return path

    return write


def two_levels(folder):
    return pd.DataFrame(
        np.ones((6, 2)), columns=pd.MultiIndex.from_tuples([("a", "x"), ("b", "y")])
    )


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (bad("t.parquet", b"PAR1 not really"), datasets.DataFileError, "not a Parquet file"),
        (bad("t.xlsx", b"not a workbook"), datasets.DataFileError, "not an Excel file"),
        (bad("t.xls", b"<html><table>"), datasets.DataFileError, "not an Excel file"),
        (bad("t.jsonl", b'{"b": 1}\n{"b": \n'), datasets.DataFileError, "line 2: Expecting"),
        (bad("t.jsonl", b'{"b": 1}\n[1, 2]\n'), datasets.DataFileError, r"entry 2 is \[1, 2\]: ev"),
        (bad("t.jsonl", '{"b": "猫狗"}'.encode("gbk")), datasets.DataFileError, "save it as UTF-8"),
        (
            bad("t.jsonl", b'{"a": [1], "b": 1}\n' * 6),
            ValueError,
            "column 'a' has cells of the type",
        ),
        (bad("t.csv.gz", b"a,b\n1,2\n"), datasets.DataFileError, "not a .gz file"),
        (bad("t.csv.xz", b"a,b\n1,2\n"), datasets.DataFileError, "not a .xz file"),
        (bad("t.zip", b"PK\x03\x04"), datasets.DataFileError, "not a .zip file"),
        (
            bad("t.zip", packed_zip("a", extra=["b.csv"])),
            datasets.DataFileError,
            "contains 2 files",
        ),
        (bad("t.zip", packed_zip("a", "a.docx")), ValueError, "t.zip contains folder/a.docx"),
        (bad("t.csv.gz", gzip.compress(b"")), datasets.DataFileError, "t.csv.gz is empty"),
        (bad("t.csv", b"\xef\xbb\xbf"), datasets.DataFileError, "t.csv is empty"),
        (bad("t.tar.gz", b"not packed"), datasets.DataFileError, "not a .tar file"),
        (bad("t.csv", b"a,b\n\x01\xff,1\n"), datasets.DataFileError, "is unknown"),
        (bad("t.tsv", b"a\tb\n"), ValueError, "t.tsv has no rows"),
        (two_levels, ValueError, "DataFrame has columns of 2 levels: write"),
        (
            lambda _: CONTENT[["a"]],
            ValueError,
            "'b': DataFrame has no such column; its only column",
        ),
        (lambda _: CONTENT[["a", "b", "a"]], ValueError, "several columns 'a': rename them"),
        (lambda _: CONTENT[:0], ValueError, "DataFrame has no rows"),
        (lambda _: pd.DataFrame(), ValueError, "no such column; there are none to choose from"),
        (
            lambda _: CONTENT.assign(b=[1, "x"] * 10),
            ValueError,
            "mixes values of the types int, str",
        ),
        (
            lambda _: CONTENT["a"],
            TypeError,
            "is of type Series: must be a data set's name, a path or a DataFrame",
        ),
    ],
)
def test_an_unusable_table_is_explained_in_one_line(source, error, message, tmp_path):
    with pytest.raises(error, match=message) as caught:
        datasets.load(source(tmp_path), target="b")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "package"),
    [
        ("t.parquet", b"PAR1PAR1", "pyarrow"),
        ("t.xlsx", packed_zip("x"), "openpyxl"),
        ("t.xls", b"\xd0\xcf\x11\xe0" * 9, "python-calamine"),
        ("t.csv.zst", b"x", "zstandard"),
    ],
)
def test_a_package_that_is_not_installed_is_named(name, content, package, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package.replace("-", "_"), None)
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(
        ImportError, match=rf"{name}: reading .* needs {package}, .*'exact-trainer\["
    ):
        datasets.load(path, target="b")


def test_a_target_that_cannot_be_a_label_is_refused():
    with pytest.raises(TypeError, match=r"target=\['b'\]: must be the label of one column"):
        datasets.load(CONTENT, target=["b"])
    with pytest.raises(ValueError, match="target=None: must be the name of the column"):
        datasets.load(CONTENT)


def test_a_named_index_becomes_a_column_again(tmp_path):
    pytest.importorskip("pyarrow", reason="needs the extra parquet")
    frame = CONTENT.assign(town=["York", "Bath"] * 10)
    path = tmp_path / "table.parquet"
    for named in (["town"], ["a", "town"]):
        indexed = frame.set_index(named)
        indexed.to_parquet(path)
        before = indexed.copy()
        for source in (path, indexed):
            dataset = datasets.load(source, target="b")
            pd.testing.assert_frame_equal(
                whole(dataset), frame[[*named, *frame.columns.difference([*named, "b"]), "b"]]
            )
            assert f"The index {', '.join(named)} became" in dataset.description
        pd.testing.assert_frame_equal(indexed, before)
    assert datasets.load(frame.set_index("town"), target="town").class_names == ["Bath", "York"]


def test_the_numbers_and_names_of_rows_are_no_column():
    for index in (
        pd.RangeIndex(ROWS, name="row"),
        pd.Index([f"r{i}" for i in range(ROWS)]),
        pd.MultiIndex.from_product([range(4), range(5)]),
    ):
        frame = CONTENT.set_axis(index)
        dataset = datasets.load(frame, target="b")
        assert dataset.train.x.columns.tolist() == ["a"]
        assert "became" not in dataset.description
    some = pd.MultiIndex.from_product([range(4), range(5)], names=["group", None])
    x = datasets.load(CONTENT.set_axis(some), target="b").train.x
    assert x.columns.tolist() == ["group", "a"]
    years = CONTENT.set_axis(pd.RangeIndex(2001, 2001 + ROWS, name="year"))
    assert datasets.load(years, target="b").train.x.columns.tolist() == ["year", "a"]


def test_an_index_that_is_a_column_too_stays_one_column():
    kept = datasets.load(CONTENT.set_index("a", drop=False), target="b")
    assert kept.train.x.columns.tolist() == ["a"]
    other = CONTENT.set_axis(pd.Index(np.arange(ROWS) + 7, name="a"))
    with pytest.raises(ValueError, match=r"index 'a', and a column of this name .*rename_axis"):
        datasets.load(other, target="b")


def test_the_named_index_of_a_pivoted_table_becomes_a_column():
    long = pd.DataFrame(
        {
            "day": np.repeat(np.arange(ROWS) * 2, 2),
            "kind": pd.Categorical(["low", "high"] * ROWS),
            "value": np.arange(ROWS * 2) / 2,
        }
    )
    wide = long.pivot(index="day", columns="kind", values="value")
    x = datasets.load(wide, target="high").train.x
    assert sorted(map(str, x.columns)) == ["day", "low"]


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        ([f"{i + 20}%" for i in range(ROWS)], np.arange(ROWS) + 20),
        ([f"{i + 20} 000" for i in range(ROWS)], np.arange(20, 20 + ROWS) * 1000),
        ([f"{i + 20}'000" for i in range(ROWS)], np.arange(20, 20 + ROWS) * 1000),
        ([f"€{i}.5" for i in range(ROWS)], np.arange(ROWS) + 0.5),
        ([f"{i},5" for i in range(ROWS)], np.arange(ROWS) + 0.5),
        ([f"{i}.5" for i in range(ROWS)], np.arange(ROWS) + 0.5),
        ([f"{i} kg" for i in range(ROWS)], np.arange(ROWS)),
        ([*(f"{i}%" for i in range(ROWS - 1)), "?"], [*range(ROWS - 1), np.nan]),
    ],
)
def test_a_target_of_numbers_as_text_is_classes_with_a_warning_that_converts_it(values, numbers):
    frame = CONTENT.assign(y=values)
    with pytest.warns(UserWarning, match=r"target='y': the column of DataFrame is text") as caught:
        dataset = datasets.load(frame, target="y")
    assert len(caught) == 1 and caught[0].filename == __file__
    message = str(caught[0].message)
    assert f"each of its {ROWS} values is a class" in message
    assert any(f"such as {value!r}," in message for value in values)
    assert dataset.task == "classification"
    code = message.split("with frame['y'] = ")[1].split("; if they are")[0].split(" (with ")[0]
    frame["y"] = eval(code, {"pd": pd, "frame": frame})
    np.testing.assert_array_equal(frame["y"], numbers)


def test_a_target_of_numbers_as_text_in_a_file_is_named_with_the_file(tmp_path):
    path = tmp_path / "rates.csv"
    path.write_text("a,rate\n" + "".join(f"{i},{i + 0.5}%\n" for i in range(ROWS)))
    with pytest.warns(UserWarning, match=r"target='rate': the column of rates\.csv .*\.5%'"):
        datasets.load(path, target="rate")


@pytest.mark.parametrize(
    "values",
    [
        ["1", "2"] * 10,
        ["no", "yes"] * 10,
        [f"A{i}" for i in range(ROWS)],
        pd.Categorical(["10 kg", "20 kg"] * 10),
        ["10:30", "11:45"] * 10,
        ["<10%", "10-20%"] * 10,
    ],
)
def test_a_target_of_classes_with_digits_is_taken_without_a_warning(values, recwarn):
    assert datasets.load(CONTENT.assign(y=values), target="y").task == "classification"
    assert not [str(warning.message) for warning in recwarn]
