"""Long operations that are killed at random moments, and what the resumed ones find.

Each operation runs once as a process of its own, and its processor time is measured. Then it is started in an empty
directory and killed (SIGKILL) when it has used a random share of that time; every file that is there must be whole, or
be known as a part that is being written; the same operation is started again, and perhaps killed again, until it ends.
Its files must be those of the uninterrupted run, byte for byte, and there must be no others. Two exceptions: of a
network, the seconds of its epochs differ; and locks may stay.

The processes are forked from one that has done the imports, so that the kills do not come among these (processor time
since then is counted, and read from /proc: Linux). The design writes its record twice a second here, instead of every
ten, so that there are more writes to hit.
"""

import argparse
import json
import multiprocessing
import os
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path
from time import process_time, sleep

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import nibabel as nib
import numpy as np
import pandas as pd
import torch

from crbestim import NLLSEstimator, NoiseModel, PulseSequence, load_pretrained
from crbestim.cli import main as command
from crbestim.design import _recorder
from crbestim.pretrained._format import read_file

ENDED = "the run is at its end; seconds:"
PLACES = ("before first checkpoint", "in the middle", "after the end")
SHAPE = (64, 64, 16)
N_FITTED = 512
END = 0.3  # share of the resumed runs that are left to end


def make_inputs(folder):
    """Write what the operations read."""
    whole = PulseSequence.default()
    PulseSequence(whole.flip_angle[::8], whole.pulse_duration[::8], 3.5e-3, 0.5e-3).to_csv(folder / "pulses.csv")
    network = load_pretrained("mt-hybrid-state")
    theta = network.prior_.sample(N_FITTED, random_state=0)
    clean = network.model_.signal(theta, basis=network[0].basis_).astype(np.complex64)
    n = int(np.prod(SHAPE))
    rows = NoiseModel.at_snr(50).add_to(clean[np.arange(n) % N_FITTED], np.random.default_rng(0), np.ones(n))
    nib.save(nib.Nifti1Image(rows.reshape(*SHAPE, -1), np.eye(4)), folder / "coefficients.nii.gz")
    np.save(folder / "X.npy", rows[:N_FITTED])


def simulate(inputs):
    """Fingerprints of random tissues."""
    return ["simulate", "--samples", "50000", "--sequence", str(inputs / "pulses.csv"), "--out", "data.npz"]


def train(inputs):
    """A network, with the simulation before it."""
    return [
        "train", "--samples", "6144", "--epochs", "8", "--sequence", str(inputs / "pulses.csv"), "--out",
        "network.safetensors",
    ]  # fmt: skip


def design(inputs):
    """A pulse train."""
    _recorder._PERIOD = 0.5
    return [
        "design", "--targets", "T1", "T2f", "--tissues", "32", "--starts", "2", "--hops", "4", "--iterations", "60",
        "--refinement", "200", "--sequence", str(inputs / "pulses.csv"), "--out", "designed.csv",
    ]  # fmt: skip


def predict(inputs):
    """Maps of a volume by a network."""
    return [
        "predict", str(inputs / "coefficients.nii.gz"), "--model", "mt-hybrid-state", "--noise-std", "0.02",
        "--block-voxels", "4096", "--out", "maps",
    ]  # fmt: skip


def fit(inputs):
    """Batches of a least-squares fit in Python, whose checkpoint is the result."""
    network = load_pretrained("mt-hybrid-state")
    estimator = NLLSEstimator(
        network.model_, basis=network[0].basis_, prior=network.prior_, batch_size=32, verbose=0, random_state=0
    )
    estimator.fit().estimate(np.load(inputs / "X.npy"), checkpoint="fit")


OPERATIONS = {"simulation": simulate, "training": train, "design": design, "batched fit": fit, "volume": predict}


def run(name, inputs, folder, log):
    """Do one operation in a directory."""
    begin = process_time()
    with open(log, "w") as told:
        os.dup2(told.fileno(), 1)
        os.dup2(told.fileno(), 2)
    os.chdir(folder)
    arguments = OPERATIONS[name](inputs)
    code = 0 if arguments is None else command([*arguments, "--quiet"])
    print(ENDED, process_time() - begin, flush=True)
    sys.exit(code)


