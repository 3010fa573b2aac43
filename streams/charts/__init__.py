"""Draws emotions as pies and stacked bars, PNG and SVG, and has the palette of all labels. Importing it is cheap."""
