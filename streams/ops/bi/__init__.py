"""Draws charts from the views of the schema `bi`, as the Tableau workbook does."""
