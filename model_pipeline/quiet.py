"""TensorFlow and Keras, imported without their messages and without what they only look for: scikit-learn, for Keras's
wrappers, and matplotlib, for its pictures. Both are installed for others, and were a quarter of the whole import.

Whatever imports TensorFlow as the first of a process imports this before it."""

from __future__ import annotations

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

_hidden = [name for name in ("sklearn", "matplotlib") if name not in sys.modules]
sys.modules.update(dict.fromkeys(_hidden))  # type: ignore[arg-type]  # None: can't be imported
try:
    import keras  # noqa: F401
    import tensorflow  # noqa: F401
finally:
    for _name in _hidden:
        del sys.modules[_name]
