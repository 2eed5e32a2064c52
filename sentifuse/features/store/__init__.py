"""The content-addressed store of encoded rows."""
