"""`kws export --library`: folders that build where they lie and hear what `kws evaluate stream` hears."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from host_tools.cli import build_app
from model_pipeline.compiler.host import kernel_sources
from model_pipeline.config import CompileConfig
from model_pipeline.errors import KwsError, MissingTool
from model_pipeline.folders import MARK
from model_pipeline.library import FLAVOURS, export_library
from model_pipeline.library import export as writing
from model_pipeline.library.export import MAX_BYTES, MAX_FILES
from model_pipeline.library.sources import FAST, KERNELS, kernel_files
from model_pipeline.listening.recogniser import Recogniser
from model_pipeline.manifest import load_manifest
from model_pipeline.microwakeword import import_model
from model_pipeline.native import FIRMWARE, ROOT
from tests.support import cores

TINY = FIRMWARE / "tiny"
WARNINGS = ("-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Werror")
CORES = ("cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55")
CLIPS = ROOT.parent / "shared" / "data" / "speech_commands"


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("library") / "tiny"
    export_library([TINY], out, "cmake", "front_door")
    return out


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    """Words in noise, about 20 s: real ones where the recordings are, else something that is louder and softer."""
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 60, 16000 * 24)
    files = [next(iter(sorted((CLIPS / word).glob("*.flac"))), None) for word in ("yes", "stop", "left", "go", "no")]
    for n, path in enumerate(f for f in files if f):
        clip = soundfile.read(path, dtype="int16")[0]
        noise[16000 + 64000 * n : 16000 + 64000 * n + len(clip)] += clip
    if not any(files):
        noise *= np.repeat(rng.uniform(1, 200, 24 * 8), 2000)
    return np.clip(noise, -32768, 32767).astype(np.int16)


def heard(model: Path, sound: np.ndarray) -> list[tuple[int, str, int]]:
    recogniser = Recogniser(model, workers=1, wide=False)
    found = recogniser.track(sound).detect(recogniser.manifest.detector)
    return [(d.position, recogniser.labels[d.label], d.score) for d in found]


def listen(program: Path, sound: np.ndarray) -> list[tuple[int, str, int]]:
    done = subprocess.run([program], input=sound.tobytes(), capture_output=True, check=True)
    rows = [line.split(" ") for line in done.stdout.decode().splitlines()]
    return [(int(position), label, int(score)) for position, label, score in rows]


def compile_all(folder: Path, out: Path, *flags: str, compiler: str = "gcc") -> None:
    sources = [str(p) for p in sorted((folder / "src").glob("*.c"))]
    main = str(folder / "example" / "listen.c")
    command = [compiler, *WARNINGS, "-O2", f"-I{folder / 'src'}", *flags, *sources, main, "-o", str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_one_compiler_call_without_a_warning_hears_what_the_host_hears(library, sound, tmp_path):
    compile_all(library, tmp_path / "listen", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    expected = heard(TINY, sound)
    assert listen(tmp_path / "listen", sound) == expected
    if CLIPS.is_dir():
        assert len(expected) >= 3


def test_it_is_small_and_every_global_name_has_the_prefix(library, tmp_path):
    files = [p for p in library.rglob("*") if p.is_file()]
    assert len(files) <= MAX_FILES and sum(p.stat().st_size for p in files) <= 300_000
    compile_all(
        library, tmp_path / "x.o", "-r", "-nostdlib", "-fno-pic", "-no-pie"
    )  # as on a board: tables are constant
    names = subprocess.run(["nm", "-g", "--defined-only", tmp_path / "x.o"], capture_output=True, text=True).stdout
    rows = [line.split() for line in names.splitlines()]
    assert rows and all(row[-1].startswith("front_door_") or row[-1] == "main" for row in rows)
    everything = subprocess.run(["nm", tmp_path / "x.o"], capture_output=True, text=True).stdout
    variables = {line.split()[-1] for line in everything.splitlines() if re.search(r" [BbDdC] ", line)}
    assert {v.split(".")[0] for v in variables} == {"k"}  # of the example: its state
    undefined = {line.split()[-1] for line in everything.splitlines() if " U " in line}
    undefined.discard("_GLOBAL_OFFSET_TABLE_")
    assert undefined <= {"memcpy", "memset", "memmove", "printf", "fread", "stdin", "puts", "__stack_chk_fail"}


def test_two_libraries_and_four_streams_in_one_cpp_program(library, sound, tmp_path):
    other = tmp_path / "other"
    export_library([TINY], other, "cmake", "garage", choice=CompileConfig(packing="portable"))  # other kernels
    main = tmp_path / "main.cc"
    main.write_text(
        '#include <cstdio>\n#include "front_door.h"\n#include "garage.h"\n'
        "static void a(void *who, const front_door_word_t *w) {\n"
        '  std::printf("%s %u %s\\n", static_cast<const char *>(who), w->position, w->label); }\n'
        "static void b(void *who, const garage_word_t *w) {\n"
        '  std::printf("%s %u %s\\n", static_cast<const char *>(who), w->position, w->label); }\n'
        "static front_door_t front[2];\nstatic garage_t rear[2];\n"
        "int main() {\n  static int16_t pcm[777];\n  size_t n;\n"
        "  for (int i = 0; i < 2; i++) if (front_door_init(&front[i]) || garage_init(&rear[i])) return 1;\n"
        "  while ((n = std::fread(pcm, 2, 777, stdin)) > 0) {\n"
        '    char one[] = "f0", two[] = "f1", three[] = "g0";\n'
        "    front_door_feed(&front[0], pcm, n, a, one);\n"
        "    front_door_feed(&front[1], pcm, n, a, two);\n"
        "    garage_feed(&rear[0], pcm, n, b, three);\n  }\n"
        "  return garage_feed(&rear[1], pcm, 0, b, nullptr);\n}\n"
    )
    objects = []
    for folder in (library, other):
        for source in sorted((folder / "src").glob("*.c")):
            target = tmp_path / f"{source.stem}.o"  # no file of one library has the name of another's
            assert not target.exists()
            subprocess.run(["gcc", *WARNINGS, "-O1", "-c", str(source), "-o", str(target)], check=True)
            objects.append(str(target))
    command = ["g++", "-std=c++17", "-Wall", "-Wextra", "-Wconversion", "-Werror", f"-I{library / 'src'}"]
    subprocess.run([*command, f"-I{other / 'src'}", str(main), *objects, "-o", str(tmp_path / "both")], check=True)
    done = subprocess.run([tmp_path / "both"], input=sound.tobytes(), capture_output=True, check=True)
    lines = done.stdout.decode().splitlines()
    expected = [f"{position} {label}" for position, label, _ in heard(TINY, sound)]
    for who in ("f0", "f1", "g0"):
        assert [line[3:] for line in lines if line.startswith(who)] == expected


def test_cmake_builds_it_alone_and_below_another_project(library, sound, tmp_path):
    if not shutil.which("cmake"):
        pytest.skip("cmake is not installed (apt-get install cmake)")
    subprocess.run(["cmake", "-S", library, "-B", tmp_path / "build"], check=True, capture_output=True)
    subprocess.run(["cmake", "--build", tmp_path / "build"], check=True, capture_output=True)
    assert listen(tmp_path / "build" / "listen", sound) == heard(TINY, sound)


@pytest.mark.parametrize(
    ("arguments", "directory", "level"),
    [
        ((), "", "-O2"),  # neither a build type nor a flag: CMake would say nothing, which is -O0
        (("-DCMAKE_BUILD_TYPE=Debug",), "", ""),
        (("-DCMAKE_BUILD_TYPE=MinSizeRel",), "", "-Os"),
        (("-DCMAKE_C_FLAGS=-g -O1",), "", "-O1"),
        ((), "add_compile_options(-Os)", "-Os"),
    ],
)
def test_below_a_project_it_is_optimised_and_what_the_project_says_wins(library, tmp_path, arguments, directory, level):
    if not shutil.which("cmake"):
        pytest.skip("cmake is not installed (apt-get install cmake)")
    (tmp_path / "yours.c").write_text(
        '#include "front_door.h"\nint main(void) { return FRONT_DOOR_HOP_SAMPLES == 0; }\n'
    )
    (tmp_path / "CMakeLists.txt").write_text(f"""cmake_minimum_required(VERSION 3.13)
