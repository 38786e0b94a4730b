"""`--live`: what the commands that can send frames as they are due share."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parlante.export import AnimationInfo
    from parlante.export.livelink_udp import LiveLinkSender, Receiver


def declare_live(parser: argparse.ArgumentParser) -> None:
    """Declare where frames are sent."""
    parser.add_argument(
        "--live",
        metavar="HOST[:PORT]",
        help="send each frame when it is due, as the Live Link Face app does (UDP, port 11111); without -o no file is "
        "written",
    )
    parser.add_argument("--live-subject", default="Parlante", metavar="NAME", help="as whom the receiver lists it")
    parser.add_argument("--allow-remote", action="store_true", help="--live may name another machine")


class Live:
    """Makes the sender of an animation, and tells what became of it."""

    def __init__(self, receiver: "Receiver") -> None:
        self.receiver = receiver

    def __call__(self, info: "AnimationInfo") -> "LiveLinkSender":
        from parlante.export.livelink_udp import LiveLinkSender

        self.sender = LiveLinkSender(self.receiver, info)
        return self.sender

    def summary(self) -> str:
        """One clause for the summary."""
        pace = self.sender.pace
        late = f", {pace.late} of them late, {pace.worst:.1f} s at most" if pace.late else ""
        return f"{pace.sent} frames sent to {self.receiver.name} as {self.receiver.subject}{late}"


def live(options: argparse.Namespace) -> Live | None:
    """Raises InputError for a receiver that cannot be used."""
    if not options.live:
        return None
    from parlante.export.livelink_udp import find_receiver

    return Live(find_receiver(options.live, subject=options.live_subject, allow_remote=options.allow_remote))
