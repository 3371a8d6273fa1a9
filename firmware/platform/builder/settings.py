"""From a board's "kws" section and the environment to sources, defines and flags. Plain Python, so that it can be
tested without SCons."""

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path

from model_pipeline.errors import KwsError
from model_pipeline.exported import Exported
from model_pipeline.files import kernels_hash

# Base address, interrupt, clock enable bit, bus (0 APB1, 1 APB2, 2 APB1's second register), factor of the baud divider.
STM32_USART = {
    "f4": {  # RM0090 tables 1 and 62, 7.3.13, 7.3.14
        "USART1": (0x40011000, 37, 4, 1, 1),
        "USART2": (0x40004400, 38, 17, 0, 1),
        "USART3": (0x40004800, 39, 18, 0, 1),
        "UART4": (0x40004C00, 52, 19, 0, 1),
        "UART5": (0x40005000, 53, 20, 0, 1),
        "USART6": (0x40011400, 71, 5, 1, 1),
    },
    "l4": {  # RM0432 tables 2 and 77, 6.4.19 to 6.4.21
        "USART1": (0x40013800, 37, 14, 1, 1),
        "USART2": (0x40004400, 38, 17, 0, 1),
        "USART3": (0x40004800, 39, 18, 0, 1),
        "UART4": (0x40004C00, 52, 19, 0, 1),
        "UART5": (0x40005000, 53, 20, 0, 1),
        "LPUART1": (0x40008000, 70, 0, 2, 256),
    },
}
STM32_SERIES = {"f4": 4, "l4": 104}  # KWS_STM32_SERIES of firmware/ports/stm32/stm32.h
PORTS = {
    "stm32": ["ports/cortexm", "ports/stm32"],
    "nrf52": ["ports/cortexm", "ports/nrf52"],
    "arduino": ["ports/arduino"],  # by the official platform; see ports/arduino/pio_extra.py
    "host": ["ports/host"],
}
ENGINES = ("aot", "tflm")
APPS = ("kws", "mlperf")
MLPERF_BAUD = {"performance": 115200, "energy": 9600}  # as EEMBC's runner and its IO manager have them


class SettingsError(Exception):
    """Something that the user can mend; one line."""


@dataclass
class Settings:
    family: str
    engine: str
    model: Path
    prefix: str = ""
    tools: list = field(default_factory=list)
    tool_package: str = "gcc"
    cxx: bool = False
    includes: list = field(default_factory=list)
    defines: list = field(default_factory=list)
    cflags: list = field(default_factory=list)
    linkflags: list = field(default_factory=list)
    libs: list = field(default_factory=list)
    source_filter: list = field(default_factory=list)
    model_sources: list = field(default_factory=list)
    link_depends: list = field(default_factory=list)
    build_header: str = ""  # kws_build.h
    tflm: Path | None = None  # the tree of TensorFlow Lite Micro
    tflm_filter: list = field(default_factory=list)  # its sources, as a PlatformIO source filter
    outside_includes: list = field(default_factory=list)  # headers of others: no warnings from them


