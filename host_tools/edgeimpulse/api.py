"""What Edge Impulse is asked, as functions whose results are types. Paths and names: docs/edgeimpulse.md."""

from __future__ import annotations

import json
import os
import re
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal, TypeVar

from pydantic import ValidationError

from host_tools.edgeimpulse.address import Key, Server
from host_tools.edgeimpulse.http import Http, multipart
from host_tools.edgeimpulse.replies import (
    Answer,
    Download,
    Downloads,
    DspConfig,
    Estimates,
    Files,
    Impulse,
    ImpulseReply,
    JobReply,
    Log,
    OwnModelReply,
    Page,
    Project,
    Projects,
    Sample,
    Started,
    Taken,
    Trained,
)
from model_pipeline.config import explain
from model_pipeline.errors import KwsError
from model_pipeline.progress import ProgressCallback, silent
from model_pipeline.text import shown

STUDIO, INGESTION = "https://studio.edgeimpulse.com/v1", "https://ingestion.edgeimpulse.com"
PAGE = 500  # samples of a listing's page
MOST_SAMPLES = 1_000_000
FILE_BYTES = 256 << 20  # of a recording or a model
FILE_DEADLINE_S = 600.0
POLL_S = 2.0
Category = Literal["training", "testing"]
Kind = TypeVar("Kind", bound="Answer")


@dataclass(frozen=True)
class Sent:
    """What became of a recording: ``taken``, ``known`` (the project has it already), or the reason why not."""

    state: Literal["taken", "known", "refused"]
    sample: int = 0
    reason: str = ""


