"""MSR-VTT, MSVD and the paragraphs of DiDeMo and ActivityNet: small files by hand, and the records they must give."""

import json
from pathlib import Path
from typing import Any

import pytest
from nightreel.evaluate.readers import read_dataset
from nightreel.evaluate.records import Dataset, Note, Query, Source
from nightreel.extract.errors import UsageError

VIDEOS = [
    {"video_id": "video0", "url": "https://www.youtube.com/watch?v=9lZi22qLlEo", "split": "train", "id": 0},
    {"video_id": "video1", "url": "https://youtu.be/9lZi22qLlEo", "split": "validate"},
    {"video_id": "video2"},
]
SENTENCES = [
    {"caption": "a car is shown", "video_id": "video1", "sen_id": 6513},
    {"caption": '  a man, with a "dog" ', "video_id": "video0", "sen_id": 6514},
    {"caption": "a cat", "video_id": "video2", "sen_id": "x7"},
    {"caption": " ", "video_id": "video2", "sen_id": 9},
]


def read(folder: Path, name: str, file: str, content: Any) -> Dataset:
    path = folder / file
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return read_dataset("retrieval", name, path)


def test_msrvtt_json(tmp_path: Path) -> None:
    dataset = read(tmp_path, "msrvtt", "MSRVTT_data.json", {"info": {}, "videos": VIDEOS, "sentences": SENTENCES})
    assert dataset.queries == (
        Query("6513", "a car is shown", "video1", split="validate", source="9lZi22qLlEo"),
        Query("6514", 'a man, with a "dog"', "video0", split="train", source="9lZi22qLlEo"),
        Query("x7", "a cat", "video2"),
    )
    blank = Note("entries left out: the sentence is blank", 1, "sentences[3]")
    assert dataset.sources == (Source("MSRVTT_data.json", 4, (blank,)),)
    assert dataset.splits == ["train", "validate"]
    assert dataset.only("train").videos == ["video0"]


