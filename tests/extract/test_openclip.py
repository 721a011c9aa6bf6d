"""`openclip` against open_clip's own path, and every way its weights can be wrong."""

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_encoders import tiny_openclip
