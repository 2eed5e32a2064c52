"""How fast it is, beside plain reference implementations: `python -m benchmarks`."""
