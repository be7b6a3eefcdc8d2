"""The names under which the model registry holds what Tandem knows of a version: aliases of a registered model, tags of its versions."""

CHAMPION, PREVIOUS, CANDIDATE = "champion", "previous", "candidate"  # aliases

TAG_PREFIX = "tandem."
DIGEST_TAG, DATA_TAG, SEED_TAG, COMMIT_TAG = (TAG_PREFIX + name for name in ("digest", "data_digest", "seed", "commit"))
TRAINED_TO_TAG = TAG_PREFIX + "trained_to_ns"  # close of the last training bar
PAIRS_TAG = TAG_PREFIX + "pairs"  # of the bundle, joined by commas
REPLAY_TAG = TAG_PREFIX + "replay_digest"  # of the decisions on the recorded span that lies beside the bundle
QUARANTINE_TAG = TAG_PREFIX + "quarantined"  # why; no rollout starts a version that has it
PROMOTED_TAG = TAG_PREFIX + "promoted_epoch"  # of the routing pointer that promoted the version
