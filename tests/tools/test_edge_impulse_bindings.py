"""The project that the tests talk to satisfies Edge Impulse's own client too, so it is not an invention of ours.

The bindings check what they read only where they are asked to, so every answer goes through their types once more.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from host_tools.edgeimpulse.api import Client
from tests.support import fake_edge_impulse
from tests.support.fake_edge_impulse import DSP, KEY, LEARN, PROJECT, FakeEdgeImpulse
from tests.support.tflite_builder import ds_cnn

pytestmark = pytest.mark.slow  # the bindings take five seconds of a processor to load


@pytest.fixture(scope="module")
def bindings() -> Any:
    return pytest.importorskip("edgeimpulse_api", reason="edgeimpulse-api is not installed (make setup)")


@pytest.fixture
def fake() -> Iterator[FakeEdgeImpulse]:
    with fake_edge_impulse.running() as server:
        server.tflite = ds_cnn(channels=8, blocks=1, labels=3)
        server.archive = fake_edge_impulse.deployment(server.tflite)
        server.polls = 0
        yield server


def _client(bindings: Any, fake: FakeEdgeImpulse, key: str = KEY) -> Any:
    settings = bindings.Configuration(host=f"{fake.url}/v1", api_key={"ApiKeyAuthentication": key})
    settings.retries = 0
    return bindings.ApiClient(settings)


def test_their_client_does_the_same_with_it(bindings: Any, fake: FakeEdgeImpulse, tmp_path: Path) -> None:
    sound = fake.add("yes.1.wav", "training", "yes", b"RIFF\x04\0\0\0WAVE", metadata={"speaker": "anna"})
    client = _client(bindings, fake)
    raw, learn, jobs = bindings.RawDataApi(client), bindings.LearnApi(client), bindings.JobsApi(client)
    assert bindings.ProjectsApi(client).list_projects().projects[0].id == PROJECT
    listed = raw.list_samples(PROJECT, "training", limit=10, offset=0, exclude_sensors=True)
    assert listed.total_count == 1 and listed.samples[0].metadata == {"speaker": "anna"}
    assert raw.get_sample_as_audio(PROJECT, sound.id, axis_ix=0, _preload_content=False).data == sound.wav
    blocks = bindings.ImpulseApi(client).get_impulse(PROJECT).impulse
    assert (blocks.dsp_blocks[0].type, blocks.learn_blocks[0].id) == ("mfcc", LEARN)
    assert bindings.DSPApi(client).get_dsp_config(PROJECT, DSP).config[0].items[0].param == "frame_length"
    assert learn.get_keras_metadata(PROJECT, LEARN).class_names == fake.labels
    offers = bindings.ProjectsApi(client).list_downloads(PROJECT).downloads
    assert [offer.link.rpartition("/")[2] for offer in offers if "int8" in offer.type] == ["tflite-int8"]
    assert learn.download_learn_model(PROJECT, LEARN, "tflite-int8", _preload_content=False).data == fake.tflite
    wanted = bindings.BuildOnDeviceModelRequest.from_dict({"engine": "tflite", "modelType": "int8"})
    job = jobs.build_on_device_model_job(PROJECT, "zip", wanted).id
    status = jobs.get_job_status(PROJECT, job).job
    assert status.finished and status.finished_successful
    assert "memory" in jobs.get_jobs_logs(PROJECT, job).stdout[0].data
    deployments = bindings.DeploymentApi(client)
    archive = deployments.download_build(PROJECT, "zip", model_type="int8", engine="tflite", _preload_content=False)
    assert archive.data == fake.archive
    (tmp_path / "mine.tflite").write_bytes(fake.tflite)
    learn.upload_pretrained_model(PROJECT, str(tmp_path / "mine.tflite"), "mine.tflite", "tflite")
    learn.profile_pretrained_model(PROJECT)
    model = learn.get_pretrained_model_info(PROJECT).model
    assert model.file_name == "mine.tflite" and model.profile_info.table.low_end_mcu.time_per_inference_ms == 301
    with pytest.raises(bindings.exceptions.UnauthorizedException):
        bindings.ProjectsApi(_client(bindings, fake, "ei_wrong_key")).list_projects()


def test_its_answers_have_all_that_their_types_require(bindings: Any, fake: FakeEdgeImpulse) -> None:
    fake.add("yes.1.wav", "training", "yes", b"RIFF\x04\0\0\0WAVE", labels=["yes"])
    fake.own = {"fileName": "x.tflite", "profileInfo": fake.estimates}
    job = fake.start("build")["id"]
    types = {
        "projects": "ListProjectsResponse",
        f"{PROJECT}/raw-data?category=training": "ListSamplesResponse",
        f"{PROJECT}/impulse": "GetImpulseResponse",
        f"{PROJECT}/dsp/{DSP}": "DSPConfigResponse",
        f"{PROJECT}/training/keras/{LEARN}/metadata": "KerasModelMetadataResponse",
        f"{PROJECT}/downloads": "ProjectDownloadsResponse",
        f"{PROJECT}/jobs/{job}/status": "GetJobResponse",
        f"{PROJECT}/jobs/{job}/stdout": "LogStdoutResponse",
        f"{PROJECT}/pretrained-model": "GetPretrainedModelResponse",
    }
    for path, name in types.items():
        request = urllib.request.Request(f"{fake.url}/v1/api/{path}", headers={"x-api-key": KEY})
        with urllib.request.urlopen(request) as answer:
            value = json.load(answer)
        getattr(bindings.models, name).parse_obj(value)
    bindings.models.StartJobResponse.parse_obj(fake.start("bring"))


def test_our_client_asks_for_paths_that_theirs_knows(bindings: Any, fake: FakeEdgeImpulse) -> None:
    folder = Path(bindings.__file__).parent / "api"
    known = {line for file in folder.glob("*_api.py") for line in file.read_text(encoding="utf-8").split("'")}
    with Client(fake.environment) as client:
        fake.add("yes.1.wav", "training", "yes", b"RIFF\x04\0\0\0WAVE")
        client.project()
        list(client.samples(PROJECT))
        client.impulse(PROJECT)
        client.parameters(PROJECT, DSP)
        client.trained(PROJECT, LEARN)
        client.own_model(PROJECT)
        client.downloads(PROJECT)
        job = client.build(PROJECT, "tflite", "int8")
        client.finish(PROJECT, job, lambda *_: None, "", 10)
    for request in fake.requests:
        path = request.partition(" /v1")[2]
        for number, name in ((PROJECT, "projectId"), (DSP, "dspId"), (LEARN, "learnId"), (job, "jobId")):
            path = path.replace(f"/{number}/", f"/{{{name}}}/").replace(f"/dsp/{number}", f"/dsp/{{{name}}}")
        assert path in known, path
