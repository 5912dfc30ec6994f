"""One worker over gRPC: what it says when all goes well, and each status when it does not."""

import errno
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tridentserve import errors
from tridentserve.domain.ids import ContentDigest
from tridentserve.domain.stages import Stage
from tridentserve.domain.strategy import SINGLE, Strategy
from tridentserve.domain.tensors import Tensor
from tridentserve.rpc import convert
from tridentserve.rpc.v1 import common_pb2, stage_pb2, tensor_pb2
from tridentserve.stage.fakes import FAKE_MODEL, FakeRunner, echo
from tridentserve.stage.runner import Media, Output, Task
from tridentserve.stage.runs import CHUNK_BYTES
from tridentserve.store.memory import MemoryStore
from tridentserve.store.shm import SharedMemoryStore

if TYPE_CHECKING:
    from tests.stage.conftest import Serve


def _tensor(data: bytes) -> Tensor:
    return Tensor(dtype="uint8", shape=(len(data),), data=memoryview(data))


def _put(store: MemoryStore, data: bytes) -> tensor_pb2.TensorRef:
    ref = store.put({"encoded": _tensor(data)}, ttl_s=1e9, now=0.0)
    return convert.tensor_ref_to(ref)


async def test_a_run_tells_start_every_step_and_where_its_output_lies(serve: "Serve") -> None:
    bench = await serve(FakeRunner(Stage.ENCODE))

    answer = await bench.run(bench.request(prompt="a fox"))

    assert answer.batch == 1
    assert answer.steps[-1] == 4
    assert answer.steps == sorted(set(answer.steps))
    [ref] = answer.outputs
    assert bytes(bench.network.get(convert.tensor_ref_from(ref))["echo"].data) == b"a fox"
    assert answer.finished.digest == FAKE_MODEL.digest
    assert answer.finished.results[0].request_id == "r1"


async def test_outputs_go_to_shared_memory_only_for_a_reader_of_the_same_domain(
    serve: "Serve",
) -> None:
    bench = await serve(FakeRunner(Stage.ENCODE))

    same = await bench.run(bench.request(request="a", output_domain=bench.domain))
    other = await bench.run(bench.request(request="b", output_domain="another"))
    unknown = await bench.run(bench.request(request="c"))

    stores = [answer.outputs[0].store for answer in (same, other, unknown)]
    assert stores == ["shm", "redis", "redis"]
    assert bench.sample("tridentserve_transfer_fallback_total") == 0


async def test_a_full_shared_memory_falls_back_to_the_network_and_is_counted(
    serve: "Serve",
) -> None:
    full = MemoryStore(name="shm", capacity_bytes=1)
    bench = await serve(FakeRunner(Stage.ENCODE), local=full)

    answer = await bench.run(bench.request(output_domain=bench.domain))

    assert answer.outputs[0].store == "redis"
    assert bench.sample("tridentserve_transfer_fallback_total") == 1


@pytest.mark.usefixtures("impatient")
async def test_full_stores_refuse_with_store_full_and_a_delay_and_free_the_slot(
    serve: "Serve",
) -> None:
    bench = await serve(
        FakeRunner(Stage.ENCODE), network=MemoryStore(name="redis", network=True, capacity_bytes=1)
    )

    error = await bench.fails(bench.run(bench.request()))

    assert isinstance(error, errors.ExhaustedError)
    assert error.reason == "STORE_FULL"
    assert error.retry_after_s > 0
    assert bench.inflight() == 0


async def test_timings_say_where_the_input_came_from_and_who_ran_it(serve: "Serve") -> None:
    bench = await serve(FakeRunner(Stage.DIFFUSE))
    source = _put(bench.network, b"embedding")

    answer = await bench.run(bench.request(inputs=(source,)))

    timing = answer.finished.timing
    assert (timing.worker, timing.node, timing.stage) == (
        "pod-0",
        "node-0",
        common_pb2.STAGE_DIFFUSE,
    )
    assert (timing.input_store, timing.input_bytes) == ("redis", source.size_bytes)
    assert (timing.batch, timing.attempts) == (1, 1)
    spent = (timing.fetch_seconds, timing.queue_seconds, timing.run_seconds, timing.put_seconds)
    assert all(seconds >= 0 for seconds in spent)
    assert timing.run_seconds > 0


