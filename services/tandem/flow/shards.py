"""Who forecasts which pairs: a sector's pairs are dealt to a fixed number of shards, its shards to the replicas that are alive.

Both by rendezvous hashing (Thaler and Ravishankar 1998) with a bounded load: everybody who knows the names comes to the same result without
talking, a holder that goes leaves its part to the others, and no holder has more than its share rounded up. The number of shards does not
follow the replicas, so that a reader knows from a batch alone when a bar is complete. Called by sector.py and the forecaster.
"""

import hashlib
from collections.abc import Sequence

PAIRS_PER_BATCH = 1_000  # with the market of their symbols at most 0.8 MB: Kafka takes records up to 1 MiB


def shards_needed(pairs: int, wanted: int) -> int:
    """As many as are wanted, and no fewer than the records of a bar need. All replicas of a version come to the same number."""
    return max(wanted, -(-pairs // PAIRS_PER_BATCH))


def placed(items: Sequence[str], holders: Sequence[str]) -> dict[str, str]:
    """The holder of each item; each has at most ceil(items / holders). The order of the arguments does not matter.

    Raises ValueError without a holder.
    """
    if not holders:
        raise ValueError("no holder: at least one is needed")
    room = dict.fromkeys(holders, -(-len(set(items)) // len(set(holders))))
    chosen: dict[str, str] = {}
    for item in sorted(set(items), key=_weight):
        holder = max((h for h in room if room[h]), key=lambda h: (_weight(item, h), h))
        chosen[item] = holder
        room[holder] -= 1
    return chosen


def shard_of_pairs(pairs: Sequence[str], shards: int) -> tuple[int, ...]:
    """The shard of each pair."""
    if shards == 1:
        return (0,) * len(pairs)
    holder = placed(pairs, [str(shard) for shard in range(shards)])
    return tuple(int(holder[pair]) for pair in pairs)


def shards_of(member: str, members: Sequence[str], shards: int) -> frozenset[int]:
    """The shards that a member forecasts while these are alive; none if it is not one of them."""
    if member not in members:
        return frozenset()
    holder = placed([str(shard) for shard in range(shards)], members)
    return frozenset(shard for shard in range(shards) if holder[str(shard)] == member)


def _weight(*names: str) -> bytes:
    return hashlib.sha256("\x1f".join(names).encode()).digest()
