"""The remedy: guards written into the model, and what they bought."""
