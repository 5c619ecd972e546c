"""Scripts: schema, steps, runner, results."""
