"""Text in the encodings that people's files are in."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trainer import datasets
from trainer.datasets.encodings import encoding_of

ROWS = 20
CHINESE = ["北京", "上海", "广州", "深圳，南山", "杭州（西湖）"]
JAPANESE = ["東京のまち", "カメラ", "おおさか", "ねこ", "いぬ"]
KOREAN = ["서울특별시", "부산광역시", "고양이", "강아지", "제주도"]
WESTERN = ["Köln", "Zürich", "São Paulo", "Málaga", "Besançon"]


def whole(dataset):
    """All rows in their order in the file, with the target as a column."""
    parts = [dataset.train, dataset.valid, dataset.test]
    return pd.concat([part.x.assign(**{part.y.name: part.y}) for part in parts]).sort_index()


def cities(words, header=("城市", "面积", "价格")):
    frame = pd.DataFrame({header[0]: words * (ROWS // 5), header[1]: np.arange(ROWS) / 4})
    return frame.assign(**{header[2]: np.arange(ROWS) * 1.5})


LATIN = ("Größe", "area", "price")


@pytest.mark.parametrize(
    ("encoding", "words", "header", "named"),
    [
        ("utf-8", CHINESE, ("城市", "面积", "价格"), "utf-8"),
        ("utf-8-sig", CHINESE, ("城市", "面积", "价格"), "utf-8-sig"),
        ("gbk", CHINESE, ("城市", "面积", "价格"), "gb18030"),
        ("gb2312", CHINESE[:1] * 5, ("city", "area", "price"), "gb18030"),
        ("gb18030", [*CHINESE[:4], "𠮷林"], ("城市", "面积", "价格"), "gb18030"),
        ("utf-16", CHINESE, ("城市", "面积", "价格"), "utf-16"),
        ("utf-16-le", CHINESE, ("城市", "面积", "价格"), "utf-16-le"),
        ("utf-16-be", CHINESE, ("城市", "面积", "价格"), "utf-16-be"),
        ("utf-32", CHINESE, ("城市", "面积", "价格"), "utf-32"),
        (
            "big5",
            ["臺北市", "高雄", "臺中", "新竹", "貓與狗"],
            ("縣市", "面積", "價格"),
            "big5hkscs",
        ),
        ("shift_jis", JAPANESE, ("都市", "面積", "価格"), "cp932"),
        ("euc_jp", JAPANESE, ("都市", "面積", "価格"), "euc_jis_2004"),
        ("euc_kr", KOREAN, ("도시", "면적", "가격"), "cp949"),
    ],
)
@pytest.mark.parametrize("separator", [",", "\t"])
def test_the_encoding_of_a_table_is_found(encoding, words, header, named, separator, tmp_path):
    frame = cities(words, header)
    path = tmp_path / "cities.csv"
    path.write_bytes(frame.to_csv(index=False, sep=separator).encode(encoding))
    dataset = datasets.load(path, target=header[2])
    pd.testing.assert_frame_equal(whole(dataset), frame)
    assert f"Read as {named}, separated by" in dataset.description


def test_western_text_that_is_not_utf_8_is_read_with_a_warning(tmp_path):
    frame = cities(WESTERN, LATIN)
    path = tmp_path / "cities.csv"
    path.write_bytes(frame.to_csv(index=False, sep=";", decimal=",").encode("latin-1"))
    with pytest.warns(UserWarning, match=r"is a guess: cp1252.*Größe; if this is wrong") as caught:
        dataset = datasets.load(path, target="price")
    pd.testing.assert_frame_equal(whole(dataset), frame)
    assert caught[0].filename == __file__


def test_one_capital_with_an_umlaut_is_not_taken_as_chinese(tmp_path):
    path = tmp_path / "countries.csv"
    path.write_bytes(("land;y\n" + "Ägypten;1\nÄthiopien;0\n" * 5).encode("latin-1"))
    with pytest.warns(UserWarning, match="cp1252"):
        frame = whole(datasets.load(path, target="y"))
    assert frame["land"][:2].tolist() == ["Ägypten", "Äthiopien"]


def test_chinese_names_with_rare_characters_are_read(tmp_path):
    path = tmp_path / "names.csv"
    names = ["王淼", "李鑫", "赵喆", "陈睿", "孙昊然", "周垚", "吴婷婷", "郑琦"]
    path.write_bytes(("name,y\n" + "".join(f"{n},1\n" for n in names)).encode("gbk"))
    assert whole(datasets.load(path, target="y"))["name"].tolist() == names


def test_traditional_characters_in_gbk_are_read(tmp_path):
    path = tmp_path / "names.csv"
    path.write_bytes(("姓名,面积,y\n" + "陳龍華,1,1\n劉國強,2,0\n" * 5).encode("gbk"))
    assert whole(datasets.load(path, target="y"))["姓名"][:2].tolist() == ["陳龍華", "劉國強"]


def test_a_file_in_utf_8_that_is_cut_inside_a_character_is_refused(tmp_path):
    path = tmp_path / "cut.csv"
    path.write_bytes(cities(CHINESE).to_csv(index=False).encode() + "北".encode()[:2])
    with pytest.raises(datasets.DataFileError, match="in line 22 is not UTF-8"):
        datasets.load(path, target="价格")


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("cp1251", ["Москва", "Казань", "Тула", "Омск"]),
        ("cp1251", ["да", "нет"]),
        ("koi8-r", ["Москва", "Казань", "Тула", "Омск"]),
        ("cp1250", ["Łódź", "Kraków", "Gdańsk", "Wrocław"]),
        ("cp1250", ["Győr", "Szeged", "Székesfehérvár"]),
        ("cp1252", ["it’s – fine", "“quoted”", "€ 5", "naïve"]),
        ("cp1252", ["£5", "20°C"]),
        ("cp1253", ["Αθήνα", "Πάτρα", "Βόλος"]),
        ("cp1254", ["kadın", "erkek"]),
        ("cp1255", ["ירושלים", "חיפה"]),
        ("cp1256", ["القاهرة", "الرياض", "دمشق"]),
        ("cp874", ["กรุงเทพ", "เชียงใหม่"]),
        ("cp874", ["หญิง", "ชาย"]),  # the first is valid UTF-8, too
    ],
)
def test_encodings_of_one_byte_are_guessed_with_a_warning_that_shows_a_cell(
    encoding, words, tmp_path
):
    path = tmp_path / "words.csv"
    rows = "".join(f"{words[i % len(words)]},{i / 4},{i % 2}\n" for i in range(40))
    path.write_bytes(("word,area,y\n" + rows).encode(encoding))
    with pytest.warns(UserWarning, match=f"is a guess: .* is then {words[0]}"):
        frame = whole(datasets.load(path, target="y"))
    assert frame["word"].unique().tolist() == words


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("gbk", ["男", "女"]),
        ("gbk", ["优", "良", "中", "差"]),
        ("gbk", ["本科", "大专", "硕士"]),
        ("big5", ["男", "女"]),
        ("cp932", ["はい", "いいえ"]),
        ("cp949", ["남", "여"]),
        ("cp949", ["서울", "부산"]),
        ("euc_jp", ["はい", "いいえ", "東京"]),
    ],
)
def test_a_few_short_words_among_many_numbers_are_enough(encoding, words):
    rows = "".join(f"{words[i % len(words)]},{i / 4},{i % 2}\n" for i in range(40))
    content = ("word,area,y\n" + rows).encode(encoding)
    assert content.decode(encoding_of(content).name) == content.decode(encoding)


def test_a_damaged_byte_in_utf_8_far_from_the_start_is_refused(tmp_path):
    path = tmp_path / "late.csv"
    path.write_bytes(
        ("a,b\n" + "".join(f"{c}京,0\n" for c in "北东南西上下")).encode()
        + b"cat,1\n" * 400_000
        + "北京\x81,1\n".encode()[1:]
    )
    with pytest.raises(datasets.DataFileError, match="encoding of this file is unknown .byte 0x"):
        datasets.load(path, target="b")


@pytest.mark.parametrize(
    "words", [["né"], ["né", "Zoë"], ["São Paulo", "x", "y"], ["东京"], ["да"]]
)
@pytest.mark.parametrize("damaged", [b"n\xe9", b"\xe9", b"n\xc3\xa9\xe9", b"n\xc3"])
def test_a_damaged_cell_in_utf_8_with_few_different_words_is_refused(words, damaged, tmp_path):
    path = tmp_path / "stray.csv"
    rows = [f"{words[i % len(words)]},{i},{i % 2}\n".encode() for i in range(100)]
    rows[50] = damaged + b",50,0\n"
    path.write_bytes(b"word,a,y\n" + b"".join(rows))
    with pytest.raises(datasets.DataFileError, match="unknown .byte 0x.. in line 52 is not UTF-8"):
        datasets.load(path, target="y")


@pytest.mark.parametrize("rare", [1, 10, 30])
def test_a_short_word_that_happens_to_be_utf_8_may_be_the_common_one(rare, tmp_path):
    path = tmp_path / "people.csv"
    sexes = ["男" if i < rare else "女" for i in range(100)]  # 女 in GBK is the letter Ů in UTF-8
    path.write_bytes(
        ("sex,y\n" + "".join(f"{sex},{i % 2}\n" for i, sex in enumerate(sexes))).encode("gbk")
    )
    assert whole(datasets.load(path, target="y"))["sex"].tolist() == sexes


@pytest.mark.parametrize("encoding", ["gb18030", "utf-8", "utf-16-le", "utf-16-be"])
def test_chinese_prose_with_much_english_in_it_is_recognised(encoding):
    pages = list(Path(__file__).parents[3].glob("docs/*.zh-CN.md"))
    assert pages
    for page in pages:
        assert encoding_of(page.read_text("utf-8").encode(encoding)) == (encoding, None)


@pytest.mark.parametrize(
    "content",
    [
        b"\x00\x01\x02\x03",
        b"\xff\xfe\x00\xd8\x00\x00",  # the mark of UTF-16, and half of a character
        bytes(range(256)),
        gzip.compress(b"a,b\n1,2\n", mtime=0x5F5F5F5F).replace(b"\0", b"1"),
    ],
)
def test_bytes_that_are_no_known_text_have_no_encoding(content):
    assert encoding_of(content) is None


def test_plain_and_empty_text_is_utf_8():
    assert encoding_of(b"") == encoding_of(b"a,b\n1,2\n") == ("utf-8", None)
