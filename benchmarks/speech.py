"""A base-size speech network (random weights) on long sound: the whole clip at once against windows.

python benchmarks/speech.py [--seconds 60] [--quick]
"""

import argparse
import json
import time

import torch

from parlante.audio.encoders.transformers import SpeechEncoder
from parlante.audio.rates import REFERENCE_RULES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the sound")
    parser.add_argument("--quick", action="store_true", help="three layers instead of twelve")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    network = {"model_type": "wav2vec2", "num_hidden_layers": 3 if arguments.quick else 12}
    whole = SpeechEncoder.from_config(network, REFERENCE_RULES["aligned30"])
    state, audio = whole.state_dict(), torch.randn(1, int(16000 * arguments.seconds)) * 0.1
    figures: dict[str, object] = {"seconds": arguments.seconds, "layers": network["num_hidden_layers"], "windows": []}
    with torch.no_grad():
        start = time.process_time()
        heard = whole.hear(audio)
        figures["convolutions_cpu_s"] = round(time.process_time() - start, 2)
        start = time.process_time()
        wanted = whole.understand(heard)
        figures["transformer_cpu_s"] = round(time.process_time() - start, 2)
        print(f"convolutions {figures['convolutions_cpu_s']} s, transformer {figures['transformer_cpu_s']} s of CPU")
        rows = []
        for window, context in ((10.0, 2.0), (10.0, 5.0), (20.0, 5.0)):
            encoder = SpeechEncoder.from_config(
                network, REFERENCE_RULES["aligned30"], state=state, window_s=window, context_s=context
            )
            start = time.process_time()
            error = encoder.understand(heard) - wanted
            spent = time.process_time() - start
            rms = (error.square().mean() / wanted.var()).sqrt().item()
            largest = (error.abs().max() / wanted.std()).item()
            print(f"window {window:g} s, context {context:g} s: rms {rms:.2e}, max {largest:.2e} of std, {spent:.1f} s")
            rows.append(
                {"window_s": window, "context_s": context, "rms": rms, "max": largest, "cpu_s": round(spent, 2)}
            )
        figures["windows"] = rows
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