def read(kws, board_id, environ, firmware, option):
    """Settings of one build. ``option(name, default)`` reads the environment's section of platformio.ini."""
    if not isinstance(kws, dict) or "family" not in kws:
        raise SettingsError(f"boards/{board_id}.json: kws.family is missing")
    engine = environ.get("KWS_ENGINE") or option("custom_kws_engine", "aot")
    if engine not in ENGINES:
        raise SettingsError(f"KWS_ENGINE={engine}: known engines are {', '.join(ENGINES)}")
    app = environ.get("KWS_APP") or option("custom_kws_app", "kws")
    if app not in APPS:
        raise SettingsError(f"KWS_APP={app}: known applications are {', '.join(APPS)}")
    model = Path(environ.get("KWS_MODEL_DIR") or firmware / "model").resolve()
    try:
        exported = Exported.open(model)
    except KwsError as error:
        raise SettingsError(f"{error}: make it with `kws export`, or set KWS_MODEL_DIR") from error
    family = kws["family"]
    s = Settings(family=family, engine=engine, model=model, cxx=engine == "tflm")
    port_dirs = PORTS.get(family)
    if port_dirs is None:
        raise SettingsError(f"boards/{board_id}.json: kws.family: {family} has no port in firmware/ports")

    if app == "mlperf":
        kws = _mlperf(s, kws, board_id, environ)
        source_dirs = ["mlperf", *port_dirs]
    else:
        source_dirs = [
            "core/frontend",
            "core/detector",
            "core/kws",
            "core/learn",
            "core/link",
            f"engines/{engine}",
            "app",
            *port_dirs,
        ]
    if (kws.get("microphone") or {}).get("kind") == "pdm_i2s":
        source_dirs.append("core/pdm")
    if engine == "aot":
        source_dirs += ["core/nn", "core/nn/fast"]
        _same_kernels(exported, firmware)
    else:
        _tflm(s, environ)
    s.source_filter = ["-<*>"] + [f"+<{d}/*.c> +<{d}/*.cc> +<{d}/*.cpp>" for d in source_dirs]
    s.includes = [firmware / d for d in [*source_dirs, "engines", "ports"]] + [model]
    if app == "mlperf":
        s.source_filter.append("+<app/main.c>")
        s.includes.append(firmware / "app")
    # Of the generated folder only what this engine uses.
    skip = {"aot": ("model_data.cc",), "tflm": ("model_aot.c", "kws_image.c")}[engine]
    s.model_sources = sorted(p.name for p in model.iterdir() if p.suffix in (".c", ".cc") and p.name not in skip)
    if app == "mlperf":
        s.model_sources = ["model_aot.c"]

    s.defines += [
        f"KWS_ENGINE_{engine.upper()}",
    ]
    if app == "kws":
        s.defines += _frontend_limits(exported)
    s.cflags = ["-O2", "-g", "-Wall", "-Wextra", "-Werror", "-ffunction-sections", "-fdata-sections", "-fno-common"]
    s.linkflags = ["-Wl,--gc-sections"]
    if family == "host":
        s.tools = ["gcc"]
        s.libs = ["m"]
    elif family == "arduino":
        # Arduino has a main() of its own, and flags and warnings of its own.
        s.source_filter.append("-<app/main.c>")
        s.cflags = ["-O2"]
        s.linkflags = []
        _microphone(s, kws, board_id)
    else:
        _cortexm(s, kws, board_id, firmware)
        _microphone(s, kws, board_id)
    digest = hashlib.sha256(repr((board_id, engine, app, s.defines, kws)).encode())
    for folder in [*(firmware / d for d in source_dirs), model]:
        for path in sorted(folder.glob("*")):
            if path.suffix in (".c", ".cc", ".cpp", ".h", ".ld"):
                digest.update(f"{path.name}\0".encode() + path.read_bytes())
    # In a header of its own: as a define it would have every file compiled anew after any change.
    names = {
        "KWS_BOARD_ID": board_id,
        "KWS_FIRMWARE_VERSION": _version(firmware.parent),
        "KWS_BUILD_ID": digest.hexdigest()[:12],
    }
    s.build_header = "".join(f'#define {name} "{value}"\n' for name, value in names.items())
    return s


def _mlperf(s, kws, board_id, environ):
    """The board's section as MLPerf Tiny's application wants it: the runner's baud rate, no microphone, and in energy
    mode the timestamp's pin in the place of the LED's."""
    mode = environ.get("KWS_MLPERF_MODE") or "performance"
    if mode not in MLPERF_BAUD:
        raise SettingsError(f"KWS_MLPERF_MODE={mode}: known modes are {', '.join(MLPERF_BAUD)}")
    if s.engine != "aot":
        raise SettingsError("MLPerf Tiny's application runs compiled plans: leave KWS_ENGINE out")
    kws = dict(kws)
    if kws.get("serial"):
        kws["serial"] = {**kws["serial"], "baud": MLPERF_BAUD[mode]}
    if s.family != "arduino":  # whose port compiles it in any case
        kws["microphone"] = None
    if mode == "energy":
        if not kws.get("timestamp"):
            raise SettingsError(f"boards/{board_id}.json: energy mode needs a pin for timestamps, kws.timestamp")
        kws["led"] = kws["timestamp"]
    s.defines.append(("KWS_MLPERF_ENERGY", int(mode == "energy")))
    return kws


def _same_kernels(exported, firmware):
    """Refuses a plan that was compiled for other kernels: it would build, and could compute something else."""
    if exported.kernels != kernels_hash(firmware):
        raise SettingsError("this model was exported for other kernels: run `kws export MODEL --out DIR` again")


