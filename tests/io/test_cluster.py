"""Blocks computed by worker processes of a Dask cluster, some of which are killed."""

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import voxel_functions
from joblib import parallel_config
from scipy import stats
from voxel_functions import Recorded, end_the_process, moments, refuse, runs_of

import crbestim
from crbestim import MonoExponentialModel, NLLSEstimator, Prior
from crbestim.io import _cluster, estimate_volume, map_volume
from crbestim.io._estimates import estimates_of

distributed = pytest.importorskip("distributed")

SHAPE = (5, 4, 10)
N_BLOCKS = SHAPE[2]
IN_FLIGHT = 4  # two tasks for each of two workers

# What the threads of a cluster leave when it or its workers end.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def own_modules():
    import voxel_functions  # noqa: F401

    import crbestim.io  # noqa: F401

    return os.getpid()


@pytest.fixture(scope="module")
def running_cluster():
    """Two worker processes, which are started again when they are killed."""
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address=":0",
        memory_limit=0,
        silence_logs="CRITICAL",
    ) as cluster:
        yield cluster


@pytest.fixture
def cluster(running_cluster):
    """The address of the scheduler; both workers are there, and have imported the package."""
    with distributed.Client(running_cluster.scheduler_address, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
        client.run(own_modules)
    return running_cluster.scheduler_address


@pytest.fixture
def options():
    """One block a slice, whose number goes with it."""
    block = np.broadcast_to(np.arange(N_BLOCKS), SHAPE)
    return {"most_voxels": 20, "voxel_maps": {"block": block}, "verbose": 0}


@pytest.fixture
def volume(draw_images, in_memory):
    """Coefficients, none of which are empty."""
    return in_memory(draw_images((*SHAPE, 3)))


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name in found:
        np.testing.assert_array_equal(found[name], expected[name])


class Killer(threading.Thread):
    """Kills the process that begins a block when some are finished, and notes what had been received then."""

    def __init__(self, runs, log, n_finished=3):
        super().__init__(daemon=True)
        self.runs, self.log, self.n_finished = runs, log, n_finished
        self.killed, self.received = None, None

    def run(self):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if len(list(self.log.glob("batch_*.npz"))) >= self.n_finished:
                unfinished = {path.stem for path in self.runs.glob("*.begun")}
                unfinished -= {path.stem for path in self.runs.glob("*.done")}
                if unfinished:
                    self.killed = int(min(unfinished).split("_")[1])
                    os.kill(self.killed, signal.SIGKILL)
                    self.received = {int(path.stem.split("_")[1]) for path in self.log.glob("batch_*.npz")}
                    return
            time.sleep(0.01)


def run_with_a_kill(apply, volume, options, cluster, tmp_path):
    """Compute on the cluster, kill a worker meanwhile, and check which blocks were computed twice."""
    runs, log = tmp_path / "runs", tmp_path / "log"
    runs.mkdir()
    killer = Killer(runs, log)
    killer.start()
    found = map_volume(Recorded(apply, runs, seconds=0.2), volume, checkpoint=log, scheduler=cluster, **options)
    killer.join()
    assert killer.killed is not None
    begun, done = runs_of(runs), runs_of(runs, "done")
    assert {block for block, _ in done} == set(range(N_BLOCKS))
    assert len({process for _, process in begun}) >= 2
    repeated = {block for block, _ in begun if sum(other == block for other, _ in begun) > 1}
    assert repeated
    assert len(begun) - N_BLOCKS <= IN_FLIGHT
    assert not repeated & killer.received
    assert all((block, killer.killed) in begun for block in repeated)
    return found


def test_error_of_the_function_is_told(volume, cluster):
    with pytest.raises(ValueError, match="R must not be 20"):
        map_volume(refuse, volume, most_voxels=20, scheduler=cluster, verbose=0)


def test_large_blocks_are_sent_without_a_warning(draw_images, in_memory, cluster):
    volume = in_memory(draw_images((100, 100, 10, 8), np.complex128))  # 12 MB
    found = map_volume(moments, volume, most_voxels=10**6, scheduler=cluster, verbose=0)
    assert_same(found, map_volume(moments, volume, verbose=0))


def test_finished_blocks_are_kept_in_a_resumed_run(volume, options, cluster, tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    options["checkpoint"] = tmp_path / "log"
    expected = map_volume(Recorded(moments, tmp_path / "first"), volume, **options)
    for block in (2, 7, 8):
        (tmp_path / "log" / f"batch_{block:06d}.npz").unlink()
    found = map_volume(Recorded(moments, tmp_path / "second"), volume, scheduler=cluster, **options)
    assert sorted(block for block, _ in runs_of(tmp_path / "second")) == [2, 7, 8]
    assert_same(found, expected)


def test_simulation_survives_the_loss_of_a_worker(volume, options, cluster, tmp_path):
    found = run_with_a_kill(moments, volume, options, cluster, tmp_path)
    expected = map_volume(moments, volume, verbose=0)
    assert_same(found, expected)


def test_network_survives_the_loss_of_a_worker(tiny_network, draw_images, in_memory, options, cluster, tmp_path):
    volume = in_memory(draw_images((*SHAPE, 3)))
    found = run_with_a_kill(estimates_of(tiny_network, False), volume, options, cluster, tmp_path)
    expected = map_volume(estimates_of(tiny_network, False), volume, most_voxels=20, verbose=0)
    assert np.isfinite(found["estimate"]).all()
    assert_same(found, expected)


def test_fit_survives_the_loss_of_a_worker(in_memory, options, cluster, tmp_path):
    model = MonoExponentialModel(np.arange(1, 9) * 0.02)
    prior = Prior({"T2": stats.uniform(0.02, 0.3)})
    estimator = NLLSEstimator(model, prior=prior, n_candidates=256, n_starts=2, random_state=0, verbose=0).fit()
    rng = np.random.default_rng(0)
    signals = model.signal(rng.uniform(0.03, 0.2, (200, 1))).reshape(*SHAPE, 8)
    volume = in_memory(signals + 1e-2 * (rng.standard_normal(signals.shape) + 1j * rng.standard_normal(signals.shape)))
    found = run_with_a_kill(estimates_of(estimator, False), volume, options, cluster, tmp_path)
    expected = estimate_volume(estimator, volume, most_voxels=20, verbose=0)
    np.testing.assert_array_equal(found["estimate"][..., 0], expected.maps[0].values)
    np.testing.assert_array_equal(found["std"][..., 0], expected.maps[0].std)
    np.testing.assert_array_equal(found["quality"], expected.quality)
    assert np.isfinite(found["estimate"]).all()


def test_blocks_and_arrays_by_the_cluster_as_default(tiny_network, draw_images, in_memory, cluster):
    """The backend of joblib, and dask arrays, where a client is the default one."""
    da = pytest.importorskip("dask.array")
    images = draw_images((*SHAPE, 3))
    volume = in_memory(images)
    expected = estimate_volume(tiny_network, volume, most_voxels=20, verbose=0).maps[0].values
    with distributed.Client(cluster) as client:
        with parallel_config(backend="dask"):
            found = estimate_volume(tiny_network, volume, most_voxels=20, n_jobs=2, verbose=0).maps[0].values
        np.testing.assert_array_equal(found, expected)
        lazy = da.from_array(images, chunks=(5, 4, 1, 3))
        whole = lazy.map_blocks(tiny_network.predict_coefficients, chunks=(*lazy.chunks[:3], (1,)), dtype=np.float64)
        np.testing.assert_array_equal(client.compute(whole).result()[..., 0].astype(np.float32), expected)


def test_block_that_no_worker_survives_is_told(volume, cluster, running_cluster, monkeypatch):
    monkeypatch.setattr(running_cluster.scheduler, "allowed_failures", 0)
    with pytest.raises(OSError, match="scheduler: workers at .* do not survive a block"):
        map_volume(end_the_process, volume, scheduler=cluster, verbose=0)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.mark.parametrize(
    "address", ["tcp://127.0.0.1:{port}", "127.0.0.1:{port}", "foo://127.0.0.1:{port}", "tcp://x"]
)
def test_scheduler_that_does_not_answer_is_told_soon(volume, address, monkeypatch):
    assert _cluster._SECONDS <= 10
    monkeypatch.setattr(_cluster, "_SECONDS", 2)
    address = address.format(port=free_port())
    begin = time.monotonic()
    with pytest.raises(OSError, match=f"scheduler: no Dask scheduler answers at {address}"):
        map_volume(moments, volume, scheduler=address, verbose=0)
    assert time.monotonic() - begin < 15
    gc.collect()  # the client that was not made closes itself, which must not happen in the thread of the next one


def test_scheduler_without_workers_is_told(volume):
    with (
        distributed.LocalCluster(n_workers=0, processes=True, dashboard_address=":0") as empty,
        pytest.raises(OSError, match="scheduler: the Dask scheduler at .* has no workers"),
    ):
        map_volume(moments, volume, scheduler=empty.scheduler_address, verbose=0)


@pytest.fixture
def separate_cluster(tmp_path):
    """Scheduler and worker as programs; the scheduler knows nothing of the functions of these tests."""
    file = tmp_path / "scheduler.json"
    options = ["--scheduler-file", str(file), "--dashboard-address", ":0"]
    path = os.pathsep.join([str(Path(crbestim.__file__).parents[1]), str(Path(voxel_functions.__file__).parent)])
    programs = []
    try:
        for arguments, environment in [
            (["scheduler", "--port", "0"], {}),
            (["worker", "--no-nanny", "--nthreads", "1"], {"PYTHONPATH": path}),
        ]:
            program = [sys.executable, "-m", "dask", *arguments, *options]
            programs.append(
                subprocess.Popen(program, env=os.environ | environment, cwd=tmp_path, stderr=subprocess.DEVNULL)
            )
            while not file.exists():
                time.sleep(0.05)
        with distributed.Client(scheduler_file=str(file), set_as_default=False) as client:
            client.wait_for_workers(1, timeout=60)
        yield json.loads(file.read_text())["address"], *programs
    finally:
        for running in programs:
            running.kill()
            running.wait()


def test_loss_of_the_scheduler_is_told(volume, options, separate_cluster, tmp_path):
    address, scheduler, _ = separate_cluster
    runs, log = tmp_path / "runs", tmp_path / "log"
    runs.mkdir()
    options["checkpoint"] = log

    def kill():
        while not list(log.glob("batch_*.npz")):
            time.sleep(0.01)
        scheduler.kill()

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    with pytest.raises(OSError, match="scheduler: the Dask scheduler at .* is lost"):
        map_volume(Recorded(moments, runs, 0.2), volume, scheduler=address, **options)
    thread.join(timeout=1)
    assert not thread.is_alive()
    kept = len(list(log.glob("batch_*.npz")))
    assert 1 <= kept < N_BLOCKS
    (tmp_path / "second").mkdir()
    found = map_volume(Recorded(moments, tmp_path / "second"), volume, **options)
    assert len(runs_of(tmp_path / "second")) == N_BLOCKS - kept
    assert_same(found, map_volume(moments, volume, verbose=0))


def test_loss_of_all_workers_is_told(volume, options, separate_cluster, tmp_path):
    address, _, worker = separate_cluster
    runs, options["checkpoint"] = tmp_path / "runs", tmp_path / "log"
    runs.mkdir()

    def kill():
        while not list((tmp_path / "log").glob("batch_*.npz")):
            time.sleep(0.01)
        worker.kill()

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    with pytest.raises(OSError, match="scheduler: all workers of .* are gone, and no new one came in 0.5 s"):
        map_volume(Recorded(moments, runs, 0.2), volume, scheduler=address, worker_timeout=0.5, **options)
    thread.join(timeout=1)
    assert not thread.is_alive()
    kept = len(list((tmp_path / "log").glob("batch_*.npz")))
    assert 1 <= kept < N_BLOCKS
    (tmp_path / "second").mkdir()
    found = map_volume(Recorded(moments, tmp_path / "second"), volume, **options)
    assert len(runs_of(tmp_path / "second")) == N_BLOCKS - kept
    assert_same(found, map_volume(moments, volume, verbose=0))


@pytest.mark.parametrize("timeout", [0, -1.0])
def test_timeout_must_be_positive(volume, timeout):
    with pytest.raises(ValueError, match="worker_timeout must be positive"):
        map_volume(moments, volume, worker_timeout=timeout, verbose=0)


def test_worker_without_the_function_is_told(volume, separate_cluster, tmp_path, monkeypatch):
    (tmp_path / "absent_there.py").write_text("def apply(rows):\n    return {}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "absent_there", raising=False)
    from absent_there import apply

    (tmp_path / "absent_there.py").unlink()
    with pytest.raises(OSError, match="scheduler: a worker at .* cannot import what it needs: .*absent_there"):
        map_volume(apply, volume, scheduler=separate_cluster[0], verbose=0)
