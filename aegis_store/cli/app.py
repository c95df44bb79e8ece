"""The application: its verbs, and what holds for all of them."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Final

import typer
import typer.core

from aegis_store.cli.audit import app as audit
from aegis_store.cli.bench import bench
from aegis_store.cli.compact import compact
from aegis_store.cli.demo.command import demo
from aegis_store.cli.erase import erase
from aegis_store.cli.export import export
from aegis_store.cli.head import head
from aegis_store.cli.health import health
from aegis_store.cli.holds import hold, holds, release
from aegis_store.cli.import_ import import_
from aegis_store.cli.import_langgraph import import_langgraph_postgres, import_langgraph_sqlite
from aegis_store.cli.incident import incident
from aegis_store.cli.init import init
from aegis_store.cli.keys import keys
from aegis_store.cli.log import log
from aegis_store.cli.memory import app as memory
from aegis_store.cli.outcome import as_fields
from aegis_store.cli.output import emit
from aegis_store.cli.recover import recover
from aegis_store.cli.retain import retain
from aegis_store.cli.sessions import sessions
from aegis_store.cli.show import show
from aegis_store.cli.stats import stats
from aegis_store.cli.verify import verify

#: What the parser raises for a command line that it cannot take.
_USAGE: Final[Any] = typer.BadParameter.__mro__[1]


class Verbs(typer.core.TyperGroup):
    """The verbs; the name of one may be two words, as in `aegis import langgraph-sqlite`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Two words that are a verb come before one that is."""
        two = " ".join(args[:2])
        return super().resolve_command(ctx, [two, *args[2:]] if two in self.commands else args)


app = typer.Typer(
    name="aegis",
    cls=Verbs,
    help="An embedded checkpoint store for AI agents: crash-safe, signed, tamper-evident.",
    epilog="Exit codes: 0 fine, 1 something was found, 2 usage, 3 store or system refused, 4 locked by another process.",
    no_args_is_help=True,
    # Plain help and plain tracebacks: quick, and no local variable, which may be a key, is ever shown.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command("init")(init)
app.command("demo")(demo)
app.command("sessions")(sessions)
app.command("log")(log)
app.command("show")(show)
app.command("verify")(verify)
app.command("head")(head)
app.command("stats")(stats)
app.command("health")(health)
app.add_typer(keys, name="keys")
app.command("recover")(recover)
app.add_typer(incident, name="incident")
app.command("retain")(retain)
app.command("compact")(compact)
app.command("hold")(hold)
app.command("holds")(holds)
app.command("release")(release)
app.command("erase")(erase)
app.add_typer(audit, name="audit")
app.command("export")(export)
app.command("import")(import_)
# Their help is that of `aegis import`: a list of verbs has one word each.
app.command("import langgraph-sqlite", hidden=True)(import_langgraph_sqlite)
app.command("import langgraph-postgres", hidden=True)(import_langgraph_postgres)
app.command("bench")(bench)
app.add_typer(memory, name="memory")


def _show_version(wanted: bool) -> None:
    if wanted:
        from aegis_store import __version__

        typer.echo(f"aegis {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """What stands before a verb."""


def run() -> None:
    """Run the application and exit. A terminal that lacks a character gets a question mark, not a traceback."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
    if "--json" not in sys.argv:
        app(prog_name="aegis")
    try:
        code = app(prog_name="aegis", standalone_mode=False)
    except _USAGE as error:
        from aegis_store.errors import InvalidArgument

        emit(as_fields(InvalidArgument(error.format_message(), op="cli", hint="see how: aegis --help")), to=sys.stderr)
        code = error.exit_code
    sys.exit(code)