def _tflm(s, environ):
    """TensorFlow Lite Micro is not part of this project: its sources come from outside."""
    tree = environ.get("KWS_TFLM_DIR")
    if not tree or not (Path(tree) / "tensorflow/lite/micro/micro_interpreter.h").is_file():
        raise SettingsError(
            "engine tflm needs TensorFlow Lite Micro's sources: set KWS_TFLM_DIR to a tree that its "
            "tensorflow/lite/micro/tools/project_generation/create_tflm_tree.py made"
        )
    s.tflm = Path(tree).resolve()
    third = s.tflm / "third_party"
    s.outside_includes = [s.tflm, *(third / d for d in ("flatbuffers/include", "gemmlowp", "ruy", "kissfft"))]
    # NDEBUG: with their checks in inner loops, the reference kernels take five times as long. No error strings: their
    # errors come as codes, and there is nothing here that a text could be printed to.
    s.defines += ["TF_LITE_STATIC_MEMORY", "TF_LITE_DISABLE_X86_NEON", "TF_LITE_STRIP_ERROR_STRINGS", "NDEBUG"]
    if (third / "cmsis_nn").is_dir():
        core = third / "cmsis/CMSIS/Core/Include"
        if not core.is_dir():
            raise SettingsError(
                f"engine tflm needs CMSIS beside CMSIS-NN: set KWS_TFLM_DIR to a tree with {core.relative_to(s.tflm)}"
            )
        s.outside_includes += [third / "cmsis_nn", third / "cmsis_nn/Include", third / "cmsis", core]
        s.defines += ["CMSIS_NN", ("ARM_NN_ENABLE_F16", 0), ("ARM_NN_ENABLE_F32", 0)]
    unused = tflm_unused(s.tflm, (s.model / "model_resolver.h").read_text(encoding="utf-8"))
    s.tflm_filter = ["+<*>", "-<examples/>", "-<**/*_test.cc>", *(f"-<{name}>" for name in unused)]


def tflm_unused(tree, resolver):
    """Sources of ``tree`` that register operators, none of which the model's resolver adds: names relative to the tree.
    They are most of the compiler's work, and nothing else refers to them. What an ``Add`` of the resolver takes, its
    own header says; of one that is not found there, all are kept."""
    path = tree / "tensorflow/lite/micro/micro_mutable_op_resolver.h"
    header = path.read_text(encoding="utf-8") if path.is_file() else ""
    wanted = set()
    for method in re.findall(r"resolver->(Add\w+)\(\)", resolver):
        found = re.search(rf"TfLiteStatus {method}\((.*?)TfLiteStatus Add", header + "TfLiteStatus Add", re.S)
        if not found:
            return []
        wanted |= set(re.findall(r"\bRegister_\w+", found[1]))
    unused = []
    for folder in ("tensorflow/lite/micro/kernels", "signal"):
        for path in sorted((tree / folder).rglob("*.cc")):
            registers = set(re.findall(r"Registration\s*\*?\s+(Register_\w+)\(", path.read_text(encoding="utf-8")))
            if registers and not registers & wanted:
                unused.append(path.relative_to(tree).as_posix())
    return unused


def _frontend_limits(exported):
    """The front end's state is as large as its largest FFT: no larger than this model needs."""
    return [("KWS_FE_MAX_FFT", exported.fft_size), ("KWS_FE_MAX_CHANNELS", exported.channels)]


def _cortexm(s, kws, board_id, firmware):
    s.prefix = "arm-none-eabi-"
    s.tools = ["arm-none-eabi-gcc"]
    s.tool_package = "gcc-arm-none-eabi libnewlib-arm-none-eabi"
    try:
        memory, clock, serial = kws["memory"], kws["clock"], kws["serial"]
        cpu = kws.get("cpu", "cortex-m4")
        # Hosted, as newlib is there: freestanding, GCC calls memcpy for each of the kernels' words (2.0 M instructions
        # instead of 1.5 M for the default model).
        s.cflags += [f"-mcpu={cpu}", "-mthumb", "-fno-builtin-printf"]
        script = firmware / "ports/cortexm/link.ld"
        s.link_depends = [script]
        symbols = {
            "KWS_FLASH_ORIGIN": number(memory["flash_origin"]),
            "KWS_FLASH_LENGTH": number(memory["flash_bytes"]),
            "KWS_FLASH_BUDGET": number(memory["flash_budget"]),
            "KWS_RAM_ORIGIN": number(memory["ram_origin"]),
            "KWS_RAM_LENGTH": number(memory["ram_bytes"]),
            "KWS_RAM_BUDGET": number(memory["ram_budget"]),
            "KWS_STACK_BYTES": number(memory["stack_bytes"]),
        }
        s.linkflags += [f"-Wl,--defsym={name}={value:#x}" for name, value in symbols.items()]
        s.linkflags += [f"-Wl,-T,{script}", f"-mcpu={cpu}", "-mthumb", "-nostartfiles", "--specs=nano.specs"]
        s.libs = ["c", "m", "gcc"]
        s.defines += [
            ("KWS_CORE_HZ", f"{number(clock['core_hz'])}u"),
            ("KWS_SERIAL_BAUD", f"{number(serial['baud'])}u"),
        ]
        {"stm32": _stm32, "nrf52": _nrf52}[kws["family"]](s, kws, clock, serial)
    except KeyError as error:
        raise SettingsError(f"boards/{board_id}.json: kws: {error.args[0]} is missing or unknown") from error
    except ValueError as error:
        raise SettingsError(f"boards/{board_id}.json: kws: {error}") from error


