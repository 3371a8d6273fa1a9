"""Build files and an example for each way in which a library is taken into somebody's firmware."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from model_pipeline.ctext import c_string, plain

VERSION = "0.1.0"


@dataclass(frozen=True)
class Description:
    """What the build files and the README tell of a library."""

    prefix: str
    models: list[str]
    labels: list[str]
    arena_bytes: int
    constant_bytes: int
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
    c_files = [name for name in sources if name.endswith(".c")]
    return {"README.md": _readme(flavour, about), **FLAVOURS[flavour](about, c_files)}


def _fill(text: str, about: Description, c_files: list[str] = ()) -> str:  # type: ignore[assignment]
    """``@P@``, ``@U@``, ``@SENTENCE@``, ``@SOURCES:before@``: the prefix, in capitals, the sentence, the files."""
    text = text.replace("@P@", about.prefix).replace("@U@", about.prefix.upper()).replace("@SENTENCE@", about.sentence)
    return re.sub(r"^( *)@SOURCES:(.*)@$", lambda m: "\n".join(f"{m[1]}{m[2]}{n}" for n in c_files), text, flags=re.M)


_ON_WORD = """static void on_word(void *user, const @P@_word_t *word) {
  (void)user;
  printf("%lu %s %u\\n", (unsigned long)word->position, word->label, (unsigned)word->score);
}
"""

_HOST = (
    """/* Hears words in 16-bit samples (16 kHz, one channel, little-endian, no header) from standard input:
 *   ffmpeg -i talk.mp3 -f s16le -ar 16000 -ac 1 - | ./listen
 * Prints the sample, the word and its score of each. */
#include <stdio.h>

#include "@P@.h"

"""
    + _ON_WORD
    + """
int main(void) {
  static @P@_t k;
  int16_t pcm[160];
  size_t n;
  if (@P@_init(&k) != 0) return 1;
  while ((n = fread(pcm, sizeof pcm[0], 160, stdin)) > 0) @P@_feed(&k, pcm, n, on_word, NULL);
  return 0;
}
"""
)


def _cmake(about: Description, c_files: list[str]) -> dict[str, str]:
    text = """# add_subdirectory(this folder), then target_link_libraries(yours PRIVATE @P@)
cmake_minimum_required(VERSION 3.13)
project(@P@ C)
if(CMAKE_SOURCE_DIR STREQUAL CMAKE_CURRENT_SOURCE_DIR AND NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release) # without optimisation the DSP instructions are not used
endif()
add_library(@P@ STATIC
  @SOURCES:src/@
)
target_include_directories(@P@ PUBLIC ${CMAKE_CURRENT_SOURCE_DIR}/src)
target_compile_features(@P@ PUBLIC c_std_11)
if(CMAKE_SOURCE_DIR STREQUAL CMAKE_CURRENT_SOURCE_DIR)
  add_executable(listen example/listen.c)
  target_link_libraries(listen PRIVATE @P@)
endif()
"""
    return {"CMakeLists.txt": _fill(text, about, c_files), "example/listen.c": _fill(_HOST, about)}


def _arduino(about: Description, c_files: list[str]) -> dict[str, str]:
    properties = """name=@P@
version=VERSION
author=micro-kws
maintainer=micro-kws
sentence=@SENTENCE@
paragraph=A compiled neural network and all that it needs. No heap, no other library.
category=Signal Input/Output
url=https://example.invalid/micro-kws
architectures=*
includes=@P@.h
""".replace("VERSION", VERSION)
    sketch = """// Hears words with the microphone of an Arduino Nano 33 BLE Sense.
#include <PDM.h>
#include <@P@.h>
#include <@P@_ring.h>

static @P@_t k;
static int16_t samples[4096];
static @P@_ring_t ring;

