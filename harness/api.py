"""All that a plugin may import. What is not here is not promised to stay."""

from __future__ import annotations

from harness.clock import Clock, SystemClock
from harness.errors import (
    BrokenAnswer,
    CommandTimeout,
    DeployError,
    ExitCode,
    FaultError,
    HarnessError,
    InfrastructureError,
    MachineLost,
    NotReadyError,
    SpecError,
    TeardownError,
    Unreachable,
    Unsupported,
    UsageError,
)
from harness.load.arrivals import Arrivals, Profile, constant, moments, of_points
from harness.load.job import Batching, Job, Start, Taken, Target
from harness.load.job import head as request_head
from harness.load.senders import Senders, senders
from harness.load.tally import Tally, Told
from harness.load.wire import NO_LANE, Fate, Redirect, Result, Shot
from harness.observe.blocks import Block, BlockHeader, BlockSeen, BlockSource, Head
from harness.observe.bounds import DROPPED_ALLOWED, FEWEST_LATE, LATENESS_ALLOWED
from harness.observe.feed import BlockFeed
from harness.observe.finality import Conflict
from harness.observe.latency import Latencies
from harness.observe.senders import SenderAccount
from harness.observe.submissions import Outcome, Summary, Ticket
from harness.observe.tracker import Tracker
from harness.observe.view import NodeView
from harness.plugin.clock_offset import ClockOffset, clock_offset
from harness.plugin.contract.base import Capability, Config, MachineCapability, NoConfig, Plugin
from harness.plugin.contract.chain import (
    Artifact,
    Chain,
    ChainClient,
    Image,
    Launch,
    Network,
    NetworkSpec,
    NodeFile,
    NodeSite,
    PeerAddress,
    Receipt,
    RoleInfo,
    Timing,
    Transaction,
    TransactionFactory,
    Wallet,
)
from harness.plugin.contract.context import Context, FaultControl, Window
from harness.plugin.contract.deployer import (
    Access,
    Adoption,
    Deployer,
    Deployment,
    DeployRequest,
    HealReport,
    HostReport,
    HostSpec,
    Placement,
    PlannedNode,
)
from harness.plugin.contract.expectation import Expectation, Judgement, Violation
from harness.plugin.contract.fault import Fault, FaultContext, FaultRecord, FaultTurn, Proof, Reach, Throughput, no_link
from harness.plugin.contract.fault_use import FaultUse
from harness.plugin.contract.inventory_source import InventorySource
from harness.plugin.contract.machine import (
    Address,
    CommandRecord,
    Completed,
    Exit,
    Facts,
    Machine,
    Service,
    ServiceSpec,
    Usage,
)
from harness.plugin.contract.nemesis import NemesisFamily
from harness.plugin.contract.node import Node, NodeState
from harness.plugin.contract.screen_command import RunScreen, ScreenCommand
from harness.plugin.contract.submission import DataFormat, SubmissionFormat
from harness.plugin.contract.task import Task, TaskContext, TaskResult
from harness.plugin.contract.workload import DefaultExpectation, PlanView, Workload
from harness.plugin.hookspecs import hookimpl
from harness.plugin.introductions import Introduction, introduced
from harness.plugin.secret_options import Header, SecretSource, missing_secrets, reveal, revealed
from harness.record.owner import Owner
from harness.record.state import RunState
from harness.redact import redact
from harness.spec.connection import Connection
from harness.spec.durations import format_duration
from harness.spec.file_names import file_name
from harness.spec.links import CUT, PLAIN, Flow, LinkShape
from harness.spec.local_path import LocalPath
from harness.spec.model import PluginUse, SourceRef, TopologySpec, WalletsSpec
from harness.spec.node_patterns import select_nodes
from harness.spec.secrets import Secret
from harness.spec.ssh_arguments import JumpHost, jump_hosts
from harness.spec.topology import Link, NodeSpec, Topology
from harness.spec.units import Duration, Rate, Size, Span
from harness.spec.verdict import Verdict

__all__ = [
    "CUT", "DROPPED_ALLOWED", "FEWEST_LATE", "LATENESS_ALLOWED", "NO_LANE", "PLAIN", "Access", "Address", "Adoption",
    "Arrivals", "Artifact", "Batching", "Block", "BlockFeed", "BlockHeader", "BlockSeen", "BlockSource", "BrokenAnswer",
    "Capability", "Chain", "ChainClient", "Clock", "ClockOffset", "CommandRecord", "CommandTimeout", "Completed",
    "Config", "Conflict", "Connection", "Context", "DataFormat", "DefaultExpectation", "DeployError", "DeployRequest",
    "Deployer", "Deployment", "Duration", "Exit", "ExitCode", "Expectation", "Facts", "Fate", "Fault", "FaultContext",
    "FaultControl", "FaultError", "FaultRecord", "FaultTurn", "FaultUse", "Flow", "HarnessError", "Head", "Header",
    "HealReport", "HostReport", "HostSpec", "Image", "InfrastructureError", "Introduction", "InventorySource", "Job",
    "Judgement", "JumpHost", "Latencies", "Launch", "Link", "LinkShape", "LocalPath", "Machine", "MachineCapability",
    "MachineLost", "NemesisFamily", "Network", "NetworkSpec", "NoConfig", "Node", "NodeFile", "NodeSite", "NodeSpec",
    "NodeState", "NodeView", "NotReadyError", "Outcome", "Owner", "PeerAddress", "Placement", "PlanView", "PlannedNode",
    "Plugin", "PluginUse", "Profile", "Proof", "Rate", "Reach", "Receipt", "Redirect", "Result", "RoleInfo",
    "RunScreen", "RunState", "ScreenCommand", "Secret", "SecretSource", "SenderAccount", "Senders", "Service",
    "ServiceSpec", "Shot", "Size", "SourceRef", "Span", "SpecError", "Start", "SubmissionFormat", "Summary",
    "SystemClock", "Taken", "Tally", "Target", "Task", "TaskContext", "TaskResult", "TeardownError", "Throughput",
    "Ticket", "Timing", "Told", "Topology", "TopologySpec", "Tracker", "Transaction", "TransactionFactory",
    "Unreachable", "Unsupported", "Usage", "UsageError", "Verdict", "Violation", "Wallet", "WalletsSpec", "Window",
    "Workload", "clock_offset", "constant", "file_name", "format_duration", "hookimpl", "introduced", "jump_hosts",
    "missing_secrets", "moments", "no_link", "of_points", "redact", "request_head", "reveal", "revealed",
    "select_nodes", "senders",
]  # fmt: skip
