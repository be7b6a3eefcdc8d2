"""Imported once by the process that services are forked from: what every service would make anew at its start, and what never differs."""

import time

from tandem.adapters.calendar import service_grid

service_grid("1d", time.time_ns())  # sessions since 1980, kept by exchange_calendars: a second of every start
