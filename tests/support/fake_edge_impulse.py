"""Edge Impulse for tests: a project on this machine that answers what docs/edgeimpulse.md names, and nothing else.

It is as strict as the real one where that is known: a wrong key, path, method, parameter or header is refused. Its
answers have all fields that the official bindings require (tests/tools/test_edge_impulse_bindings.py). Faults come to
order, by path.
"""

from __future__ import annotations

import contextlib
import email.parser
import email.policy
import hashlib
import io
import json
import re
import socket
import struct
import threading
import urllib.parse
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "ei_0123456789abcdef0123456789abcdef0123456789abcdef"
PROJECT = 4711
WHEN = "2026-11-28T01:02:03.000Z"
LEARN, DSP, INPUT = 5, 3, 1
_LIST = {"category", "limit", "offset", "labels", "excludeSensors", "filename"}


@dataclass
class Stored:
    """A recording in the project."""

    id: int
    name: str
    category: str
    label: str
    wav: bytes
    metadata: dict[str, str] = field(default_factory=dict)
    is_disabled: bool = False
    chart_type: str = "chart"
    labels: list[str] | None = None

    def described(self) -> dict[str, Any]:
        """With all that the bindings require."""
        return {
            "id": self.id,
            "filename": self.name,
            "signatureValidate": True,
            "created": WHEN,
            "lastModified": WHEN,
            "category": self.category,
            "coldstorageFilename": f"1/{self.category}/{self.name}.x.ingestion.json",
            "label": self.label,
            "intervalMs": 0.0625,
            "frequency": 16000.0,
            "originalIntervalMs": 0.0625,
            "originalFrequency": 16000.0,
            "deviceType": "SENSOR",
            "sensors": [],
            "valuesCount": max(0, len(self.wav) - 44) // 2,
            "added": WHEN,
            "boundingBoxes": [],
            "boundingBoxesType": "object_detection",
            "chartType": self.chart_type,
            "isDisabled": self.is_disabled,
            "isProcessing": False,
            "processingError": False,
            "isCropped": False,
            "metadata": self.metadata,
            "projectId": PROJECT,
            "sha256Hash": hashlib.sha256(self.wav).hexdigest(),
            "datastreams": [],
            **({"structuredLabelsList": self.labels} if self.labels else {}),
        }


