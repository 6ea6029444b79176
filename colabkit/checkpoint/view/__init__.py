"""How a training is seen while it runs: its metrics in the run's log, and a live display in a notebook."""
