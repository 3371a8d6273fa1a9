"""The kws command as a user meets it."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import typer.main
from typer.testing import CliRunner

from host_tools import cli, deferred, verbs
from host_tools.check import selftest
from host_tools.check.device import Device, Reference
from host_tools.image.build import DEFAULT_MODEL
from host_tools.link.session import Link
from host_tools.verbs import evaluate
from model_pipeline import native
from model_pipeline.data.audio import write_wav
from model_pipeline.errors import CheckFailed
from tests.support.fake_device import FakeFirmware, Faults, listening

VERBS = sorted(m.name for m in pkgutil.iter_modules(verbs.__path__) if not m.name.startswith("_"))


def kws(*arguments: object, capfd: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of one call in this process."""
    capfd.readouterr()
    with pytest.raises(SystemExit) as ended:
        cli.main([str(a) for a in arguments])
    out, err = capfd.readouterr()
    code = ended.value.code
    return (code if isinstance(code, int) else 0), out, err


def _commands() -> list[list[str]]:
    """Every verb, with the verbs below it."""
    import typer.main

    found: list[list[str]] = []

    def walk(command: object, path: list[str]) -> None:
        below = getattr(command, "commands", None)
        if below:
            for name, inner in below.items():
                walk(inner, [*path, name])
        else:
            found.append(path)

    walk(typer.main.get_command(cli.build_app()), [])
    return found


def test_every_verb_file_is_a_verb() -> None:
    assert {path[0] for path in _commands()} == set(VERBS)


