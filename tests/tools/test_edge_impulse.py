"""kws edgeimpulse against a project on this machine: what goes up and down, and everything that can go wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

from host_tools.cli import main
from host_tools.edgeimpulse import model as models
from host_tools.edgeimpulse.address import Key, Server
from host_tools.edgeimpulse.api import Client, _header
from host_tools.edgeimpulse.download import download, stage_of
from host_tools.edgeimpulse.http import Http
from host_tools.edgeimpulse.model import fetch_model, network_of
from host_tools.edgeimpulse.profile import theirs
from host_tools.edgeimpulse.upload import clips_of, record_of, upload
from host_tools.edgeimpulse.wire import retry_after
from model_pipeline.config import DataConfig
from model_pipeline.data.dataset import Dataset
from model_pipeline.errors import CheckFailed, KwsError
from model_pipeline.manifest import load_any_manifest, load_manifest
from tests.conftest import ROOT
from tests.support import fake_edge_impulse, tiny_data
from tests.support.fake_edge_impulse import KEY, PROJECT, FakeEdgeImpulse
from tests.support.tflite_builder import ds_cnn

FILES = "/api/(training|testing)/files"


@pytest.fixture
def fake() -> Iterator[FakeEdgeImpulse]:
    with fake_edge_impulse.running() as server:
        yield server


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def client(fake: FakeEdgeImpulse, waits: list[float]) -> Iterator[Client]:
    with Client(fake.environment, wait=waits.append) as found:
        yield found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_data.make(tmp_path_factory.mktemp("ei") / "data", speakers=5, words=("rise", "fall"))


@pytest.fixture
def folder(data: Path, tmp_path: Path) -> Path:
    """A copy, beside which the record lies."""
    import shutil

    shutil.copytree(data, tmp_path / "mine")
    return tmp_path / "mine"


def wav(seconds: float = 0.1, seed: int = 1) -> bytes:
    import io

    import numpy as np

    out = io.BytesIO()
    noise = np.random.default_rng(seed).integers(-9000, 9000, int(16000 * seconds)).astype(np.int16)
    soundfile.write(out, noise, 16000, format="WAV", subtype="PCM_16")
    return out.getvalue()


def kws(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["edgeimpulse", *map(str, arguments)])
    return int(ended.value.code or 0)


@pytest.fixture
def env(fake: FakeEdgeImpulse, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in fake.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.setattr(Http.__init__, "__kwdefaults__", {"pause": 0.0, "wait": lambda seconds: None})


# --- up


def test_recordings_go_up_with_label_speaker_and_split(fake: FakeEdgeImpulse, client: Client, folder: Path) -> None:
    result = upload(client, folder)
    assert (result.sent, result.before, result.known, result.refused, result.clips) == (10, 0, 0, 0, 10)
    assert result.labels == {w: {"training": 3, "validation": 1, "testing": 1} for w in ("fall", "rise")}
    at = {s.metadata["kws_file"] + s.label: s for s in fake.samples}
    for clip in clips_of(folder)[0]:
        sample = at[Path(clip.name).name + clip.name.split("/")[0]]
        assert sample.category == ("testing" if clip.split == "testing" else "training")
        assert sample.metadata["split"] == clip.split and sample.metadata["speaker"] == clip.speaker
        assert sample.wav == (folder / clip.name).read_bytes() and sample.name == Path(clip.name).name
    for one in ("s000", "s001"):  # nobody is in training and testing
        assert len({s.category for s in fake.samples if s.metadata["speaker"] == one}) == 1


def test_what_went_up_is_not_sent_again(fake: FakeEdgeImpulse, client: Client, folder: Path) -> None:
    upload(client, folder)
    before = len(fake.requests)
    result = upload(client, folder)
    assert (result.sent, result.before) == (0, 10)
    assert fake.requests[before:] == ["GET /v1/api/projects"]  # the record tells
    record_of(folder, PROJECT).unlink()
    assert upload(client, folder).before == 10  # and without it, the project
    fake.samples.clear()
    assert upload(client, folder).before == 10
    assert upload(client, folder, fresh=True).sent == 10
    assert max(fake.done.values()) == 2


def test_what_the_project_has_from_elsewhere_is_known(fake: FakeEdgeImpulse, client: Client, folder: Path) -> None:
    fake.add("x", "training", "rise", (folder / "rise/s002_nohash_0.wav").read_bytes())
    result = upload(client, folder)
    assert (result.sent, result.known) == (9, 1)
    assert upload(client, folder).before == 10


def test_the_same_sound_twice_goes_up_once(fake: FakeEdgeImpulse, client: Client, folder: Path) -> None:
    (folder / "fall/copy_nohash_0.wav").write_bytes((folder / "rise/s002_nohash_0.wav").read_bytes())
    result = upload(client, folder, jobs=1)
    assert result.same == 1 and len(fake.samples) == 10 and "s002" in result.first_same[0]


def test_other_formats_go_up_as_wav_and_what_cant_be_read_is_named(
    fake: FakeEdgeImpulse, client: Client, folder: Path
) -> None:
    samples, _ = soundfile.read(folder / "rise/s003_nohash_0.wav", dtype="int16")
    soundfile.write(folder / "rise/anna_nohash_1.flac", samples[:8000], 16000)
    (folder / "rise/bad_nohash_0.wav").write_bytes(b"RIFF\0\0\0\0WAVE")
    result = upload(client, folder)
    assert result.sent == 11 and result.refused == 1 and result.first_refused[0].file == "rise/bad_nohash_0.wav"
    assert fake.samples[-1].wav[:4] == b"RIFF" and "anna_nohash_1.wav" in {s.name for s in fake.samples}


def test_words_can_be_chosen(fake: FakeEdgeImpulse, client: Client, folder: Path) -> None:
    assert upload(client, folder, words=["Rise"]).sent == 5
    with pytest.raises(KwsError, match="no clips of nope"):
        upload(client, folder, words=["nope"])


@pytest.mark.parametrize("label", ["yes", "hey robot", "größe", "100 %", "a&b", " x", "日本", "x\ny", "<b>", "[/]"])
def test_any_label_arrives_as_it_is(fake: FakeEdgeImpulse, client: Client, label: str) -> None:
    assert _header(label).isascii() and _header(label).isprintable()
    assert client.send("training", 'a"b\r\nx/é.wav', wav(), label, {"speaker": "ä\n"}).state == "taken"
    assert fake.samples[0].label == label and fake.samples[0].metadata == {"speaker": "ä\n"}
    assert fake.samples[0].name == 'a"b\r\nx/é.wav'


def test_a_line_that_is_cut_after_the_project_took_it_is_asked_again_and_taken_once(
    fake: FakeEdgeImpulse, client: Client, folder: Path, waits: list[float]
) -> None:
    fake.fault(FILES, "mute", times=3)
    result = upload(client, folder, jobs=1)
    assert len(fake.samples) == 10 and result.refused == 0 and result.sent + result.known == 10
    assert result.known and sum(fake.done.values()) == 13
    assert {s.wav for s in fake.samples} == {(folder / c.name).read_bytes() for c in clips_of(folder)[0]}


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_servers_fault_is_waited_for(
    fake: FakeEdgeImpulse, client: Client, folder: Path, waits: list[float], status: int
) -> None:
    fake.fault(FILES, "status", status=status, times=4)
    assert upload(client, folder, jobs=1).sent == 10 and waits == [1, 2, 4, 8]


def test_429_waits_as_long_as_the_server_says(
    fake: FakeEdgeImpulse, client: Client, folder: Path, waits: list[float]
) -> None:
    fake.fault(FILES, "status", status=429, headers={"Retry-After": "17"}, times=2)
    assert upload(client, folder, jobs=1).sent == 10 and waits == [17, 17]


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [("0", 0, 0), ("120", 120, 120), ("-5", 0, 0), ("x", 0, 0), ("9" * 500, 1e8, 1e9), ("١٢", 0, 0), ("1.5", 0, 0)],
)
def test_retry_after_is_seconds_or_a_date(text: str, least: float, most: float) -> None:
    assert least <= retry_after(text) <= most


def test_retry_after_as_a_date() -> None:
    import email.utils

    assert 28 <= retry_after(email.utils.formatdate(time.time() + 30, usegmt=True)) <= 30
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0


def test_longer_than_two_minutes_nobody_waits(fake: FakeEdgeImpulse, client: Client, waits: list[float]) -> None:
    fake.fault("/v1/api/projects", "status", status=429, headers={"Retry-After": "121"})
    with pytest.raises(KwsError, match="no requests for 121 s") as caught:
        client.project()
    assert caught.value.exit_code == 4 and not waits


def test_after_five_tries_it_ends(fake: FakeEdgeImpulse, client: Client, waits: list[float]) -> None:
    fake.fault("/v1/api/projects", "status", status=500, body=b"<html>sorry</html>", times=9)
    with pytest.raises(KwsError, match=r"/api/projects: the server says 500$") as caught:
        client.project()
    assert caught.value.exit_code == 4 and waits == [1, 2, 4, 8] and len(fake.requests) == 5


def test_a_refused_recording_is_named_and_the_others_go_up(
    fake: FakeEdgeImpulse, env: None, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.refuse = lambda name: f"too \x1b[31mloud {KEY}" if name == "s003_nohash_0.wav" else ""
    assert kws("upload", folder) == 1
    out, err = capsys.readouterr()
    assert "rise/s003_nohash_0.wav: too \\x1b[31mloud (the key)" in out and "2 of 10 recordings did not go up" in err
    fake.refuse = lambda name: ""
    assert kws("upload", folder) == 0 and len(fake.samples) == 10


def test_twenty_refusals_in_a_row_end_it(fake: FakeEdgeImpulse, client: Client, tmp_path: Path) -> None:
    many = tiny_data.make(tmp_path / "many", speakers=30, words=("rise",))
    fake.refuse = lambda name: "The project is full"
    with pytest.raises(CheckFailed, match=r"20 recordings in a row.*The project is full"):
        upload(client, many, jobs=1)
    assert sum("files" in request for request in fake.requests) == 20


def test_a_dry_run_asks_nobody(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("EI_API_KEY", raising=False)
    assert kws("upload", folder, "--dry-run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["labels"]["rise"] == {"testing": 1, "training": 3, "validation": 1}


# --- a kill at any time


def _child(fake: FakeEdgeImpulse, *arguments: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, **fake.environment, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", "from host_tools.cli import main; main()", "edgeimpulse", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=ROOT)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_kill_in_the_middle_loses_nothing_and_sends_nothing_twice(
    fake: FakeEdgeImpulse, client: Client, folder: Path, how: signal.Signals
) -> None:
    """The sixth recording is taken, and the answer never comes."""
    taken = fake._take

    def slow(*arguments: object) -> object:
        answer = taken(*arguments)  # type: ignore[arg-type]
        if len(fake.samples) >= 6:
            fake.stop.wait(60)
        return answer

    fake._take = slow  # type: ignore[method-assign]
    child = _child(fake, "upload", str(folder), "--jobs", "2")
    while len(fake.samples) < 6 and child.poll() is None:
        time.sleep(0.02)
    child.send_signal(how)
    _, err = child.communicate(timeout=60)
    assert child.returncode == (-9 if how == signal.SIGKILL else 130), err.decode()
    assert b"Traceback" not in err and KEY.encode() not in err
    fake._take = taken  # type: ignore[method-assign]
    result = upload(client, folder)
    assert result.sent + result.before + result.known == 10 and result.known == 0
    assert len(fake.samples) == 10 and set(fake.done.values()) == {1}


def test_a_record_whose_last_line_is_half_is_gone_on_with(fake: FakeEdgeImpulse, client: Client, folder: Path) -> None:
    upload(client, folder)
    record = record_of(folder, PROJECT)
    whole = record.read_bytes()
    for cut in (1, 30, len(whole.splitlines()[-1])):  # more would be what no kill takes away: each line is on the disk
        record.write_bytes(whole[:-cut])
        assert upload(client, folder).before == 10 and set(fake.done.values()) == {1}
    assert record.read_bytes().endswith(b"\n")


@pytest.mark.parametrize(
    "content", [b"hello\n", b'{"format": 1, "project": 1, "server": "x"}\n', b"\xff\n", b"[]\n", b'{"format": 1}\n{}\n']
)
def test_what_is_no_record_of_this_project_is_left_alone(
    fake: FakeEdgeImpulse, client: Client, folder: Path, content: bytes
) -> None:
    record_of(folder, PROJECT).write_bytes(content)
    with pytest.raises(KwsError, match="is not the record of this project"):
        upload(client, folder)
    assert record_of(folder, PROJECT).read_bytes() == content and not fake.samples


# --- down


def test_up_and_down_again_is_the_same_data(
    fake: FakeEdgeImpulse, client: Client, folder: Path, tmp_path: Path
) -> None:
    upload(client, folder)
    result = download(client, tmp_path / "back")
    assert result.clips == 10 and result.project == PROJECT and not result.not_taken
    one, other = (Dataset.open(f, ["rise", "fall"], DataConfig()) for f in (folder, tmp_path / "back"))
    assert {(c.name, c.split, c.speaker) for c in one.speech} == {(c.name, c.split, c.speaker) for c in other.speech}
    for clip in one.speech:
        assert (folder / clip.name).read_bytes() == (tmp_path / "back" / clip.name).read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["back", "mine", f"mine.edgeimpulse-{PROJECT}.jsonl"]
    assert (
        json.loads((tmp_path / "back/dataset.json").read_text())["name"]
        == f"Edge Impulse project {PROJECT}: Front door"
    )
    download(client, tmp_path / "back")  # what we made is replaced


def test_other_peoples_recordings_keep_their_split_and_what_is_no_clip_is_counted(
    fake: FakeEdgeImpulse, client: Client, tmp_path: Path
) -> None:
    fake.add("yes.1a2b", "training", "yes", wav(0.5, 1))
    fake.add("yes.3c4d.wav", "testing", "yes", wav(0.5, 2))
    fake.add("hum", "training", "noise", wav(3.0, 3))
    fake.add("off", "training", "yes", wav(0.5, 4), is_disabled=True)
    fake.add("cat", "training", "yes", wav(0.5, 5), chart_type="image")
    fake.add("both", "training", "yes", wav(0.5, 6), labels=["yes", "no"])
    fake.add("none", "training", " ", wav(0.5, 7))
    fake.add("motion", "training", "yes", b'{"success": false, "error": "no audio axis"}')
    result = download(client, tmp_path / "out", noise="Noise")
    assert result.words == {"yes": 2} and result.noise_files == 1
    assert result.not_taken == {
        "disabled in the project": 1,
        "no sound but image": 1,
        "with several labels": 1,
        "without a label": 1,
        "no audio axis": 1,
    }
    clips = {c.split: c.name for c in Dataset.open(tmp_path / "out", ["yes"], DataConfig()).speech}
    assert set(clips) == {"training", "testing"} and "3c4d" in clips["testing"]


@pytest.mark.parametrize(
    ("name", "label", "speaker"),
    [
        ("../../../etc/passwd", "../../up", "../x"),
        ("/abs/olute", "a/b", "/"),
        ("x" * 300, "y" * 300, "z" * 300),
        ("a\0b\n\x1b[2J", "l\x1b]52;c;x\x07", "\u202e"),
        ("..", "..", ".."),
        ("", "_background_noise_x", ""),
        ("C:\\windows\\x.wav", "con", "nul"),
    ],
)
def test_hostile_names_stay_in_the_folder(
    fake: FakeEdgeImpulse, env: None, tmp_path: Path, name: str, label: str, speaker: str,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    fake.add(name, "training", label, wav(0.5, 1), metadata={"speaker": speaker, "kws_file": f"{speaker}_nohash_0.wav"})
    fake.add(name, "testing", label, wav(0.5, 2))
    fake.name = f"p\x1b[31m{label}"
    assert kws("download", "--out", tmp_path / "in/out") == 0
    text = "".join(capfd.readouterr())
    assert not set(text) & {"\x1b", "\x07", "\u202e"} and "Traceback" not in text
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert sum(p.suffix == ".wav" for p in files) == 2
    assert all(p.is_relative_to(tmp_path / "in/out") and len(p.name.encode()) < 255 for p in files)


def test_a_download_goes_on_with_what_came(
    fake: FakeEdgeImpulse, client: Client, tmp_path: Path, waits: list[float]
) -> None:
    for n in range(6):
        fake.add(f"n{n}", "training" if n < 4 else "testing", "yes", wav(0.5, n))
    fake.fault("/v1/api/4711/raw-data/102/wav", "cut", times=5)
    with pytest.raises(KwsError, match="broke in the middle") as caught:
        download(client, tmp_path / "out", jobs=1)
    assert caught.value.exit_code == 4 and not (tmp_path / "out").exists() and waits == [1, 2, 4, 8]
    assert not [p for p in tmp_path.rglob("*") if p.name.startswith(".n")]
    before = len(fake.requests)
    with Client(fake.environment, wait=waits.append) as again:
        assert download(again, tmp_path / "out").clips == 6
    fetched = [r for r in fake.requests[before:] if r.endswith("/wav")]
    assert 0 < len(fetched) < 6 and not stage_of(tmp_path / "out", PROJECT).exists()


def test_half_a_file_is_not_taken_for_a_whole_one(fake: FakeEdgeImpulse, client: Client, tmp_path: Path) -> None:
    """The length that HTTP tells is right; the file's own tells more."""
    fake.add("half", "training", "yes", wav(0.5)[:5000])
    with pytest.raises(KwsError, match=r"comes as half a file, 3 times") as caught:
        download(client, tmp_path / "out")
    assert caught.value.exit_code == 4 and sum(r.endswith("/wav") for r in fake.requests) == 3


