"""Opening a file that may be hostile, and turning what goes wrong into a `VideoError` with plain words.

A video archive is other people's files. libavformat recognises a file by content, so a text file called
`x.mp4` can be a playlist that names other files or addresses. Three fences, each tested in
`test_decode_hostile.py`: the name is passed as `file:NAME` (a name such as `http:x.mp4`, `-x.mp4` or
`f%03d.mp4` stays a name), only the `file` protocol may be opened, and demuxers that read anything but the
one file they were given are not on the list of formats.

It does not know: codecs, frames, times. Costs: building the list of formats, 0.3 ms, once.
"""

import os
import stat
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import VideoError

# Demuxers that follow references out of the file.
_PLAYLISTS = {"hls", "applehttp", "concat", "dash", "imf", "webm_dash_manifest"}
_SCRIPTS = {"avisynth", "lavfi", "vapoursynth"}
_NAME_PATTERNS = {"image2", "image2pipe"}
_SIBLINGS = {"mlv", "vobsub"}  # data in x.M00, x.sub
_SESSIONS = {"rtp", "rtsp", "sap", "sdp"}
_DEVICES = {"alsa", "fbdev", "kmsgrab", "oss", "video4linux2", "v4l2", "x11grab"}
REFUSED_FORMATS = _PLAYLISTS | _SCRIPTS | _NAME_PATTERNS | _SIBLINGS | _SESSIONS | _DEVICES


@cache
def allowed_formats() -> str:
    """Every format this libavformat has, less `REFUSED_FORMATS`, as its `format_whitelist` wants it."""
    import av

    names = {name for group in av.formats_available for name in group.split(",")}
    return ",".join(sorted(names - REFUSED_FORMATS))


def open_container(path: str | Path) -> Any:
    """Open one regular local file with libavformat, and nothing that it may point to.

    Raises:
        VideoError: stage `open`, whatever the reason.
    """
    import av

    check_regular_file(path)
    fences = {"protocol_whitelist": "file", "format_whitelist": allowed_formats()}
    try:
        # metadata_errors: one tag in Latin-1 is no reason to lose a film.
        return av.open(f"file:{path}", container_options=fences, metadata_errors="replace")
    except Exception as error:
        raise as_video_error(_with_reason(path, fences) or error, stage="open") from error


def _with_reason(path: str | Path, fences: dict[str, str]) -> Exception | None:
    """The same failure once more, now with libav's log ("moov atom not found"), which is otherwise off.

    Not on always: libav logs from its own threads, each line would wait for the interpreter.
    """
    import av

    level = av.logging.get_level()
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture():
            av.open(f"file:{path}", container_options=fences, metadata_errors="replace").close()
    except Exception as error:
        return error
    finally:
        av.logging.set_level(level)
    return None


def check_regular_file(path: str | Path) -> None:
    """Say in plain words why `path` cannot be read: opening a named pipe would wait for ever."""
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            os.scandir(path).close()  # says so if it may not be listed, which is why it is here at all
        if not stat.S_ISREG(mode):
            what = "a folder" if stat.S_ISDIR(mode) else "a device, pipe or socket"
            raise VideoError("unreadable", f"it is {what}; expected a video file", stage="open")
        with open(path, "rb"):
            pass
    except FileNotFoundError as error:
        raise VideoError("unreadable", "no such file (moved or removed since it was listed?)", stage="open") from error
    except PermissionError as error:
        raise VideoError("unreadable", "no permission to read it; check the file's mode", stage="open") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise VideoError("unreadable", f"the system cannot open it: {error}", stage="open") from error


def as_video_error(error: BaseException, *, stage: str, after_frames: int = 0) -> VideoError:
    """What a libav (or Python) exception means for the record of this video."""
    import av

    where = f"after {after_frames} good frames: " if after_frames else ""
    if isinstance(error, VideoError):
        return error
    if isinstance(error, MemoryError):
        return VideoError("out_of_memory", f"{where}no memory for a frame of this video", stage=stage)
    if isinstance(error, av.error.DecoderNotFoundError):
        return VideoError("unsupported_codec", "libavcodec has no decoder for this video stream", stage=stage)
    return VideoError("unreadable", where + _words(error), stage=stage)


def _words(error: BaseException) -> str:
    """libav's sentence and the last thing its log said, without the list of formats it may quote."""
    log = getattr(error, "log", None)
    detail = str(log[2]).strip() if log else ""
    if "whitelist" in detail.lower():
        return "it is a playlist or pattern that points elsewhere, not a video; give the files it names instead"
    sentence = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"{sentence} ({detail})" if detail else str(sentence)