project(yours C)
{directory}
add_subdirectory({library} front_door)
add_executable(yours yours.c)
target_link_libraries(yours PRIVATE front_door)
""")
    build = tmp_path / "build"
    export = "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON"
    subprocess.run(["cmake", "-S", tmp_path, "-B", build, export, *arguments], check=True, capture_output=True)
    commands = json.loads((build / "compile_commands.json").read_text())
    of = {Path(row["file"]).name: re.findall(r"-O\S*", row["command"]) for row in commands}
    assert len(of) > 10 and {(levels or [""])[-1] for file, levels in of.items() if file != "yours.c"} == {level}
    assert "-O2" not in of["yours.c"]  # its own affair
    if level == "-O2":
        subprocess.run(["cmake", "--build", build], check=True, capture_output=True)
        subprocess.run([build / "yours"], check=True)


@pytest.mark.parametrize("page", ["README.md of the library", "docs/library.md"])
def test_the_lines_of_c_that_are_shown_compile_without_a_warning(library, tmp_path, page):
    text = (library / "README.md" if "of the" in page else ROOT / page).read_text()
    (tmp_path / "shown.c").write_text(re.findall(r"```c\n(.*?)```", text, re.DOTALL)[0])
    subprocess.run(
        ["gcc", *WARNINGS, f"-I{library / 'src'}", "-c", tmp_path / "shown.c", "-o", tmp_path / "shown.o"], check=True
    )


def test_the_readme_s_commands_build_and_run_the_example_and_its_figures_add_up(library, sound, tmp_path):
    if not shutil.which("cmake"):
        pytest.skip("cmake is not installed (apt-get install cmake)")
    folder = shutil.copytree(library, tmp_path / "library")
    text = (folder / "README.md").read_text()
    soundfile.write(folder / "talk.wav", sound, 16000, subtype="PCM_16")
    (script,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    done = subprocess.run(["sh", "-e"], input=script, cwd=folder, capture_output=True, text=True, check=True)
    words = [line for line in done.stdout.splitlines() if re.fullmatch(r"\d+ \w+ \d+", line)]
    assert words == [" ".join(map(str, found)) for found in heard(TINY, sound)]

    plan = json.loads((TINY / "plan.json").read_text())
    look = load_manifest(TINY).look
    assert f"{plan['constant_bytes']:,} B of the networks, and {look.constant_bytes:,} B of the second look" in text
    state = int(re.search(r"`sizeof\(front_door_t\)` \| ([\d,]+) B", text)[1].replace(",", ""))
    ask = folder / "ask.c"
    ask.write_text(f'#include "front_door.h"\n_Static_assert(sizeof(front_door_t) == {state}, "");\n')
    subprocess.run(["gcc", f"-I{folder / 'src'}", "-c", ask, "-o", tmp_path / "ask.o"], check=True)
    assert plan["arena_bytes"] < state


def test_without_a_compiler_no_size_of_a_state_is_claimed(tmp_path, monkeypatch):
    def missing() -> str:
        raise MissingTool("no C compiler")

    monkeypatch.setattr(writing, "host_compiler", missing)
    made = export_library([TINY], tmp_path / "library", "cmake", "front_door")
    assert made.state_bytes is None
    assert "`sizeof(front_door_t)` | as the compiler says" in (tmp_path / "library" / "README.md").read_text()


@pytest.mark.parametrize("core", CORES)
def test_it_compiles_for_every_core(library, core, tmp_path):
    if not shutil.which("arm-none-eabi-gcc"):
        pytest.skip("arm-none-eabi-gcc is not installed")
    flags = (f"-mcpu={core}", "-mthumb", "-mfloat-abi=soft", "--specs=nosys.specs")
    compile_all(library, tmp_path / "x.elf", *flags, compiler="arm-none-eabi-gcc")


def folder_bytes(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize("model", ["model", "tiny"])
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_both_shipped_models_are_small_enough_in_every_flavour(model, flavour, tmp_path):
    """With the folder's mark, and all that package managers want."""
    result = export_library([FIRMWARE / model], tmp_path / "library", flavour, "front_door")
    assert len(result.files) <= 60 and folder_bytes(tmp_path / "library") <= 300_000


