module tandem.trading/tests/cluster/pause

go 1.24.0
