"""Speaks texts by espeak-ng's library, which starts once for many, and tells where each word begins, which its command
does not.

Run as a program of its own (``python -I espeak_words.py``): a process has one such library, and whatever happens in it
happens there. On stdin a JSON list of ``{"voice", "pitch", "rate", "text", "file"}`` with pitch and rate in the units
of espeak-ng's ``-p`` and ``-s``; on stdout a line for each, a JSON list of ``[position, sample]``: the place in the
text, from 0, and in the file. With ``--together`` all are said in one process, in a third of the time: the library goes
on where the text before has ended, so that each wave begins in another phase than its command's, and no places are
told. Exit code 3: there is no such library here.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import os
import sys
import wave
from typing import Any

_MISSING = 3
# espeak-ng's speak_lib.h.
_SYNCHRONOUS, _POS_CHARACTER = 2, 1
_RATE, _PITCH = 1, 3
_UTF8, _PHONEMES, _ENDPAUSE = 1, 0x100, 0x1000
_LIST_ENDS, _WORD = 0, 1


class _Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    ]


class _Voice(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_char_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("unused", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    ]


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


def _say(library: Any, rate: int, job: dict[str, Any], places: bool) -> int:
    spoken = bytearray()
    words: list[tuple[int, int]] = []

    def heard(samples: Any, count: int, events: Any) -> int:
        index = 0
        while events[index].type != _LIST_ENDS:
            if events[index].type == _WORD:
                words.append((events[index].text_position - 1, events[index].sample))
            index += 1
        if samples and count > 0:
            spoken.extend(ctypes.string_at(samples, 2 * count))
        return 0

    callback = _Callback(heard)  # the library keeps no reference of its own
    library.espeak_SetSynthCallback(callback)
    name = job["voice"].encode()
    # As its command looks for a voice.
    wanted = _Voice(languages=name)
    if library.espeak_SetVoiceByName(name) and library.espeak_SetVoiceByProperties(ctypes.byref(wanted)):
        sys.stderr.write(f"no voice {job['voice']!r}\n")
        return 1
    library.espeak_SetParameter(_PITCH, job["pitch"], 0)
    library.espeak_SetParameter(_RATE, job["rate"], 0)
    text = job["text"].encode()
    size = ctypes.c_size_t(len(text) + 1)
    if library.espeak_Synth(text, size, 0, _POS_CHARACTER, 0, _UTF8 | _PHONEMES | _ENDPAUSE, None, None):
        sys.stderr.write("espeak_Synth failed\n")
        return 1
    with wave.open(job["file"], "wb") as stream:
        stream.setparams((1, 2, rate, 0, "NONE", "not compressed"))
        stream.writeframes(bytes(spoken))
    if places:
        sys.stdout.write(json.dumps(words) + "\n")
    return 0


def main() -> int:
    """The command line."""
    try:
        library: Any = ctypes.CDLL(ctypes.util.find_library("espeak-ng") or "libespeak-ng.so.1")
    except OSError:
        return _MISSING
    jobs = json.load(sys.stdin)
    if "--together" in sys.argv:
        rate = library.espeak_Initialize(_SYNCHRONOUS, 0, None, 0)
        return _MISSING if rate <= 0 else next(filter(None, (_say(library, rate, job, False) for job in jobs)), 0)
    for job in jobs:
        # In a process each: the library goes on where the text before has ended, and can't be begun anew.
        child = os.fork()
        if not child:
            code = 1
            try:
                rate = library.espeak_Initialize(_SYNCHRONOUS, 0, None, 0)
                code = _MISSING if rate <= 0 else _say(library, rate, job, True)
                sys.stdout.flush()
            finally:
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code:
            return abs(code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
