"""How to reach a host: Ansible's variables, with Ansible's meaning, and three of our own.

    ansible_connection                      ssh, local, docker …; see `Connection.kind`
    ansible_host, ansible_ssh_host          name or address to connect to; the host's own name without
    ansible_port, ansible_ssh_port          ssh's configuration says, else 22
    ansible_user, ansible_ssh_user          ssh's configuration says, else the user who runs harness
    ansible_password, ansible_ssh_pass, ansible_ssh_password                              secret
    ansible_private_key_file, ansible_ssh_private_key_file
    ansible_timeout, ansible_ssh_timeout    seconds to connect
    ansible_host_key_checking, ansible_ssh_host_key_checking
    ansible_ssh_args, ansible_ssh_common_args, ansible_ssh_extra_args                     harness.spec.ssh_arguments
    ansible_become, ansible_become_method (sudo), ansible_become_user, ansible_sudo_user
    ansible_become_exe, ansible_sudo_exe    the program, "sudo" without
    ansible_become_password, ansible_become_pass, ansible_sudo_pass                       secret
    ansible_python_interpreter
    harness_key_passphrase                  of the private key file                       secret
    harness_address                         under which other nodes reach the machine; what is connected to without
    harness_api                             how the controller reaches node APIs: tunnel, direct
    harness_host_keys                       check, accept-new, off; wins over all that Ansible has for it

Of several names for one thing the last one named here counts, whatever group it stands in: so does Ansible
(`ConfigManager._loop_entries`). Variables beat arguments for ssh, but for `ansible_ssh_args`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from harness.errors import Problem, SpecError
from harness.spec.model import SourceRef
from harness.spec.problems import did_you_mean, shown
from harness.spec.secrets import SECRET_VARIABLES, Secret
from harness.spec.ssh_arguments import JumpHost, SshOptions, file_path

T = TypeVar("T")

HOST = ("ansible_host", "ansible_ssh_host")
PORT = ("ansible_port", "ansible_ssh_port")
USER = ("ansible_user", "ansible_ssh_user")
PASSWORD = ("ansible_password", "ansible_ssh_pass", "ansible_ssh_password")
KEY_FILE = ("ansible_private_key_file", "ansible_ssh_private_key_file")
TIMEOUT = ("ansible_timeout", "ansible_ssh_timeout")
HOST_KEY_CHECKING = ("ansible_host_key_checking", "ansible_ssh_host_key_checking")
BECOME_USER = ("ansible_become_user", "ansible_sudo_user")
BECOME_EXE = ("ansible_become_exe", "ansible_sudo_exe")
BECOME_PASSWORD = ("ansible_become_password", "ansible_become_pass", "ansible_sudo_pass")
SSH_ARGS, SSH_COMMON_ARGS, SSH_EXTRA_ARGS = "ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args"

VARIABLES: Final = frozenset(
    {
        *HOST, *PORT, *USER, *PASSWORD, *KEY_FILE, *TIMEOUT, *HOST_KEY_CHECKING, *BECOME_USER, *BECOME_EXE,
        *BECOME_PASSWORD, SSH_ARGS, SSH_COMMON_ARGS, SSH_EXTRA_ARGS, "ansible_connection", "ansible_become",
        "ansible_become_method", "ansible_python_interpreter", "harness_key_passphrase", "harness_address",
        "harness_api", "harness_host_keys",
    }
)  # fmt: skip
"""All that is read here."""

_REFUSED: Final = {
    "ansible_become_flags": "harness gives sudo its own flags",
    "ansible_sudo_flags": "harness gives sudo its own flags",
    "ansible_private_key": "harness reads keys from files: ansible_ssh_private_key_file",
    "ansible_ssh_private_key": "harness reads keys from files: ansible_ssh_private_key_file",
    "ansible_ssh_executable": "harness has its own SSH client",
    "ansible_ssh_pkcs11_provider": "harness has its own SSH client, which knows agents and key files",
    "ansible_pkcs11_provider": "harness has its own SSH client, which knows agents and key files",
}
"""Variables of Ansible's that harness cannot honour, and that would change whom or what it talks to."""

KINDS: Final = {
    "local": "local",
    "ssh": "ssh",
    "smart": "ssh",
    "paramiko": "ssh",
    "paramiko_ssh": "ssh",
    "docker": "docker",
    "docker_api": "docker",
}
"""Ansible's connection plugins, without their collection, and what kind of connection each is."""

