"""Files made to do harm, and files that came to harm: nothing but frames or a `VideoError` comes out.

Each film is decoded by `pyav` in this very process: a crash of the decoder would take the test run along.
"""

import os
import random
import shutil
from pathlib import Path
from typing import Any

import decode_films as films
import pytest
from nightreel.extract.decode import faults
from nightreel.extract.decode.open import BACKENDS, open_video
from nightreel.extract.errors import VideoError

TIMES_MS = list(range(0, 12 * 40, 40))

HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{target}\n#EXT-X-ENDLIST\n"
PLAYLISTS = {
    "list.m3u8": HLS,
    "hls.mp4": HLS,
    "concat.mp4": "ffconcat version 1.0\nfile {target}\n",
    "session.mp4": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
    "a=rtpmap:96 H264/90000\n",
    "manifest.mpd": '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period>'
    '<AdaptationSet><Representation id="1" bandwidth="1"><BaseURL>{target}</BaseURL></Representation>'
    "</AdaptationSet></Period></MPD>\n",
}
NAMES = ["a:b.mp4", "http:x.mp4", "-lead.mp4", "f%03d.mp4", "#q?x.mp4", "new\nline.mp4", "é ü 電.mp4", "concat:a|b.mp4"]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = films.solid_film(tmp_path_factory.mktemp("film") / "t.mp4", TIMES_MS)
    return made


@pytest.fixture(params=sorted(BACKENDS))
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def count(path: Path | str, backend: str = "pyav") -> int:
    with open_video(path, backend) as reader:
        return sum(1 for _ in reader.frames())


@pytest.mark.parametrize("name", PLAYLISTS)
@pytest.mark.parametrize("absolute", [False, True], ids=["beside", "absolute"])
def test_playlists_are_not_followed(tmp_path: Path, film: Path, backend: str, name: str, absolute: bool) -> None:
    shutil.copy(film, tmp_path / "t.mp4")
    target = str(film) if absolute else "t.mp4"
    (tmp_path / name).write_text(PLAYLISTS[name].format(target=target))
    with pytest.raises(VideoError) as caught:
        count(tmp_path / name, backend)
    assert (caught.value.kind, caught.value.stage) == ("unreadable", "open")


def test_a_playlist_is_refused_in_plain_words(tmp_path: Path) -> None:
    (tmp_path / "list.m3u8").write_text(HLS.format(target="http://127.0.0.1:9/x.ts"))
    with pytest.raises(VideoError, match="points elsewhere, not a video") as caught:
        count(tmp_path / "list.m3u8")
    assert len(str(caught.value)) < 200  # libav's own message quotes the whole list of formats


def test_a_name_pattern_does_not_open_its_matches(tmp_path: Path) -> None:
    films.make_film(tmp_path / "still001.png", [films.solid(1, 8, 8)], [0], codec="png", pix_fmt="rgb24")
    shutil.copy(tmp_path / "still001.png", tmp_path / "still%03d.png")
    with pytest.raises(VideoError):
        count(tmp_path / "still%03d.png")


@pytest.mark.parametrize("name", NAMES)
def test_odd_names_are_names(tmp_path: Path, film: Path, backend: str, name: str) -> None:
    shutil.copy(film, tmp_path / name)
    assert count(tmp_path / name, backend) == len(TIMES_MS)


def test_odd_names_are_names_relative_too(
    tmp_path: Path, film: Path, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("-lead.mp4", "http:x.mp4"):
        shutil.copy(film, name)
        assert count(name, backend) == len(TIMES_MS)


def test_a_name_that_is_no_utf8(tmp_path: Path, film: Path, backend: str) -> None:
    name = os.fsencode(tmp_path) + b"/bad\xff\xfe.mp4"
    try:
        shutil.copy(os.fsencode(film), name)
    except OSError:
        pytest.skip("this file system only takes UTF-8 names")
    path = Path(os.fsdecode(name))
    if backend == "pyav":
        assert count(path, backend) == len(TIMES_MS)
    else:
        with pytest.raises(VideoError, match="not UTF-8"):
            count(path, backend)


def test_pipes_and_closed_files_do_not_hang(tmp_path: Path, film: Path, backend: str) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(VideoError, match="device, pipe or socket"):
        count(tmp_path / "pipe.mp4", backend)
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(VideoError, match="Invalid data"):
        count(tmp_path / "empty.mp4", backend)
    if os.geteuid() != 0:  # root may read everything
        shutil.copy(film, tmp_path / "closed.mp4")
        (tmp_path / "closed.mp4").chmod(0)
        with pytest.raises(VideoError, match="no permission"):
            count(tmp_path / "closed.mp4", backend)


def test_no_memory_is_told_as_such() -> None:
    error = faults.as_video_error(MemoryError(), stage="decode", after_frames=3)
    assert (error.kind, error.stage) == ("out_of_memory", "decode")
    assert "after 3 good frames" in str(error)


def test_a_cover_picture_is_no_video(tmp_path: Path) -> None:
    import av
    from av.stream import Disposition

    with av.open(str(tmp_path / "song.mp4"), "w") as container:
        sound: Any = container.add_stream("aac", rate=8000)
        cover: Any = container.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 8, 8, "rgb24"
        cover.disposition = Disposition.attached_pic
        silence = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        silence.planes[0].update(bytes(silence.planes[0].buffer_size))
        silence.sample_rate, silence.pts = 8000, 0
        container.mux(sound.encode(silence))
        container.mux(sound.encode(None))
        container.mux(cover.encode(av.VideoFrame.from_ndarray(films.solid(1, 8, 8), "rgb24")))
        container.mux(cover.encode(None))
    with av.open(str(tmp_path / "song.mp4")) as container:
        if not container.streams.video[0].disposition & Disposition.attached_pic:
            pytest.skip("this container does not keep the mark of a cover picture")
    with pytest.raises(VideoError, match="no video stream") as caught:
        count(tmp_path / "song.mp4")
    assert caught.value.kind == "no_video"


def test_an_encrypted_film_is_told_as_such(tmp_path: Path, backend: str) -> None:
    key = "00112233445566778899aabbccddeeff"
    options = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": key, "encryption_kid": key}
    path = films.solid_film(tmp_path / "locked.mp4", TIMES_MS, container_options=options)
    with pytest.raises(VideoError, match="decrypt the file first") as caught:
        count(path, backend)
    assert caught.value.kind == "encrypted"


MAKES = {
    "h264.mp4": {},
    "h264.mkv": {},
    "h264.ts": {},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"cpu-used": "8"}},
    "mpeg4.avi": {"codec": "mpeg4"},
}


@pytest.mark.parametrize("name", MAKES)
def test_harmed_films_give_frames_or_a_reason(tmp_path: Path, name: str) -> None:
    whole = films.solid_film(tmp_path / name, TIMES_MS, **MAKES[name]).read_bytes()
    chance = random.Random(name)
    for attempt in range(30):
        path = tmp_path / f"{attempt}-{name}"
        path.write_bytes(films.harm(whole, chance))
        frames = 0
        try:
            with open_video(path) as reader:
                for frame in reader.frames():
                    picture = frame.rgb()
                    assert picture.ndim == 3
                    assert picture.shape[2] == 3
                    assert isinstance(frame.time_s, float)
                    frames += 1
        except VideoError as error:
            assert str(error)
            # out_of_memory: a harmed header may announce a picture larger than libav allocates.
            assert error.kind in ("unreadable", "no_video", "zero_frames", "unsupported_codec", "out_of_memory")
        assert frames < 1000
