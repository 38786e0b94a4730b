"""`--frames A:B`."""


def frame_slice(text: str | None) -> slice:
    """The slice that the text names, everything without one. Raises InputError if it is no range."""
    from parlante.core import InputError

    if text is None:
        return slice(None)
    try:
        low, high = text.split(":")
        return slice(int(low) if low else None, int(high) if high else None)
    except ValueError as error:
        raise InputError(f"--frames must look like 30:90, got {text!r}") from error