@dataclass
class Fault:
    """What happens in the place of an answer, ``times`` times. ``kind``: status, text (both with ``status``, ``body``
    and ``headers``), cut (half of the answer), mute (it is done, then the line is cut), stall (nothing comes),
    drip (a byte of the answer at a time, for ever)."""

    path: str
    kind: str
    times: int = 1
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class FakeEdgeImpulse:
    """The project. ``url`` and ``environment`` are of the running server."""

    def __init__(self) -> None:
        self.samples: list[Stored] = []
        self.faults: list[Fault] = []
        self.requests: list[str] = []  # method and path
        self.done: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.stop = threading.Event()
        self.url = ""
        self.name = "Front door"
        self.damage: Callable[[bytes], bytes] = lambda body: body  # what an answer becomes
        self.refuse: Callable[[str], str] = lambda name: ""  # why a recording is not taken
        self.tflite = b""
        self.labels = ["no", "noise", "unknown"]
        self.types = ["float32", "int8"]
        self.dsp_type = "mfcc"
        self.archive = b""
        self.jobs: dict[int, tuple[str, int]] = {}  # what, and polls until it is done
        self.failing: set[str] = set()  # jobs of this kind fail
        self.polls = 1
        self.own: dict[str, Any] | None = None
        self.estimates: dict[str, Any] = estimates()

    @property
    def environment(self) -> dict[str, str]:
        """What `Client` takes."""
        return {"EI_API_KEY": KEY, "EI_API_ENDPOINT": f"{self.url}/v1", "EI_INGESTION_ENDPOINT": self.url}

    def add(self, name: str, category: str, label: str, wav: bytes, **more: Any) -> Stored:
        """A recording that somebody sent before."""
        sample = Stored(len(self.samples) + 101, name, category, label, wav, **more)
        self.samples.append(sample)
        return sample

    def fault(self, path: str, kind: str, **more: Any) -> None:
        """The next requests to paths that match go wrong."""
        self.faults.append(Fault(path, kind, **more))

    def take_fault(self, path: str) -> Fault | None:
        """The one that is next for ``path``."""
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and re.fullmatch(fault.path, path):
                    fault.times -= 1
                    return fault
        return None

    def start(self, what: str) -> dict[str, Any]:
        """A job."""
        job = 9001 + len(self.jobs)
        self.jobs[job] = (what, self.polls)
        return {"success": True, "id": job}

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes, headers: Any) -> Any:
        """A dict (JSON), bytes, or (status, text)."""
        if method == "POST" and (found := re.fullmatch(r"/api/(training|testing|split)/files", path)):
            return self._take(found[1], body, headers)
        if not path.startswith("/v1/api/"):
            return 404, "no such path"
        path = path.removeprefix("/v1")
        if (method, path) == ("GET", "/api/projects"):
            return {"success": True, "projects": [project(self.name)]}
        found = re.fullmatch(r"/api/(\d+)(/.*)", path)
        if not found or int(found[1]) != PROJECT:
            return 404, "no such project"
        return self._project(method, found[2], query, body, headers)

    def _project(self, method: str, path: str, query: dict[str, str], body: bytes, headers: Any) -> Any:
        known = {
            "GET /raw-data": self._list,
            "GET /impulse": lambda q: {"success": True, "impulse": impulse(self.dsp_type)},
            f"GET /dsp/{DSP}": lambda q: dsp_config(self.dsp_type),
            f"GET /training/keras/{LEARN}/metadata": lambda q: trained(self.labels, self.types),
            "GET /downloads": lambda q: downloads(),
            f"GET /learn-data/{LEARN}/model/tflite-int8": lambda q: self.tflite,
            "GET /deployment/download": self._deployment,
            "GET /pretrained-model": lambda q: own_model(self.own),
            "POST /pretrained-model/profile": self._estimate,
        }
        name = f"{method} {path}"
        if name in known:
            return known[name](query)
        if name == "POST /jobs/build-ondevice-model":
            wanted = json.loads(body)
            if query != {"type": "zip"} or set(wanted) != {"engine", "modelType"}:
                return 400, "type=zip, engine and modelType are needed"
            return self.start("build")
        if name == "POST /pretrained-model/upload":
            return self._bring(body, headers)
        if found := re.fullmatch(r"GET /raw-data/(\d+)/wav", name):
            if query != {"axisIx": "0"}:
                return 400, "axisIx is needed"
            sample = next((s for s in self.samples if s.id == int(found[1])), None)
            if sample is None or sample.chart_type != "chart":
                return {"success": False, "error": "Sample cannot be exported as WAV"}
            return sample.wav
        if (found := re.fullmatch(r"GET /jobs/(\d+)/(status|stdout)", name)) and int(found[1]) in self.jobs:
            return self._job(int(found[1]), found[2])
        return 404, "no such path"

    def _take(self, category: str, body: bytes, headers: Any) -> Any:
        parts = form(headers, body)
        if list(parts) != ["data"] or headers.get("x-disallow-duplicates") not in (None, "1"):
            return 400, "one file as data is needed"
        name, wav = parts["data"]
        metadata = json.loads(headers.get("x-metadata", "{}"))
        if not all(isinstance(value, str) for value in metadata.values()):
            return 400, "metadata are text"
        if why := self.refuse(name):
            return {"success": True, "files": [{"fileName": name, "success": False, "error": why}]}
        if wav[:4] != b"RIFF" or int.from_bytes(wav[4:8], "little") + 8 != len(wav):
            return {"success": True, "files": [{"fileName": name, "success": False, "error": "not a WAV file"}]}
        digest = hashlib.sha256(wav).hexdigest()
        with self.lock:
            self.done[digest] += 1
            twin = next((s for s in self.samples if s.wav == wav), None)
            if twin and headers.get("x-disallow-duplicates") == "1":
                error = f"An item with this hash already exists (ids: {twin.id})"
                return {"success": True, "files": [{"fileName": name, "success": False, "error": error}]}
            label = urllib.parse.unquote(headers["x-label"])
            kept = self.add(name, "training" if category == "split" else category, label, wav, metadata=metadata)
        return {"success": True, "files": [{"fileName": name, "success": True, "sampleId": kept.id}]}

    def _list(self, query: dict[str, str]) -> Any:
        if not set(query) <= _LIST or query.get("category") not in ("training", "testing", "validation", "all"):
            return 400, "no such parameter"
        some = [s for s in reversed(self.samples) if query["category"] in ("all", s.category)]
        first, limit = int(query.get("offset", 0)), int(query.get("limit", 100))
        page = [s.described() for s in some[first : first + limit]]
        return {"success": True, "samples": page, "totalCount": len(some)}

    def _job(self, job: int, what: str) -> dict[str, Any]:
        kind, polls = self.jobs[job]
        if what == "stdout":
            line = {"created": WHEN, "data": f"Starting {kind}\nOut of \x1b[31mmemory {KEY}\n", "logLevel": "error"}
            return {"success": True, "stdout": [line], "totalCount": 1}
        self.jobs[job] = (kind, polls - 1)
        described = {
            "id": job,
            "category": "Job",
            "categoryKey": kind,
            "key": f"{kind}-1",
            "created": WHEN,
            "jobNotificationUids": [],
        }
        if polls <= 0:
            described |= {"finished": WHEN, "finishedSuccessful": kind not in self.failing}
        return {"success": True, "job": described}

    def _deployment(self, query: dict[str, str]) -> Any:
        if query != {"type": "zip", "modelType": "int8", "engine": "tflite"}:
            return 400, "no such deployment"
        if not any(kind == "build" and polls < 0 for kind, polls in self.jobs.values()):
            return {"success": False, "error": "No deployment exists"}
        return self.archive

    def _bring(self, body: bytes, headers: Any) -> Any:
        parts = form(headers, body)
        if (
            not {"modelFile", "modelFileName", "modelFileType"}
            <= set(parts)
            <= {
                "modelFile",
                "modelFileName",
                "modelFileType",
                "device",
            }
        ):
            return 400, "modelFile, modelFileName and modelFileType are needed"
        if parts["modelFileType"][1] != b"tflite" or parts["modelFile"][1][4:8] != b"TFL3":
            return {"success": False, "error": "Unknown model type"}
        self.own = {"fileName": parts["modelFileName"][1].decode()}
        return self.start("bring")

    def _estimate(self, query: dict[str, str]) -> Any:
        if not self.own:
            return {"success": False, "error": "No model"}
        self.own["profileInfo"] = self.estimates
        return self.start("estimate")


