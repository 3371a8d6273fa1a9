"""Many small requests side by side, which an error or Ctrl-C ends at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")
_LAST_S = 2.0  # for threads to note what they did, after their connections are cut


def each(items: Iterable[Item], work: Callable[[Item], None], jobs: int, cut: Callable[[], None]) -> None:
    """``work`` for each item, in ``jobs`` threads. The first error ends all and is raised.

    Args:
        cut: ends what the threads wait for; called after an error and after Ctrl-C.
    """
    left, lock, stop = iter(items), threading.Lock(), threading.Event()
    failed: list[BaseException] = []

    def run() -> None:
        while not stop.is_set():
            try:
                with lock:
                    item = next(left)
                work(item)
            except StopIteration:
                return
            except BaseException as error:
                failed.append(error)
                stop.set()

    threads = [threading.Thread(target=run, daemon=True) for _ in range(max(1, jobs))]
    for thread in threads:
        thread.start()
    try:
        while any(thread.is_alive() for thread in threads) and not stop.is_set():
            for thread in threads:
                thread.join(0.05)
    finally:
        stop.set()
        if any(thread.is_alive() for thread in threads):
            cut()
            for thread in threads:
                thread.join(_LAST_S)
    if failed:
        raise failed[0]
