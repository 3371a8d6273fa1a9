"""MLPerf Tiny's runner, small: the official accuracy and performance scripts over any port (docs/mlperf.md)."""
