"""Runs compiled plans on this machine: the emitted C and the firmware's kernels, built with the host's compiler."""

from __future__ import annotations

import ctypes
import os
import shutil
import struct
import subprocess
import tempfile
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from model_pipeline import native
from model_pipeline.compiler.emitter import emit
from model_pipeline.compiler.ir import DTYPES
from model_pipeline.compiler.program import Program
from model_pipeline.errors import CheckFailed, KwsError
from model_pipeline.native import host_compiler, run_compiler

KERNELS = (native.FIRMWARE / "core" / "nn", native.FIRMWARE / "core" / "nn" / "fast")
DRIVER = Path(__file__).with_name("host_driver.c")
WARNINGS = ("-std=c11", "-Wall", "-Wextra", "-Werror")
SANITIZE = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
PLAIN = ("-O2", "-fPIC")


class HostProgram:
    """One compiled model of a `HostPrograms`."""

    def __init__(self, owner: HostPrograms, number: int, program: Program) -> None:
        self._owner = owner
        self._number = number
        self.program = program

    def run(self, inputs: np.ndarray) -> np.ndarray:
        """Runs the model on each input in turn.

        Args:
            inputs: [n, …input shape without its batch of 1…] or [n, input elements], of the input's type (int8 as a
                rule).

                With several inputs: int8 [n, bytes of all], one after the other in the model's order.

        Returns:
            [n, output elements], of the output's type; with several outputs int8 [n, bytes of all].

        Raises:
            KwsError: another dtype or size.
            CheckFailed: a sanitizer stopped the program (with its first line).
        """
        outputs = self._owner.run(self._number, self._checked(inputs))
        return outputs.view(DTYPES[self.program.output.type]) if len(self.program.graph.outputs) == 1 else outputs

    def layers(self, inputs: np.ndarray) -> list[np.ndarray]:
        """The (first) results of all calls for one input, in order, each in its tensor's shape and type. Not when
        sanitized."""
        return self.traced(inputs)[0]

    def traced(self, inputs: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """`layers` and, of the same run, the bytes of the outputs (int8)."""
        return self._owner.traced(self._number, self._checked(inputs))

    def reset(self) -> None:
        """Forgets streaming state."""
        self._owner.reset(self._number)

    def _checked(self, inputs: np.ndarray) -> np.ndarray:
        many = len(self.program.graph.inputs) > 1
        kind = np.dtype(np.int8) if many else DTYPES[self.program.input.type]
        size = self.program.input_bytes // kind.itemsize
        if inputs.dtype != kind:
            raise KwsError(f"the model takes {kind.name} values, not {inputs.dtype}")
        if inputs.size % size:
            raise KwsError(f"{inputs.size} values are not a multiple of the model's input of {size}")
        return np.ascontiguousarray(inputs).view(np.int8).reshape(-1, self.program.input_bytes)


class HostPrograms:
    """Several programs in one library (or, sanitized, in one executable): building one is slow, many are not."""

    def __init__(self, programs: Sequence[Program], *, sanitize: bool = False, flags: Sequence[str] = ()) -> None:
        self.sanitize = sanitize
        self.flags = (*(SANITIZE if sanitize else PLAIN), *flags)
        self._programs = list(programs)
        self._folder = tempfile.mkdtemp(prefix="kws-host-")
        self._finalizer = weakref.finalize(self, shutil.rmtree, self._folder, True)
        self._target = self._build(Path(self._folder))
        if not sanitize:
            self._library = ctypes.CDLL(str(self._target))
            self._finalizer()  # what is loaded needs no file, and so not even a kill leaves one
            self._library.kws_host_run.argtypes = [ctypes.c_uint32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
            self._library.kws_host_run.restype = None
            self._library.kws_host_set_trace.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
            self._library.kws_host_set_trace.restype = None
            self._library.kws_host_reset.argtypes = [ctypes.c_uint32]
            self._library.kws_host_reset.restype = None
            for program in self.programs:
                program.reset()

    @property
    def programs(self) -> list[HostProgram]:
        """Each keeps all of this alive; nothing here refers to them, so that the folder goes with the last of them: a
        cycle would leave it to the collector, which a worker process need not live to see."""
        return [HostProgram(self, n, p) for n, p in enumerate(self._programs)]

    def run(self, number: int, inputs: np.ndarray) -> np.ndarray:
        """See `HostProgram.run`; ``inputs`` int8 [n, input bytes]."""
        outputs = np.empty((len(inputs), self._programs[number].output_bytes), np.int8)
        if not self.sanitize:
            self._library.kws_host_run(number, inputs.ctypes.data, outputs.ctypes.data, len(inputs))
            return outputs
        stdin = struct.pack("<II", number, len(inputs)) + inputs.tobytes()
        done = subprocess.run([str(self._target)], input=stdin, capture_output=True, check=False)
        if done.returncode:
            report = [line for line in done.stderr.decode(errors="replace").splitlines() if "rror" in line]
            text = report[0] if report else f"exit code {done.returncode}"
            raise CheckFailed(f"the compiled model failed under sanitizers: {text}")
        if len(done.stdout) != outputs.nbytes:
            raise CheckFailed(f"the compiled model gave {len(done.stdout)} bytes, {outputs.nbytes} were expected")
        return np.frombuffer(done.stdout, np.int8).reshape(outputs.shape)

    def traced(self, number: int, inputs: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """See `HostProgram.traced`."""
        if self.sanitize:
            raise ValueError("a sanitized program gives no layers")
        program = self._programs[number]
        outputs = [call.outputs[0] for call in program.calls]
        trace = np.empty(sum(t.bytes for t in outputs), np.int8)
        self._library.kws_host_set_trace(trace.ctypes.data, trace.nbytes)
        try:
            result = self.run(number, inputs[:1])[0]
        finally:
            self._library.kws_host_set_trace(None, 0)
        ends = np.cumsum([t.bytes for t in outputs])
        parts = [trace[e - t.bytes : e].view(DTYPES[t.type]) for t, e in zip(outputs, ends, strict=True)]
        return [part.reshape(t.shape) for t, part in zip(outputs, parts, strict=True)], result

    def reset(self, number: int) -> None:
        """See `HostProgram.reset`."""
        if not self.sanitize:
            self._library.kws_host_reset(number)

    def _build(self, folder: Path) -> Path:
        compiler = host_compiler()
        sources = [str(DRIVER)]
        table, includes = [], []
        for number, program in enumerate(self._programs):
            prefix = f"m{number}"
            files = emit(program, prefix, separate=self.sanitize)
            (folder / f"{prefix}.h").write_text(files["model_aot.h"], encoding="utf-8")
            (folder / f"{prefix}.c").write_text(files["model_aot.c"], encoding="utf-8")
            sources.append(str(folder / f"{prefix}.c"))
            upper = prefix.upper()
            includes += [f'#include "{prefix}.h"', f"static _Alignas(8) int8_t {prefix}_arena[{upper}_ARENA_BYTES];"]
            if program.single:
                put, take = f"{prefix}_put(void *arena, const int8_t *in)", f"{prefix}_take(void *arena, int8_t *out)"
                includes.append(f"static void {put} {{ memcpy({prefix}_input(arena), in, {program.input_bytes}); }}")
                includes.append(
                    f"static void {take} {{ memcpy(out, {prefix}_output(arena), {program.output_bytes}); }}"
                )
            sizes = f"{program.input_bytes}, {program.output_bytes}"
            names = ", ".join(f"{prefix}_{name}" for name in ("put", "invoke", "take", "reset"))
            table.append(f"  {{{names}, {sizes}, {prefix}_arena}},")
        largest = max(max(p.input_bytes, p.output_bytes) for p in self._programs)
        includes.append(f"#define HOST_LARGEST {largest}")
        lines = [*includes, "static const host_model_t models[] = {", *table, "};", ""]
        (folder / "kws_host_models.h").write_text("\n".join(lines), encoding="utf-8")
        target = folder / ("program" if self.sanitize else "program.so")
        command = [compiler, *WARNINGS, *self.flags, "-DKWS_AOT_TRACE=kws_host_trace", f"-I{folder}"]
        command += [f"-I{k}" for k in KERNELS]
        command += ["-DKWS_HOST_MAIN"] if self.sanitize else ["-shared"]
        command += [*sources, *kernel_objects(compiler, self.flags), "-o", str(target)]
        run_compiler(command, f"{compiler} could not build the compiled model")
        return target


def load_host(program: Program, sanitize: bool = False) -> HostProgram:
    """Builds the emitted code for this machine."""
    return HostPrograms([program], sanitize=sanitize).programs[0]


def kernel_sources() -> list[Path]:
    """The C files of all kernels; those that a plan does not call are left out by the linker."""
    return [source for folder in KERNELS for source in sorted(folder.glob("*.c"))]


def kernel_objects(compiler: str, flags: Sequence[str]) -> list[str]:
    """The kernels as object files, built once for each content and set of flags."""
    command = [compiler, *WARNINGS, *flags, "-c"]

    def one(source: Path) -> str:
        def make(target: Path) -> None:
            run_compiler([*command, str(source), "-o", str(target)], f"{compiler} could not build {source.name}")

        return str(native.built(f"native/{source.stem}.o", command, [source, *native.headers(KERNELS)], make))

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return list(pool.map(one, kernel_sources()))
