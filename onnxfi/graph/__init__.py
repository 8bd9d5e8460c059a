"""The model: read, checked, brought into one form, its layers found; cut and rewritten. The only storey with onnx."""
