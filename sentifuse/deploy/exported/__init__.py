"""Predictions from an export. They need `onnxruntime`, `tokenizers`, `pillow` and `numpy`, and no torch."""