async def test_metrics_count_runs_batches_and_bytes(serve: "Serve") -> None:
    bench = await serve(FakeRunner(Stage.DIFFUSE))
    source = _put(bench.network, b"embedding")

    answer = await bench.run(bench.request(inputs=(source,)))

    duration = "tridentserve_stage_duration_seconds_count"
    assert bench.sample(duration, pool="pool", shape_class="64px") == 1
    assert bench.sample("tridentserve_stage_batch_size_sum", pool="pool") == 1
    moved = "tridentserve_transfer_bytes_total"
    assert bench.sample(moved, store="redis", direction="get") == source.size_bytes
    assert bench.sample(moved, store="redis", direction="put") == answer.outputs[0].size_bytes
    assert bench.inflight() == 0


async def test_media_come_in_chunks_that_add_up_and_name_their_picture(serve: "Serve") -> None:
    pictures = [bytes([n]) * (2 * CHUNK_BYTES + n) for n in (1, 2)]

    def make(_: Task) -> Output:
        media = tuple(Media(mime_type="image/png", data=data) for data in pictures)
        return Output(tensors={}, media=media)

    bench = await serve(FakeRunner(Stage.DECODE, make=make))
    source = _put(bench.network, b"latents")

    answer = await bench.run(bench.request(inputs=(source,), count=2))

    chunks = [event.media for event in answer.events if event.HasField("media")]
    assert max(len(chunk.data) for chunk in chunks) <= 1_000_000
    for index, data in enumerate(pictures):
        own = [chunk for chunk in chunks if chunk.index == index]
        assert b"".join(chunk.data for chunk in own) == data
        assert [chunk.last for chunk in own] == [False] * (len(own) - 1) + [True]
    assert answer.outputs == ()
    assert answer.events[-1].HasField("finished")


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1])
async def test_media_of_every_size_end_with_a_last_chunk(serve: "Serve", size: int) -> None:
    media = (Media(mime_type="image/png", data=b"x" * size),)
    runner = FakeRunner(Stage.DECODE, make=lambda _: Output(tensors={}, media=media))
    bench = await serve(runner)

    answer = await bench.run(bench.request(inputs=(_put(bench.network, b"latents"),)))

    chunks = [event.media for event in answer.events if event.HasField("media")]
    assert (len(answer.media), chunks[-1].last) == (size, True)


async def test_a_worker_that_loads_refuses_everything_as_not_ready(serve: "Serve") -> None:
    bench = await serve(FakeRunner(Stage.ENCODE), ready=False)
    stub, ref = bench.stub, tensor_pb2.TensorRef(store="redis", key="k")

    for call in (
        bench.run(bench.request()),
        stub.Describe(stage_pb2.DescribeRequest()),
        stub.Control(stage_pb2.ControlRequest(segment_id="s", verb=stage_pb2.VERB_CANCEL)),
        stub.Release(stage_pb2.ReleaseRequest(refs=[ref])),
        stub.Export(stage_pb2.ExportRequest(ref=ref, store="redis")),
    ):
        error = await bench.fails(call)
        assert isinstance(error, errors.UnavailableError)
        assert error.reason == "NOT_READY"
    assert (await bench.probe("readyz"))[0] == 503
    assert (await bench.probe("healthz"))[0] == 200


async def test_describe_tells_identity_model_and_slots(serve: "Serve") -> None:
    bench = await serve(FakeRunner(Stage.ENCODE), max_batch=3)

    described = await bench.stub.Describe(stage_pb2.DescribeRequest())

    assert (described.worker, described.node, described.pool) == ("pod-0", "node-0", "pool")
    assert described.pipeline == "team/flux"
    assert convert.model_from(described.model) == FAKE_MODEL
    assert list(described.capable) == list(described.resident) == [common_pb2.STAGE_ENCODE]
    assert list(described.device_ids) == ["cpu/pod-0"]
    assert described.slots == 3
    assert described.memory_domain == bench.domain
    assert [convert.strategy_from(item) for item in described.strategies] == [SINGLE]
    assert [(cost.stage, cost.seconds) for cost in described.load_costs] == [(1, 0.5)]
    assert described.boot_id
    assert not described.draining
    assert (await bench.probe("readyz"))[0] == 200


