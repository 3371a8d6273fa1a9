"""Networks: their three forms are one function, and the default keeps its budget."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# In a child: no test process that also tests host tools should hold TensorFlow.
SCRIPT = """
import keras, numpy as np
from model_pipeline.config import ShapeConfig
from model_pipeline.models import ARCHITECTURES, architecture, build, fold
from model_pipeline.models.net import FakeQuant

coarse = architecture("tcn", ShapeConfig(front=8, body=56, blocks=4, kernel=3, step=2))
for name, make in {**ARCHITECTURES, "coarse": coarse}.items():
    keras.utils.set_random_seed(1)  # untrained logits may lie so close that the largest is a matter of rounding
    model, net = build(make, "float", 49, 40, 10, 1.0, 26.0)
    print(name, net.macs, sum(int(np.prod(w.shape)) for w in model.trainable_weights))
    assert net.macs <= 1_200_000, net.macs
    x = np.random.default_rng(0).uniform(0, 26, (64, 49, 40, 1)).astype(np.float32)
    for _ in range(5):
        model(x, training=True)
    quant, net = build(make, "qat", 49, 40, 10, 1.0, 26.0)
    fold(model, quant, net)
    for layer in quant.layers:
        if isinstance(layer, FakeQuant):
            layer.momentum = 0.0
    quant(x, training=True)
    a, b = model(x).numpy(), quant(x).numpy()
    assert np.abs(a - b).max() < 0.1 * np.abs(a).max(), (np.abs(a - b).max(), np.abs(a).max())
    assert (a.argmax(1) == b.argmax(1)).mean() > 0.8
    small = ((24, 40), (15, 8)) if name in ARCHITECTURES else ((24, 40), (23, 8))
    for frames, channels in (*small, (49, 10), (49, 4), (98, 64)):
        build(make, "float", frames, channels, 4, 0.5, 26.0)
"""


def test_the_forms_agree_and_the_budget_is_kept() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "ds_tcn" in done.stdout
