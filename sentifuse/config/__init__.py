"""`params.yaml` to typed sections, recipes and overrides."""
