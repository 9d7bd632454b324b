"""What an inventory says of a node that somebody else runs. Pure.

    manage      "adopt": the node on this host runs already; "deploy", as without it: the harness brings it
    endpoints   what the node listens at, by the chain's names for ports: "host:port", "http://host:port", or a port
                alone, which is on the host itself. The port of its API must be among them
    unit        its systemd unit on the host, or
    pid_file    the file with its pid there. With neither of them the host is no machine to the harness
    log         its log file there; without it, the unit's journal
    control     true: the harness may stop, start, suspend and resume it. false, as without it: it only looks

With a unit or pid file the endpoints are as the *host* reaches them, and `harness_api` says how the controller does:
through a tunnel, or directly, as they are written. Without, they are as the *controller* reaches them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from harness.errors import Problem, SpecError
from harness.plugin.contract.base import MachineCapability
from harness.plugin.contract.chain import RoleInfo
from harness.plugin.contract.deployer import Adoption, HostReport, HostSpec, PlannedNode
from harness.plugin.contract.machine import Address
from harness.spec.connection import boolean
from harness.spec.host_problems import host_problems
from harness.spec.manage import MANAGE, is_adopted, is_machine
from harness.spec.model import SourceRef
from harness.spec.problems import did_you_mean, known_hint, shown

_LOOPBACK = "127.0.0.1"
_SCHEMES = ("http", "tcp")  # tcp is how CometBFT writes what it listens at
_UNIT = re.compile(r"[A-Za-z0-9:_.\\@-]{1,250}")  # systemd.unit(5)
_SUFFIX = ".service"


def adoption_of(host: HostSpec, role: RoleInfo) -> Adoption | None:
    """How the node on this host is adopted; None where the harness is to deploy it. Raises SpecError with everything
    that is wrong with what is said of the host, at its places."""
    reader = _Reader(host)
    adoption = reader.read(role)
    if reader.problems:
        raise SpecError(reader.problems)
    return adoption


def reports_of(nodes: Sequence[PlannedNode], seen: Sequence[HostReport]) -> tuple[HostReport, ...]:
    """What deployers have seen of the nodes' hosts; how nodes are launched is ours to say, but for adopted ones: to
    these what the inventory allows can be done."""
    reports = {report.host: replace(report, capabilities=of_ours(report.capabilities)) for report in seen}
    for node in nodes:
        if node.adoption is not None:
            report = reports.get(node.host.name, HostReport(node.host.name))
            can = allowed(node.adoption)
            lacks = {c: _why_not(c, node.adoption) for c in MachineCapability if c not in can}
            reports[node.host.name] = replace(report, capabilities=can, lacks=lacks)
    return tuple(reports.values())


def allowed(adoption: Adoption) -> frozenset[MachineCapability]:
    """What the inventory lets the harness do to an adopted node, as far as there is a way to do it."""
    if not adoption.control:
        return frozenset()
    always = frozenset({MachineCapability.PAUSE, MachineCapability.COMMANDS})
    return always | {MachineCapability.NODE_CONTROL} if adoption.unit else always


def of_ours(can: frozenset[MachineCapability]) -> frozenset[MachineCapability]:
    """What can be done to a node that the harness has launched, on a machine that can do this."""
    return can | {MachineCapability.LAUNCH} if MachineCapability.NODE_CONTROL in can else can


def _why_not(capability: MachineCapability, adoption: Adoption) -> str:
    """The end of "needs X, which …"."""
    if capability.startswith("link-"):
        return "cannot be had of an adopted node: its links are its own"
    if capability in (MachineCapability.LAUNCH, MachineCapability.CLOCK):
        return "cannot be had of an adopted node: how it is started is not the harness's to say"
    if capability is MachineCapability.OWN_DISK:
        return "cannot be had of an adopted node: its disk is whatever it was given"
    if not adoption.has_machine:
        return "endpoints alone do not give: name the node's unit, and write control = true"
    if not adoption.control:
        return "the inventory does not allow on its adopted node: control = true would"
    return "a pid file does not give: it says how to end the node, not how to start it again; name its unit"


class _Reader:
    """Takes a host's variables, and keeps what is wrong with them."""

    def __init__(self, host: HostSpec) -> None:
        self.problems: list[Problem] = []
        self._host = host

    def read(self, role: RoleInfo) -> Adoption | None:
        self.problems += host_problems(self._host.name, self._host.vars, self._host.places)
        if not is_adopted(self._host.vars):
            return None
        unit, pid_file = self._unit(), self._path("pid_file")
        log, control = self._path("log"), self._control()
        if unit and pid_file:
            self._problem("pid_file", "stands beside unit, which says as much: write one of them")
        there = is_machine(self._host.vars)
        for name, value in (("log", log), ("control", control)):
            if value and not there:
                self._problem(name, "needs a machine to do that on: name the node's unit or pid_file")
        return Adoption(self._endpoints(role, there), unit, pid_file, log, control)

    def _endpoints(self, role: RoleInfo, there: bool) -> Mapping[str, Address]:
        written = self._host.vars.get("endpoints")
        if written is None:
            like = next((name for name in self._host.vars if did_you_mean(name, ("endpoints", "endpoint"))), "")
            hint = f'it is written "{like}" here' if like else f'write endpoints = {{ {role.api_port} = "host:port" }}'
            self._problem("endpoints", "is missing: where an adopted node listens must be said", hint, at=MANAGE)
            return {}
        if not isinstance(written, Mapping):
            return {}  # as host_problems has told
        found = {}
        for port, value in written.items():
            if port not in role.ports:
                self._problem(f"endpoints.{port}", "is no port of this node", known_hint(port, role.ports, "ports"))
                continue
            try:
                found[port] = self._address(value, there)
            except ValueError as error:
                self._problem(f"endpoints.{port}", str(error))
        if role.api_port not in written:
            self._problem("endpoints", f'lacks "{role.api_port}", the port of the node\'s API')
        return found

    def _address(self, value: Any, there: bool) -> Address:
        if isinstance(value, int) and not isinstance(value, bool):
            return Address(self._itself(there), _port(value))
        if not isinstance(value, str):
            raise ValueError(f'must be "host:port", a URL, or a port, not {shown(value)}')
        if not value.isprintable() or re.search(r"[\s{}]", value):
            raise ValueError(f'must be "host:port", not {shown(value)}')
        scheme, separator, rest = value.partition("://")
        if separator and scheme not in _SCHEMES:
            tls = scheme in ("https", "wss")
            raise ValueError(
                f"is {scheme}, and nodes are spoken to in plain HTTP" if tls else f"has no known scheme: {shown(value)}"
            )
        parts = urlsplit(f"//{rest if separator else value}")
        if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username is not None:
            raise ValueError(f'must be "host:port" and no more, not {shown(value)}')
        if not parts.hostname:
            raise ValueError(f'must be "host:port", not {shown(value)}')
        try:
            port = parts.port
        except ValueError:
            port = 0
        if port is None:
            raise ValueError(f"lacks its port: {shown(value)}")
        return Address(parts.hostname, _port(port))

    def _itself(self, there: bool) -> str:
        """The host, for a port alone: as it reaches itself, or as the controller reaches it."""
        try:
            connection = self._host.connection
        except SpecError:
            return _LOOPBACK  # as host_problems has told
        return _LOOPBACK if there and connection.api == "tunnel" else connection.address

    def _unit(self) -> str:
        value = self._host.vars.get("unit")
        if value is None:
            return ""
        if not isinstance(value, str) or value.startswith("-") or not _UNIT.fullmatch(value):
            self._problem("unit", f"must be the name of a systemd unit, not {shown(value)}")
            return _SUFFIX
        kind = PurePosixPath(value).suffix
        if kind in (".socket", ".timer", ".target", ".slice", ".mount", ".path", ".scope"):
            self._problem("unit", f"must be a service, not a {kind[1:]}")
        return value if kind == _SUFFIX else value + _SUFFIX

    def _path(self, name: str) -> str:
        value = self._host.vars.get(name)
        if value is None:
            return ""
        if not isinstance(value, str) or not value.startswith("/") or not value.isprintable():
            self._problem(name, f"must be an absolute path, not {shown(value)}")
            return "/"
        return value

    def _control(self) -> bool:
        try:
            return boolean(self._host.vars.get("control", False))
        except ValueError as error:
            self._problem("control", str(error))
            return False

    def _problem(self, path: str, message: str, hint: str = "", at: str = "") -> None:
        places = self._host.places
        where = places.get(at or path.partition(".")[0], SourceRef.of_host(self._host.name))
        self.problems.append(Problem(where.file, where.line, where.column, path, message, hint))


def _port(number: int) -> int:
    if not 1 <= number <= 65535:
        raise ValueError(f"must have a port from 1 to 65535, not {number}")
    return number
