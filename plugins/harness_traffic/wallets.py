"""Which wallets a workload sends from, and what their next nonces are."""

from __future__ import annotations

from collections.abc import Sequence

from harness.api import Context, Node, PlanView, Transaction, TransactionFactory, Unreachable, Unsupported, UsageError
from harness_traffic.clients import ClientPool, in_turn

ASK_AGAIN = 0.5
"""Seconds after which nodes are asked once more for the nonce of a wallet whose transaction has an unknown fate."""


def too_few(ctx: PlanView, users: int | None, first: int) -> Sequence[str]:
    """Why the network's wallets do not suffice, in plan."""
    if ctx.wallets == 0:
        return ("there are no wallets to send from; give [wallets] a count",)
    if first + (users or 1) > ctx.wallets:
        wanted = f"users = {users}" + (f" from wallet {first} on" if first else "")
        return (f"{wanted if users else f'first_wallet = {first}'}, but there are {ctx.wallets} wallets",)
    return ()


def wanted(ctx: PlanView, users: int | None, first: int) -> range:
    """The wallets that are to take part: so many, all by default, from this one on."""
    return range(first, first + users if users else ctx.wallets)


def chosen(ctx: Context, users: int | None, first: int) -> range:
    """The same, in the run."""
    return range(first, first + users if users else len(ctx.network.wallets))


def claim(ctx: Context, users: range) -> None:
    """Raises UsageError where another workload of this network sends from some of them."""
    senders = ctx.network.senders
    others = {senders[user] for user in users if senders.get(user, ctx.component) != ctx.component}
    if others:
        raise UsageError(
            f"wallets {users[0]} to {users[-1]} would be used by {', '.join(sorted(others))} as well, and each "
            f"would spoil the other's nonces: give both wallets of their own with users and first_wallet"
        )
    senders.update(dict.fromkeys(users, ctx.component))


async def resync(
    ctx: Context,
    pool: ClientPool,
    nodes: Sequence[Node],
    factory: TransactionFactory,
    user: int,
    avoid: str,
    unknown: Transaction | None = None,
) -> None:
    """Return once a node has told the user's next nonce; at once where the chain has no nonces.

    `unknown` is the user's transaction of which nobody knows if it was taken. A node that has not heard of it is given
    it: another one with its nonce would be void, or would make it void, as soon as it gets into a block by the node
    that did not answer."""
    address = ctx.network.wallets[user].address
    while True:
        for node in in_turn(ctx, nodes, user, avoid):
            try:
                async with pool.client(node) as client:
                    nonce = await client.nonce(address)
                    if unknown is not None and nonce == unknown.nonce:
                        await client.submit(unknown)  # whatever it says: what counts is the nonce that it tells next
                        nonce = await client.nonce(address)
                    factory.resync(user, nonce)
                return
            except Unreachable:
                continue
            except Unsupported:
                return
        await ctx.clock.sleep(ASK_AGAIN)
