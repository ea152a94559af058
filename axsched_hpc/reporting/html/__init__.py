"""The report as one HTML file: hand-written SVG, no script, nothing from outside."""
