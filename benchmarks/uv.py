"""How fast UV maps are baked, read back, and applied, and wrinkle maps made; single core, processor time.

python benchmarks/uv.py
"""

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from parlante.head.model import load_head
from parlante.head.skin import look_of, paint_look
from parlante.head.skin_dynamics import SkinDynamics
from parlante.head.skin_map import skin_map
from parlante.uv import BakeTable, apply_ratio


def milliseconds(work: Callable[[], object], repeats: int = 5) -> float:
    """Best processor time of one call, after a warming one."""
    work()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return 1e3 * min(times)


def main() -> None:
    torch.set_num_threads(1)
    head = load_head()
    name = head.identity_names[0]
    offsets = np.tensordot(np.random.default_rng(0).random((60, 52)).astype(np.float32) * 0.4, head.shapes(name), 1)
    for size in (128, 256, 512):
        table = BakeTable(head.topology, size)
        values = torch.from_numpy(offsets)
        maps = table.bake(values)
        back = table.sample(maps, refine=1)
        error = (back - values).norm(dim=-1)
        p99 = error.flatten().kthvalue(int(0.99 * error.numel()))[0]
        table_ms = milliseconds(partial(BakeTable, head.topology, size), 2)
        bake, numpy, sample = (
            milliseconds(partial(work, data)) / len(offsets)
            for work, data in ((table.bake, values), (table.bake_array, offsets), (table.sample, maps))
        )
        print(
            f"{size}: table {table_ms:.0f} ms; ms a frame: bake {bake:.2f}, numpy {numpy:.2f}, sample {sample:.2f}; "
            f"round trip mean {1e3 * error.mean():.4f} mm, 99 % {1e3 * p99:.4f} mm"
        )
    dynamics = SkinDynamics(head, name)
    print(f"wrinkle maps at 256: {milliseconds(lambda: dynamics.wrinkle(offsets)) / 60:.2f} ms/frame")
    print(f"skin dynamics, building: {milliseconds(lambda: SkinDynamics(head, name), 2):.0f} ms")
    wrinkle = dynamics.wrinkle(offsets[:1])[0]
    look = look_of(head.traits(name))
    for size in (512, 1024):
        skin = skin_map(head, size)
        print(f"painting skin at {size}: {milliseconds(lambda m=skin: paint_look(m, look), 2):.0f} ms")
    albedo = paint_look(skin_map(head, 1024), look)
    for size in (1024, 4096):
        large = np.repeat(np.repeat(albedo, size // 1024, 0), size // 1024, 1)
        print(f"applying a wrinkle map at {size}: {milliseconds(lambda a=large: apply_ratio(a, wrinkle), 3):.1f} ms")


if __name__ == "__main__":
    main()
