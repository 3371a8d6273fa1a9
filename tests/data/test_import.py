"""What people's folders really hold: nothing of it goes silently where it does not belong."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from model_pipeline.data.audio import UnreadableAudio, read_audio, read_recording, recording_blocks, to_int16
from model_pipeline.data.dataset import Dataset
from model_pipeline.data.described import ListLines
from model_pipeline.data.doubts import warnings
from model_pipeline.data.importer import import_folder
from model_pipeline.data.split import Splitter
from model_pipeline.errors import KwsError

RATE = 16000


def tone(seed: int = 1, seconds: float = 1.0, rate: int = RATE, level: float = 0.2) -> np.ndarray:
    """float32 [n]: a noise that no other seed has."""
    return (level * np.random.default_rng(seed).standard_normal(int(seconds * rate))).clip(-1, 1).astype(np.float32)


def put(path: Path, samples: np.ndarray | None = None, rate: int = RATE, subtype: str = "PCM_16") -> Path:
    """A file of sound."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(hash(str(path)) % 1000) if samples is None else samples, rate, subtype=subtype)
    return path


def words(folder: Path, *names: str, clips: int = 12) -> Path:
    """Clips of ``clips`` speakers of each word."""
    for word in names:
        for i in range(clips):
            put(folder / word / f"s{i}_nohash_0.wav", tone(hash((word, i)) % 100000))
    return folder


def splits_of(folder: Path, *keywords: str) -> dict[str, str]:
    """Name to split of each clip."""
    return {clip.name: clip.split for clip in Dataset.open(folder, list(keywords)).speech}


class TestLists:
    @pytest.mark.parametrize(
        "line",
        [
            "./yes/s1_nohash_0.wav",
            "yes\\s1_nohash_0.wav",
            ".\\yes\\s1_nohash_0.WAV",
            "YES/S1_nohash_0.wav",
            "yes/s1_nohash_0.flac",
            "yes/s1_nohash_0",
            "/home/anna/data/yes/s1_nohash_0.wav",
            "C:\\data\\yes\\s1_nohash_0.wav",
            "data/yes/s1_nohash_0.wav",
            "  yes/s1_nohash_0.wav  ",
            "yes//s1_nohash_0.wav",
        ],
    )
    @pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
    def test_a_line_names_its_clip_however_it_is_written(self, tmp_path: Path, line: str, start: bytes) -> None:
        words(tmp_path, "yes", "no", clips=3)
        (tmp_path / "testing_list.txt").write_bytes(start + line.encode() + b"\r\n\r\n")
        found = splits_of(tmp_path, "yes")
        assert [name for name, split in found.items() if split == "testing"] == ["yes/s1_nohash_0.wav"]
        done = import_folder(tmp_path, tmp_path.with_name("out"))
        assert done.lists["testing"] == ListLines(lines=1, unmatched=0, first_unmatched=[])
        assert splits_of(tmp_path.with_name("out"), "yes") == found

    def test_utf_16_of_windows(self, tmp_path: Path) -> None:
        words(tmp_path, "yes", clips=2)
        (tmp_path / "testing_list.txt").write_bytes("yes/s1_nohash_0.wav\n".encode("utf-16"))
        assert splits_of(tmp_path, "yes")["yes/s1_nohash_0.wav"] == "testing"

    def test_both_normal_forms_are_one(self, tmp_path: Path) -> None:
        put(tmp_path / "yes" / "zoë.wav")  # composed
        put(tmp_path / "yes" / "anna.wav")
        (tmp_path / "testing_list.txt").write_text("yes/zoe\u0308.wav\n", encoding="utf-8")
        assert splits_of(tmp_path, "yes")["yes/zoë.wav"] == "testing"

    def test_a_typo_is_counted_and_named(self, tmp_path: Path) -> None:
        words(tmp_path, "yes", clips=3)
        (tmp_path / "testing_list.txt").write_text("yes/s0_nohash_0.wav\nyes/s1_nohash_O.wav\nyess/s2_nohash_0.wav\n")
        dataset = Dataset.open(tmp_path, ["yes"])
        assert dataset.lists["testing"].unmatched == ("yes/s1_nohash_O.wav", "yess/s2_nohash_0.wav")
        assert "2 of 3 lines name no clip (yes/s1_nohash_O.wav" in dataset.summary().warnings[0]

    @pytest.mark.parametrize("line", ["wrong/s0_nohash_0.wav", "s0_nohash_0.wav", "yes", "/", "\\", "..", "{}"])
    def test_a_list_that_names_nothing_is_refused(self, tmp_path: Path, line: str) -> None:
        words(tmp_path, "yes", clips=2)
        (tmp_path / "testing_list.txt").write_text(f"{line}\n")
        with pytest.raises(KwsError, match="names none of the clips"):
            Dataset.open(tmp_path, ["yes"])
        with pytest.raises(KwsError, match="names none of the clips"):
            import_folder(tmp_path, tmp_path.with_name("out"))

    def test_a_clip_on_two_lists_is_for_testing(self, tmp_path: Path) -> None:
        words(tmp_path, "yes", clips=2)
        for split in ("training", "validation", "testing"):
            (tmp_path / f"{split}_list.txt").write_text("yes/s0_nohash_0.wav\n")
        assert splits_of(tmp_path, "yes")["yes/s0_nohash_0.wav"] == "testing"

    def test_bytes_that_are_no_text_are_one_line(self, tmp_path: Path) -> None:
        words(tmp_path, "yes", clips=1)
        (tmp_path / "testing_list.txt").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(KwsError, match="can't read"):
            Dataset.open(tmp_path, ["yes"])

    def test_lines_of_a_larger_set_do_no_harm(self, tmp_path: Path) -> None:
        names = [f"yes/{i}.wav" for i in range(3)]
        (tmp_path / "testing_list.txt").write_text("".join(f"{w}/{i}.wav\n" for w in ("yes", "bed") for i in (1, 7)))
        splitter = Splitter(tmp_path, names)
        assert [splitter(name) for name in names] == ["training", "testing", "training"]
        assert splitter.use["testing"].unmatched == ("yes/7.wav", "bed/1.wav", "bed/7.wav")