def form(headers: Any, body: bytes) -> dict[str, tuple[str, bytes]]:
    """Field: (file name, content)."""
    head = f"Content-Type: {headers['Content-Type']}\r\nMIME-Version: 1.0\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    assert message.is_multipart()
    return {
        str(part.get_param("name", header="content-disposition")): (
            urllib.parse.unquote(part.get_filename() or ""),
            part.get_payload(decode=True),  # type: ignore[dict-item]
        )
        for part in message.iter_parts()  # type: ignore[attr-defined]
    }


def project(name: str) -> dict[str, Any]:
    """As a list of projects has it."""
    no = ("ownerIsDeveloperProfile", "isEnterpriseProject", "hasPublicVersion", "isPublic", "allowsLivePublicAccess")
    return {
        "id": PROJECT,
        "name": name,
        "description": "",
        "created": WHEN,
        "owner": "somebody",
        "collaborators": [],
        "labelingMethod": "single_label",
        "metadata": {},
        "whitelabelId": None,
        "tier": "free",
        **dict.fromkeys((*no, "indPauseProcessingSamples", "publicProjectListed"), False),
    }


def impulse(dsp: str) -> dict[str, Any]:
    """One block of each kind."""
    source = {"id": INPUT, "type": "time-series", "name": "Time series", "title": "Time series data"}
    return {
        "id": 1,
        "name": "Impulse #1",
        "type": "default",
        "inputBlocks": [{**source, "windowSizeMs": 1000, "windowIncreaseMs": 500, "frequencyHz": 16000.0}],
        "dspBlocks": [
            {
                "id": DSP,
                "type": dsp,
                "name": dsp.upper(),
                "axes": ["audio"],
                "title": "Audio",
                "implementationVersion": 4,
            }
        ],
        "learnBlocks": [
            {"id": LEARN, "type": "keras", "name": "NN Classifier", "dsp": [DSP], "title": "Classification"}
        ],
        "postProcessingBlocks": [],
    }


def dsp_config(kind: str) -> dict[str, Any]:
    """A DSP block's settings."""
    item = {"type": "float", "readonly": False, "shouldShow": True, "required": True, "showClickToSet": False}
    items = [
        {**item, "name": "Frame length", "param": "frame_length", "value": "0.02", "defaultValue": "0.025"},
        {**item, "name": "Coefficients", "param": "num_cepstral", "defaultValue": "13"},
    ]
    info = {
        "id": DSP,
        "name": kind,
        "windowLength": 16000,
        "type": kind,
        "classes": ["no"],
        "features": {"generated": True, "count": 650},
        "expectedWindowCount": 10,
        "inputAxes": ["audio"],
        "canCalculateFeatureImportance": False,
        "calculateFeatureImportance": False,
        "canNormalizeData": False,
        "normalizeData": "none",
    }
    return {"success": True, "dsp": info, "config": [{"group": "Frames", "items": items}]}


def trained(labels: list[str], types: list[str]) -> dict[str, Any]:
    """A learning block's network."""
    metrics = {
        "type": "int8",
        "loss": 0.3,
        "accuracy": 0.915,
        "confusionMatrix": [],
        "report": {},
        "onDevicePerformance": [],
        "visualization": "none",
        "isSupportedOnMcu": True,
        "additionalMetrics": [],
    }
    return {
        "success": True,
        "created": WHEN,
        "layers": [],
        "classNames": labels,
        "labels": labels,
        "availableModelTypes": types,
        "recommendedModelType": types[-1],
        "modelValidationMetrics": [metrics],
        "hasTrainedModel": True,
        "mode": "classification",
        "imageInputScaling": "torch",
        "thresholds": [],
    }


