"""A search for a good recipe on cached features: `python -m sentifuse search SPACE.yaml`."""
