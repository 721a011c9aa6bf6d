"""Files as lines, tables and JSON: encodings, line ends, and what the errors say."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nightreel.evaluate.readers import READERS, files, read_dataset
from nightreel.extract.errors import UsageError

BOM = b"\xef\xbb\xbf"


def write(folder: Path, name: str, content: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("bom", [b"", BOM])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_marks_and_line_ends_are_no_text(tmp_path: Path, bom: bytes, end: bytes) -> None:
    path = write(tmp_path, "a.txt", bom + end.join([b"one", b"", b"two\xe2\x80\xa8still two", b"  "]))
    assert files.read_lines(path) == [(1, "one"), (3, "two\u2028still two")]
    path = write(tmp_path, "a.csv", bom + end.join([b"id,text", b'1,"a, b"', b'2,"two', b'lines"', b"3,x"]))
    rows = [(where, row["id"], row["text"].replace("\r", "")) for where, row in files.read_rows(path, ["id", "text"])]
    assert rows == [("line 2", "1", "a, b"), ("line 3", "2", "two\nlines"), ("line 5", "3", "x")]
    path = write(tmp_path, "a.jsonl", bom + end.join([b'{"a": 1}', b"", b'{"a": 2}']) + end)
    assert list(files.read_jsonl(path)) == [("line 1", {"a": 1}), ("line 3", {"a": 2})]
    assert files.read_json(write(tmp_path, "a.json", bom + b"[1," + end + b"2]")) == [1, 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"one\ntwo\nth\xe9", "line 3: got the byte 0xe9; expected UTF-8"),
        ("x".encode("utf-16"), "got UTF-16 text; expected UTF-8 text"),
        (b"PK\x03\x04", "packed file.*\n.*Unpack"),
        (b"\x1f\x8b\x08", "packed file"),
        (b"\x80\x04\x95", "a pickle.*\n.*runs the code"),
    ],
)
def test_what_is_no_text(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(UsageError, match=f"a.txt.*{message}"):
        files.read_lines(write(tmp_path, "a.txt", content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "line 1: got ''; expected a header with the column id"),
        ("text\nx\n", "line 1: got text; expected a header with the column id"),
        ("id,text\n1,a\n2,b,c\n", "line 3: got 3 cells; expected 2, as in the header"),
        ("id,text\n1\n", "line 2: got 1 cells; expected 2"),
        ('id,text\n1,a\n2,"b\n3,c\n', "line 3: got a double quote that never closes"),
        ('id,text\n1,a\n2,"b"', None),
        ('id,text\n1,say "a"\n', None),
    ],
)
def test_tables(tmp_path: Path, content: str, message: str | None) -> None:
    path = write(tmp_path, "a.csv", content)
    if message is None:
        assert list(files.read_rows(path, ["id", "text"]))
        return
    with pytest.raises(UsageError, match=message):
        list(files.read_rows(path, ["id", "text"]))


def test_a_cell_longer_than_any_caption(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", 'id,text\n1,"' + "x" * 200_000)
    with pytest.raises(UsageError, match=r"line 2: got field larger than field limit.*\nCheck the double quotes"):
        list(files.read_rows(path, ["id", "text"]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": 1,\n "b": }', "line 2, column 7: got }; expected JSON"),
        ("", "line 1, column 1: got the end of the file; expected JSON"),
        ('{"a": NaN}', "got NaN is not JSON"),
        ('{"a": -Infinity}', "got -Infinity is not JSON"),
        ("[" * 100_000, "expected JSON"),
        ("1" * 5000, "expected JSON"),
    ],
)
def test_what_is_no_json(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        files.read_json(write(tmp_path, "a.json", content))


def test_the_line_of_a_bad_object(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"line 3, column 8: got .*; expected JSON"):
        list(files.read_jsonl(write(tmp_path, "a.jsonl", '{"a": 1}\n\n{"a": 1\n')))
    with pytest.raises(UsageError, match=r"line 2: got \[1\]; expected one JSON object per line"):
        list(files.read_jsonl(write(tmp_path, "a.jsonl", '{"a": 1}\n[1]\n')))


def test_names_of_a_split(tmp_path: Path) -> None:
    def names(name: str, text: str) -> list[str]:
        return files.read_names(write(tmp_path, name, text))

    assert names("train_list.txt", "a_1_2\nb.avi\r\n\nb.avi\n x y \n") == ["a_1_2", "b.avi", "x y"]
    assert names("trainlist01.txt", "Yoga/v_Yoga_g01_c01.avi 1\nmy clip 2.mp4\nclip 3\n") == [
        "Yoga/v_Yoga_g01_c01.avi",
        "my clip 2.mp4",
        "clip 3",  # a name, not a class
    ]
    assert names("MSRVTT_train.9k.csv", "video_id\nvideo0\nvideo7\n") == ["video0", "video7"]
    assert names("pairs.csv", 'video,sentence\nb.mp4,"a, dog"\nb.mp4,x\na.mp4,y\n') == ["b.mp4", "a.mp4"]
    assert names("[2019].txt", "[2019] a party.mp4\n") == ["[2019] a party.mp4"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("x.txt", "", "an empty file; expected one video per line"),
        (
            "x.csv",
            "video,sentence\n",
            "got no row; expected a header with the column video or video_id or path, and rows",
        ),
        ("x.csv", "key,sentence\n1,2\n", "got key,sentence; expected a header with the column video"),
        ("x.txt", '[{"video": "a"}]\n', "line 1: got .*; expected the name of a video"),
        ("x.txt", '{\n "a": 1}\n', "line 1: got {; expected the name of a video"),
        ("x.txt", "3MSZA 24.3 30.4##person turn a light on.\n", "line 1: .*expected the name of a video"),
        ("x.csv", "video,sentence\n,a dog\n", "line 2: got ''; expected the name of a video"),
    ],
)
def test_what_is_no_list_of_videos(tmp_path: Path, name: str, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        files.read_names(write(tmp_path, name, text))


EVERY = [(task, name) for task, of_task in READERS.items() for name in of_task]


@pytest.mark.parametrize(("task", "name"), EVERY)
def test_every_reader_says_what_is_wrong_with_the_file(tmp_path: Path, task: str, name: str) -> None:
    with pytest.raises(UsageError, match=r"nowhere.json: cannot be read"):
        read_dataset(task, name, tmp_path / "nowhere.json")
    with pytest.raises(UsageError, match="cannot be read"):
        read_dataset(task, name, tmp_path)
    for content in ("", "{}", "[]", "[1]", "null", '{"a": {}}', '{"videos": [], "sentences": []}', "word"):
        for suffix in (".json", ".csv", ".txt"):
            with pytest.raises(UsageError, match=r"bad\.\w+.*got (.|\n)*; expected (.|\n)*\."):
                read_dataset(task, name, write(tmp_path, f"bad{suffix}", content))
    trap = write(tmp_path, "raw-captions.pkl", b"\x80\x04cos\nsystem\n")
    with pytest.raises(UsageError, match="a pickle"):
        read_dataset(task, name, trap)


JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                "videos sentences video_id caption sen_id duration timestamps times video description annotation_id qid vid "
                "query relevant_windows fps num_frames template id".split()
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(value=JSON_LIKE, reader=st.sampled_from(EVERY))
def test_no_json_makes_a_reader_crash(
    tmp_path_factory: pytest.TempPathFactory, value: object, reader: tuple[str, str]
) -> None:
    import json

    path = write(tmp_path_factory.getbasetemp(), "any.json", json.dumps(value))
    try:
        dataset = read_dataset(*reader, path)
    except UsageError:
        return
    assert dataset.records


@settings(deadline=None)
@given(text=st.text(alphabet="ab_.,# \n\r\"'0123\t/\\\u2028", max_size=60), reader=st.sampled_from(EVERY))
def test_no_text_makes_a_reader_crash(
    tmp_path_factory: pytest.TempPathFactory, text: str, reader: tuple[str, str]
) -> None:
    heads = {
        "msrvtt": "key,video_id,sentence\n",
        "msvd": "VideoID,Start,End,Language,Description\n",
        "kinetics": "label,youtube_id,time_start,time_end\n",
    }
    folder = tmp_path_factory.getbasetemp()
    for name, content in (("any.txt", text), ("any.csv", heads.get(reader[1], "") + text)):
        try:
            dataset = read_dataset(*reader, write(folder, name, content))
        except UsageError:
            continue
        assert dataset.records


def test_unknown_names_are_told_the_known_ones(tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", "x")
    with pytest.raises(UsageError, match="no such task: seeing; expected one of retrieval, grounding, classification"):
        read_dataset("seeing", "msvd", path)
    with pytest.raises(UsageError, match=r"for grounding: msvd; expected one of qvh.*\nmsvd is read for retrieval\."):
        read_dataset("grounding", "msvd", path)
    with pytest.raises(UsageError, match=r"--classes does not go with --dataset charades; it takes --durations\."):
        read_dataset("grounding", "charades", path, classes=path)
    with pytest.raises(UsageError, match=r"--classes does not go with --dataset msvd; it takes no further file\."):
        read_dataset("retrieval", "msvd", path, classes=path, durations=None)


@pytest.mark.parametrize("reader", [reader for of_task in READERS.values() for reader in of_task.values()])
def test_every_reader_says_what_it_reads(reader: Callable[..., object]) -> None:
    assert reader.__doc__
    assert "Raises:" in reader.__doc__
