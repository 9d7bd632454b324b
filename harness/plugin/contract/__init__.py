"""The contracts between the core and its plugins: one module to a contract. Plugins import them from harness.api."""
