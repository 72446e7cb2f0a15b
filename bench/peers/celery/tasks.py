"""The Celery side of the comparison: the app with its no-op task, which the workers run, and, when this file itself is
run, the producers. Where a setting comes from is said beside it."""

import argparse
import json
import multiprocessing
import os
import statistics
import threading
import time

import celery
import redis

URL = os.environ["PEERS_REDIS"]
# Producers wait while the queue is longer than this, so that draining stays bounded.
BACKLOG = 10_000
# Nothing is measured before this many tasks have passed through the workers.
WARM_UP = 200
# Seconds without a completion after which a run has failed.
STALLED = 30
# Seconds between two looks at Redis: seldom enough not to take the processor from the workers.
GLANCE = 0.02

app = celery.Celery("tasks", broker=URL, backend=URL)
app.conf.update(
    # Acknowledged after the task has run and its result is stored: a task is not lost with its worker.
    task_acks_late=True,
    # "Optimizing, Prefetch Limits": for many short-running tasks the number should be large, "say 64, or 128".
    worker_prefetch_multiplier=128,
    # "Configuration and defaults": to be set if no rate limits are used.
    worker_disable_rate_limits=True,
    # "Optimizing, Broker Connection Pools": to be based on the number of threads that use it.
    broker_pool_limit=64,
)


@app.task(name="noop")
def noop():
    """Does nothing; that it has succeeded is stored for a day, as is the default."""


def produce(clients, seconds, reports):
    """Runs the producers of one process, and reports when they began and how long each enqueue took."""
    # An app without a result backend: with one, each enqueue would also subscribe to the task's result, which a client
    # that only wants an acknowledgement need not pay for. The workers store the results all the same.
    app.conf.result_backend = "disabled://"
    held_back = threading.Event()
    latencies = []
    start = time.time()

    def client():
        while time.time() < start + seconds:
            if held_back.is_set():
                time.sleep(GLANCE)
                continue
            before = time.perf_counter()
            noop.delay()
            latencies.append((time.perf_counter() - before) * 1000)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    database = redis.Redis.from_url(URL)
    while any(thread.is_alive() for thread in threads):
        (held_back.set if database.llen("celery") > BACKLOG else held_back.clear)()
        time.sleep(GLANCE)
    reports.put((start, latencies))


def drain(database, tasks):
    """Waits until the results of all tasks are stored and all are acknowledged, and returns when that was."""
    seen, since = 0, time.time()
    while True:
        now = time.time()
        if not database.llen("celery") and not database.hlen("unacked"):
            if sum(1 for _ in database.scan_iter("celery-task-meta-*", count=10_000)) >= tasks:
                return now
        stored = database.dbsize()
        if stored > seen:
            seen, since = stored, now
        elif now - since > STALLED:
            raise SystemExit(f"about {seen} of {tasks} tasks were run, and then none for {STALLED} s")
        time.sleep(GLANCE)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--clients", type=int, required=True)
    arguments.add_argument("--seconds", type=int, required=True)
    arguments.add_argument("--processes", type=int, required=True)
    arguments = arguments.parse_args()

    database = redis.Redis.from_url(URL)
    for _ in range(WARM_UP):
        noop.apply_async()
    drain(database, WARM_UP)

    context = multiprocessing.get_context("spawn")
    reports = context.SimpleQueue()
    producers = []
    for number in range(arguments.processes):
        clients = len(range(number, arguments.clients, arguments.processes))
        producers.append(context.Process(target=produce, args=(clients, arguments.seconds, reports)))
        producers[-1].start()
    starts, latencies = [], []
    for _ in producers:
        start, of_one = reports.get()
        starts.append(start)
        latencies += of_one
    end = drain(database, WARM_UP + len(latencies))
    measured = {
        "version": celery.__version__,
        "jobs": len(latencies),
        "seconds": end - min(starts),
        "enqueue_median_ms": statistics.median(latencies),
    }
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
