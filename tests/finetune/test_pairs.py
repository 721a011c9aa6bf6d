"""Pairs: what a person's table may look like, what of it is left out and why, and benchmarks' files."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nightreel.extract.errors import UsageError
from nightreel.finetune.captions.pairs import Pair, Pairs, read_pairs
from nightreel.finetune.captions.tables import BadRow

ROWS: list[dict[str, Any]] = [
    {"video": "tape.mp4", "start_s": 12, "end_s": 18.5, "caption": "grandma waters the tomatoes"},
    {"video": "tape.mp4", "start_s": None, "end_s": None, "caption": "a day in the garden"},
]
EXPECTED = [("tape.mp4", 12.0, 18.5, "grandma waters the tomatoes"), ("tape.mp4", None, None, "a day in the garden")]


def plain(pairs: Pairs) -> list[tuple[str, float | None, float | None, str]]:
    return [(pair.video, pair.start_s, pair.end_s, pair.caption) for pair in pairs.pairs]


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_every_kind_of_table_says_the_same(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"pairs.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    else:
        cells = [list(ROWS[0]), *(["" if value is None else str(value) for value in row.values()] for row in ROWS)]
        path.write_text("".join({"csv": ",", "tsv": "\t"}[kind].join(row) + "\n" for row in cells))
    read = read_pairs(path)
    assert plain(read) == EXPECTED
    assert (read.bad, read.repeated) == ((), 0)
    assert (
        read.pairs[1].line
        == f"pairs.{kind}, {'row 2' if kind == 'parquet' else 'line 2' if kind == 'jsonl' else 'line 3'}"
    )


def test_only_video_and_caption_must_be_there_and_marks_and_line_ends_do_not_matter(tmp_path: Path) -> None:
    path = write(
        tmp_path, "p.csv", '\ufeffpath,caption\r\na.mp4,"one, two"\r\n\r\nb.mp4,"three\nfour"\r\n0012,five\r\n'
    )
    assert plain(read_pairs(path)) == [
        ("a.mp4", None, None, "one, two"),
        ("b.mp4", None, None, "three four"),
        ("0012", None, None, "five"),
    ]


def test_times_and_further_columns(tmp_path: Path) -> None:
    text = (
        "video_id,start_s,end_s,caption,split,source,weight\nv,0:01:15,1:20.5,dogs,val,tape,0.5\nv,90,,rest,train,,\n"
    )
    one, two = read_pairs(write(tmp_path, "p.csv", text)).pairs
    assert one == Pair("v", 75.0, 80.5, "dogs", "val", "tape", 0.5, "p.csv, line 2")
    assert (two.start_s, two.end_s, two.source, two.weight) == (90.0, None, None, 1.0)
    assert (one.weak, two.weak) == (True, False)


BAD = {
    '{"video": "a", "caption": " "}': "no caption",
    '{"caption": "x"}': "no video",
    '{"video": "a", "caption": ["x"]}': "no caption",
    '{"video": "a", "caption": "x", "start_s": 5, "end_s": 5}': "start_s 5 and end_s 5, expected the start before the end",
    '{"video": "a", "caption": "x", "start_s": NaN}': "start_s 'nan', expected a number",
    '{"video": "a", "caption": "x", "end_s": Infinity}': "end_s 'inf', expected a number",
    '{"video": "a", "caption": "x", "end_s": 1e999}': "end_s 'inf', expected a number",
    '{"video": "a", "caption": "x", "start_s": true}': "start_s 'True', expected a number",
    '{"video": "a", "caption": "x", "start_s": "soon"}': "start_s 'soon', expected a number",
    '{"video": "a", "caption": "x", "start_s": "1:2:3:4"}': "start_s '1:2:3:4', expected seconds or h:mm:ss",
    '{"video": "a", "caption": "x", "start_s": -1}': "start_s -1, expected 0 or more seconds",
    '{"video": "a", "caption": "x", "end_s": 0}': "end_s 0, expected a span that is not empty",
    '{"video": "a", "caption": "x", "weight": 0}': "weight 0, expected a number above 0",
    '{"video": "a", "caption": "x", "start_s": {}}': "start_s '{}', expected a number",
    "[1]": "a JSON list, expected an object",
}


@pytest.mark.parametrize(("row", "reason"), BAD.items())
def test_a_bad_row_is_listed_with_its_line_and_the_reason(tmp_path: Path, row: str, reason: str) -> None:
    good = '{"video": "a", "caption": "good"}\n'
    read = read_pairs(write(tmp_path, "p.jsonl", f"{good}\n{row}\n"))
    assert read.bad == (BadRow("p.jsonl, line 3", reason),)
    assert plain(read) == [("a", None, None, "good")]


def test_what_is_no_json_and_rows_of_another_length_are_bad_rows(tmp_path: Path) -> None:
    lines = write(tmp_path, "p.jsonl", '{"video": "a", "caption": "good"}\n{"video": \n')
    assert read_pairs(lines).bad[0].line == "p.jsonl, line 2"
    assert read_pairs(lines).bad[0].reason.startswith("not JSON")
    table = write(tmp_path, "p.csv", "video,caption\na,one\nb,two, three\n")
    assert "3 cells, the header has 2" in read_pairs(table).bad[0].reason


def test_the_same_pair_counts_once(tmp_path: Path) -> None:
    text = "video,caption,split\na,one,train\na,two,train\na,one,train\na,one,val\n"
    read = read_pairs(write(tmp_path, "p.csv", text))
    assert [pair.caption for pair in read.pairs] == ["one", "two"]
    assert read.repeated == 1
    assert read.bad == (BadRow("p.csv, line 5", "the same pair stands above in split 'train'"),)


def test_where_most_rows_are_bad_the_file_is_not_what_it_was_taken_for(tmp_path: Path) -> None:
    rows = ["a,5,4,x"] * 7 + ["a,1,2,x"] + ["a,1,3,x"] * 5
    with pytest.raises(UsageError) as caught:
        read_pairs(write(tmp_path, "p.csv", "\n".join(["video,start_s,end_s,caption", *rows])))
    assert "7 of 13 rows cannot be used" in str(caught.value)
    assert "p.csv, line 2: start_s 5 and end_s 4" in str(caught.value)
    assert "... and 2 more" in str(caught.value)


WRONG = {
    "start instead of start_s": ("p.csv", "video,start,caption\na,1,x\n", "line 2: got the column 'start'; expected"),
    "no caption": ("p.csv", "video,text\na,x\n", "columns video, text; expected the columns video and caption"),
    "two names of videos": ("p.csv", "video,path,caption\na,b,x\n", "columns video, path, caption"),
    "a name twice": ("p.csv", "video,caption,caption\na,b,x\n", "every column has a name of its own"),
    "in one row": ("p.jsonl", '{"video":"a","caption":"x"}\n{"video":"a","end":1}\n', "line 2: got the column 'end'"),
    "only a header": ("p.csv", "video,caption\n", "got no rows"),
    "nothing": ("p.jsonl", "", "got no rows"),
    "nothing in a table": ("p.csv", "", "got no rows"),
    "another kind": ("p.txt", "video,caption\na,x\n", "ends in .txt; expected one of .jsonl, .csv, .tsv, .parquet"),
    "not UTF-8": ("p.csv", b"video,caption\na,caf\xe9\n", "the byte 0xe9; expected UTF-8 text"),
    "open quotes": ("p.csv", 'video,caption\na,"x\n', "Check the double quotes"),
    "no Parquet": ("p.parquet", "video", "cannot be read as a table"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "content", "message"), WRONG.values(), ids=WRONG)
def test_a_file_that_is_none_is_an_error(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    with pytest.raises(UsageError, match=r"expected|cannot be read") as caught:
        read_pairs(write(tmp_path, name, content))
    assert message in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for name in ("p.csv", "p.jsonl", "p.parquet"):
        with pytest.raises(UsageError, match=r"no such file|cannot be read"):
            read_pairs(tmp_path / name)


def test_each_span_of_a_benchmark_is_a_pair(tmp_path: Path) -> None:
    entry = {"qid": 7, "query": "a dog runs", "vid": "NUsG9BgSes0_210.0_360.0", "duration": 150}
    path = write(tmp_path, "h.jsonl", json.dumps({**entry, "relevant_windows": [[0, 4], [10, 20]]}) + "\n")
    read = read_pairs(path, "qvhighlights")
    assert [(p.start_s, p.end_s, p.caption) for p in read.pairs] == [(0, 4, "a dog runs"), (10, 20, "a dog runs")]
    assert {p.video for p in read.pairs} == {"NUsG9BgSes0_210.0_360.0"}
    assert read.pairs[0].line == "h.jsonl, 7"


def test_a_benchmark_of_whole_videos(tmp_path: Path) -> None:
    path = write(tmp_path, "t.csv", "key,vid_key,video_id,sentence\nret0,msr1,video7,a man sings\n")
    assert plain(read_pairs(path, "msrvtt")) == [("video7", None, None, "a man sings")]


def test_a_benchmark_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match="no such dataset with captions: kinetics; expected one of activitynet, charades"
    ):
        read_pairs(tmp_path / "k.csv", "kinetics")


def test_the_queries_of_qvhighlights(shared_data: Path) -> None:
    read = read_pairs(shared_data / "qvh" / "queries.jsonl", "qvhighlights")
    lines = [json.loads(line) for line in (shared_data / "qvh" / "queries.jsonl").read_text().splitlines()]
    assert len(read.pairs) == sum(len(line["relevant_windows"]) for line in lines) - read.repeated
    assert {pair.caption for pair in read.pairs} == {line["query"].strip() for line in lines}


def test_files_add_up_and_the_first_of_two_counts() -> None:
    one = Pairs((Pair("a", None, None, "x", line="f, 1"),), (BadRow("f, 2", "no video"),), 1)
    two = Pairs((Pair("a", None, None, "x", weight=0.5), Pair("b", None, None, "y")), notes=("n",))
    both = one + two
    assert [(p.video, p.weight) for p in both.pairs] == [("a", 1.0), ("b", 1.0)]
    assert (len(both.bad), both.repeated, both.notes) == (1, 2, ("n",))


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(texts, st.floats(0, 1e5), st.floats(1e-3, 1e4), texts), min_size=1, max_size=6))
def test_what_is_written_as_json_is_read_to_the_bit(tmp_path: Path, rows: list[tuple[str, float, float, str]]) -> None:
    spans = [(v, start_s, start_s + length_s, c) for v, start_s, length_s, c in rows if v.split() and c.split()]
    path = tmp_path / "p.jsonl"
    keys = ("video", "start_s", "end_s", "caption")
    path.write_text("".join(json.dumps(dict(zip(keys, row, strict=True))) + "\n" for row in spans), encoding="utf-8")
    if not spans:
        with pytest.raises(UsageError):
            read_pairs(path)
        return
    expected = dict.fromkeys((v.strip(), a, b, " ".join(c.split())) for v, a, b, c in spans)
    read = read_pairs(path)
    assert plain(read) == list(expected)
    assert read.repeated == len(spans) - len(expected)
