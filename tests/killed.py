"""Runs a function as a process of its own, and kills it."""

import multiprocessing
import os
import signal
import sys
import time
from itertools import count
from pathlib import Path
from unittest.mock import patch


def kill_when(ready, function, *arguments):
    """Start a function of a module, and kill its process (SIGKILL) when `ready()` tells so; it must not end before."""
    process = start(function, *arguments)
    deadline = time.monotonic() + 120
    while not ready() and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    expect_killed(process)


def expect_killed(process):
    """Wait for a process, which must be killed, by itself or from outside."""
    process.join(120)
    assert process.exitcode == -signal.SIGKILL


def start(function, *arguments):
    """Start a function of a module as a new process, forked from one that has done the imports."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["crbestim.cli"])
    process = context.Process(target=function, args=arguments)
    with patch.dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)):  # the imports are to be those of this process
        process.start()
    return process


def die_at_move(n, function, *arguments):
    """Call a function in this process, which is killed when the n-th complete file is about to get its name."""
    moves, replace = count(1), Path.replace

    def move(self, target):
        if next(moves) == n:
            os.kill(os.getpid(), signal.SIGKILL)
        return replace(self, target)

    Path.replace = move
    function(*arguments)