_COLLECTIONS = re.compile(r"ansible\.(?:builtin|legacy)\.|community\.docker\.(?=docker)")
_LOCALHOST = ("localhost", "127.0.0.1", "::1")
_BOOLEANS = dict.fromkeys(("y", "yes", "on", "1", "true", "t"), True) | dict.fromkeys(
    ("n", "no", "off", "0", "false", "f"), False
)
_HOST_KEYS = ("check", "accept-new", "off")
_APIS = ("tunnel", "direct")
_DEFAULT_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Connection:
    """How a host is reached, and as whom things are done there.

    `name` is its name in the inventory, `kind` is "ssh", "local", "docker", or whatever else `ansible_connection` says.
    `host` is what to connect to: a name (also one of ~/.ssh/config) or an IP address. What is None is for ssh's
    configuration to say. Of the `keys` (files) the first is tried first."""

    name: str
    kind: str
    host: str
    port: int | None = None
    user: str | None = None
    password: Secret | None = None
    keys: tuple[Path, ...] = ()
    key_passphrase: Secret | None = None
    identities_only: bool | None = None
    proxy_jump: tuple[JumpHost, ...] | None = None
    """The nearest to the controller first; () for none, whatever ssh's configuration says."""
    proxy_command: str | None = None
    """As in ssh_config(5), its %-tokens still in it; "" for none."""
    host_keys: str = "check"
    """check: against known_hosts. accept-new: keys of unknown hosts are accepted and kept. off: any key is taken."""
    known_hosts: tuple[Path, ...] | None = None
    """Files to check against; new keys go to the first."""
    connect_timeout: float = _DEFAULT_TIMEOUT
    """Seconds."""
    keepalive: float | None = None
    """Seconds between signs of life; 0 for none."""
    config_file: Path | None = None
    """To be read instead of ~/.ssh/config and /etc/ssh/ssh_config."""
    become: bool = False
    """Whether things are done as `become_user` rather than as `user`."""
    become_user: str = "root"
    become_exe: str = "sudo"
    become_password: Secret | None = None
    python: str | None = None
    """The interpreter's path or name; None: one is looked for."""
    address: str = ""
    """Under which other machines reach it."""
    api: str = "tunnel"
    """How the controller reaches the ports of nodes there: "tunnel" through the connection, or "direct"."""

    @classmethod
    def of(cls, host: str, variables: Mapping[str, Any], places: Mapping[str, SourceRef] | None = None) -> Connection:
        """From the resolved variables of the host that the inventory calls `host`. `places` are where they were
        written, for errors. Raises SpecError with everything that is wrong with them."""
        reader = _Reader(host, variables, places or {})
        connection = _read(reader, host)
        if reader.problems:
            raise SpecError(reader.problems)
        return connection


def kind_of(host: str, connection: str | None) -> str:
    """The kind of connection that a value of `ansible_connection` means. Without one (None) it is "ssh", as in Ansible,
    but "local" for hosts called localhost, 127.0.0.1 or ::1 (in Ansible only where no inventory names them; see
    docs/decisions/0004). A word that nobody here knows stands for itself: some deployer may know it."""
    if connection is None:
        return "local" if host in _LOCALHOST else "ssh"
    return KINDS.get(_COLLECTIONS.sub("", connection), connection)


def _read(reader: _Reader, name: str) -> Connection:
    reader.refuse()
    kind = kind_of(name, reader.one(_word, "ansible_connection"))
    host = reader.one(_word, *HOST) or (reader.convert(_word, name, "inventory_hostname") if kind == "ssh" else name)
    reader.one(_sudo, "ansible_become_method")
    key = reader.one(lambda value: file_path(_text(value)), *KEY_FILE)
    variables = SshOptions(
        port=reader.one(_port, *PORT),
        user=reader.one(_word, *USER),
        connect_timeout=reader.one(_seconds, *TIMEOUT) or _DEFAULT_TIMEOUT,
        identity_files=(key,) if key else (),
        host_keys="off" if reader.one(boolean, *HOST_KEY_CHECKING) is False else None,
    )
    # In the order in which Ansible hands them to ssh, of which the first to set something wins.
    options = reader.one(_arguments, SSH_ARGS) or SshOptions()
    for more in (variables, reader.one(_arguments, SSH_COMMON_ARGS), reader.one(_arguments, SSH_EXTRA_ARGS)):
        options = options.then(more) if more else options
    return Connection(
        name=name,
        kind=kind,
        host=host or name,
        port=options.port,
        user=options.user,
        password=reader.secret(*PASSWORD),
        keys=options.identity_files,
        key_passphrase=reader.secret("harness_key_passphrase"),
        identities_only=options.identities_only,
        proxy_jump=options.proxy_jump,
        proxy_command=options.proxy_command,
        host_keys=reader.one(_one_of("check", "accept-new", "off"), "harness_host_keys")
        or options.host_keys
        or "check",
        known_hosts=options.known_hosts,
        connect_timeout=options.connect_timeout or _DEFAULT_TIMEOUT,
        keepalive=options.keepalive,
        config_file=options.config_file,
        become=reader.one(boolean, "ansible_become") or False,
        become_user=reader.one(_word, *BECOME_USER) or "root",
        become_exe=reader.one(_word, *BECOME_EXE) or "sudo",
        become_password=reader.secret(*BECOME_PASSWORD),
        python=reader.one(_interpreter, "ansible_python_interpreter") or None,
        address=reader.one(_word, "harness_address") or host or name,
        api=reader.one(_one_of(*_APIS), "harness_api") or _APIS[0],
    )


