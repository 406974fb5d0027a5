"""Workers that are actors of a Ray cluster, which load their models once.

Without GPUs an actor does a clip from its file to its stream. Where there are GPUs, actors on processors read clips and
find faces, and hand the crops to actors on GPUs through Ray's object store, which spills to disk when it is full. Who
runs where is Ray's business; an actor has one clip in work and one to go on with, so that nothing piles up. Actors of a
node that is gone are hired anew, and what they had to do is done again.
"""

from __future__ import annotations

import logging
import os
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from ..errors import OptionError
from ..extras import need_extra
from .local import THREAD_VARIABLES
from .work import Settings, Task, Worker

PLATE = "plate"  # the background that is made of whole frames
AHEAD = 2  # clips that an actor may have on the way: one waits, so that none is waited for
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""Of Ray: nothing is reported to anybody, and devices of actors without a GPU are left as they are."""


class ClipActor:
    """A Worker in a process of Ray."""

    def __init__(self, settings: Settings) -> None:
        self._worker = Worker(settings)

    def ready(self) -> int:
        """The process's number, when the models are loaded."""
        return os.getpid()

    def do(self, task: Task) -> Any:
        """All of a task."""
        return self._worker(task)

    def prepare(self, task: Task) -> Any:
        """Read a clip and find its face; its crops come along."""
        return self._worker.prepare(task, apart=True)

    def finish(self, attempt: Any) -> Any:
        """Encode and write it."""
        return self._worker.finish(attempt)


class RayHand:
    """One actor, or one that prepares for another that is shared."""

    def __init__(self, ray: Any, actor: Any, encoder: Any = None) -> None:
        self._ray, self._actor, self._encoder = ray, actor, encoder
        waited = [actor.ready.remote()] + ([] if encoder is None else [encoder.ready.remote()])
        self.ready: Future[Any] = waited[0].future() if len(waited) == 1 else _both(*(one.future() for one in waited))

    def submit(self, task: Any) -> Future[Any]:
        """Begin a task."""
        if self._encoder is None or task.kind != "clip":
            future: Future[Any] = self._actor.do.remote(task).future()
        else:
            future = self._encoder.finish.remote(self._actor.prepare.remote(task)).future()
        return future

    def end(self) -> None:
        """End the actor; what it has half written is removed when the run ends."""
        self._ray.kill(self._actor)


class RayPool:
    """The actors of a cluster.

    size: how many; None: one per core that no GPU's actor takes. gpus: actors that encode on a GPU each; None: as many
    as the cluster has, where networks run on CUDA. address: "auto", or HOST:PORT; None starts Ray
    on this machine alone. MissingDependency without Ray, OptionError where there is no cluster.
    """

    def __init__(
        self, settings: Settings, size: int | None, address: str | None = None, gpus: int | None = None
    ) -> None:
        need_extra("corpus", "a Ray cluster")
        os.environ.update(QUIET)
        import ray
        from ray.exceptions import ObjectLostError, OutOfMemoryError, RayActorError, WorkerCrashedError

        self._ray, self.settings = ray, settings
        self.died: tuple[type[BaseException], ...] = (
            RayActorError, WorkerCrashedError, ObjectLostError, OutOfMemoryError,
        )  # fmt: skip
        self._own = not ray.is_initialized()
        if self._own:
            self._connect(address)
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        threads = settings.options.threads
        if gpus is None:
            gpus = int(resources.get("GPU", 0)) if settings.device.startswith("cuda") else 0
        whole_frames = settings.options.encode.background == PLATE  # which do not go from one actor to another
        self._apart = gpus > 0 and not whole_frames
        usual = gpus if gpus and whole_frames else int(resources.get("CPU", 1)) // threads - gpus
        self.size = size or max(1, usual)
        self.depth = AHEAD
        self._encoders: list[Any] = []
        self._gpus, self._hired = gpus, 0

    def _connect(self, address: str | None) -> None:
        here: dict[str, Any] = {"include_dashboard": False} if address is None else {}
        try:
            self._ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **here)
        except (ConnectionError, RuntimeError, ValueError) as error:
            where = address or "this machine"
            raise OptionError(f"there is no Ray cluster at {where}: {str(error).splitlines()[0]}") from error

    def hire(self) -> RayHand:
        """An actor, when the cluster has room for it."""
        if not self._apart:
            return RayHand(self._ray, self._actor(self.settings, min(self._gpus, 1)))
        number = self._hired % self._gpus
        self._hired += 1
        preparer = self._actor(replace(self.settings, device="cpu"), 0)
        return RayHand(self._ray, preparer, self._encoder(number))

    def _encoder(self, number: int) -> Any:
        """The actor of a GPU; a new one where it is gone."""
        while len(self._encoders) <= number:
            self._encoders.append(self._actor(self.settings, 1))
        return self._encoders[number]

    def _actor(self, settings: Settings, gpus: int) -> Any:
        threads = settings.options.threads
        variables = QUIET | dict.fromkeys(THREAD_VARIABLES, str(threads))
        shared = gpus and self._apart  # by preparing actors: Ray starts it again, others are hired anew
        kind = self._ray.remote(num_cpus=threads, num_gpus=gpus, max_restarts=-1 if shared else 0)(ClipActor)
        return kind.options(runtime_env={"env_vars": variables}).remote(settings)

    def close(self) -> None:
        """Leave the cluster, if it was joined here."""
        for encoder in self._encoders:
            self._ray.kill(encoder)
        if self._own:
            self._ray.shutdown()


def _both(first: Future[Any], second: Future[Any]) -> Future[Any]:
    """Done when both are, or one has failed."""
    joined: Future[Any] = Future()

    def look(_: Future[Any]) -> None:
        if joined.done():
            return
        for one in (first, second):
            if one.done() and one.exception() is not None:
                joined.set_exception(one.exception())
                return
        if first.done() and second.done():
            joined.set_result(None)

    first.add_done_callback(look)
    second.add_done_callback(look)
    return joined
