"""The actors of a run in their placement groups: started together, looked after, replaced when they die."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.placement_group import PlacementGroup, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from raymix.config import Config
from raymix.data.source import DataSpec
from raymix.errors import NodeLostError, NoRoomError, ResourceError
from raymix.runtime.actor_names import Name, label, named
from raymix.runtime.actors import DiscriminatorActor, GeneratorActor, Process
from raymix.runtime.capacity import cluster_nodes, free_nodes, has_room
from raymix.runtime.elastic import better_groups, moves, together
from raymix.runtime.groups import broken, give_back, node_of, reserve, reserve_all
from raymix.runtime.identity import name_of
from raymix.runtime.placement import Group
from raymix.runtime.waiting import translated

log = logging.getLogger(__name__)
ANSWER_S = 10.0  # within which an actor tells that it lives, whatever it is doing
LOOK_S = 2.0  # the coordinator answers nobody else while it looks where its actors are

Classes = Mapping[type, type]
"""The class of the actors that have a kind of seat."""
ACTORS: Classes = {GeneratorActor: GeneratorActor, DiscriminatorActor: DiscriminatorActor}


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
        classes: Classes = ACTORS,
    ) -> None:
        """Reserves a placement group for each group, or takes one that holds a bundle for each, after one for helpers.

        Raises `ResourceError` when a group has not its place within `wait_s` seconds.
        """
        self.config, self.spec, self.reserved, self.classes = config, spec, reserved, classes
        self.run_id, self.wait_s, self.asked = run_id, wait_s, list(groups)
        self.known = {node.id for node in cluster_nodes()}
        """Nodes that were looked at when the groups were placed."""
        self.groups = list(groups)
        """As they are placed: who stayed where it was when others moved may hold less than `asked`."""
        self.places = [reserved] * len(groups) if reserved else reserve_all(groups, run_id, wait_s)
        self.seats: list[Seat] = []
        self.fill(config.components)

    def members(self, components: Sequence[int]) -> dict[tuple[int, type], tuple[int, ...]]:
        """Who sits where: the components by number of the group and kind of actor; places may stay empty."""
        packs, found = iter(self.config.packs(components)), dict[tuple[int, type], tuple[int, ...]]()
        own: tuple[int, ...] = ()
        for i, group in enumerate(self.groups):
            if group.rank == 0:  # the other workers of a component or trunk come after the first
                own = next(packs, ()) if group.generators else tuple(components)  # a shared trunk is everybody's
            if group.generators:
                found[i, GeneratorActor] = own
            if group.discriminators:
                found[i, DiscriminatorActor] = own
        return found

    def newcomers(self, components: Sequence[int]) -> set[int]:
        """Those of some components whose generators would sit otherwise than now, or with others."""
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
        actor_class: Any = ray.remote(**ask, concurrency_groups={"watch": 1})(self.classes[seat.kind])  # type: ignore[call-overload]
        strategy = PlacementGroupSchedulingStrategy(seat.place, placement_group_bundle_index=seat.bundle)
        role = "generator" if seat.kind is GeneratorActor else "discriminator"
        name = Name(self.run_id, label(role, seat.group, own_component=not self.config.schedule.adapt))
        arguments = (self.config.model_dump_json(), self.spec, seat.members, name)

        def create(unique: str | None) -> Any:
            return actor_class.options(scheduling_strategy=strategy, name=unique).remote(*arguments)

        seat.actor = named(create, name)
        seat.fresh, seat.steps = True, 0

    @property
    def trainers(self) -> list[Seat]:
        """Every generator actor."""
        return [seat for seat in self.seats if seat.kind is GeneratorActor]

    @property
    def generators(self) -> list[Seat]:
        """One generator actor of each pack: where several train a component, all have the same tensors."""
        return [seat for seat in self.trainers if seat.group.rank == 0]

    @property
    def discriminators(self) -> list[Seat]:
        return [seat for seat in self.seats if seat.kind is DiscriminatorActor]

    def require_places(self) -> None:
        """Raises `NodeLostError` when a placement group has lost a part."""
        for i in self._broken():
            name = self.groups[i].name
            raise NodeLostError(f"the node of {name} was lost", name, "go on with `raymix resume`")

    def _broken(self) -> list[int]:
        """Positions of the groups that have lost a part of their place."""
        lost = broken(self.places)
        return [i for i, place in enumerate(self.places) if place in lost]

    def lost(self, besides: Sequence[Seat] = ()) -> list[Seat]:
        """Seats whose actor died, or does not answer although it has started."""
        asked = [seat for seat in self.seats if seat not in besides]
        answers = [seat.actor.pid.remote() for seat in asked]
        if not asked:
            return []
        _, silent = ray.wait(answers, num_returns=len(answers), timeout=ANSWER_S)
        found = []
        for seat, answer in zip(asked, answers, strict=True):
            try:
                if answer not in silent:
                    ray.get(answer)
                elif not seat.fresh:
                    found.append(seat)
            except RayError:
                found.append(seat)
        return found

    def replace_lost(self) -> None:
        """Seat a new actor wherever one was lost, on another node where its own was lost, and wherever one trains
        together with it: that may still wait for the other, for as long as a GPU's collectives do.

        Raises `NoRoomError` when there is no node with as much room, within `stall_s` seconds where the config says so.
        """
        if self.reserved:
            self.require_places()
        moved = [] if self.reserved else self._replace_places(self._broken())
        lost = [(seat.kind, seat.members) for seat in (*moved, *self.lost(besides=moved))]
        new = {id(seat) for seat in moved}
        for seat in self.seats:
            if (seat.kind, seat.members) in lost and id(seat) not in new:
                ray.kill(seat.actor)
                self._seat_actor(seat)

    def _replace_places(self, positions: Sequence[int]) -> list[Seat]:
        """Seat some groups elsewhere; returns their seats."""
        if not positions:
            return []
        lost = [self.groups[i] for i in positions]
        for i in positions:
            self._leave(i)
        resources, others = self.config.resources, set(range(len(self.groups))) - set(positions)
        wait_s = resources.stall_s if resources.on_loss == "wait" else 0
        if not has_room(lost, self._held(others), wait_s, name_of(self.run_id)):
            names = ", ".join(group.name for group in lost)
            raise NoRoomError(f"no node has room for {names} as before", names, "go on with `raymix resume`")
        try:
            places = reserve_all(lost, self.run_id, self.wait_s)
        except ResourceError as error:
            raise NoRoomError(error.what, error.where, error.todo) from None
        return [
            seat for i, place in zip(positions, places, strict=True) for seat in self._arrive(i, self.groups[i], place)
        ]

    def _held(self, positions: Iterable[int]) -> dict[str, list[Group]]:
        """Some groups by the node that they are on."""
        held: dict[str, list[Group]] = {}
        for i in positions:
            held.setdefault(node_of(self.places[i]), []).append(self.groups[i])
        return held

    def settle(self) -> list[Seat]:
        """Move groups to nodes that joined since they were placed, where that gives the run more processors or GPUs;
        returns the seats that have new actors. Raises `NodeLostError`."""
        nodes = free_nodes()
        joined = {node.id for node in nodes} - self.known
        if self.reserved or not joined:
            return []
        self.require_places()
        self.known |= joined
        nodes = together(nodes, self._held(range(len(self.groups))))
        wanted = better_groups(self.config, self.asked, nodes)
        if wanted is None:
            return []
        self.asked, seats = wanted, []
        going = moves(wanted, [node_of(place) for place in self.places], nodes)
        for i, home in going.items():  # all of them first: one may need the room of another
            log.warning("%s moves to node %s", self.groups[i].name, home.id[:8])
            self._leave(i)
        for i, home in going.items():
            name = self.groups[i].name
            try:
                place = reserve(wanted[i], name_of(self.run_id, name), self.wait_s, home.id)
            except ResourceError as error:  # somebody was quicker
                raise NodeLostError(error.what, name, "go on with `raymix resume`") from None
            seats += self._arrive(i, wanted[i], place)
        return seats

    def _leave(self, position: int) -> None:
        """End a group's actors and give back its place. Raises `NodeLostError` when Ray is slow to take it."""
        for seat in self._seats_of(position):
            ray.kill(seat.actor)
        try:
            give_back(self.places[position])
        except ResourceError as error:
            raise NodeLostError(error.what, self.groups[position].name, "go on with `raymix resume`") from None

    def _arrive(self, position: int, group: Group, place: PlacementGroup) -> list[Seat]:
        """Seat new actors of a group in another place."""
        seats = self._seats_of(position)
        self.groups[position], self.places[position] = group, place
        for seat in seats:
            seat.group, seat.place = group, place
            self._seat_actor(seat)
        return seats

    def _seats_of(self, position: int) -> list[Seat]:
        return [seat for seat in self.seats if seat.group is self.groups[position]]

    def processes(self) -> list[Process]:
        """Processes of the actors that have started and answer at once."""
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