def test_somebody_elses_folder_is_not_replaced(fake: FakeEdgeImpulse, env: None, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.txt").write_text("x")
    assert kws("download", "--out", tmp_path / "out") == 2
    assert kws("model", "--out", tmp_path / "out") == 2
    assert (tmp_path / "out/thesis.txt").read_text() == "x" and not fake.requests


def test_an_empty_project_says_so(client: Client, tmp_path: Path) -> None:
    with pytest.raises(KwsError, match="has no recordings"):
        download(client, tmp_path / "out")


def test_a_listing_of_several_pages_has_each_once(fake: FakeEdgeImpulse, client: Client, monkeypatch) -> None:
    monkeypatch.setattr("host_tools.edgeimpulse.api.PAGE", 3)
    for n in range(10):
        fake.add(f"n{n}", "training", "yes", b"x")
    assert sorted(s.id for s in client.samples(PROJECT)) == list(range(101, 111))


# --- a model


@pytest.fixture(scope="module")
def tflite() -> bytes:
    return ds_cnn(channels=8, blocks=1, labels=3)


@pytest.mark.parametrize("deployed", [False, True])
def test_a_network_comes_down_for_the_compiler(
    fake: FakeEdgeImpulse,
    client: Client,
    tmp_path: Path,
    tflite: bytes,
    deployed: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake.tflite, fake.archive = tflite, fake_edge_impulse.deployment(tflite)
    manifest = fetch_model(client, tmp_path / "m", deployed=deployed)
    assert load_any_manifest(tmp_path / "m") == manifest and manifest.labels == ["no", "noise", "unknown"]
    front_end = manifest.foreign_front_end
    assert (front_end.maker, front_end.kind, front_end.window_ms, front_end.stride_ms) == (
        "Edge Impulse",
        "MFCC",
        1000,
        500,
    )
    assert front_end.parameters == {"frame_length": "0.02", "num_cepstral": "13", "implementation_version": "4"}
    assert manifest.accuracy == {"edge_impulse_validation": 0.915}
    assert (tmp_path / "m/model.tflite").read_bytes() == tflite
    assert ("POST /v1/api/4711/jobs/build-ondevice-model" in fake.requests) == deployed
    with pytest.raises(SystemExit) as ended:
        main(["compile", str(tmp_path / "m/model.tflite")])
    assert not ended.value.code and "MACs" in capsys.readouterr().out
    fetch_model(client, tmp_path / "m", deployed=deployed)  # replaced


def test_no_samples_are_run_through_it(
    fake: FakeEdgeImpulse, env: None, tmp_path: Path, tflite: bytes, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.tflite, fake.dsp_type = tflite, "mfe"
    assert kws("model", "--out", tmp_path / "m") == 0
    assert "hears with Edge Impulse's MFE, which kws can't compute: no samples" in capsys.readouterr().out
    for command in (
        ["export", tmp_path / "m", "--out", tmp_path / "e"],
        ["evaluate", "clips", tmp_path / "m", "--data", data],
        ["build", "--board", "host", "--model", tmp_path / "m", "--out", tmp_path / "b"],
        ["stream", "--board", "host", "--model", tmp_path / "m", "--data", data],
    ):
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in command])
        err = capsys.readouterr().err
        assert ended.value.code == 2 and "Edge Impulse's MFE, which kws can't compute" in err, err
    with pytest.raises(KwsError, match="MFE"):
        load_manifest(tmp_path / "m")


def test_what_is_no_usable_network_is_said(
    fake: FakeEdgeImpulse, client: Client, tmp_path: Path, tflite: bytes
) -> None:
    fake.tflite = b"\0\0\0\0NOPE"
    with pytest.raises(KwsError, match=r"not a \.tflite"):
        fetch_model(client, tmp_path / "m")
    fake.tflite = tflite
    for labels in (["a"], ["a", "b", "c" * 99], ["a", "a", "b"], ["a", "b\x1b", "c"]):
        fake.labels = labels
        with pytest.raises(KwsError, match="can't be described") as caught:
            fetch_model(client, tmp_path / "m")
        assert "\x1b" not in str(caught.value)
    fake.types = ["float32"]
    with pytest.raises(KwsError, match="no int8 network"):
        fetch_model(client, tmp_path / "m")
    with pytest.raises(KwsError, match=r"none is block 9") as caught:
        fetch_model(client, tmp_path / "m", block=9)
    assert "5 (Classification)" in str(caught.value) and not (tmp_path / "m").exists()


def test_a_job_that_fails_tells_its_last_line_and_one_that_lasts_ends(
    fake: FakeEdgeImpulse, client: Client, tmp_path: Path, tflite: bytes, waits: list[float]
) -> None:
    fake.tflite = tflite
    fake.failing.add("build")
    with pytest.raises(KwsError, match=r"failed at Edge Impulse: Out of \\x1b\[31mmemory \(the key\)$") as caught:
        fetch_model(client, tmp_path / "m", deployed=True)
    assert caught.value.exit_code == 1
    fake.polls = 10**6
    with pytest.raises(KwsError, match="is not done after 30 s") as caught:
        fetch_model(client, tmp_path / "m", deployed=True, timeout=30)
    assert caught.value.exit_code == 4 and len(waits) < 40


def test_a_job_is_not_started_twice_where_it_is_not_known_whether_it_was(
    fake: FakeEdgeImpulse, client: Client, tmp_path: Path, tflite: bytes
) -> None:
    fake.tflite, fake.archive = tflite, fake_edge_impulse.deployment(tflite)
    start = "/v1/api/4711/jobs/build-ondevice-model"
    fake.fault(start, "mute")
    with pytest.raises(KwsError, match="the connection broke"):
        fetch_model(client, tmp_path / "m", deployed=True)
    assert len(fake.jobs) == 1
    fake.fault(start, "status", status=429)  # then it was not
    fetch_model(client, tmp_path / "m", deployed=True)
    assert len(fake.jobs) == 2


def test_a_deployments_network_is_found_or_refused(tflite: bytes) -> None:
    import io

    for as_array in (True, False):
        assert network_of(io.BytesIO(fake_edge_impulse.deployment(tflite, as_array=as_array))) == tflite
    whole = fake_edge_impulse.deployment(tflite)
    for broken in (
        whole[: len(whole) // 2],
        b"",
        b"PK\x03\x04" + b"\0" * 50,
        whole.replace(b"PK\x01\x02", b"PK\x01\x03"),
    ):
        with pytest.raises(KwsError, match="not a whole archive"):
            network_of(io.BytesIO(broken))
    with pytest.raises(KwsError, match="0 TensorFlow Lite networks"):
        network_of(io.BytesIO(fake_edge_impulse.deployment(b"x" * 100)))


def test_an_archive_that_unpacks_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    monkeypatch.setattr(models, "_MODEL_BYTES", 1000)
    with pytest.raises(KwsError, match="has 100,000 bytes"):
        network_of(io.BytesIO(fake_edge_impulse.deployment(b"\0" * 100_000, as_array=False)))
    monkeypatch.setattr(models, "_MODEL_BYTES", 64 << 20)
    many = io.BytesIO()  # each is small enough, all together are not
    with zipfile.ZipFile(many, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(9):
            archive.writestr(f"{number}.tflite", b"\0" * (8 << 20))
    with pytest.raises(KwsError, match=r"8\.tflite of the deployment has 8,388,608 bytes"):
        network_of(many)


@pytest.mark.parametrize("piece", [b"unsigned char a[", b"unsigned char a[] ", b"unsigned ", b"unsigned char a[]={0,"])
def test_a_source_that_only_looks_like_an_array_is_looked_at_once(piece: bytes) -> None:
    import io

    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tflite-model/x.h", piece * (4_000_000 // len(piece)))
    with pytest.raises(KwsError, match="0 TensorFlow Lite networks"):
        network_of(stream)  # without bounds in the pattern this took hours


@pytest.mark.parametrize("number", [0, -1, 10**13, 10**400, 1.5, "7"])
def test_a_number_that_names_files_is_bounded(fake: FakeEdgeImpulse, client: Client, number: object) -> None:
    fake.add("x", "training", "yes", b"").id = number  # it would be part of a path
    with pytest.raises(KwsError, match="id"):
        list(client.samples(PROJECT))


# --- estimates


def test_estimates_stand_beside_our_figures(
    fake: FakeEdgeImpulse, env: None, tmp_path: Path, tflite: bytes, monkeypatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import numpy as np

    from host_tools.edgeimpulse import profile
    from host_tools.measure.layers import PlanCost

    cost = PlanCost(np.zeros((1, 3), np.int8), 1_200_000.0, [], 30_000, 5_000, 500)
    monkeypatch.setattr(profile.layers, "measure", lambda *a, **k: cost)
    (tmp_path / "x.tflite").write_bytes(tflite)
    assert kws("profile", tmp_path / "x.tflite", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["instructions"] == 1_200_000 and result["macs"] > 0
    rows = {(r["source"], r["where"], r["engine"]): r for r in result["rows"]}
    low = rows["Edge Impulse", "Low-end MCU: Cortex-M0+ @ 40MHz", "EON"]
    assert (low["ms"], low["ram"], low["flash"]) == (301, 9000, 40000)
    ours = next(r for r in result["rows"] if "168 MHz" in r["where"])
    assert ours["ms"] == 10.0 and ours["ram"] == 5500 and ours["flash"] == 30000
    assert len(fake.jobs) == 2
    assert kws("profile", tmp_path / "x.tflite") == 0 and len(fake.jobs) == 2  # known already
    assert "301.00" in capsys.readouterr().out
    fake.own = {"fileName": "theirs.onnx"}
    assert kws("profile", tmp_path / "x.tflite") == 2 and fake.own == {"fileName": "theirs.onnx"}
    assert "theirs.onnx" in capsys.readouterr().err
    assert kws("profile", tmp_path / "x.tflite", "--replace") == 0 and len(fake.jobs) == 4


@pytest.mark.qemu
def test_our_own_figures_are_counted(fake: FakeEdgeImpulse, client: Client, tflite: bytes) -> None:
    from host_tools.edgeimpulse.profile import compare

    result = compare(client, Path("x.tflite"), tflite)
    assert result.instructions and result.instructions > result.macs / 2
    assert {row.source for row in result.rows} == {"Edge Impulse", "kws"}


def test_estimates_without_memory_are_rows_too() -> None:
    from host_tools.edgeimpulse.replies import Estimates

    table = fake_edge_impulse.estimates()
    table["table"]["lowEndMcu"] = {"description": "x", "supported": False, "mcuSupportError": "too\x1b large"}
    first = theirs(Estimates.model_validate(table))[0]
    assert (first.ms, first.ram, first.note) == (None, None, "not supported: too\\x1b large")


# --- the key, and what servers say


def test_without_a_key_it_says_where_one_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys) -> None:
    monkeypatch.delenv("EI_API_KEY", raising=False)
    assert kws("download", "--out", tmp_path / "x") == 2
    assert "EI_API_KEY is not set" in capsys.readouterr().err
    monkeypatch.setenv("EI_API_KEY", "ei_wrong\nx-evil: 1")
    assert kws("download", "--out", tmp_path / "x") == 2
    err = capsys.readouterr().err
    assert "does not hold a key" in err and "evil" not in err


def test_a_wrong_key_is_one_line_without_the_key(
    fake: FakeEdgeImpulse, env: None, monkeypatch, tmp_path: Path, capsys
) -> None:
    monkeypatch.setenv("EI_API_KEY", "ei_another_key_that_is_wrong")
    assert kws("download", "--out", tmp_path / "x") == 2
    err = capsys.readouterr().err
    assert "does not accept the key in EI_API_KEY" in err and "wrong" not in err and len(fake.requests) == 1


def test_the_key_is_in_no_file_no_text_and_no_argument(
    fake: FakeEdgeImpulse,
    env: None,
    folder: Path,
    tmp_path: Path,
    tflite: bytes,
    capfd: pytest.CaptureFixture[str],
    caplog,
) -> None:
    caplog.set_level(0)
    fake.tflite = tflite
    fake.fault(FILES, "status", status=400, body=f'{{"error": "bad {KEY}"}}'.encode())
    fake.fault("/v1/api/4711/impulse", "text", status=404, body=f"no {KEY}".encode())
    codes = [
        kws("upload", folder),
        kws("upload", folder),
        kws("download", "--out", tmp_path / "back"),
        kws("model", "--out", tmp_path / "m"),
        kws("model", "--out", tmp_path / "m"),
    ]
    assert codes == [1, 0, 0, 2, 0]
    out, err = capfd.readouterr()
    assert "(the key)" in out and "(the key)" in err and KEY not in out + err + caplog.text
    for path in tmp_path.rglob("*"):
        assert KEY.encode() not in (path.read_bytes() if path.is_file() else b""), path
    key = Key(KEY)
    assert KEY not in f"{key!r} {key} {vars(Http(Server.of('http://localhost', 'x'), key))}"
    assert all(KEY not in request for request in fake.requests)


@pytest.mark.parametrize(
    "url", ["", "x", "ftp://a", "http://studio.example.com", "https://user:pw@a", "https://a/?q", "https://a b", "https://a:x"]
)  # fmt: skip
def test_only_addresses_where_the_key_is_safe_are_taken(url: str) -> None:
    with pytest.raises(KwsError) as caught:
        Server.of(url, "EI_API_ENDPOINT")
    assert "pw" not in str(caught.value)
    assert str(Server.of("http://127.0.0.1:8080/v1/", "x")) == "http://127.0.0.1:8080"


def test_the_key_goes_nowhere_else(fake: FakeEdgeImpulse, client: Client) -> None:
    with fake_edge_impulse.running() as elsewhere:
        fake.fault("/v1/api/projects", "status", status=302, headers={"Location": f"{elsewhere.url}/v1/api/projects"})
        with pytest.raises(KwsError, match="elsewhere, where the key does not go") as caught:
            client.project()
        assert caught.value.exit_code == 4 and not elsewhere.requests


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Sign in</html>",
        b"[]",
        b"null",
        b"{",
        b'{"success": true, "projects": NaN}',
        b"\xff\xfe",
        b'{"success": true, "x": "\\ud800", "projects": []}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_an_answer_that_is_no_json_is_one_line(
    fake: FakeEdgeImpulse, env: None, tmp_path: Path, body: bytes, capsys
) -> None:
    fake.fault("/v1/api/projects", "text", body=body)
    assert kws("download", "--out", tmp_path / "x") == 4
    err = capsys.readouterr().err
    assert "is not JSON" in err and "Traceback" not in err and len(err) < 1000


@pytest.mark.parametrize(
    "value",
    [
        {"success": True},
        {"success": True, "projects": {}},
        {"success": True, "projects": [{"id": "1"}]},
        {"success": True, "projects": [{"id": -1}]},
        {"success": True, "projects": [{"id": 10**400}, 3]},
        {"success": True, "projects": [{"id": 1, "name": ["\x1b[2J"]}]},
    ],
)
def test_an_answer_of_another_kind_is_one_line(fake: FakeEdgeImpulse, env: None, tmp_path: Path, value, capsys) -> None:
    fake.fault("/v1/api/projects", "text", body=json.dumps(value).encode())
    assert kws("download", "--out", tmp_path / "x") == 4
    err = capsys.readouterr().err
    assert "/api/projects is not as documented" in err and "\x1b" not in err and len(err) < 1000


def test_a_failure_with_status_200_is_a_failure(fake: FakeEdgeImpulse, client: Client) -> None:
    fake.fault("/v1/api/projects", "text", body=b'{"success": false, "error": "Not \\u001b[1mtoday"}')
    with pytest.raises(KwsError, match=r"refuses /api/projects: Not \\x1b\[1mtoday"):
        client.project()


def test_too_long_an_answer_is_cut_off(fake: FakeEdgeImpulse, client: Client, monkeypatch) -> None:
    monkeypatch.setattr(client.studio.request.__func__, "__kwdefaults__", {**Http.request.__kwdefaults__, "most": 100})
    with pytest.raises(KwsError, match="more than 100"):
        client.project()
    assert len(fake.requests) == 1


@pytest.mark.parametrize("kind", ["stall", "drip"])
def test_a_try_has_a_deadline(fake: FakeEdgeImpulse, client: Client, kind: str, waits: list[float]) -> None:
    fake.fault("/v1/api/projects", kind, times=9)
    with pytest.raises(KwsError, match="no whole answer within 0 s") as caught:
        client.studio.request("GET", "/api/projects", deadline=0.1)
    assert caught.value.exit_code == 4 and len(waits) == 4


def test_a_connection_is_kept_and_one_that_broke_is_made_anew(fake: FakeEdgeImpulse, client: Client) -> None:
    client.project()
    kept = client.studio._mine.connection.sock
    client.project()
    assert client.studio._mine.connection.sock is kept
    fake.fault("/v1/api/projects", "mute")
    assert client.project().id == PROJECT and client.studio._mine.connection.sock is not kept


def test_nobody_there(waits: list[float]) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        nobody = Client({"EI_API_KEY": KEY, "EI_API_ENDPOINT": url}, wait=waits.append)
        with pytest.raises(KwsError, match="does not answer /api/projects: Connection refused") as caught:
            nobody.project()
    assert caught.value.exit_code == 4 and len(waits) == 4