async def test_co_located_stages_list_only_strategies_that_all_of_them_run(serve: "Serve") -> None:
    both = FakeRunner(Stage.ENCODE, strategies=(SINGLE, Strategy(cfg=2)))
    bench = await serve(both, FakeRunner(Stage.DIFFUSE))

    described = await bench.stub.Describe(stage_pb2.DescribeRequest())

    assert [convert.strategy_from(item) for item in described.strategies] == [SINGLE]
    assert len(described.capable) == 2


async def test_without_a_free_slot_a_run_is_refused_and_told_when_to_come_back(
    serve: "Serve",
) -> None:
    runner = FakeRunner(Stage.ENCODE)
    runner.hold()
    bench = await serve(runner)
    first = await bench.begin(bench.request(request="a"))

    error = await bench.fails(bench.run(bench.request(request="b")))

    assert isinstance(error, errors.ExhaustedError)
    assert error.reason == "NO_SLOT"
    assert bench.inflight() == 1
    runner.allow(8)
    assert (await first.rest()).outputs
    assert (await bench.run(bench.request(request="b"))).outputs


async def test_a_slot_is_free_when_finished_is_read(serve: "Serve") -> None:
    bench = await serve(FakeRunner(Stage.ENCODE))

    for number in range(20):
        await bench.listen(bench.request(request=f"r{number}")).rest()


async def test_a_run_of_an_older_epoch_is_refused(serve: "Serve") -> None:
    bench = await serve(FakeRunner(Stage.ENCODE))
    await bench.run(bench.request(epoch=5))

    error = await bench.fails(bench.run(bench.request(epoch=4)))

    assert isinstance(error, errors.StaleEpochError)
    assert (await bench.run(bench.request(epoch=5))).outputs


async def test_a_newer_epoch_takes_the_slot_of_the_older_run_of_its_request(
    serve: "Serve",
) -> None:
    runner = FakeRunner(Stage.ENCODE)
    runner.hold()
    bench = await serve(runner)
    older = await bench.begin(bench.request(epoch=1))
    # What is cancelled on its way to the engine ends at once, and never are there two.
    await bench.until(lambda: len(runner.calls) == 1)

    newer = bench.listen(bench.request(epoch=2))
    await bench.until(lambda: bench.worker_runs() == 2)
    runner.allow(5)

    assert isinstance(await bench.fails(older.read()), errors.CancelledError)
    assert (await newer.rest()).outputs


async def test_a_segment_that_runs_already_is_refused(serve: "Serve") -> None:
    runner = FakeRunner(Stage.ENCODE)
    runner.hold()
    bench = await serve(runner, max_batch=2, max_wait_s=0.0)
    first = await bench.begin(bench.request())

    error = await bench.fails(bench.run(bench.request()))

    assert isinstance(error, errors.StaleEpochError)
    runner.allow(4)
    assert (await first.rest()).outputs


async def test_another_digest_is_refused_and_the_own_one_is_not(serve: "Serve") -> None:
    bench = await serve(FakeRunner(Stage.ENCODE))

    error = await bench.fails(bench.run(bench.request(digest="another")))

    assert isinstance(error, errors.DigestMismatchError)
    assert (await bench.run(bench.request(digest=ContentDigest("fake-digest")))).outputs


@pytest.mark.parametrize(
    "ref",
    [
        tensor_pb2.TensorRef(store="redis", key="gone"),
        tensor_pb2.TensorRef(store="shm", key="gone", domain="another"),
        tensor_pb2.TensorRef(store="cuda", key="unheard of"),
    ],
)
async def test_an_input_that_cannot_be_read_asks_for_an_export(
    serve: "Serve", ref: tensor_pb2.TensorRef
) -> None:
    bench = await serve(FakeRunner(Stage.DIFFUSE))

    error = await bench.fails(bench.run(bench.request(inputs=(ref,))))

    assert isinstance(error, errors.TensorUnavailableError)
    assert bench.inflight() == 0
    assert bench.runner.calls == []


@pytest.mark.usefixtures("impatient")
async def test_a_store_that_is_away_is_told_from_a_tensor_that_is_gone(serve: "Serve") -> None:
    bench = await serve(FakeRunner(Stage.DIFFUSE))
    source = _put(bench.network, b"embedding")
    bench.network.close()

    error = await bench.fails(bench.run(bench.request(inputs=(source,))))

    assert isinstance(error, errors.UnavailableError)
    assert error.reason == "STORE_UNREACHABLE"


