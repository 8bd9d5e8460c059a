"""Keras -> ONNX with every weight as the framework stores it: `python -m converters keras ...`."""
