"""A bundle -> an export: graphs of ONNX that are compared with the bundle before they get their name."""