def started(*arguments):
    """Start an operation as a process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["nibabel", "pandas", "crbestim.cli"])
    process = context.Process(target=run, args=arguments)
    process.start()
    return process


def ended(name, inputs, folder, log):
    """Run an operation to its end, and return the processor time in s; raise if it fails."""
    process = started(name, inputs, folder, log)
    process.join()
    if process.exitcode:
        raise RuntimeError(f"{name} failed in {folder}: {log.read_text()}")
    return float(log.read_text().rpartition(ENDED)[2])


def killed(process, seconds):
    """Kill a process when it has used some processor time, unless it has ended."""
    while process.is_alive() and seconds_of(process.pid) < seconds:
        sleep(0.005)
    process.kill()
    process.join()


def seconds_of(pid):
    """Processor time of a process in s; that of one that has ended is not looked at."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def files_in(folder):
    """The files of a directory, without locks."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".lock"))


def read_whole(path):
    """Read a file of any kind; raise if it is damaged, or of no kind that is known."""
    if path.suffix == ".npz" or path.name == "designed.csv.checkpoint":
        with np.load(path) as arrays:
            return [arrays[name] for name in arrays.files]
    if path.name == "network.safetensors.checkpoint":
        return torch.load(path, weights_only=True)
    if path.suffix == ".json":
        return json.loads(path.read_text())
    if path.name.endswith(".nii.gz"):
        return np.asarray(nib.load(path).dataobj)
    if path.suffix == ".csv":
        return PulseSequence.from_csv(path)
    if path.suffix == ".safetensors":
        return load_pretrained(path)
    if path.suffix == ".html" and path.read_text().rstrip().endswith("</html>"):
        return None
    raise ValueError(f"{path} is none of the files that a run leaves.")


def broken(folder):
    """Files that are neither whole nor parts that are being written."""
    found = []
    for path in files_in(folder):
        if path.suffix != ".partial":
            try:
                read_whole(path)
            except Exception as error:
                found.append(f"{path}: {error}")
    return found


def content(path):
    """What must be the same in two runs."""
    if path.suffix != ".safetensors":
        return path.read_bytes()
    header, arrays = read_file(path)
    del header["regressor"]["history"]["seconds"]
    return repr(header), [(name, array.tobytes()) for name, array in sorted(arrays.items())]


def contents(folder):
    """All of it, by the paths of the files."""
    return {str(path.relative_to(folder)): content(path) for path in files_in(folder)}


def place_of(folder, log, reference):
    """Tell where a kill came."""
    names = {str(path.relative_to(folder)) for path in files_in(folder)}
    if ENDED in log.read_text() or names == reference.keys():
        return PLACES[2]
    return PLACES[1] if any(re.search(r"\.checkpoint$|batch_\d+\.npz$", name) for name in names) else PLACES[0]


def examine(name, inputs, scratch, n_kills, rng):
    """Kill an operation n times, and return a row of the table."""
    log = scratch / "log"
    for folder in (scratch / "first", scratch / "second"):
        folder.mkdir()
        seconds = ended(name, inputs, folder, log)  # that of the second: what is compiled once is not counted
    reference = contents(folder)
    places, n_compared, n_same, bad = Counter(), 0, 0, []
    while places.total() < n_kills:
        folder = scratch / f"trial_{n_compared}"
        folder.mkdir()
        while True:
            log.write_text("")
            process = started(name, inputs, folder, log)
            killed(process, rng.uniform(0, seconds))
            place = place_of(folder, log, reference)
            if process.exitcode > 0:
                raise RuntimeError(f"{name} failed in {folder}: {log.read_text()}")
            places[place] += 1
            bad += broken(folder)
            print(f"{name}: killed {place}", flush=True)
            if place == PLACES[2]:
                break
            if places.total() == n_kills or rng.random() < END:
                ended(name, inputs, folder, log)
                break
        n_compared += 1
        same = contents(folder) == reference
        n_same += same
        found = sorted(str(path.relative_to(folder)) for path in files_in(folder))
        print(f"{name}: ended, {'identical' if same else f'different: {found}'}", flush=True)
    print(*bad, sep="\n")
    return {
        "operation": name, "seconds": round(seconds, 1), "kills": places.total(),
        **{place: places[place] for place in PLACES},
        "ended runs": n_compared, "identical": n_same, "broken files": len(bad),
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="in total (default: %(default)s)")
    parser.add_argument("--operations", nargs="+", choices=list(OPERATIONS), default=list(OPERATIONS))
    parser.add_argument("--seed", type=int, default=0, help="of the delays (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="CSV of the table")
    options = parser.parse_args()
    shares = np.diff(np.arange(len(options.operations) + 1) * options.kills // len(options.operations))
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        inputs = Path(scratch) / "inputs"
        inputs.mkdir()
        make_inputs(inputs)
        for name, n_kills in zip(options.operations, shares.tolist(), strict=True):
            folder = Path(scratch) / name.replace(" ", "_")
            folder.mkdir()
            rng = np.random.default_rng([options.seed, list(OPERATIONS).index(name)])
            rows.append(examine(name, inputs, folder, n_kills, rng))
            table = pd.DataFrame(rows)
            if options.output:
                table.to_csv(options.output, index=False)
    print(table.to_string(index=False))
    return int((table["identical"] < table["ended runs"]).any() or table["broken files"].any())


if __name__ == "__main__":
    sys.exit(main())
