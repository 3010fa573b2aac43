"""Alerts: rules over the emotion windows, the incidents that they find, and the delivery of both.

rule      what a rule is
"""
