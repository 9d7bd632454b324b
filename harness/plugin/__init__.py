"""Plugins: the contracts they fulfil, how they are found, and the registry of those in use."""
