"""`harness`: a group whose commands are imported when they are used, so that `--help` is there at once."""

from __future__ import annotations

import importlib
import sys

import click

from harness import __version__
from harness.errors import ExitCode, HarnessError, SpecError

_COMMANDS = {
    "run": ("harness.cli.run:run", "Run a playbook: stand up its network, load it, disturb it, judge it."),
    "search": ("harness.cli.search:search", "Find the limit: the greatest rate at which a criterion still holds."),
    "check": ("harness.cli.check:check", "Check playbooks without running them; tells every error at once."),
    "init": ("harness.cli.init:init", "Make a project folder that runs at once."),
    "inventory": (
        "harness.cli.inventory:inventory",
        "Show an inventory: hosts, groups, variables; see whether its machines can be reached.",
    ),
    "exec": ("harness.cli.exec:exec_", "Run a command on machines, with each one's output and exit status."),
    "prepare": ("harness.cli.prepare:prepare", "Ready machines for a playbook: do its [[prepare]] tasks alone."),
    "plugins": ("harness.cli.plugins:plugins", "List plugins and read what they do and take."),
    "schema": ("harness.cli.schema:schema", "Print the JSON Schema of playbooks, for editors."),
    "runs": ("harness.cli.runs:runs", "List past runs, show what one came to, compare two."),
    "report": ("harness.cli.report:report", "Write a page that shows what a run came to."),
    "watch": ("harness.cli.watch:watch", "Watch a run on the screen, and steer it, from any terminal."),
    "replay": ("harness.cli.watch:replay", "Play a run again on the screen."),
    "serve": ("harness.cli.serve:serve", "Show runs, their reports and their screens in a browser."),
    "logs": ("harness.cli.logs:logs", "Show the logs of a run's nodes, also while they run."),
    "clean": ("harness.cli.clean:clean", "Find and remove what dead runs have left behind."),
    "heal": ("harness.cli.heal:heal", "The same on machines, from what dead runs have written there themselves."),
    "doctor": ("harness.cli.doctor:doctor", "Say what this machine has, lacks, and how to get it."),
}
"""Command → where it is, and its line in the help."""


class LazyGroup(click.Group):
    """Lists its commands from a table; imports one when it is used. Plugins' commands follow the table's."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_COMMANDS, *_plugin_commands()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _COMMANDS:
            module, _, attribute = _COMMANDS[cmd_name][0].partition(":")
            command: click.Command = getattr(importlib.import_module(module), attribute)
            return command
        if cmd_name in _plugin_commands():
            from harness.plugin.registry import Registry

            return next((c for c in Registry().commands(cmd_name) if c.name == cmd_name), None)
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        plugins = [(name, f"(plugin {origin})") for name, origin in _plugin_commands().items()]
        with formatter.section("Commands"):
            formatter.write_dl([*((name, text) for name, (_, text) in _COMMANDS.items()), *plugins])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            meant = f' Did you mean "{near[0]}"?' if near else ""
            raise click.UsageError(f'There is no command "{args[0]}".{meant}', ctx)
        return super().resolve_command(ctx, args)


def _plugin_commands() -> dict[str, str]:
    """Command → distribution. Read from entry points' names: nothing is imported but importlib.metadata."""
    from importlib.metadata import entry_points

    prefix = "command."
    return {
        point.name.removeprefix(prefix): point.dist.name if point.dist else "?"
        for point in entry_points(group="harness")
        if point.name.startswith(prefix)
    }


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 pass, 1 an expectation failed, 2 unknown, 3 infrastructure failed, "
    "4 bad playbook, inventory or usage, 5 teardown incomplete, 130 interrupted.",
)
@click.version_option(__version__, prog_name="harness")
def group() -> None:
    """Tests distributed networks the way Ansible configures machines.

    A playbook (TOML) says what network to stand up, what traffic and faults to put on it, and what must hold;
    an inventory (TOML) says on which machines.

    \b
    Start here:
      harness init demo && cd demo
      harness run playbooks/quickstart.toml
    """


def cli(args: list[str] | None = None) -> int:
    """Run the command line and return the exit code. Errors of the user's or of the infrastructure are told
    on stderr, without a traceback."""
    from harness.cli.streams import lost_output, make_safe

    make_safe()
    code = _command(args)
    if lost := lost_output():
        tell(f"not all output could be written: {lost}")
    sys.stderr.flush()
    return code


def _command(args: list[str] | None) -> int:
    try:
        result = group.main(args, prog_name="harness", standalone_mode=False)
    except click.exceptions.Abort:
        return ExitCode.INTERRUPTED
    except click.ClickException as error:
        error.show()
        return ExitCode.USAGE
    except HarnessError as error:
        tell(error)
        return error.exit_code
    except OSError as error:
        if error.filename is None:
            raise
        tell(f"{error.filename}: {error.strerror}")  # a file that may not be read, a full disk: nobody's mistake here
        return ExitCode.USAGE
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    return result if isinstance(result, int) else ExitCode.PASS


def tell(error: HarnessError | str) -> None:
    """An error, on stderr. Problems in files begin with their place, as compilers' do, for editors to jump to."""
    from harness.record.text import block, hanging

    click.echo(block(str(error)) if isinstance(error, SpecError) else f"harness: {hanging(str(error))}", err=True)
