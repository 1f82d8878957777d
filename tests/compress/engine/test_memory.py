"""Memory that a stage frees stays with the process."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from compress.engine import memory

ONLY_GLIBC = pytest.mark.skipif(memory._glibc() is None, reason="malloc is not glibc's")
BLOCK = 64 * 2**20


def faults_of(script: str, **environ: str) -> list[int]:
    """Page faults that a script counts, in a process of its own."""
    head = f"""
        import ctypes, resource
        from compress.engine.memory import keep_memory, kept_memory
        libc = ctypes.CDLL(None)
        libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
        libc.free.argtypes = [ctypes.c_void_p]
        def touch():
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            block = libc.malloc({BLOCK})
            ctypes.memset(block, 1, {BLOCK})
            libc.free(block)
            return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    """
    code = textwrap.dedent(head) + textwrap.dedent(script)
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environ or None,
    )
    return [int(word) for word in ran.stdout.split()]


@ONLY_GLIBC
def test_a_freed_block_costs_no_page_faults_again_until_the_end() -> None:
    first, second, inner, after, later = faults_of(
        """
        with kept_memory():
            print(touch(), touch())
            with kept_memory():
                pass
            print(touch())
        print(touch(), touch())
        """
    )
    pages = BLOCK // 4096
    assert first > pages / 2 and second < pages / 100 and inner < pages / 100
    assert after > pages / 2 and later > pages / 2, "as before"


@ONLY_GLIBC
def test_a_worker_keeps_it_for_good() -> None:
    first, second = faults_of("keep_memory(); keep_memory(); print(touch(), touch())")
    assert second < first / 50


@ONLY_GLIBC
@pytest.mark.parametrize("name", ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES"])
def test_what_the_environment_sets_up_is_left_alone(name: str) -> None:
    value = {"MALLOC_ARENA_MAX": "2"}.get(name, "glibc.malloc.arena_max=2")
    path = ":".join(sys.path)
    first, second = faults_of(
        "with kept_memory():\n    print(touch(), touch())", PYTHONPATH=path, **{name: value}
    )
    assert second > first / 2


def test_without_glibc_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_glibc", lambda: None)
    before = memory._holders  # a worker's, which keeps it for good
    with memory.kept_memory():
        memory.keep_memory()
    assert memory._holders == before
