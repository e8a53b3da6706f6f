"""What went wrong in a run, each in a sentence that says what to do."""

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import numpy as np

from raymix.config import Config
from raymix.metrics.health import CHANCE, SATURATED
from raymix.report import structure
from raymix.report.contents import Portrait
from raymix.report.history import ids_of, units
from raymix.report.words import measured, percent, quantity
from raymix.runs.failures import Action
from raymix.runs.rounds import RoundRecord

UNSETTLED = 0.05  # of all rows, moving in the last round
COPY = 1 / 3  # of the distance between real neighbours: a sample nearer than this to a row may be a copy of it
COPIES = 0.1  # of a component's samples, beyond the share of real rows
ADVICE = {
    Action.REPLACE.value: "the numbers are those of an undisturbed run, nothing is to be done",
    Action.RESTART.value: "the numbers are those of an undisturbed run; look at the nodes if it happens again",
    Action.SLOW.value: "lower model.learning_rate if it happens again",
    Action.DROP.value: "lower model.learning_rate or check the scale of the data",
}


class Trouble(NamedTuple):
    """A heading and a sentence."""

    what: str
    sentence: str


def troubles(lines: Sequence[RoundRecord], config: Config, portrait: Portrait) -> list[Trouble]:
    """Everything that a reader of the numbers should not have to find; nothing in a sound run."""
    competes = config.competes
    looks: list[Callable[[], list[Trouble]]] = [
        lambda: _mended(lines),
        lambda: _dropped(lines),
        lambda: _starved(lines, config) if competes else [],
        lambda: _reseeded(lines),
        lambda: _saturated(lines),
        lambda: _saturated_critics(lines),
        lambda: _unsettled(lines, config) if competes else [],
        lambda: _copies(portrait),
        lambda: _other_warnings(lines[-1]),
    ]
    return [trouble for look in looks for trouble in look()]


def _mended(lines: Sequence[RoundRecord]) -> list[Trouble]:
    found = []
    for line in lines:
        for failure, done in line.mendings:
            what = failure.split("; ")[0]
            advice = ADVICE.get(done, "look at the log if it happens again")
            found.append(Trouble("Mended", f"In round {line.round}: {what}. What was done: {done}; {advice}."))
    return found


def _dropped(lines: Sequence[RoundRecord]) -> list[Trouble]:
    gone = [k for k in ids_of(lines) if k not in {*lines[-1].components, *structure.gone(lines)}]
    if not gone:
        return []
    who = f"{_named(gone).capitalize()} no longer {_verb(gone, 'competes', 'compete')}, and the others share the rows"
    return [Trouble("Dropped", f"{who}; begin a new run with a lower model.learning_rate to keep all.")]


def _starved(lines: Sequence[RoundRecord], config: Config) -> list[Trouble]:
    last, times = lines[-1], dict[int, str]()
    for k in last.components:
        num = sum(k in line.starved for line in lines)
        if k in last.starved or 2 * num > len(lines):
            times[k] = f"{k} (in {num})" if times else f"{k} (in {num} of {len(lines)} rounds)"
    if not times:
        return []
    won = dict(zip(last.components, last.won_K, strict=True))
    empty = [k for k in times if won[k] == 0]
    sentence = f"Component{_s(times)} {', '.join(times.values())} won too few rows and trained on lent ones; "
    if empty:
        sentence += f"{_named(empty)} won none in the last round and {_verb(empty, 'is', 'are')} never sampled from; "
    if config.schedule.adapt:
        return [Trouble("Starved", f"{sentence}raise schedule.rounds, so that who is too small can retire.")]
    sentence += "lower num_components"
    if not config.balance.patience:
        sentence += ", or set balance.patience so that who starves begins anew as a copy of the largest"
    return [Trouble("Starved", f"{sentence}.")]


def _reseeded(lines: Sequence[RoundRecord]) -> list[Trouble]:
    found = []
    for line in lines:
        for k, donor in line.reseeded.items():
            sentence = f"Component {k} began anew in round {line.round} as a copy of {donor}, with half of its rows; "
            found.append(Trouble("Reseeded", sentence + "lower num_components if it starves again."))
    return found