@pytest.mark.parametrize("name", ["alexa", "hey_jarvis", "hey_mycroft", "okay_nabu"])
def test_what_imported_models_make_is_small_enough(name, tmp_path):
    package = pytest.importorskip("pymicro_wakeword")
    manifest = Path(package.__file__).parent / "models" / f"{name}.json"
    import_model(manifest, tmp_path / "model")
    result = export_library([tmp_path / "model"], tmp_path / "library", "esp-idf", "front_door")
    assert len(result.files) <= 60 and folder_bytes(tmp_path / "library") <= 300_000


def test_the_longest_prefix_is_taken_too(tmp_path):
    prefix = "a_prefix_of_thirty_one_letters_"[:30] + "x"
    result = export_library([FIRMWARE / "model"], tmp_path / "library", "zephyr", prefix)
    plan = tmp_path / "library" / "src" / f"{prefix}_aot.c"
    assert len(result.files) <= MAX_FILES and result.bytes - plan.stat().st_size <= MAX_BYTES


def test_only_what_is_called_is_declared(library):
    """Neither a kernel's file nor its parameters, where the plan does not call it."""
    texts = {p.name: p.read_text() for p in (library / "src").iterdir()}
    plan = texts["front_door_aot.c"]
    assert "front_door_fast_conv8_" in plan and "front_door_fast_conv16_" not in plan
    assert "front_door_fast_matrix16.c" not in texts and "front_door_fast_planes_3x3.c" not in texts
    assert "lstm" not in texts["front_door_nn.h"] and "front_door_nn_softmax_t" in texts["front_door_nn.h"]


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """Of the least state: the default model, of which each frame computes what it changes."""
    out = tmp_path_factory.mktemp("small") / "library"
    export_library([FIRMWARE / "model"], out, "cmake", "front_door", streaming=1)
    return out


