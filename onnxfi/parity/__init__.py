"""Two models of one network: which layer and which weight of one is which of the other, and whether they fail alike."""
