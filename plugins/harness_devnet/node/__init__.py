"""The devnet node: a small, honest longest-chain blockchain in nothing but the standard library.

It travels as one file (harness_devnet/bundle.py makes it), so its modules import each other relatively and nothing of
harness. Protocol logic (codec … core) does no I/O; gossip, http, api, store and node do.
"""

VERSION = "devnet/1.0"
