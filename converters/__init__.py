"""Trained networks of other frameworks -> ONNX files whose weights are what the framework stores.

Run from a clone, outside the wheel: `python -m converters pytorch ...`. Needs that framework; onnxfi itself does not.
"""
