"""What an operator runs beside the roles: preparation, the audit, the demo, measurements, and generated files."""
