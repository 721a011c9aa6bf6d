"""Videos to frames: `open_video` (`open.py`), the interface (`base.py`), one file per backend; which packets a sample needs
(`plan.py`), and what packets say of themselves (`packets/`)."""