static void on_audio() {  // in PDM's interrupt
  static int16_t block[256];
  int bytes = PDM.available();
  while (bytes > 0) {
    const int got = PDM.read(block, bytes < (int)sizeof block ? bytes : sizeof block);
    if (got <= 0) return;
    bytes -= got;
    const int16_t *from = block;
    for (size_t left = (size_t)got / 2; left > 0;) {
      size_t room;
      int16_t *to = @P@_ring_free(&ring, &room);
      if (room == 0) return;  // the loop below is too slow
      if (room > left) room = left;
      memcpy(to, from, room * sizeof *to);
      @P@_ring_wrote(&ring, room);
      from += room;
      left -= room;
    }
  }
}

static void on_word(void *, const @P@_word_t *word) {
  Serial.print(word->label);
  Serial.print(' ');
  Serial.println(word->score);
}

void setup() {
  Serial.begin(115200);
  @P@_ring_init(&ring, samples, 4096);
  if (@P@_init(&k) != 0) Serial.println("the library's files do not belong together");
  PDM.onReceive(on_audio);
  if (!PDM.begin(1, @U@_SAMPLE_RATE)) Serial.println("no microphone");
}

void loop() {
  size_t n;
  const int16_t *pcm = @P@_ring_filled(&ring, &n);
  @P@_feed(&k, pcm, n, on_word, NULL);
  @P@_ring_read(&ring, n);
}
"""
    return {
        "library.properties": _fill(properties, about),
        "examples/listen/listen.ino": _fill(sketch, about),
    }


def _platformio(about: Description, c_files: list[str]) -> dict[str, str]:
    described = {
        "name": about.prefix,
        "version": VERSION,
        "description": about.sentence,
        "keywords": ["keyword spotting", "wake word", "speech"],
        "license": "Apache-2.0",
        "frameworks": "*",
        "platforms": "*",
        "headers": f"{about.prefix}.h",
        "build": {"srcDir": "src", "includeDir": "src", "flags": ["-O2"]},
    }
    project = """; pio run in this folder; board and framework are yours to choose
[env:nucleo_f446re]
platform = ststm32
board = nucleo_f446re
framework = stm32cube
lib_deps = symlink://../..
"""
    main = (
        """/* Feed it from your microphone: @P@_feed() takes any number of samples. */
#include <stdio.h>

#include "@P@.h"

"""
        + _ON_WORD
        + """
int main(void) {
  static @P@_t k;
  static int16_t pcm[160]; /* 10 ms of your microphone */
  if (@P@_init(&k) != 0) return 1;
  for (;;) @P@_feed(&k, pcm, 160, on_word, NULL);
}
"""
    )
    return {
        "library.json": json.dumps(described, indent=2) + "\n",
        "examples/listen/platformio.ini": project,
        "examples/listen/src/main.c": _fill(main, about),
    }


def _zephyr(about: Description, c_files: list[str]) -> dict[str, str]:
    module = """name: @P@
build:
  cmake: zephyr
  kconfig: zephyr/Kconfig
"""
    kconfig = """config @U@
\tbool "@SENTENCE@"
\thelp
\t  A compiled keyword spotting network and all that it needs.
"""
    cmake = """if(CONFIG_@U@)
  zephyr_library_named(@P@)
  zephyr_library_sources(
    @SOURCES:${CMAKE_CURRENT_LIST_DIR}/../src/@
  )
  zephyr_library_compile_options(-O2)
  zephyr_include_directories(${CMAKE_CURRENT_LIST_DIR}/../src)
endif()
"""
    example = """cmake_minimum_required(VERSION 3.20.0)
list(APPEND ZEPHYR_EXTRA_MODULES ${CMAKE_CURRENT_SOURCE_DIR}/../..)
find_package(Zephyr REQUIRED HINTS $ENV{ZEPHYR_BASE})
project(listen)
target_sources(app PRIVATE src/main.c)
"""
    config = """CONFIG_@U@=y
CONFIG_AUDIO=y
CONFIG_AUDIO_DMIC=y
CONFIG_MAIN_STACK_SIZE=4096
"""
    main = (
        """/* Hears words with a digital microphone; the board's devicetree has a node dmic_dev. */
#include <stdio.h>
#include <zephyr/audio/dmic.h>
#include <zephyr/kernel.h>

#include "@P@.h"

