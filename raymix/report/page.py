"""One page about a run: record, config and portrait in, HTML text out. It needs no network and no script."""

from collections.abc import Mapping, Sequence
from typing import Any

import jinja2

from raymix.config import Config
from raymix.config_values import dump_config
from raymix.data.source import DataSpec
from raymix.report import exchange, history, structure, words
from raymix.report.cards import Images, Vectors, cards
from raymix.report.classes import class_table
from raymix.report.contents import Portrait
from raymix.report.palette import colour_of
from raymix.report.plane import Plane, fields, overviews
from raymix.report.troubles import troubles
from raymix.runs.rounds import RoundRecord

LAST_ROUNDS = 3  # whose exchanges are shown together


def render(
    lines: Sequence[RoundRecord],
    config: Config,
    spec: DataSpec,
    environment: Mapping[str, str],
    portrait: Portrait,
    measures: Mapping[str, Any] | None = None,
) -> str:
    """The page. `lines` are the record's up to the generation that the portrait is of; one at least. `measures` are
    what `raymix evaluate` found at it, if it was asked."""
    plane = None if spec.is_image else Plane(portrait, spec.columns)
    ids = history.ids_of(lines)
    recent = lines[1:][-LAST_ROUNDS:] if any(line.flow_F3 for line in lines) else []
    competing = len(ids) > 1
    return template("page.html.j2").render(
        title=words.title(lines, config, spec),
        subtitle=words.subtitle(config),
        summary=words.summary(lines, config, spec),
        measures=words.measures(lines, measures),
        troubles=troubles(lines, config, portrait),
        events=structure.events(lines),
        number_chart=structure.number_chart(lines) if config.schedule.adapt else None,
        cards=cards(lines, portrait, Images(portrait) if plane is None else Vectors(plane)),
        portrait=portrait,
        chips=[(k, colour_of(k)) for k in ids],
        bands=exchange.bands(lines) if recent and competing else [],
        recent=recent,
        exchange_map=exchange.exchange_map(recent) if recent and competing else None,
        largest_moves=exchange.largest_moves(lines[-1]) if recent else "",
        terms=[(name, history.term_chart(lines, name, unit)) for name, unit in history.units(lines).items()],
        discriminator_losses=history.discriminator_chart(lines),
        moved=history.moved_chart(lines) if len(lines) > 1 and competing else None,
        seconds=history.seconds_chart(lines),
        class_table=class_table(lines[-1], spec.classes),
        plane=plane,
        overviews=overviews(plane, portrait) if plane else [],
        fields=fields(portrait, plane.names) if plane else [],
        field_name="log-density, up to a constant or as a bound" if config.own_density else "log ratio",
        config=dump_config(config),
        environment=environment,
    )


def template(name: str) -> jinja2.Template:
    """One of the pages' templates."""
    loader = jinja2.PackageLoader("raymix", "report")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(name)
