"""The architectures in PyTorch, one family a file; `models.registry` names them all.

A builder takes (shape, classes, arguments of the entry) and returns an `nn.Module` with fresh weights.
"""
