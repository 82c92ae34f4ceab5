"""What the compiled models share: projection, groups of voxels in threads, and the stamp of their source."""

import importlib
import inspect
import pkgutil
import shutil
import tracemalloc
from itertools import product
from pathlib import Path
from types import CodeType

import numpy as np
import pytest
from numba.core.caching import NullCache
from numba.core.dispatcher import Dispatcher

from crbestim import _threads, signal
from crbestim.signal import _engine
from crbestim.signal._engine import source_stamp
from crbestim.signal._lanes import WIDTH

# --- projection -----------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 7, 8, 9, 13])
@pytest.mark.parametrize("n", [1, 5, 70])
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_projection_is_that_of_the_signal(short_hybrid_model, draw_theta, draw_basis, k, n, kind):
    theta = draw_theta(n, names=short_hybrid_model.parameter_names)
    basis = draw_basis(60, k, kind)
    samples, jacobian = short_hybrid_model.signal(theta), short_hybrid_model.jacobian(theta)
    coefficients, derivatives = short_hybrid_model.signal(theta, basis), short_hybrid_model.jacobian(theta, basis)
    assert coefficients.dtype == derivatives.dtype == np.complex128
    assert coefficients.shape == (n, k)
    assert derivatives.shape == (n, k, len(short_hybrid_model.parameters))
    error = np.abs(coefficients - samples @ basis)
    assert (error < 1e-14 * np.linalg.norm(samples, axis=1)[:, None]).all()
    error = np.abs(derivatives - basis.T @ jacobian)
    assert (error < 1e-14 * np.linalg.norm(jacobian, axis=1)[:, None, :]).all()


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_compressed_bound_is_that_of_the_projected_jacobian(hybrid_model, draw_theta, draw_basis, kind):
    names = hybrid_model.parameter_names
    theta = draw_theta(5, names=names)
    signals = hybrid_model.signal(draw_theta(200, seed=1, names=names)).real
    components = np.linalg.svd(signals, full_matrices=False)[2][:13].T
    basis = components @ draw_basis(13, 13, kind)
    expected = hybrid_model.crb(theta, names, basis=components)
    assert np.isfinite(expected).all()
    # A unitary mixture of the coefficients tells the same.
    np.testing.assert_allclose(hybrid_model.crb(theta, names, basis=basis), expected, rtol=1e-5)


@pytest.mark.parametrize("form", [np.asfortranarray, lambda basis: np.repeat(basis, 2, axis=1)[:, ::2], list])
def test_basis_of_any_memory_layout(short_hybrid_model, draw_theta, draw_basis, form):
    theta, basis = draw_theta(5, names=short_hybrid_model.parameter_names), draw_basis(60, 9, "complex")
    np.testing.assert_array_equal(
        short_hybrid_model.jacobian(theta, form(basis)), short_hybrid_model.jacobian(theta, basis)
    )


def test_basis_of_single_precision(short_hybrid_model, draw_theta, draw_basis):
    theta = draw_theta(5, names=short_hybrid_model.parameter_names)
    basis = draw_basis(60, 9).astype(np.float32)
    expected = short_hybrid_model.signal(theta) @ basis.astype(np.float64)
    np.testing.assert_allclose(short_hybrid_model.signal(theta, basis), expected, rtol=0, atol=1e-14)


def peak_memory(function):
    tracemalloc.start()
    try:
        result = function()
        return tracemalloc.get_traced_memory()[1], result.nbytes
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_projected_jacobian_takes_little_memory(model, draw_theta, draw_basis, kind):
    """Some times the result, as there are real and imaginary parts on the way; the whole Jacobian is far larger."""
    theta, basis = draw_theta(2000), draw_basis(model.n_timepoints, 5, kind)
    model.jacobian(theta[:2], basis)  # what is made once is not counted
    peak, result = peak_memory(lambda: model.jacobian(theta, basis))
    assert peak < 3 * result + 8 * theta.nbytes
    assert peak < 8 * 2000 * 7 * model.n_timepoints / 20


# --- groups and threads ---------------------------------------------------------------------------

