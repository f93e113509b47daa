"""How the launchers of several machines agree on who takes part, and tell each other what happened.

A job goes through *rounds*. In a round some machines run their processes together; it is over when all processes have ended well, when one has
failed, or when a machine comes that there is room for, and the next round begins with whoever is there then. All that is agreed on stands in
a store, in keys that begin with the round's number:

```
0/places 2    0/place/0 {…}    0/place/1 {…}    0/members [{…}, {…}]    0/failed "rank 1 ended with …"    0/over 1
1/places …
```

The machine with place 0 says who the members are.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from flambeau.distributed.store import PrefixStore, Store

__all__ = ["JobFailedError", "Round", "Rounds", "Settings"]

_POLL = 0.1


class JobFailedError(RuntimeError):
    """The job has failed on another machine, or is over."""


class Settings(NamedTuple):
    """How machines meet.

    Attributes:
        least, most: how many machines take part
        place: this machine's, if that is fixed
        join: seconds to wait for a round to begin
        last_call: seconds that others have to come once there are enough
        alive: seconds after which a machine that says nothing is given up
        restarts: how often the job may begin again after a failure
    """

    least: int = 1
    most: int = 1
    place: int | None = None
    join: float = 600.0
    last_call: float = 30.0
    alive: float = 15.0
    restarts: int = 0


class Round:
    """A round, as one of its members sees it.

    Attributes:
        number: of the round
        members: what each machine has said of itself, in the order of their ranks
        rank: this machine's
        restarts: how often the job has begun again after a failure
    """

    def __init__(self, job: Store, number: int, members: list[Any], rank: int, settings: Settings) -> None:
        self.job, self.number, self.members, self.rank, self.settings = job, number, members, rank, settings
        self.store = PrefixStore(str(number), job)
        self.restarts = job.add("restarts", 0)
        now = time.monotonic()
        self._seen = dict.fromkeys(range(len(members)), (0, now))
        self._next = now

    def fail(self, reason: str) -> bool:
        """Say that the round has failed; whether the job may begin again."""
        first = self.store.add("failures", 1) == 1
        if first:
            restarts = self.job.add("restarts", 1)
            if restarts > self.settings.restarts:
                self.job.set("over", reason)
            self.store.set("failed", reason)
        self.store.wait(["failed"])
        return not self.job.check(["over"])

    def finish(self) -> None:
        """Say that the processes of this machine have ended well."""
        self.store.add("finished", 1)

    def finished(self) -> bool:
        """Whether those of all machines have."""
        return self.store.add("finished", 0) == len(self.members)

    def leave(self) -> None:
        """Let whoever waits for the next round begin it."""
        self.store.set("over", b"1")

    def news(self) -> str | None:
        """Why the processes are to be ended, if they are: a failure elsewhere, or another machine that wants to take part."""
        if len(self.members) == 1 and self.settings.most == 1:
            return None
        if self.store.check(["failed"]):
            return self.store.get("failed").decode()
        if len(self.members) < self.settings.most and self.store.add("waiting", 0):
            return "another machine has come"
        return self._silent()

    def _silent(self) -> str | None:
        """Say that this machine is alive, and see whether the others are."""
        now = time.monotonic()
        if now < self._next:
            return None
        self._next = now + self.settings.alive / 10
        self.store.add(f"alive/{self.rank}", 1)
        for rank, (count, moment) in self._seen.items():
            found = self.store.add(f"alive/{rank}", 0)
            if found != count:
                self._seen[rank] = found, now
            elif now - moment > self.settings.alive:
                reason = f"machine {rank} has said nothing for {self.settings.alive:g} seconds"
                self.fail(reason)
                return reason
        return None


class Rounds:
    """The rounds of a job.

    Args:
        store: what all machines reach, for this job alone
        settings: how they meet
        about: what the others have to know of this machine
    """

    def __init__(self, store: Store, settings: Settings, about: Any) -> None:
        self.store, self.settings, self.about = store, settings, about
        self.number = 0

    def join(self) -> Round:
        """Take part in the next round, once there is one.

        Raises:
            JobFailedError: the job is over
            RuntimeError: too few machines came in time
        """
        deadline = time.monotonic() + self.settings.join
        while True:
            number, store = self.number, PrefixStore(str(self.number), self.store)
            self.number += 1
            place = self.settings.place
            if place is None:
                place = store.add("places", 1) - 1
            store.set(f"place/{place}", json.dumps(self.about))
            if place == 0:
                self._begin(store, deadline)
            self._until(partial(store.check, ["members"]), deadline, f"round {number} did not begin: machine 0 says nothing")
            places, members = json.loads(store.get("members"))
            if place in places:
                return Round(self.store, number, members, places.index(place), self.settings)
            store.add("waiting", 1)
            full = f"{len(members)} machines have joined the job already, of {self.settings.most}"
            self._until(partial(store.check, ["over"]), deadline, full)

    def _until(self, ready: Callable[[], bool], deadline: float, otherwise: str) -> None:
        while not ready():
            if self.store.check(["over"]):
                raise JobFailedError(f"the job is over: {self.store.get('over').decode()}")
            if time.monotonic() > deadline:
                raise RuntimeError(otherwise)
            time.sleep(_POLL)

    def _begin(self, store: Store, deadline: float) -> None:
        """Wait for the others, and say who takes part."""
        least, most = self.settings.least, self.settings.most
        if self.settings.place is not None:  # places are fixed
            wanted = list(range(most))
            missing = lambda: [each for each in wanted if not store.check([f"place/{each}"])]
            try:
                self._until(lambda: not missing(), deadline, "")
            except JobFailedError:
                raise
            except RuntimeError:
                raise RuntimeError(f"machine(s) {missing()} of {most} did not come within {self.settings.join:g} seconds") from None
        else:
            enough = float("inf")
            while (count := store.add("places", 0)) < most and time.monotonic() < enough:
                if count >= least:
                    enough = min(enough, time.monotonic() + self.settings.last_call)
                elif time.monotonic() > deadline:
                    raise RuntimeError(f"{count} machine(s) came within {self.settings.join:g} seconds, of at least {least}")
                time.sleep(_POLL)
            wanted = list(range(min(count, most)))
        members = [json.loads(store.get(f"place/{each}")) for each in wanted]
        store.set("members", json.dumps([wanted, members]))
