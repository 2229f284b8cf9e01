"""The page of results: one HTML file that needs no network."""

from pathlib import Path

TEMPLATE = Path(__file__).with_name("template.html")
