"""What a fault did, and how sure one may be of a rate. numpy and scipy only."""