@pytest.mark.parametrize("keyword", ["hey robot", "hey_robot"])
@pytest.mark.parametrize("folder", ["hey robot", "hey_robot", "Hey Robot", "HEY_ROBOT"])
def test_a_words_spellings_are_one(tmp_path: Path, folder: str, keyword: str) -> None:
    words(tmp_path / "in", folder, "no", clips=2)
    done = import_folder(tmp_path / "in", tmp_path / "out")
    assert done.words == {"hey_robot": 2, "no": 2}
    for place in ("in", "out"):
        dataset = Dataset.open(tmp_path / place, [keyword])
        assert sorted(c.label for c in dataset.speech) == [0, 0, 1, 1]


class TestLayouts:
    def test_folders_below_a_word_are_speakers(self, tmp_path: Path) -> None:
        for speaker in ("anna", "bert"):
            for i in range(3):
                put(tmp_path / "in" / "yes" / speaker / f"{i}.wav", tone(hash((speaker, i)) % 9999))
        done = import_folder(tmp_path / "in", tmp_path / "out")
        assert done.clips == 6
        clips = Dataset.open(tmp_path / "out", ["yes"]).speech
        assert {clip.speaker for clip in clips} == {"anna", "bert"}
        assert len({(clip.speaker, clip.split) for clip in clips}) == 2

    def test_what_edge_impulse_exports(self, tmp_path: Path) -> None:
        files = []
        for category, count in (("training", 8), ("testing", 3)):
            for i in range(count):
                for label in ("Hey Robot", "noise"):
                    path = f"{category}/{label}.{i}{category}.wav"
                    put(tmp_path / "in" / path, tone(hash(path) % 9999))
                    files.append({"path": path, "category": category, "label": {"type": "label", "label": label}})
        for odd in (
            {"path": "../evil.wav", "category": "testing", "label": {"type": "label", "label": "x"}},
            {"path": "/etc/passwd", "label": "x"},
            {"path": "training/a.cbor", "label": "x"},
            {"path": "training/a.wav", "label": {"type": "unlabeled"}},
            {"path": 7},
            {"path": "x" * 5000 + ".wav", "label": "x"},
            None,
        ):
            files.append(odd)  # type: ignore[arg-type]
        (tmp_path / "in" / "info.labels").write_text(json.dumps({"version": 1, "files": files}))
        done = import_folder(tmp_path / "in", tmp_path / "out")
        assert (done.layout, done.clips, done.skipped) == ("Edge Impulse", 22, 7)
        dataset = Dataset.open(tmp_path / "out", ["hey_robot"])
        testing = [c for c in dataset.speech if c.split == "testing"]
        assert len(testing) == 6
        assert all("testing" in c.speaker for c in testing)

    def test_what_edge_impulse_exports_with_labels_in_each_folder(self, tmp_path: Path) -> None:
        def entry(name: str, label: object, **more: object) -> dict[str, object]:
            put(tmp_path / "in" / str(more.get("category", "split")) / name, tone(hash(name) % 9999))
            return {"path": name, "name": name.partition(".")[0], "label": label, "metadata": {"site": "x"}, **more}

        def parts(*words: str) -> dict[str, object]:
            spans = [{"startIndex": i, "endIndex": i + 1, "label": word} for i, word in enumerate(words)]
            return {"type": "multi-label", "labels": spans}

        yes = {"type": "label", "label": "yes"}
        for category, count in (("training", 6), ("testing", 3)):
            files = [entry(f"yes.{category}{i}.wav", yes, category=category) for i in range(count)]
            if category == "training":
                files += [
                    entry("one.wav", parts("yes", "yes"), category=category),
                    entry("two.wav", parts("yes", "no"), category=category),
                    entry("keys.wav", {"type": "keyvalue-labels", "labels": {"a": "b"}}, category=category),
                    entry("none.wav", {"type": "unlabeled"}, category=category),
                ]
            text = json.dumps({"version": 1, "files": files})
            (tmp_path / "in" / category / "info.labels").write_text(text, encoding="utf-8-sig")
        tuning = [entry("yes.tuning.wav", yes, category="post-processing")]
        text = json.dumps({"version": 1, "files": tuning})
        (tmp_path / "in" / "post-processing" / "info.labels").write_text(text)
        done = import_folder(tmp_path / "in", tmp_path / "out")
        assert (done.layout, done.clips, done.skipped) == ("Edge Impulse", 10, 4)
        assert "it is for post-processing" in done.model_dump_json()
        found = list(splits_of(tmp_path / "out", "yes").values())
        assert (len(found), found.count("testing")) == (10, 3)

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": 1}', "[" * 5000, '{"files": [[]]}'])
    def test_broken_labels_of_edge_impulse_are_one_line(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "info.labels").write_text(text)
        with pytest.raises(KwsError):
            import_folder(tmp_path, tmp_path.with_name("out"))

    def test_folders_of_splits(self, tmp_path: Path) -> None:
        for split, count in (("train", 5), ("val", 2), ("test", 3)):
            for i in range(count):
                put(tmp_path / "in" / split / "yes" / f"{split}{i}.wav", tone(hash((split, i)) % 9999))
        done = import_folder(tmp_path / "in", tmp_path / "out")
        assert (done.layout, done.split_rule) == ("splits", "folders")
        found = list(splits_of(tmp_path / "out", "yes").values())
        assert [found.count(s) for s in ("training", "validation", "testing")] == [5, 2, 3]

    @pytest.mark.parametrize("name", ["silence", "_silence_"])
    def test_a_folder_of_silence_is_silence(self, tmp_path: Path, name: str) -> None:
        words(tmp_path / "in", "yes", "other", name)
        put(tmp_path / "in" / name / "zero.wav", np.zeros(RATE, np.float32))
        for split in ("validation", "testing"):
            lines = "".join(f"{w}/s{2 if split == 'testing' else 3}_nohash_0.wav\n" for w in ("yes", "other", name))
            (tmp_path / "in" / f"{split}_list.txt").write_text(lines)
        done = import_folder(tmp_path / "in", tmp_path / "out")
        assert done.words["silence"] == 13
        for place in ("in", "out"):
            dataset = Dataset.open(tmp_path / place, ["yes"])
            quiet = [c for c in dataset.speech if c.label == dataset.silence]
            assert len(quiet) == 13
            judged = [c for c in dataset.evaluation("testing") if c.label == dataset.silence]
            assert [c.word.strip("_") for c in judged] == ["silence"]
            assert judged[0].noise == -1


class TestSound:
    def test_opposite_phase_is_not_silence(self, tmp_path: Path) -> None:
        left = tone(3)
        put(tmp_path / "in" / "yes" / "a.wav", np.stack([left, -left], axis=1))
        put(tmp_path / "in" / "yes" / "b.wav", np.stack([left, 0.9 * left], axis=1))
        put(tmp_path / "in" / "yes" / "c.wav", np.stack([left, 0 * left], axis=1))
        done = import_folder(tmp_path / "in", tmp_path / "out")
        assert done.opposite_phase == 1
        audio = read_audio(tmp_path / "in" / "yes" / "a.wav")[0]
        assert np.allclose(audio, left, atol=1e-4)
        assert np.allclose(read_audio(tmp_path / "in" / "yes" / "c.wav")[0], left / 2, atol=1e-4)

    @pytest.mark.parametrize(("factor", "peak"), [(1.0, 0.5), (2.0, 1.0), (3.0, 1.5), (32768.0, 0.5)])
    def test_floats_beyond_full_scale_keep_their_shape(self, tmp_path: Path, factor: float, peak: float) -> None:
        shape = (0.5 * np.sin(np.arange(RATE) / 7)).astype(np.float32)
        put(tmp_path / "in" / "yes" / "a.wav", factor * shape, subtype="FLOAT")
        done = import_folder(tmp_path / "in", tmp_path / "out")
        assert done.scaled_down == int(factor * 0.5 > 1.0)
        audio = read_audio(tmp_path / "in" / "yes" / "a.wav")[0]
        correlation = np.corrcoef(audio, shape)[0, 1]
        assert correlation > 0.9999
        assert np.abs(audio).max() == pytest.approx(min(1.0, peak), rel=0.01)

    @pytest.mark.parametrize("rate", [1, 10, 3999, 384_001, 2_000_000_000])
    def test_impossible_rates_are_left_out(self, tmp_path: Path, rate: int) -> None:
        words(tmp_path / "in", "yes", clips=1)
        path = put(tmp_path / "in" / "yes" / "odd.wav")
        content = bytearray(path.read_bytes())
        content[24:28] = struct.pack("<I", rate)
        path.write_bytes(content)
        done = import_folder(tmp_path / "in", tmp_path / "out")
        assert done.clips == 1
        assert done.skipped_files[0].file == "yes/odd.wav"
        assert "rate" in done.skipped_files[0].reason

    @pytest.mark.parametrize("channels", [1, 2])
    def test_a_header_that_says_0_is_read(self, tmp_path: Path, channels: int) -> None:
        left = tone(5)
        path = put(tmp_path / "in" / "yes" / "a.wav", np.stack([left] * channels, axis=1))
        whole = read_audio(path)[0]
        content = bytearray(path.read_bytes())
        at = content.index(b"data")
        content[at + 4 : at + 8] = bytes(4)
        path.write_bytes(content)
        done = import_folder(tmp_path / "in", tmp_path / "out")
        assert done.header_without_size == 1
        assert (read_audio(path)[0] == whole).all()
        assert (np.concatenate(list(recording_blocks(path))) == to_int16(whole)).all()

    def test_what_is_no_word_is_left_out_and_named(self, tmp_path: Path) -> None:
        words(tmp_path / "in", "yes", clips=2)
        put(tmp_path / "in" / "yes" / "one_sample.wav", np.array([0.5], np.float32))
        put(tmp_path / "in" / "yes" / "zeros.wav", np.zeros(RATE, np.float32))
        put(tmp_path / "in" / "yes" / "long.wav", tone(1, seconds=61.0))
        put(tmp_path / "in" / "loose.wav")
        for name in ("yes/phone.m4a", "yes/notes.txt", "yes/empty.wav", "yes/.DS_Store"):
            (tmp_path / "in" / name).write_bytes(b"")
        done = import_folder(tmp_path / "in", tmp_path / "out")
        left = {item.file: item.reason for item in done.skipped_files}
        assert set(left) == {
            *("yes/one_sample.wav", "yes/zeros.wav", "yes/long.wav", "yes/phone.m4a", "yes/notes.txt"),
            *("yes/empty.wav", "loose.wav"),
        }
        assert done.skipped == 7
        assert "ffmpeg" in left["yes/phone.m4a"]

    def test_recording_blocks_are_what_read_audio_gives(self, tmp_path: Path) -> None:
        left = tone(3, seconds=9.3)
        for name, samples, subtype in (
            ("stereo", np.stack([left, -left], axis=1), "PCM_16"),
            ("loud", 7 * left, "FLOAT"),
            ("both", np.stack([9 * left, 9 * tone(4, seconds=9.3)], axis=1), "FLOAT"),
        ):
            path = put(tmp_path / f"{name}.wav", samples, subtype=subtype)
            assert (np.concatenate(list(recording_blocks(path))) == to_int16(read_audio(path)[0])).all(), name

    def test_a_long_clip_is_refused_before_it_is_read(self, tmp_path: Path) -> None:
        path = put(tmp_path / "a.wav", tone(1, seconds=3.0))
        with pytest.raises(UnreadableAudio, match="longer"):
            read_recording(path, longest_s=2.0)


class TestNames:
    def test_names_without_ascii_are_speakers_of_their_own(self, tmp_path: Path) -> None:
        for name in ("日本", "中国", "한국", "Ωμέγα", "---", "émile", "emile"):
            put(tmp_path / "in" / "yes" / f"{name}.wav", tone(hash(name) % 9999))
        done = import_folder(tmp_path / "in", tmp_path / "out")
        clips = Dataset.open(tmp_path / "out", ["yes"]).speech
        assert done.clips == len(clips) == len({c.speaker for c in clips}) == 7

    def test_bytes_that_are_no_utf_8(self, tmp_path: Path) -> None:
        words(tmp_path / "in", "yes", clips=2)
        source = put(tmp_path / "x.wav")
        name = os.fsencode(tmp_path / "in" / "yes") + b"/caf\xe9.wav"
        try:
            os.rename(os.fsencode(source), name)
        except OSError:
            pytest.skip("this file system takes UTF-8 alone")
        (tmp_path / "in" / "yes" / os.fsdecode(b"br\xfbl\xe9.m4a")).write_bytes(b"")
        done = import_folder(tmp_path / "in", tmp_path / "out")
        assert done.clips == 3
        assert done.model_dump_json().encode()
        assert [item.file for item in done.skipped_files] == ["yes/br\\xfbl\\xe9.m4a"]
        for place in ("in", "out"):
            dataset = Dataset.open(tmp_path / place, ["yes"])
            assert dataset.audio(dataset.speech).shape == (3, 16000)
            assert len(dataset.content_hash()) == 64

    def test_two_noises_of_one_stem_are_two(self, tmp_path: Path) -> None:
        words(tmp_path / "in", "yes", clips=1)
        for name in ("hum.wav", "hum.flac", "HUM.ogg"):
            subtype = "VORBIS" if name.endswith("ogg") else "PCM_16"
            put(tmp_path / "in" / "_background_noise_" / name, tone(3, seconds=3.0), subtype=subtype)
        done = import_folder(tmp_path / "in", tmp_path / "out")
        assert done.noise_files == len(Dataset.open(tmp_path / "out", ["yes"]).noise) == 3

    def test_a_newline_in_a_folders_name_makes_no_second_label(self, tmp_path: Path) -> None:
        words(tmp_path / "in", "yes", "no\nstop", clips=3)
        (tmp_path / "in" / "testing_list.txt").write_text("yes/s1_nohash_0.wav\n")
        done = import_folder(tmp_path / "in", tmp_path / "out")
        assert all("\n" not in word for word in done.words)
        assert len(Dataset.open(tmp_path / "out", ["yes"]).speech) == 6

    def test_names_that_become_one_are_kept_apart(self, tmp_path: Path) -> None:
        for name in ("a b", "a-b", "a_b", "x" * 200):
            put(tmp_path / "in" / "yes" / f"{name}.wav", tone(hash(name) % 9999))
        import_folder(tmp_path / "in", tmp_path / "out")
        clips = Dataset.open(tmp_path / "out", ["yes"]).speech
        assert len({c.speaker for c in clips}) == 4


class TestDoubts:
    def _said(self, folder: Path, *keywords: str) -> str:
        return "\n".join(Dataset.open(folder, list(keywords)).summary().warnings)

    def test_one_recording_under_thirty_speakers(self, tmp_path: Path) -> None:
        for i in range(30):
            put(tmp_path / "in" / "yes" / f"s{i}.wav", tone(7))
        done = import_folder(tmp_path / "in", tmp_path / "out")
        assert "30 clips are 1 recordings under several speakers" in done.warnings[0]
        assert "too good" in done.warnings[0]

    def test_a_speaker_in_two_splits(self, tmp_path: Path) -> None:
        for i in range(2):
            put(tmp_path / "yes" / f"anna_nohash_{i}.wav")
        (tmp_path / "testing_list.txt").write_text("yes/anna_nohash_0.wav\n")
        assert "1 speakers are heard in training and in another split (anna)" in self._said(tmp_path, "yes")

    def test_one_class_twenty_times_another(self, tmp_path: Path) -> None:
        words(tmp_path, "yes", clips=60)
        words(tmp_path, "no", clips=3)
        assert "60 clips of yes and 3 of no" in self._said(tmp_path, "yes", "no")

    def test_a_handful_and_nothing_to_judge_on(self, tmp_path: Path) -> None:
        words(tmp_path, "yes", clips=5)
        for split in ("validation", "testing"):
            (tmp_path / f"{split}_list.txt").write_text("")
        text = self._said(tmp_path, "yes")
        assert "a handful of clips to learn from (5 of yes)" in text
        assert "no validation clips of any keyword" in text
        assert "no testing clips of any keyword" in text

    def test_nothing_to_learn_from(self, tmp_path: Path) -> None:
        words(tmp_path, "yes", clips=3)
        words(tmp_path, "no", clips=3)
        (tmp_path / "testing_list.txt").write_text("".join(f"yes/{p.name}\n" for p in (tmp_path / "yes").iterdir()))
        text = self._said(tmp_path, "yes", "no")
        assert "no clips to learn yes from: all are for validation and testing" in text

    def test_a_good_set_has_none(self, tmp_path: Path) -> None:
        class Clip:
            def __init__(self, label: int, speaker: int, split: str) -> None:
                self.label, self.speaker, self.split = label, str(speaker), split

        shares = [("training", 80), ("validation", 12), ("testing", 12)]
        clips = [Clip(k, 1000 * i + n, s) for k in (0, 1) for i, (s, count) in enumerate(shares) for n in range(count)]
        assert warnings(clips, ["yes", "no", "unknown", "silence"]) == []