def test_msrvtt_1k_a(tmp_path: Path) -> None:
    content = 'key,vid_key,video_id,sentence\nret0,msr9770,video9770,a person is connecting\nret1,msr1,video1,"a, b"\n'
    dataset = read(tmp_path, "msrvtt", "MSRVTT_JSFUSION_test.csv", content)
    assert dataset.queries == (
        Query("ret0", "a person is connecting", "video9770"),
        Query("ret1", "a, b", "video1"),
    )
    with pytest.raises(UsageError, match="the file names no splits"):
        dataset.only("test")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"sentences": [{"caption": "a", "video_id": "video9", "sen_id": 1}]},
            r"sentences\[0\]: got video9; expected a v",
        ),
        (
            {"sentences": [{"video_id": "video0", "sen_id": 1}]},
            r"sentences\[0\]: got None; expected a text under 'caption'",
        ),
        ({"sentences": [SENTENCES[0]] * 2}, "the query id 6513 twice"),
        ({"sentences": [SENTENCES[3]]}, r"no query \(1 entries left out: the sentence is blank"),
        (
            {"videos": [{"video_id": 3.5}]},
            r"videos\[0\]: got 3.5; expected a text under 'video_id'; keys here: video_id",
        ),
        ({"videos": None}, "got None; expected a list under 'videos'; keys here: videos, sentences"),
    ],
)
def test_msrvtt_of_another_shape(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read(tmp_path, "msrvtt", "a.json", {"videos": VIDEOS, "sentences": SENTENCES, **change})


def test_an_id_must_not_be_blank(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a.csv, line 2: got ''; expected an id under 'key'"):
        read(tmp_path, "msrvtt", "a.csv", "key,video_id,sentence\n ,video1,a\n")
    blank = {"videos": VIDEOS, "sentences": [{**SENTENCES[0], "sen_id": ""}]}
    with pytest.raises(UsageError, match="got ''; expected an id under 'sen_id'"):
        read(tmp_path, "msrvtt", "a.json", blank)


def test_msvd_lines(tmp_path: Path) -> None:
    content = (
        "# Microsoft Research Video Description Corpus\n#\n\n"
        "-4wsuPCjDBc_5_15 a squirrel is eating a peanut in it's shell\r\n-4wsuPCjDBc_5_15 a chip\n-7KMZQEsJW4_205_208 a man\n"
    )
    dataset = read(tmp_path, "msvd", "AllVideoDescriptions.txt", content)
    assert dataset.queries == (
        Query("-4wsuPCjDBc_5_15#0", "a squirrel is eating a peanut in it's shell", "-4wsuPCjDBc_5_15"),
        Query("-4wsuPCjDBc_5_15#1", "a chip", "-4wsuPCjDBc_5_15"),
        Query("-7KMZQEsJW4_205_208#0", "a man", "-7KMZQEsJW4_205_208"),
    )
    assert dataset.sources == (Source("AllVideoDescriptions.txt", 3),)
    assert dataset.of_videos(["-7KMZQEsJW4_205_208.avi"]).videos == ["-7KMZQEsJW4_205_208"]
    with pytest.raises(UsageError, match="line 1: got -4wsuPCjDBc_5_15; expected `VIDEO CAPTION`"):
        read(tmp_path, "msvd", "a.txt", "-4wsuPCjDBc_5_15\n")


def test_msvd_table(tmp_path: Path) -> None:
    content = (
        "VideoID,Start,End,WorkerID,Source,AnnotationTime,Language,Description\n"
        "mv89psg6zh4,33,46,588702,unverified,55,Slovene,Papagaj se umiva.\n"
        "mv89psg6zh4,33,46,588702,unverified,55,English,A bird in a sink.\n"
        'mv89psg6zh4,33.0,46,362812,clean,45,English,"A faucet, running."\n'
        "mv89psg6zh4,33,46,362812,clean,45,English,\n"
        "mv89psg6zh4,,,362812,clean,45,English,lost\n"
    )
    dataset = read(tmp_path, "msvd", "video_corpus.csv", content)
    assert dataset.queries == (
        Query("mv89psg6zh4_33_46#0", "A bird in a sink.", "mv89psg6zh4_33_46"),
        Query("mv89psg6zh4_33_46#1", "A faucet, running.", "mv89psg6zh4_33_46"),
    )
    assert dataset.sources[0].entries == 5
    assert [(note.what, note.count, note.first) for note in dataset.sources[0].notes] == [
        ("captions left out: not in English", 1, "line 2"),
        ("captions left out: Start or End is blank, so their clip has no name", 1, "line 6"),
        ("entries left out: the sentence is blank", 1, "line 5"),
    ]
    with pytest.raises(UsageError, match=r"line 2: got soon; expected a number \(End\)"):
        read(tmp_path, "msvd", "a.csv", content.split("\n")[0] + "\nmv89psg6zh4,33,soon,5,c,4,English,x\n")


def test_msvd_is_never_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "raw-captions.pkl"
    path.write_bytes(b"\x80\x03}q\x00.")
    with pytest.raises(UsageError) as refused:
        read_dataset("retrieval", "msvd", path)
    assert "raw-captions.pkl: got a pickle; expected a text file" in str(refused.value)
    assert "`VIDEO CAPTION`" in str(refused.value)


def test_didemo_paragraphs(tmp_path: Path) -> None:
    entries = [
        {"annotation_id": 5, "video": "1@N00_2_ab.mov", "description": "the dog jumps ", "times": [[1, 1]]},
        {"annotation_id": 6, "video": "1@N00_3_cd.avi", "description": "a cat", "times": [[0, 0]]},
        {"annotation_id": 7, "video": "1@N00_2_ab.mov", "description": "it lands", "times": [[2, 3]]},
    ]
    dataset = read(tmp_path, "didemo", "test_data.json", entries)
    assert dataset.queries == (
        Query("1@N00_2_ab", "the dog jumps it lands", "1@N00_2_ab"),
        Query("1@N00_3_cd", "a cat", "1@N00_3_cd"),
    )
    assert dataset.sources == (Source("test_data.json", 3),)


def test_activitynet_paragraphs(tmp_path: Path) -> None:
    entry = {
        "duration": 82.73,
        "timestamps": [[0.83, 19.86], [9, 3]],
        "sentences": ["A young woman.", " The girl dances."],
    }
    silent = {"duration": 5, "timestamps": [], "sentences": []}
    dataset = read(tmp_path, "activitynet", "val_1.json", {"v_QOlSCBRmfWY": entry, "v_silent": silent})
    text = "A young woman. The girl dances."  # a bad span says nothing about the sentence
    assert dataset.queries == (Query("v_QOlSCBRmfWY", text, "v_QOlSCBRmfWY", duration_s=82.73),)
    assert [note.first for note in dataset.sources[0].notes] == ["v_silent"]