def _saturated(lines: Sequence[RoundRecord]) -> list[Trouble]:
    rounds: dict[int, set[int]] = {}
    for line in lines:
        for k, loss in zip(line.components, line.discriminator_loss_K, strict=True):
            if loss is not None and loss < SATURATED:
                rounds.setdefault(k, set()).add(line.round)
    if not rounds:
        return []
    sentence = (
        f"The discriminator loss of {_named(sorted(rounds))} fell below {SATURATED} nats (chance is {CHANCE}) in "
        f"{_rounds(sorted(set.union(*rounds.values())))}: such log ratios say little about which rows fit; raise "
        "discriminator.guard_loss or discriminator.lowpass, or lower discriminator.learning_rate."
    )
    return [Trouble("Saturated discriminators", sentence)]


def _saturated_critics(lines: Sequence[RoundRecord]) -> list[Trouble]:
    rounds: dict[int, set[int]] = {}
    for line in lines:
        for k in line.saturated_critics:
            rounds.setdefault(k, set()).add(line.round)
    if not rounds:
        return []
    losses = [
        loss
        for line in lines
        for k, loss in zip(line.components, line.term_K("critic"), strict=True)
        if k in line.saturated_critics and loss is not None
    ]
    lowest = f" (loss down to {measured(min(losses), units(lines)['critic'])})" if losses else ""
    sentence = (
        f"The critic of {_named(sorted(rounds))} told samples from rows almost without fail in "
        f"{_rounds(sorted(set.union(*rounds.values())))}{lowest}: such a critic teaches its generator little; choose "
        "sn-dcgan or model.loss wgan-gp, lower model.learning_rate, or raise schedule.batch_size."
    )
    return [Trouble("Saturated critics", sentence)]


def _unsettled(lines: Sequence[RoundRecord], config: Config) -> list[Trouble]:
    judged = [line for line in lines[1:] if config.assigns(line.round)]
    moved = [line.moved_share for line in judged]
    if not moved or moved[-1] <= UNSETTLED:
        return []
    round, advice = judged[-1].round, "raise schedule.rounds"
    if config.schedule.settles(round - 1):
        advice = "generators of the last rounds trained on other ones; raise schedule.rounds, or set assign.margin"
    elif len(moved) >= 4 and moved[-1] > 0.9 * moved[-4]:
        advice = (
            "the share has stopped falling: lower balance.min_share, or try fewer components or longer rounds "
            "(schedule.epochs_per_round)"
        )
    return [Trouble("Not settled", f"{percent(moved[-1])} of the rows still moved in round {round}; {advice}.")]


def _copies(portrait: Portrait) -> list[Trouble]:
    found = []
    for each in portrait.components:
        near = each.neighbours
        if not len(near.real_distances):
            continue
        bound = COPY * float(np.median(near.real_distances))
        share, usual = (float((distances < bound).mean()) for distances in (near.distances, near.real_distances))
        if share - usual > COPIES:  # in few dimensions some real rows lie as close to another by chance
            sentence = (
                f"{percent(share)} of the samples of component {each.component} lie closer than {quantity(bound)} to a "
                f"training row, a third of what real rows keep from each other ({percent(usual)} of these lie closer): "
                "it may repeat rows; look at the pairs below, and train for fewer epochs or with a smaller model if "
                "they are copies."
            )
            found.append(Trouble("Memorising", sentence))
    return found


def _other_warnings(last: RoundRecord) -> list[Trouble]:
    texts = [text for text in last.warnings if not text.startswith("saturated")]
    return [Trouble("Warning", f"{text[0].upper()}{text[1:]}.") for text in texts]


def _named(components: Sequence[int]) -> str:
    return f"component{_s(components)} {', '.join(map(str, components))}"


def _s(some: Collection[Any]) -> str:
    return "s" if len(some) > 1 else ""


def _verb(components: Sequence[int], one: str, many: str) -> str:
    return one if len(components) == 1 else many


def _rounds(rounds: Sequence[int]) -> str:
    if len(rounds) == 1:
        return f"round {rounds[0]}"
    if list(rounds) == list(range(rounds[0], rounds[-1] + 1)):
        return f"rounds {rounds[0]} to {rounds[-1]}"
    return f"rounds {', '.join(map(str, rounds))}"
