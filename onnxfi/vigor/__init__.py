"""DeepVigor+ and DeepVigor: how far a number may deviate before the answer changes, and which faults go beyond."""