class _Reader:
    """Takes variables by their names, and keeps what is wrong with them."""

    def __init__(self, host: str, variables: Mapping[str, Any], places: Mapping[str, SourceRef]) -> None:
        self.problems: list[Problem] = []
        self._host = host
        self._variables = variables
        self._places = places

    def one(self, convert: Callable[[Any], T], *names: str) -> T | None:
        """The value of the last of these names that is there; None without one, for "", and where it is wrong."""
        name = next((name for name in reversed(names) if self._variables.get(name) is not None), None)
        return (
            None if name is None or self._variables[name] == "" else self.convert(convert, self._variables[name], name)
        )

    def secret(self, *names: str) -> Secret | None:
        return self.one(lambda value: Secret.of(value, f"{names[0]} of {self._host}"), *names)

    def convert(self, convert: Callable[[Any], T], value: Any, name: str) -> T | None:
        try:
            if isinstance(value, str) and name not in SECRET_VARIABLES and ("{{" in value or "{%" in value):
                raise ValueError("is a template; inventories are taken as they are, so write what it stands for")
            return convert(value)
        except ValueError as error:
            self._problem(name, str(error))
            return None

    def refuse(self) -> None:
        for name, why in _REFUSED.items():
            if self._variables.get(name):
                self._problem(name, f"is not understood: {why}")

    def _problem(self, name: str, message: str) -> None:
        where = self._places.get(name, SourceRef.of_host(self._host))
        self.problems.append(Problem(where.file, where.line, where.column, name, message))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be text, not {shown(value)}")
    return value


def _word(value: Any) -> str:
    """Text that no program takes for anything but a name: no blanks, no control characters, no leading hyphen."""
    text = _text(value)
    if text.startswith("-") or " " in text or not text.isprintable():
        raise ValueError(f"must be a name without blanks that does not begin with a hyphen, not {shown(text)}")
    return text


def _port(value: Any) -> int:
    if (number := _integer(value)) is None or not 1 <= number <= 65535:
        raise ValueError(f"must be a port, from 1 to 65535, not {shown(value)}")
    return number


def _seconds(value: Any) -> float:
    if (number := _integer(value)) is None or number < 1:
        raise ValueError(f"must be a number of seconds, at least 1, not {shown(value)}")
    return float(number)


def _integer(value: Any) -> int | None:
    """INI files and executables give numbers as text."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def boolean(value: Any) -> bool:
    """As Ansible takes them: `true`, and the words for it. Raises ValueError."""
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower() if isinstance(value, str | int) else ""
    if word not in _BOOLEANS:
        raise ValueError(f"must be true or false, not {shown(value)}")
    return _BOOLEANS[word]


def _sudo(value: Any) -> str:
    if _COLLECTIONS.sub("", _text(value)) != "sudo":
        raise ValueError(f"must be sudo, the only way to become somebody else that harness has, not {shown(value)}")
    return "sudo"


def _interpreter(value: Any) -> str:
    """A path or a name; "" to look for one, which is what all of Ansible's modes of discovery come down to."""
    return "" if value in ("auto", "auto_silent", "auto_legacy", "auto_legacy_silent") else _word(value)


def _arguments(value: Any) -> SshOptions:
    return SshOptions.parse(_text(value))


def _one_of(*words: str) -> Callable[[Any], str]:
    def convert(value: Any) -> str:
        if value not in words:
            guess = did_you_mean(value, words) if isinstance(value, str) else ""
            raise ValueError(f"must be {' or '.join(words)}, not {shown(value)}" + (f"; {guess}" if guess else ""))
        return str(value)

    return convert
