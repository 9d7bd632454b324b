"""`harness serve`: runs in a browser."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import runs_folder
from harness.cli.runs import runs_option
from harness.errors import ExitCode, UsageError


@click.command(short_help="Show runs, their reports and their screens in a browser.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Listen there. Beyond this machine, with a token.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, metavar="PORT", help="Default: any that is free.")
@runs_option
def serve(host: str, port: int, runs_dir: Path | None) -> int:
    """Show the runs of a folder in a browser: a list, each run's report, and its screen, live or as a replay, to look
    at; nothing can be done to a run from there. Ends with Ctrl-C.

    On this machine alone it needs nothing. Where others can reach it, whoever looks needs the token in the address that
    is printed; the connection is not encrypted: put a proxy with TLS before it.

    \b
    Examples:
      harness serve
      harness serve --host 0.0.0.0 --port 8321
    """
    import asyncio

    from harness.serve.access import is_loopback, new_token
    from harness.serve.listen import listen

    token = "" if is_loopback(host) else new_token()
    try:
        asyncio.run(listen(runs_folder(runs_dir), host, port, token, _tell))
    except OSError as error:
        raise UsageError(f"{host}:{port} cannot be listened at: {error}; choose another with --port") from None
    return ExitCode.PASS


def _tell(url: str) -> None:
    click.echo(f"runs are shown at {url}")
