"""Long audio through front end, model and detector as the firmware runs them; sessions, scores and calibration.

Needs no TensorFlow. See docs/streaming.md.
"""

from __future__ import annotations

from model_pipeline.streaming.detector import Detection, run_detector
from model_pipeline.streaming.recogniser import Recogniser, Track

__all__ = ["Detection", "Recogniser", "Track", "run_detector"]