def _stm32(s, kws, clock, serial):
    series = kws.get("series") or "f4"
    base, irq, bit, bus, factor = STM32_USART[series][serial["peripheral"]]
    tx, rx = _pin(serial["tx"]), _pin(serial["rx"])
    s.defines += [
        ("KWS_STM32_SERIES", STM32_SERIES[series]),
        ("KWS_HSE_HZ", f"{number(clock['crystal_hz'])}u"),
        ("KWS_HSE_BYPASS", int(clock.get("bypass", False))),
        ("KWS_UART_BASE", f"{base:#x}u"),
        ("KWS_UART_IRQ", irq),
        ("KWS_UART_CLOCK_BIT", bit),
        ("KWS_UART_BUS", bus),
        ("KWS_UART_BRR_FACTOR", f"{factor}u"),
        ("KWS_UART_TX_PORT", tx[0]),
        ("KWS_UART_TX_PIN", tx[1]),
        ("KWS_UART_RX_PORT", rx[0]),
        ("KWS_UART_RX_PIN", rx[1]),
        ("KWS_UART_AF", number(serial["alternate_function"])),
    ]
    if kws.get("led"):
        led = _pin(kws["led"])
        s.defines += [("KWS_LED_PORT", led[0]), ("KWS_LED_PIN", led[1])]
    if microphone := kws.get("microphone"):
        if microphone["kind"] != "pdm_i2s" or series != "f4":
            raise ValueError(f"microphone.kind {microphone['kind']}: the STM32 port knows pdm_i2s, on the F4 series")
        for name, key in (("CLK", "clock"), ("DIN", "data")):
            port, pin = _pin(microphone[key])
            s.defines += [(f"KWS_PDM_{name}_PORT", port), (f"KWS_PDM_{name}_PIN", pin)]


def _nrf52(s, kws, clock, serial):
    if serial["peripheral"] != "UARTE0":
        raise ValueError(f"serial.peripheral {serial['peripheral']}: the nRF52 port uses UARTE0")
    pins = {"KWS_UART_TX_PIN": serial["tx"], "KWS_UART_RX_PIN": serial["rx"]}
    if kws.get("led"):
        pins["KWS_LED_PIN"] = kws["led"]
    if microphone := kws.get("microphone"):
        pins |= {"KWS_PDM_CLK_PIN": microphone["clock"], "KWS_PDM_DIN_PIN": microphone["data"]}
        if microphone.get("power"):
            pins["KWS_PDM_POWER_PIN"] = microphone["power"]
    s.defines += [(name, f"{_nrf52_pin(pin)}u") for name, pin in pins.items()]


def _microphone(s, kws, board_id):
    """What every port's microphone has."""
    if microphone := kws.get("microphone"):
        if "gain_db" not in microphone:
            raise SettingsError(f"boards/{board_id}.json: kws: microphone.gain_db is missing")
        gain_db = number(microphone["gain_db"])
        s.defines += [
            ("KWS_MICROPHONE_GAIN_DB", gain_db),
            ("KWS_MICROPHONE_GAIN_Q12", round(4096 * 10 ** (gain_db / 20))),
        ]


def sources(s, firmware):
    """The source files of a build, as PlatformIO's build_src_filter chooses them: the later word counts."""
    chosen = set()
    for sign, pattern in re.findall(r"([+-])<([^>]*)>", " ".join(s.source_filter)):
        found = {p for p in firmware.rglob("*") if p.is_file()} if pattern == "*" else set(firmware.glob(pattern))
        chosen = chosen | found if sign == "+" else chosen - found
    return [*sorted(chosen), *(s.model / name for name in s.model_sources)]


def define_flags(s):
    """The defines as a compiler's command line takes them."""
    pairs = [(d, None) if isinstance(d, str) else d for d in s.defines]
    return [f"-D{name}" if value is None else f"-D{name}={str(value).replace(chr(92), '')}" for name, value in pairs]


def number(value):
    """A number of a board file: an integer, or text such as "0x08000000"."""
    return value if isinstance(value, int) else int(str(value), 0)


def _pin(name):
    match = re.fullmatch(r"P([A-I])(1[0-5]|[0-9])", name)
    if not match:
        raise ValueError(f"{name} is not a pin (such as PA2)")
    return ord(match[1]) - ord("A"), int(match[2])


def _nrf52_pin(name):
    match = re.fullmatch(r"P([01])\.([0-9]{2})", name)
    if not match or int(match[2]) > (15 if match[1] == "1" else 31):
        raise ValueError(f"{name} is not a pin (such as P0.13)")
    return int(match[1]) * 32 + int(match[2])


def _version(root):
    match = re.search(r'^version = "([^"]+)"', (root / "pyproject.toml").read_text(encoding="utf-8"), re.M)
    return match[1] if match else "0.0.0"
