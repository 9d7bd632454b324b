"""Delays and rates of the kernel as they are told to tc, on a kernel that has netem: two machines that are network
namespaces, seen from the one whose packets are disturbed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from statistics import median

import pytest

from harness.api import LinkShape
from harness_agent.nft import Session
from harness_agent.tc import probe
from harness_agent.tc.commands import Peer, changes, setup, trials, undo

pytestmark = pytest.mark.real

MODULES = ("ipv6", "veth", "sch_htb", "sch_tbf", "cls_u32", "sch_netem")
PEER = (ip_address("10.9.0.2"), ip_address("fd09::2"))
INSIDE = r"""
import json, socket, subprocess, sys, threading, time
asked = json.load(open("asked.json"))

def sh(line, said=None):
    done = subprocess.run(line, shell=isinstance(line, str), input=said, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{line}: {done.stdout} {done.stderr}")
    return done.stdout

probed = json.loads(sh([sys.executable, "probe.py"], json.dumps({"trials": asked["trials"], "peers": {}})))
sh("ip netns add peer && ip link add near type veth peer name far && ip link set far netns peer")
there = "ip netns exec peer "
for where, link, number in (("", "near", 1), (there, "far", 2)):
    for line in ("link set lo up", f"link set {link} up", f"addr add 10.9.0.{number}/24 dev {link}",
                 f"addr add fd09::{number}/64 dev {link} nodad"):
        sh(f"{where}ip {line}")
sh(f"{there}ip addr add 10.9.0.3/24 dev far")
ECHO = '''
import socket, sys, threading
def serve(port):
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
        s.bind(("::", port))
        print("up", flush=True)
        while True:
            data, who = s.recvfrom(65536)
            s.sendto(data, who)
serve(int(sys.argv[1]))
'''
echo = subprocess.Popen(["ip", "netns", "exec", "peer", sys.executable, "-c", ECHO, "9000"], stdout=subprocess.PIPE)
echo.stdout.readline()

def trips(to, count=12):
    family = socket.AF_INET6 if ":" in to else socket.AF_INET
    took = []
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(3)
        for number in range(count + 1):
            began = time.monotonic()
            s.sendto(b"%d" % number, (to, 9000))
            s.recvfrom(99)
            took.append(time.monotonic() - began)
    return took[1:]  # the first may have had to find its neighbour

def order(to, count=200):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(3)
        for number in range(count):
            s.sendto(b"%d" % number, (to, 9000))
        return [int(s.recvfrom(99)[0]) for _ in range(count)]

CLIENT = '''
import socket, sys, time
s = socket.create_connection(("10.9.0.1", int(sys.argv[1])))
began = time.monotonic()
s.sendall(b"x")
s.recv(1)
print(time.monotonic() - began)
'''

def ssh_like(port):
    # What comes from an SSH server's port, to a client at the peer's own address.
    server = socket.create_server(("10.9.0.1", port))
    client = subprocess.Popen([*there.split(), sys.executable, "-c", CLIENT, str(port)], stdout=subprocess.PIPE)
    taken, _ = server.accept()
    taken.recv(1)
    taken.sendall(b"y")
    took = float(client.communicate()[0])
    server.close()
    return took

def rate(size):
    what = lambda host: json.dumps([host, 9100, "token", size, 60])
    sink = subprocess.Popen(["ip", "netns", "exec", "peer", sys.executable, "rate_script.py", "sink", what("0.0.0.0")])
    there, back, error = json.loads(sh([sys.executable, "rate_script.py", "send", what("10.9.0.2")]))
    sink.wait()
    return [there and size / there, back and size / back, error]

seen = {"probed": probed["problems"], "root before": sh("tc qdisc show dev near")}
for step in asked["steps"]:
    sh(["tc", "-batch", "-"], "\n".join(step["lines"]) + "\n")
    told = seen[step["name"]] = {"four": trips("10.9.0.2"), "six": trips("fd09::2"), "other": trips("10.9.0.3")}
    told["order"] = order("10.9.0.2") if step["name"] == "jittery" else None
    told["ssh"], told["not ssh"] = ssh_like(22), ssh_like(2222)
    if step["size"]:
        told["rate"] = rate(step["size"])
sh(asked["undo"])
sh(asked["undo"])
seen["root after"] = sh("tc qdisc show dev near")
seen["after"] = trips("10.9.0.2")
echo.kill()
json.dump(seen, open("seen.json", "w"))
"""


def test_netem_delays_and_keeps_order(other_kernel: Callable[..., str], tmp_path: Path) -> None:
    from harness.engine import wiring  # whose script measures rates

    shapes = {
        "late": LinkShape(delay=0.1),
        "later": LinkShape(delay=0.25),
        "jittery": LinkShape(delay=0.1, jitter=0.05),
        "late and slow": LinkShape(delay=0.05, rate=100_000.0),
        "slow": LinkShape(rate=200_000.0),
    }
    steps, before = [], list[Peer]()
    lines = setup("near", [Session.of("10.9.0.2 5000 10.9.0.1 22"), Session.of("fd09::9 5000 fd09::1 22")])
    for name, shape in shapes.items():
        after = [Peer(0, PEER, shape)]
        lines += changes("near", before, after)
        size = 200_000 if "slow" in name else 0
        steps.append({"name": name, "lines": lines, "size": size})
        lines, before = [], after
    asked = {"trials": dict(trials()), "steps": steps, "undo": undo("tc", "near")}
    (tmp_path / "asked.json").write_text(json.dumps(asked))
    (tmp_path / "inside.py").write_text(INSIDE)
    (tmp_path / "probe.py").write_text(Path(probe.__file__).read_text())
    (tmp_path / "rate_script.py").write_text(Path(wiring.__file__).with_name("rate_script.py").read_text())
    other_kernel([sys.executable, "inside.py"], *MODULES)
    seen = json.loads((tmp_path / "seen.json").read_text())

    assert seen["probed"] == {"link-rate": "", "link-delay": ""}
    for name, least in (("late", 0.1), ("later", 0.25), ("jittery", 0.05), ("late and slow", 0.05)):
        for address in ("four", "six"):
            assert least <= min(seen[name][address]) and median(seen[name][address]) < least + 0.15, (name, seen[name])
        assert min(seen[name]["other"]) < 0.04, "another address was delayed with it"
        assert seen[name]["ssh"] < 0.05 <= seen[name]["not ssh"], "SSH was delayed, or nothing was"
    assert max(seen["jittery"]["four"]) - min(seen["jittery"]["four"]) > 0.02
    assert seen["jittery"]["order"] == list(range(200))
    for name, rate in (("late and slow", 100_000), ("slow", 200_000)):
        there, back, _ = seen[name]["rate"]
        assert 0.5 * rate <= there <= 1.25 * rate and back > 2 * rate, seen[name]
    assert seen["root after"] == seen["root before"] and min(seen["after"]) < 0.04