#define BLOCK_BYTES (2 * @U@_SAMPLE_RATE / 50)
K_MEM_SLAB_DEFINE_STATIC(blocks, BLOCK_BYTES, 8, 4);

"""
        + _ON_WORD
        + """
int main(void) {
  static @P@_t k;
  const struct device *const microphone = DEVICE_DT_GET(DT_NODELABEL(dmic_dev));
  struct pcm_stream_cfg stream = {
      .pcm_rate = @U@_SAMPLE_RATE, .pcm_width = 16, .block_size = BLOCK_BYTES, .mem_slab = &blocks};
  struct dmic_cfg config = {
      .io = {.min_pdm_clk_freq = 1000000, .max_pdm_clk_freq = 3500000, .min_pdm_clk_dc = 40, .max_pdm_clk_dc = 60},
      .streams = &stream,
      .channel = {.req_num_streams = 1, .req_num_chan = 1}};
  config.channel.req_chan_map_lo = dmic_build_channel_map(0, 0, PDM_CHAN_LEFT);
  if (@P@_init(&k) != 0 || !device_is_ready(microphone) || dmic_configure(microphone, &config) < 0 ||
      dmic_trigger(microphone, DMIC_TRIGGER_START) < 0) {
    return 1;
  }
  for (;;) {
    void *block;
    size_t bytes;
    if (dmic_read(microphone, 0, &block, &bytes, 1000) < 0) continue;
    @P@_feed(&k, block, bytes / 2, on_word, NULL);
    k_mem_slab_free(&blocks, block);
  }
}
"""
    )
    return {
        "zephyr/module.yml": _fill(module, about),
        "zephyr/Kconfig": _fill(kconfig, about),
        "zephyr/CMakeLists.txt": _fill(cmake, about, c_files),
        "samples/listen/CMakeLists.txt": example,
        "samples/listen/prj.conf": _fill(config, about),
        "samples/listen/src/main.c": _fill(main, about),
    }


def _esp_idf(about: Description, c_files: list[str]) -> dict[str, str]:
    cmake = """idf_component_register(
  SRCS
    @SOURCES:src/@
  INCLUDE_DIRS src
)
target_compile_options(${COMPONENT_LIB} PRIVATE -O2)
"""
    component = f"""version: "{VERSION}"
description: {c_string(about.sentence)}
license: Apache-2.0
dependencies:
  idf: ">=5.0"
"""
    project = """cmake_minimum_required(VERSION 3.16)
set(EXTRA_COMPONENT_DIRS ${CMAKE_CURRENT_LIST_DIR}/../..)
include($ENV{IDF_PATH}/tools/cmake/project.cmake)
project(listen)
"""
    main_cmake = """# The component has the name of its folder; this one needs what the folder is called.
get_filename_component(library ${CMAKE_CURRENT_LIST_DIR}/../../.. ABSOLUTE)
get_filename_component(library ${library} NAME)
idf_component_register(SRCS main.c PRIV_REQUIRES ${library} driver)
"""
    main = (
        """/* Hears words with an I2S microphone, such as the INMP441; set the pins to yours. */
#include <stdio.h>

#include "driver/i2s_std.h"
#include "@P@.h"

#define PIN_CLOCK GPIO_NUM_4
#define PIN_WORD GPIO_NUM_5
#define PIN_DATA GPIO_NUM_6

"""
        + _ON_WORD
        + """
