"""Build files and an example for each way in which a library is taken into somebody's firmware: the files of
``templates/<flavour>``, filled in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from model_pipeline.ctext import c_string, plain

_TEMPLATES = Path(__file__).with_name("templates")
# What is to be done with the folder, for its README.
_HOW = {
    "cmake": "In your CMakeLists.txt, `add_subdirectory(PATH/OF/THIS/FOLDER @P@)` and "
    "`target_link_libraries(yours PRIVATE @P@)`;\nwithout CMake, `cc -O2 -Isrc src/*.c yours.c`.",
    "arduino": "Copy this folder to the sketchbook's `libraries/`; File > Examples > @P@ > listen.",
    "platformio": "`lib_deps = symlink://PATH/OF/THIS/FOLDER` in platformio.ini, or copy the folder to `lib/`.",
    "zephyr": "A module: `-DZEPHYR_EXTRA_MODULES=PATH/OF/THIS/FOLDER` and `CONFIG_@U@=y`; samples/listen has a DMIC.",
    "esp-idf": "A component: put this folder into `components/`, or name it in EXTRA_COMPONENT_DIRS as\n"
    "examples/listen does.",
}
# The example, built and run in the library's folder.
_EXAMPLE = {
    "cmake": """On this computer, in this folder, of a WAV file (16 kHz, 16 bits, one channel; its header is left out).
It prints the sample, the word and its score:

```sh
cmake -B build && cmake --build build    # or: mkdir build && cc -O2 -Isrc src/*.c example/listen.c -o build/listen
tail -c +45 talk.wav | build/listen
```

Of any other recording: `ffmpeg -i talk.mp3 -f s16le -ar 16000 -ac 1 - | build/listen`.""",
    "arduino": """With arduino-cli, in this folder, for a Nano 33 BLE Sense at /dev/ttyACM0:

```sh
arduino-cli compile --library . --fqbn arduino:mbed_nano:nano33ble --upload -p /dev/ttyACM0 examples/listen
arduino-cli monitor -p /dev/ttyACM0
```""",
    "platformio": """In this folder; its platformio.ini names a board, which is yours to choose:

```sh
pio run -d examples/listen --target upload
```""",
    "zephyr": """In this folder, with Zephyr's environment (`ZEPHYR_BASE`), for a board with a DMIC:

```sh
west build -b thingy53/nrf5340/cpuapp samples/listen && west flash
```""",
    "esp-idf": """In this folder, with ESP-IDF's environment (`. $IDF_PATH/export.sh`), for the chip that you have:

```sh
idf.py -C examples/listen set-target esp32s3
idf.py -C examples/listen build flash monitor
```""",
}
FLAVOURS = tuple(_HOW)


@dataclass(frozen=True)
class Description:
    """What the build files and the README tell of a library."""

    prefix: str
    models: list[str]
    labels: list[str]
    arena_bytes: int
    state_bytes: int | None
    constant_bytes: int
    look_bytes: int
    macs: int
    macs_per_second: int
    hop_ms: int
    data: list[str]

    @property
    def sentence(self) -> str:
        """One line, plain ASCII, for package managers."""
        words = ", ".join(label for label in self.labels if label not in ("unknown", "silence"))
        return plain(f"Keyword spotting on a microcontroller: {words}")


def flavour_files(flavour: str, about: Description, sources: list[str]) -> dict[str, str]:
    """Everything of a library's folder but its sources and licence."""
    folder = _TEMPLATES / flavour
    templates = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*.in"))}
    templates["README.md.in"] = _TEMPLATES / "README.md.in"
    c_files = [name for name in sources if name.endswith(".c")]
    values = _values(flavour, about)
    return {
        name.removesuffix(".in"): _fill(path.read_text(encoding="utf-8"), values, c_files)
        for name, path in templates.items()
    }


def _state(size: int | None) -> str:
    if size is None:
        return "as the compiler says, of which there was none here"
    return f"{size:,} B on a 64-bit computer (with pointers of 4 bytes a little less)"


def _values(flavour: str, about: Description) -> dict[str, str]:
    """What stands for each ``@NAME@`` of the templates."""
    return {
        "HOW": _HOW[flavour],
        "EXAMPLE": _EXAMPLE[flavour],
        "P": about.prefix,
        "U": about.prefix.upper(),
        "SENTENCE": about.sentence,
        "QUOTED": c_string(about.sentence),
        "VERSION": metadata.version("micro-kws"),
        "FLAVOUR": flavour,
        "LABELS": "\n".join(f"- {plain(label)}" for label in about.labels),
        "DATA": "\n".join(f"- {plain(line)}" for line in about.data),
        "ARENA": f"{about.arena_bytes:,}",
        "STATE": _state(about.state_bytes),
        "CONSTANTS": f"{about.constant_bytes:,}",
        "LOOK": f", and {about.look_bytes:,} B of the second look" if about.look_bytes else "",
        "MACS": f"{about.macs:,}",
        "MACS_PER_SECOND": f"{about.macs_per_second:,}",
        "HOP_MS": f"{about.hop_ms}",
    }


def _fill(text: str, values: dict[str, str], c_files: list[str]) -> str:
    """``@NAME@``: the value of that name; ``@SOURCES:before@`` on a line of its own: the C files, a line each."""
    text = text.replace("@HOW@", values["HOW"])  # which has names of its own
    text = re.sub(r"^( *)@SOURCES:(.*)@$", lambda m: "\n".join(f"{m[1]}{m[2]}{n}" for n in c_files), text, flags=re.M)
    return re.sub(r"@([A-Z_]+)@", lambda m: values[m[1]], text)
