"""What guards cover and what they do not, in sentences: said with every result."""

from __future__ import annotations

from onnxfi.protect.harden import Protection


def covered(done: Protection) -> list[str]:
    """What a fault may hit without harm."""
    found = []
    if done.weights and done.live:
        found.append(
            "Stored weights, at any time: their guards run with every inference, on the words as they are in memory."
        )
    elif done.weights:
        found.append(
            "Stored weights, up to the moment when the runtime loads the model: it works the guards out once, "
            "and goes on with mended words (at optimisation level none it works them out in every inference)."
        )
    if done.activations:
        found.append(
            "Stored activations, between the op that writes them and their guard; and whatever happens before that "
            "makes one of them leave its range."
        )
    return found


def not_covered(done: Protection) -> list[str]:
    """What stays vulnerable."""
    found = []
    if done.weights and not done.live:
        slow = next((o.latency for o in done.options["weights"] if o.at == "live" and len(o.guards) > 1 and o.latency
                     and len(o.guards) == len(done.weights)), None)  # fmt: skip
        cost = f", at {slow.value:.2f} times the time of an inference here" if slow else ""
        found.append(
            "Flips after loading, in the copy that the runtime keeps for its kernels: reload, or let a scrubber apply "
            f"recipe.json; or take --weights-at live{cost}."
        )
    if done.weights:
        found.append(
            "Flips that leave a weight in its row's range: mostly of the sign and of low bits of the exponent."
        )
    if done.weights or done.activations:
        found.append(f"What the guards themselves read: {done.size:,} bytes of masks, bounds and copies.")
    if done.activations:
        found.append(
            "What a guard of an activation writes, until it is read; an optimiser that joins the guard with the op "
            "before it leaves that word only."
        )
    found.append("Sums inside of an op (accumulators), biases, BatchNormalization, shapes and the program itself.")
    if done.candidates.left_out:
        some = next(iter(done.candidates.left_out.items()))
        more = len(done.candidates.left_out) - 1
        found.append(f"Weights in {some[0]!r}{f' and {more} more' if more else ''}: {some[1]}.")
    return found
