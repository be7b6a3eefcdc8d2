"""Asks a service's HTTP whether it lives: `python -m tandem.health [URL]`, the health check of the images, which hold no curl.

Imports nothing beside the standard library, so that it answers in a moment and runs as a single file in an image without Tandem.
"""

import os
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence

_TIMEOUT_S = 4.0  # below the five seconds that the images' health checks may take


def check(url: str, timeout_s: float = _TIMEOUT_S) -> str | None:
    """None when the URL answers with a success, else why not."""
    if not url.startswith(("http://", "https://")):
        return f"{url!r} is not an http or https URL"
    # Proxies are left aside: what is asked is this container.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=timeout_s) as answer:
            answer.read()
    except urllib.error.HTTPError as error:
        return f"{url} answers {error.code}: {error.read(500).decode(errors='replace').strip()}"
    except OSError as error:  # URLError and a timeout, too
        return f"{url}: {error}"
    return None


def main(arguments: Sequence[str]) -> int:
    """0 when it lives, 1 when not, 2 for a wrong use."""
    port = os.environ.get("TANDEM_PORT")
    if len(arguments) > 1 or not (arguments or port):
        print("usage: python -m tandem.health [URL]; without it TANDEM_PORT must be set", file=sys.stderr)
        return 2
    fault = check(arguments[0] if arguments else f"http://127.0.0.1:{port}/livez")
    if fault is not None:
        print(fault, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