def downloads() -> dict[str, Any]:
    """What the dashboard offers."""
    offers = (
        ("tflite-float", "TensorFlow Lite (float32)"),
        ("tflite-int8", "TensorFlow Lite (int8 quantized)"),
        ("saved-model", "TensorFlow SavedModel"),
    )
    return {
        "success": True,
        "downloads": [
            {
                "id": f"block-{name}",
                "name": "Classification model",
                "type": kind,
                "size": "40 KB",
                "link": f"/v1/api/{PROJECT}/learn-data/{LEARN}/model/{name}",
            }
            for name, kind in offers
        ],
    }


def estimates() -> dict[str, Any]:
    """Of a model."""
    memory = {"tflite": {"ram": 12000, "rom": 60000}, "eon": {"ram": 9000, "rom": 40000}}
    low = {"description": "Low-end MCU: Cortex-M0+ @ 40MHz", "timePerInferenceMs": 301, "memory": memory}
    high = {"description": "High-end MCU: Cortex-M7 @ 240MHz", "timePerInferenceMs": 4, "memory": memory}
    mpu = {"description": "MPU", "timePerInferenceMs": 1, "rom": 60000.0, "supported": True}
    return {
        "table": {
            "variant": "int8",
            "lowEndMcu": {**low, "supported": True},
            "highEndMcu": {**high, "supported": True},
            "highEndMcuPlusAccelerator": {**high, "description": "Accelerator", "supported": False},
            "mpu": mpu,
            "gpuOrMpuAccelerator": mpu,
        }
    }


def own_model(own: dict[str, Any] | None) -> dict[str, Any]:
    """The model that was brought."""
    model = {"model": {"inputs": [], "outputs": [], **own}} if own else {}
    return {"success": True, "specificDeviceSelected": False, "availableModelTypes": ["int8"], **model}


def deployment(tflite: bytes, *, as_array: bool = True) -> bytes:
    """A C++ library, with the network as an array in C or as a file."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README.md", "# C++ library")
        if as_array:
            values = ", ".join(f"0x{value:02x}" for value in tflite)
            text = f"const unsigned char learn_5[] ALIGN(16) = {{ {values} }};\nunsigned n = {len(tflite)};"
            archive.writestr("tflite-model/tflite_learn_5.cpp", text)
            archive.writestr("tflite-model/other.h", "const unsigned char few[] = { 0x01, 0x02 };")
        else:
            archive.writestr("tflite-model/learn.tflite", tflite)
    return out.getvalue()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    fake: FakeEdgeImpulse

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        parts = urllib.parse.urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fake = self.fake
        with fake.lock:
            fake.requests.append(f"{self.command} {parts.path}")
        fault = fake.take_fault(parts.path)
        if fault and fault.kind in ("status", "text"):
            self._send(fault.status, fault.body, "text/html", fault.headers)
            return
        if fault and fault.kind == "stall":
            fake.stop.wait(20)
            self._break()
            return
        if self.headers.get("x-api-key") != KEY:
            text = json.dumps({"success": False, "error": f"Invalid API key {self.headers.get('x-api-key')}"})
            self._send(401, text.encode(), "application/json")
            return
        answer = fake.answer(self.command, parts.path, dict(urllib.parse.parse_qsl(parts.query)), body, self.headers)
        if fault and fault.kind == "mute":
            self._break()
            return
        if isinstance(answer, tuple):
            text = json.dumps({"success": False, "error": answer[1]})
            self._send(answer[0], text.encode(), "application/json")
        elif isinstance(answer, bytes):
            self._send(200, answer, "application/octet-stream", fault=fault)
        else:
            self._send(200, json.dumps(answer).encode(), "application/json", fault=fault)

    def _send(
        self, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None, fault: Fault | None = None
    ) -> None:
        body = self.fake.damage(body)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if fault and fault.kind == "cut":
            self.wfile.write(body[: len(body) // 2])
            self._break()
        elif fault and fault.kind == "drip":
            with contextlib.suppress(OSError):
                for value in body:
                    self.wfile.write(bytes([value]))
                    if self.fake.stop.wait(0.02):
                        break
            self._break()
        else:
            self.wfile.write(body)

    def _break(self) -> None:
        """As a network that goes away: a reset, where the system allows it."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def running() -> Iterator[FakeEdgeImpulse]:
    """A server with an empty project."""
    fake = FakeEdgeImpulse()
    handler = type("Handler", (_Handler,), {"fake": fake})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    fake.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield fake
    finally:
        fake.stop.set()
        server.shutdown()
        server.server_close()