class Client:
    """A project, by the key and the addresses of the environment.

    Args:
        options: of `Http`.
    """

    def __init__(self, environment: Mapping[str, str] | None = None, **options: Any) -> None:
        said = os.environ if environment is None else environment
        secret = said.get("EI_API_KEY", "").strip()
        if not secret:
            raise KwsError(
                "no key: EI_API_KEY is not set",
                hint="Studio shows a project's keys under Dashboard, Keys; export EI_API_KEY=…",
            )
        if not re.fullmatch(r"[!-~]{8,512}", secret):
            raise KwsError(
                "EI_API_KEY does not hold a key: 8 to 512 plain characters", hint="copy it from Studio again"
            )
        key = Key(secret)
        self.wait: Callable[[float], None] = options.get("wait", time.sleep)
        self.studio = Http(Server.of(said.get("EI_API_ENDPOINT") or STUDIO, "EI_API_ENDPOINT"), key, **options)
        self.ingestion = Http(
            Server.of(said.get("EI_INGESTION_ENDPOINT") or INGESTION, "EI_INGESTION_ENDPOINT"), key, **options
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends all connections, also of threads that wait."""
        self.studio.close()
        self.ingestion.close()

    def project(self) -> Project:
        """The project of the key.

        Raises:
            KwsError: the key is for none, or for several.
        """
        found = self._get(Projects, "/api/projects").projects
        if len(found) != 1:
            raise KwsError(
                f"the key belongs to {len(found)} projects", hint="take the key of one project (Dashboard, Keys)"
            )
        return found[0]

    def samples(self, project: int, progress: ProgressCallback = silent) -> Iterator[Sample]:
        """All recordings for training and testing, each once.

        Raises:
            KwsError: the project changes meanwhile, or the server's pages are not whole.
        """
        for category in ("training", "validation", "testing"):
            seen: set[int] = set()
            offset = 0
            while True:
                query = {"category": category, "limit": PAGE, "offset": offset, "excludeSensors": "true"}
                page = self._get(Page, f"/api/{project}/raw-data", query)
                if page.total > MOST_SAMPLES:
                    raise KwsError(f"the project has {page.total:,} recordings, more than {MOST_SAMPLES:,}")
                new = [sample for sample in page.samples if sample.id not in seen]
                seen |= {sample.id for sample in new}
                yield from new
                offset += len(page.samples)
                progress(len(seen), page.total, f"{category}: {len(seen):,} of {page.total:,} listed")
                if len(seen) >= page.total:
                    break
                if not page.samples or offset > 2 * page.total:
                    raise KwsError(
                        f"{len(seen):,} of {page.total:,} recordings for {category} are listed",
                        hint="the project changed meanwhile: run again",
                        exit_code=4,
                    )

    def send(self, category: Category, name: str, wav: bytes, label: str, metadata: Mapping[str, str]) -> Sent:
        """Sends one recording, which the project takes once, however often it is sent.

        Args:
            name: what the file is called there, plain ASCII.
        """
        headers, body = multipart({}, {"data": (name, wav)})
        headers |= {
            "x-label": _header(label),
            "x-metadata": json.dumps(metadata),
            "x-disallow-duplicates": "1",
        }
        path = f"/api/{category}/files"
        refusals = (400, 409, 413, 415, 422)
        reply = self.ingestion.request("POST", path, headers=headers, body=body, repeat=True, refusals=refusals)
        if reply.status != 200:
            return _sent(Taken(error=self.ingestion.said(reply.body) or f"the server says {reply.status}"))
        files = self._model(Files, self.ingestion.parsed(reply.body, path), path).files
        if len(files) != 1:
            raise KwsError(f"{self.ingestion.server} answers for {len(files)} files where one was sent", exit_code=4)
        error = self.ingestion.shown(files[0].error)
        return _sent(files[0].model_copy(update={"error": error}))

    def wav(self, project: int, sample: int, into: BinaryIO) -> str:
        """Writes a recording as WAV into an empty file. Returns why there is none, if so."""
        path = f"/api/{project}/raw-data/{sample}/wav"
        query = {"axisIx": 0}
        reply = self.studio.request(
            "GET", path, query=query, most=FILE_BYTES, into=into, deadline=FILE_DEADLINE_S, refusals=(400, 404, 422)
        )
        if reply.status != 200:
            return self.studio.said(reply.body) or f"the server says {reply.status}"
        into.seek(0)
        head = into.read(4096)
        if head.lstrip()[:1] == b"{":  # a failure has status 200 too
            return self.studio.said(head) or "the server gives no sound"
        return ""

    def impulse(self, project: int) -> Impulse:
        """The project's impulse.

        Raises:
            KwsError: it has none.
        """
        found = self._get(ImpulseReply, f"/api/{project}/impulse").impulse
        if found is None:
            raise KwsError("the project has no impulse yet", hint="make and train one in Studio")
        return found

    def parameters(self, project: int, block: int) -> dict[str, str]:
        """A DSP block's settings, as text."""
        groups = self._get(DspConfig, f"/api/{project}/dsp/{block}").config or []
        values = {item.param: item.default if item.value is None else item.value for g in groups for item in g.items}
        return {shown(name, 64): shown(value, 200) for name, value in list(values.items())[:200] if value is not None}

    def trained(self, project: int, block: int) -> Trained:
        """What is known of a learning block's network."""
        return self._get(Trained, f"/api/{project}/training/keras/{block}/metadata")

    def downloads(self, project: int) -> list[Download]:
        """What the project offers to take away."""
        return self._get(Downloads, f"/api/{project}/downloads").downloads

    def learned(self, project: int, block: int, download: str, into: BinaryIO) -> None:
        """Writes a network into an empty file."""
        path = f"/api/{project}/learn-data/{block}/model/{urllib.parse.quote(download, safe='')}"
        self.studio.request("GET", path, most=FILE_BYTES, into=into, deadline=FILE_DEADLINE_S)

    def build(self, project: int, engine: str, model_type: str) -> int:
        """Starts a deployment as a C++ library and returns the job."""
        body = json.dumps({"engine": engine, "modelType": model_type}).encode()
        path, query = f"/api/{project}/jobs/build-ondevice-model", {"type": "zip"}
        return self._start(path, query=query, headers={"Content-Type": "application/json"}, body=body)

    def deployment(self, project: int, engine: str, model_type: str, into: BinaryIO) -> None:
        """Writes what `build` made into an empty file."""
        query = {"type": "zip", "modelType": model_type, "engine": engine}
        path = f"/api/{project}/deployment/download"
        self.studio.request("GET", path, query=query, most=FILE_BYTES, into=into, deadline=FILE_DEADLINE_S)

    def own_model(self, project: int) -> tuple[str, Estimates | None]:
        """The file name of the model that was brought to the project, empty without one, and its estimates."""
        model = self._get(OwnModelReply, f"/api/{project}/pretrained-model").model
        return (model.file, model.profile) if model else ("", None)

    def bring(self, project: int, name: str, tflite: bytes, device: str) -> int:
        """Puts a model into the project in the place of the one that was brought before. Returns the job."""
        fields = {"modelFileName": name, "modelFileType": "tflite", **({"device": device} if device else {})}
        headers, body = multipart(fields, {"modelFile": (name, tflite)})
        return self._start(f"/api/{project}/pretrained-model/upload", headers=headers, body=body)

    def estimate(self, project: int) -> int:
        """Starts the estimates of the model that was brought. Returns the job."""
        return self._start(f"/api/{project}/pretrained-model/profile")

    def finish(self, project: int, job: int, progress: ProgressCallback, what: str, timeout: float) -> None:
        """Waits for a job.

        Raises:
            KwsError: it failed, or takes longer than ``timeout`` seconds.
        """
        begun = time.monotonic()
        waited = 0.0  # of pauses alone, so that a clock that stands still ends it too
        while True:
            found = self._get(JobReply, f"/api/{project}/jobs/{job}/status").job
            if found.finished:
                break
            if max(waited, time.monotonic() - begun) >= timeout:
                raise KwsError(
                    f"job {job} ({what}) is not done after {timeout:,.0f} s",
                    hint="it goes on at Edge Impulse: run again later, or give a longer --timeout",
                    exit_code=4,
                )
            progress(0, 1, f"{what}: {waited:.0f} s")
            self.wait(POLL_S)
            waited += POLL_S
        if not found.finished_successful:
            last = self._last_line(project, job)
            raise KwsError(f"job {job} ({what}) failed at Edge Impulse" + (f": {last}" if last else ""), exit_code=1)

    def _last_line(self, project: int, job: int) -> str:
        try:
            log = self._get(Log, f"/api/{project}/jobs/{job}/stdout").stdout
        except KwsError:  # why it failed is the news, not that nothing tells why
            return ""
        lines = [line.strip() for item in log for line in item.data.splitlines() if line.strip()]
        return self.studio.shown(lines[-1]) if lines else ""

    def _start(self, path: str, **request: Any) -> int:
        return self._model(Started, self.studio.json("POST", path, **request), path).id

    def _get(self, kind: type[Kind], path: str, query: Mapping[str, Any] | None = None) -> Kind:
        return self._model(kind, self.studio.json("GET", path, query=query), path)

    def _model(self, kind: type[Kind], value: dict[str, Any], path: str) -> Kind:
        try:
            return kind.model_validate(value)
        except ValidationError as error:
            raise KwsError(
                f"Edge Impulse's answer to {path} is not as documented: {shown(explain(error), 300)}",
                hint="its interface may have changed: a newer micro-kws may know it",
                exit_code=4,
            ) from error


def _sent(file: Taken) -> Sent:
    if file.success:
        return Sent("taken", file.sample_id or 0)
    if "already exists" in file.error.lower():
        return Sent("known", reason=file.error)
    return Sent("refused", reason=file.error or "without a reason")


def _header(text: str) -> str:
    """A label as a header: plain text as it is, anything else as Edge Impulse's own uploader quotes it."""
    return text if re.fullmatch(r"[!-$&-~]([ !-$&-~]*[!-$&-~])?", text) else urllib.parse.quote(text, safe="")
