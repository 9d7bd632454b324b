"""The task `template`: a file made from a Jinja2 template with the host's variables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import anyio.to_thread
from pydantic import Field

from harness.api import Config, InfrastructureError, LocalPath, Machine, Task, TaskContext, TaskResult
from harness_tasks.options import Mode, Owner, RemotePath, mode_number
from harness_tasks.placing import Wanted, place


class TemplateConfig(Config):
    """`vars` is how variables of the playbook come into the template: `vars = { rate = "{{ rate }}" }`."""

    src: LocalPath = Field(description="template here, relative to the playbook")
    dest: RemotePath = Field(description="the file on the machine; with / at its end, the folder that it goes into")
    vars: Mapping[str, Any] = Field({}, description="variables beside the host's, and before them")
    mode: Mode | None = Field(None, description='like "0644"; without, that of the file that is there, else 0644')
    owner: Owner | None = Field(None, description='"user" or "user:group"; without, that of the file that is there')


class Template(Task[TemplateConfig]):
    """Has a file on the machine that is filled in from a Jinja2 template: `{{ inventory_hostname }}`.

    It knows the host's variables, `inventory_hostname`, and `vars`. A variable that is not defined is an error, told in
    plan. The file is written as `copy` does it; a name that ends in `.j2` loses that where `dest` is a folder."""

    name = "template"
    Config = TemplateConfig

    def problems(self, ctx: TaskContext) -> Sequence[str]:
        try:
            ctx.render(self._text, self.config.vars)
        except OSError as error:
            return (f"{self.config.src} cannot be read: {error.strerror}",)
        except UnicodeDecodeError:
            return (f"{self.config.src} is not UTF-8 text",)
        except ValueError as error:
            return (f"{self.config.src}: {error}",)
        return ()

    async def apply(self, machine: Machine, ctx: TaskContext) -> TaskResult:
        return await place(machine, ctx, [await self._wanted(ctx)], check=False)

    async def check(self, machine: Machine, ctx: TaskContext) -> TaskResult:
        return await place(machine, ctx, [await self._wanted(ctx)], check=True)

    @cached_property
    def _text(self) -> str:
        return self.config.src.read_bytes().decode()

    async def _wanted(self, ctx: TaskContext) -> Wanted:
        config = self.config
        try:
            text = await anyio.to_thread.run_sync(lambda: self._text)
            content = ctx.render(text, config.vars).encode()
        except (OSError, ValueError) as error:  # it was changed since plan
            raise InfrastructureError(f"{config.src}: {error}") from None
        into = f"{config.dest}{config.src.name.removesuffix('.j2')}" if config.dest.endswith("/") else config.dest
        return Wanted.of(into, content, mode_number(config.mode), config.owner or "")