@pytest.mark.qemu
@pytest.mark.parametrize("core", cores.CORES, ids=lambda core: core.cpu)
def test_every_core_hears_the_same_words_at_the_same_samples(small, sound, core, tmp_path):
    """As firmware of its own by CMake, in QEMU's board of that core."""
    if tool := cores.missing():
        pytest.skip(f"{tool} is not installed")
    heard_there = cores.run(core, cores.build(small, core, tmp_path / "build"), sound[: 16000 * 12], tmp_path)
    expected = heard(FIRMWARE / "model", sound[: 16000 * 12])
    assert heard_there == expected
    if CLIPS.is_dir():
        assert expected


def test_without_optimisation_the_compiler_says_what_is_lost(library, tmp_path):
    if not shutil.which("arm-none-eabi-gcc"):
        pytest.skip("arm-none-eabi-gcc is not installed")
    source = str(library / "src" / "front_door_fast_matrix8.c")
    for level, said in (("-O0", True), ("-O2", False)):
        command = ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", level, "-c", source, "-o", str(tmp_path / "x.o")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert ("DSP instructions are not used" in done.stderr) == said


def test_kernels_of_another_model_are_refused_by_the_c_compiler(library, tmp_path):
    folder = shutil.copytree(library, tmp_path / "mixed")
    header = folder / "src" / "front_door_nn_kernels.h"
    header.write_text(re.sub(r"0x\w+ull", "0x0123456789abcdefull", header.read_text()))
    command = ["gcc", "-c", str(folder / "src" / "front_door_aot.c"), "-o", str(tmp_path / "x.o")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0 and "export the model again" in done.stderr


@pytest.mark.parametrize("function", [*FAST, *(p.stem for p in KERNELS[0].glob("*.c"))])
def test_the_files_of_a_kernel_are_all_that_it_needs(function, tmp_path):
    """On the host and, where other code is chosen, on a Cortex-M4."""
    for compiler in (["gcc"], ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb"]):
        if not shutil.which(compiler[0]):
            continue
        includes = [f"-I{k}" for k in KERNELS]
        files = [str(p) for p in kernel_files([function])]
        target = str(tmp_path / "x.o")
        subprocess.run([*compiler, "-O2", *includes, "-r", "-nostdlib", *files, "-o", target], check=True)
        nm = compiler[0].replace("gcc", "nm")
        names = subprocess.run([nm, target], capture_output=True, text=True, check=True).stdout
        assert not [line for line in names.splitlines() if " U kws_" in line]
    assert {p.name for p in kernel_sources()} >= {Path(f).name for f in files}


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_package_managers_take_their_files(flavour, tmp_path):
    out = tmp_path / "lib"
    result = export_library([TINY], out, flavour, "front_door")
    assert {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()} == set(result.files)
    if flavour in ("platformio", "arduino"):
        from platformio.package.manifest.parser import ManifestParserFactory
        from platformio.package.manifest.schema import ManifestSchema

        name = "library.json" if flavour == "platformio" else "library.properties"
        fields = ManifestParserFactory.new_from_file(str(out / name)).as_dict()
        assert fields.pop("license", "Apache-2.0") == "Apache-2.0"  # PlatformIO fetches the list of them
        data = ManifestSchema().load_manifest(fields)
        assert data["name"] == "front_door" and "front_door.h" in json.dumps(data)
    if flavour == "arduino":
        assert (out / "examples" / "listen" / "listen.ino").is_file()  # a sketch has its folder's name
    if flavour == "zephyr":
        yaml = pytest.importorskip("yaml")
        # The keys that Zephyr's scripts/zephyr_module.py allows here.
        module = yaml.safe_load((out / "zephyr" / "module.yml").read_text())
        assert set(module) <= {"name", "build"} and set(module["build"]) <= {"cmake", "kconfig"}
        assert (out / module["build"]["cmake"] / "CMakeLists.txt").is_file()
        assert (out / module["build"]["kconfig"]).read_text().startswith("config FRONT_DOOR\n\tbool ")


def test_a_bad_prefix_flavour_or_folder_is_refused(tmp_path, library):
    for prefix in ("9lives", "Front", "a-b", "x" * 40, "int", "_a", "a__b", ""):
        with pytest.raises(KwsError, match="prefix"):
            export_library([TINY], tmp_path / "x", "cmake", prefix)
    with pytest.raises(KwsError, match="no library flavour"):
        export_library([TINY], tmp_path / "x", "bazel")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(KwsError, match="not replaced"):
        export_library([TINY], mine, "cmake")
    assert (mine / "thesis.txt").read_text() == "years of work"
    assert (library / MARK).is_file()


def test_the_verb_says_what_it_made(tmp_path):
    out = tmp_path / "lib"
    arguments = ["export", str(TINY), "--library", "cmake", "--prefix", "p", "--out", str(out), "--json"]
    done = CliRunner().invoke(build_app(), arguments)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout[done.stdout.index("{") :])
    assert told["prefix"] == "p" and (out / "src" / "p.h").is_file() and len(told["files"]) <= MAX_FILES
