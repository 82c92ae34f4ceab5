"""What is checked, one session each; `nox -l` lists them, and `.ci/run` calls those that share its environment.

In a session's own environment the packages of an extra are installed first. With ``--no-venv`` nothing is installed:
the programs on the PATH are used, which must be those of one environment that holds the extras.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "types", "tests", "doctests"]
nox.options.reuse_existing_virtualenvs = True

OLDEST_PYTHON, NEWEST_PYTHON = "3.11", "3.13"
SNIPPETS = ("docs/getting_started.rst", "docs/performance.rst", "docs/user_guide", "docs/bring_your_own")
RUNTIME_EXTRAS = ("plot", "cluster", "pulseq", "skops", "phantom")
BENCHMARKS = """
benchmarks/subspaces.py --sizes 9 9 --n-samples 64 --n-held-out 64
benchmarks/hybrid_state_accuracy.py --n-voxels 24 --n-bounds 4 --output {results}/accuracy.png
benchmarks/design_sequence.py --n-starts 1 --n-hops 1 --max-iter 5 --refine-iter 5 --n-tissues 8 --n-knots 40 --n-judges 50
benchmarks/least_squares.py --fast
benchmarks/least_squares_minima.py --n-voxels 20 --snr 50 --starts 1 2 --n-tissues 20 --n-realizations 2 --output {results}/minima.png
benchmarks/compare_estimators.py --n-training 1000 --n-epochs 2 --n-test 20 --n-realizations 2 --n-timed 32 --entries 1000 --largest 10 --output {results}
benchmarks/prediction_speed.py --n-voxels 20000 --n-rounds 2
benchmarks/network_study.py --fast --n-epochs 2 --n-paper-epochs 1 --n-realizations 2 --output {results}/study.csv --only default "phase of M0 kept" "a quarter of the fingerprints" "one network per parameter" paper
benchmarks/yardstick.py --fast --n-voxels 4 --n-steps 3 --output {results}/yardstick.csv
benchmarks/volume_speed.py --shape 16 16 4 --n-rounds 1
benchmarks/cluster_scaling.py --network-voxels 2048 --fit-voxels 64 --workers 1 --n-rounds 1
benchmarks/memory.py --fraction 0.001 --only simulation volume
benchmarks/release_network.py --fast --output {results}/network.safetensors
"""  # noqa: E501 - a command is a line


@nox.session
def tests(session: nox.Session) -> None:
    """The whole suite, with the pinned versions; arguments after -- go to pytest."""
    install(session, "test")
    session.run("pytest", *(session.posargs or ("-n", "auto")))


@nox.session
def lint(session: nox.Session) -> None:
    """Style and formatting."""
    install(session, "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Types of the package."""
    install(session, "test", "lint")
    session.run("mypy")


@nox.session
def doctests(session: nox.Session) -> None:
    """The snippets of the user guide and of the docstrings."""
    install(session, "test")
    session.run("pytest", "-q", "--doctest-glob=*.rst", *SNIPPETS)
    session.run("pytest", "-q", "--doctest-modules", "crbestim", "--doctest-continue-on-failure", "-o", "testpaths=")


@nox.session
def bench(session: nox.Session) -> None:
    """Every benchmark in its shortest form, to see that it runs; the figures mean nothing."""
    install(session, "test")
    session.run("python", "-W", "ignore", "benchmarks/signal_engine.py", "--fast")
    results = session.create_tmp()
    for command in BENCHMARKS.strip().splitlines():
        session.run("python", *shlex.split(command.format(results=results)), silent=True)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation, with the examples in their shortest form."""
    install(session, "test", "docs")
    options = ("-W", "--keep-going", "-q", "-b", "html")
    session.run("sphinx-build", *options, "docs", "docs/_build/html", env={"CRBESTIM_FAST": "1"})


@nox.session(python=OLDEST_PYTHON)
def oldest(session: nox.Session) -> None:
    """The suite with the least versions that pyproject.toml declares; arguments after -- go to pytest."""
    constraints = f"{session.create_tmp()}/constraints.txt"
    with open(constraints, "w", encoding="utf-8") as file:
        file.writelines(f"{pin}\n" for pin in least_versions())
    install(session, "test", constraints=constraints)
    session.run("pytest", *session.posargs)


@nox.session(python=NEWEST_PYTHON)
def newest(session: nox.Session) -> None:
    """The suite with the newest versions of everything; arguments after -- go to pytest."""
    install(session, "test", constraints=None)
    session.run("pytest", *session.posargs)


def install(session: nox.Session, *extras: str, constraints: str | None = "constraints.txt") -> None:
    """Install the package with extras, if the environment is the session's own."""
    if session.virtualenv.is_sandboxed:
        session.install(*(() if constraints is None else ("-c", constraints)), "-e", f".[{','.join(extras)}]")


def least_versions() -> Iterator[str]:
    """Yield pins of what the package needs when it runs, at the least versions that pyproject.toml allows."""
    project = nox.project.load_toml("pyproject.toml")["project"]
    extras = project["optional-dependencies"]
    for requirement in [*project["dependencies"], *(line for extra in RUNTIME_EXTRAS for line in extras[extra])]:
        yield re.sub(r"\[.*\]", "", requirement).replace(">=", "==")
