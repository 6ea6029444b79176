"""Archives: formats, safe extraction, size budgets."""