@pytest.mark.parametrize("path", _commands(), ids=" ".join)
def test_help_has_an_example(path: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    code, out, _ = kws(*path, "--help", capfd=capfd)
    assert code == 0
    assert "Example" in out
    assert f"kws {' '.join(path)}" in " ".join(re.sub(r"[│╭╮╰╯─]", " ", out).split())


@pytest.mark.parametrize("path", _commands(), ids=" ".join)
def test_a_wrong_option_is_one_line_and_exit_code_2(path: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    code, out, err = kws(*path, "--no-such-option", capfd=capfd)
    assert code == 2
    assert out == ""
    lines = err.strip().splitlines()
    # The older typer that Flower wants says it in quotation marks.
    assert re.match(r"error: No such option:? '?--no-such-option", lines[0])
    assert lines[1:] == [f"  try: kws {' '.join(path)} --help"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nonsense"], 2, "No such command 'nonsense'"),
        (["bench"], 2, "either --port URL or --board ID"),
        (["bench", "--port", "x", "--board", "y"], 2, "either --port URL or --board ID"),
        (["bench", "--rounds", "0", "--board", "host"], 2, "--rounds"),
        (["bench", "--port", "/dev/ttyNotThere"], 4, "there is no port /dev/ttyNotThere"),
        (["stream", "--port", "x"], 2, "one of --data DIR, --wav FILE and --mic"),
        (["stream", "--port", "socket://127.0.0.1:1", "--data", "d"], 4, "can't open socket://127.0.0.1:1"),
        (["stream", "--board", "host", "--wav", "/nowhere.wav"], 2, "nowhere.wav"),
        (["report", "/nowhere"], 2, "there is no /nowhere"),
        (["run", "--config", "nowhere"], 2, "no configuration nowhere"),
        (["run", "--board", "nowhere"], 2, "nowhere"),
        (["run", "--engine", "nowhere"], 2, "engine"),
        (["monitor", "--port", "/dev/ttyNotThere"], 4, "there is no port"),
    ],
)
def test_a_users_mistake_is_one_line(
    arguments: list[str], code: int, words: str, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    if arguments[0] == "run":
        arguments = [*arguments, "--out", str(tmp_path)]
    got, out, err = kws(*arguments, capfd=capfd)
    assert words in err
    assert got == code
    assert out == ""
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "Traceback" not in err


def test_an_error_keeps_brackets_as_they_are(capfd: pytest.CaptureFixture[str]) -> None:
    _, _, err = kws("report", "/no[red]where[/red]", capfd=capfd)
    assert "/no[red]where[/red]" in err


def test_bench_prints_what_the_device_counts(capfd: pytest.CaptureFixture[str]) -> None:
    with listening(FakeFirmware()) as url:
        code, out, _ = kws("bench", "--port", url, "--rounds", "2", "--json", capfd=capfd)
    values = json.loads(out)
    assert code == 0
    assert values["ticks"]["name"] == "instructions"
    assert values["cost"]["inference"]["mean"] == 9_000_000


def test_bench_names_the_unit_for_people(capfd: pytest.CaptureFixture[str]) -> None:
    with listening(FakeFirmware(calibrated=False)) as url:
        _, out, _ = kws("bench", "--port", url, "--rounds", "1", capfd=capfd)
    assert "ticks of TIM2" in out
    assert "9,000,000" in out
    assert "instructions each" not in out


def test_monitor_shows_the_device(capfd: pytest.CaptureFixture[str]) -> None:
    with listening(FakeFirmware()) as url:
        code, out, _ = kws("monitor", "--port", url, "--seconds", "0.3", "--json", capfd=capfd)
    events = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [e["event"] for e in events[:2]] == ["HelloReply", "Info"]
    assert events[1]["labels"] == ["yes", "no", "unknown", "silence"]


def test_another_protocol_is_exit_code_4(capfd: pytest.CaptureFixture[str]) -> None:
    with listening(FakeFirmware(Faults(protocol=2))) as url:
        code, _, err = kws("bench", "--port", url, capfd=capfd)
    assert code == 4
    assert "protocol 2" in err and "speak 1" in err


def test_a_selftest_that_can_t_compare_the_model_has_failed() -> None:
    with listening(FakeFirmware()) as url, Link.open(url) as link:
        device = Device(link, Reference(DEFAULT_MODEL), frames=3)
        for check in (selftest.exact_inference, selftest.exact_stream, selftest.silence_and_noise):
            with pytest.raises(CheckFailed, match=r"not checked: the device runs model .*--model DIR"):
                check(device)


def test_data_info_needs_no_configuration(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for word, speakers in (("lamp", ("ann", "bob", "cleo")), ("door", ("ann", "dora"))):
        (tmp_path / word).mkdir()
        for speaker in speakers:
            write_wav(tmp_path / word / f"{speaker}_nohash_0.wav", np.full(16000, 100, np.int16))
    code, out, err = kws("data", "info", str(tmp_path), "--json", capfd=capfd)
    assert code == 0, err
    splits = json.loads(out)["splits"]
    assert sum(split["labels"]["lamp"] for split in splits.values()) == 3
    assert sum(split["labels"]["door"] for split in splits.values()) == 2
    judged = json.loads(out)["judged"]
    for split, counts in splits.items():  # no other words are here; of silence as many as of a mean keyword
        assert judged[split]["lamp"] == counts["labels"]["lamp"] and judged[split]["unknown"] == 0
        assert judged[split]["silence"] == -(-counts["clips"] // 2)
    _, out, _ = kws("data", "info", str(tmp_path), capfd=capfd)
    assert "judged on" in out and "of them silence" in out
    (tmp_path / "dataset.json").write_text('{"keywords": ["lamp"]}')
    _, out, _ = kws("data", "info", str(tmp_path), "--json", capfd=capfd)
    assert "door" not in json.loads(out)["splits"]["training"]["labels"], "what it was made for comes first"
    code, _, err = kws("data", "info", str(tmp_path), "--config", "plain", capfd=capfd)
    assert code == 2 and "no clips of yes" in err


def test_a_wrong_setting_of_a_run_is_refused_before_its_first_step(capfd: pytest.CaptureFixture[str]) -> None:
    code, _, err = kws("run", "--set", "train.epoch=5", "--out", "/nowhere/at/all", capfd=capfd)
    assert code == 2
    assert "did you mean train.epochs?" in err


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_at_once_with_130(stop: signal.Signals) -> None:
    with listening(FakeFirmware()) as url:
        process = subprocess.Popen(
            [sys.executable, "-m", "host_tools.cli", "monitor", "--port", url, "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout
        process.stdout.readline()
        started = time.monotonic()
        process.send_signal(stop)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.strip() == "stopped"
    assert time.monotonic() - started < 20


def test_no_host_verb_imports_tensorflow() -> None:
    """Building the whole command must stay light: `kws --help` in a tenth of TensorFlow's import time."""
    code = (
        "import sys\nfrom host_tools import cli\nfrom host_tools.image import targets\n"
        "from host_tools.link import stream\nfrom host_tools.measure import device\n"
        "from host_tools.report import page\n"
        "from host_tools.run import job\n"
        "from host_tools.search import results\ncli.build_app()\n"
        "heavy = {'tensorflow', 'keras', 'tflite_micro', 'librosa'} & set(sys.modules)\nprint(sorted(heavy))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "100"}
    )
    assert done.stdout.strip() == "[]"


# What `kws --help` has no use for: it is to be there at once (0.4 s on a machine of two slow cores).
NOT_FOR_HELP = {"pydantic", "numpy", "scipy", "platformdirs", "yaml", "jinja2", "serial", "markdown_it", "pygments"}
NOT_FOR_HELP |= {"rich.markdown", "rich.traceback", "rich.progress", "rich.live", "hashlib", "zipfile", "asyncio"}
NOT_FOR_HELP |= {"host_tools.boards", "model_pipeline.files", "model_pipeline.native", "model_pipeline.config"}


def test_help_says_the_same_without_importing_the_verbs() -> None:
    """And so no verb's imports are waited for, by `--help` or by another verb."""
    told = [CliRunner().invoke(cli.build_app(only), ["--help"]) for only in (None, "")]
    # typer lists groups apart from verbs, which have one place each where nothing is imported.
    lines = [sorted(result.output.splitlines()) for result in told]
    assert told[0].exit_code == 0 and len(lines[0]) > 30 and lines[0] == lines[1]
    for arguments, alone in ((["--help"], set()), (["version"], {"version"})):
        code = (
            "import sys\nfrom host_tools import cli\n"
            f"try: cli.main({arguments})\nexcept SystemExit: pass\n"
            "print('imported', *(m.rpartition('.')[2] for m in sys.modules if m.startswith('host_tools.verbs.')))\n"
            f"print('heavy', *sorted({NOT_FOR_HELP} & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        *_, imported, heavy = done.stdout.splitlines()
        assert set(imported.split()[1:]) == alone
        assert arguments != ["--help"] or heavy == "heavy"


def test_a_deferred_class_answers_as_the_real_one_and_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should typer come to draw what it does not draw today, it is drawn as ever."""
    (tmp_path / "drawn.py").write_text(
        "class Text:\n    name = 'plain'\n"
        "    def __init__(self, text, style=''): self.text = text + style\n"
        "    @classmethod\n    def of(cls, text): return cls(text, '!')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with deferred.classes({"drawn": "Text"}):
        from drawn import Text  # type: ignore[import-not-found]

        assert "Text" in str(Text | int)  # an annotation
    assert "drawn" not in sys.modules
    assert (Text("a", style="b").text, Text.of("a").text, Text.name) == ("ab", "a!", "plain")
    with deferred.classes({"drawn": "Text"}):  # imported by now, and so not stood in for
        import drawn  # type: ignore[import-not-found]
    assert sys.modules.pop("drawn") is drawn
    with pytest.raises(AttributeError):
        Text.absent  # noqa: B018


def test_every_verb_is_a_function_of_its_file_in_one_panel() -> None:
    """Only `version` stands outside: it is about kws itself."""
    panels = [verb for names in cli.PANELS.values() for verb in names.split()]
    files = [module.name for module in pkgutil.iter_modules(verbs.__path__)]
    assert len(panels) == len(set(panels)) and set(panels) == set(files) - {"version"}
    for name in files:
        module = importlib.import_module(f"{verbs.__name__}.{name}")
        function = getattr(module, cli.function_name(name), None)
        assert hasattr(module, "GROUP") or (callable(function) and module.EXAMPLE.startswith("Example: "))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (("M", "--data", "D"), ("clips", "M", "--data", "D")),
        (("--snr", "5", "M", "-d", "D"), ("clips", "--snr", "5", "M", "-d", "D")),
        (("M", "--streaming", "--negative", "N"), ("stream", "M", "--negative", "N")),
        (("--near", "M", "--word", "cat"), ("near", "M", "--word", "cat")),
    ],
)
def test_the_old_spelling_of_evaluate_means_the_new_one(old: tuple[str, ...], new: tuple[str, ...]) -> None:
    group = typer.main.get_command(evaluate.GROUP)
    found = []
    for arguments in (old, new):
        context = group.make_context("evaluate", list(arguments))
        found.append((context._protected_args, context.args))
    assert found[0] == found[1] and found[0][0] == [new[0]]


def test_without_the_project_only_the_version_works(tmp_path: Path, capfd, monkeypatch) -> None:
    """As in a wheel, which holds no firmware."""
    monkeypatch.setattr(native, "FIRMWARE", tmp_path / "firmware")
    assert kws("version", capfd=capfd)[0] == 0
    code, out, err = kws("compile", "model.tflite", capfd=capfd)
    assert (code, out) == (3, "")
    assert "installed without its project" in err and "pip install -e" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("evaluate", "clips", "m", "--data", "d", "--minimum", "nan"),
        ("evaluate", "stream", "m", "--data", "d", "--snr", "5", "--snr", "-inf"),
        ("calibrate", "m", "--data", "d", "--rate", "nan"),
        ("calibrate", "m", "--data", "d", "--response", "inf"),
    ],
)
def test_no_option_takes_nan_or_inf(arguments: tuple[str, ...], capfd: pytest.CaptureFixture[str]) -> None:
    """Every check of a range lets nan through: accuracy < nan is false, so --minimum nan would always pass."""
    code, _, err = kws(*arguments, capfd=capfd)
    assert code == 2 and arguments[-2][2:] in err  # which of us says so depends on the version of typer


@pytest.mark.parametrize(
    ("arguments", "said", "hint"),
    [
        (["export", "NONE", "--out", "out"], "NONE", "kws"),
        (["export", "MODEL", "--also", "NONE", "--out", "out"], "NONE", "kws"),
        (["export", "NONE", "--library", "cmake", "--out", "out"], "NONE", "kws"),
        (["calibrate", "MODEL", "--data", "NONE"], "no data folder NONE", "kws data synth"),
        (
            ["calibrate", "MODEL", "--data", "DATA", "--negative", "NONE"],
            "no folder NONE with recordings",
            "librispeech",
        ),
        (["look", "NONE", "--data", "DATA", "--negative", "DATA"], "NONE", "kws"),
        (["evaluate", "clips", "MODEL", "--data", "NONE"], "no data folder NONE", "kws data synth"),
        (["evaluate", "clips", "MODEL"], "no --data DIR", "kws data synth"),
        (["evaluate", "stream", "MODEL"], "nothing to listen to", "--negative DIR"),
        (["evaluate", "stream", "MODEL", "--negative", "NONE"], "no folder NONE with recordings", "librispeech"),
        (["data", "import", "NONE", "--out", "out"], "no folder NONE", "one folder a word"),
        (["record", "hallo", "--folder", "DATA"], "is not a project", "--folder PROJECT"),
    ],
)
def test_what_is_not_there_is_told_before_any_work(
    arguments: list[str], said: str, hint: str, tmp_path: Path, monkeypatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "DATA" / "yes").mkdir(parents=True)
    (tmp_path / "DATA" / "yes" / "anna_nohash_0.wav").write_bytes(b"not read")
    places = {"MODEL": str(native.FIRMWARE / "tiny")}
    code, _, err = kws(*(places.get(word, word) for word in arguments), capfd=capfd)
    problem, tried = err.splitlines()
    assert code == 2 and problem.startswith("error: ") and said in problem and hint in tried
    assert [path.name for path in tmp_path.iterdir()] == ["DATA"]
