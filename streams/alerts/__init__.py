"""Alerts: rules over the emotion windows, the incidents that they find, and the delivery of both.

rules        what a rule is, and the rules file
engine       decides from windows and rules which incidents begin and end
storage      rules, mutes, incidents and deliveries in Postgres
explanation  the words and the posts that moved the value of an incident
evaluation   the live evaluation of the windows topic
delivery     tells channels and the topic `alerts` of incidents
backtest     what rules would have found in the history
run          the role `alerts`: evaluation and delivery in one process
manage       what the command line does with rules, incidents and mutes
"""
