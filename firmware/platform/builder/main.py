"""Builds the firmware: which sources, which flags, which memory. Everything of the board is read from its JSON."""

import os
import sys
from pathlib import Path

from SCons.Script import AlwaysBuild, Default, DefaultEnvironment

env = DefaultEnvironment()
board = env.BoardConfig()
ROOT = Path(env.subst("$PROJECT_DIR"))
FIRMWARE = ROOT / "firmware"
sys.path[:0] = [str(Path(env.PioPlatform().get_dir()) / "builder"), str(ROOT)]  # settings.py reads model_pipeline.files
import settings  # noqa: E402


def stop(message):
    sys.stderr.write(f"error: {message}\n")
    env.Exit(1)


try:
    what = settings.read(board.manifest.get("kws"), board.id, os.environ, FIRMWARE, env.GetProjectOption)
except settings.SettingsError as problem:
    stop(problem)

for tool in what.tools:
    if not env.WhereIs(tool):
        stop(f"{tool} is not in PATH: apt-get install {what.tool_package}")

env.Replace(
    CC=what.prefix + "gcc",
    CXX=what.prefix + "g++",
    AS=what.prefix + "gcc",
    AR=what.prefix + "gcc-ar" if what.prefix else "ar",
    RANLIB=what.prefix + "gcc-ranlib" if what.prefix else "ranlib",
    LINK=what.prefix + ("g++" if what.cxx else "gcc"),
    OBJCOPY=what.prefix + "objcopy",
    PROGNAME="firmware",
    PROGSUFFIX=".elf",
)
generated = Path(env.subst("$BUILD_DIR")) / "generated"
generated.mkdir(parents=True, exist_ok=True)
header = generated / "kws_build.h"
if not header.exists() or header.read_text() != what.build_header:
    header.write_text(what.build_header)
env.Append(
    CPPPATH=[str(generated), *(str(p) for p in what.includes)],
    CPPDEFINES=what.defines,
    CCFLAGS=what.cflags,
    CFLAGS=["-std=gnu11"],
    CXXFLAGS=["-std=gnu++17", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics"],
    LINKFLAGS=[*what.linkflags, "-Wl,-Map," + os.path.join("$BUILD_DIR", "firmware.map")],
    LIBS=what.libs,
)

# PlatformIO's own flags of the board and of the environment go to everything that is built below.
for flags in (board.get("build.extra_flags", ""), env.get("BUILD_FLAGS"), os.environ.get("KWS_EXTRA_FLAGS")):
    env.ProcessFlags(flags)
if what.family != "host":
    env.Append(LINKFLAGS=board.get("build.extra_flags", "").split())
env.Append(LINKFLAGS=[f for f in env["CCFLAGS"] if str(f).startswith("-fsanitize")])

env.Replace(PROJECT_SRC_DIR=str(FIRMWARE), SRC_FILTER=what.source_filter)
env.VariantDir(os.path.join("$BUILD_DIR", "model"), str(what.model), duplicate=False)
env.Append(PIOBUILDFILES=[env.Object(os.path.join("$BUILD_DIR", "model", name)) for name in what.model_sources])

if what.tflm:
    env.Append(CCFLAGS=[flag for p in what.outside_includes for flag in ("-isystem", str(p))])
    # Others' sources are built as they are: their warnings are not ours to mend.
    theirs = env.Clone()
    theirs.Append(CCFLAGS=["-w"])
    theirs.BuildSources(os.path.join("$BUILD_DIR", "tflm"), str(what.tflm), what.tflm_filter)

# Flags were processed above; doing it again in BuildProgram would repeat them.
env.Replace(BUILD_FLAGS=[])
board.manifest.get("build", {}).pop("extra_flags", None)
program = env.BuildProgram()
env.Depends(program, [str(p) for p in what.link_depends])
Default([program])
AlwaysBuild(env.Alias("size", program, env.VerboseAction(what.prefix + "size $SOURCE", "Sizes of $SOURCE")))
AlwaysBuild(env.Alias("upload", program, env.VerboseAction("$UPLOADCMD", "Uploading $SOURCE")))
env.Replace(UPLOADCMD=f'"$PYTHONEXE" -m host_tools.cli flash --board {board.id} --elf $SOURCE')