FUNCTIONS = {
    "signal": lambda model, theta, bases: model.signal(theta),
    "jacobian": lambda model, theta, bases: model.jacobian(theta),
    "coefficients": lambda model, theta, bases: model.signal(theta, bases[0]),
    "derivatives of coefficients": lambda model, theta, bases: model.jacobian(theta, bases[1]),
    "bound": lambda model, theta, bases: model.crb(theta, model.parameter_names),
    "compressed bound": lambda model, theta, bases: model.crb(theta, basis=bases[1]),
}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_a_voxel_has_the_same_result_in_any_company(short_hybrid_model, draw_theta, draw_basis, function, monkeypatch):
    """To the last bit: alone, at any place of a group, with any others, and in any number of threads."""
    theta = draw_theta(150, names=short_hybrid_model.parameter_names)
    bases = [draw_basis(60, 11, kind) for kind in ("real", "complex")]

    def run(rows, n_threads=1):
        monkeypatch.setattr(_threads, "n_threads", lambda: n_threads)
        return function(short_hybrid_model, theta[rows], bases)

    rows = np.arange(150)
    together = run(rows)
    for row in rows[::30]:
        np.testing.assert_array_equal(run([row])[0], together[row])
    for n in (*range(1, 2 * WIDTH + 2), 63, 64, 65):
        np.testing.assert_array_equal(run(rows[:n]), together[:n])
        np.testing.assert_array_equal(run(rows[n:]), together[n:])
    np.testing.assert_array_equal(run(rows[::-1]), together[::-1])
    for n_threads in (2, 3, 20):
        np.testing.assert_array_equal(run(rows, n_threads), together)


# --- numba's cache --------------------------------------------------------------------------------


def test_stamp_follows_the_text_of_every_file(tmp_path, monkeypatch):
    files = [tmp_path / name for name in ("_engine.py", "_lanes.py", "one.py", "other.py")]
    for path in files:
        path.write_text(f"{path.name} = 1\n")
    monkeypatch.setattr(_engine, "__file__", str(files[0]))

    def stamp():
        return source_stamp(*map(str, files[2:]))

    before = stamp()
    for path in files:
        text = path.read_text()
        path.write_text(text.replace("1", "2"))
        assert stamp() != before, path.name
        path.write_text(text)
        assert stamp() == before
    shutil.copy(files[2], files[3])
    assert stamp() != before


def used_by(function):
    """All functions, compiled ones and intrinsics, that a compiled function calls, and those that they call."""
    pending, found = [function], []
    while pending:
        dispatcher = pending.pop()
        if dispatcher in found:
            continue
        found.append(dispatcher)
        python = getattr(dispatcher, "py_func", None)
        if python is None:
            continue
        values = list(inspect.getclosurevars(python).nonlocals.values())
        codes = [python.__code__]
        for code in codes:
            values += [python.__globals__.get(name) for name in code.co_names]
            codes += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
        pending += [value for value in values if isinstance(value, Dispatcher) or hasattr(value, "_defn")]
    return found


def source_file(function):
    python = getattr(function, "py_func", None) or function._defn
    return Path(python.__code__.co_filename).name


def kernels():
    """Every module with a kernel, and all choices of its options."""
    for name in sorted(module.name for module in pkgutil.iter_modules(signal.__path__)):
        module = importlib.import_module(f"{signal.__name__}.{name}")
        if hasattr(module, "_make_kernel"):
            n_options = len(inspect.signature(module._make_kernel).parameters)
            yield from ((module, options) for options in product((False, True), repeat=n_options))


@pytest.mark.parametrize(("module", "options"), list(kernels()))
def test_cached_code_follows_all_that_it_is_made_of(module, options, monkeypatch):
    """Every function with a cache of its own holds a stamp of the files of all functions that it calls."""
    stamped = []
    monkeypatch.setattr(module, "source_stamp", lambda *files: stamped.extend(files) or "the stamp")
    kernel = module._make_kernel.__wrapped__(*options)
    shared = {"_engine.py", "_lanes.py"}
    files_of_stamp = {"the stamp": shared | {Path(path).name for path in stamped}, source_stamp(): shared}
    functions = used_by(kernel)
    assert len(functions) > 20
    for function in functions:
        if isinstance(function, Dispatcher) and not isinstance(function._cache, NullCache):
            files = {source_file(other) for other in used_by(function)}
            held = inspect.getclosurevars(function.py_func).nonlocals.values()
            followed = {source_file(function)}.union(*(files_of_stamp.get(value, ()) for value in held))
            assert files <= followed, function
