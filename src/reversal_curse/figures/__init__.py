"""The figures: each module has `draw(tables)`, from aggregated tables to a matplotlib Figure."""
