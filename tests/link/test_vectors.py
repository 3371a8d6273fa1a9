"""tests/link/vectors.json against Python's half of the link and the firmware's; the page's JavaScript runs it too."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host_tools.link import adpcm
from host_tools.link.codes import Command
from host_tools.link.frames import BadFrame, Decoder, Frame
from host_tools.link.info import Detector, Info
from host_tools.link.payloads import parse_event, stream_data
from tests.support import link_vectors

VECTORS = json.loads(link_vectors.PATH.read_text())


def test_the_file_is_what_its_script_writes():
    assert json.loads(json.dumps(link_vectors.make())) == VECTORS


@pytest.mark.parametrize("row", VECTORS["frames"], ids=lambda row: f"{len(row['payload']) // 2}")
def test_frames(row):
    frame = Frame(row["type"], row["seq"], bytes.fromhex(row["payload"]))
    wire = bytes.fromhex(row["wire"])
    assert frame.encode() == wire and 0 not in wire[:-1]
    assert Decoder().feed(wire) == [frame]


@pytest.mark.parametrize("row", VECTORS["not_frames"], ids=lambda row: row["wire"][:10])
def test_what_is_no_frame(row):
    (found,) = Decoder().feed(bytes.fromhex(row["wire"]))
    assert isinstance(found, BadFrame) and (found.reason, found.seq) == (row["reason"], row["seq"])


def test_a_line_with_garbage_in_pieces():
    decoder = Decoder()
    found = [item for piece in VECTORS["line"]["pieces"] for item in decoder.feed(bytes.fromhex(piece))]
    plain = [
        {"reason": int(f.reason)}
        if isinstance(f, BadFrame)
        else {"type": f.type, "seq": f.seq, "payload": f.payload.hex()}
        for f in found
    ]
    assert plain == VECTORS["line"]["found"] and len({str(row) for row in plain}) > 4


def test_commands():
    rows = {row["name"]: row for row in VECTORS["commands"]}
    assert all(Command[name] == row["type"] for name, row in rows.items())
    sound, detector = rows["STREAM_DATA"], rows["SET_DETECTOR"]
    assert stream_data(sound["fields"]["position"], np.array(sound["fields"]["samples"])).hex() == sound["payload"]
    assert Detector(**detector["fields"]).payload().hex() == detector["payload"]


@pytest.mark.parametrize("row", VECTORS["events"], ids=lambda row: row["name"])
def test_events(row):
    event = parse_event(Frame(row["type"], 0, bytes.fromhex(row["payload"])))
    assert link_vectors.plain(event) == row["fields"]


@pytest.mark.parametrize("row", VECTORS["not_events"], ids=lambda row: row["payload"] or "nothing")
def test_payloads_that_are_none(row):
    with pytest.raises(ValueError, match="payload of"):
        parse_event(Frame(row["type"], 0, bytes.fromhex(row["payload"])))


@pytest.mark.parametrize("row", VECTORS["infos"], ids=lambda row: row["payload"][:12])
def test_what_is_believed_of_info(row):
    info = Info.parse(bytes.fromhex(row["payload"]), 0.0)
    if row["believed"]:
        info.check()
    else:
        with pytest.raises(ValueError):
            info.check()


@pytest.mark.parametrize("row", VECTORS["adpcm"], ids=lambda row: f"{len(row['samples'])}")
def test_adpcm(row):
    samples = np.array(row["samples"], np.int16)
    codes, _ = link_vectors.encoder()(samples, row["predictor"], row["step"])
    assert codes.hex() == row["codes"]
    assert adpcm.decode(codes, len(samples), row["predictor"], row["step"]).tolist() == row["decoded"]


def test_the_encoder_follows_speech():
    """A tone that swells and fades comes back with an error 25 dB below it."""
    t = np.arange(16000) / 16000
    samples = (10000 * np.sin(2 * np.pi * 440 * t) * np.hanning(len(t))).astype(np.int16)
    codes, _ = link_vectors.encoder()(samples, 0, 0)
    error = adpcm.decode(codes, len(samples), 0, 0) - samples.astype(float)
    assert 10 * np.log10(np.mean(samples.astype(float) ** 2) / np.mean(error**2)) > 25


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-32768, 32767), min_size=1, max_size=60),
    st.integers(-32768, 32767),
    st.integers(0, 88),
    st.integers(0, 60),
)
def test_a_block_goes_on_where_the_one_before_ended(values, predictor, step, cut):
    """The state that a block begins with is the decoder's after the block before."""
    encode, samples = link_vectors.encoder(), np.array(values, np.int16)
    cut = min(cut, len(samples))
    whole = adpcm.decode(encode(samples, predictor, step)[0], len(samples), predictor, step)
    first, state = encode(samples[:cut], predictor, step)
    second, _ = encode(samples[cut:], *state)
    parts = [adpcm.decode(first, cut, predictor, step), adpcm.decode(second, len(samples) - cut, *state)]
    assert np.concatenate(parts).tolist() == whole.tolist()


def test_adpcm_is_the_standards():
    """Python's own module, where it still has it (up to 3.12), which has the other half of a byte first."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        audioop = pytest.importorskip("audioop", reason="Python 3.13 has no audioop")
    samples = link_vectors.speech_like(4000)
    codes, state = link_vectors.encoder()(samples, 0, 0)
    theirs, end = audioop.lin2adpcm(samples.tobytes(), 2, (0, 0))
    assert bytes((b >> 4) | ((b & 15) << 4) for b in theirs) == codes and end == state
    back, _ = audioop.adpcm2lin(theirs, 2, (0, 0))
    assert adpcm.decode(codes, len(samples), 0, 0).tobytes() == back
