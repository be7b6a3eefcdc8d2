"""Runs the forecaster's BentoML app on one uvicorn process (docs/decisions/0002-own-uvicorn-for-bentoml.md).

BentoML exposes metrics through prometheus_client's multiprocess mode, chosen when that library is imported: hence the late imports.
"""

import atexit
import gc
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

# A bar makes hundreds of records that die at once; the default looks for cycles after every 700 of them.
GC_THRESHOLDS = (50_000, 20, 100)


def main() -> None:
    """Serve until SIGTERM or SIGINT. Exit code 2: a setting or the model cannot be used."""
    gc.set_threshold(*GC_THRESHOLDS)
    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
    if "BENTOML_HOME" not in os.environ:
        os.environ["BENTOML_HOME"] = tempfile.mkdtemp(prefix="tandem-forecaster-")
        atexit.register(shutil.rmtree, os.environ["BENTOML_HOME"], ignore_errors=True)
    home = Path(os.environ["BENTOML_HOME"])
    series = home / "series"
    shutil.rmtree(series, ignore_errors=True)  # those of an earlier process would be summed with ours
    series.mkdir(parents=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(series)
    sys.exit(_serve())


def _serve() -> int:
    import uvicorn  # noqa: PLC0415 after PROMETHEUS_MULTIPROC_DIR

    from tandem import settings as settings_module  # noqa: PLC0415
    from tandem.domain.errors import TandemError  # noqa: PLC0415
    from tandem.forecaster.pump import FAILURES  # noqa: PLC0415
    from tandem.forecaster.service import Forecaster  # noqa: PLC0415

    settings = settings_module.load()
    try:
        if not settings.port:
            raise SystemExit("tandem forecaster: TANDEM_PORT is not set")
        for number in (signal.SIGINT, signal.SIGTERM):
            # uvicorn stops at the signal, then raises it again for whoever came before: nobody, so that a clean stop is exit code 0.
            signal.signal(number, lambda *_: None)
        app = Forecaster.to_asgi()  # type: ignore[attr-defined]  # the decorator makes a bentoml Service of the class
        uvicorn.run(app, host=settings.host, port=settings.port, log_level="warning", access_log=False)
    except TandemError as error:
        print(f"tandem forecaster: {error}", file=sys.stderr)
        return 2
    return 1 if FAILURES else 0


if __name__ == "__main__":
    main()
