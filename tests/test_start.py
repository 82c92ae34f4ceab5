"""Interruptions from the keyboard before a command has begun."""

import signal
import subprocess
import sys

import pytest

from crbestim import _start


@pytest.fixture
def handler():
    """Put back what was there."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def test_interruption_among_the_imports_is_quiet(handler):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background may start with it ignored
    command = [sys.executable, "-X", "importtime", "-m", "crbestim.cli", "info"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if "numpy.linalg" in line:
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert out == ""
    assert all(line.startswith("import time:") for line in err.splitlines())


def test_a_command_is_interrupted_as_usual_once_it_has_begun(handler):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _start.end_quietly_on_interruption()
    assert signal.getsignal(signal.SIGINT) is _start._end
    _start.interrupt_as_usual()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_another_handler_is_kept(handler):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _start.end_quietly_on_interruption()
    _start.interrupt_as_usual()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@pytest.mark.parametrize(
    ("argv", "orig_argv", "expected"),
    [
        (["/usr/bin/crbestim", "info"], ["python", "/usr/bin/crbestim", "info"], True),
        (["-m", "info"], ["python", "-m", "crbestim.cli", "info"], True),
        (["study.py"], ["python", "study.py"], False),
        ([""], ["python"], False),
    ],
)
def test_only_a_command_ends_quietly(monkeypatch, argv, orig_argv, expected):
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "orig_argv", orig_argv)
    assert _start.is_command() is expected
