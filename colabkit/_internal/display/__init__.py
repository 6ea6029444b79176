"""What a person sees while something runs: bars, curves, tables, the last line of a cell."""
