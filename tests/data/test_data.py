"""Data folders: splits, evaluation draws, importing, downloading."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from model_pipeline.config import DataConfig
from model_pipeline.data import noise
from model_pipeline.data.audio import fit_clip, read_clip, to_int16
from model_pipeline.data.dataset import Dataset
from model_pipeline.data.download import ARCHIVES, Archive, _unpack, download
from model_pipeline.data.importer import import_folder
from model_pipeline.data.split import SPLITS, Splitter, speaker_of, which_set
from model_pipeline.errors import CheckFailed, KwsError
from model_pipeline.files import read_json, write_json
from tests.support import tiny_data


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_data.make(tmp_path_factory.mktemp("tiny") / "data")


def test_which_set_is_googles_rule() -> None:
    # From the lists that come with the official archive.
    assert which_set("bed/026290a7_nohash_0.wav") == "validation"
    assert which_set("backward/0cb74144_nohash_2.wav") == "testing"
    assert which_set("bed/00176480_nohash_0.wav") == "training"


def test_which_set_agrees_with_the_official_lists(shared_data: Path) -> None:
    dataset = Dataset.open(shared_data / "speech_commands", ["yes", "no"])
    assert dataset.rule == "lists"
    assert [c.name for c in dataset.speech if which_set(c.name) != c.split] == []


@given(st.text("abc-_ é", min_size=1, max_size=12), st.integers(0, 99), st.integers(0, 99))
def test_a_speaker_stays_in_one_split(speaker: str, a: int, b: int) -> None:
    first, second = f"yes/{speaker}_nohash_{a}.wav", f"no/{speaker}_nohash_{b}.flac"
    assert which_set(first) == which_set(second)
    assert speaker_of(first) == speaker_of(second)


def test_which_set_shares_out_ten_per_cent_each() -> None:
    sets = [which_set(f"w/{i}_nohash_0.wav") for i in range(4000)]
    assert 0.08 < sets.count("validation") / 4000 < 0.12
    assert 0.08 < sets.count("testing") / 4000 < 0.12


def test_lists_rule_over_the_hash(tmp_path: Path) -> None:
    (tmp_path / "testing_list.txt").write_text("yes/00176480_nohash_0.wav\r\n\r\n")
    splitter = Splitter(tmp_path)
    assert splitter("yes/00176480_nohash_0.flac") == "testing"  # another format of the same clip
    assert splitter("bed/026290a7_nohash_0.wav") == "training"
    (tmp_path / "training_list.txt").write_text("yes/a_nohash_0.wav\n")
    assert Splitter(tmp_path)("yes/b_nohash_0.wav") is None


def test_evaluation_is_balanced_and_fixed(tiny: Path) -> None:
    dataset = Dataset.open(tiny, ["rise", "fall"])
    clips = dataset.evaluation("testing")
    counts = np.bincount([c.label for c in clips])
    assert counts.tolist() == [8, 8, 8, 8]
    assert clips == Dataset.open(tiny, ["rise", "fall"]).evaluation("testing")
    assert all(c.split == "testing" for c in clips)
    more = Dataset.open(tiny, ["rise", "fall"], DataConfig(unknown_percent=25, silence_percent=100))
    assert np.bincount([c.label for c in more.evaluation("testing")]).tolist() == [8, 8, 4, 16]


def test_silence_of_testing_is_never_heard_in_training(tiny: Path, tmp_path: Path) -> None:
    ramp = (np.arange(16000 * 40) % 30000).astype(np.int16)
    ramp[: 16000 * 32] = -5
    folder = tmp_path / "data"
    (folder / "yes").mkdir(parents=True)
    (folder / "_background_noise_").mkdir()
    soundfile.write(folder / "yes" / "a_nohash_0.wav", np.zeros(16000, np.int16), 16000)
    soundfile.write(folder / "_background_noise_" / "ramp.wav", ramp, 16000)
    dataset = Dataset.open(folder, ["yes"])
    assert (dataset.noise_part("training")[0] == -5).all()
    spans = {s: {x for c in dataset.silence_clips(s, 200) for x in (c.start, c.start + 16000)} for s in SPLITS}
    assert max(spans["training"]) <= 16000 * 32 <= min(spans["validation"])
    assert max(spans["validation"]) <= 16000 * 36 <= min(spans["testing"])
    assert max(spans["testing"]) <= len(ramp)


def test_audio_is_that_of_the_files(tiny: Path) -> None:
    dataset = Dataset.open(tiny, ["rise", "fall"])
    clips = dataset.evaluation("validation")
    audio = dataset.audio(clips)
    assert audio.dtype == np.int16 and audio.shape == (len(clips), 16000)
    for clip, row in zip(clips, audio, strict=True):
        if clip.noise < 0:
            assert (row == soundfile.read(tiny / clip.name, dtype="int16")[0]).all()


def test_content_hash_knows_the_clips(tiny: Path, tmp_path: Path) -> None:
    first = Dataset.open(tiny, ["rise"]).content_hash()
    assert first == Dataset.open(tiny, ["rise", "fall"]).content_hash()
    other = tiny_data.make(tmp_path / "data", speakers=39)
    assert Dataset.open(other, ["rise"]).content_hash() != first


def test_bad_folders_are_refused(tmp_path: Path, tiny: Path) -> None:
    with pytest.raises(KwsError, match="no data folder"):
        Dataset.open(tmp_path / "none", ["yes"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(KwsError, match="holds no words"):
        Dataset.open(tmp_path, ["yes"])
    with pytest.raises(KwsError, match="no clips of banana"):
        Dataset.open(tiny, ["rise", "banana"])


@given(st.integers(1, 40000))
def test_fit_clip_pads_at_the_end_or_keeps_the_loudest(count: int) -> None:
    x = np.zeros(count, np.float32)
    x[count // 2] = 1
    y = fit_clip(x)
    assert len(y) == 16000 and y.sum() == 1
    if count <= 16000:
        assert (y[:count] == x).all()


def test_clips_are_as_long_as_they_were_made_or_as_the_window_where_nobody_says(tmp_path: Path, tiny: Path) -> None:
    longer = DataConfig(clip_ms=1500)
    plain = Dataset.open(tiny, ["rise", "fall"], longer)  # says nothing of its clips: they are padded
    audio = plain.audio(plain.evaluation("testing"))
    assert audio.shape[1] == 24000
    np.testing.assert_array_equal(
        audio[0, :16000], Dataset.open(tiny, ["rise", "fall"]).audio(plain.evaluation("testing")[:1])[0]
    )
    silence = [row for row, clip in zip(audio, plain.evaluation("testing"), strict=True) if clip.label == plain.silence]
    assert any(np.any(row[16000:]) for row in silence)  # noise has no end after a second
    made = import_folder(tiny, tmp_path / "long", clip_ms=1500)
    assert made.clip_ms == 1500 and made.padded == made.clips
    assert read_json(tmp_path / "long" / "dataset.json")["clip_ms"] == 1500
    for config, ms in ((None, None), (longer, None), (None, 1500), (DataConfig(), 1500)):
        found = Dataset.open(tmp_path / "long", ["rise"], config, clip_ms=ms)
        assert found.clip_samples == found.audio(found.speech[:1]).shape[1] == 24000
    import_folder(tiny, tmp_path / "second")
    assert "clip_ms" not in read_json(tmp_path / "second" / "dataset.json")
    for place, config, said in (
        ("long", DataConfig(), "are 1500 ms long, and the network's window is 1000 ms"),
        ("second", longer, "are 1000 ms long, and the network's window is 1500 ms"),
    ):
        with pytest.raises(KwsError, match=said) as caught:
            Dataset.open(tmp_path / place, ["rise"], config)
        assert "data.clip_ms" in caught.value.hint
    write_json(tmp_path / "long" / "dataset.json", {"clip_ms": "long"})
    with pytest.raises(KwsError, match="clip_ms is 1000 to 1500"):
        Dataset.open(tmp_path / "long", ["rise"])


@pytest.mark.parametrize("kind", noise.KINDS)
def test_noise_is_loud_enough_and_not_clipped(kind: str) -> None:
    x = noise.generate(kind, 3, np.random.default_rng(0))
    assert x.dtype == np.int16 and len(x) == 48000
    assert 500 < np.sqrt(np.mean(x.astype(float) ** 2)) < 4000
    assert np.mean(np.abs(x) >= 32767) < 0.001


# --- import


def _recordings(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    for word in ("yes", "no"):
        (folder / word).mkdir(parents=True)
    soundfile.write(folder / "yes" / "anna_nohash_0.wav", tiny_data.glide("rise", rng), 16000)
    soundfile.write(folder / "yes" / "anna_nohash_1.flac", tiny_data.glide("rise", rng)[:9000], 16000)
    soundfile.write(folder / "yes" / "ben.wav", tiny_data.glide("rise", rng, rate=44100), 44100)
    soundfile.write(folder / "yes" / "ben.flac", tiny_data.glide("rise", rng), 16000)
    long = np.zeros((48000, 2), np.float32)
    long[30000:34000] = 0.5
    soundfile.write(folder / "no" / "carl.ogg", long, 16000)
    (folder / "no" / "broken.wav").write_bytes(b"RIFF\x00\x00")
    (folder / "no" / "empty.flac").write_bytes(b"")
    soundfile.write(folder / "no" / "nothing.wav", np.zeros(0, np.int16), 16000)
    soundfile.write(folder / "no" / "nan.wav", np.full(100, np.nan, np.float32), 16000, subtype="FLOAT")
    (folder / "no" / "notes.txt").write_text("not audio")
    (folder / "_background_noise_").mkdir()
    soundfile.write(folder / "_background_noise_" / "fan.wav", 0.1 * rng.standard_normal(32000), 8000)
    return folder


def test_import_takes_any_rate_and_length_and_lists_what_is_broken(tmp_path: Path) -> None:
    result = import_folder(_recordings(tmp_path / "in"), tmp_path / "out", licence="mine")
    assert result.clips == 5 and result.words == {"no": 1, "yes": 4}
    assert result.resampled == 1 and result.padded == 1 and result.cut == 1
    assert {item.file for item in result.skipped_files} == {
        "no/broken.wav",
        "no/empty.flac",
        "no/nothing.wav",
        "no/nan.wav",
        "no/notes.txt",
    }
    assert result.skipped == 5 and all(item.reason for item in result.skipped_files)
    dataset = Dataset.open(tmp_path / "out", ["yes", "no"])
    assert len(dataset.speech) == 5 and dataset.rule == "which_set"
    audio = dataset.audio(dataset.speech)
    loud = next(a for c, a in zip(dataset.speech, audio, strict=True) if c.word == "no")
    assert np.mean(np.abs(loud) > 8000) > 0.2  # the loudest second was kept
    assert len(dataset.noise[0][1]) == 64000
    assert json.loads((tmp_path / "out" / "dataset.json").read_text())["licence"] == "mine"


def test_import_is_exact_at_16_khz(tmp_path: Path, tiny: Path) -> None:
    import_folder(tiny, tmp_path / "out")
    before, after = (Dataset.open(f, ["rise", "fall"]) for f in (tiny, tmp_path / "out"))
    assert [(c.name, c.split) for c in before.speech] == [(c.name, c.split) for c in after.speech]
    assert (before.audio(before.speech) == after.audio(after.speech)).all()


def test_import_resamples_to_the_same_tone(tmp_path: Path) -> None:
    (tmp_path / "in" / "tone").mkdir(parents=True)
    t = np.arange(44100) / 44100
    soundfile.write(tmp_path / "in" / "tone" / "x.wav", 0.5 * np.sin(2 * np.pi * 1000 * t), 44100)
    import_folder(tmp_path / "in", tmp_path / "out")
    x = read_clip(next((tmp_path / "out" / "tone").iterdir())).astype(float)
    assert np.argmax(np.abs(np.fft.rfft(x))) == 1000
    assert abs(np.sqrt(np.mean(x**2)) / (0.5 * 32768 / np.sqrt(2)) - 1) < 0.02


def test_import_refuses_what_has_no_words(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(KwsError, match="holds no words"):
        import_folder(tmp_path / "in", tmp_path / "out")
    (tmp_path / "in" / "yes").mkdir()
    (tmp_path / "in" / "yes" / "x.wav").write_bytes(b"no audio")
    with pytest.raises(KwsError, match="none of the 1 clips"):
        import_folder(tmp_path / "in", tmp_path / "out")
    with pytest.raises(KwsError, match="lies in the folder"):
        import_folder(tmp_path / "in", tmp_path / "in" / "out")
    assert not (tmp_path / "out").exists() and len(list(tmp_path.iterdir())) == 1


def test_to_int16_is_exact_for_16_bit_and_clips_beyond() -> None:
    every = np.arange(-32768, 32768, dtype=np.int64)
    assert (to_int16((every / 32768).astype(np.float32)) == every).all()
    assert to_int16(np.array([2.0, -2.0])).tolist() == [32767, -32768]


# --- download


def _named(url: str, digest: str) -> Archive:
    return Archive(url, f"sha256:{digest}", "an archive", "CC0", "1 KB", "dataset.json")


def test_every_archive_names_a_digest_of_its_length() -> None:
    for archive in ARCHIVES.values():
        algorithm, _, digest = archive.digest.partition(":")
        assert len(digest) == 2 * hashlib.new(algorithm).digest_size and int(digest, 16)
        assert archive.url.endswith(".tar.gz") and archive.licence
    assert ARCHIVES["speech-commands"].table == "dataset.json"


class _Server(http.server.BaseHTTPRequestHandler):
    """Serves one file with ranges, and breaks off where it is told to."""

    def __init__(self, body: bytes, cuts: list[int], log: list[str], ranges: bool, *args: object) -> None:
        self.body, self.cuts, self.log, self.ranges = body, cuts, log, ranges
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        self.log.append(wanted)
        start = int(wanted[6:-1]) if wanted and self.ranges else 0
        if start >= len(self.body):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(self.body) - start))
        self.end_headers()
        end = self.cuts.pop(0) if self.cuts else len(self.body)
        self.wfile.write(self.body[start:end])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def archive(tiny: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.add(tiny, arcname=".")
    return buffer.getvalue()


@pytest.fixture
def serve() -> Iterator[object]:
    servers = []

    def start(body: bytes, cuts: list[int] | None = None, ranges: bool = True) -> tuple[str, list[str]]:
        log: list[str] = []
        handler = functools.partial(_Server, body, cuts if cuts is not None else [], log, ranges)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/x.tar.gz", log

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_download_goes_on_where_it_broke(tmp_path: Path, archive: bytes, serve) -> None:
    third = len(archive) // 3
    url, log = serve(archive, cuts=[third, 2 * third])
    digest = hashlib.sha256(archive).hexdigest()
    download(tmp_path / "data", archive=_named(url, digest), pause=0)
    assert log == ["", f"bytes={third}-", f"bytes={2 * third}-"]
    assert len(Dataset.open(tmp_path / "data", ["rise", "fall"]).speech) == 120
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("ranges", [True, False])
def test_download_uses_what_an_earlier_run_left(tmp_path: Path, archive: bytes, serve, ranges: bool) -> None:
    (tmp_path / "data.tar.gz.part").write_bytes(archive[:1000])
    url, log = serve(archive, ranges=ranges)
    download(tmp_path / "data", archive=_named(url, hashlib.sha256(archive).hexdigest()), pause=0)
    assert log == ["bytes=1000-"] and (tmp_path / "data" / "rise").is_dir()


def test_download_that_was_whole_is_only_unpacked(tmp_path: Path, archive: bytes, serve) -> None:
    (tmp_path / "data.tar.gz.part").write_bytes(archive)
    url, _ = serve(archive)
    download(tmp_path / "data", archive=_named(url, hashlib.sha256(archive).hexdigest()), pause=0)
    assert (tmp_path / "data" / "rise").is_dir()


def test_a_corpus_says_what_it_is(tmp_path: Path, archive: bytes, serve) -> None:
    url, _ = serve(archive)
    wanted = Archive(url, f"md5:{hashlib.md5(archive).hexdigest()}", "some speech", "CC0", "1 KB")
    described = download(tmp_path / "speech", archive=wanted, pause=0)
    assert json.loads((tmp_path / "speech" / "corpus.json").read_text()) == described.model_dump(mode="json")
    assert described.name == "some speech" and described.md5 and not (tmp_path / "speech.tar.gz.part").exists()


def test_download_refuses_another_file(tmp_path: Path, archive: bytes, serve) -> None:
    url, _ = serve(archive)
    with pytest.raises(CheckFailed, match="not the expected archive"):
        download(tmp_path / "data", archive=_named(url, "0" * 64), pause=0)
    assert list(tmp_path.iterdir()) == []


def test_download_without_a_server_says_so(tmp_path: Path) -> None:
    with pytest.raises(KwsError, match="can't download"):
        download(tmp_path / "data", archive=_named("http://127.0.0.1:9/x.tar.gz", "0" * 64), pause=0)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(KwsError, match="is there already"):
        download(tmp_path / "full", archive=_named("http://127.0.0.1:9/x.tar.gz", "0" * 64), pause=0)


def test_download_of_no_archive(tmp_path: Path, serve) -> None:
    url, _ = serve(b"<html>sorry</html>")
    digest = hashlib.sha256(b"<html>sorry</html>").hexdigest()
    with pytest.raises(KwsError, match="archive is broken"):
        download(tmp_path / "data", archive=_named(url, digest), pause=0)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("name, kind", [("/etc/x", tarfile.REGTYPE), ("../x", tarfile.REGTYPE), ("x", tarfile.SYMTYPE)])
def test_an_archive_that_reaches_out_is_refused(tmp_path, name, kind):
    archive = tmp_path / "a.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, "/etc"
        tar.addfile(member)
    with pytest.raises(KwsError, match="archive is broken"):
        _unpack(archive, tmp_path / "out", lambda done, total, text: None)


def test_an_archive_that_unpacks_to_far_more_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model_pipeline.data.download.FREE_BYTES", 1 << 20)
    archive = tmp_path / "a.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for number in range(10):
            member = tarfile.TarInfo(f"{number}.wav")
            member.size = 1 << 18
            tar.addfile(member, io.BytesIO(bytes(1 << 18)))
    assert archive.stat().st_size < 1 << 15
    with pytest.raises(KwsError, match="30 times its size"):
        _unpack(archive, tmp_path / "out", lambda done, total, text: None)
    assert sum(p.stat().st_size for p in (tmp_path / "out").glob("*")) <= 1 << 20


@pytest.mark.parametrize(
    "url", ["", "x", "ftp://x/y", "file:///etc/passwd", "http://", "http://[x", "http://x:99999/", "http://a b/"]
)
def test_what_is_not_an_address_is_one_line_at_once(tmp_path: Path, url: str) -> None:
    with pytest.raises(KwsError, match="is not an address of the web"):
        download(tmp_path / "data", archive=_named(url, "0" * 64), pause=9)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_line(tmp_path: Path, archive: bytes, serve, monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    (tmp_path / "data.tar.gz.part").symlink_to("/dev/full")
    url, _ = serve(archive)
    with pytest.raises(KwsError, match="disk is full"):
        download(tmp_path / "data", archive=_named(url, "0" * 64), pause=0)
