"""What BI tools read: the charts of the schema `bi`, drawn from its views as Tableau draws them."""
