"""A process that plays a recording to its end and says, as JSON, what memory it took: `python -m recycler_memory FILE FEES`."""

import asyncio
import json
import sys
from pathlib import Path

from tandem.recycler.app import Recycler
from tandem.recycler.options import MAX_SPEED, RecyclerOptions


def memory_mb() -> dict[str, float]:
    """Of this process, from the kernel's own account: the most that was resident, and what belongs to it alone now."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
    return {name: int(lines[name].split()[0]) / 1024 for name in ("VmHWM", "RssAnon")}


async def _played(recycler: Recycler) -> None:
    player = asyncio.create_task(recycler.replayer.run())
    while recycler.replayer.state.value != "ended":
        await asyncio.sleep(0.01)
    player.cancel()


def main(data: Path, fees: Path) -> None:
    """Load, play, report."""
    before = memory_mb()
    recycler = Recycler(RecyclerOptions(data=(data,), port=0, fees=fees, speed=MAX_SPEED))
    asyncio.run(_played(recycler))
    after = memory_mb()
    json.dump(
        {
            "ticks": recycler.market.place,
            "peak_mb": after["VmHWM"] - before["VmHWM"],
            "own_mb": after["RssAnon"] - before["RssAnon"],
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
