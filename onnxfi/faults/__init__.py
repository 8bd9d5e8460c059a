"""What can go wrong: bits of stored words, faults, and the space of all of them. numpy only."""
