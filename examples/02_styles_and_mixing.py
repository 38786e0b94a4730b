"""Speak in other people's styles, and mix them.

A style is how a person moves and wrinkles. It can be a name, a mixture such as `mateo:0.7,giulia:0.3`, or a file.
Amounts are any numbers: more than 1 exaggerates. Motion and wrinkles may follow different people.
"""

import sys
from pathlib import Path

import parlante
from parlante.core.style import save_style


def main(speech: str = "assets/demo.wav", out: str = "out") -> None:
    """Say `speech` in several styles and print how far the mouth opens in each."""
    Path(out).mkdir(exist_ok=True)
    talker = parlante.Talker.from_pretrained("textalker")
    print("styles:", ", ".join(talker.model.abilities.styles))

    wishes = {
        "her own": {},
        "as mateo": {"style": "mateo"},
        "a mixture": {"style": "mateo:0.7,giulia:0.3"},
        "exaggerated": {"style": "mateo:1.5"},
        "mateo's motion, giulia's wrinkles": {"motion_style": "mateo", "wrinkle_style": "giulia"},
        "half the motion": {"motion_strength": 0.5},
    }
    for name, wish in wishes.items():
        animation = talker(speech, identity="amara", liveliness=False, **wish)
        jaw = animation.weights[:, animation.weight_names.index("jawOpen")]
        print(f"{name}: the jaw opens by {jaw.mean():.3f} on average, {jaw.max():.2f} at most")

    mixed = talker.model.style("mateo:0.7,giulia:0.3")
    save_style(mixed, Path(out) / "mixed.style")  # talker(..., style="out/mixed.style") reads it


if __name__ == "__main__":
    main(*sys.argv[1:])
