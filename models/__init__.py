"""The architectures of the model zoo, and how the bundled demonstration model is trained.

Run from a clone, outside the wheel: `python -m models list|export|accuracy|train`. Needs the extra `[pytorch]`.
The architectures are in `pytorch` and `keras`, one family a file; `registry.py` names them all. A new family adds its
file to both and its lines there.
"""
