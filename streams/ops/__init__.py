"""What an operator runs besides the worker and the sink: init, the audit, the demo, the bench, and generated files."""
