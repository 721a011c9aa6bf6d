"""The errors a person can meet, drawn as a tree.

    NightreelError              exit 1: anything a message can explain
    ├── UsageError              exit 2: the command's words are off
    │   └── UnknownEncoder
    ├── Refused                 exit 4: the archive is not what the command needs
    │   ├── NotAnArchive
    │   ├── WrongVersion
    │   ├── FingerprintMismatch
    │   ├── IndexMissing
    │   ├── Damaged
    │   └── Leak                of evaluate/splits.py: two splits share a video, a source or footage
    ├── WeightsUnavailable      exit 1: the encoder's weights are not on this machine
    └── VideoError              never leaves `extract`: it becomes a row of the videos table

Every message says what, got, expected, remedy.
"""

ERROR_KINDS = (
    "unreadable",
    "no_video",
    "zero_frames",
    "unsupported_codec",
    "encrypted",
    "timeout",
    "crashed",
    "out_of_memory",
    "encoder",
)


class NightreelError(Exception):
    """Base of all errors that are shown to the user as one message, without a traceback."""

    exit_code = 1


class UsageError(NightreelError):
    """The command's words are off: no such input, an unknown name, a value out of range."""

    exit_code = 2


class UnknownEncoder(UsageError):
    """An encoder spec whose family or name nobody registered."""


class Refused(NightreelError):
    """The archive on disk is not in the state the command needs; nothing was changed."""

    exit_code = 4


class NotAnArchive(Refused):
    """The folder holds no `archive.json`."""


class WrongVersion(Refused):
    """The archive was written in a format this Nightreel does not read."""


class FingerprintMismatch(Refused):
    """Two encoders that must be the same one are not (weights, preprocessing, sampling)."""


class IndexMissing(Refused):
    """The archive has no index for the encoder that was asked for."""


class Damaged(Refused):
    """A file that a commit names is missing or is not what was committed."""


class WeightsUnavailable(NightreelError):
    """An encoder's weights are neither on this machine nor downloadable now."""


class VideoError(NightreelError):
    """One video could not be decoded or encoded; recorded, never raised out of a run.

    `kind` is one of `ERROR_KINDS`; `stage` is `open`, `decode` or `encode`.
    """

    def __init__(self, kind: str, message: str, *, stage: str = "decode") -> None:
        if kind not in ERROR_KINDS:
            raise ValueError(f"{kind = } is none of {ERROR_KINDS}")
        super().__init__(message)
        self.kind = kind
        self.stage = stage
