"""What callmeter costs, measured against others; `python benchmarks/run.py`."""
