"""Extra script of environment nano33ble: hands our sources, the model and the defines to the official platform."""

import os
import sys
from pathlib import Path

Import("env")  # noqa: F821 - PlatformIO's

FIRMWARE = Path(env.subst("$PROJECT_DIR")) / "firmware"  # noqa: F821
sys.path[:0] = [str(FIRMWARE / "platform" / "builder"), str(FIRMWARE.parent)]
import settings  # noqa: E402

board = env.BoardConfig()  # noqa: F821
try:
    what = settings.read(board.manifest.get("kws"), board.id, os.environ, FIRMWARE, env.GetProjectOption)  # noqa: F821
except settings.SettingsError as problem:
    sys.stderr.write(f"error: {problem}\n")
    env.Exit(1)  # noqa: F821

generated = Path(env.subst("$BUILD_DIR")) / "generated"  # noqa: F821
generated.mkdir(parents=True, exist_ok=True)
header = generated / "kws_build.h"
if not header.exists() or header.read_text() != what.build_header:
    header.write_text(what.build_header)
env.Replace(SRC_FILTER=what.source_filter)  # noqa: F821
env.Append(CPPPATH=[str(generated), *(str(p) for p in what.includes)], CPPDEFINES=what.defines, CCFLAGS=what.cflags)  # noqa: F821
only = ["-<*>", *(f"+<{name}>" for name in what.model_sources)]
env.BuildSources(os.path.join("$BUILD_DIR", "model"), str(what.model), only)  # noqa: F821
