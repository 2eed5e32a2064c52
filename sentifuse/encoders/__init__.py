"""Pre-trained encoders behind one interface, one module a family."""
