"""Pre-trained dual encoders: one module a family, `registry.py` names them."""
