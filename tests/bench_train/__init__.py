"""Examples a second in training on 1, 2, … devices: see `tests.bench_train.__main__`."""