@pytest.mark.usefixtures("impatient")
async def test_what_the_system_refuses_a_store_is_the_workers_trouble_and_not_the_models(
    serve: "Serve", monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = await serve(FakeRunner(Stage.DIFFUSE))
    source = _put(bench.network, b"embedding")

    def refuse(ref: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(bench.network, "get", refuse)
    error = await bench.fails(bench.run(bench.request(inputs=(source,))))

    assert isinstance(error, errors.UnavailableError)
    assert error.reason == "STORE_UNREACHABLE"


async def test_a_model_that_fails_is_internal_and_the_worker_goes_on(serve: "Serve") -> None:
    def make(task: Task) -> Output:
        if task.generation.prompt == "bad":
            raise RuntimeError("shape mismatch")
        return echo(task)

    bench = await serve(FakeRunner(Stage.ENCODE, make=make))

    error = await bench.fails(bench.run(bench.request(request="a", prompt="bad")))

    assert isinstance(error, errors.StageFailedError)
    assert "shape mismatch" in str(error)
    assert (await bench.run(bench.request(request="b", prompt="good"))).outputs


async def test_a_device_that_computes_no_more_is_no_fault_of_the_request(serve: "Serve") -> None:
    def make(_: Task) -> Output:
        raise RuntimeError("an illegal memory access was encountered")

    runner = FakeRunner(Stage.ENCODE, make=make)
    runner.device_error = RuntimeError("an illegal memory access was encountered")
    bench = await serve(runner)

    error = await bench.fails(bench.run(bench.request()))

    assert isinstance(error, errors.UnavailableError)
    assert error.reason == "DEVICE_BROKEN"
    assert "illegal memory access" in (bench.worker.problem() or "")


async def test_a_field_that_the_model_refuses_is_named(serve: "Serve") -> None:
    def make(_: Task) -> Output:
        raise errors.InvalidFieldError("output_format", "use image/png")

    bench = await serve(FakeRunner(Stage.ENCODE, make=make))

    error = await bench.fails(bench.run(bench.request()))

    assert isinstance(error, errors.InvalidFieldError)
    assert error.field == "output_format"


async def test_a_model_that_returns_too_few_outputs_fails_instead_of_mixing_them(
    serve: "Serve",
) -> None:
    class Forgetful(FakeRunner):
        def run(self, *arguments: object) -> list[Output]:
            return []

    bench = await serve(Forgetful(Stage.ENCODE))

    assert isinstance(await bench.fails(bench.run(bench.request())), errors.StageFailedError)


async def test_a_bad_request_is_refused_before_it_takes_a_slot(serve: "Serve") -> None:
    bench = await serve(FakeRunner(Stage.ENCODE))
    request = bench.request()
    request.items.append(request.items[0])

    error = await bench.fails(bench.run(request))

    assert isinstance(error, errors.InvalidFieldError)
    assert error.field == "items"
    assert bench.inflight() == 0


async def test_release_deletes_and_may_be_repeated(serve: "Serve") -> None:
    bench = await serve(FakeRunner(Stage.ENCODE))
    answer = await bench.run(bench.request())

    for _ in range(2):
        await bench.stub.Release(stage_pb2.ReleaseRequest(refs=answer.outputs))

    assert bench.used_bytes == 0


async def test_release_leaves_what_another_worker_made(serve: "Serve") -> None:
    bench = await serve(FakeRunner(Stage.ENCODE))
    foreign = _put(bench.network, b"another worker's")

    await bench.stub.Release(stage_pb2.ReleaseRequest(refs=[foreign]))

    assert bench.network.get(convert.tensor_ref_from(foreign))


async def test_release_deletes_what_a_process_made_that_is_gone(serve: "Serve") -> None:
    bench = await serve(FakeRunner(Stage.ENCODE))
    orphan = _put(bench.network, b"a dead worker's")

    for _ in range(2):
        await bench.stub.Release(stage_pb2.ReleaseRequest(refs=[orphan], boot_id="another"))

    with pytest.raises(errors.TensorMissingError):
        bench.network.get(convert.tensor_ref_from(orphan))


async def test_release_under_the_name_of_the_process_before_frees_what_this_one_made(
    serve: "Serve",
) -> None:
    bench = await serve(FakeRunner(Stage.ENCODE), drain_s=0.0)
    answer = await bench.run(bench.request())

    await bench.stub.Release(stage_pb2.ReleaseRequest(refs=answer.outputs, boot_id="before"))

    assert bench.used_bytes == 0
    assert await bench.worker.drain(), "it still waits for the release"


async def test_export_copies_and_the_copy_goes_with_its_original(serve: "Serve") -> None:
    bench = await serve(FakeRunner(Stage.ENCODE))
    answer = await bench.run(bench.request(prompt="a fox", output_domain=bench.domain))
    request = stage_pb2.ExportRequest(ref=answer.outputs[0], store="redis")

    copy = (await bench.stub.Export(request)).ref
    again = (await bench.stub.Export(request)).ref

    assert copy.store == "redis"
    assert bytes(bench.network.get(convert.tensor_ref_from(copy))["echo"].data) == b"a fox"
    assert again == copy
    await bench.stub.Release(stage_pb2.ReleaseRequest(refs=answer.outputs))
    assert bench.used_bytes == 0


async def test_export_brings_what_lies_in_shared_memory_to_a_worker_outside_of_it(
    serve: "Serve", tmp_path: Path
) -> None:
    network = MemoryStore(name="redis", network=True)
    inside = SharedMemoryStore(tmp_path, capacity_bytes=1 << 20)
    encoder = await serve(FakeRunner(Stage.ENCODE), local=inside, network=network)
    decoder = await serve(FakeRunner(Stage.DECODE), network=network)
    encoded = await encoder.run(encoder.request(prompt="a fox", output_domain=encoder.domain))
    assert encoded.outputs[0].store == "shm"

    unread = await decoder.fails(decoder.run(decoder.request(inputs=encoded.outputs)))
    exported = await encoder.stub.Export(
        stage_pb2.ExportRequest(ref=encoded.outputs[0], store="redis")
    )
    decoded = await decoder.run(decoder.request(epoch=2, inputs=(exported.ref,)))

    assert isinstance(unread, errors.TensorUnavailableError)
    assert decoded.media == b"a fox"


async def test_export_of_what_lies_there_already_is_the_same_reference(serve: "Serve") -> None:
    bench = await serve(FakeRunner(Stage.ENCODE))
    answer = await bench.run(bench.request())

    request = stage_pb2.ExportRequest(ref=answer.outputs[0], store="redis")

    assert (await bench.stub.Export(request)).ref == answer.outputs[0]


async def test_export_refuses_unknown_tensors_and_stores(serve: "Serve") -> None:
    bench = await serve(FakeRunner(Stage.ENCODE))
    answer = await bench.run(bench.request())
    foreign = _put(bench.network, b"another worker's")

    async def export(ref: tensor_pb2.TensorRef, store: str) -> errors.TridentServeError:
        return await bench.fails(bench.stub.Export(stage_pb2.ExportRequest(ref=ref, store=store)))

    assert isinstance(await export(foreign, "redis"), errors.TensorUnavailableError)
    unknown = await export(answer.outputs[0], "s3")
    assert isinstance(unknown, errors.InvalidFieldError)
    assert unknown.field == "store"
    nameless = await export(tensor_pb2.TensorRef(), "redis")
    assert isinstance(nameless, errors.InvalidFieldError)
    assert nameless.field == "ref"


async def test_control_knows_no_other_verb_and_finds_nothing_where_nothing_runs(
    serve: "Serve",
) -> None:
    bench = await serve(FakeRunner(Stage.ENCODE))

    answer = await bench.stub.Control(
        stage_pb2.ControlRequest(segment_id="x", epoch=1, verb=stage_pb2.VERB_CANCEL)
    )
    error = await bench.fails(bench.stub.Control(stage_pb2.ControlRequest(segment_id="x")))

    assert not answer.found
    assert isinstance(error, errors.InvalidFieldError)
    assert error.field == "verb"


async def test_two_workers_hand_a_tensor_on_through_a_shared_domain(serve: "Serve") -> None:
    shared, network = MemoryStore(name="shm"), MemoryStore(name="redis", network=True)
    encoder = await serve(FakeRunner(Stage.ENCODE), local=shared, network=network)
    decoder = await serve(FakeRunner(Stage.DECODE), local=shared, network=network)

    encoded = await encoder.run(encoder.request(prompt="a fox", output_domain=decoder.domain))
    decoded = await decoder.run(decoder.request(inputs=encoded.outputs))

    assert decoded.finished.timing.input_store == "shm"
    assert decoded.media == b"a fox"
