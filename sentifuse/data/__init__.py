"""Any raw layout to a manifest, checks, duplicates and splits; what reads images and texts."""
