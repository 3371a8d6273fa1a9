"""Fetches official archives of speech and noise: goes on where it stopped, checks, unpacks."""

from __future__ import annotations

import hashlib
import http.client
import tarfile
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from model_pipeline.data.described import Downloaded
from model_pipeline.errors import CheckFailed, KwsError
from model_pipeline.files import disk_error, write_json
from model_pipeline.folders import atomic_dir
from model_pipeline.progress import ProgressCallback, silent


@dataclass(frozen=True)
class Archive:
    """A tar archive. ``digest`` with its algorithm, as its publisher or the well-known tools record it; ``table`` is
    where what it is gets written: `dataset.Dataset` reads dataset.json, `corpora` corpus.json."""

    url: str
    digest: str
    name: str
    licence: str
    size: str
    table: str = "corpus.json"


ARCHIVES = {
    "speech-commands": Archive(
        "http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
        "sha256:af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",  # as TensorFlow Datasets has it
        "Google Speech Commands v0.02 (Warden, arXiv:1804.03209)",
        "CC BY 4.0",
        "2.3 GB",
        "dataset.json",
    ),
    "librispeech-dev": Archive(
        "https://www.openslr.org/resources/12/dev-clean.tar.gz",
        "sha256:76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3",  # as torchaudio has it
        "LibriSpeech dev-clean, 5.4 h by 40 speakers with transcripts (Panayotov and others, 2015)",
        "CC BY 4.0",
        "0.3 GB",
    ),
    "musan": Archive(
        "https://www.openslr.org/resources/17/musan.tar.gz",
        "md5:0c472d4fc0c5141eca47ad1ffeb2a7df",  # as OpenSLR has it
        "MUSAN, speech, music and noise (Snyder and others, arXiv:1510.08484)",
        "CC BY 4.0 and public domain, by file",
        "11 GB",
    ),
}
_BLOCK = 1 << 18
_TRIES = 6  # in a row without a byte
_TIMEOUT = 30
MAX_BYTES = 16 << 30  # of an archive; the largest that we know has 11 GB
MAX_RATIO = 30  # of what is in it to the archive: sound shrinks to a half, and compressed sound not at all
FREE_BYTES = 64 << 20  # that may be in it whatever its size
MAX_FILES = 1_000_000


def download(
    out: Path,
    progress: ProgressCallback | None = None,
    *,
    archive: Archive = ARCHIVES["speech-commands"],
    pause: float = 1.0,
) -> Downloaded:
    """Downloads ``archive`` and unpacks it as folder ``out``.

    What is there of a broken download (``<out>.tar.gz.part``) is kept, on Ctrl-C too, and gone on from. ``out`` appears
    only after the checksum is right and everything is unpacked.

    Args:
        pause: seconds before the second try, doubled from try to try.

    Raises:
        KwsError: the server can't be reached or says no; a broken archive.
        CheckFailed: the file is not the expected one (and is removed).
    """
    report = progress or silent
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise KwsError(f"{out} is there already", hint="give another --out, or remove it")
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f"{out.name}.tar.gz.part")
    _fetch(archive.url, part, report, pause)
    report(0, 1, "checking")
    algorithm, _, digest = archive.digest.partition(":")
    with part.open("rb") as stream:
        found = hashlib.file_digest(stream, algorithm).hexdigest()
    if found != digest:
        part.unlink()
        raise CheckFailed(f"{archive.url} is not the expected archive ({algorithm} {found})", hint="download again")
    with atomic_dir(out, "kws data download") as folder:
        _unpack(part, folder, report)
        checksum = {"sha256": digest} if algorithm == "sha256" else {"md5": digest}
        described = Downloaded(name=archive.name, licence=archive.licence, url=archive.url, **checksum)
        write_json(folder / archive.table, described.model_dump(mode="json"))
    part.unlink()
    return described


def _fetch(url: str, part: Path, report: ProgressCallback, pause: float) -> None:
    _check_url(url)
    failures = 0
    while True:
        have = part.stat().st_size if part.exists() else 0
        try:
            if _continue(url, part, have, report):
                return
            problem = "the connection broke"
        except urllib.error.HTTPError as error:
            if error.code == 416 and have:  # nothing lies beyond what we have: it is whole, or not this file
                return
            if error.code < 500:
                raise KwsError(f"{url}: the server says {error.code} {error.reason}") from error
            problem = f"the server says {error.code}"
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            problem = str(getattr(error, "reason", error)) or type(error).__name__
        now = part.stat().st_size if part.exists() else 0
        failures = failures + 1 if now <= have else 1
        if failures >= _TRIES:
            raise KwsError(
                f"can't download {url}: {problem}", hint="check the network and run again: it goes on where it stopped"
            )
        report(now, 0, f"{problem}; again in {pause * 2**failures:.0f} s")
        time.sleep(pause * 2 ** (failures - 1))


def _continue(url: str, part: Path, have: int, report: ProgressCallback) -> bool:
    """Appends what is missing; True if the server's length was reached."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
        if have and answer.status != 206:  # the server knows no ranges
            have = 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length and length.isdigit() else 0
        with part.open("ab" if have else "wb") as stream:
            while block := answer.read(_BLOCK):
                have += len(block)
                if have > MAX_BYTES:
                    raise KwsError(f"{url} is longer than {MAX_BYTES >> 30} GB", hint="check the address")
                _keep(stream, block, part)
                report(have, max(total, have), f"{have / 1e6:.0f} of {total / 1e6:.0f} MB")
    return have >= total


def _keep(stream: BinaryIO, block: bytes, part: Path) -> None:
    try:
        stream.write(block)
        stream.flush()  # a full disk shows here, not when the file is closed
    except OSError as error:
        raise disk_error(error, part) from error


def _check_url(url: str) -> None:
    """
    Raises:
        KwsError: ``url`` is not an address of the web; a file of this computer is not one either.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        _ = parts.port
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and url.isprintable() and " " not in url
    except ValueError:
        good = False
    if not good:
        raise KwsError(f"{url!r} is not an address of the web", hint="https://…/x.tar.gz")


def _refuse_unsafe(member: tarfile.TarInfo) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or not (member.isfile() or member.isdir()):
        raise tarfile.TarError(f"{member.name} is not a plain file or folder inside the archive")


def _unpack(archive: Path, folder: Path, report: ProgressCallback) -> None:
    size = archive.stat().st_size
    try:
        with archive.open("rb") as raw, tarfile.open(fileobj=raw, mode="r|*") as tar:
            # Debian 12's Python 3.11.2 has no filters yet; the check below stands there alone.
            tar.extraction_filter = getattr(tarfile, "data_filter", None)
            left = max(FREE_BYTES, MAX_RATIO * size)
            for count, member in enumerate(tar):
                _refuse_unsafe(member)
                left -= member.size
                if left < 0 or count >= MAX_FILES:
                    raise tarfile.TarError(f"it unpacks to more than {MAX_RATIO} times its size, or a million files")
                tar.extract(member, folder)
                if count % 200 == 0:
                    report(min(raw.tell(), size), size, "unpacking")
    except (tarfile.TarError, EOFError) as error:
        raise KwsError(f"the archive is broken: {error}", hint="download again") from error
