"""How runs are worked off: on this machine, several at a time, or on a Ray cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Protocol

LOG = "log.txt"


class Engine(Protocol):
    """Does the runs in some folders; yields each folder when its run has ended, in any order."""

    def __call__(self, folders: Sequence[Path], /) -> Iterator[Path]:
        """Do the runs."""
        ...


def start(folder: Path, threads: int) -> subprocess.Popen[bytes]:
    """Start one run in a process of its own; what it prints is in `log.txt` in its folder.

    It ends with this process, whose end closes the pipe to it.
    """
    command = [sys.executable, "-m", "spacy_transfer.experiments.worker", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    with (folder / LOG).open("w", encoding="utf-8") as log:
        return subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log
        )


def finish(folder: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait for a run; a signal that ended it, such as that of a machine short of memory, is
    said in its log."""
    status = process.wait()
    if process.stdin is not None:
        process.stdin.close()
    if status < 0:
        with (folder / LOG).open("a", encoding="utf-8") as log:
            print(f"\nended by signal {-status} ({signal.strsignal(-status)})", file=log)


def work(folder: Path, threads: int) -> None:
    """Do one run."""
    finish(folder, start(folder, threads))


def local(jobs: int, threads: int) -> Engine:
    """On this machine, `jobs` runs at a time, each on so many threads."""

    def engine(folders: Sequence[Path]) -> Iterator[Path]:
        running: set[subprocess.Popen[bytes]] = set()

        def watch(folder: Path) -> Path:
            process = start(folder, threads)
            running.add(process)
            finish(folder, process)
            running.discard(process)
            return folder

        pool = ThreadPoolExecutor(jobs)
        try:
            for future in as_completed([pool.submit(watch, folder) for folder in folders]):
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(running):
                process.kill()

    return engine


def ray(threads: int, gpus: float) -> Engine:
    """On the Ray cluster of `RAY_ADDRESS`, or on a local one that is started.

    Each run asks for so many CPUs and GPUs. All machines must see the folders and the corpora
    under the same paths, and have this package installed.
    """
    try:
        import ray as cluster
    except ImportError as error:
        raise ImportError(
            "the engine 'ray' needs Ray: pip install 'spacy-transfer[ray]'"
        ) from error

    def engine(folders: Sequence[Path]) -> Iterator[Path]:
        cluster.init(ignore_reinit_error=True, log_to_driver=False)
        task = cluster.remote(num_cpus=threads, num_gpus=gpus, max_retries=0)(work)
        waiting = {task.remote(folder, threads): folder for folder in folders}
        try:
            while waiting:
                [done], _ = cluster.wait(list(waiting), num_returns=1)
                folder = waiting.pop(done)
                try:
                    cluster.get(done)
                except cluster.exceptions.RayError as error:
                    with (folder / LOG).open("a", encoding="utf-8") as log:
                        print(" ".join(str(error).split()), file=log)
                yield folder
        finally:
            cluster.shutdown()

    return engine
