"""Draws emotions: the palette of all labels, and pies and stacked bars as PNG and SVG. Importing it loads no library."""