void app_main(void) {
  static @P@_t k;
  static int32_t raw[160];
  static int16_t pcm[160];
  i2s_chan_handle_t microphone;
  i2s_chan_config_t channel = I2S_CHANNEL_DEFAULT_CONFIG(I2S_NUM_AUTO, I2S_ROLE_MASTER);
  i2s_std_config_t config = {
      .clk_cfg = I2S_STD_CLK_DEFAULT_CONFIG(@U@_SAMPLE_RATE),
      .slot_cfg = I2S_STD_PHILIPS_SLOT_DEFAULT_CONFIG(I2S_DATA_BIT_WIDTH_32BIT, I2S_SLOT_MODE_MONO),
      .gpio_cfg = {.mclk = I2S_GPIO_UNUSED, .dout = I2S_GPIO_UNUSED,
                   .bclk = PIN_CLOCK, .ws = PIN_WORD, .din = PIN_DATA},
  };
  if (@P@_init(&k) != 0) return;
  ESP_ERROR_CHECK(i2s_new_channel(&channel, NULL, &microphone));
  ESP_ERROR_CHECK(i2s_channel_init_std_mode(microphone, &config));
  ESP_ERROR_CHECK(i2s_channel_enable(microphone));
  for (;;) {
    size_t bytes = 0;
    if (i2s_channel_read(microphone, raw, sizeof raw, &bytes, 1000) != ESP_OK) continue;
    const size_t n = bytes / sizeof raw[0];
    for (size_t i = 0; i < n; i++) pcm[i] = (int16_t)(raw[i] >> 16);
    @P@_feed(&k, pcm, n, on_word, NULL);
  }
}
"""
    )
    return {
        "CMakeLists.txt": _fill(cmake, about, c_files),
        "idf_component.yml": component,
        "examples/listen/CMakeLists.txt": project,
        "examples/listen/main/CMakeLists.txt": main_cmake,
        "examples/listen/main/main.c": _fill(main, about),
    }


FLAVOURS: dict[str, Callable[[Description, list[str]], dict[str, str]]] = {
    "cmake": _cmake,
    "arduino": _arduino,
    "platformio": _platformio,
    "zephyr": _zephyr,
    "esp-idf": _esp_idf,
}

_HOW = {
    "cmake": "`add_subdirectory()` this folder and link `@P@`, or `cc -O2 -Isrc src/*.c yours.c`. By itself it\n"
    "builds `listen` (example/), which hears words in raw samples.",
    "arduino": "Copy this folder to the sketchbook's `libraries/`; File > Examples > @P@ > listen.",
    "platformio": "`lib_deps = symlink://PATH/OF/THIS/FOLDER` in platformio.ini, or copy the folder to `lib/`.",
    "zephyr": "A module: `-DZEPHYR_EXTRA_MODULES=PATH/OF/THIS/FOLDER` and `CONFIG_@U@=y`; samples/listen has a DMIC.",
    "esp-idf": "A component: put this folder into `components/`, or name it in EXTRA_COMPONENT_DIRS as\n"
    "examples/listen does.",
}


def _readme(flavour: str, about: Description) -> str:
    words = "\n".join(f"- {plain(label)}" for label in about.labels)
    data = "\n".join(f"- {plain(line)}" for line in about.data)
    text = f"""# @P@
@SENTENCE@. Made by `kws export --library {flavour}`.

```c
#include "@P@.h"

static void on_word(void *user, const @P@_word_t *word) {{ puts(word->label); }}
static @P@_t k;

@P@_init(&k);                            /* once */
@P@_feed(&k, pcm, n, on_word, NULL);     /* int16 samples, 16 kHz, any number at a time */
```

`@P@_reset(&k)` forgets what was heard, `@P@_scores(&k)` has the last posteriors (0 to 255, a byte a label). All state
is in the `@P@_t` that you give: no heap, no variables elsewhere, so two microphones are two of them. Every name begins
with `@P@_`, so libraries of several models go into one image. `@P@_ring.h` is a ring between a microphone's interrupt
and the main loop. Two threads need a `@P@_t` each.

{_HOW[flavour]}

## Labels
{words}

## What it costs
| | |
|---|---|
| RAM | `sizeof(@P@_t)`: {about.arena_bytes:,} B for activations, and the front end, features and detector |
| flash, of which weights and tables | {about.constant_bytes:,} B |
| multiply-accumulates of one inference | {about.macs:,} |
| multiply-accumulates a second | {about.macs_per_second:,} |
| a frame of the front end | every {about.hop_ms} ms |

Compile with optimisation: at -O0 the DSP instructions of Cortex-M4, M7, M33 and M55 are not used, and the compiler says
so.

## Licence
The sources: Apache-2.0 (LICENSE). The networks:
{data}
"""
    return _fill(text, about)
