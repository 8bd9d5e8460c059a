"""The architectures in Keras, one family a file, as `models.pytorch` has them; `models.registry` names them all.

A builder takes (shape, classes, arguments of the entry), shape as (channels, height, width), and returns a
`keras.Model` with fresh weights for images (N, height, width, channels). Its layers bear the names of PyTorch's
modules, so that weights are copied name by name.
"""
