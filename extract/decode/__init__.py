"""Videos to frames: `open_video` (`open.py`), the interface (`base.py`), one file per backend."""
