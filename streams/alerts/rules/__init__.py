"""What a rule of alerts is, what can be wrong with one, and the file that holds rules."""
