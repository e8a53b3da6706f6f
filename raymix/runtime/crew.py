"""The actors of a run in their placement groups: started together, looked after, replaced when they die."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.placement_group import PlacementGroup, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from raymix.config import Config
from raymix.data.source import DataSpec
from raymix.errors import NodeLostError
from raymix.runtime.actors import DiscriminatorActor, GeneratorActor, Process
from raymix.runtime.groups import is_whole, reserve_all
from raymix.runtime.placement import Group
from raymix.runtime.waiting import translated

ANSWER_S = 10.0  # within which an actor tells that it lives, whatever it is doing
LOOK_S = 2.0  # the coordinator answers nobody else while it looks where its actors are


@dataclass
class Seat:
    """A place in the cluster and the actor that has it."""

    kind: type
    members: tuple[int, ...]
    group: Group
    place: PlacementGroup
    bundle: int
    actor: Any = None
    fresh: bool = True
    """Whether the actor's tensors are none that its round began or trained with, so that they must be loaded before
    the round can be repeated."""
    steps: int = 0
    """Steps since the actor started, as last heard."""

    @property
    def name(self) -> str:
        return f"{'generators' if self.kind is GeneratorActor else 'discriminators'} of {self.group.name}"


class Crew:
    """Every generator and discriminator actor."""

    def __init__(
        self,
        config: Config,
        spec: DataSpec,
        groups: Sequence[Group],
        run_id: str,
        wait_s: float,
        reserved: PlacementGroup | None = None,
    ) -> None:
        """Reserves a placement group for each group, or takes one that holds a bundle for each, after one for helpers.

        Raises `ResourceError` when a group has not its place within `wait_s` seconds.
        """
        self.config, self.spec, self.groups, self.reserved = config, spec, groups, reserved
        self.places = [reserved] * len(groups) if reserved else reserve_all(groups, run_id, wait_s)
        self.seats: list[Seat] = []
        self.fill(config.components)

    def members(self, components: Sequence[int]) -> dict[tuple[int, type], tuple[int, ...]]:
        """Who sits where: the components by number of the group and kind of actor; places may stay empty."""
        packs, found = iter(self.config.packs(components)), dict[tuple[int, type], tuple[int, ...]]()
        for i, group in enumerate(self.groups):
            own = next(packs, ()) if group.generators else tuple(components)  # a shared trunk is everybody's
            if group.generators:
                found[i, GeneratorActor] = own
            if group.discriminators:
                found[i, DiscriminatorActor] = own
        return found

    def newcomers(self, components: Sequence[int]) -> set[int]:
        """Of some components those whose generators would sit otherwise than now, or with others."""
        now = {(self.groups.index(seat.group), seat.kind): seat.members for seat in self.seats}
        asked = [(place, members) for place, members in self.members(components).items() if place[1] is GeneratorActor]
        return {k for place, members in asked if now.get(place) != members for k in members}

    def fill(self, components: Sequence[int]) -> list[Seat]:
        """Let the actors hold these components; returns the seats that hold others than before, whose actors are new or
        have fresh ones. An actor without any ends."""
        before = {(self.groups.index(seat.group), seat.kind): seat for seat in self.seats}
        self.seats, changed = [], []
        for (i, kind), members in self.members(components).items():
            seat = before.get((i, kind))
            if not members:
                if seat:
                    ray.kill(seat.actor)
                continue
            if seat is None:
                bundle = 1 + i if self.reserved else 0 if kind is GeneratorActor else self.groups[i].num_actors - 1
                seat = Seat(kind, members, self.groups[i], self.places[i], bundle)
                self._seat_actor(seat)
                changed.append(seat)
            elif seat.members != members:
                seat.members, seat.fresh = members, True
                seat.actor.take.remote(members)
                changed.append(seat)
            self.seats.append(seat)
        return changed

    def _seat_actor(self, seat: Seat) -> None:
        ask = {"num_cpus": seat.group.bundle["CPU"], "num_gpus": seat.group.bundle.get("GPU", 0)}
        # a second thread answers `progress`; Ray's annotations lack this argument
        actor_class: Any = ray.remote(**ask, concurrency_groups={"watch": 1})(seat.kind)  # type: ignore[call-overload]
        strategy = PlacementGroupSchedulingStrategy(seat.place, placement_group_bundle_index=seat.bundle)
        named = actor_class.options(scheduling_strategy=strategy)
        seat.actor = named.remote(self.config.model_dump_json(), self.spec, seat.members)
        seat.fresh, seat.steps = True, 0

    @property
    def generators(self) -> list[Seat]:
        return [seat for seat in self.seats if seat.kind is GeneratorActor]

    @property
    def discriminators(self) -> list[Seat]:
        return [seat for seat in self.seats if seat.kind is DiscriminatorActor]

    def require_places(self) -> None:
        """Raises `NodeLostError` when a placement group has lost a part."""
        for group, place in zip(self.groups, self.places, strict=True):
            if not is_whole(place):
                raise NodeLostError(f"the node of {group.name} was lost", group.name, "go on with `raymix resume`")

    def lost(self) -> list[Seat]:
        """Seats whose actor died, or does not answer although it has started."""
        answers = [seat.actor.pid.remote() for seat in self.seats]
        _, silent = ray.wait(answers, num_returns=len(answers), timeout=ANSWER_S)
        found = []
        for seat, answer in zip(self.seats, answers, strict=True):
            try:
                if answer not in silent:
                    ray.get(answer)
                elif not seat.fresh:
                    found.append(seat)
            except RayError:
                found.append(seat)
        return found

    def replace_lost(self) -> None:
        """Seat a new actor wherever one was lost. Raises `NodeLostError`."""
        self.require_places()
        for seat in self.lost():
            ray.kill(seat.actor)
            self._seat_actor(seat)

    def processes(self) -> list[Process]:
        """Of the actors that have started and answer at once."""
        answers = [seat.actor.process.remote(seat.name) for seat in self.seats]
        ready, _ = ray.wait(answers, num_returns=len(answers), timeout=LOOK_S) if answers else ([], [])
        found = []
        for answer in answers:
            if answer in ready:
                with suppress(RayError):
                    found.append(ray.get(answer))
        return found

    def steps_done(self, timeout_s: float) -> int:
        """Steps of all actors since they started, as last heard. Raises `WorkerLostError` for one that died."""
        if not self.seats:
            return 0
        answers = {seat.actor.progress.remote(): seat for seat in self.seats}
        ready, _ = ray.wait(list(answers), num_returns=len(answers), timeout=timeout_s)
        for answer in ready:
            seat = answers[answer]
            try:
                seat.steps = ray.get(answer)
            except RayError as error:
                raise translated(error, seat.name) from None
        return sum(seat.steps for seat in self.seats)

    def close(self) -> None:
        """End the actors and give back what they held."""
        for seat in self.seats:
            if seat.actor is not None:
                ray.kill(seat.actor)
        for place in [] if self.reserved else self.places:
            remove_placement_group(place)
        self.seats, self.groups, self.places = [], [], []
